//! What a mount and a guard share: the request as a dialect sees it, within the limits of its size and time.

use std::fmt;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header::{
    CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, rt};
use futures_util::future::poll_immediate;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use parlance_core::Timestamp;
use parlance_core::ports::Clock;
use parlance_dialect::{Header, Request, Response, Unread};

use crate::TrustedProxies;

/// The longest body that is read, in bytes.
pub const BODY_LIMIT: usize = parlance_dialect::BODY_LIMIT;
/// How long a body may take.
pub const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer may take, counted from the end of the request. A database that has stopped without a word would hold its callers
/// for ever. It is longer than the store needs to find out that it cannot write (two batches that wait five seconds each for a lock), whose
/// answer is better: it says that nothing was done.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// What all mounts and guards share.
#[derive(Clone)]
pub struct Shell {
    /// Read once a request.
    pub clock: Arc<dyn Clock>,
    /// Whose word counts for the client's address.
    pub proxies: Arc<TrustedProxies>,
}

/// Why nobody answered.
#[derive(Debug, Clone, Copy)]
pub enum Silence {
    /// Not within [`ANSWER_PATIENCE`].
    Late,
    /// A defect.
    Panicked,
}

impl Shell {
    /// A request as it is known before its body is.
    #[must_use]
    pub fn head<'r>(&self, request: &'r HttpRequest, path: &'r str) -> Head<'r> {
        let lines = request.headers().iter();
        let headers: Vec<_> =
            lines.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let (peer, secure) = self.peer(request, &headers);
        Head {
            method: request.method().as_str(),
            path,
            query: request.uri().query(),
            headers,
            peer,
            secure,
            now: self.clock.now(),
        }
    }

    /// The client's address and whether he came over TLS, as far as the socket and trusted proxies say.
    fn peer(&self, request: &HttpRequest, headers: &[Header<'_>]) -> (Option<IpAddr>, bool) {
        let Some(peer) = request.peer_addr().map(|peer| peer.ip()) else {
            return (None, request.app_config().secure());
        };
        // The map's names are in lower case.
        let values = |name: &'static str| {
            let lines = headers.iter().filter(move |(other, _)| *other == name);
            lines.map(|(_, value)| *value)
        };
        // The nearest proxy's word stands last, whether it has a line of its own or not.
        let is_tls = |line: &[u8]| {
            let last = line.rsplit(|&byte| byte == b',').next();
            last.is_some_and(|word| word.trim_ascii().eq_ignore_ascii_case(b"https"))
        };
        let forwarded_tls = || {
            self.proxies.trusts(peer) && values("x-forwarded-proto").next_back().is_some_and(is_tls)
        };
        (
            Some(self.proxies.client(peer, values("x-forwarded-for"))),
            request.app_config().secure() || forwarded_tls(),
        )
    }
}

/// A request without its body.
pub struct Head<'r> {
    method: &'r str,
    path: &'r str,
    query: Option<&'r str>,
    headers: Vec<Header<'r>>,
    peer: Option<IpAddr>,
    secure: bool,
    now: Timestamp,
}

impl Head<'_> {
    /// The request with this body.
    #[must_use]
    pub fn with<'h>(&'h self, body: &'h [u8]) -> Request<'h> {
        let Self { method, path, query, ref headers, peer, secure, now } = *self;
        Request { method, path, query, headers, body, peer, secure, now }
    }
}

/// Waits for a dialect's answer, for [`ANSWER_PATIENCE`].
///
/// # Errors
/// There is none: [`silent`] words it.
pub async fn answered<T>(answer: impl Future<Output = T>) -> Result<T, Silence> {
    // A panic is a defect; it must not take the worker's other connections with it, nor show the client anything.
    match rt::time::timeout(ANSWER_PATIENCE, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(Silence::Panicked),
        Err(_) => Err(Silence::Late),
    }
}

/// Reads a body of at most [`BODY_LIMIT`] bytes, for at most [`BODY_PATIENCE`].
///
/// # Errors
/// Why it was not read to its end: [`cut_off`] is for the answer.
pub async fn body(
    request: &HttpRequest,
    payload: impl Stream<Item = Result<Bytes, PayloadError>>,
) -> Result<Vec<u8>, Unread> {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_LIMIT as u64) {
        return Err(Unread::TooLong);
    }
    // What follows such a head has no end for actix, whatever the head says of a body.
    let end = is_stream(request).then(|| length.map_or(0, |length| length as usize));
    let mut whole = pin!(async move {
        let mut payload = pin!(payload);
        let mut body = Vec::new();
        while end.is_none_or(|end| body.len() < end)
            && let Some(chunk) = payload.next().await
        {
            let chunk = chunk.map_err(|_| Unread::Broken)?;
            let left = end.map_or(chunk.len(), |end| chunk.len().min(end - body.len()));
            let chunk = chunk.slice(..left);
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err(Unread::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    });
    // Mostly it is there already, or there is none, and no timer is worth setting.
    match poll_immediate(whole.as_mut()).await {
        Some(body) => body,
        None => rt::time::timeout(BODY_PATIENCE, whole).await.unwrap_or(Err(Unread::TooSlow)),
    }
}

/// Whether actix takes all that follows the head for the body: it does so where a request asks to change to WebSocket, or to connect. Nothing
/// of parlance does either, so that the request is one as any other (RFC 9110, 7.8).
fn is_stream(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let websocket = headers
        .get_all(UPGRADE)
        .any(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"));
    (websocket || request.method() == Method::CONNECT) && !headers.contains_key(TRANSFER_ENCODING)
}

/// A dialect's answer in actix's form.
#[must_use]
pub fn respond(answer: Response) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::with_body(status, answer.body);
    for (name, value) in answer.headers {
        // A user's name may be any text, so a value is bytes (RFC 9110, 5.5, obs-text), and what cannot be a value is left out.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    response.map_into_boxed_body()
}

/// The answer to a request whose body was not read. What is left of it may still be on its way, so the connection cannot be used again.
#[must_use]
pub fn cut_off(answer: Response) -> HttpResponse {
    let mut answer = respond(answer);
    answer.head_mut().set_connection_type(ConnectionType::Close);
    answer
}

/// The answer where nobody answered, with what the dialect says of lateness.
pub fn silent(silence: Silence, late: impl FnOnce() -> Response) -> HttpResponse {
    match silence {
        Silence::Late => respond(late()),
        Silence::Panicked => {
            respond(Response::with_body(500, "text/plain; charset=utf-8", "Internal error.\n"))
        }
    }
}

impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shell").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}

impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A request shows no secret.
        f.debug_tuple("Head").field(&self.with(&[])).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Response, Silence, answered, silent};

    #[actix_web::test]
    async fn a_panic_is_answered_with_the_headers_of_every_answer() {
        let silence = answered(async { panic!("a defect") }).await.unwrap_err();
        assert!(matches!(silence, Silence::Panicked), "{silence:?}");
        let answer = silent(silence, || Response::new(503));
        assert_eq!(answer.status(), 500);
        for (name, value) in [
            ("cache-control", "no-store"),
            ("content-type", "text/plain; charset=utf-8"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ] {
            let found: Vec<_> = answer.headers().get_all(name).collect();
            assert_eq!(found, [value], "{name}");
        }
    }
}
