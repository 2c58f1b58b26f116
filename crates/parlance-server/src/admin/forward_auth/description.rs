//! How forward auth is described.

use serde_json::{Value, json};

use crate::admin::openapi;

/// The pair that says most; nginx's, which may stand in its place, is another that no description can put beside it.
pub(super) fn original_headers() -> [Value; 2] {
    let header = |name: &str, pattern: &str, description: &str| {
        let schema = json!({ "type": "string", "pattern": pattern });
        json!({ "name": name, "in": "header", "required": true, "schema": schema, "description": description })
    };
    let of = "of the request that it is about, or `X-Original-";
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
        ("200", identified(answer("It may; the headers say who makes it."))),
        ("400", answer("The request that it is about cannot be told.")),
        ("401", answer("It shows no living session. The body is in the dialect's words.")),
        ("403", answer("Nobody, or not this user, may pass here.")),
        ("404", answer("No such dialect is enabled.")),
        ("408", answer("The body took too long.")),
        ("413", answer("The body is too long.")),
        ("503", openapi::away(answer("The database does not answer."))),
    ]);
    let item = json!({ "summary": summary, "responses": answers });
    json!({ "parameters": parameters, "get": item, "head": item, "post": item })
}

/// The headers of an answer that lets a request pass, by the names that they have unless the configuration gives others.
fn identified(mut answer: Value) -> Value {
    let header = |(name, of): &(&str, &str)| {
        let described = json!({ "description": of, "schema": { "type": "string" } });
        ((*name).to_owned(), described)
    };
    let headers = [
        ("X-Auth-User", "The user's name, percent-encoded beyond visible ASCII."),
        ("X-Auth-User-Id", "His id, a UUID."),
        ("X-Auth-Roles", "The ids of his roles, with commas between them."),
        ("X-Auth-Dialect", "The dialect of the session."),
        ("X-Auth-Session", "The session's id, a UUID."),
        ("X-Auth-Assertion", "All of this signed, as a JWT, where the configuration wants it."),
    ];
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("headers".to_owned(), headers.iter().map(header).collect());
    }
    answer
}
