//! A dialect with an authority behind it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use parlance_core::{
    Authority, Command, Context, Failure, Mint, Outcome, SessionId, Timestamp, UserId,
};

use crate::{Dialect, Request, Response, Unread};

/// An answer under way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who makes a guarded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's id.
    pub user: UserId,
    /// The user's name, as the operator spelt it.
    pub name: String,
    /// The ids of his roles.
    pub roles: Vec<uuid::Uuid>,
    /// Whether he may do everything.
    pub unrestricted: bool,
    /// The session.
    pub session: SessionId,
    /// The dialect that it was opened in.
    pub dialect: &'static str,
    /// When it expires, if it does.
    pub expires: Option<Timestamp>,
}

/// A guarded request that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for whoever decides what becomes of the request; never for the client.
    pub why: Failure,
    /// What the client hears, in the dialect's words.
    pub answer: Response,
}

/// A dialect at work, whichever it is.
pub trait Service: std::fmt::Debug + Send + Sync {
    /// The dialect's name.
    fn name(&self) -> &'static str;
    /// The documented paths, for people.
    fn paths(&self) -> &'static [&'static str];
    /// Whether a guard must read the body of a guarded request to find its credential: see [`Dialect::needs_body`].
    fn needs_body(&self, head: &Request<'_>) -> bool;
    /// Whether a path, without the mount's prefix, is the dialect's.
    fn claims(&self, path: &str) -> bool;
    /// Answers a request to a claimed path.
    fn serve<'a>(&'a self, request: &'a Request<'a>) -> Answer<'a, Response>;
    /// Lets a guarded request pass, or refuses it in the dialect's words.
    fn admit<'a>(&'a self, request: &'a Request<'a>) -> Answer<'a, Result<Caller, Refusal>>;
    /// Refuses a request whose body was not read to its end.
    fn unread(&self, why: Unread) -> Response;
    /// Answers for a call that the store has not answered in time: it is unknown whether it was done.
    fn late(&self) -> Response;
}

/// A dialect and the authority that decides for it.
#[derive(Debug)]
pub struct Desk<D> {
    dialect: Arc<D>,
    mint: Arc<dyn Mint>,
    authority: Arc<Authority>,
}

impl<D: Dialect> Desk<D> {
    /// Puts the two together.
    #[must_use]
    pub fn new(dialect: D, authority: Arc<Authority>) -> Self {
        let dialect = Arc::new(dialect);
        Self { mint: Arc::<D>::clone(&dialect), dialect, authority }
    }

    fn refuse(&self, why: Failure) -> Refusal {
        Refusal { why, answer: self.dialect.deny(&why) }
    }

    fn context(&self, request: &Request<'_>) -> Context<'_> {
        Context { now: request.now, peer: request.peer, mint: &self.mint }
    }
}

impl<D: Dialect> Service for Desk<D> {
    fn name(&self) -> &'static str {
        D::NAME
    }

    fn paths(&self) -> &'static [&'static str] {
        D::PATHS
    }

    fn needs_body(&self, head: &Request<'_>) -> bool {
        self.dialect.needs_body(head)
    }

    fn claims(&self, path: &str) -> bool {
        D::claims(path)
    }

    fn serve<'a>(&'a self, request: &'a Request<'a>) -> Answer<'a, Response> {
        Box::pin(async move {
            let call = match self.dialect.decode(request) {
                Ok(call) => call,
                Err(answer) => return answer,
            };
            let result =
                self.authority.execute(self.dialect.command(&call), self.context(request)).await;
            self.dialect.encode(&call, result.as_ref(), request.now)
        })
    }

    fn admit<'a>(&'a self, request: &'a Request<'a>) -> Answer<'a, Result<Caller, Refusal>> {
        Box::pin(async move {
            let result = match self.dialect.present(request) {
                Some(shown) => {
                    self.authority.execute(Command::Check(shown), self.context(request)).await
                }
                None => Err(Failure::NoCredential),
            };
            match result {
                Ok(Outcome::Standing(session, user)) => Ok(Caller {
                    user: user.id,
                    name: user.name,
                    roles: user.roles,
                    unrestricted: user.unrestricted,
                    session: session.id,
                    dialect: D::NAME,
                    expires: session.expires,
                }),
                Ok(
                    Outcome::Opened(..)
                    | Outcome::Renewed(..)
                    | Outcome::Closed
                    | Outcome::Bumped(_)
                    | Outcome::Users(_)
                    | Outcome::Named(_),
                ) => Err(self.refuse(Failure::Unavailable)),
                Err(why) => Err(self.refuse(why)),
            }
        })
    }

    fn unread(&self, why: Unread) -> Response {
        self.dialect.unread(why)
    }

    fn late(&self) -> Response {
        self.dialect.deny(&Failure::Unavailable)
    }
}
