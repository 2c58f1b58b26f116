//! What services ask about a credential that a client showed them: is it good (RFC 7662), and end it (RFC 7009).

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, Resource, rt, web};
use futures_util::future::join_all;
use parlance::actix::{ANSWER_PATIENCE, body};
use parlance::core::{Failure, Session, User};
use parlance::dialect::{Fields, Service, Unread};
use serde_json::{Map, Value, json};

use super::authentication::{Refused, authenticate};
use super::openapi::{CLIENT, answer, away, responses};
use super::{Desk, JSON, Page, Shared, not_allowed};

const FORM: &str = "application/x-www-form-urlencoded";

pub(super) const PAGES: &[Page] = &[
    Page {
        path: "/introspect",
        serve: |path| asked(path, web::post().to(introspect)),
        describe: || {
            let known = answer("What is known of it.", JSON, &introspection());
            describe("Whether a credential of any dialect is good (RFC 7662)", known)
        },
    },
    Page {
        path: "/revoke",
        serve: |path| asked(path, web::post().to(revoke)),
        describe: || {
            let ended = json!({ "description": "It is not good any more, or never was." });
            describe("End the session of a credential of any dialect (RFC 7009)", ended)
        },
    },
];

fn asked(path: &str, route: actix_web::Route) -> Resource {
    web::resource(path).route(route).default_service(web::to(|| async { not_allowed("POST") }))
}

/// How a call is refused. No body repeats what was shown.
enum Refusal {
    /// `invalid_request`.
    Request,
    MediaType,
    TooLong,
    TooSlow,
    /// `invalid_client`.
    Client,
    /// It is not known whether the credential is good, or whether its session was ended.
    Away,
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Malformed => Self::Request,
            Refused::Unknown => Self::Client,
            Refused::Away => Self::Away,
        }
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLong => Self::TooLong,
            Unread::TooSlow => Self::TooSlow,
            Unread::Broken => Self::Request,
        }
    }
}

impl Refusal {
    fn answer(&self) -> HttpResponse {
        let (status, error) = match self {
            Self::Request => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request"),
            Self::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "invalid_request"),
            Self::Client => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::Away => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        };
        let mut response = unstored(status);
        match self {
            Self::Client => {
                let challenge = r#"Basic realm="parlance", charset="UTF-8""#;
                response.insert_header(("www-authenticate", challenge));
            }
            Self::Away => {
                response.insert_header(("retry-after", parlance::dialect::RETRY_AFTER));
            }
            // What is left of the body is still on its way.
            Self::TooLong | Self::TooSlow => {
                response.force_close();
            }
            Self::Request | Self::MediaType => {}
        }
        response.content_type(JSON).body(json!({ "error": error }).to_string())
    }
}

fn unstored(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header(("cache-control", "no-store"));
    response
}

async fn introspect(desk: Shared, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let found = async {
        let form = form(&desk, &request, payload).await?;
        in_time(inspect(&desk, &form)).await
    };
    match found.await {
        Ok(found) => {
            let known = found.map_or_else(|| json!({ "active": false }), |found| active(&found));
            unstored(StatusCode::OK).content_type(JSON).body(known.to_string())
        }
        Err(refusal) => refusal.answer(),
    }
}

async fn revoke(desk: Shared, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let ended = async {
        let form = form(&desk, &request, payload).await?;
        in_time(end(&desk, &form)).await
    };
    match ended.await {
        Ok(()) => unstored(StatusCode::OK).finish(),
        Err(refusal) => refusal.answer(),
    }
}

/// What was asked.
struct Form {
    token: String,
    hint: Option<String>,
}

/// Reads the form of a client that may ask.
async fn form(desk: &Desk, request: &HttpRequest, payload: web::Payload) -> Result<Form, Refusal> {
    use actix_web::HttpMessage as _;
    if !request.content_type().eq_ignore_ascii_case(FORM) {
        return Err(Refusal::MediaType);
    }
    let body = body(request, payload).await?;
    let fields = Fields::parse(&body).map_err(|_| Refusal::Request)?;
    in_time(async { Ok(authenticate(desk, request, &fields).await?) }).await?;
    let given = |name: &str| fields.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
    let token = given("token").ok_or(Refusal::Request)?;
    Ok(Form { token, hint: given("token_type_hint") })
}

async fn in_time<T>(answer: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    rt::time::timeout(ANSWER_PATIENCE, answer).await.unwrap_or(Err(Refusal::Away))
}

/// The session behind a credential: of the dialect that the hint names, or else of any. No credential counts in two dialects.
async fn inspect(desk: &Desk, form: &Form) -> Result<Option<(Session, User)>, Refusal> {
    let now = desk.clock.now();
    let hinted = |service: &&Arc<dyn Service>| form.hint.as_deref() == Some(service.name());
    let (first, rest): (Vec<_>, Vec<_>) = desk.services.iter().partition(hinted);
    let mut unknown = false;
    for services in [first, rest] {
        let asked = services.iter().map(|service| service.inspect(&form.token, now));
        for found in join_all(asked).await {
            match found {
                Ok(found) => return Ok(Some(found)),
                Err(why) => unknown |= is_unknown(why),
            }
        }
    }
    if unknown { Err(Refusal::Away) } else { Ok(None) }
}

async fn end(desk: &Desk, form: &Form) -> Result<(), Refusal> {
    let now = desk.clock.now();
    let asked = desk.services.iter().map(|service| service.revoke(&form.token, now));
    let ended = join_all(asked).await;
    let unknown = ended.iter().any(|ended| ended.err().is_some_and(is_unknown));
    if ended.iter().all(Result::is_err) && unknown { Err(Refusal::Away) } else { Ok(()) }
}

/// Whether a failure leaves open what became of the question.
fn is_unknown(why: Failure) -> bool {
    matches!(why, Failure::Busy | Failure::Unavailable)
}

fn active((session, user): &(Session, User)) -> Value {
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

/// What [`active`] and its absence look like.
fn introspection() -> Value {
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
        answer(description, JSON, &schema)
    };
    let mut unknown_client = error("No client is known by what was shown.", "invalid_client");
    let challenge =
        json!({ "WWW-Authenticate": { "required": true, "schema": { "type": "string" } } });
    if let Some(answer) = unknown_client.as_object_mut() {
        answer.insert("headers".to_owned(), challenge);
    }
    let answers = [
        ("200", done),
        ("400", error("A parameter is missing, empty, doubled or not UTF-8.", "invalid_request")),
        ("401", unknown_client),
        ("408", error("The body took longer than ten seconds.", "invalid_request")),
        ("413", error("The body is longer than 16 KiB.", "invalid_request")),
        ("415", error("The body is no form.", "invalid_request")),
        ("503", away(error("It cannot be said now.", "temporarily_unavailable"))),
    ];
    // Each once, without a NUL; what is not known is passed over (RFC 6749, 3.2).
    let text = json!({ "type": "string", "pattern": "^[^\\u0000]*$" });
    let token = json!({
        "type": "string",
        "pattern": "^[^\\u0000]+$",
        "description": "What a client of the dialect shows.",
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
            "security": [{ CLIENT: [] }],
            "requestBody": { "required": true, "content": { FORM: { "schema": fields } } },
            "responses": responses(&answers),
        },
    })
}
