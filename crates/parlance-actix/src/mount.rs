//! Dialects in an app.

use std::fmt;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, guard, rt, web};
use futures_util::future::poll_immediate;
use futures_util::{FutureExt as _, StreamExt as _};
use parlance_core::ports::Clock;
use parlance_dialect::{Request, Response, Service, Unread};

use crate::TrustedProxies;

/// The longest body that is read, in bytes.
pub const BODY_LIMIT: usize = 16 * 1024;
/// How long a body may take.
pub const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer may take, counted from the end of the request. A database that has stopped without a word would hold its callers
/// for ever. It is longer than the store needs to find out that it cannot write (two batches that wait five seconds each for a lock), whose
/// answer is better: it says that nothing was done.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// A dialect and the prefix under which its paths stand.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Empty, or `/legacy`: a leading slash, no trailing one.
    pub prefix: String,
    /// The dialect.
    pub service: Arc<dyn Service>,
}

/// What all mounted dialects share.
#[derive(Clone)]
pub struct Shell {
    /// Read once a request.
    pub clock: Arc<dyn Clock>,
    /// Whose word counts for the client's address.
    pub proxies: Arc<TrustedProxies>,
}

/// Which dialect answered a request: found in the extensions of the request after it was served.
#[derive(Debug, Clone, Copy)]
pub struct Served(pub &'static str);

/// Adds the dialects to an app or a scope. Requests to other paths go on to the app's other services.
pub fn mount(config: &mut web::ServiceConfig, shell: &Shell, mounts: &[Mount]) {
    let (shell, mounts): (Shell, Rc<[Mount]>) = (shell.clone(), mounts.into());
    let claimed = Rc::clone(&mounts);
    // A scope that claims by its guard: a pattern such as `{path:.*}` would be matched against every request, as a regular expression.
    let scope = web::scope("")
        .guard(guard::fn_guard(move |cx| find(&claimed, cx.head().uri.path()).is_some()))
        .default_service(web::to(move |request: HttpRequest, payload: web::Payload| {
            let (shell, mounts) = (shell.clone(), Rc::clone(&mounts));
            async move {
                match find(&mounts, request.uri().path()) {
                    Some(mount) => answer(&shell, mount, &request, payload).await,
                    None => HttpResponse::NotFound().finish(),
                }
            }
        }));
    config.service(scope);
}

/// Whose path it is.
fn find<'m>(mounts: &'m [Mount], path: &str) -> Option<&'m Mount> {
    mounts.iter().find(|mount| mount.path(path).is_some())
}

impl Mount {
    /// What the dialect sees of a path, if it is its own.
    fn path<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.prefix.as_str()).filter(|path| self.service.claims(path))
    }
}

impl Shell {
    /// The client's address and whether he came over TLS, as far as the socket and trusted proxies say.
    fn peer(&self, request: &HttpRequest) -> (Option<IpAddr>, bool) {
        let Some(peer) = request.peer_addr().map(|peer| peer.ip()) else {
            return (None, request.app_config().secure());
        };
        let values =
            |name: &'static str| request.headers().get_all(name).map(HeaderValue::as_bytes);
        // The nearest proxy's word stands last, whether it has a line of its own or not.
        let is_tls = |line: &[u8]| {
            let last = line.rsplit(|&byte| byte == b',').next();
            last.is_some_and(|word| word.trim_ascii().eq_ignore_ascii_case(b"https"))
        };
        let forwarded_tls =
            || self.proxies.trusts(peer) && values("x-forwarded-proto").last().is_some_and(is_tls);
        (
            Some(self.proxies.client(peer, values("x-forwarded-for"))),
            request.app_config().secure() || forwarded_tls(),
        )
    }
}

async fn answer(
    shell: &Shell,
    mount: &Mount,
    request: &HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    request.extensions_mut().insert(Served(mount.service.name()));
    let mut reading = pin!(read(request, payload));
    // Mostly it is there already, or there is none, and no timer is worth setting.
    let body = match poll_immediate(reading.as_mut()).await {
        Some(body) => body,
        None => rt::time::timeout(BODY_PATIENCE, reading).await.unwrap_or(Err(Unread::TooSlow)),
    };
    let body = match body {
        Ok(body) => body,
        Err(why) => return unread(mount, why),
    };
    let (peer, secure) = shell.peer(request);
    let headers: Vec<_> =
        request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let request = Request {
        method: request.method().as_str(),
        path: mount.path(request.uri().path()).unwrap_or_default(),
        query: request.uri().query(),
        headers: &headers,
        body: &body,
        peer,
        secure,
        now: shell.clock.now(),
    };
    // A panic is a defect; it must not take the worker's other connections with it, nor show the client anything.
    let answer = AssertUnwindSafe(mount.service.serve(&request)).catch_unwind();
    match rt::time::timeout(ANSWER_PATIENCE, answer).await {
        Ok(Ok(answer)) => response(answer).finish(),
        Err(_) => response(mount.service.late()).finish(),
        Ok(Err(_)) => HttpResponse::InternalServerError()
            .content_type("text/plain; charset=utf-8")
            .body("Internal error.\n"),
    }
}

/// The rest of the body is still on its way, so the connection cannot be used again.
fn unread(mount: &Mount, why: Unread) -> HttpResponse {
    let mut answer = response(mount.service.unread(why));
    answer.0.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    answer.finish()
}

async fn read(request: &HttpRequest, mut payload: web::Payload) -> Result<Vec<u8>, Unread> {
    let length = request
        .headers()
        .get("content-length")
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_LIMIT as u64) {
        return Err(Unread::TooLong);
    }
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Unread::Broken)?;
        if body.len() + chunk.len() > BODY_LIMIT {
            return Err(Unread::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A response on its way into actix's form.
struct Building(HttpResponse<()>, Vec<u8>);

impl Building {
    fn finish(self) -> HttpResponse {
        self.0.set_body(self.1).map_into_boxed_body()
    }
}

fn response(answer: Response) -> Building {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::with_body(status, ());
    for (name, value) in answer.headers {
        // A user's name may be any text, so a value is bytes (RFC 9110, 5.5, obs-text), and what cannot be a value is left out.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    Building(response, answer.body)
}

impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shell").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}
