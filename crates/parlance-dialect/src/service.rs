//! The service of a dialect: a dialect together with an authority, for servers, guards and tests.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use parlance_core::ports::TurnedAway;
use parlance_core::{
    Authority, Command, ConcurrentSessions, Context, Credential, Failure, Login, Outcome,
    PasswordCredentials, Session, SessionId, Timestamp, TokenIssuer, User, UserId,
};

use crate::{Dialect, Rejection, Request, RequestCredential, Response, Unread};

/// A boxed future of an answer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The authenticated caller of a guarded request: the user and the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's id.
    pub user: UserId,
    /// The user's name, as the operator spelt it.
    pub name: String,
    /// The ids of the user's roles.
    pub roles: Vec<uuid::Uuid>,
    /// Whether the user may do everything.
    pub unrestricted: bool,
    /// The id of the session.
    pub session: SessionId,
    /// The dialect in which the session was opened.
    pub dialect: &'static str,
    /// The expiry of the session, if there is one.
    pub expires: Option<Timestamp>,
}

/// The refusal of a guarded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, for the code that decides about the request; never for the client.
    pub failure: Failure,
    /// The response to the client, in the format of the dialect.
    pub response: Response,
}

/// The object-safe interface of a dialect together with an authority.
pub trait DialectHandler: std::fmt::Debug + Send + Sync {
    /// The dialect's name.
    fn name(&self) -> &'static str;
    /// The documented paths, for human readers.
    fn paths(&self) -> &'static [&'static str];
    /// Whether a guard must read the body of a guarded request to find its credential: see [`Dialect::needs_body`].
    fn needs_body(&self, head: &Request<'_>) -> bool;
    /// Whether a path, without the mount's prefix, belongs to the dialect.
    fn claims(&self, path: &str) -> bool;
    /// Answers a request to a claimed path.
    fn serve<'a>(&'a self, request: &'a Request<'a>) -> BoxFuture<'a, Response>;
    /// The credential of a guarded request: see [`Dialect::extract_credential`].
    fn extract_credential(&self, request: &Request<'_>) -> Option<Credential>;
    /// Resolves the caller of a guarded request with this credential.
    fn check<'a>(
        &'a self,
        shown: Credential,
        request: &'a Request<'a>,
    ) -> BoxFuture<'a, Result<Caller, Failure>>;
    /// The response that refuses a guarded request.
    fn challenge(&self, why: Failure) -> Response;
    /// Admits a guarded request, or refuses the request in the format of the dialect.
    fn admit<'a>(&'a self, request: &'a Request<'a>) -> BoxFuture<'a, Result<Caller, Refusal>> {
        Box::pin(async move {
            let checked = match self.extract_credential(request) {
                Some(shown) => self.check(shown, request).await,
                None => Err(Failure::NoCredential),
            };
            checked.map_err(|failure| Refusal { failure, response: self.challenge(failure) })
        })
    }
    /// Introspection: the session of a credential that a client presented to a service. See [`Authority::introspect`].
    fn introspect<'a>(
        &'a self,
        shown: &'a str,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<(Session, User), Failure>>;
    /// Revocation: ends the session of a credential that a client presented to a service. See [`Authority::revoke`].
    fn revoke<'a>(&'a self, shown: &'a str, now: Timestamp) -> BoxFuture<'a, Result<(), Failure>>;
    /// Opens a session without the wire format, from this address at this time, and returns the credential as a client would send it.
    fn log_in(
        &self,
        login: PasswordCredentials,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<RequestCredential, Failure>>;
    /// Reports a guarded request without a credential for any dialect of the guard; [`Self::admit`] alone cannot know about the others.
    fn turned_away(&self, _why: TurnedAway, _peer: Option<IpAddr>) {}
    /// The response to a request with a body that was not read to its end.
    fn body_error(&self, why: Unread) -> Response;
    /// The response to a call that the store has not answered in time; whether the change was made is unknown.
    fn timeout_response(&self) -> Response;
}

/// A dialect together with the authority that decides about its calls.
#[derive(Debug)]
pub struct DialectService<D> {
    dialect: Arc<D>,
    token_issuer: Arc<dyn TokenIssuer>,
    authority: Arc<Authority>,
}

impl<D: Dialect> DialectService<D> {
    /// Combines a dialect with an authority.
    #[must_use]
    pub fn new(dialect: D, authority: Arc<Authority>) -> Self {
        let dialect = Arc::new(dialect);
        Self { token_issuer: Arc::<D>::clone(&dialect), dialect, authority }
    }

    /// The dialect, for an entry point that receives calls in another form than a [`Request`] (gRPC).
    #[must_use]
    pub fn dialect(&self) -> &D {
        &self.dialect
    }

    /// Executes a call on the authority, regardless of the transport of the call.
    ///
    /// # Errors
    /// The failure, for the entry point to encode.
    pub async fn execute(
        &self,
        call: &D::Call,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Outcome, Failure> {
        let context = Context { now, peer, token_issuer: &self.token_issuer };
        self.authority.execute(self.dialect.command(call), context).await
    }

    fn require_credential(&self, shown: &str) -> Result<Credential, Failure> {
        self.dialect.parse_credential(shown).ok_or(Failure::NoCredential)
    }

    /// The context of a request by a service, which asks about a client at another address: there is no peer.
    fn context_without_peer(&self, now: Timestamp) -> Context<'_> {
        Context { now, peer: None, token_issuer: &self.token_issuer }
    }
}

impl<D: Dialect> DialectHandler for DialectService<D> {
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

    fn serve<'a>(&'a self, request: &'a Request<'a>) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            // HEAD is handled as GET; the server omits the body of the response (RFC 9110, 9.3.2).
            let method = if request.method == "HEAD" { "GET" } else { request.method };
            let request = &Request { method, ..*request };
            let call = match self.dialect.decode(request) {
                Ok(call) => call,
                Err(Rejection { response, reason }) => {
                    if let Some(why) = reason {
                        self.turned_away(why, request.peer);
                    }
                    return response;
                }
            };
            let result = self.execute(&call, request.peer, request.now).await;
            self.dialect.encode(&call, result.as_ref(), request.now)
        })
    }

    fn extract_credential(&self, request: &Request<'_>) -> Option<Credential> {
        self.dialect.extract_credential(request)
    }

    fn check<'a>(
        &'a self,
        shown: Credential,
        request: &'a Request<'a>,
    ) -> BoxFuture<'a, Result<Caller, Failure>> {
        Box::pin(async move {
            let context =
                Context { now: request.now, peer: request.peer, token_issuer: &self.token_issuer };
            match self.authority.execute(Command::Check(shown), context).await? {
                Outcome::Active(session, user) => Ok(Caller {
                    user: user.id,
                    name: user.name,
                    roles: user.roles,
                    unrestricted: user.unrestricted,
                    session: session.id,
                    dialect: D::NAME,
                    expires: session.expires,
                }),
                Outcome::LoggedIn(..)
                | Outcome::Renewed(..)
                | Outcome::LoggedOut
                | Outcome::LoginRecorded(_)
                | Outcome::Users(_)
                | Outcome::User(_) => Err(Failure::Unavailable),
            }
        })
    }

    fn challenge(&self, why: Failure) -> Response {
        self.dialect.challenge(&why)
    }

    fn introspect<'a>(
        &'a self,
        shown: &'a str,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<(Session, User), Failure>> {
        Box::pin(async move {
            self.authority
                .introspect(&self.require_credential(shown)?, self.context_without_peer(now))
                .await
        })
    }

    fn revoke<'a>(&'a self, shown: &'a str, now: Timestamp) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.authority
                .revoke(&self.require_credential(shown)?, self.context_without_peer(now))
                .await
        })
    }

    fn log_in(
        &self,
        login: PasswordCredentials,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<RequestCredential, Failure>> {
        Box::pin(async move {
            let open = Login {
                existing_credential: None,
                outer_credentials: None,
                credentials: Some(login),
                lifetime: self.token_issuer.session_policy().lifetime,
                concurrent_sessions: ConcurrentSessions::Allow,
            };
            let cx = Context { now, peer, token_issuer: &self.token_issuer };
            match self.authority.execute(Command::Login(open), cx).await? {
                Outcome::LoggedIn(session, user, secret) => {
                    Ok(self.dialect.attach_credential(&session, &user, &secret))
                }
                Outcome::Active(..)
                | Outcome::Renewed(..)
                | Outcome::LoggedOut
                | Outcome::LoginRecorded(_)
                | Outcome::Users(_)
                | Outcome::User(_) => Err(Failure::Unavailable),
            }
        })
    }

    fn turned_away(&self, why: TurnedAway, peer: Option<IpAddr>) {
        self.authority.turned_away(D::NAME, why, peer);
    }

    fn body_error(&self, why: Unread) -> Response {
        self.turned_away(TurnedAway::Malformed, None);
        self.dialect.body_error(why)
    }

    fn timeout_response(&self) -> Response {
        self.dialect.challenge(&Failure::Unavailable)
    }
}
