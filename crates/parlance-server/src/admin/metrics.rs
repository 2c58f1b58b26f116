//! What is counted.

use std::sync::Arc;

use actix_web::HttpResponse;

use super::openapi::{self, answer};
use super::{Page, Shared, read};

const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) const PAGES: &[Page] = &[Page {
    path: "/metrics",
    serve: |path| read(path, scrape),
    describe: || {
        let counters = answer("The counters.", FORMAT, &serde_json::json!({ "type": "string" }));
        openapi::read("What is counted, for Prometheus", &[("200", counters)])
    },
}];

async fn scrape(desk: Shared) -> HttpResponse {
    // The counters are worth having while the database is away.
    let (store, clock) = (Arc::clone(&desk.store), Arc::clone(&desk.clock));
    let live = Arc::clone(&desk.live).per_dialect(store, clock).await;
    HttpResponse::Ok().content_type(FORMAT).body(desk.metrics.text(live.as_deref()))
}
