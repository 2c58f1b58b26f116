//! The metrics page, which Prometheus scrapes.

use std::sync::Arc;

use actix_web::http::header::{ACCEPT, HeaderMap, VARY};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::openapi::{self, response};
use super::{Endpoint, SharedContext, get_resource};
use crate::metrics::Format;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    path: "/metrics",
    serve: |path| get_resource(path, scrape),
    describe: || {
        let text = json!({ "type": "string" });
        let mut counters = response("The metrics.", Format::Text.media_type(), &text);
        if let Some(content) = counters.pointer_mut("/content").and_then(Value::as_object_mut) {
            content.insert(Format::OpenMetrics.media_type().to_owned(), json!({ "schema": text }));
        }
        openapi::get_path_item("Metrics for Prometheus", &[("200", counters)])
    },
}];

async fn scrape(context: SharedContext, request: HttpRequest) -> HttpResponse {
    // The counters are useful even while the database is unavailable.
    let (store, clock) = (Arc::clone(&context.store), Arc::clone(&context.clock));
    let live = Arc::clone(&context.live_sessions).per_dialect(store, clock).await;
    let mut queues = context.store.queue_depths();
    queues.extend(context.authority.queue_depths());
    let format = negotiate_format(request.headers());
    HttpResponse::Ok()
        .content_type(format.media_type())
        .insert_header((VARY, "accept"))
        .body(context.metrics.render(format, live.as_deref(), &queues))
}

/// Negotiates the format: `OpenMetrics` 1.0 where `Accept` names that format with a weight no lower than that of
/// `text/plain`. Everything else, and a missing `Accept`, gets the text format 0.0.4, as with Prometheus' own
/// libraries: its readers (`promtool`, older agents, `curl | grep`) look for a counter's type under the name of its
/// samples, where `OpenMetrics` leaves `_total` out. There is no 406: a scrape in the wrong format is worth more than
/// an unreadable one.
fn negotiate_format(headers: &HeaderMap) -> Format {
    let values = headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(',')).map(|range| {
        let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
        let media_type = parts.next().unwrap_or_default();
        let parameters: Vec<_> = parts.collect();
        (media_type, parameters)
    });
    let (mut open_metrics, mut text) = (0.0_f64, 0.0_f64);
    for (media_type, parameters) in ranges {
        let value = |name: &str| {
            let value = |parameter: &String| {
                let (found, value) = parameter.split_once('=')?;
                (found.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
            };
            parameters.iter().find_map(value)
        };
        let weight = value("q").map_or(1.0, |weight| weight.parse().unwrap_or(1.0));
        let version = value("version");
        match media_type.as_str() {
            "application/openmetrics-text" if version.is_none_or(|version| version == "1.0.0") => {
                open_metrics = open_metrics.max(weight);
            }
            "text/plain" => text = text.max(weight),
            _ => {}
        }
    }
    if open_metrics > 0.0 && open_metrics >= text { Format::OpenMetrics } else { Format::Text }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[track_caller]
    fn check(accept: &[&str], expected: Format) {
        let mut request = TestRequest::default();
        for value in accept {
            request = request.append_header((ACCEPT, *value));
        }
        assert_eq!(negotiate_format(request.to_http_request().headers()), expected, "{accept:?}");
    }

    #[test]
    fn the_accept_header_decides_the_metrics_format() {
        check(&[], Format::Text);
        check(&["*/*"], Format::Text);
        check(&["text/plain"], Format::Text);
        check(&["text/html, application/xhtml+xml, */*;q=0.8"], Format::Text);
        check(&["application/openmetrics-text"], Format::OpenMetrics);
        check(&["Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8"], Format::OpenMetrics);
        check(&["application/openmetrics-text; version=0.0.1"], Format::Text);
        check(&["application/openmetrics-text;q=0, text/plain"], Format::Text);
        check(&["application/openmetrics-text;q=0.1, text/plain;q=0.5"], Format::Text);
        check(&["text/plain;q=0.5", "application/openmetrics-text;q=0.5"], Format::OpenMetrics);
        // The header of Prometheus 2.42 and 3.0.
        check(
            &[
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ],
            Format::OpenMetrics,
        );
        check(
            &[
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            ],
            Format::OpenMetrics,
        );
    }
}
