//! A guard that several dialects share.

use std::sync::Arc;

use parlance_core::Failure;
use parlance_core::ports::TurnedAway;

use crate::{Caller, Refusal, Request, Response, Service};

/// Lets a request pass that shows a credential of any of its dialects.
#[derive(Debug, Clone)]
pub struct Guard {
    first: Arc<dyn Service>,
    others: Vec<Arc<dyn Service>>,
}

impl Guard {
    /// A guard for one dialect, in whose words it also refuses who shows nothing.
    #[must_use]
    pub fn new(dialect: Arc<dyn Service>) -> Self {
        Self { first: dialect, others: Vec::new() }
    }

    /// Takes another dialect's credentials as well.
    #[must_use]
    pub fn or(mut self, dialect: Arc<dyn Service>) -> Self {
        self.others.push(dialect);
        self
    }

    /// Its dialects, the first one first.
    pub fn dialects(&self) -> impl Iterator<Item = &Arc<dyn Service>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The first dialect whose credential may stand in the body of this request, of which only the head is known: if there is one, the
    /// body must be read before [`Self::admit`].
    #[must_use]
    pub fn needs_body(&self, head: &Request<'_>) -> Option<&Arc<dyn Service>> {
        self.dialects().find(|dialect| dialect.needs_body(head))
    }

    /// Answers for a request that was not decided in time.
    #[must_use]
    pub fn late(&self) -> Response {
        self.first.late()
    }

    /// Lets a request pass, or refuses it in the words of the first dialect whose credential it shows; of the first of all if it shows
    /// none. A dead credential of one dialect does not hide a living one of another.
    ///
    /// # Errors
    /// The refusal.
    pub async fn admit(&self, request: &Request<'_>) -> Result<Caller, Refusal> {
        let mut refused: Option<(&Arc<dyn Service>, Failure)> = None;
        for dialect in self.dialects() {
            let Some(shown) = dialect.present(request) else { continue };
            let why = match dialect.check(shown, request).await {
                Ok(caller) => return Ok(caller),
                Err(why) => why,
            };
            // Whether the credential is good is not known, so nothing more is to be found out now.
            let unknown = matches!(why, Failure::Busy | Failure::Unavailable);
            if unknown || refused.is_none() {
                refused = Some((dialect, why));
            }
            if unknown {
                break;
            }
        }
        let (dialect, why) = refused.unwrap_or_else(|| {
            self.first.turned_away(TurnedAway::NoCredential, request.peer);
            (&self.first, Failure::NoCredential)
        });
        Err(Refusal { why, answer: dialect.deny(why) })
    }
}
