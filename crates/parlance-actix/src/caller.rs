//! Who calls, for a handler behind a [`Guard`](crate::Guard).

use std::fmt;
use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError};

/// Who makes a guarded request: an argument of a handler, that reads as the [`parlance_dialect::Caller`] within.
///
/// ```
/// use parlance_actix::Caller;
///
/// async fn whoami(caller: Caller) -> String {
///     format!("{}, by {}\n", caller.name, caller.dialect)
/// }
/// ```
///
/// Without a guard before it such a handler answers 500 and says so, to the log as well: it never runs.
///
/// `Option<Caller>` does not mean "logged in or not": behind a guard it is always `Some`, since the guard has refused everybody else,
/// and without one it is always `None`, whatever the request shows. So it lets nobody in by mistake, but it hides the missing guard from
/// all but the log. Take `Caller`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub parlance_dialect::Caller);

/// A handler takes a [`Caller`], and no guard stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unguarded;

impl Deref for Caller {
    type Target = parlance_dialect::Caller;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl FromRequest for Caller {
    type Error = Unguarded;
    type Future = Ready<Result<Self, Unguarded>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Self>().cloned();
        if caller.is_none() {
            // The route as it was registered: a request's own path may hold a credential.
            let route = request.match_pattern();
            tracing::error!(method = %request.method(), route, "{Unguarded}");
        }
        ready(caller.ok_or(Unguarded))
    }
}

impl fmt::Display for Unguarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a handler takes a Caller but no parlance guard stands before it: wrap its resource, scope or app in parlance::actix::Guard")
    }
}

impl std::error::Error for Unguarded {}

impl ResponseError for Unguarded {
    fn status_code(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code())
            .content_type("text/plain; charset=utf-8")
            .body(format!("{self}\n"))
    }
}
