//! An app of your own that answers the clients of every vendor whose dialect is compiled in, with one guard that takes the session of any.
//!
//! `cargo run -p parlance --example all_dialects [ADDRESS]`. The user is `alice`, the password `correct horse`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use actix_web::{App, HttpResponse, HttpServer, web};
use parlance::{Setup, actix::Caller, table::TABLE};

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let setup = Setup::open("sqlite:all_dialects.db")?;
    setup.ensure_user("alice", "correct horse").await?;
    // Each on its own paths. Whoever shows no credential at all is refused in the words of the first.
    let site = setup.site(TABLE.iter().map(|dialect| (dialect.name, ""))).await?;
    let app = move || {
        let private = web::scope("/private")
            .wrap(site.guard())
            .route("/whoami", web::to(whoami))
            .route("/upload", web::post().to(upload));
        App::new().configure(|app| site.mount(app)).service(private)
    };
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8090".to_owned());
    let server = HttpServer::new(app).bind(address)?;
    println!("listening on {:?}", server.addrs());
    Ok(server.run().await?)
}

async fn whoami(caller: Caller) -> String {
    format!("{} by {}\n", caller.name, caller.dialect)
}

/// Gives back what it got. The guard may have looked for a token in it, and has left it whole.
async fn upload(_: Caller, body: web::Bytes) -> HttpResponse {
    HttpResponse::Ok().body(body)
}
