//! The log: one line a record on standard error.
//!
//! No secret, no query string and no request header is ever logged; what a client chose (the name it showed at a login) is written in
//! the escaped form of a Rust string, so that it cannot forge a line or colour a terminal.

use std::net::IpAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use parlance::core::Failure;
use parlance::core::ports::{Action, Event, Observer, StoreError, TurnedAway};
use parlance::system::Stopwatch;
use tracing::{debug, error, info, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::Config;
use crate::metrics::Metrics;

/// The module that tells of requests that are no HTTP, as errors and without saying whose they are. Any stranger can send them.
const STRANGERS: &str = "actix_http::h1";
/// How often the same trouble with the database is told.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// Which records are written, to be changed while the program runs.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts logging: what this program says, and what goes wrong in the libraries below it.
pub(crate) fn start(config: &Config) {
    let (filter, handle) = reload::Layer::new(filter(&config.log_level));
    let log = fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
    let log = if config.log_json { log.json().boxed() } else { log.boxed() };
    // A second start in one process (the demo's) keeps the first log.
    if tracing_subscriber::registry().with(log.with_filter(filter)).try_init().is_ok() {
        let _first = FILTER.set(handle);
    }
}

/// From now on the log has the records of this level (`error`, `warn`, `info`, `debug`) and of those above it. Without a log that was
/// started nothing happens.
#[expect(
    dead_code,
    reason = "a reload is what changes the level; the command that reloads uses it"
)]
pub(crate) fn set_level(level: &str) {
    if let Some(handle) = FILTER.get() {
        // It fails only where there is no log any more.
        let _gone = handle.reload(filter(level));
    }
}

/// Which records a level lets through. A level that is no level counts as `info`.
fn filter(level: &str) -> Targets {
    let level = level.parse().unwrap_or(LevelFilter::INFO);
    let strangers = if level < LevelFilter::DEBUG { LevelFilter::OFF } else { LevelFilter::ERROR };
    Targets::new()
        .with_target("parlance", level)
        .with_target(STRANGERS, strangers)
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
    /// What was last told of the database, and when.
    trouble: Mutex<Option<(String, Stopwatch)>>,
}

impl Recorder {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics, trouble: Mutex::default() }
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &Event<'_>) {
        self.metrics.count(event);
        let Event { dialect, action, failure, user, shown, peer, foreign, failures } = *event;
        let peer = peer.map(tracing::field::display);
        let user = user.map(tracing::field::display);
        if foreign {
            info!(dialect, action = name(action), user, peer, "use from a foreign address");
        }
        match (action, failure) {
            (_, Some(Failure::Busy | Failure::Unavailable)) => {
                warn!(
                    dialect,
                    action = name(action),
                    reason = failure.map(Failure::reason),
                    peer,
                    "not served"
                );
            }
            (Action::Login, Some(failure)) => {
                info!(
                    dialect,
                    reason = failure.reason(),
                    user,
                    // Either format writes a text escaped. What holds a NUL stands for a name that could not be read.
                    shown = shown.filter(|shown| !shown.contains('\0')).map(short),
                    peer,
                    "login refused"
                );
            }
            (Action::Login, None) => {
                if failures > 0 {
                    info!(dialect, user, peer, failures, "login after failures");
                } else {
                    info!(dialect, user, peer, "login");
                }
                // It was read and written.
                self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
            (Action::End, None) => info!(dialect, user, peer, "logout"),
            (Action::Check | Action::Renewal | Action::End, failure) => {
                debug!(
                    dialect,
                    action = name(action),
                    reason = failure.map(Failure::reason),
                    user,
                    peer,
                    "session"
                );
            }
        }
    }

    fn turned_away(&self, dialect: &'static str, why: TurnedAway, peer: Option<IpAddr>) {
        self.metrics.turned_away(dialect, why);
        let peer = peer.map(tracing::field::display);
        let reason = why.reason();
        match why {
            // Somebody may be looking for what is wrong with a client of theirs.
            TurnedAway::WrongMediaType | TurnedAway::MissingField => {
                info!(dialect, action = CALL, reason, peer, "call refused");
            }
            TurnedAway::NoCredential | TurnedAway::Malformed => {
                debug!(dialect, action = CALL, reason, peer, "call refused");
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
    /// Whether this is news: another trouble than the last, or the same after a while.
    fn is_news(&self, cause: &str) -> bool {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let told =
            trouble.as_ref().is_some_and(|(last, at)| last == cause && at.elapsed() < REMIND_EVERY);
        if !told {
            *trouble = Some((cause.to_owned(), Stopwatch::start()));
        }
        !told
    }
}

/// No more of a shown name than a name can have.
fn short(shown: &str) -> &str {
    shown.char_indices().nth(128).map_or(shown, |(end, _)| shown.get(..end).unwrap_or_default())
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
            check(level, "hyper", Level::INFO, false);
        }
        check("error", "parlance::serve", Level::WARN, false);
        check("loud", "parlance::serve", Level::INFO, true);
    }
}
