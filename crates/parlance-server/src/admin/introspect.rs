//! Token introspection (RFC 7662) and revocation (RFC 7009): services ask about a credential that a client sent, or end
//! its session.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, Resource, rt, web};
use futures_util::future::join_all;
use parlance::actix::{RESPONSE_TIMEOUT, read_limited_body};
use parlance::core::{Failure, Session, User};
use parlance::dialect::{DialectHandler, Fields, Unread};
use serde_json::{Map, Value, json};

use super::authentication::{ClientAuthError, authenticate};
use super::openapi::{CLIENT_AUTH_SCHEME, response, responses, with_retry_after};
use super::{Endpoint, JSON, OperatorContext, SharedContext, not_allowed};

const FORM_MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "/introspect",
        serve: |path| post_resource(path, web::post().to(introspect)),
        describe: || {
            let known = response(
                "The state of the credential, with its session and user if it is valid.",
                JSON,
                &introspection_schema(),
            );
            describe(
                "Introspection: whether a credential of any dialect is valid (RFC 7662)",
                known,
            )
        },
    },
    Endpoint {
        path: "/revoke",
        serve: |path| post_resource(path, web::post().to(revoke)),
        describe: || {
            let ended =
                json!({ "description": "The credential is not valid any more, or never was." });
            describe("Revocation: end the session of a credential of any dialect (RFC 7009)", ended)
        },
    },
];

fn post_resource(path: &str, route: actix_web::Route) -> Resource {
    web::resource(path).route(route).default_service(web::to(|| async { not_allowed("POST") }))
}

/// A refused call. No body repeats the credential.
enum OauthError {
    /// `invalid_request`.
    InvalidRequest,
    UnsupportedMediaType,
    BodyTooLong,
    BodyTooSlow,
    /// `invalid_client`.
    InvalidClient,
    /// The store is unavailable: the state of the credential, or the outcome of the revocation, is unknown.
    TemporarilyUnavailable,
}

impl From<ClientAuthError> for OauthError {
    fn from(refused: ClientAuthError) -> Self {
        match refused {
            ClientAuthError::InvalidRequest => Self::InvalidRequest,
            ClientAuthError::InvalidClient => Self::InvalidClient,
            ClientAuthError::Unavailable => Self::TemporarilyUnavailable,
        }
    }
}

impl From<Unread> for OauthError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLong => Self::BodyTooLong,
            Unread::TooSlow => Self::BodyTooSlow,
            Unread::Broken => Self::InvalidRequest,
        }
    }
}

impl OauthError {
    fn answer(&self) -> HttpResponse {
        let (status, error) = match self {
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request"),
            Self::BodyTooLong => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "invalid_request"),
            Self::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::TemporarilyUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
            }
        };
        let mut response = no_store_response(status);
        match self {
            Self::InvalidClient => {
                let challenge = r#"Basic realm="parlance", charset="UTF-8""#;
                response.insert_header(("www-authenticate", challenge));
            }
            Self::TemporarilyUnavailable => {
                response.insert_header(("retry-after", parlance::dialect::RETRY_AFTER));
            }
            // The rest of the body is still on the wire, so the connection cannot be reused.
            Self::BodyTooLong | Self::BodyTooSlow => {
                response.force_close();
            }
            Self::InvalidRequest | Self::UnsupportedMediaType => {}
        }
        response.content_type(JSON).body(json!({ "error": error }).to_string())
    }
}

fn no_store_response(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header(("cache-control", "no-store"));
    response
}

async fn introspect(
    context: SharedContext,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let found = async {
        let form = read_token_request(&context, &request, payload).await?;
        with_timeout(find_session(&context, &form)).await
    };
    match found.await {
        Ok(found) => {
            let known =
                found.map_or_else(|| json!({ "active": false }), |found| active_response(&found));
            no_store_response(StatusCode::OK).content_type(JSON).body(known.to_string())
        }
        Err(refusal) => refusal.answer(),
    }
}

async fn revoke(
    context: SharedContext,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let ended = async {
        let form = read_token_request(&context, &request, payload).await?;
        with_timeout(revoke_token(&context, &form)).await
    };
    match ended.await {
        Ok(()) => no_store_response(StatusCode::OK).finish(),
        Err(refusal) => refusal.answer(),
    }
}

struct TokenRequest {
    token: String,
    hint: Option<String>,
}

/// Reads the form of an authenticated client.
async fn read_token_request(
    context: &OperatorContext,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<TokenRequest, OauthError> {
    use actix_web::HttpMessage as _;
    if !request.content_type().eq_ignore_ascii_case(FORM_MEDIA_TYPE) {
        return Err(OauthError::UnsupportedMediaType);
    }
    let body = read_limited_body(request, payload).await?;
    let fields = Fields::parse(&body).map_err(|_| OauthError::InvalidRequest)?;
    with_timeout(async { Ok(authenticate(context, request, &fields).await?) }).await?;
    let given = |name: &str| fields.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
    let token = given("token").ok_or(OauthError::InvalidRequest)?;
    Ok(TokenRequest { token, hint: given("token_type_hint") })
}

async fn with_timeout<T>(
    answer: impl Future<Output = Result<T, OauthError>>,
) -> Result<T, OauthError> {
    rt::time::timeout(RESPONSE_TIMEOUT, answer)
        .await
        .unwrap_or(Err(OauthError::TemporarilyUnavailable))
}

/// The session of a credential: of the dialect that the hint names, or else of any dialect. No credential is valid in
/// two dialects.
async fn find_session(
    context: &OperatorContext,
    form: &TokenRequest,
) -> Result<Option<(Session, User)>, OauthError> {
    let now = context.clock.now();
    let hinted = |service: &&Arc<dyn DialectHandler>| form.hint.as_deref() == Some(service.name());
    let (first, rest): (Vec<_>, Vec<_>) = context.dialects.iter().partition(hinted);
    let mut unknown = false;
    for services in [first, rest] {
        let asked = services.iter().map(|service| service.introspect(&form.token, now));
        for found in join_all(asked).await {
            match found {
                Ok(found) => return Ok(Some(found)),
                Err(why) => unknown |= is_unavailable(why),
            }
        }
    }
    if unknown { Err(OauthError::TemporarilyUnavailable) } else { Ok(None) }
}

async fn revoke_token(context: &OperatorContext, form: &TokenRequest) -> Result<(), OauthError> {
    let now = context.clock.now();
    let asked = context.dialects.iter().map(|service| service.revoke(&form.token, now));
    let ended = join_all(asked).await;
    let unknown = ended.iter().any(|ended| ended.err().is_some_and(is_unavailable));
    if ended.iter().all(Result::is_err) && unknown {
        Err(OauthError::TemporarilyUnavailable)
    } else {
        Ok(())
    }
}

/// Whether a failure leaves the state of the credential unknown.
fn is_unavailable(why: Failure) -> bool {
    matches!(why, Failure::Busy | Failure::Unavailable)
}

fn active_response((session, user): &(Session, User)) -> Value {
    let mut known = Map::new();
    let roles: Vec<String> = user.roles.iter().map(ToString::to_string).collect();
    let members = [
        ("active", json!(true)),
        ("sub", json!(user.id.to_string())),
        ("username", json!(user.name)),
        ("roles", json!(roles)),
        ("unrestricted", json!(user.unrestricted)),
        ("dialect", json!(session.dialect)),
        ("sid", json!(session.id.to_string())),
        ("iat", json!(session.created.seconds())),
    ];
    known.extend(members.map(|(name, value)| (name.to_owned(), value)));
    if let Some(expires) = session.expires {
        known.insert("exp".to_owned(), json!(expires.seconds()));
    }
    Value::Object(known)
}

/// The schema of [`active_response`], and of an inactive credential. No `token_type`: four of the wires have no registered one.
/// No `iss`, `aud`, `scope`, `client_id`: parlance has no values for them.
fn introspection_schema() -> Value {
    let text = json!({ "type": "string" });
    let uuid = json!({ "type": "string", "format": "uuid" });
    let number = json!({ "type": "integer" });
    json!({
        "oneOf": [
            {
                "type": "object",
                "required": ["active"],
                "properties": { "active": { "const": false } },
                "additionalProperties": false,
            },
            {
                "type": "object",
                "required": ["active", "sub", "username", "roles", "unrestricted", "dialect", "sid", "iat"],
                "properties": {
                    "active": { "const": true },
                    "sub": uuid,
                    "username": text,
                    "roles": { "type": "array", "items": uuid },
                    "unrestricted": { "type": "boolean" },
                    "dialect": text,
                    "sid": uuid,
                    "iat": number,
                    "exp": number,
                },
                "additionalProperties": false,
            },
        ],
    })
}

fn describe(summary: &str, done: Value) -> Value {
    let error = |description: &str, error: &str| {
        let schema = json!({
            "type": "object",
            "required": ["error"],
            "properties": { "error": { "const": error } },
            "additionalProperties": false,
        });
        response(description, JSON, &schema)
    };
    let mut unknown_client = error("The request authenticates no known client.", "invalid_client");
    let challenge =
        json!({ "WWW-Authenticate": { "required": true, "schema": { "type": "string" } } });
    if let Some(answer) = unknown_client.as_object_mut() {
        answer.insert("headers".to_owned(), challenge);
    }
    let answers = [
        ("200", done),
        (
            "400",
            error("A parameter is missing, empty, a duplicate or not UTF-8.", "invalid_request"),
        ),
        ("401", unknown_client),
        ("408", error("The body took longer than ten seconds.", "invalid_request")),
        ("413", error("The body is longer than 16 KiB.", "invalid_request")),
        ("415", error("The body is not a form.", "invalid_request")),
        (
            "503",
            with_retry_after(error("The database does not answer now.", "temporarily_unavailable")),
        ),
    ];
    // Each parameter once, without a NUL; unknown parameters are ignored (RFC 6749, 3.2).
    let text = json!({ "type": "string", "pattern": "^[^\\u0000]*$" });
    let token = json!({
        "type": "string",
        "pattern": "^[^\\u0000]+$",
        "description": "The credential that a client of the dialect shows.",
    });
    let fields = json!({
        "type": "object",
        "required": ["token"],
        "properties": { "token": token, "token_type_hint": text },
        "propertyNames": text,
        "additionalProperties": text,
    });
    json!({
        "post": {
            "summary": summary,
            "security": [{ CLIENT_AUTH_SCHEME: [] }],
            "requestBody": { "required": true, "content": { FORM_MEDIA_TYPE: { "schema": fields } } },
            "responses": responses(&answers),
        },
    })
}
