//! An exchange with a client: actix's request as a dialect sees it, a dialect's answer as actix sends it, and how long either may take.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, rt};
use futures_util::future::poll_immediate;
use futures_util::{FutureExt as _, StreamExt as _};
use parlance_core::Timestamp;
use parlance_dialect::{Header, Request, Response, Unread};

use crate::Shell;

/// The longest body that is read, in bytes.
pub const BODY_LIMIT: usize = 16 * 1024;
/// How long a body may take.
pub const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer may take, counted from the end of the request. A database that has stopped without a word would hold its callers
/// for ever. It is longer than the store needs to find out that it cannot write (two batches that wait five seconds each for a lock), whose
/// answer is better: it says that nothing was done.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// A request but for its body, as a dialect sees it.
pub(crate) struct Head<'h> {
    http: &'h HttpRequest,
    headers: Vec<Header<'h>>,
    peer: Option<IpAddr>,
    secure: bool,
    now: Timestamp,
}

impl<'h> Head<'h> {
    pub(crate) fn of(shell: &Shell, http: &'h HttpRequest) -> Self {
        let headers =
            http.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let (peer, secure) = shell.peer(http);
        Self { http, headers, peer, secure, now: shell.clock.now() }
    }

    /// The request, with its path as the dialect is to see it.
    pub(crate) fn request<'r>(&'r self, path: &'r str, body: &'r [u8]) -> Request<'r>
    where
        'h: 'r,
    {
        Request {
            method: self.http.method().as_str(),
            path,
            query: self.http.uri().query(),
            headers: &self.headers,
            body,
            peer: self.peer,
            secure: self.secure,
            now: self.now,
        }
    }
}

/// Why there is no answer.
pub(crate) enum Unanswered {
    /// The store has not answered in time.
    Late,
    /// A defect.
    Panicked,
}

/// Waits for an answer for [`ANSWER_PATIENCE`]. A panic is a defect; it must not take the worker's other connections with it, nor show the
/// client anything.
pub(crate) async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, Unanswered> {
    match rt::time::timeout(ANSWER_PATIENCE, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(answer)) => Ok(answer),
        Err(_) => Err(Unanswered::Late),
        Ok(Err(_)) => Err(Unanswered::Panicked),
    }
}

/// What a client hears of a defect.
pub(crate) fn defect() -> HttpResponse {
    HttpResponse::InternalServerError()
        .content_type("text/plain; charset=utf-8")
        .body("Internal error.\n")
}

/// Reads a body of at most [`BODY_LIMIT`] bytes, for at most [`BODY_PATIENCE`].
///
/// # Errors
/// Why it was not read to its end. [`cut_off`] is for the answer.
pub async fn body(request: &HttpRequest, payload: Payload) -> Result<Vec<u8>, Unread> {
    let mut reading = pin!(read(request, payload));
    // Mostly it is there already, or there is none, and no timer is worth setting.
    match poll_immediate(reading.as_mut()).await {
        Some(body) => body,
        None => rt::time::timeout(BODY_PATIENCE, reading).await.unwrap_or(Err(Unread::TooSlow)),
    }
}

async fn read(request: &HttpRequest, mut payload: Payload) -> Result<Vec<u8>, Unread> {
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

/// An answer in actix's form.
#[must_use]
pub fn respond(answer: Response) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::with_body(status, ());
    for (name, value) in answer.headers {
        // A user's name may be any text, so a value is bytes (RFC 9110, 5.5, obs-text), and what cannot be a value is left out.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    response.set_body(answer.body).map_into_boxed_body()
}

/// An answer to a request whose body was not read to its end: the rest is still on its way, so the connection cannot be used again.
#[must_use]
pub fn cut_off(answer: Response) -> HttpResponse {
    let mut answer = respond(answer);
    answer.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    answer
}
