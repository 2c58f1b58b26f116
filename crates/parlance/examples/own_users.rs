//! Users in a table of your own (user directory): parlance keeps their sessions, and your table states their identity
//! and whether they are enabled.
//!
//! `cargo run -p parlance --example own_users [ADDRESS]`, then log in as `alice` with `correct horse`:
//! `curl -d login=alice -d 'pass=correct horse' http://127.0.0.1:8090/login`. A user dismissed with
//! `curl -X POST http://127.0.0.1:8090/dismiss/alice` is refused at the next request.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::{App, HttpServer, web};
use parlance::core::ports::{PasswordVerifier, StoreFuture, UserDirectory, UserPage};
use parlance::core::{CanonicalName, PasswordHash, Timestamp, User, UserId, UserName};
use parlance::{Builder, actix::Caller, builder};
use uuid::Uuid;

/// Your own table of people: here in memory. Each has a permanent id, and an argon2id hash.
struct Staff(Mutex<Vec<User>>);

impl Staff {
    fn with<T: Send + 'static>(&self, look: impl FnOnce(&mut Vec<User>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl UserDirectory for Staff {
    fn user(&self, name: CanonicalName) -> StoreFuture<Option<User>> {
        let found = self.with(|staff| staff.iter().find(|user| user.canonical == name).cloned());
        // A table that did not answer would be `Err(StoreError::Unavailable(..))`: 503, and no user is logged out.
        Box::pin(ready(Ok(found)))
    }

    fn user_by_id(&self, id: UserId) -> StoreFuture<Option<User>> {
        let found = self.with(|staff| staff.iter().find(|user| user.id == id).cloned());
        Box::pin(ready(Ok(found)))
    }

    fn users(&self, offset: u64, limit: u32) -> StoreFuture<UserPage> {
        let mut items = self.with(|staff| staff.clone());
        items.sort_by(|one, other| one.canonical.cmp(&other.canonical));
        let (total, skip) = (items.len() as u64, usize::try_from(offset).unwrap_or(usize::MAX));
        let items = items.into_iter().skip(skip).take(limit as usize).collect();
        Box::pin(ready(Ok(UserPage { total, items })))
    }

    // The authority verifies the hash in each user. An LDAP server would verify by a bind here.
    fn password_verifier(&self) -> Option<&dyn PasswordVerifier> {
        None
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let id = UserId(Uuid::from_u128(0x6f1d_4a80_5c2e_4f7b_9a13_0d6e_8b2c_7f54));
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$ablhKD1vOXweUO6hu2ggZw$2hlhJmprpkVGEvoZV+QddDapccl1M4K9KxAkALZCIPw";
    let alice = User {
        password: Some(PasswordHash::from_stored(hash.to_owned())),
        ..User::new(id, &UserName::new("alice")?, Timestamp::from_seconds(1_651_406_400))
    };
    let staff = Arc::new(Staff(Mutex::new(vec![alice])));

    let store = Arc::new(builder::store("sqlite:own_users.db")?);
    let directory = Arc::<Staff>::clone(&staff);
    let builder = Builder::with_authority(builder::authority(store).with_user_directory(directory));
    let dialect_set = builder.build([("polish-longtoken", "")]).await?;
    let app = move || {
        let private =
            web::scope("/private").wrap(dialect_set.guard()).route("/whoami", web::to(whoami));
        App::new()
            .app_data(web::Data::from(Arc::clone(&staff)))
            .configure(|app| dialect_set.mount(app))
            .service(private)
            .route("/dismiss/{name}", web::post().to(dismiss))
    };
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8090".to_owned());
    let server = HttpServer::new(app).bind(address)?;
    println!("listening on {:?}", server.addrs());
    Ok(server.run().await?)
}

async fn whoami(caller: Caller) -> String {
    format!("{} by {}\n", caller.name, caller.dialect)
}

/// Changes your table alone: parlance looks the user up there at every request.
async fn dismiss(staff: web::Data<Staff>, name: web::Path<String>) -> &'static str {
    staff.with(move |staff| {
        staff.iter_mut().filter(|user| user.name == *name).for_each(|user| user.enabled = false);
    });
    "dismissed\n"
}
