//! Claims about the test authority in front of an app, on every dialect that is compiled in.

#![cfg(feature = "testing")]

use std::time::Duration;

use actix_web::{App, test, web};
use parlance::actix::Caller;
use parlance::table::TABLE;
use parlance::testing::{PASSWORD, RequestCredential, TestAuthority};

/// Longer than any dialect's sessions live at their default settings.
const BEYOND_ANY_LIFETIME: Duration = Duration::from_secs(31 * 24 * 60 * 60);

async fn whoami(caller: Caller) -> String {
    format!("{} by {}", caller.name, caller.dialect)
}

/// The body of the answer to a client with this credential, from the guarded handler or from the guard.
async fn ask(authority: &TestAuthority, shown: &RequestCredential) -> String {
    let dialect_set = authority.dialect_set();
    let guarded = web::resource("/whoami").wrap(dialect_set.guard()).to(whoami);
    let app = test::init_service(App::new().service(guarded)).await;
    let request = test::TestRequest::post().uri("/whoami").set_payload(shown.body.clone());
    let headers = shown.headers.iter().cloned();
    let request = headers.fold(request, test::TestRequest::insert_header);
    let answer = test::call_service(&app, request.to_request()).await;
    String::from_utf8_lossy(&test::read_body(answer).await).into_owned()
}

/// A client that is logged in passes before `done`, and not after.
async fn check(done: impl AsyncFn(&TestAuthority)) {
    for dialect in TABLE {
        let authority = TestAuthority::new();
        let shown = authority.login("Zoë", dialect.name);
        assert_eq!(ask(&authority, &shown).await, format!("Zoë by {}", dialect.name));
        done(&authority).await;
        let refused = ask(&authority, &shown).await;
        assert!(!refused.contains("Zoë"), "{}: {refused}", dialect.name);
    }
}

#[actix_web::test]
async fn a_login_ends_with_the_clock() {
    check(async |authority| authority.advance(BEYOND_ANY_LIFETIME)).await;
}

#[actix_web::test]
async fn a_login_ends_with_a_reset() {
    check(async |authority| authority.reset()).await;
}

#[actix_web::test]
async fn a_login_ends_with_its_user() {
    check(async |authority| authority.authority().set_enabled("Zoë", false).await.unwrap()).await;
}

#[actix_web::test]
async fn no_request_passes_while_the_store_is_unavailable() {
    check(async |authority| authority.set_store_unavailable(true)).await;
}

#[actix_web::test]
async fn a_reset_sets_the_clock_back_and_frees_the_names() {
    let authority = TestAuthority::new();
    let start = authority.now();
    for dialect in TABLE {
        let _shown = authority.login("alice", dialect.name);
        authority.advance(BEYOND_ANY_LIFETIME);
        authority.reset();
        assert_eq!(authority.now(), start);
        assert_eq!(authority.authority().store().users(0, 9).await.unwrap().total, 0);
    }
}

#[actix_web::test]
async fn debug_output_shows_no_credential() {
    let authority = TestAuthority::new();
    for dialect in TABLE {
        let shown = authority.login("alice", dialect.name);
        let debug = format!("{shown:?}");
        let values = shown.headers.iter().map(|(_, value)| value.as_str());
        for secret in values.chain([shown.body.as_str(), PASSWORD]).filter(|text| !text.is_empty())
        {
            assert!(!debug.contains(secret), "{debug}");
        }
    }
}

#[actix_web::test]
#[should_panic(expected = "no dialect \"esperanto\" is compiled in")]
async fn an_unknown_dialect_panics() {
    let _shown = TestAuthority::new().login("alice", "esperanto");
}
