//! What is counted.

use actix_web::{HttpResponse, rt};

use super::health::PATIENCE;
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
    let live = match rt::time::timeout(PATIENCE, desk.store.live(desk.clock.now())).await {
        Ok(Ok(live)) => Some(live),
        Ok(Err(_)) | Err(_) => None,
    };
    HttpResponse::Ok().content_type(FORMAT).body(desk.metrics.text(live.as_deref()))
}
