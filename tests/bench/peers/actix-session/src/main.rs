//! A handler that loads its session from Redis and answers the owner's name: actix-session with its defaults. The
//! sessions were opened by its own store.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};

use actix_session::storage::{RedisSessionStore, SessionStore};
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, CookieJar, Key};
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, Result, anyhow};

/// The default name of the cookie.
const COOKIE: &str = "id";
const USER: &str = "user";

async fn me(session: Session) -> HttpResponse {
    match session.get::<String>(USER) {
        Ok(Some(user)) => HttpResponse::Ok().json(HashMap::from([(USER, user)])),
        Ok(None) => HttpResponse::Unauthorized().finish(),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// The cookie of a client with this session.
fn shown(key: &Key, session: String) -> Result<String> {
    let mut jar = CookieJar::new();
    jar.private_mut(key).add(Cookie::new(COOKIE, session));
    let cookie = jar.get(COOKIE).context("the jar lost its cookie")?;
    Ok(cookie.encoded().to_string())
}

/// Opens this many sessions, and one more that is deleted again.
async fn fill(store: &RedisSessionStore, key: &Key, count: usize) -> Result<()> {
    let day = Duration::days(1);
    let mut credentials = BufWriter::new(File::create("credentials")?);
    for number in 0..count {
        let state = HashMap::from([(USER.to_owned(), format!("\"user-{number}\""))]);
        let session = store.save(state, &day).await.map_err(|error| anyhow!("{error}"))?;
        writeln!(credentials, "{}", shown(key, session.as_ref().to_owned())?)?;
    }
    credentials.flush()?;
    let gone = store.save(HashMap::new(), &day).await.map_err(|error| anyhow!("{error}"))?;
    store.delete(&gone).await?;
    Ok(std::fs::write("unknown", shown(key, gone.as_ref().to_owned())? + "\n")?)
}

#[actix_web::main]
async fn main() -> Result<()> {
    let (redis, count) = (std::env::var("REDIS")?, std::env::var("SESSIONS")?);
    let store = RedisSessionStore::new(redis).await?;
    let key = Key::generate();
    fill(&store, &key, count.parse()?).await?;
    let app = move || {
        let sessions = SessionMiddleware::new(store.clone(), key.clone());
        App::new().wrap(sessions).route("/me", web::get().to(me))
    };
    let server = HttpServer::new(app).bind("127.0.0.1:0")?;
    let address = server.addrs().first().copied().context("no address is bound")?;
    println!("actix-session ready: http://{address}");
    Ok(server.run().await?)
}
