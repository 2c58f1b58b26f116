//! The log: one line a record on standard error.
//!
//! No secret, no query string and no request header is ever logged; what a client chose (the name it showed at a login) is written in
//! the escaped form of a Rust string, so that it cannot forge a line or colour a terminal.

use parlance::core::Failure;
use parlance::core::ports::{Action, Event, Observer};
use tracing::{debug, info, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::Config;
use crate::metrics::Metrics;

/// Starts logging: what this program says, and what goes wrong in the libraries below it.
pub(crate) fn start(config: &Config) {
    let level = config.log_level.parse().unwrap_or(LevelFilter::INFO);
    let wanted =
        Targets::new().with_target("parlance", level).with_default(level.min(LevelFilter::WARN));
    let log = fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
    let log = if config.log_json { log.json().boxed() } else { log.boxed() };
    // A second start in one process (the demo's) keeps the first log.
    let _already = tracing_subscriber::registry().with(log.with_filter(wanted)).try_init();
}

/// Counts and logs what the authority decides.
#[derive(Debug)]
pub(crate) struct Recorder(pub(crate) Metrics);

impl Observer for Recorder {
    fn observe(&self, event: &Event<'_>) {
        self.0.count(event);
        let Event { dialect, action, failure, user, shown, peer, foreign } = *event;
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
                    shown = shown.map(|shown| tracing::field::debug(short(shown))),
                    peer,
                    "login refused"
                );
            }
            (Action::Login, None) => info!(dialect, user, peer, "login"),
            (Action::End, None) => info!(dialect, peer, "logout"),
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
}

/// No more of a shown name than a name can have.
fn short(shown: &str) -> &str {
    shown.char_indices().nth(128).map_or(shown, |(end, _)| shown.get(..end).unwrap_or_default())
}

/// An action in one word.
pub(crate) fn name(action: Action) -> &'static str {
    match action {
        Action::Login => "login",
        Action::Check => "check",
        Action::Renewal => "renewal",
        Action::End => "end",
    }
}
