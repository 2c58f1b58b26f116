//! Resource usage of the process, under the metric names of Prometheus' own libraries. Five values do not justify a
//! dependency.

use std::fs;

use parlance::core::ports::Clock as _;
use parlance::system::SystemClock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Reads `/proc/self` at each scrape. An unreadable value is left out.
#[derive(Debug)]
pub(super) struct Process {
    /// Seconds since 1970.
    started: f64,
}

impl Process {
    pub(super) fn new() -> Self {
        #[expect(clippy::cast_precision_loss, reason = "it has 53 bits")]
        let started = SystemClock.now().millis() as f64 / 1000.0;
        Self { started }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut put = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            let encoder = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(encoder)
        };
        if let Some(seconds) = cpu_seconds() {
            let seconds = ConstCounter::new(seconds);
            put("process_cpu_seconds", "Processor time of the process, user and system", &seconds)?;
        }
        if let Some(bytes) = resident_memory_bytes() {
            let bytes = ConstGauge::new(bytes);
            put("process_resident_memory_bytes", "Memory of the process that is in RAM", &bytes)?;
        }
        if let Some(open) = open_descriptors() {
            let open = ConstGauge::new(open);
            put("process_open_fds", "Open file descriptors of the process", &open)?;
        }
        // Without a limit no number would be true.
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            let limit = ConstGauge::new(limit);
            put("process_max_fds", "Limit on open file descriptors of the process", &limit)?;
        }
        let started = ConstGauge::new(self.started);
        put("process_start_time_seconds", "Start of the process, in seconds since 1970", &started)
    }
}

/// Fields 14 and 15 of `proc_pid_stat(5)`, searched after the second field, which holds any text, in parentheses.
fn cpu_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    let ticks = f64::from(fields.next()?.ok()?) + f64::from(fields.next()?.ok()?);
    let per_second = u32::try_from(clock_ticks_per_second()).ok().filter(|ticks| *ticks > 0)?;
    Some(ticks / f64::from(per_second))
}

/// The second field of `/proc/self/statm`, which counts pages.
fn resident_memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(page_size()).ok()?)
}

/// The number of open descriptors, without the descriptor that reads the folder.
fn open_descriptors() -> Option<u64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(open).ok()?.checked_sub(1)
}
