//! The authentication guard: admits requests with a credential of one or more dialects.

use std::sync::Arc;

use parlance_core::Failure;
use parlance_core::ports::TurnedAway;

use crate::{Caller, DialectHandler, Refusal, Request, Response};

/// Admits a request with a valid credential of any of its dialects.
#[derive(Debug, Clone)]
pub struct Guard {
    first: Arc<dyn DialectHandler>,
    others: Vec<Arc<dyn DialectHandler>>,
}

impl Guard {
    /// A guard for one dialect. A request without any credential is refused in the format of this dialect.
    #[must_use]
    pub fn new(dialect: Arc<dyn DialectHandler>) -> Self {
        Self { first: dialect, others: Vec::new() }
    }

    /// Accepts the credentials of another dialect as well.
    #[must_use]
    pub fn or(mut self, dialect: Arc<dyn DialectHandler>) -> Self {
        self.others.push(dialect);
        self
    }

    /// The dialects, in the order in which they were added.
    pub fn dialects(&self) -> impl Iterator<Item = &Arc<dyn DialectHandler>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The first dialect with a credential that may stand in the body of this request, as far as the head tells. If there is one, the body
    /// must be read before [`Self::admit`].
    #[must_use]
    pub fn needs_body(&self, head: &Request<'_>) -> Option<&Arc<dyn DialectHandler>> {
        self.dialects().find(|dialect| dialect.needs_body(head))
    }

    /// The response to a request that was not decided in time.
    #[must_use]
    pub fn timeout_response(&self) -> Response {
        self.first.timeout_response()
    }

    /// Admits a request, or refuses the request in the format of the first dialect with a credential in it; without a credential, in the
    /// format of the first dialect of the guard. A dead credential of one dialect does not hide a live one of another.
    ///
    /// # Errors
    /// The refusal.
    pub async fn admit(&self, request: &Request<'_>) -> Result<Caller, Refusal> {
        let mut refused: Option<(&Arc<dyn DialectHandler>, Failure)> = None;
        for dialect in self.dialects() {
            let Some(shown) = dialect.extract_credential(request) else { continue };
            let failure = match dialect.check(shown, request).await {
                Ok(caller) => return Ok(caller),
                Err(why) => why,
            };
            // While the validity of this credential is unknown (busy or unavailable), other dialects would find out no more.
            let unknown = matches!(failure, Failure::Busy | Failure::Unavailable);
            if unknown || refused.is_none() {
                refused = Some((dialect, failure));
            }
            if unknown {
                break;
            }
        }
        let (dialect, failure) = refused.unwrap_or_else(|| {
            self.first.turned_away(TurnedAway::NoCredential, request.peer);
            (&self.first, Failure::NoCredential)
        });
        Err(Refusal { failure, response: dialect.challenge(failure) })
    }
}
