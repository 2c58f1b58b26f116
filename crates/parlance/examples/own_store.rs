//! Sessions in a store of your own: here one that says of every change that it was made, and leaves the keeping to SQLite.
//!
//! What a store must do is the port `parlance::core::ports::Store`; what it must keep, `parlance_core::suite` proves of any. The shortest that
//! keeps all of it is `parlance_core::reference`.
//!
//! `cargo run -p parlance --example own_store [ADDRESS]`. The user is `alice`, the password `correct horse`.

#![expect(clippy::print_stdout, reason = "it says where it listens, and what was changed")]

use std::sync::Arc;

use actix_web::{App, HttpServer, web};
use parlance::core::ports::{
    Applied, Change, Pending, SealedKey, SessionQuery, Store, Touch, UserPage, UserQuery,
};
use parlance::core::{CanonicalName, Digest, Session, Timestamp, User};
use parlance::{Setup, actix::Caller, setup};

/// A store that keeps a trail.
struct Audited<S>(S);

impl<S: Store> Store for Audited<S> {
    fn apply(&self, change: Change) -> Pending<Applied> {
        // A change is data, and its `Debug` shows no secret; its first word says what it is.
        let what = format!("{change:?}");
        let what = what.split([' ', '(']).next().unwrap_or_default().to_owned();
        let applied = self.0.apply(change);
        Box::pin(async move {
            let applied = applied.await?;
            println!("changed: {what}");
            Ok(applied)
        })
    }

    fn session(&self, digest: Digest) -> Pending<Option<(Session, User)>> {
        self.0.session(digest)
    }

    fn user(&self, name: CanonicalName) -> Pending<Option<User>> {
        self.0.user(name)
    }

    fn users(&self, offset: u64, limit: u32) -> Pending<UserPage> {
        self.0.users(offset, limit)
    }

    fn find_users(&self, query: UserQuery) -> Pending<Vec<User>> {
        self.0.find_users(query)
    }

    fn sessions(&self, query: SessionQuery) -> Pending<Vec<(Session, User)>> {
        self.0.sessions(query)
    }

    fn live(&self, now: Timestamp) -> Pending<Vec<(String, u64)>> {
        self.0.live(now)
    }

    fn keys(&self) -> Pending<Vec<SealedKey>> {
        self.0.keys()
    }

    fn ping(&self) -> Pending<()> {
        self.0.ping()
    }

    fn touch(&self, touch: Touch) {
        self.0.touch(touch);
    }

    fn flush(&self) -> Pending<()> {
        self.0.flush()
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Audited(setup::store("sqlite:own_store.db")?);
    let setup = Setup::over(setup::authority(Arc::new(store)));
    setup.ensure_user("alice", "correct horse").await?;
    let site = setup.site([("polish-longtoken", "")]).await?;
    let app = move || {
        let private = web::scope("/private").wrap(site.guard()).route("/whoami", web::to(whoami));
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
