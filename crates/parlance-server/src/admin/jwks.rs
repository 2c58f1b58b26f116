//! The public halves of the signing keys, as a JSON Web Key Set.

use actix_web::HttpResponse;
use serde_json::json;

use super::openapi::{self, response};
use super::{Endpoint, JSON, SharedContext, get_resource};

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    path: "/.well-known/jwks.json",
    serve: |path| get_resource(path, jwks),
    describe: || {
        let key = json!({
            "type": "object",
            "required": ["kty", "kid", "use", "alg"],
            "properties": {
                "kty": { "enum": ["RSA", "OKP"] },
                "kid": { "type": "string" },
                "use": { "const": "sig" },
                "alg": { "enum": ["RS256", "EdDSA"] },
                "n": { "type": "string" },
                "e": { "type": "string" },
                "crv": { "const": "Ed25519" },
                "x": { "type": "string" },
            },
            "additionalProperties": false,
        });
        let set = json!({
            "type": "object",
            "required": ["keys"],
            "properties": { "keys": { "type": "array", "items": key } },
            "additionalProperties": false,
        });
        let set = response("The current, next and retired keys.", JSON, &set);
        openapi::get_path_item("The public halves of the signing keys (RFC 7517)", &[("200", set)])
    },
}];

async fn jwks(context: SharedContext) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(JSON)
        .insert_header(("cache-control", "max-age=300"))
        .body(context.key_manager.jwks())
}
