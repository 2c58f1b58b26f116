//! A dialect with an authority behind it.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use parlance_core::ports::TurnedAway;
use parlance_core::{
    Authority, Command, Context, Credential, Failure, Login, Mint, Open, Outcome, Rivals, Session,
    SessionId, Timestamp, User, UserId,
};

use crate::{Dialect, Rejection, Request, Response, Shown, Unread};

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
    /// The credential that a guarded request shows: see [`Dialect::present`].
    fn present(&self, request: &Request<'_>) -> Option<Credential>;
    /// Finds out who makes a guarded request that shows this credential.
    fn check<'a>(
        &'a self,
        shown: Credential,
        request: &'a Request<'a>,
    ) -> Answer<'a, Result<Caller, Failure>>;
    /// How a guarded request is refused.
    fn deny(&self, why: Failure) -> Response;
    /// Lets a guarded request pass, or refuses it in the dialect's words.
    fn admit<'a>(&'a self, request: &'a Request<'a>) -> Answer<'a, Result<Caller, Refusal>> {
        Box::pin(async move {
            let checked = match self.present(request) {
                Some(shown) => self.check(shown, request).await,
                None => Err(Failure::NoCredential),
            };
            checked.map_err(|why| Refusal { why, answer: self.deny(why) })
        })
    }
    /// The session behind what a client showed to a service: see [`Authority::inspect`].
    fn inspect<'a>(
        &'a self,
        shown: &'a str,
        now: Timestamp,
    ) -> Answer<'a, Result<(Session, User), Failure>>;
    /// Ends the session behind what a client showed to a service: see [`Authority::revoke`].
    fn revoke<'a>(&'a self, shown: &'a str, now: Timestamp) -> Answer<'a, Result<(), Failure>>;
    /// Opens a session without the wire, from this address at this time, and gives what a client of the wire would then show.
    fn log_in(
        &self,
        login: Login,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Answer<'_, Result<Shown, Failure>>;
    /// Counts a guarded request that showed nothing to any dialect which the guard takes: [`Self::admit`] alone cannot know that.
    fn turned_away(&self, _why: TurnedAway, _peer: Option<IpAddr>) {}
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

    /// The dialect, for a door that brings its calls in another form than a [`Request`].
    #[must_use]
    pub fn dialect(&self) -> &D {
        &self.dialect
    }

    /// Asks the authority what a call asks, in whatever form it came.
    ///
    /// # Errors
    /// The refusal, which the door words.
    pub async fn ask(
        &self,
        call: &D::Call,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Outcome, Failure> {
        let context = Context { now, peer, mint: &self.mint };
        self.authority.execute(self.dialect.command(call), context).await
    }

    fn shown(&self, shown: &str) -> Result<Credential, Failure> {
        self.dialect.credential(shown).ok_or(Failure::NoCredential)
    }

    /// The world as a service sees it: it asks for a client who is elsewhere.
    fn behind(&self, now: Timestamp) -> Context<'_> {
        Context { now, peer: None, mint: &self.mint }
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
            // HEAD is GET whose answer goes without its body, which the server leaves out (RFC 9110, 9.3.2).
            let method = if request.method == "HEAD" { "GET" } else { request.method };
            let request = &Request { method, ..*request };
            let call = match self.dialect.decode(request) {
                Ok(call) => call,
                Err(Rejection { answer, why }) => {
                    if let Some(why) = why {
                        self.turned_away(why, request.peer);
                    }
                    return answer;
                }
            };
            let result = self.ask(&call, request.peer, request.now).await;
            self.dialect.encode(&call, result.as_ref(), request.now)
        })
    }

    fn present(&self, request: &Request<'_>) -> Option<Credential> {
        self.dialect.present(request)
    }

    fn check<'a>(
        &'a self,
        shown: Credential,
        request: &'a Request<'a>,
    ) -> Answer<'a, Result<Caller, Failure>> {
        Box::pin(async move {
            let context = Context { now: request.now, peer: request.peer, mint: &self.mint };
            match self.authority.execute(Command::Check(shown), context).await? {
                Outcome::Standing(session, user) => Ok(Caller {
                    user: user.id,
                    name: user.name,
                    roles: user.roles,
                    unrestricted: user.unrestricted,
                    session: session.id,
                    dialect: D::NAME,
                    expires: session.expires,
                }),
                Outcome::Opened(..)
                | Outcome::Renewed(..)
                | Outcome::Closed
                | Outcome::Bumped(_)
                | Outcome::Users(_)
                | Outcome::Named(_) => Err(Failure::Unavailable),
            }
        })
    }

    fn deny(&self, why: Failure) -> Response {
        self.dialect.deny(&why)
    }

    fn inspect<'a>(
        &'a self,
        shown: &'a str,
        now: Timestamp,
    ) -> Answer<'a, Result<(Session, User), Failure>> {
        Box::pin(async move { self.authority.inspect(&self.shown(shown)?, self.behind(now)).await })
    }

    fn revoke<'a>(&'a self, shown: &'a str, now: Timestamp) -> Answer<'a, Result<(), Failure>> {
        Box::pin(async move { self.authority.revoke(&self.shown(shown)?, self.behind(now)).await })
    }

    fn log_in(
        &self,
        login: Login,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Answer<'_, Result<Shown, Failure>> {
        Box::pin(async move {
            let open = Open {
                shown: None,
                outer: None,
                login: Some(login),
                lifetime: self.mint.terms().lifetime,
                rivals: Rivals::Allow,
            };
            let cx = Context { now, peer, mint: &self.mint };
            match self.authority.execute(Command::Open(open), cx).await? {
                Outcome::Opened(session, user, secret) => {
                    Ok(self.dialect.show(&session, &user, &secret))
                }
                Outcome::Standing(..)
                | Outcome::Renewed(..)
                | Outcome::Closed
                | Outcome::Bumped(_)
                | Outcome::Users(_)
                | Outcome::Named(_) => Err(Failure::Unavailable),
            }
        })
    }

    fn turned_away(&self, why: TurnedAway, peer: Option<IpAddr>) {
        self.authority.turned_away(D::NAME, why, peer);
    }

    fn unread(&self, why: Unread) -> Response {
        self.turned_away(TurnedAway::Malformed, None);
        self.dialect.unread(why)
    }

    fn late(&self) -> Response {
        self.dialect.deny(&Failure::Unavailable)
    }
}
