//! The admin listener: health check, readiness, metrics, introspection and revocation for services, and forward auth.

mod authentication;
mod forward_auth;
mod health;
mod introspect;
mod jwks;
mod live_sessions;
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
pub(crate) use forward_auth::ForwardAuth;
use parlance::actix::BoundedServer;
use parlance::core::Authority;
use parlance::core::connections::ConnectionLimit;
use parlance::core::ports::{Clock, Store};
use parlance::dialect::DialectHandler;
use parlance::keys::KeyManager;
use serde_json::Value;

use crate::cli::CommandError;
use crate::connections;
use crate::metrics::{ListenerKind, Metrics};
use crate::serve::{listen_error, unclaimed_route};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// The state that the pages share.
#[derive(Clone)]
pub(crate) struct OperatorContext {
    pub(crate) authority: Arc<Authority>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether a signal has asked for a stop.
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) metrics: Metrics,
    pub(crate) live_sessions: Arc<live_sessions::LiveSessions>,
    /// The enabled dialects.
    pub(crate) dialects: Vec<Arc<dyn DialectHandler>>,
    pub(crate) key_manager: Arc<KeyManager>,
    pub(crate) forward_auth: ForwardAuth,
}

type SharedContext = web::Data<OperatorContext>;

/// A page of the listener: the route and its description, side by side.
struct Endpoint {
    path: &'static str,
    serve: fn(&'static str) -> Resource,
    /// The OpenAPI path item.
    describe: fn() -> Value,
}

const ENDPOINTS: &[&[Endpoint]] = &[
    health::ENDPOINTS,
    metrics::ENDPOINTS,
    forward_auth::ENDPOINTS,
    introspect::ENDPOINTS,
    jwks::ENDPOINTS,
    openapi::ENDPOINTS,
];

fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().copied().flatten()
}

/// Binds the admin server.
pub(crate) fn server(
    listen: SocketAddr,
    context: OperatorContext,
    limit: Arc<ConnectionLimit>,
) -> Result<(Server, SocketAddr), CommandError> {
    let failed = |error: std::io::Error| listen_error(listen, "--admin-listen", &error);
    let server = BoundedServer::bind(listen)
        .map_err(failed)?
        .max_connections(connections::max_accepted(&limit))
        .admission(move |stream| connections::admit(&limit, stream))
        .shutdown_timeout(1);
    let address = server.local_addr().map_err(failed)?;
    let server = server.run(move || {
        App::new()
            .app_data(web::Data::new(context.clone()))
            .app_data(web::Data::new(context.forward_auth.clone()))
            .configure(|config| {
                for page in endpoints() {
                    config.service((page.serve)(page.path));
                }
            })
            .default_service(unclaimed_route(ListenerKind::Admin, context.metrics.clone()))
    });
    Ok((server.map_err(failed)?, address))
}

/// A read-only page.
fn get_resource<F, Args>(path: &str, page: F) -> Resource
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
