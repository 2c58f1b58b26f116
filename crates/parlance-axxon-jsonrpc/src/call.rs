//! Bytes to [`Call`].

use std::borrow::Cow;

use parlance_core::ports::TurnedAway;
use parlance_core::{Credential, Failure, Login, Secret};
use parlance_dialect::{Fields, Object, Rejection, Request, Response, basic, from_json};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::{AxxonJsonrpc, reply};

/// The one door of the document.
pub(crate) const GRPC: &str = "/grpc";
/// Below it are the REST bindings of the same calls.
pub(crate) const REST: &str = "/v1/authentication/";
/// The public halves of the keys.
pub(crate) const JWKS: &str = "/.well-known/jwks.json";
/// The service whose methods are served.
pub const SERVICE: &str = "axxonsoft.bl.auth.AuthenticationService";

/// One call of this wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `Authenticate`, `Authenticate2`, `AuthenticateEx`, `AuthenticateEx2`.
    Login {
        /// The Basic login of a call to `/grpc`, which must verify first.
        outer: Option<Login>,
        /// The login itself; `None` where the body names nobody.
        login: Option<Login>,
        /// How it came.
        asked: Asked,
    },
    /// A call to `/grpc` that is refused for what it is, once its Basic is verified.
    Refused {
        /// The Basic login.
        outer: Login,
        /// What whoever may log in hears.
        answer: Response,
    },
    /// `RenewSession`, `RenewSession2`.
    Renew(Credential, Endpoint),
    /// `CloseSession`.
    Close(Credential),
}

/// How a login was asked for, on which the words of its answer depend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// By an `Ex` call: the success carries an `error_code` too.
    pub ex: bool,
    /// By Basic alone: wrong data is a 401, not an `error_code`.
    pub by_basic: bool,
    /// Where.
    pub endpoint: Endpoint,
}

/// Where a call came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// At `/grpc`, whose answers the document prints.
    Grpc,
    /// At a REST binding, whose answers also say in how many seconds a token expires.
    Rest,
}

/// What a method of the service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Logs in.
    Login {
        /// Whether it is an `Ex` call, which never raises.
        ex: bool,
    },
    /// Signs a new token for the same session.
    Renew,
    /// Ends the session.
    Close,
}

/// A call to `/grpc` of a method that is served.
struct Called<'r> {
    method: Method,
    text: Cow<'r, str>,
    /// Whether the text came as UTF-8.
    whole: bool,
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
    data: Object<Data>,
}

/// `AuthenticateRequest`. As in every proto3 message, a field that is missing is empty, and one that is not known is passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    user_name: String,
    password: String,
}

impl Method {
    /// The method of that name, if it is served.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
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
    /// A login that came as an `AuthenticateRequest` alone. Whoever names nobody, or nobody that can be read, is an unknown user.
    #[must_use]
    pub fn login(request: Option<(String, String)>, ex: bool) -> Self {
        let data = request.map(|(user_name, password)| Data { user_name, password });
        let asked = Asked { ex, by_basic: false, endpoint: Endpoint::Grpc };
        Self::Login { outer: None, login: data.and_then(Data::login), asked }
    }

    /// Reads a request to a claimed path.
    pub(crate) fn read(wire: &AxxonJsonrpc, request: &Request<'_>) -> Result<Self, Rejection> {
        match request.path.strip_prefix(REST) {
            Some(binding) => Self::rest(wire, request, binding),
            None if request.path == JWKS => {
                method(request, "GET")?;
                Err(reply::jwks(&wire.keys).into())
            }
            None => Ok(Self::grpc(wire, request)?),
        }
    }

    fn grpc(wire: &AxxonJsonrpc, request: &Request<'_>) -> Result<Self, Response> {
        method(request, "POST")?;
        let called = Called::read(request);
        match &called {
            Ok(Called { method: Method::Renew, .. }) => {
                return Self::renew(wire, request, Endpoint::Grpc);
            }
            Ok(Called { method: Method::Close, .. }) => return Self::close(wire, request),
            Ok(Called { method: Method::Login { .. }, .. }) | Err(_) => {}
        }
        // Whoever shows nothing hears that first, whatever else is wrong: "the anonymous requests to the web server are prohibited".
        let Some(outer) = basic(request) else {
            let anonymous = called.is_ok() || bearer(wire, request).is_err();
            return Err(called.err().filter(|_| !anonymous).unwrap_or_else(reply::basic_wanted));
        };
        // What else is wrong is told once Basic was right.
        let Called { method, text, whole } = match called {
            Ok(called) => called,
            Err(answer) => return Ok(Self::Refused { outer, answer }),
        };
        let data = parse(&text).map(|envelope: LoginEnvelope| envelope.data.0);
        let login = match data.filter(|_| whole).and_then(Data::login) {
            Some(login) => login,
            // No password holds a NUL, so this one is wrong, and hears so only after the outer one was right.
            None => Login { user: outer.user.clone(), password: Secret::new("\0".to_owned()) },
        };
        if let Err(answer) = named_in_query(request, Some(&login)) {
            return Ok(Self::Refused { outer, answer });
        }
        let ex = matches!(method, Method::Login { ex: true });
        let asked = Asked { ex, by_basic: false, endpoint: Endpoint::Grpc };
        Ok(Self::Login { outer: Some(outer), login: Some(login), asked })
    }

    fn rest(wire: &AxxonJsonrpc, request: &Request<'_>, binding: &str) -> Result<Self, Rejection> {
        match binding {
            "authenticate" => Ok(Self::by_basic(request, false)?),
            "authenticate_ex" => Ok(Self::by_basic(request, true)?),
            "authenticate2" => Self::by_data(request, false),
            "authenticate_ex2" => Self::by_data(request, true),
            "renew" | "renew2" => {
                method(request, "GET")?;
                Ok(Self::renew(wire, request, Endpoint::Rest)?)
            }
            // The second name is the one that the vendor's own web client and configurator know.
            "close" | "close_session" => {
                method(request, "GET")?;
                Ok(Self::close(wire, request)?)
            }
            _ => Err(reply::not_found().into()),
        }
    }

    fn by_basic(request: &Request<'_>, ex: bool) -> Result<Self, Response> {
        method(request, "GET")?;
        named_in_query(request, None)?;
        let login = Some(basic(request).ok_or_else(reply::basic_wanted)?);
        let asked = Asked { ex, by_basic: true, endpoint: Endpoint::Rest };
        Ok(Self::Login { outer: None, login, asked })
    }

    fn by_data(request: &Request<'_>, ex: bool) -> Result<Self, Rejection> {
        method(request, "POST")?;
        let (text, whole) = body(request)?;
        let data: Option<Data> = parse(&text).filter(|_| whole);
        let is_readable = data.is_some();
        let login = data.and_then(Data::login);
        named_in_query(request, login.as_ref())?;
        let Some(login) = login else {
            // Wrong data is an error code, and a 200.
            let why = if is_readable { TurnedAway::MissingField } else { TurnedAway::Malformed };
            return Err(Rejection::new(why, reply::wrong_data()));
        };
        let asked = Asked { ex, by_basic: false, endpoint: Endpoint::Rest };
        Ok(Self::Login { outer: None, login: Some(login), asked })
    }

    fn renew(
        wire: &AxxonJsonrpc,
        request: &Request<'_>,
        endpoint: Endpoint,
    ) -> Result<Self, Response> {
        let shown = bearer(wire, request).map_err(reply::denied)?;
        Ok(Self::Renew(shown, endpoint))
    }

    fn close(wire: &AxxonJsonrpc, request: &Request<'_>) -> Result<Self, Response> {
        bearer(wire, request).map(Self::Close).map_err(reply::close_denied)
    }
}

impl<'r> Called<'r> {
    fn read(request: &Request<'r>) -> Result<Self, Response> {
        let (text, whole) = body(request)?;
        let envelope: Envelope = parse(&text).ok_or_else(|| reply::unreadable(400))?;
        let name = envelope.method.strip_prefix(SERVICE).and_then(|name| name.strip_prefix('.'));
        let method = name.and_then(Method::named).ok_or_else(reply::not_found)?;
        Ok(Self { method, text, whole })
    }
}

impl Data {
    /// The login, if it names a user.
    fn login(self) -> Option<Login> {
        let password = Secret::new(self.password);
        (!self.user_name.is_empty()).then_some(Login { user: self.user_name, password })
    }
}

/// The credential in the one `Authorization: Bearer` header of a request (RFC 6750, 2.1).
pub(crate) fn bearer(wire: &AxxonJsonrpc, request: &Request<'_>) -> Result<Credential, Failure> {
    let shown = request.header("authorization").and_then(|value| value.split_once(' '));
    let (_, token) = shown
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .ok_or(Failure::NoCredential)?;
    wire.read(token.trim()).ok_or(Failure::UnknownCredential)
}

fn method(request: &Request<'_>, only: &'static str) -> Result<(), Response> {
    if request.method == only { Ok(()) } else { Err(reply::method_not_allowed(only)) }
}

/// The body as JSON text, and whether it came as UTF-8. Bytes that are not UTF-8 are replaced, so that a call can be told from
/// noise; its credentials then count for nothing.
fn body<'r>(request: &Request<'r>) -> Result<(Cow<'r, str>, bool), Response> {
    // The document's samples show no header at all.
    if !request.is_json() {
        return Err(reply::media_type());
    }
    let text = String::from_utf8_lossy(request.body);
    from_json::<IgnoredAny>(text.as_bytes()).map_err(|_| reply::unreadable(400))?;
    let whole = matches!(text, Cow::Borrowed(_));
    Ok((text, whole))
}

/// Reads an object; `None` if it is none, or of another shape.
fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    from_json(text.as_bytes()).ok().map(|Object(value)| value)
}

/// Refuses a password in a query, which proxies log, and a name there that is not the login's. A client in the field repeats the
/// name of its body in the query.
fn named_in_query(request: &Request<'_>, login: Option<&Login>) -> Result<(), Response> {
    let Some(query) = request.query else { return Ok(()) };
    let fields = Fields::parse(query.as_bytes()).map_err(|_| reply::unreadable(400))?;
    let name = fields.get("user_name");
    let other = name.is_some_and(|name| login.is_none_or(|login| login.user != name));
    let refused = other || fields.get("password").is_some();
    if refused { Err(reply::unreadable(400)) } else { Ok(()) }
}
