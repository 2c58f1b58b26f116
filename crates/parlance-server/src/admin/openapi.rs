//! The OpenAPI description of the admin listener, made from its pages.
//!
//! A [`Endpoint`] holds a path, its handler and its description. The routes of the listener and `/openapi.json` are both
//! made from one list of pages, so every served page is described, and the other way round. Derive macros describe
//! types, and most pages here have none: path items are JSON, written by a few helpers, without another crate.
//! schemathesis finds a wrong description: a test runs all its checks against the running program.

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

use super::{Endpoint, JSON, TEXT, endpoints, get_resource};

/// The name of the security scheme by which services authenticate.
pub(super) const CLIENT_AUTH_SCHEME: &str = "client";

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    path: "/openapi.json",
    serve: |path| get_resource(path, openapi_document),
    describe: || {
        let itself = response("OpenAPI 3.1.", JSON, &json!({ "type": "object" }));
        get_path_item("This description", &[("200", itself)])
    },
}];

async fn openapi_document() -> HttpResponse {
    HttpResponse::Ok().content_type(JSON).body(description().to_string())
}

/// The description of all pages.
pub(super) fn description() -> Value {
    let paths: Map<String, Value> =
        endpoints().map(|page| (page.path.to_owned(), (page.describe)())).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "parlance, admin listener",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Health check, metrics, forward auth, and introspection and revocation for services. Not for the public.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                CLIENT_AUTH_SCHEME: {
                    "type": "http",
                    "scheme": "basic",
                    "description": "A service client's id and secret (RFC 6749, 2.3.1), made by `parlance client add`. They may stand in the form instead, as `client_id` and `client_secret`.",
                },
            },
        },
    })
}

/// The path item of a read-only page.
pub(super) fn get_path_item(summary: &str, answers: &[(&str, Value)]) -> Value {
    let head: Vec<_> =
        answers.iter().map(|(status, answer)| (*status, without_content(answer))).collect();
    json!({
        "get": { "summary": summary, "responses": responses(answers) },
        "head": { "summary": summary, "responses": responses(&head) },
    })
}

pub(super) fn responses(answers: &[(&str, Value)]) -> Value {
    answers.iter().map(|(status, answer)| ((*status).to_owned(), answer.clone())).collect()
}

/// An answer with a body of this type and schema.
pub(super) fn response(description: &str, media_type: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { media_type: { "schema": schema } } })
}

/// An answer in a sentence.
pub(super) fn text_response(description: &str) -> Value {
    response(description, TEXT, &json!({ "type": "string" }))
}

/// Adds `Retry-After` to an answer.
pub(super) fn with_retry_after(mut answer: Value) -> Value {
    let header = json!({ "Retry-After": { "required": true, "schema": { "type": "string" } } });
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("headers".to_owned(), header);
    }
    answer
}

fn without_content(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("content");
    }
    answer
}
