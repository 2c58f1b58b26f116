//! What is counted, for Prometheus.

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

/// All counters.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    dialects: HashMap<&'static str, PerDialect>,
    refusals: Family<Labels, Counter>,
    connections_refused: Counter,
    unclaimed: Family<Labels, Counter>,
    live: Family<Labels, Gauge>,
    queues: Family<Labels, Gauge>,
    log_queue: Gauge,
}

/// How the counters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Format {
    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The listener that was asked for a path which it does not answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum UnclaimedBy {
    /// The dialects'.
    Dialects,
    /// The operators'.
    Admin,
}

impl UnclaimedBy {
    /// Its name, for metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dialects => "dialects",
            Self::Admin => "admin",
        }
    }
}

/// A dialect's counters, made once so that a request only adds.
struct PerDialect {
    logins: Counter,
    checks: Counter,
    renewals: Counter,
    ends: Counter,
    foreign_uses: Counter,
    latency: Histogram,
}

impl Metrics {
    /// All counters at zero, one row a compiled-in dialect.
    pub(crate) fn new() -> Self {
        let mut root = Registry::default();
        root.register_collector(Box::new(process::Process::new()));
        let registry = root.sub_registry_with_prefix("parlance");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program that runs", build);
        let counter = |registry: &mut Registry, name: &str, help: &str| {
            let family = Family::<Labels, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        let logins = counter(registry, "logins", "Logins that opened or possessed a session");
        let checks = counter(registry, "checks", "Uses of a session that were let pass");
        let renewals = counter(registry, "renewals", "Sessions that were renewed");
        let ends = counter(registry, "ends", "Sessions that their clients ended");
        let foreign_uses = counter(
            registry,
            "foreign_uses",
            "Uses of a session that were let pass from another address than that of its login",
        );
        let refusals = counter(registry, "refusals", "Refusals by what was asked and why");
        let connections_refused = Counter::default();
        registry.register(
            "connections_refused",
            "Connections that were ended at once: their address held as many as it may",
            connections_refused.clone(),
        );
        registry.register(
            "log_records_dropped",
            "Log records that were dropped: they were not read fast enough, or could not be written",
            crate::logging::queue().dropped(),
        );
        let unclaimed =
            counter(registry, "unclaimed_requests", "Requests for a path that nothing answers");
        for by in [UnclaimedBy::Dialects, UnclaimedBy::Admin] {
            drop(unclaimed.get_or_create(&vec![("listener", by.name())]));
        }
        let queues = Family::<Labels, Gauge>::default();
        registry.register(
            "queue_depth",
            "Pieces of work that wait, by their queue",
            queues.clone(),
        );
        let log_queue = Gauge::default();
        registry.register("log_queue_bytes", "Log records that wait to be read", log_queue.clone());
        let live = Family::<Labels, Gauge>::default();
        registry.register(
            "live_sessions",
            "Sessions that lived when they were last counted",
            live.clone(),
        );
        // From 50 microseconds to some 1.6 seconds, each bucket twice the one before.
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
            let counters = PerDialect {
                logins: logins.get_or_create_owned(&labels),
                checks: checks.get_or_create_owned(&labels),
                renewals: renewals.get_or_create_owned(&labels),
                ends: ends.get_or_create_owned(&labels),
                foreign_uses: foreign_uses.get_or_create_owned(&labels),
                latency: latency.get_or_create_owned(&labels),
            };
            // What has no series before the first of its kind hides that one from `increase()`.
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

    /// Counts what the authority decided.
    pub(crate) fn count(&self, event: &Event<'_>) {
        if let Some(reason) = event.reason() {
            self.refused(event.dialect, crate::logging::name(event.action), reason);
            return;
        }
        let Some(dialect) = self.0.dialects.get(event.dialect) else { return };
        let counter = match event.action {
            Action::Login => &dialect.logins,
            Action::Check => &dialect.checks,
            Action::Renewal => &dialect.renewals,
            Action::End => &dialect.ends,
        };
        counter.inc();
        if event.foreign {
            dialect.foreign_uses.inc();
        }
    }

    /// Counts what a dialect refused by itself.
    pub(crate) fn turned_away(&self, dialect: &'static str, why: TurnedAway) {
        self.refused(dialect, crate::logging::CALL, why.reason());
    }

    /// Counts a connection that was ended at once.
    pub(crate) fn connection_refused(&self) {
        self.0.connections_refused.inc();
    }

    /// Counts a request for a path that nothing answers.
    pub(crate) fn unclaimed(&self, by: UnclaimedBy) {
        self.0.unclaimed.get_or_create(&vec![("listener", by.name())]).inc();
    }

    fn refused(&self, dialect: &'static str, action: &'static str, reason: &'static str) {
        let labels = vec![("dialect", dialect), ("action", action), ("reason", reason)];
        self.0.refusals.get_or_create(&labels).inc();
    }

    /// Counts how long an answer took.
    pub(crate) fn answered(&self, dialect: &'static str, took: Duration) {
        if let Some(dialect) = self.0.dialects.get(dialect) {
            dialect.latency.observe(took.as_secs_f64());
        }
    }

    /// The text, with the sessions that live now, if that is known, and with what waits in these queues.
    pub(crate) fn text(
        &self,
        format: Format,
        live: Option<&[(String, u64)]>,
        queues: &[(&'static str, usize)],
    ) -> String {
        for (queue, depth) in queues {
            self.0.queues.get_or_create(&vec![("queue", *queue)]).set(gauge(*depth));
        }
        self.0.log_queue.set(gauge(crate::logging::queue().waiting_bytes()));
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

/// Every action and reason of a refusal that can come about.
fn possible_refusals() -> impl Iterator<Item = (&'static str, &'static str)> {
    let actions = [Action::Login, Action::Check, Action::Renewal, Action::End];
    let failures = actions.into_iter().flat_map(|action| {
        let failures = Failure::ALL.into_iter().filter(move |why| is_possible(action, *why));
        failures.map(move |why| (crate::logging::name(action), why.reason()))
    });
    let calls = TurnedAway::ALL.into_iter().map(|why| (crate::logging::CALL, why.reason()));
    let unreadable = (crate::logging::name(Action::Login), UNREADABLE_HASH);
    failures.chain(calls).chain([unreadable])
}

/// Whether an action can be refused so.
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
        | Failure::Throttled => is_login,
        Failure::UnknownCredential
        | Failure::EndedSession
        | Failure::ForeignAddress
        | Failure::ForeignUser => !is_login,
        // The dialects see to it, and it counts as their own refusal.
        Failure::NoCredential => false,
        Failure::Busy | Failure::Unavailable => true,
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
