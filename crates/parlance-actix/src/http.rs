//! Shared by mounts and guards: the request in the form that dialects take, within limits of size and time.

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

/// Largest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = parlance_dialect::MAX_BODY_BYTES;
/// Deadline for reading a body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Deadline for an answer, counted from the end of the request. Without one, a database that has stopped without a word
/// would hold its callers for ever. The deadline is longer than the store needs to find out that a write is not
/// possible (two batches that wait five seconds each for a lock). The store's own answer is better, because that answer
/// says that nothing was done.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);

/// Dependencies of all mounts and guards.
#[derive(Clone)]
pub struct AppContext {
    /// Read once per request.
    pub clock: Arc<dyn Clock>,
    /// The trusted proxies, which may state the client's address.
    pub proxies: Arc<TrustedProxies>,
}

/// Reason for a missing answer.
#[derive(Debug, Clone, Copy)]
pub enum HandlerFailure {
    /// No answer within [`RESPONSE_TIMEOUT`].
    TimedOut,
    /// A panic: a defect.
    Panicked,
}

impl AppContext {
    /// The part of a request that is known before the body.
    #[must_use]
    pub fn head<'r>(&self, request: &'r HttpRequest, path: &'r str) -> RequestHead<'r> {
        let lines = request.headers().iter();
        let headers: Vec<_> =
            lines.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let (peer, secure) = self.client(request, &headers);
        RequestHead {
            method: request.method().as_str(),
            path,
            query: request.uri().query(),
            headers,
            peer,
            secure,
            now: self.clock.now(),
        }
    }

    /// The client's address and whether the request came over TLS, as far as the socket and trusted proxies say.
    fn client(&self, request: &HttpRequest, headers: &[Header<'_>]) -> (Option<IpAddr>, bool) {
        let Some(peer) = request.peer_addr().map(|peer| peer.ip()) else {
            return (None, request.app_config().secure());
        };
        // The map's names are in lower case.
        let values = |name: &'static str| {
            let lines = headers.iter().filter(move |(other, _)| *other == name);
            lines.map(|(_, value)| *value)
        };
        // The nearest proxy's word stands last, on a line of its own or not.
        let is_tls = |line: &[u8]| {
            let last = line.rsplit(|&byte| byte == b',').next();
            last.is_some_and(|word| word.trim_ascii().eq_ignore_ascii_case(b"https"))
        };
        let forwarded_tls = || {
            self.proxies.trusts(peer) && values("x-forwarded-proto").next_back().is_some_and(is_tls)
        };
        (
            Some(self.proxies.client_address(peer, values("x-forwarded-for"))),
            request.app_config().secure() || forwarded_tls(),
        )
    }
}

/// A request without its body.
pub struct RequestHead<'r> {
    method: &'r str,
    path: &'r str,
    query: Option<&'r str>,
    headers: Vec<Header<'r>>,
    peer: Option<IpAddr>,
    secure: bool,
    now: Timestamp,
}

impl RequestHead<'_> {
    /// The request with this body.
    #[must_use]
    pub fn with_body<'h>(&'h self, body: &'h [u8]) -> Request<'h> {
        let Self { method, path, query, ref headers, peer, secure, now } = *self;
        Request { method, path, query, headers, body, peer, secure, now }
    }
}

/// Waits for a dialect's answer, with [`RESPONSE_TIMEOUT`] as the deadline.
///
/// # Errors
/// The reason for a missing answer: [`failure_response`] turns that into a response.
pub async fn await_response<T>(answer: impl Future<Output = T>) -> Result<T, HandlerFailure> {
    // A panic is a defect. The worker's other connections must survive, and the client must see nothing of the panic.
    match rt::time::timeout(RESPONSE_TIMEOUT, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(HandlerFailure::Panicked),
        Err(_) => Err(HandlerFailure::TimedOut),
    }
}

/// Reads a body of at most [`MAX_BODY_BYTES`] bytes, for at most [`BODY_TIMEOUT`].
///
/// # Errors
/// Why the body was not read to its end: [`respond_and_close`] is for the answer.
pub async fn read_limited_body(
    request: &HttpRequest,
    payload: impl Stream<Item = Result<Bytes, PayloadError>>,
) -> Result<Vec<u8>, Unread> {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(Unread::TooLong);
    }
    // For actix the data after such a head has no end, even if the head states a length.
    let end = has_unbounded_body(request).then(|| length.map_or(0, |length| length as usize));
    let mut whole = pin!(async move {
        let mut payload = pin!(payload);
        let mut body = Vec::new();
        while end.is_none_or(|end| body.len() < end)
            && let Some(chunk) = payload.next().await
        {
            let chunk = chunk.map_err(|_| Unread::Broken)?;
            let left = end.map_or(chunk.len(), |end| chunk.len().min(end - body.len()));
            let chunk = chunk.slice(..left);
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(Unread::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    });
    // Mostly the body is there already, or there is none, and no timer is worth setting.
    match poll_immediate(whole.as_mut()).await {
        Some(body) => body,
        None => rt::time::timeout(BODY_TIMEOUT, whole).await.unwrap_or(Err(Unread::TooSlow)),
    }
}

/// Whether actix takes everything after the head for the body: for a request to change to WebSocket, or with the method
/// CONNECT. parlance does neither, so that such a request is handled like any other (RFC 9110, 7.8).
fn has_unbounded_body(request: &HttpRequest) -> bool {
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
        // A user's name may be any text, so a value is bytes (RFC 9110, 5.5, obs-text). Text that cannot be a header
        // value is left out.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    response.map_into_boxed_body()
}

/// The answer to a request with an unread body. The rest of the body may still be on its way, so the connection cannot
/// be used again.
#[must_use]
pub fn respond_and_close(answer: Response) -> HttpResponse {
    let mut answer = respond(answer);
    answer.head_mut().set_connection_type(ConnectionType::Close);
    answer
}

/// The answer for a missing answer of a dialect; `late` makes the timeout answer of that dialect.
pub fn failure_response(
    failure: HandlerFailure,
    timeout_response: impl FnOnce() -> Response,
) -> HttpResponse {
    match failure {
        HandlerFailure::TimedOut => respond(timeout_response()),
        HandlerFailure::Panicked => {
            respond(Response::with_body(500, "text/plain; charset=utf-8", "Internal error.\n"))
        }
    }
}

impl fmt::Debug for AppContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppContext").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A request shows no secret.
        f.debug_tuple("RequestHead").field(&self.with_body(&[])).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{HandlerFailure, Response, await_response, failure_response};

    #[actix_web::test]
    async fn a_panic_is_answered_with_the_headers_of_every_answer() {
        let failure = await_response(async { panic!("a defect") }).await.unwrap_err();
        assert!(matches!(failure, HandlerFailure::Panicked), "{failure:?}");
        let answer = failure_response(failure, || Response::new(503));
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
