//! Sessions in a store of your own: this one prints every change that was made (an audit trail), and leaves storage to
//! SQLite.
//!
//! The port `parlance::core::ports::Store` defines the operations of a store; `parlance_core::suite` proves the
//! invariants of any. The shortest store that keeps all invariants is `parlance_core::reference`.
//!
//! `cargo run -p parlance --example own_store [ADDRESS]`. The user is `alice`, the password `correct horse`.

#![expect(clippy::print_stdout, reason = "it says where it listens, and what was changed")]

use std::sync::Arc;

use actix_web::{App, HttpServer, web};
use parlance::core::lockout::AttemptState;
use parlance::core::ports::{
    Applied, Change, SealedKey, SessionQuery, Store, StoreFuture, Touch, UserPage, UserQuery,
};
use parlance::core::{CanonicalName, Client, Digest, Session, Timestamp, User};
use parlance::{Builder, actix::Caller, builder};
use uuid::Uuid;

/// A store that keeps an audit trail.
struct Audited<S>(S);

impl<S: Store> Store for Audited<S> {
    fn apply(&self, change: Change) -> StoreFuture<Applied> {
        // A change is data, and its `Debug` shows no secret. The first word names the change.
        let what = format!("{change:?}");
        let what = what.split([' ', '(']).next().unwrap_or_default().to_owned();
        let applied = self.0.apply(change);
        Box::pin(async move {
            let applied = applied.await?;
            println!("changed: {what}");
            Ok(applied)
        })
    }

    fn session(&self, digest: Digest) -> StoreFuture<Option<(Session, User)>> {
        self.0.session(digest)
    }

    fn user(&self, name: CanonicalName) -> StoreFuture<Option<User>> {
        self.0.user(name)
    }

    fn users(&self, offset: u64, limit: u32) -> StoreFuture<UserPage> {
        self.0.users(offset, limit)
    }

    fn find_users(&self, query: UserQuery) -> StoreFuture<Vec<User>> {
        self.0.find_users(query)
    }

    fn sessions(&self, query: SessionQuery) -> StoreFuture<Vec<(Session, User)>> {
        self.0.sessions(query)
    }

    fn count_live_sessions(&self, now: Timestamp) -> StoreFuture<Vec<(String, u64)>> {
        self.0.count_live_sessions(now)
    }

    fn keys(&self) -> StoreFuture<Vec<SealedKey>> {
        self.0.keys()
    }

    fn issuer(&self, purpose: String) -> StoreFuture<Option<String>> {
        self.0.issuer(purpose)
    }

    fn client(&self, id: Uuid) -> StoreFuture<Option<Client>> {
        self.0.client(id)
    }

    fn clients(&self) -> StoreFuture<Vec<Client>> {
        self.0.clients()
    }

    fn attempt_state(&self, account: Digest) -> StoreFuture<Option<AttemptState>> {
        self.0.attempt_state(account)
    }

    fn time(&self) -> StoreFuture<Option<Timestamp>> {
        self.0.time()
    }

    fn queue_depths(&self) -> Vec<(&'static str, usize)> {
        self.0.queue_depths()
    }

    fn ping(&self) -> StoreFuture<()> {
        self.0.ping()
    }

    fn touch(&self, touch: Touch) {
        self.0.touch(touch);
    }

    fn flush(&self) -> StoreFuture<()> {
        self.0.flush()
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Audited(builder::store("sqlite:own_store.db")?);
    let builder = Builder::with_authority(builder::authority(Arc::new(store)));
    builder.ensure_user("alice", "correct horse").await?;
    let dialect_set = builder.build([("polish-longtoken", "")]).await?;
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
