//! The metrics that Prometheus scrapes, in both formats.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Database, Installation, Request, Response, Server};

const OPEN_METRICS: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

fn scrape(server: &Server, accept: Option<&str>) -> Response {
    let request = Request::get("/metrics");
    let answer = server.send_admin(&match accept {
        Some(accept) => request.header("Accept", accept),
        None => request,
    });
    assert_eq!(answer.status, 200);
    answer
}

/// The types of the families, and the samples by name and labels. Strict: fails on any deviation from the format.
#[track_caller]
fn parse(text: &str) -> (BTreeMap<String, String>, BTreeMap<String, f64>) {
    let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
    let mut helped = None;
    for line in text.lines() {
        if let Some(of) = line.strip_prefix("# HELP ") {
            let (name, help) = of.split_once(' ').expect("a help text");
            assert!(!help.is_empty());
            helped = Some(name.to_owned());
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of.split_once(' ').expect("a type");
            assert_eq!(helped.take().as_deref(), Some(name), "the help stands before the type");
            let twice = types.insert(name.to_owned(), kind.to_owned());
            assert_eq!(twice, None, "{name} is typed twice");
        } else {
            assert!(!line.starts_with('#'), "{line}");
            let (series, value) = line.rsplit_once(' ').expect("a value");
            assert!(series.find('{').is_none_or(|_| series.ends_with('}')), "{line}");
            let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(samples.insert(series.to_owned(), value), None, "{series} stands twice");
        }
    }
    (types, samples)
}

/// The name of a series without its labels.
fn name(series: &str) -> &str {
    series.split_once('{').map_or(series, |(name, _)| name)
}

#[test]
fn the_text_format_types_every_sample_under_its_own_name() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start();
    for accept in [None, Some("*/*"), Some("text/plain")] {
        let answer = scrape(&server, accept);
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8"),
            "{accept:?}"
        );
        let (types, samples) = parse(&answer.text());
        for series in samples.keys() {
            let name = name(series);
            let of_histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .filter(|family| types.get(*family).is_some_and(|kind| kind == "histogram"));
            let kind = types.get(of_histogram.unwrap_or(name));
            let kind = kind.unwrap_or_else(|| panic!("{name} has no type"));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{name}: {kind}");
        }
        assert!(types.keys().all(|family| samples.keys().any(|series| series.starts_with(family))));
    }
}

#[test]
fn open_metrics_is_what_prometheus_is_given_and_says_the_same() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start();
    let answer = scrape(&server, Some(OPEN_METRICS));
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(media_type));
    let text = answer.text();
    let open = text.strip_suffix("# EOF\n").expect("its end");
    let (types, samples) = parse(open);
    assert!(types.keys().all(|family| !family.ends_with("_total") && !family.ends_with("_info")));
    let (_, plain) = parse(&scrape(&server, None).text());
    let names = |samples: &BTreeMap<String, f64>| samples.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&samples), names(&plain));
}

#[test]
fn every_series_is_there_before_the_first_of_its_kind() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start();
    let (_, samples) = parse(&scrape(&server, None).text());
    let at = |series: &str| samples.get(series).copied();
    for dialect in
        ["cluster-api", "polish-longtoken", "flask-usertoken", "1010-cookie", "axxon-jsonrpc"]
    {
        for (action, reasons) in [
            (
                "login",
                &[
                    "unknown_user",
                    "wrong_password",
                    "user_disabled",
                    "password_expired",
                    "outer_credential",
                    "unserved_call",
                    "locked",
                    "throttled",
                    "unreadable_hash",
                    "busy",
                    "unavailable",
                ][..],
            ),
            (
                "check",
                &[
                    "unknown_credential",
                    "revoked_or_expired",
                    "unexpected_address",
                    "unexpected_user",
                    "busy",
                    "unavailable",
                ],
            ),
            (
                "renewal",
                &[
                    "unknown_credential",
                    "revoked_or_expired",
                    "unexpected_address",
                    "unexpected_user",
                    "busy",
                    "unavailable",
                ],
            ),
            (
                "end",
                &[
                    "unknown_credential",
                    "revoked_or_expired",
                    "unexpected_address",
                    "unexpected_user",
                    "busy",
                    "unavailable",
                ],
            ),
            ("call", &["no_credential", "malformed", "wrong_media_type", "missing_field"]),
        ] {
            for reason in reasons {
                let series = format!(
                    "parlance_refusals_total{{dialect=\"{dialect}\",action=\"{action}\",reason=\"{reason}\"}}"
                );
                assert_eq!(at(&series), Some(0.0), "{series}");
            }
        }
    }
    for series in [
        "parlance_connections_refused_total",
        "parlance_log_records_dropped_total",
        "parlance_unclaimed_requests_total{listener=\"dialects\"}",
        "parlance_unclaimed_requests_total{listener=\"admin\"}",
    ] {
        assert_eq!(at(series), Some(0.0), "{series}");
    }
    // No value is asserted: the server's own maintenance may be queued.
    for queue in ["checks", "changes", "reports", "hashing", "signing"] {
        assert!(at(&format!("parlance_queue_depth{{queue=\"{queue}\"}}")).is_some(), "{queue}");
    }
    assert!(at("parlance_log_queue_bytes").is_some());
    let build = format!("parlance_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(at(&build), Some(1.0));
    let process =
        |name: &str| at(&format!("process_{name}")).unwrap_or_else(|| panic!("no {name}"));
    let (resident, _) = server.memory();
    let told = process("resident_memory_bytes");
    assert!(told > 1e6 && told < 10.0 * 1024.0 * resident as f64, "{told} bytes, {resident} KiB");
    assert!(process("open_fds") > 5.0 && process("open_fds") < process("max_fds"));
    assert!(process("cpu_seconds_total") >= 0.0);
    let now = crate::harness::clock::unix_time().as_secs_f64();
    let started = process("start_time_seconds");
    assert!(started <= now + 1.0 && started > now - 3600.0, "{started} of {now}");
}
