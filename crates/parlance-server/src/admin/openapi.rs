//! The description of the listener, made from its pages.

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

use super::{JSON, Page, TEXT, pages, read as page};

/// What a service authenticates with, in the description.
pub(super) const CLIENT: &str = "client";

pub(super) const PAGES: &[Page] = &[Page {
    path: "/openapi.json",
    serve: |path| page(path, serve),
    describe: || {
        let itself = answer("OpenAPI 3.1.", JSON, &json!({ "type": "object" }));
        read("This description", &[("200", itself)])
    },
}];

async fn serve() -> HttpResponse {
    HttpResponse::Ok().content_type(JSON).body(description().to_string())
}

/// The description of all pages.
pub(super) fn description() -> Value {
    let paths: Map<String, Value> =
        pages().map(|page| (page.path.to_owned(), (page.describe)())).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "parlance, admin listener",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Health, metrics, and what services ask about sessions. Not for the public.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                CLIENT: {
                    "type": "http",
                    "scheme": "basic",
                    "description": "A service client's id and secret (RFC 6749, 2.3.1), made by `parlance client add`. They may stand in the form instead, as `client_id` and `client_secret`.",
                },
            },
        },
    })
}

/// The path item of a page that is only read.
pub(super) fn read(summary: &str, answers: &[(&str, Value)]) -> Value {
    let head: Vec<_> = answers.iter().map(|(status, answer)| (*status, bodiless(answer))).collect();
    json!({
        "get": { "summary": summary, "responses": responses(answers) },
        "head": { "summary": summary, "responses": responses(&head) },
    })
}

pub(super) fn responses(answers: &[(&str, Value)]) -> Value {
    answers.iter().map(|(status, answer)| ((*status).to_owned(), answer.clone())).collect()
}

/// An answer with a body of this type and schema.
pub(super) fn answer(description: &str, media_type: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { media_type: { "schema": schema } } })
}

/// An answer in a sentence.
pub(super) fn text(description: &str) -> Value {
    answer(description, TEXT, &json!({ "type": "string" }))
}

/// An answer that says when to try again.
pub(super) fn away(mut answer: Value) -> Value {
    let header = json!({ "Retry-After": { "required": true, "schema": { "type": "string" } } });
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("headers".to_owned(), header);
    }
    answer
}

fn bodiless(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("content");
    }
    answer
}
