//! The log: one line a record on standard error.
//!
//! No secret, no query string and no request header is ever logged. What a record holds is escaped before it is queued, so that nothing
//! that a client chose (the name it showed at a login) can forge a line or colour a terminal.

mod queue;
mod repeats;

use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use parlance::core::Failure;
use parlance::core::ports::{Action, Event, Observer, StoreError, TurnedAway};
use parlance::system::Stopwatch;
use tracing::{debug, error, info, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use self::queue::QUEUE;
pub(crate) use self::queue::Queue;
pub(crate) use self::repeats::{Refusal, refused, tell_all, tell_due};
use crate::cli::Failed;
use crate::config::Config;
use crate::escape::{plain, plain_json};
use crate::metrics::Metrics;
use crate::output::STALL_TIMEOUT;

/// The modules that tell of what a peer sends: no HTTP, a wrong frame, a broken handshake. Any stranger can have them do so.
const STRANGERS: [&str; 7] =
    ["actix_http", "h2", "hyper", "hyper_util", "rustls", "tokio_rustls", "tonic"];
/// How often the same trouble with the database is told.
const REMIND_EVERY: Duration = Duration::from_secs(60);
/// How often, where the database was well in between: some requests may fail while others do not.
const REMIND_AFTER_RECOVERY: Duration = Duration::from_secs(5);
/// How many troubles are told apart; more than these are not told meanwhile.
const MAX_CAUSES: usize = 8;

/// Which records are written, to be changed while the program runs.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// The log at work. Once this is dropped what was logged is written, if it is read within [`STALL_TIMEOUT`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Log(());

/// Starts logging: what this program says, and what goes wrong in the libraries below it.
///
/// # Errors
/// The thread that writes does not start.
pub(crate) fn start(config: &Config) -> Result<Log, Failed> {
    let tell = |dropped| warn!(dropped, "log records were dropped: they were not read fast enough");
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || QUEUE.write_to(&io::stderr(), tell))
        .map_err(|error| {
            Failed::refused(format!("the thread that writes the log does not start: {error}"))
        })?;
    let (filter, handle) = reload::Layer::new(filter(&config.log_level));
    let log = fmt::layer().with_ansi(false).with_target(false).log_internal_errors(false);
    let log = if config.log_json {
        log.json().with_writer(Records { json: true }).boxed()
    } else {
        log.with_writer(Records { json: false }).boxed()
    };
    let _once = tracing_subscriber::registry().with(log.with_filter(filter)).try_init();
    let _once = FILTER.set(handle);
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let cause = text.or_else(|| payload.downcast_ref::<&str>().copied());
        let location = panic.location().map(tracing::field::display);
        error!(thread = thread.name(), location, cause, "a thread panicked");
    }));
    Ok(Log(()))
}

impl Drop for Log {
    fn drop(&mut self) {
        QUEUE.flush(STALL_TIMEOUT);
    }
}

/// The log's queue: how full it is, and what it had to drop.
pub(crate) fn queue() -> &'static Queue {
    &QUEUE
}

/// Queues what is formatted, each record escaped and in one piece.
#[derive(Debug, Clone, Copy)]
struct Records {
    json: bool,
}

impl MakeWriter<'_> for Records {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl io::Write for Records {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        QUEUE.push(line(record, self.json).as_bytes());
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A record as one line without a character that hides.
fn line(record: &[u8], json: bool) -> String {
    let text = String::from_utf8_lossy(record);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let mut line = if json { plain_json(text) } else { plain(text) };
    line.push('\n');
    line
}

/// From now on the log has the records of this level (`error`, `warn`, `info`, `debug`) and of those above it. Without a log that was
/// started nothing happens.
pub(crate) fn set_level(level: &str) {
    if let Some(handle) = FILTER.get() {
        // It fails only where there is no log any more.
        let _gone = handle.reload(filter(level));
    }
}

/// Which records a level lets through. A level that is no level counts as `info`.
fn filter(level: &str) -> Targets {
    let level = level.parse().unwrap_or(LevelFilter::INFO);
    let strangers = if level < LevelFilter::DEBUG { LevelFilter::OFF } else { LevelFilter::WARN };
    Targets::new()
        .with_targets(STRANGERS.map(|module| (module, strangers)))
        .with_target("parlance", level)
        .with_default(level.min(LevelFilter::WARN))
}

/// Says loudly that the database's file is another one than is open, and that it is the right one again.
pub(crate) fn file_replaced(what: Option<&str>) {
    match what {
        Some(what) => error!("{what}"),
        None => warn!("the database's file is the one that is open again"),
    }
}

/// Counts and logs what the authority decides.
#[derive(Debug)]
pub(crate) struct Recorder {
    metrics: Metrics,
    trouble: Mutex<Trouble>,
}

/// What was told of the database lately.
#[derive(Debug, Default)]
struct Trouble {
    causes: Vec<(String, Stopwatch)>,
    /// Whether it has read and written since.
    is_over: bool,
}

impl Recorder {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics, trouble: Mutex::default() }
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &Event<'_>) {
        self.metrics.count(event);
        let Event { dialect, action, failure, user, shown, peer, foreign, failures, .. } = *event;
        let (reason, own_name) = (event.reason(), event.name);
        let (address, account) = (peer, user);
        let peer = peer.map(tracing::field::display);
        let user = user.map(tracing::field::display);
        if foreign {
            info!(dialect, action = name(action), user, peer, "use from a foreign address");
        }
        match (action, failure) {
            (_, Some(failure @ (Failure::Busy | Failure::Unavailable))) => {
                refused(Refusal::NotServed(failure), address);
            }
            (_, Some(failure @ Failure::Throttled)) => {
                refused(Refusal::Login(failure, None), address);
            }
            (_, Some(failure @ Failure::Locked { .. })) => {
                refused(Refusal::Login(failure, account), address);
            }
            (Action::Login, Some(_)) => {
                info!(
                    dialect,
                    reason,
                    user,
                    // Either format writes a text escaped. What holds a NUL stands for a name that could not be read.
                    shown = shown.filter(|shown| !shown.contains('\0')).map(short),
                    peer,
                    "login refused"
                );
            }
            (Action::Login, None) => {
                if failures > 0 {
                    info!(dialect, user, name = own_name, peer, failures, "login after failures");
                } else {
                    info!(dialect, user, name = own_name, peer, "login");
                }
                // It was read and written.
                self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
            }
            (Action::End, None) => info!(dialect, user, name = own_name, peer, "logout"),
            (Action::Check | Action::Renewal | Action::End, _) => {
                debug!(dialect, action = name(action), reason, user, peer, "session");
            }
        }
    }

    fn turned_away(&self, dialect: &'static str, why: TurnedAway, peer: Option<IpAddr>) {
        self.metrics.turned_away(dialect, why);
        match why {
            // Somebody may be looking for what is wrong with a client of theirs.
            TurnedAway::Malformed | TurnedAway::WrongMediaType | TurnedAway::MissingField => {
                refused(Refusal::Call(dialect, why), peer);
            }
            TurnedAway::NoCredential => {
                let peer = peer.map(tracing::field::display);
                debug!(dialect, action = CALL, reason = why.reason(), peer, "call refused");
            }
        }
    }

    fn store_failed(&self, error: &StoreError) {
        match error {
            // Each of them is in the record of its call.
            StoreError::Busy => {}
            StoreError::Unavailable(cause) if self.is_news(cause) => {
                warn!(cause, "the database does not do what is asked of it");
            }
            StoreError::Unavailable(_) => {}
        }
    }
}

impl Recorder {
    /// Whether this is news: another trouble than the last ones, or the same after a while.
    fn is_news(&self, cause: &str) -> bool {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = if trouble.is_over { REMIND_AFTER_RECOVERY } else { REMIND_EVERY };
        trouble.causes.retain(|(_, told)| told.elapsed() < stands);
        let is_told = trouble.causes.iter().any(|(told, _)| told == cause);
        if is_told || trouble.causes.len() >= MAX_CAUSES {
            return false;
        }
        trouble.causes.push((cause.to_owned(), Stopwatch::start()));
        trouble.is_over = false;
        true
    }
}

/// No more of a shown name than a name can have.
fn short(shown: &str) -> &str {
    shown.char_indices().nth(128).map_or(shown, |(end, _)| shown.get(..end).unwrap_or_default())
}

/// A request for a path that nothing here answers. Its query is left out; the rest is escaped, and no longer than a name.
pub(crate) fn unclaimed(listener: &'static str, method: &str, path: &str) {
    // A client with a wrong base path sends its parameters behind the path too, a token among them: `/login&token=...` is documented.
    let path = path.find(['&', ';', '=']).and_then(|end| path.get(..end)).unwrap_or(path);
    debug!(listener, method = short(method), path = short(path), "no such path");
}

/// The action of a request that never became one of the others.
pub(crate) const CALL: &str = "call";

/// An action in one word.
pub(crate) fn name(action: Action) -> &'static str {
    match action {
        Action::Login => "login",
        Action::Check => "check",
        Action::Renewal => "renewal",
        Action::End => "end",
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_record_is_one_line_in_both_formats() {
        let check = |record: &str, text: &str, json: &str| {
            assert_eq!(line(record.as_bytes(), false), text);
            assert_eq!(line(record.as_bytes(), true), json);
        };
        check("plain\n", "plain\n", "plain\n");
        check("no end", "no end\n", "no end\n");
        check("cause=a\nb\u{9b}\n", "cause=a\\nb\\u{9b}\n", "cause=a\\u000ab\\u009b\n");
    }

    /// Whether the level lets a record of this module through.
    #[track_caller]
    fn check(level: &str, target: &str, of: Level, expected: bool) {
        assert_eq!(filter(level).would_enable(target, &of), expected, "{level}: {of} of {target}");
    }

    #[test]
    fn a_level_lets_through_its_own_records_and_graver_ones() {
        for (level, debug, info, warn) in
            [("debug", true, true, true), ("info", false, true, true), ("warn", false, false, true)]
        {
            check(level, "parlance::serve", Level::DEBUG, debug);
            check(level, "parlance::serve", Level::INFO, info);
            check(level, "parlance::serve", Level::WARN, warn);
            check(level, "actix_server", Level::WARN, true);
            check(level, "actix_server", Level::INFO, false);
        }
        check("error", "parlance::serve", Level::WARN, false);
        for stranger in ["h2::proto::streams", "hyper::proto", "actix_http::h1::dispatcher"] {
            check("info", stranger, Level::ERROR, false);
            check("debug", stranger, Level::WARN, true);
        }
        check("loud", "parlance::serve", Level::INFO, true);
    }
}
