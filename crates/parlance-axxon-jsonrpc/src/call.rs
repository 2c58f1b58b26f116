//! Request parsing: bytes to a [`Call`].

use std::borrow::Cow;

use parlance_core::ports::TurnedAway;
use parlance_core::{Credential, Failure, PasswordCredentials, Secret};
use parlance_dialect::{
    Fields, Rejection, Request, Response, StrictObject, basic_credentials, from_json,
};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::{AxxonJsonrpc, reply};

/// The one endpoint of the document.
pub(crate) const GRPC_PATH: &str = "/grpc";
/// The REST bindings of the same calls stand below this path.
pub(crate) const REST_PREFIX: &str = "/v1/authentication/";
/// Path of the public halves of the keys (JWK set).
pub(crate) const JWKS_PATH: &str = "/.well-known/jwks.json";
/// The service that is served.
pub const SERVICE_NAME: &str = "axxonsoft.bl.auth.AuthenticationService";

/// A parsed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `Authenticate`, `Authenticate2`, `AuthenticateEx`, `AuthenticateEx2`.
    Login {
        /// The Basic login of a call to `/grpc`, which is verified first.
        outer: Option<PasswordCredentials>,
        /// The login itself; `None` where the body names no user.
        login: Option<PasswordCredentials>,
        /// The form of the login.
        variant: LoginVariant,
    },
    /// A call to `/grpc` that is refused for its content, once the Basic login is verified.
    Rejected {
        /// The Basic login.
        outer: PasswordCredentials,
        /// The answer to a client with a right Basic login.
        response: Response,
    },
    /// `RenewSession`, `RenewSession2`.
    Renew(Credential, Endpoint),
    /// `CloseSession`.
    Close(Credential),
}

/// Form of a login, on which the words of the answer depend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginVariant {
    /// By an `Ex` call: the success carries an `error_code` too.
    pub ex: bool,
    /// By Basic alone: wrong data is a 401, not an `error_code`.
    pub by_basic: bool,
    /// The endpoint of the login.
    pub endpoint: Endpoint,
}

/// Endpoint of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/grpc`: the document prints its answers.
    Grpc,
    /// A REST binding: its answers also say in how many seconds a token expires.
    Rest,
}

/// Effect of a method of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Logs in.
    Login {
        /// Whether the method is an `Ex` call, which never raises.
        ex: bool,
    },
    /// Signs a new token for the same session.
    Renew,
    /// Ends the session.
    Close,
}

/// A call to `/grpc` of a served method.
struct MethodCall<'r> {
    method: Method,
    text: Cow<'r, str>,
    /// Whether the text arrived as UTF-8.
    is_utf8: bool,
}

/// A call to `/grpc`, of which only the method is read.
#[derive(Deserialize)]
struct Envelope {
    method: String,
}

/// A call to `/grpc` that logs in.
#[derive(Deserialize)]
struct LoginEnvelope {
    #[serde(default)]
    data: StrictObject<AuthenticateRequest>,
}

/// `AuthenticateRequest`. As in every proto3 message, a missing field is empty, and an unknown field is ignored.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthenticateRequest {
    user_name: String,
    password: String,
}

impl Method {
    /// The method of that name, if the service has one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "Authenticate" | "Authenticate2" => Some(Self::Login { ex: false }),
            "AuthenticateEx" | "AuthenticateEx2" => Some(Self::Login { ex: true }),
            "RenewSession" | "RenewSession2" => Some(Self::Renew),
            "CloseSession" => Some(Self::Close),
            _ => None,
        }
    }
}

impl Call {
    /// A login from an `AuthenticateRequest` alone. Without a readable name of a user it is the login of an unknown user.
    #[must_use]
    pub fn login(request: Option<(String, String)>, ex: bool) -> Self {
        let data = request.map(|(user_name, password)| AuthenticateRequest { user_name, password });
        let variant = LoginVariant { ex, by_basic: false, endpoint: Endpoint::Grpc };
        Self::Login { outer: None, login: data.and_then(AuthenticateRequest::login), variant }
    }

    /// Reads a request to a claimed path.
    pub(crate) fn read(wire: &AxxonJsonrpc, request: &Request<'_>) -> Result<Self, Rejection> {
        match request.path.strip_prefix(REST_PREFIX) {
            Some(binding) => Self::rest(wire, request, binding),
            None if request.path == JWKS_PATH => {
                require_method(request, "GET")?;
                Err(reply::jwks(&wire.keys).into())
            }
            None => Ok(Self::grpc(wire, request)?),
        }
    }

    fn grpc(wire: &AxxonJsonrpc, request: &Request<'_>) -> Result<Self, Response> {
        require_method(request, "POST")?;
        let called = MethodCall::read(request);
        match &called {
            Ok(MethodCall { method: Method::Renew, .. }) => {
                return Self::renew(wire, request, Endpoint::Grpc);
            }
            Ok(MethodCall { method: Method::Close, .. }) => return Self::close(wire, request),
            Ok(MethodCall { method: Method::Login { .. }, .. }) | Err(_) => {}
        }
        // A request without credentials gets this answer before any other: "the anonymous requests to the web server are prohibited".
        let Some(outer) = basic_credentials(request) else {
            let anonymous = called.is_ok() || bearer(wire, request).is_err();
            return Err(called.err().filter(|_| !anonymous).unwrap_or_else(reply::basic_challenge));
        };
        // Any other mistake is reported after Basic was right.
        let MethodCall { method, text, is_utf8 } = match called {
            Ok(called) => called,
            Err(response) => return Ok(Self::Rejected { outer, response }),
        };
        let data = parse_object(&text).map(|envelope: LoginEnvelope| envelope.data.0);
        let login = match data.filter(|_| is_utf8).and_then(AuthenticateRequest::login) {
            Some(login) => login,
            // No password contains a NUL, so this login fails, and fails only after the outer login was right.
            None => PasswordCredentials {
                user: outer.user.clone(),
                password: Secret::new("\0".to_owned()),
            },
        };
        if let Err(response) = reject_query_credentials(request, Some(&login)) {
            return Ok(Self::Rejected { outer, response });
        }
        let ex = matches!(method, Method::Login { ex: true });
        let variant = LoginVariant { ex, by_basic: false, endpoint: Endpoint::Grpc };
        Ok(Self::Login { outer: Some(outer), login: Some(login), variant })
    }

    fn rest(wire: &AxxonJsonrpc, request: &Request<'_>, binding: &str) -> Result<Self, Rejection> {
        match binding {
            "authenticate" => Ok(Self::by_basic(request, false)?),
            "authenticate_ex" => Ok(Self::by_basic(request, true)?),
            "authenticate2" => Self::by_data(request, false),
            "authenticate_ex2" => Self::by_data(request, true),
            "renew" | "renew2" => {
                require_method(request, "GET")?;
                Ok(Self::renew(wire, request, Endpoint::Rest)?)
            }
            // The vendor's own web client and configurator use the second name.
            "close" | "close_session" => {
                require_method(request, "GET")?;
                Ok(Self::close(wire, request)?)
            }
            _ => Err(reply::not_found().into()),
        }
    }

    fn by_basic(request: &Request<'_>, ex: bool) -> Result<Self, Response> {
        require_method(request, "GET")?;
        reject_query_credentials(request, None)?;
        let login = Some(basic_credentials(request).ok_or_else(reply::basic_challenge)?);
        let variant = LoginVariant { ex, by_basic: true, endpoint: Endpoint::Rest };
        Ok(Self::Login { outer: None, login, variant })
    }

    fn by_data(request: &Request<'_>, ex: bool) -> Result<Self, Rejection> {
        require_method(request, "POST")?;
        let (text, is_utf8) = json_body(request)?;
        let data: Option<AuthenticateRequest> = parse_object(&text).filter(|_| is_utf8);
        let is_readable = data.is_some();
        let login = data.and_then(AuthenticateRequest::login);
        reject_query_credentials(request, login.as_ref())?;
        let Some(login) = login else {
            // Wrong data is an `error_code` with status 200.
            let why = if is_readable { TurnedAway::MissingField } else { TurnedAway::Malformed };
            return Err(Rejection::new(why, reply::wrong_credentials()));
        };
        let variant = LoginVariant { ex, by_basic: false, endpoint: Endpoint::Rest };
        Ok(Self::Login { outer: None, login: Some(login), variant })
    }

    fn renew(
        wire: &AxxonJsonrpc,
        request: &Request<'_>,
        endpoint: Endpoint,
    ) -> Result<Self, Response> {
        let shown = bearer(wire, request).map_err(reply::encode_challenge)?;
        Ok(Self::Renew(shown, endpoint))
    }

    fn close(wire: &AxxonJsonrpc, request: &Request<'_>) -> Result<Self, Response> {
        bearer(wire, request).map(Self::Close).map_err(reply::encode_close_failure)
    }
}

impl<'r> MethodCall<'r> {
    fn read(request: &Request<'r>) -> Result<Self, Response> {
        let (text, is_utf8) = json_body(request)?;
        let envelope: Envelope = parse_object(&text).ok_or_else(|| reply::general_error(400))?;
        let name =
            envelope.method.strip_prefix(SERVICE_NAME).and_then(|name| name.strip_prefix('.'));
        let method = name.and_then(Method::from_name).ok_or_else(reply::not_found)?;
        Ok(Self { method, text, is_utf8 })
    }
}

impl AuthenticateRequest {
    /// The login, if the data names a user.
    fn login(self) -> Option<PasswordCredentials> {
        let password = Secret::new(self.password);
        (!self.user_name.is_empty())
            .then_some(PasswordCredentials { user: self.user_name, password })
    }
}

/// The credential in the one `Authorization: Bearer` header of a request (RFC 6750, 2.1).
pub(crate) fn bearer(wire: &AxxonJsonrpc, request: &Request<'_>) -> Result<Credential, Failure> {
    let shown = request.header("authorization").and_then(|value| value.split_once(' '));
    let (_, token) = shown
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .ok_or(Failure::NoCredential)?;
    wire.verify_token(token.trim()).ok_or(Failure::UnknownCredential)
}

fn require_method(request: &Request<'_>, only: &'static str) -> Result<(), Response> {
    if request.method == only { Ok(()) } else { Err(reply::method_not_allowed(only)) }
}

/// The body as JSON text, and whether the body arrived as UTF-8. Bytes that are not UTF-8 are replaced, which keeps a call distinct from
/// noise; the credentials of such a body count for nothing.
fn json_body<'r>(request: &Request<'r>) -> Result<(Cow<'r, str>, bool), Response> {
    // The document's samples show no header at all.
    if !request.is_json() {
        return Err(reply::unsupported_media_type());
    }
    let text = String::from_utf8_lossy(request.body);
    from_json::<IgnoredAny>(text.as_bytes()).map_err(|_| reply::general_error(400))?;
    let is_utf8 = matches!(text, Cow::Borrowed(_));
    Ok((text, is_utf8))
}

/// Parses an object; `None` for any other value, or an object of another shape.
fn parse_object<T: DeserializeOwned>(text: &str) -> Option<T> {
    from_json(text.as_bytes()).ok().map(|StrictObject(value)| value)
}

/// Refuses a password in a query, which proxies log, and a name there that differs from the name of the login. One client in the field
/// repeats the name of its body in the query.
fn reject_query_credentials(
    request: &Request<'_>,
    login: Option<&PasswordCredentials>,
) -> Result<(), Response> {
    let Some(query) = request.query else { return Ok(()) };
    let fields = Fields::parse(query.as_bytes()).map_err(|_| reply::general_error(400))?;
    let name = fields.get("user_name");
    let other = name.is_some_and(|name| login.is_none_or(|login| login.user != name));
    let refused = other || fields.get("password").is_some();
    if refused { Err(reply::general_error(400)) } else { Ok(()) }
}
