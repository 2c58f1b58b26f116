//! An app of your own that also answers the clients of one vendor: cluster-api under `/legacy`, on a SQLite file, with
//! a handler of the app behind its guard.
//!
//! `cargo run -p parlance --example one_dialect [ADDRESS]`, then
//! `curl -d username=alice -d 'password=correct horse' http://127.0.0.1:8090/legacy/api/login` and
//! `curl -d access_token=TOKEN http://127.0.0.1:8090/private/whoami`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use actix_web::{App, HttpServer, web};
use parlance::{Builder, actix::Caller};

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = Builder::open("sqlite:one_dialect.db")?;
    builder.ensure_user("alice", "correct horse").await?;
    let dialect_set = builder.build([("cluster-api", "/legacy")]).await?;
    let app = move || {
        let private =
            web::scope("/private").wrap(dialect_set.guard()).route("/whoami", web::to(whoami));
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
