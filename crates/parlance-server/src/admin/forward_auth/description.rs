//! The OpenAPI description of forward auth.

use serde_json::{Value, json};

use crate::admin::openapi;

/// The most common header pair. nginx sends another pair instead, an alternative that OpenAPI cannot express.
pub(super) fn original_headers() -> [Value; 2] {
    let header = |name: &str, pattern: &str, description: &str| {
        let schema = json!({ "type": "string", "pattern": pattern });
        json!({ "name": name, "in": "header", "required": true, "schema": schema, "description": description })
    };
    let of = "of the original request, or `X-Original-";
    [
        header("X-Forwarded-Method", "^[A-Z]{1,16}$", &format!("The method {of}Method`.")),
        header("X-Forwarded-Uri", "^/[!-~]{0,64}$", &format!("The path and query {of}URI`.")),
    ]
}

pub(super) fn parameter(name: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": schema })
}

pub(super) fn describe(summary: &str, parameters: &[Value]) -> Value {
    let answer = |sentence: &str| json!({ "description": sentence });
    let answers = openapi::responses(&[
        (
            "200",
            with_identity_headers(answer("The request may pass; the headers identify the user.")),
        ),
        ("400", answer("The original request is missing, ambiguous or unreadable.")),
        ("401", answer("The request shows no live session. The body is in the dialect's words.")),
        ("403", answer("No user, or not this user, may pass here.")),
        ("404", answer("No such dialect is enabled.")),
        ("408", answer("The body took too long.")),
        ("413", answer("The body is too long.")),
        ("503", openapi::with_retry_after(answer("The database does not answer."))),
    ]);
    let item = json!({ "summary": summary, "responses": answers });
    json!({ "parameters": parameters, "get": item, "head": item, "post": item })
}

/// The headers of an answer that lets a request pass, under their default names (the configuration may give others).
fn with_identity_headers(mut answer: Value) -> Value {
    let header = |(name, of): &(&str, &str)| {
        let described = json!({ "description": of, "schema": { "type": "string" } });
        ((*name).to_owned(), described)
    };
    let headers = [
        ("X-Auth-User", "The user's name, percent-encoded beyond visible ASCII."),
        ("X-Auth-User-Id", "The user's id, a UUID."),
        ("X-Auth-Roles", "The ids of the user's roles, with commas between them."),
        ("X-Auth-Dialect", "The dialect of the session."),
        ("X-Auth-Session", "The session's id, a UUID."),
        (
            "X-Auth-Assertion",
            "The identity assertion: all of this as a signed JWT, where the configuration asks for it.",
        ),
    ];
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("headers".to_owned(), headers.iter().map(header).collect());
    }
    answer
}
