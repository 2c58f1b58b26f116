//! Whose request it is, for handlers.

use std::fmt;
use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, ResponseError};

/// Who makes a request that a [`guard`](crate::guard()) has let pass: an extractor for handlers.
///
/// Without a guard before it there is nobody to name: the request fails with a status of 500 and a sentence that says so, rather than
/// reach a handler that believes itself guarded. `Option<Caller>` is `None` then, so a handler that takes one must treat `None` as a
/// stranger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub parlance_dialect::Caller);

impl Deref for Caller {
    type Target = parlance_dialect::Caller;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A handler asks who its caller is, and no guard is mounted before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unguarded;

impl fmt::Display for Unguarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "This handler asks for a Caller, but no guard is before it: wrap its scope in parlance_actix::guard.",
        )
    }
}

impl std::error::Error for Unguarded {}

impl ResponseError for Unguarded {
    fn status_code(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}

impl FromRequest for Caller {
    type Error = Unguarded;
    type Future = Ready<Result<Self, Unguarded>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or(Unguarded))
    }
}
