//! The admin listener: health, readiness, metrics, what services ask, and forward auth.

mod authentication;
mod forward_auth;
mod health;
mod introspect;
mod jwks;
mod live;
mod metrics;
mod openapi;
pub(crate) mod path;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix_web::dev::Server;
use actix_web::{App, FromRequest, Handler, HttpResponse, Resource, Responder, web};
pub(crate) use forward_auth::Gate;
use parlance::actix::BoundedServer;
use parlance::core::Authority;
use parlance::core::connections::ConnectionLimit;
use parlance::core::ports::{Clock, Store};
use parlance::dialect::Service;
use parlance::keys::Keychain;
use serde_json::Value;

use crate::cli::Failed;
use crate::connections;
use crate::metrics::{Metrics, UnclaimedBy};
use crate::serve::{cannot_listen, unclaimed};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What the pages work with.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) authority: Arc<Authority>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether a signal has said to stop.
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) metrics: Metrics,
    pub(crate) live: Arc<live::LiveSessions>,
    /// The dialects that are enabled.
    pub(crate) services: Vec<Arc<dyn Service>>,
    pub(crate) keychain: Arc<Keychain>,
    pub(crate) gate: Gate,
}

type Shared = web::Data<Desk>;

/// A page of the listener: where it is served and how it is described, side by side.
struct Page {
    path: &'static str,
    serve: fn(&'static str) -> Resource,
    /// Its OpenAPI path item.
    describe: fn() -> Value,
}

/// Every page there is.
const PAGES: &[&[Page]] = &[
    health::PAGES,
    metrics::PAGES,
    forward_auth::PAGES,
    introspect::PAGES,
    jwks::PAGES,
    openapi::PAGES,
];

fn pages() -> impl Iterator<Item = &'static Page> {
    PAGES.iter().copied().flatten()
}

/// The admin server, bound.
pub(crate) fn server(
    listen: SocketAddr,
    desk: Desk,
    limit: Arc<ConnectionLimit>,
) -> Result<(Server, SocketAddr), Failed> {
    let failed = |error: std::io::Error| cannot_listen(listen, "--admin-listen", &error);
    let server = BoundedServer::bind(listen)
        .map_err(failed)?
        .max_connections(connections::at_once(&limit))
        .admission(move |stream| connections::admit(&limit, stream))
        .shutdown_timeout(1);
    let address = server.local_addr().map_err(failed)?;
    let server = server.run(move || {
        App::new()
            .app_data(web::Data::new(desk.clone()))
            .app_data(web::Data::new(desk.gate.clone()))
            .configure(|config| {
                for page in pages() {
                    config.service((page.serve)(page.path));
                }
            })
            .default_service(unclaimed(UnclaimedBy::Admin, desk.metrics.clone()))
    });
    Ok((server.map_err(failed)?, address))
}

/// A page that is only read.
fn read<F, Args>(path: &str, page: F) -> Resource
where
    F: Handler<Args, Output: Responder> + Clone,
    Args: FromRequest + 'static,
{
    web::resource(path)
        .get(page.clone())
        .route(web::head().to(page))
        .default_service(web::to(|| async { not_allowed("GET, HEAD") }))
}

fn not_allowed(allow: &'static str) -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header(("allow", allow))
        .content_type(TEXT)
        .body("Method not allowed.\n")
}
