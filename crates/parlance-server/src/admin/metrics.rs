//! The counters, as Prometheus reads them.

use actix_web::{HttpResponse, rt, web};
use parlance::core::ports::Clock as _;
use parlance::system::SystemClock;

use super::health::PATIENCE;
use super::{Shared, read};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(read("/metrics", scrape));
}

async fn scrape(shared: Shared) -> HttpResponse {
    // The counters are worth having while the database is away.
    let live = match rt::time::timeout(PATIENCE, shared.0.live(SystemClock.now())).await {
        Ok(Ok(live)) => Some(live),
        Ok(Err(_)) | Err(_) => None,
    };
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    HttpResponse::Ok().content_type(format).body(shared.1.text(live.as_deref()))
}
