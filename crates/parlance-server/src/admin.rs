//! The admin listener: health, readiness, metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{
    App, FromRequest, Handler, HttpResponse, HttpServer, Resource, Responder, rt, web,
};
use parlance::core::Timestamp;
use parlance::core::ports::{Change, Clock as _, Store};
use parlance::system::SystemClock;

use crate::cli::Failed;
use crate::metrics::Metrics;
use crate::serve::cannot_listen;

/// How long the database may take to answer before the program does not call itself ready.
const PATIENCE: Duration = Duration::from_secs(2);
const TEXT: &str = "text/plain; charset=utf-8";

/// The admin server, bound.
pub(crate) fn server(
    listen: SocketAddr,
    store: Arc<dyn Store>,
    metrics: Metrics,
) -> Result<(Server, SocketAddr), Failed> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new((Arc::clone(&store), metrics.clone())))
            .service(read("/healthz", || async {
                HttpResponse::Ok().content_type(TEXT).body("alive\n")
            }))
            .service(read("/readyz", ready))
            .service(read("/metrics", scrape))
            .default_service(web::to(|| async {
                HttpResponse::NotFound().content_type(TEXT).body("Not found.\n")
            }))
    });
    let server = server.workers(1).disable_signals().shutdown_timeout(1).bind(listen);
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
    web::resource(path).get(page.clone()).route(web::head().to(page)).default_service(web::to(
        || async {
            HttpResponse::MethodNotAllowed()
                .insert_header(("allow", "GET, HEAD"))
                .content_type(TEXT)
                .body("Method not allowed.\n")
        },
    ))
}

type Shared = web::Data<(Arc<dyn Store>, Metrics)>;

async fn ready(shared: Shared) -> HttpResponse {
    let store = &shared.0;
    // Drops nothing, in a transaction that may write: a database that only reads lets nobody in.
    let nothing = Change::Purge { before: Timestamp::MIN, limit: 0 };
    let answers = async {
        store.ping().await.map_err(|_| "the database does not answer\n")?;
        store.apply(nothing).await.map_err(|_| "the database cannot be written\n")
    };
    let why = match rt::time::timeout(PATIENCE, answers).await {
        Ok(Ok(_)) => return HttpResponse::Ok().content_type(TEXT).body("ready\n"),
        Ok(Err(why)) => why,
        Err(_) => "the database does not answer\n",
    };
    HttpResponse::ServiceUnavailable()
        .insert_header(("retry-after", "1"))
        .content_type(TEXT)
        .body(why)
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
