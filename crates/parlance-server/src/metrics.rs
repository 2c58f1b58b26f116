//! What is counted, in Prometheus' text format.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parlance::core::ports::{Action, Event, TurnedAway};
use parlance::table::TABLE;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
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
    live: Family<Labels, Gauge>,
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
        let mut registry = Registry::with_prefix("parlance");
        let counter = |registry: &mut Registry, name: &str, help: &str| {
            let family = Family::<Labels, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        let logins = counter(&mut registry, "logins", "Logins that opened or possessed a session");
        let checks = counter(&mut registry, "checks", "Uses of a session that were let pass");
        let renewals = counter(&mut registry, "renewals", "Sessions that were renewed");
        let ends = counter(&mut registry, "ends", "Sessions that their clients ended");
        let foreign_uses = counter(
            &mut registry,
            "foreign_uses",
            "Uses of a session that were let pass from another address than that of its login",
        );
        let refusals = counter(&mut registry, "refusals", "Refusals by what was asked and why");
        let connections_refused = Counter::default();
        registry.register(
            "connections_refused",
            "Connections that were ended at once: their address held as many as it may",
            connections_refused.clone(),
        );
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
            (entry.name, counters)
        });
        let dialects = dialects.collect();
        Self(Arc::new(Inner { registry, dialects, refusals, connections_refused, live }))
    }

    /// Counts what the authority decided.
    pub(crate) fn count(&self, event: &Event<'_>) {
        if let Some(failure) = event.failure {
            self.refused(event.dialect, crate::logging::name(event.action), failure.reason());
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

    /// The text, with the sessions that live now, if that is known.
    pub(crate) fn text(&self, live: Option<&[(String, u64)]>) -> String {
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
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
