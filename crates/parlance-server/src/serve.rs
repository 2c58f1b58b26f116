//! `parlance serve`: starts the listeners, and ends with a graceful shutdown after a signal.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle, Service as _};
use actix_web::rt::signal::unix::{Signal, SignalKind, signal};
use actix_web::rt::task::JoinHandle;
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, Route, rt, web};
use arc_swap::ArcSwap;
use futures_util::future::{Either, join, join_all, select, select_all};
use parlance::actix::{AppContext, BoundedServer, Mount, ServedBy, mount};
use parlance::core::Authority;
use parlance::core::connections::{ConnectionLimit, ConnectionPolicy};
use parlance::core::ports::Clock;
use parlance::keys::KeyManager;
use parlance::maintenance::{purge_dead_rows, refresh_keys};
use parlance::system::{Stopwatch, SystemClock};
use tracing::{info, warn};

use crate::app::RunningDialects;
use crate::cli::CommandError;
use crate::config::Config;
use crate::logging::{self, LoggingObserver};
use crate::metrics::{ListenerKind, Metrics};
use crate::output::{print, run_with_timeout};
use crate::reload::{LoadConfig, ReloadTargets, Reloader};
use crate::threads::ThreadCounts;
use crate::{admin, app, connections, descriptors, grpc};

/// Graceful shutdown: the longest time for requests under way after a signal, in seconds.
const DRAIN_TIMEOUT_SECONDS: u64 = 20;
/// Clock skew between this machine and the database that gets a warning, in seconds.
const CLOCK_SKEW_WARNING_SECONDS: u64 = 5;
/// Interval of the check for refusals that were only counted; each is logged once a minute.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(5);
/// Longest wait for pending writes when a fault ends the program.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the server until a signal.
pub(crate) fn run(load: LoadConfig) -> Result<(), CommandError> {
    let config = &load()?;
    let _log = logging::start(config)?;
    rt::System::new().block_on(async {
        let signals = ServerSignals::new()?;
        let server = RunningServer::start(config).await?;
        server.announce("")?;
        server.run_until_stopped(config, signals, Some(load)).await
    })
}

/// A listening server.
pub(crate) struct RunningServer {
    pub(crate) dialects: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) authority: Arc<Authority>,
    pub(crate) clock: Arc<dyn Clock>,
    grpc: Option<grpc::GrpcListener>,
    key_manager: Arc<KeyManager>,
    reload_targets: ReloadTargets,
    stopping: Arc<AtomicBool>,
    listeners: Vec<RunningListener>,
    threads: ThreadCounts,
}

/// A listener with running threads.
struct RunningListener {
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl RunningListener {
    /// Starts the threads of a server and waits until each of them serves.
    ///
    /// # Errors
    /// The system does not give enough threads.
    async fn start(mut server: Server) -> Result<Self, CommandError> {
        let handle = server.handle();
        // The first poll starts the threads and waits for them, and panics if a thread cannot be created.
        let first_poll = |cx: &mut Context<'_>| {
            Poll::Ready(catch_unwind(AssertUnwindSafe(|| Pin::new(&mut server).poll(cx))))
        };
        match poll_fn(first_poll).await {
            Ok(Poll::Pending) => Ok(Self { handle, task: rt::spawn(server) }),
            Ok(Poll::Ready(Ok(()))) => Err(app::too_few_threads("a listener stopped at once")),
            Ok(Poll::Ready(Err(error))) => {
                Err(app::too_few_threads(&format!("a listener: {error}")))
            }
            Err(_) => Err(app::too_few_threads("the threads of a listener")),
        }
    }
}

impl RunningServer {
    /// Opens the database, migrates its schema, and listens.
    pub(crate) async fn start(config: &Config) -> Result<Self, CommandError> {
        let file = config.file.as_ref().map(|file| tracing::field::display(file.display()));
        let read = if file.is_some() { "configuration read" } else { "no configuration file" };
        info!(file, "{read}");
        for name in &config.unknown_variables {
            warn!(variable = name.as_str(), "variable is not known and was ignored");
        }
        for warning in &config.former_names {
            warn!("{warning}");
        }
        if let Some(advice) =
            parlance::store::security_warning(&config.database).map_err(CommandError::refused)?
        {
            warn!("{advice}");
        }
        parlance::store::migrate(&config.database).map_err(CommandError::refused)?;
        let metrics = Metrics::new();
        let authority =
            app::open_authority(config, Arc::new(LoggingObserver::new(metrics.clone())))?;
        let clock = app::shared_clock(&authority)?;
        warn_about_clock_skew(&*clock);
        let RunningDialects { mounts, key_manager, dependencies, assertions } =
            app::start_dialects(config, &authority, &clock).await?;
        let key_manager = Arc::new(key_manager);
        if mounts.is_empty() {
            warn!("no dialect is enabled: no login is possible");
        }
        let shell =
            AppContext { clock: Arc::clone(&clock), proxies: Arc::new(config.proxies.clone()) };
        let services: Vec<_> = mounts.iter().map(|mount| Arc::clone(&mount.dialect)).collect();
        let forward_auth = Arc::new(ArcSwap::from_pointee(config.forward_auth.clone()));
        let forward_auth_service = admin::ForwardAuth::new(
            shell.clone(),
            services.clone(),
            Arc::clone(&forward_auth),
            assertions,
        );
        let stopping = Arc::<AtomicBool>::default();
        let context = admin::OperatorContext {
            authority: Arc::clone(&authority),
            store: Arc::clone(authority.store()),
            clock: Arc::clone(&clock),
            stopping: Arc::clone(&stopping),
            metrics: metrics.clone(),
            live_sessions: Arc::default(),
            dialects: services,
            key_manager: Arc::clone(&key_manager),
            forward_auth: forward_auth_service,
        };
        let shares = descriptors::allocate();
        let (proxies, counted) = (Arc::clone(&shell.proxies), metrics.clone());
        let [at_dialects, at_admin, at_grpc] =
            [shares.dialects, shares.admin, shares.grpc].map(|total| {
                let per_address = config.max_connections_per_address;
                let policy = ConnectionPolicy { total, per_address };
                connections::connection_limit(policy, Arc::clone(&proxies), counted.clone())
            });
        let reload_targets = ReloadTargets {
            authority: Arc::clone(&authority),
            proxies: config.proxies.clone(),
            forward_auth,
            connections: [&at_dialects, &at_admin, &at_grpc].map(Arc::clone),
        };
        let (dialects_server, dialects) =
            dialect_server(config.listen, at_dialects, shell, mounts, metrics)?;
        let (admin_server, admin) = admin::server(config.admin_listen, context, at_admin)?;
        for (address, what) in [(dialects, "dialects"), (admin, "admin")] {
            if !address.ip().is_loopback() {
                warn!(%address, what, "listens beyond this machine without TLS: put a TLS proxy in front of the listener");
            }
        }
        let grpc = grpc::open(config, &dependencies, &clock, at_grpc)?;
        let listeners = vec![
            RunningListener::start(dialects_server).await?,
            RunningListener::start(admin_server).await?,
        ];
        Ok(Self {
            dialects,
            admin,
            authority,
            clock,
            grpc,
            key_manager,
            reload_targets,
            stopping,
            listeners,
            threads: ThreadCounts::snapshot(),
        })
    }

    /// Prints the ready line with the addresses of the listeners, after this text. The gRPC address is printed only if
    /// configured. A reader that stalls delays the start for at most `STALL_TIMEOUT`.
    ///
    /// # Errors
    /// The write fails, for another reason than that the reader has gone.
    pub(crate) fn announce(&self, text: &str) -> Result<(), CommandError> {
        let chosen = self.grpc.as_ref().filter(|grpc| grpc.is_explicit);
        let grpc = chosen.map_or_else(String::new, |grpc| format!(" grpc {}", grpc.url));
        let line = format!(
            "{text}parlance ready: dialects http://{} admin http://{}{grpc}\n",
            self.dialects, self.admin
        );
        match run_with_timeout(move || print(&line)) {
            Ok(Some(printed)) => printed,
            Ok(None) => {
                warn!(
                    "standard output is not read: the line with the addresses is not written yet"
                );
                Ok(())
            }
            Err(error) => Err(CommandError::refused(format!(
                "the thread that writes the addresses to standard output does not start: {error}"
            ))),
        }
    }

    /// Serves until a signal, then shuts down gracefully: drains requests under way and flushes pending writes. A
    /// second signal ends the drain at once. `SIGHUP` reloads the configuration, if `load` is given.
    pub(crate) async fn run_until_stopped(
        self,
        config: &Config,
        mut signals: ServerSignals,
        load: Option<LoadConfig>,
    ) -> Result<(), CommandError> {
        let mut termination = TerminationSignals::new().map_err(|error| signal_error(&error))?;
        let names: Vec<_> = config.enabled().map(|dialect| dialect.entry.name).collect();
        let grpc = self.grpc.as_ref().map(|grpc| tracing::field::display(&grpc.url));
        info!(dialects = names.join(","), listen = %self.dialects, admin = %self.admin, grpc, "serving");
        let store = Arc::clone(self.authority.store());
        let (handles, running): (Vec<_>, Vec<_>) =
            self.listeners.into_iter().map(|listener| (listener.handle, listener.task)).unzip();
        let mut running = select_all(running);
        let purge_task = rt::spawn(purge_dead_rows(Arc::downgrade(&self.authority), self.clock));
        let refusal_log_task = rt::spawn(log_refusals_periodically());
        let poll = config.key_schedule.poll_interval;
        let key_refresh_task =
            rt::spawn(refresh_keys(Arc::downgrade(&self.authority), self.key_manager, poll));
        let thread_ended = async {
            match select(&mut running, Box::pin(self.threads.wait_for_missing())).await {
                Either::Left(_) => "a listener".to_owned(),
                Either::Right((thread, _)) => format!("the thread `{thread}`"),
            }
        };
        let mut reload = load.map(|load| Reloader::new(load, self.reload_targets, config));
        let stop_requested = async {
            while signals.next(&mut termination).await == SignalRequest::Reload {
                match &mut reload {
                    Some(reload) => reload.run(),
                    None => info!("there is no configuration file to reload"),
                }
            }
        };
        if let Either::Right((ended, _)) =
            select(Box::pin(stop_requested), Box::pin(thread_ended)).await
        {
            self.stopping.store(true, Ordering::Relaxed);
            // Flushes as much as possible in a bounded time: after a fault no thread is known to work.
            let _flushed = rt::time::timeout(FLUSH_TIMEOUT, store.flush()).await;
            return Err(CommandError::refused(format!(
                "{ended} has ended because of a fault: the program ends, and must be started again"
            )));
        }
        self.stopping.store(true, Ordering::Relaxed);
        info!("stopping");
        let drained = Box::pin(async {
            rt::time::sleep(config.drain_delay).await;
            // All listeners drain at once.
            join(
                join_all(handles.iter().map(|handle| handle.stop(true))),
                grpc::close(self.grpc, Duration::from_secs(DRAIN_TIMEOUT_SECONDS)),
            )
            .await
        });
        if let Either::Right(_) = select(drained, Box::pin(termination.next())).await {
            info!("stopping at once");
        }
        for listener in running.into_inner() {
            listener.abort();
        }
        purge_task.abort();
        refusal_log_task.abort();
        logging::log_all_refusals();
        key_refresh_task.abort();
        store.flush().await.map_err(CommandError::refused)?;
        info!("stopped");
        Ok(())
    }
}

/// The signals that a server survives. They are caught from the start on, since an uncaught one ends the program. The
/// signals that end the program keep their default action until the server serves: a start may wait long for a
/// database.
pub(crate) struct ServerSignals {
    reload: Signal,
    _ignored: [Signal; 2],
}

/// The action that a signal asks for.
#[derive(Debug, PartialEq, Eq)]
enum SignalRequest {
    Stop,
    Reload,
}

impl ServerSignals {
    pub(crate) fn new() -> Result<Self, CommandError> {
        let caught = || {
            Ok(Self {
                reload: signal(SignalKind::hangup())?,
                _ignored: [
                    signal(SignalKind::user_defined1())?,
                    signal(SignalKind::user_defined2())?,
                ],
            })
        };
        caught().map_err(|error: io::Error| signal_error(&error))
    }

    /// Waits for the next signal. Several requests for a reload before the reload begins are one.
    async fn next(&mut self, termination: &mut TerminationSignals) -> SignalRequest {
        match select(Box::pin(termination.next()), Box::pin(self.reload.recv())).await {
            Either::Left(_) => SignalRequest::Stop,
            Either::Right(_) => SignalRequest::Reload,
        }
    }
}

fn signal_error(error: &io::Error) -> CommandError {
    CommandError::refused(format!("cannot wait for signals: {error}"))
}

/// The two signals that end the program: `SIGTERM` and `SIGINT`.
pub(crate) struct TerminationSignals(Signal, Signal);

impl TerminationSignals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    /// Waits for the next of either.
    pub(crate) async fn next(&mut self) {
        select(Box::pin(self.0.recv()), Box::pin(self.1.recv())).await;
    }
}

fn dialect_server(
    listen: SocketAddr,
    limit: Arc<ConnectionLimit>,
    shell: AppContext,
    mounts: Vec<Mount>,
    metrics: Metrics,
) -> Result<(Server, SocketAddr), CommandError> {
    let failed = |error: io::Error| listen_error(listen, "--listen", &error);
    let server = BoundedServer::bind(listen)
        .map_err(failed)?
        .max_connections(connections::max_accepted(&limit))
        .admission(move |stream| connections::admit(&limit, stream))
        .shutdown_timeout(DRAIN_TIMEOUT_SECONDS);
    let address = server.local_addr().map_err(failed)?;
    let server = server.run(move || {
        let (shell, mounts, metrics) = (shell.clone(), mounts.clone(), metrics.clone());
        let timed = Rc::new(metrics.clone());
        App::new()
            .wrap_fn(move |request, next| {
                let (metrics, watch) = (Rc::clone(&timed), Stopwatch::start());
                let answer = next.call(request);
                async move {
                    let answer = answer.await?;
                    if let Some(ServedBy(dialect)) = answer.request().extensions().get().copied() {
                        metrics.observe_latency(dialect, watch.elapsed());
                    }
                    Ok(answer)
                }
            })
            .configure(move |config| mount(config, &shell, &mounts))
            .default_service(unclaimed_route(ListenerKind::Dialects, metrics))
    });
    Ok((server.map_err(failed)?, address))
}

/// The route of unknown paths: 404, counted.
pub(crate) fn unclaimed_route(by: ListenerKind, metrics: Metrics) -> Route {
    web::to(move |request: HttpRequest| {
        metrics.count_unclaimed(by);
        logging::log_unclaimed(by.name(), request.method().as_str(), request.path());
        async {
            HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body("Not found.\n")
        }
    })
}

/// Warns of clock skew: the database's clock judges sessions, and this machine's clock stamps the log.
fn warn_about_clock_skew(clock: &dyn Clock) {
    let (own, shared) = (SystemClock.now(), clock.now());
    let (ahead, behind) = (own.since(shared).as_secs(), shared.since(own).as_secs());
    if ahead.max(behind) >= CLOCK_SKEW_WARNING_SECONDS {
        warn!(
            ahead,
            behind,
            "this machine's clock differs from the database's clock, which decides when sessions expire: set this machine's clock, or the times in this log mislead"
        );
    }
}

/// The error of a listener that cannot bind its address.
pub(crate) fn listen_error(address: SocketAddr, key: &str, error: &io::Error) -> CommandError {
    CommandError::refused(format!(
        "cannot listen on {address}: {error}; choose another address with {key}"
    ))
}

/// Logs refusals that were only counted, once their minute is over.
async fn log_refusals_periodically() {
    let mut tick = rt::time::interval(REFUSAL_LOG_INTERVAL);
    loop {
        tick.tick().await;
        logging::log_due_refusals();
    }
}
