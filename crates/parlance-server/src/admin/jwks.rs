//! The public halves of the keys.

use actix_web::HttpResponse;
use serde_json::json;

use super::openapi::{self, answer};
use super::{JSON, Page, Shared, read};

pub(super) const PAGES: &[Page] = &[Page {
    path: "/.well-known/jwks.json",
    serve: |path| read(path, jwks),
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
        let set = answer("The keys that sign, will sign and have signed.", JSON, &set);
        openapi::read("The public halves of the keys (RFC 7517)", &[("200", set)])
    },
}];

async fn jwks(desk: Shared) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(JSON)
        .insert_header(("cache-control", "max-age=300"))
        .body(desk.keychain.jwks())
}
