//! The caller of a request, for a handler behind an [`AuthGuard`](crate::AuthGuard).

use std::fmt;
use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError};

/// Extractor: the caller of a guarded request, as an argument of a handler. Reads as the [`parlance_dialect::Caller`]
/// within.
///
/// ```
/// use parlance_actix::Caller;
///
/// async fn whoami(caller: Caller) -> String {
///     format!("{}, by {}\n", caller.name, caller.dialect)
/// }
/// ```
///
/// Without a guard in front, such a handler never runs: the answer is a 500 that names the missing guard, as does the
/// log.
///
/// `Option<Caller>` does not mean "logged in or not". Behind a guard the value is always `Some`, since the guard has
/// refused every other request. Without a guard the value is always `None`, with or without a credential. Such a
/// handler lets no request in by mistake, but hides the missing guard from all but the log. Take `Caller`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub parlance_dialect::Caller);

/// A handler takes a [`Caller`], and no guard stands in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingGuard;

impl Deref for Caller {
    type Target = parlance_dialect::Caller;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl FromRequest for Caller {
    type Error = MissingGuard;
    type Future = Ready<Result<Self, MissingGuard>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Self>().cloned();
        if caller.is_none() {
            // The route pattern as registered: a request's own path may hold a credential.
            let route = request.match_pattern();
            tracing::error!(method = %request.method(), route, "{MissingGuard}");
        }
        ready(caller.ok_or(MissingGuard))
    }
}

impl fmt::Display for MissingGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a handler takes a Caller but no parlance guard stands before it: wrap its resource, scope or app in parlance::actix::AuthGuard")
    }
}

impl std::error::Error for MissingGuard {}

impl ResponseError for MissingGuard {
    fn status_code(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code())
            .content_type("text/plain; charset=utf-8")
            .body(format!("{self}\n"))
    }
}
