//! An app of your own that answers the clients of every vendor with a compiled-in dialect. One guard accepts the
//! session of any dialect.
//!
//! `cargo run -p parlance --example all_dialects [ADDRESS]`. The user is `alice`, the password `correct horse`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use actix_web::{App, HttpResponse, HttpServer, web};
use parlance::{Builder, actix::Caller, table::TABLE};

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = Builder::open("sqlite:all_dialects.db")?;
    builder.ensure_user("alice", "correct horse").await?;
    // Each on its own paths. A request without a credential is refused in the words of the first dialect.
    let dialect_set = builder.build(TABLE.iter().map(|dialect| (dialect.name, ""))).await?;
    let app = move || {
        let private = web::scope("/private")
            .wrap(dialect_set.guard())
            .route("/whoami", web::to(whoami))
            .route("/upload", web::post().to(upload));
        App::new().configure(|app| dialect_set.mount(app)).service(private)
    };
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8090".to_owned());
    let server = HttpServer::new(app).bind(address)?;
    println!("listening on {:?}", server.addrs());
    Ok(server.run().await?)
}

async fn whoami(caller: Caller) -> String {
    format!("{} by {}\n", caller.name, caller.dialect)
}

/// Echoes the body. The guard may have looked for a token there, and has left the body whole.
async fn upload(_: Caller, body: web::Bytes) -> HttpResponse {
    HttpResponse::Ok().body(body)
}
