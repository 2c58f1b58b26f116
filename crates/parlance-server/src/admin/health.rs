//! Whether the process lives, and whether it should be sent anybody: its database answers, a key signs wherever one is wanted, and it has
//! not been told to stop.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::{HttpResponse, rt};
use parlance::core::Timestamp;
use parlance::core::ports::{Change, StoreError};
use parlance::store::FILE_REPLACED;

use super::openapi::{self, text};
use super::{Page, Shared, TEXT, read};

/// How long the database may take to answer before the program does not call itself ready.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

pub(super) const PAGES: &[Page] = &[
    Page {
        path: "/healthz",
        serve: |path| {
            read(path, || async { HttpResponse::Ok().content_type(TEXT).body("alive\n") })
        },
        describe: || openapi::read("Whether the process lives", &[("200", text("It does."))]),
    },
    Page {
        path: "/readyz",
        serve: |path| read(path, ready),
        describe: || {
            let away = openapi::away(text(
                "The database does not answer, no key can sign, or the program has been told to stop.",
            ));
            openapi::read(
                "Whether a proxy should send anybody here",
                &[("200", text("It does.")), ("503", away)],
            )
        },
    },
];

async fn ready(desk: Shared) -> HttpResponse {
    let store = &desk.store;
    // Drops nothing, in a transaction that may write: a database that only reads lets nobody in.
    let nothing = Change::Purge { before: Timestamp::MIN, limit: 0 };
    let answers = async {
        if desk.stopping.load(Ordering::Relaxed) {
            return Err("stopping\n".to_owned());
        }
        store.ping().await.map_err(|error| {
            why(
                &error,
                "the database does not answer
",
            )
            .to_owned()
        })?;
        let written = store.apply(nothing).await;
        written.map_err(|error| {
            why(
                &error,
                "the database cannot be written
",
            )
            .to_owned()
        })?;
        desk.keychain.why_silent().map_or(Ok(()), |why| {
            Err(format!(
                "{why}
"
            ))
        })
    };
    let reason = match rt::time::timeout(PATIENCE, answers).await {
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

/// Why the database is of no use: this, unless it is another one by now.
fn why(error: &StoreError, otherwise: &'static str) -> &'static str {
    match error {
        StoreError::Unavailable(cause) if cause.starts_with(FILE_REPLACED) => {
            "the database's file was replaced: stop this program and start it again\n"
        }
        StoreError::Unavailable(_) | StoreError::Busy => otherwise,
    }
}
