//! The admin listener: health, readiness, metrics, forward auth.

mod forward_auth;
mod health;
mod metrics;
pub(crate) mod path;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::{App, FromRequest, Handler, HttpResponse, HttpServer, Resource, Responder, web};
pub(crate) use forward_auth::Gate;
use parlance::core::ports::Store;

use crate::cli::Failed;
use crate::metrics::Metrics;
use crate::serve::cannot_listen;

const TEXT: &str = "text/plain; charset=utf-8";

type Shared = web::Data<(Arc<dyn Store>, Metrics)>;

/// The admin server, bound.
pub(crate) fn server(
    listen: SocketAddr,
    store: Arc<dyn Store>,
    metrics: Metrics,
    gate: &Arc<Gate>,
) -> Result<(Server, SocketAddr), Failed> {
    let gate = Arc::clone(gate);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new((Arc::clone(&store), metrics.clone())))
            .app_data(web::Data::from(Arc::clone(&gate)))
            .configure(health::configure)
            .configure(metrics::configure)
            .configure(forward_auth::configure)
            .default_service(web::to(|| async {
                HttpResponse::NotFound().content_type(TEXT).body("Not found.\n")
            }))
    });
    let server = server.disable_signals().shutdown_timeout(1).bind(listen);
    let server = server.map_err(|error| cannot_listen(listen, "--admin-listen", &error))?;
    let address = server.addrs().first().copied().unwrap_or(listen);
    Ok((server.run(), address))
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
