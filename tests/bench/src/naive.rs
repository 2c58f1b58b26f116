//! The baseline for renewals: every request has a transaction of its own, with a pool, a blocking thread, a commit.

use std::sync::Arc;

use actix_web::{App, HttpResponse, HttpServer, rt, web};
use anyhow::{Context as _, Result};
use diesel::connection::SimpleConnection as _;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool, R2D2Connection};
use diesel::sql_types::{BigInt, Binary};
use diesel::{PgConnection, QueryResult, RunQueryDsl as _, SqliteConnection, sql_query};
use parlance::core::Digest;
use parlance::core::ports::Clock as _;
use parlance::system::SystemClock;
use serde::Deserialize;

/// The argument that starts this process; the database follows.
pub(crate) const NAIVE_ARGUMENT: &str = "serve-naive";

/// The default pool size of r2d2.
const CONNECTIONS: u32 = 10;

const RENEW_SESSION: &str = "UPDATE sessions SET expires_at = $1, version = version + 1 WHERE digest = $2 AND revoked_at IS NULL";

#[derive(Deserialize)]
struct Renewal {
    token: String,
}

/// Serves renewals.
pub(crate) fn serve(database: &str) -> Result<()> {
    match database.strip_prefix("sqlite:") {
        Some(file) => serve_on(
            file,
            Box::new(SqliteSettings),
            |connection: &mut SqliteConnection, expires, digest| {
                let query = sql_query(RENEW_SESSION).bind::<BigInt, _>(expires);
                query.bind::<Binary, _>(digest.as_bytes().to_vec()).execute(connection)
            },
        ),
        None => serve_on(
            database,
            Box::new(diesel::r2d2::NopConnectionCustomizer),
            |connection: &mut PgConnection, expires, digest| {
                let query = sql_query(RENEW_SESSION).bind::<BigInt, _>(expires);
                query.bind::<Binary, _>(digest.as_bytes().to_vec()).execute(connection)
            },
        ),
    }
}

fn serve_on<C: R2D2Connection + 'static>(
    url: &str,
    customizer: Box<dyn CustomizeConnection<C, diesel::r2d2::Error>>,
    renew: fn(&mut C, i64, Digest) -> QueryResult<usize>,
) -> Result<()> {
    let manager = ConnectionManager::<C>::new(url);
    let pool = Pool::builder().max_size(CONNECTIONS).connection_customizer(customizer);
    let pool = Arc::new(pool.build(manager)?);
    rt::System::new().block_on(async {
        let handler = move |renewal: web::Json<Renewal>| {
            let pool = Arc::clone(&pool);
            async move {
                let digest = Digest::of("polish-longtoken", &renewal.token);
                let expires = SystemClock.now().millis() + 24 * 60 * 60 * 1000;
                let done = web::block(move || {
                    let mut connection = pool.get().ok()?;
                    renew(&mut connection, expires, digest).ok()
                });
                match done.await {
                    Ok(Some(1)) => HttpResponse::Ok().finish(),
                    Ok(_) | Err(_) => HttpResponse::InternalServerError().finish(),
                }
            }
        };
        let app = move || App::new().route("/login", web::put().to(handler.clone()));
        let server = HttpServer::new(app).bind("127.0.0.1:0")?;
        let address = server.addrs().first().copied().context("no address is bound")?;
        println!("naive ready: http://{address}");
        Ok(server.run().await?)
    })
}

/// The settings of SQLite that the store uses as well.
#[derive(Debug)]
struct SqliteSettings;

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for SqliteSettings {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        let settings =
            "PRAGMA busy_timeout = 30000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
        connection.batch_execute(settings).map_err(diesel::r2d2::Error::QueryError)
    }
}
