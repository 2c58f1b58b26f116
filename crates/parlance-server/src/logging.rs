//! The log: one line a record on standard error.
//!
//! No secret, no query string and no request header is ever logged. A record is escaped before it is queued, so that no
//! text of a client (the name shown at a login) can forge a line or colour a terminal: the defence against log
//! injection.

mod queue;
mod refusals;

use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use parlance::core::ports::{Action, Event, Observer, StoreError, TurnedAway};
use parlance::core::{Failure, InternalError};
use parlance::system::Stopwatch;
use tracing::{debug, error, info, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use self::queue::LOG_QUEUE;
pub(crate) use self::queue::LogQueue;
pub(crate) use self::refusals::{
    CountedRefusal, log_all_refusals, log_due_refusals, record_refusal,
};
use crate::cli::CommandError;
use crate::config::Config;
use crate::escape::{escape_for_terminal, escape_json};
use crate::metrics::Metrics;
use crate::output::STALL_TIMEOUT;

/// Modules that log the input of a peer: no HTTP, a wrong frame, a broken handshake. Any stranger can cause such
/// records.
const PROTOCOL_TARGETS: [&str; 7] =
    ["actix_http", "h2", "hyper", "hyper_util", "rustls", "tokio_rustls", "tonic"];
/// Interval at which the same failure of the database is logged again.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);
/// The interval after a success in between: some requests may fail while others do not.
const REMINDER_INTERVAL_AFTER_RECOVERY: Duration = Duration::from_secs(5);
/// Most failures told apart. Further ones are not logged within the interval.
const MAX_CAUSES: usize = 8;

/// The filter of records, which a reload changes.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// The running log. Its drop writes the queued records, as far as they are read within [`STALL_TIMEOUT`].
#[derive(Debug)]
#[must_use]
pub(crate) struct LogGuard(());

/// Starts the log of this program, and of errors and warnings in the libraries below.
///
/// # Errors
/// The thread that writes does not start.
pub(crate) fn start(config: &Config) -> Result<LogGuard, CommandError> {
    let tell = |dropped| warn!(dropped, "log records were dropped: they were not read fast enough");
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || LOG_QUEUE.write_to(&io::stderr(), tell))
        .map_err(|error| {
            CommandError::refused(format!("the thread that writes the log does not start: {error}"))
        })?;
    let (filter, handle) = reload::Layer::new(filter(&config.log_level));
    let log = fmt::layer().with_ansi(false).with_target(false).log_internal_errors(false);
    let log = if config.log_json {
        log.json().with_writer(RecordWriter { json: true }).boxed()
    } else {
        log.with_writer(RecordWriter { json: false }).boxed()
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
    Ok(LogGuard(()))
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        LOG_QUEUE.flush(STALL_TIMEOUT);
    }
}

/// The log's queue, whose length and number of dropped records are metrics.
pub(crate) fn log_queue() -> &'static LogQueue {
    &LOG_QUEUE
}

/// Escapes each formatted record and queues the record in one piece.
#[derive(Debug, Clone, Copy)]
struct RecordWriter {
    json: bool,
}

impl MakeWriter<'_> for RecordWriter {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl io::Write for RecordWriter {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        LOG_QUEUE.push(escape_record(record, self.json).as_bytes());
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A record as one line, with hidden characters escaped.
fn escape_record(record: &[u8], json: bool) -> String {
    let text = String::from_utf8_lossy(record);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let mut line = if json { escape_json(text) } else { escape_for_terminal(text) };
    line.push('\n');
    line
}

/// Changes the log level (`error`, `warn`, `info`, `debug`): records of this level and graver ones are logged. Does
/// nothing before the log has started.
pub(crate) fn set_level(level: &str) {
    if let Some(handle) = FILTER.get() {
        // Fails only after the subscriber has gone.
        let _gone = handle.reload(filter(level));
    }
}

/// The filter of a level. An unknown level counts as `info`.
fn filter(level: &str) -> Targets {
    let level = level.parse().unwrap_or(LevelFilter::INFO);
    let protocol_level =
        if level < LevelFilter::DEBUG { LevelFilter::OFF } else { LevelFilter::WARN };
    Targets::new()
        .with_targets(PROTOCOL_TARGETS.map(|module| (module, protocol_level)))
        .with_target("parlance", level)
        .with_default(level.min(LevelFilter::WARN))
}

/// Logs that the database's file was replaced by another while open, and that the open file is in place again.
pub(crate) fn file_replaced(what: Option<&str>) {
    match what {
        Some(what) => error!("{what}"),
        None => warn!("the file at the database's path is the open database again"),
    }
}

/// Counts and logs the decisions of the authority.
#[derive(Debug)]
pub(crate) struct LoggingObserver {
    metrics: Metrics,
    reported: Mutex<ReportedErrors>,
}

/// Failures of the database that were logged lately.
#[derive(Debug, Default)]
struct ReportedErrors {
    causes: Vec<(String, Stopwatch)>,
    /// Whether the database has read and written since.
    is_over: bool,
}

impl LoggingObserver {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics, reported: Mutex::default() }
    }
}

impl Observer for LoggingObserver {
    fn observe(&self, event: &Event<'_>) {
        self.metrics.count_event(event);
        let Event {
            dialect,
            action,
            failure,
            user,
            presented_name: shown,
            peer,
            unexpected_address: foreign,
            previous_failures: failures,
            ..
        } = *event;
        let (reason, own_name) = (event.reason(), event.user_name);
        let (address, account) = (peer, user);
        let peer = peer.map(tracing::field::display);
        let user = user.map(tracing::field::display);
        if foreign {
            info!(
                dialect,
                action = action_name(action),
                user,
                peer,
                "use from an unexpected address"
            );
        }
        match (action, failure) {
            (_, Some(failure @ (Failure::Busy | Failure::Unavailable))) => {
                record_refusal(CountedRefusal::NotServed(failure), address);
            }
            (_, Some(failure @ Failure::RateLimited)) => {
                record_refusal(CountedRefusal::Login(failure, None), address);
            }
            (_, Some(failure @ Failure::Locked { .. })) => {
                record_refusal(CountedRefusal::Login(failure, account), address);
            }
            (Action::Login, Some(_)) => {
                info!(
                    dialect,
                    reason,
                    user,
                    // Either format escapes text. A text with a NUL stands for an unreadable name.
                    shown = shown.filter(|shown| !shown.contains('\0')).map(truncate_name),
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
                // A login reads and writes the database, so the database works again.
                self.reported.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
            }
            (Action::Logout, None) => info!(dialect, user, name = own_name, peer, "logout"),
            (Action::Check | Action::Renewal | Action::Logout, _) => {
                debug!(dialect, action = action_name(action), reason, user, peer, "session");
            }
        }
    }

    fn turned_away(&self, dialect: &'static str, why: TurnedAway, peer: Option<IpAddr>) {
        self.metrics.count_rejection(dialect, why);
        match why {
            // Developers may be looking for the mistake in their client.
            TurnedAway::Malformed | TurnedAway::WrongMediaType | TurnedAway::MissingField => {
                record_refusal(CountedRefusal::Call(dialect, why), peer);
            }
            TurnedAway::NoCredential => {
                let peer = peer.map(tracing::field::display);
                debug!(dialect, action = CALL_ACTION, reason = why.reason(), peer, "call refused");
            }
        }
    }

    fn internal_error(&self, error: &InternalError) {
        // The record of each refused call has this failure.
        if *error == InternalError::Store(StoreError::Busy) {
            return;
        }
        let cause = match error {
            InternalError::Store(StoreError::Unavailable(cause)) => cause.clone(),
            InternalError::Store(_) | InternalError::Hashing(_) | InternalError::Issue(_) => {
                error.to_string()
            }
        };
        if !self.should_report(&cause) {
            return;
        }
        if let InternalError::Store(_) = error {
            warn!(cause, "the database failed at a request");
        } else {
            warn!(cause, "this node failed at a request");
        }
    }
}

impl LoggingObserver {
    /// Whether a failure is news: another cause than the last ones, or the same cause after the interval.
    fn should_report(&self, cause: &str) -> bool {
        let mut trouble = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let stands =
            if trouble.is_over { REMINDER_INTERVAL_AFTER_RECOVERY } else { REMINDER_INTERVAL };
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

/// Cuts a shown name to the greatest length of a name.
fn truncate_name(shown: &str) -> &str {
    shown.char_indices().nth(128).map_or(shown, |(end, _)| shown.get(..end).unwrap_or_default())
}

/// Logs a request for an unknown path. The query is left out; the rest is escaped, and no longer than a name.
pub(crate) fn log_unclaimed(listener: &'static str, method: &str, path: &str) {
    // A client with a wrong base path sends its parameters behind the path too, a token among them: `/login&token=...`
    // is documented.
    let path = path.find(['&', ';', '=']).and_then(|end| path.get(..end)).unwrap_or(path);
    debug!(listener, method = truncate_name(method), path = truncate_name(path), "no such path");
}

/// The action of a request that a dialect refuses before the authority.
pub(crate) const CALL_ACTION: &str = "call";

/// An action as a label of logs and metrics.
pub(crate) fn action_name(action: Action) -> &'static str {
    match action {
        Action::Login => "login",
        Action::Check => "check",
        Action::Renewal => "renewal",
        Action::Logout => "end",
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_record_is_one_line_in_both_formats() {
        let check = |record: &str, text: &str, json: &str| {
            assert_eq!(escape_record(record.as_bytes(), false), text);
            assert_eq!(escape_record(record.as_bytes(), true), json);
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
    fn a_log_level_admits_its_own_and_more_severe_records() {
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
