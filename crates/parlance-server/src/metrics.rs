//! The metrics, for Prometheus.

mod process;
mod text;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parlance::core::Failure;
use parlance::core::ports::{Action, Event, TurnedAway, UNREADABLE_HASH};
use parlance::table::TABLE;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

type Labels = Vec<(&'static str, &'static str)>;

/// All counters, cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    dialects: HashMap<&'static str, DialectCounters>,
    refusals: Family<Labels, Counter>,
    connections_refused: Counter,
    unclaimed: Family<Labels, Counter>,
    live: Family<Labels, Gauge>,
    queues: Family<Labels, Gauge>,
    log_queue: Gauge,
}

/// The text format of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Format {
    /// The media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The listener that got a request for an unknown path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ListenerKind {
    /// The listener of the dialects.
    Dialects,
    /// The admin listener.
    Admin,
}

impl ListenerKind {
    /// The name, for metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dialects => "dialects",
            Self::Admin => "admin",
        }
    }
}

/// A dialect's counters, created once so that a request only adds.
struct DialectCounters {
    logins: Counter,
    checks: Counter,
    renewals: Counter,
    ends: Counter,
    foreign_uses: Counter,
    latency: Histogram,
}

impl Metrics {
    /// All counters at zero, one row for each compiled-in dialect.
    pub(crate) fn new() -> Self {
        let mut root = Registry::default();
        root.register_collector(Box::new(process::Process::new()));
        let registry = root.sub_registry_with_prefix("parlance");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The build of the running program", build);
        let counter = |registry: &mut Registry, name: &str, help: &str| {
            let family = Family::<Labels, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        let logins = counter(registry, "logins", "Logins that opened or took over a session");
        let checks = counter(registry, "checks", "Uses of a session that passed");
        let renewals = counter(registry, "renewals", "Sessions that were renewed");
        let ends = counter(registry, "ends", "Logouts: sessions that their clients ended");
        let foreign_uses = counter(
            registry,
            "foreign_uses",
            "Uses of a session that passed from an unexpected address: another than that of the login",
        );
        let refusals = counter(registry, "refusals", "Refusals by action and reason");
        let connections_refused = Counter::default();
        registry.register(
            "connections_refused",
            "Connections that were ended at once: the address or the listener was at its connection limit",
            connections_refused.clone(),
        );
        registry.register(
            "log_records_dropped",
            "Log records that were dropped: they were not read fast enough, or could not be written",
            crate::logging::log_queue().dropped(),
        );
        let unclaimed =
            counter(registry, "unclaimed_requests", "Requests for a path without an answer (404)");
        for by in [ListenerKind::Dialects, ListenerKind::Admin] {
            drop(unclaimed.get_or_create(&vec![("listener", by.name())]));
        }
        let queues = Family::<Labels, Gauge>::default();
        registry.register("queue_depth", "Jobs that wait, by queue", queues.clone());
        let log_queue = Gauge::default();
        registry.register(
            "log_queue_bytes",
            "Bytes of log records that wait to be read",
            log_queue.clone(),
        );
        let live = Family::<Labels, Gauge>::default();
        registry.register("live_sessions", "Live sessions at the last count", live.clone());
        // Latency buckets from 50 microseconds to some 1.6 seconds, each bucket twice the one before.
        let latency = Family::<Labels, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.000_05, 2.0, 16))
        });
        registry.register(
            "request_duration_seconds",
            "From a request's head to its answer",
            latency.clone(),
        );
        let dialects = TABLE.iter().map(|entry| {
            let labels = vec![("dialect", entry.name)];
            let counters = DialectCounters {
                logins: logins.get_or_create_owned(&labels),
                checks: checks.get_or_create_owned(&labels),
                renewals: renewals.get_or_create_owned(&labels),
                ends: ends.get_or_create_owned(&labels),
                foreign_uses: foreign_uses.get_or_create_owned(&labels),
                latency: latency.get_or_create_owned(&labels),
            };
            // A series that begins with its first event hides that event from `increase()`.
            for (action, reason) in possible_refusals() {
                let labels = vec![("dialect", entry.name), ("action", action), ("reason", reason)];
                drop(refusals.get_or_create(&labels));
            }
            (entry.name, counters)
        });
        let dialects = dialects.collect();
        Self(Arc::new(Inner {
            registry: root,
            dialects,
            refusals,
            connections_refused,
            unclaimed,
            live,
            queues,
            log_queue,
        }))
    }

    /// Counts a decision of the authority.
    pub(crate) fn count_event(&self, event: &Event<'_>) {
        if let Some(reason) = event.reason() {
            self.count_refusal(event.dialect, crate::logging::action_name(event.action), reason);
            return;
        }
        let Some(dialect) = self.0.dialects.get(event.dialect) else { return };
        let counter = match event.action {
            Action::Login => &dialect.logins,
            Action::Check => &dialect.checks,
            Action::Renewal => &dialect.renewals,
            Action::Logout => &dialect.ends,
        };
        counter.inc();
        if event.unexpected_address {
            dialect.foreign_uses.inc();
        }
    }

    /// Counts a call that a dialect refused before the authority.
    pub(crate) fn count_rejection(&self, dialect: &'static str, why: TurnedAway) {
        self.count_refusal(dialect, crate::logging::CALL_ACTION, why.reason());
    }

    /// Counts a connection that was closed at once.
    pub(crate) fn count_refused_connection(&self) {
        self.0.connections_refused.inc();
    }

    /// Counts a request for an unknown path.
    pub(crate) fn count_unclaimed(&self, by: ListenerKind) {
        self.0.unclaimed.get_or_create(&vec![("listener", by.name())]).inc();
    }

    fn count_refusal(&self, dialect: &'static str, action: &'static str, reason: &'static str) {
        let labels = vec![("dialect", dialect), ("action", action), ("reason", reason)];
        self.0.refusals.get_or_create(&labels).inc();
    }

    /// Counts the latency of an answer.
    pub(crate) fn observe_latency(&self, dialect: &'static str, took: Duration) {
        if let Some(dialect) = self.0.dialects.get(dialect) {
            dialect.latency.observe(took.as_secs_f64());
        }
    }

    /// Renders the metrics, with the number of live sessions, if known, and the depths of these queues.
    pub(crate) fn render(
        &self,
        format: Format,
        live: Option<&[(String, u64)]>,
        queues: &[(&'static str, usize)],
    ) -> String {
        for (queue, depth) in queues {
            self.0.queues.get_or_create(&vec![("queue", *queue)]).set(gauge(*depth));
        }
        self.0.log_queue.set(gauge(crate::logging::log_queue().waiting_bytes()));
        match live {
            None => self.0.live.clear(),
            Some(live) => {
                for name in self.0.dialects.keys() {
                    let count = live.iter().find(|(dialect, _)| dialect == name);
                    let count = count.map_or(0, |(_, count)| *count);
                    let gauge = self.0.live.get_or_create_owned(&vec![("dialect", *name)]);
                    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
                }
            }
        }
        let mut text = String::new();
        let _written = encode(&mut text, &self.0.registry);
        match format {
            Format::OpenMetrics => text,
            Format::Text => text::from_open_metrics(&text),
        }
    }
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Every possible pair of action and reason of a refusal: some 150 series of `parlance_refusals_total` from the start.
/// An unforeseen reason still counts, from its first refusal on.
fn possible_refusals() -> impl Iterator<Item = (&'static str, &'static str)> {
    let actions = [Action::Login, Action::Check, Action::Renewal, Action::Logout];
    let failures = actions.into_iter().flat_map(|action| {
        let failures = Failure::ALL.into_iter().filter(move |why| is_possible(action, *why));
        failures.map(move |why| (crate::logging::action_name(action), why.reason()))
    });
    let calls = TurnedAway::ALL.into_iter().map(|why| (crate::logging::CALL_ACTION, why.reason()));
    let unreadable = (crate::logging::action_name(Action::Login), UNREADABLE_HASH);
    failures.chain(calls).chain([unreadable])
}

/// Whether an action can be refused for this reason.
fn is_possible(action: Action, why: Failure) -> bool {
    let is_login = action == Action::Login;
    match why {
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { .. }
        | Failure::RateLimited => is_login,
        Failure::UnknownCredential
        | Failure::RevokedOrExpired
        | Failure::UnexpectedAddress
        | Failure::UnexpectedUser => !is_login,
        // The dialects check for a credential, and count the refusal as their own.
        Failure::NoCredential => false,
        Failure::Busy | Failure::Unavailable => true,
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
