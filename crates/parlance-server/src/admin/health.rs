//! Whether the process lives, and whether the database answers.

use std::time::Duration;

use actix_web::{HttpResponse, rt, web};

use super::{Shared, TEXT, read};

/// How long the database may take to answer before the program does not call itself ready.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(read("/healthz", alive)).service(read("/readyz", ready));
}

async fn alive() -> HttpResponse {
    HttpResponse::Ok().content_type(TEXT).body("alive\n")
}

async fn ready(shared: Shared) -> HttpResponse {
    match rt::time::timeout(PATIENCE, shared.0.ping()).await {
        Ok(Ok(())) => HttpResponse::Ok().content_type(TEXT).body("ready\n"),
        Ok(Err(_)) | Err(_) => HttpResponse::ServiceUnavailable()
            .insert_header(("retry-after", "1"))
            .content_type(TEXT)
            .body("the database does not answer\n"),
    }
}
