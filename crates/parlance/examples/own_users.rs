//! Users in a directory of your own: here a list in memory, in which they come and go while the app runs.
//!
//! `cargo run -p parlance --example own_users [ADDRESS]`. The users are `alice` and `bob`, the password of both is `correct horse`.
//! `POST /people/bob/gone` takes `bob` out of the list: his next request is refused, whatever session he shows.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::{App, HttpServer, web};
use parlance::core::ports::{Pending, StoreError, UserPage, Users};
use parlance::core::{CanonicalName, Timestamp, User, UserId, UserName};
use parlance::{Setup, actix::Caller, setup};

/// Whoever works here, and his password: yours would be a table, or an LDAP server.
#[derive(Default)]
struct Staff(Mutex<BTreeMap<CanonicalName, (User, String)>>);

impl Staff {
    /// Does something with the list. A lock that somebody panicked under is as good as any: nothing is done by halves.
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<CanonicalName, (User, String)>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Users for Staff {
    fn user(&self, name: CanonicalName) -> Pending<Option<User>> {
        let user = self.with(|staff| staff.get(&name).map(|(user, _)| user.clone()));
        Box::pin(ready(Ok(user)))
    }

    fn user_by_id(&self, id: UserId) -> Pending<Option<User>> {
        let user = self.with(|staff| {
            staff.values().find(|(user, _)| user.id == id).map(|(user, _)| user.clone())
        });
        Box::pin(ready(Ok(user)))
    }

    fn users(&self, offset: u64, limit: u32) -> Pending<UserPage> {
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let page = self.with(|staff| UserPage {
            total: staff.len() as u64,
            items: staff
                .values()
                .skip(skip)
                .take(limit as usize)
                .map(|(user, _)| user.clone())
                .collect(),
        });
        Box::pin(ready(Ok(page)))
    }

    fn verifies(&self) -> bool {
        true
    }

    // Runs on a hashing thread, which it may block: ask an LDAP server here, or verify a hash that parlance does not know. For nobody it
    // has to take as long as for somebody; comparing a text takes no time that could tell.
    fn verify(&self, user: Option<&User>, password: &str) -> Result<bool, StoreError> {
        let Some(user) = user else { return Ok(false) };
        Ok(self.with(|staff| staff.get(&user.canonical).is_some_and(|(_, own)| own == password)))
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let staff = Arc::new(Staff::default());
    for (number, name) in (1_u128..).zip(["alice", "bob"]) {
        // An id that is his for good, whatever becomes of his name.
        let id = UserId(uuid::Uuid::from_u128(number));
        let user = User::new(id, &UserName::new(name)?, Timestamp::from_seconds(0));
        staff.with(|all| all.insert(user.canonical.clone(), (user, "correct horse".to_owned())));
    }
    // Sessions are parlance's, users are yours.
    let store = Arc::new(setup::store("sqlite:own_users.db")?);
    let users: Arc<dyn Users> = Arc::<Staff>::clone(&staff);
    let setup = Setup::over(setup::authority(store).with_users(users));
    let site = setup.site([("polish-longtoken", "")]).await?;
    let app = move || {
        let private = web::scope("/private").wrap(site.guard()).route("/whoami", web::to(whoami));
        App::new()
            .app_data(web::Data::from(Arc::clone(&staff)))
            .configure(|app| site.mount(app))
            .service(private)
            .route("/people/{name}/gone", web::post().to(gone))
    };
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8090".to_owned());
    let server = HttpServer::new(app).bind(address)?;
    println!("listening on {:?}", server.addrs());
    Ok(server.run().await?)
}

async fn whoami(caller: Caller) -> String {
    format!("{} by {}\n", caller.name, caller.dialect)
}

/// Somebody has left.
async fn gone(name: web::Path<String>, staff: web::Data<Staff>) -> String {
    let name = parlance::core::canonical_name(&name);
    let had = name.is_some_and(|name| staff.with(|staff| staff.remove(&name)).is_some());
    format!("{had}\n")
}
