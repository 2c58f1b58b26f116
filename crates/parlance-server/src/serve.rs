//! `parlance serve`: its listeners, until a signal says to stop.

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
use parlance::actix::{BoundedServer, Mount, Served, Shell, mount};
use parlance::core::Authority;
use parlance::core::connections::{ConnectionLimit, ConnectionPolicy};
use parlance::core::ports::Clock;
use parlance::keys::Keychain;
use parlance::maintenance::{purge_dead_rows, refresh_keys};
use parlance::system::{Stopwatch, SystemClock};
use tracing::{info, warn};

use crate::app::AtWork;
use crate::cli::Failed;
use crate::config::Config;
use crate::logging::{self, Recorder};
use crate::metrics::{Metrics, UnclaimedBy};
use crate::output::{in_time, print};
use crate::reload::{Live, Load, Reload};
use crate::threads::Threads;
use crate::{admin, app, connections, descriptors, grpc};

/// How long requests under way may take after a signal.
const DRAIN_SECONDS: u64 = 20;
/// How many seconds this machine's clock may differ from the database's without a word.
const SKEW_SECONDS: u64 = 5;
/// How often refusals that were only counted are looked at; each is told once a minute.
const REPEATS_EVERY: Duration = Duration::from_secs(5);
/// How long a program that ends by a fault waits for what is still to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the server until a signal.
pub(crate) fn run(load: Load) -> Result<(), Failed> {
    let config = &load()?;
    let _log = logging::start(config)?;
    rt::System::new().block_on(async {
        let signals = ServerSignals::new()?;
        let server = Running::start(config).await?;
        server.announce("")?;
        server.wait(config, signals, Some(load)).await
    })
}

/// A server that is listening.
pub(crate) struct Running {
    pub(crate) dialects: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) authority: Arc<Authority>,
    pub(crate) clock: Arc<dyn Clock>,
    grpc: Option<grpc::Door>,
    keychain: Arc<Keychain>,
    live: Live,
    stopping: Arc<AtomicBool>,
    listeners: Vec<Listener>,
    threads: Threads,
}

/// A listener whose threads serve.
struct Listener {
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl Listener {
    /// Starts the threads of a server and waits until each of them serves.
    ///
    /// # Errors
    /// The system does not give one of them.
    async fn start(mut server: Server) -> Result<Self, Failed> {
        let handle = server.handle();
        // Its first turn starts the threads and waits for them. It panics where there is none to be had.
        let turn = |cx: &mut Context<'_>| {
            Poll::Ready(catch_unwind(AssertUnwindSafe(|| Pin::new(&mut server).poll(cx))))
        };
        match poll_fn(turn).await {
            Ok(Poll::Pending) => Ok(Self { handle, task: rt::spawn(server) }),
            Ok(Poll::Ready(Ok(()))) => Err(app::no_threads("a listener ended at once")),
            Ok(Poll::Ready(Err(error))) => Err(app::no_threads(&format!("a listener: {error}"))),
            Err(_) => Err(app::no_threads("those of a listener")),
        }
    }
}

impl Running {
    /// Opens the database, bringing its schema up to date, and listens.
    pub(crate) async fn start(config: &Config) -> Result<Self, Failed> {
        let file = config.file.as_ref().map(|file| tracing::field::display(file.display()));
        let read = if file.is_some() { "configuration read" } else { "no configuration file" };
        info!(file, "{read}");
        for name in &config.unknown_variables {
            warn!(variable = name.as_str(), "variable is not known and was ignored");
        }
        if let Some(advice) = parlance::store::advice(&config.database).map_err(Failed::refused)? {
            warn!("{advice}");
        }
        parlance::store::migrate(&config.database).map_err(Failed::refused)?;
        let metrics = Metrics::new();
        let authority = app::authority(config, Arc::new(Recorder::new(metrics.clone())))?;
        let clock = app::clock(&authority)?;
        warn_of_skew(&*clock);
        let AtWork { mounts, keychain, parts, assertions } =
            app::at_work(config, &authority, &clock).await?;
        let keychain = Arc::new(keychain);
        if mounts.is_empty() {
            warn!("no dialect is enabled: there is nobody to log in");
        }
        let shell = Shell { clock: Arc::clone(&clock), proxies: Arc::new(config.proxies.clone()) };
        let services: Vec<_> = mounts.iter().map(|mount| Arc::clone(&mount.service)).collect();
        let forward_auth = Arc::new(ArcSwap::from_pointee(config.forward_auth.clone()));
        let gate = admin::Gate::new(
            shell.clone(),
            services.clone(),
            Arc::clone(&forward_auth),
            assertions,
        );
        let stopping = Arc::<AtomicBool>::default();
        let desk = admin::Desk {
            authority: Arc::clone(&authority),
            store: Arc::clone(authority.store()),
            clock: Arc::clone(&clock),
            stopping: Arc::clone(&stopping),
            metrics: metrics.clone(),
            live: Arc::default(),
            services,
            keychain: Arc::clone(&keychain),
            gate,
        };
        let shares = descriptors::share();
        let (proxies, counted) = (Arc::clone(&shell.proxies), metrics.clone());
        let [at_dialects, at_admin, at_grpc] =
            [shares.dialects, shares.admin, shares.grpc].map(|total| {
                let per_address = config.max_connections_per_address;
                let policy = ConnectionPolicy { total, per_address };
                connections::limit(policy, Arc::clone(&proxies), counted.clone())
            });
        let live = Live {
            authority: Arc::clone(&authority),
            proxies: config.proxies.clone(),
            forward_auth,
            connections: [&at_dialects, &at_admin, &at_grpc].map(Arc::clone),
        };
        let (door, dialects) = dialect_server(config.listen, at_dialects, shell, mounts, metrics)?;
        let (back, admin) = admin::server(config.admin_listen, desk, at_admin)?;
        for (address, what) in [(dialects, "dialects"), (admin, "admin")] {
            if !address.ip().is_loopback() {
                warn!(%address, what, "listens beyond this machine without TLS: put a proxy that speaks TLS before it");
            }
        }
        let grpc = grpc::open(config, &parts, &clock, at_grpc)?;
        let listeners = vec![Listener::start(door).await?, Listener::start(back).await?];
        Ok(Self {
            dialects,
            admin,
            authority,
            clock,
            grpc,
            keychain,
            live,
            stopping,
            listeners,
            threads: Threads::now(),
        })
    }

    /// Says on standard output where it listens, after this text. Where the gRPC listens is news to those alone who chose it. Whoever
    /// does not read it holds up nothing for long.
    ///
    /// # Errors
    /// It cannot be written, for another reason than that its reader has gone.
    pub(crate) fn announce(&self, text: &str) -> Result<(), Failed> {
        let chosen = self.grpc.as_ref().filter(|grpc| grpc.asked);
        let grpc = chosen.map_or_else(String::new, |grpc| format!(" grpc {}", grpc.url));
        let line = format!(
            "{text}parlance ready: dialects http://{} admin http://{}{grpc}\n",
            self.dialects, self.admin
        );
        match in_time(move || print(&line)) {
            Ok(Some(printed)) => printed,
            Ok(None) => {
                warn!("standard output is not read: where this listens is not told there yet");
                Ok(())
            }
            Err(error) => Err(Failed::refused(format!(
                "the thread that says where it listens does not start: {error}"
            ))),
        }
    }

    /// Serves until a signal, then finishes what is under way and writes what is still in memory. A second signal waits for nobody. `SIGHUP`
    /// reloads the configuration, where there is one to be loaded.
    pub(crate) async fn wait(
        self,
        config: &Config,
        mut signals: ServerSignals,
        load: Option<Load>,
    ) -> Result<(), Failed> {
        let mut ends = Signals::new().map_err(|error| uncaught(&error))?;
        let names: Vec<_> = config.enabled().map(|dialect| dialect.entry.name).collect();
        let grpc = self.grpc.as_ref().map(|grpc| tracing::field::display(&grpc.url));
        info!(dialects = names.join(","), listen = %self.dialects, admin = %self.admin, grpc, "serving");
        let store = Arc::clone(self.authority.store());
        let (handles, running): (Vec<_>, Vec<_>) =
            self.listeners.into_iter().map(|listener| (listener.handle, listener.task)).unzip();
        let mut running = select_all(running);
        let housekeeper = rt::spawn(purge_dead_rows(Arc::downgrade(&self.authority), self.clock));
        let reporter = rt::spawn(report_repeats());
        let poll = config.key_schedule.poll;
        let key_keeper =
            rt::spawn(refresh_keys(Arc::downgrade(&self.authority), self.keychain, poll));
        let works = async {
            match select(&mut running, Box::pin(self.threads.one_ends())).await {
                Either::Left(_) => "a listener".to_owned(),
                Either::Right((thread, _)) => format!("its thread `{thread}`"),
            }
        };
        let mut reload = load.map(|load| Reload::new(load, self.live, config));
        let told = async {
            while signals.next(&mut ends).await == Asked::Reload {
                match &mut reload {
                    Some(reload) => reload.run(),
                    None => info!("there is no configuration to be reloaded"),
                }
            }
        };
        if let Either::Right((ended, _)) = select(Box::pin(told), Box::pin(works)).await {
            self.stopping.store(true, Ordering::Relaxed);
            // Whatever is left: nothing is known of what still works.
            let _flushed = rt::time::timeout(FLUSH_TIMEOUT, store.flush()).await;
            return Err(Failed::refused(format!(
                "{ended} has ended, which only a fault does: the program ends, to be started again"
            )));
        }
        self.stopping.store(true, Ordering::Relaxed);
        info!("stopping");
        let drained = Box::pin(async {
            rt::time::sleep(config.stop_delay).await;
            // All drain at once.
            join(
                join_all(handles.iter().map(|handle| handle.stop(true))),
                grpc::close(self.grpc, Duration::from_secs(DRAIN_SECONDS)),
            )
            .await
        });
        if let Either::Right(_) = select(drained, Box::pin(ends.next())).await {
            info!("stopping at once");
        }
        for listener in running.into_inner() {
            listener.abort();
        }
        housekeeper.abort();
        reporter.abort();
        logging::tell_all();
        key_keeper.abort();
        store.flush().await.map_err(Failed::refused)?;
        info!("stopped");
        Ok(())
    }
}

/// The signals that a server lives through. They are caught from its start on, since one that is not caught ends the program. Those that
/// should end it do so by themselves until it serves: its start may wait long for a database.
pub(crate) struct ServerSignals {
    reload: Signal,
    _ignored: [Signal; 2],
}

/// What a signal asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Stop,
    Reload,
}

impl ServerSignals {
    pub(crate) fn new() -> Result<Self, Failed> {
        let caught = || {
            Ok(Self {
                reload: signal(SignalKind::hangup())?,
                _ignored: [
                    signal(SignalKind::user_defined1())?,
                    signal(SignalKind::user_defined2())?,
                ],
            })
        };
        caught().map_err(|error: io::Error| uncaught(&error))
    }

    /// Waits for the next, of these or of those that end the program. Several that ask for a reload before it is begun are one.
    async fn next(&mut self, ends: &mut Signals) -> Asked {
        match select(Box::pin(ends.next()), Box::pin(self.reload.recv())).await {
            Either::Left(_) => Asked::Stop,
            Either::Right(_) => Asked::Reload,
        }
    }
}

fn uncaught(error: &io::Error) -> Failed {
    Failed::refused(format!("cannot wait for signals: {error}"))
}

/// The two signals that end the program.
pub(crate) struct Signals(Signal, Signal);

impl Signals {
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
    shell: Shell,
    mounts: Vec<Mount>,
    metrics: Metrics,
) -> Result<(Server, SocketAddr), Failed> {
    let failed = |error: io::Error| cannot_listen(listen, "--listen", &error);
    let server = BoundedServer::bind(listen)
        .map_err(failed)?
        .max_connections(connections::at_once(&limit))
        .admission(move |stream| connections::admit(&limit, stream))
        .shutdown_timeout(DRAIN_SECONDS);
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
                    if let Some(Served(dialect)) = answer.request().extensions().get().copied() {
                        metrics.answered(dialect, watch.elapsed());
                    }
                    Ok(answer)
                }
            })
            .configure(move |config| mount(config, &shell, &mounts))
            .default_service(unclaimed(UnclaimedBy::Dialects, metrics))
    });
    Ok((server.map_err(failed)?, address))
}

/// What answers a path that nothing else does: 404, counted.
pub(crate) fn unclaimed(by: UnclaimedBy, metrics: Metrics) -> Route {
    web::to(move |request: HttpRequest| {
        metrics.unclaimed(by);
        logging::unclaimed(by.name(), request.method().as_str(), request.path());
        async {
            HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body("Not found.\n")
        }
    })
}

/// Says so where this machine's clock is not the one that counts: the log's times are its own.
fn warn_of_skew(clock: &dyn Clock) {
    let (own, shared) = (SystemClock.now(), clock.now());
    let (ahead, behind) = (own.since(shared).as_secs(), shared.since(own).as_secs());
    if ahead.max(behind) >= SKEW_SECONDS {
        warn!(
            ahead,
            behind,
            "this machine's clock is not the database's, by which sessions are judged: set it, or the times in this log mislead"
        );
    }
}

/// Why a listener could not be had.
pub(crate) fn cannot_listen(address: SocketAddr, key: &str, error: &io::Error) -> Failed {
    Failed::refused(format!(
        "cannot listen on {address}: {error}; choose another address with {key}"
    ))
}

/// Tells of refusals that were only counted, once their minute is over.
async fn report_repeats() {
    let mut tick = rt::time::interval(REPEATS_EVERY);
    loop {
        tick.tick().await;
        logging::tell_due();
    }
}
