//! Tests of an app of your own: an authority in memory logs users in without HTTP, under a clock that the test moves.
//!
//! `cargo run -p parlance --features testing --example test_authority` is such a test; yours would be a `#[test]`.

#![expect(clippy::print_stdout, reason = "it says that all is well")]

use std::time::Duration;

use actix_web::{App, test, web};
use parlance::actix::Caller;
use parlance::testing::{RequestCredential, TestAuthority};

async fn whoami(caller: Caller) -> String {
    caller.name.clone()
}

/// The app's answer to a client with this credential: the status and the body.
async fn ask(authority: &TestAuthority, shown: RequestCredential) -> (u16, String) {
    let dialect_set = authority.dialect_set();
    let private =
        web::scope("/private").wrap(dialect_set.guard()).route("/whoami", web::to(whoami));
    let app = test::init_service(App::new().service(private)).await;
    let request = test::TestRequest::post().uri("/private/whoami").set_payload(shown.body);
    let request = shown.headers.into_iter().fold(request, test::TestRequest::insert_header);
    let answer = test::call_service(&app, request.to_request()).await;
    let status = answer.status().as_u16();
    (status, String::from_utf8_lossy(&test::read_body(answer).await).into_owned())
}

#[actix_web::main]
async fn main() {
    let authority = TestAuthority::new();
    let shown = authority.login("alice", "polish-longtoken");
    assert_eq!(ask(&authority, shown.clone()).await, (200, "alice".to_owned()));

    // A token of this dialect lives for 24 hours.
    authority.advance(Duration::from_secs(24 * 60 * 60 - 1));
    assert_eq!(ask(&authority, shown.clone()).await.0, 200);
    authority.advance(Duration::from_secs(1));
    assert_eq!(ask(&authority, shown).await.0, 401);

    // The next test begins anew.
    authority.reset();
    let shown = authority.login("alice", "cluster-api");
    assert_eq!(ask(&authority, shown).await, (200, "alice".to_owned()));
    println!("ok");
}
