//! An app of somebody's own that also answers the clients of one vendor: cluster-api under `/legacy`, on a SQLite file.
//!
//! Run it with `cargo run -p parlance --example one_dialect`, then
//! `curl -d username=alice -d 'password=correct horse' http://127.0.0.1:8090/legacy/api/login`.

use std::error::Error;
use std::sync::Arc;

use actix_web::{App, HttpServer, web};
use parlance::actix::{Mount, Shell, TrustedProxies, mount};
use parlance::core::ports::{Clock as _, Unobserved};
use parlance::core::{Authority, HashThreads, NewUser, OperatorError, PasswordPolicy, Secret};
use parlance::store;
use parlance::system::{SystemClock, SystemEntropy};
use parlance::table::{Parts, find};

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Users and sessions: the schema first, then the store.
    let database = "sqlite:one_dialect.db";
    store::migrate(database)?;
    let store = store::open(database, store::Options::default())?;

    // The authority decides; clock, entropy and whoever counts and logs are yours to choose.
    let clock = Arc::new(SystemClock);
    let authority = Arc::new(Authority::new(
        Arc::new(store),
        HashThreads::start(2, Arc::<SystemClock>::clone(&clock)),
        PasswordPolicy::default(),
        Arc::new(SystemEntropy),
        Arc::new(Unobserved),
    ));
    let alice = NewUser {
        name: "alice".to_owned(),
        password: Secret::new("correct horse".to_owned()),
        roles: Vec::new(),
        unrestricted: false,
    };
    match authority.add_user(alice, clock.now()).await {
        Ok(_) | Err(OperatorError::Taken) => {}
        Err(error) => return Err(error.into()),
    }

    // The dialect, with its default settings, beside the app's own routes.
    let cluster_api = find("cluster-api")?;
    let service = cluster_api.install(&cluster_api.defaults(), &Parts::new(authority))?;
    let mounts = [Mount { prefix: "/legacy".to_owned(), service }];
    let shell = Shell { clock, proxies: Arc::new(TrustedProxies::default()) };
    HttpServer::new(move || {
        App::new()
            .configure(|config| mount(config, &shell, &mounts))
            .route("/", web::get().to(|| async { "my own app\n" }))
    })
    .bind(("127.0.0.1", 8090))?
    .run()
    .await?;
    Ok(())
}
