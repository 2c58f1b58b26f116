//! Health check and readiness: whether the process lives, and whether a proxy should send requests here. Ready means
//! that the database answers, every needed signing key is there, and no signal has asked for a stop.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::{HttpResponse, rt};
use parlance::core::Timestamp;
use parlance::core::ports::{Change, StoreError};
use parlance::store::FILE_REPLACED_PREFIX;

use super::openapi::{self, text_response};
use super::{Endpoint, SharedContext, TEXT, get_resource};

/// Longest wait for the database's answer before readiness is denied.
pub(super) const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "/healthz",
        serve: |path| {
            get_resource(path, || async { HttpResponse::Ok().content_type(TEXT).body("alive\n") })
        },
        describe: || {
            openapi::get_path_item(
                "Health check: whether the process lives",
                &[("200", text_response("The check succeeds."))],
            )
        },
    },
    Endpoint {
        path: "/readyz",
        serve: |path| get_resource(path, ready),
        describe: || {
            let away = openapi::with_retry_after(text_response(
                "The database does not answer, no key can sign, or the program has been told to stop.",
            ));
            openapi::get_path_item(
                "Readiness: whether a proxy should send requests here",
                &[("200", text_response("The check succeeds.")), ("503", away)],
            )
        },
    },
];

async fn ready(context: SharedContext) -> HttpResponse {
    let store = &context.store;
    // Drops no rows, in a write transaction: on a read-only database no login succeeds.
    let nothing = Change::PurgeSessions { before: Timestamp::MIN, limit: 0 };
    let answers = async {
        if context.stopping.load(Ordering::Relaxed) {
            return Err("stopping\n".to_owned());
        }
        store.ping().await.map_err(|error| {
            unavailable_reason(
                &error,
                "the database does not answer
",
            )
            .to_owned()
        })?;
        let written = store.apply(nothing).await;
        written.map_err(|error| {
            unavailable_reason(
                &error,
                "the database cannot be written
",
            )
            .to_owned()
        })?;
        context.key_manager.signing_error().map_or(Ok(()), |why| {
            Err(format!(
                "{why}
"
            ))
        })
    };
    let reason = match rt::time::timeout(DATABASE_TIMEOUT, answers).await {
        Ok(Ok(())) => {
            return HttpResponse::Ok().content_type(TEXT).body(
                "ready
",
            );
        }
        Ok(Err(reason)) => reason,
        Err(_) => "the database does not answer
"
        .to_owned(),
    };
    HttpResponse::ServiceUnavailable()
        .insert_header(("retry-after", "1"))
        .content_type(TEXT)
        .body(reason)
}

/// The reason that the database is unusable: `otherwise`, unless the database file was replaced.
fn unavailable_reason(error: &StoreError, otherwise: &'static str) -> &'static str {
    match error {
        StoreError::Unavailable(cause) if cause.starts_with(FILE_REPLACED_PREFIX) => {
            "the database's file was replaced: stop this program and start it again\n"
        }
        StoreError::Unavailable(_) | StoreError::Busy => otherwise,
    }
}
