//! Tests of the user pages.

use expect_test::expect;
use parlance_core::ports::Clock as _;
use parlance_core::{NewUser, Secret};
use parlance_dialect::Dialect as _;

use super::{DialectHarness, HOUR, check};
use crate::FlaskUsertoken;

/// `csmith`, after a login, and `plain`, without a login and without full rights.
fn two_users() -> (DialectHarness, String) {
    let harness = DialectHarness::new();
    let password = Secret::new("XXX".to_owned());
    let plain = NewUser {
        name: "Plain Jäger/1".to_owned(),
        password,
        roles: Vec::new(),
        unrestricted: false,
    };
    harness
        .world
        .block_on(harness.world.authority.add_user(plain, harness.world.clock.now()))
        .unwrap();
    harness.world.clock.advance(HOUR);
    let token = harness.log_in();
    (harness, token)
}

#[test]
fn a_page_lists_users_in_the_order_of_their_names() {
    let (harness, token) = two_users();
    check(
        &harness.send_with_token("GET /user", &token),
        &expect![[r#"
        200
        content-type: application/json
        vary: Accept

        {"count":2,"items":[{"creationTime":"2022-05-01T12:00:00+00:00","lastLoginTime":"2022-05-01T13:00:00+00:00","name":"csmith","role":"ADMIN","version":0},{"creationTime":"2022-05-01T12:00:00+00:00","name":"Plain Jäger/1","role":"USER","version":0}],"lastPage":1,"page":1,"totalCount":2}
    "#]],
    );
    check(
        &harness.send_with_token("GET /user?page=2&perPage=1", &token),
        &expect![[r#"
        200
        content-type: application/json
        vary: Accept

        {"count":1,"items":[{"creationTime":"2022-05-01T12:00:00+00:00","name":"Plain Jäger/1","role":"USER","version":0}],"lastPage":2,"page":2,"totalCount":2}
    "#]],
    );
}

#[test]
fn a_user_is_found_by_name_in_any_spelling() {
    let (harness, token) = two_users();
    check(
        &harness.send_with_token("GET /user/csmith", &token),
        &expect![[r#"
        200
        content-type: application/json
        vary: Accept

        {"creationTime":"2022-05-01T12:00:00+00:00","lastLoginTime":"2022-05-01T13:00:00+00:00","name":"csmith","role":"ADMIN","version":0}
    "#]],
    );
    for (name, status) in [
        ("CSMITH", "200"),
        ("%63smith", "200"),
        ("Plain%20J%C3%A4ger%2F1", "200"),
        ("Plain+J%C3%A4ger%2F1", "404"),
        ("nobody", "404"),
        ("", "404"),
        ("%00", "404"),
        ("csmith%00", "404"),
        ("csmith%0A", "404"),
        ("csmith%FF", "404"),
        ("%", "404"),
        ("%zz", "404"),
        ("a%3Ab", "404"),
    ] {
        let answer = harness.send_with_token(&format!("GET /user/{name}"), &token);
        assert!(answer.starts_with(status), "{name}: {answer}");
    }
    check(
        &harness.send_with_token("GET /user/nobody", &token),
        &expect![[r#"
        404
        content-type: application/json
        vary: Accept

        {"message":"Not found"}
    "#]],
    );
}

#[test]
fn a_page_that_cannot_be_is_400_and_one_that_is_not_there_404() {
    let (harness, token) = two_users();
    for (query, status) in [
        ("", "200"),
        ("page=1", "200"),
        ("perPage=100", "200"),
        ("perPage=1&page=02", "200"),
        ("more=1", "200"),
        ("page=2", "404"),
        ("page=3&perPage=1", "404"),
        ("page=4294967296", "404"),
        ("page=99999999999999999999999999", "404"),
        ("page=0", "400"),
        ("page=", "400"),
        ("page", "400"),
        ("page=-1", "400"),
        ("page=%2B1", "400"),
        ("page=1.0", "400"),
        ("page=one", "400"),
        ("page=1%00", "400"),
        ("page=%FF", "400"),
        ("page=1&page=1", "400"),
        ("perPage=0", "400"),
        ("perPage=101", "400"),
        ("perPage=4294967297", "400"),
        ("perPage=ten", "400"),
        ("perPage=1&perPage=2", "400"),
    ] {
        let answer = harness.send_with_token(&format!("GET /user?{query}"), &token);
        assert!(answer.starts_with(status), "{query}: {answer}");
    }
    check(
        &harness.send_with_token("GET /user?page=0", &token),
        &expect![[r#"
        400
        content-type: application/json
        vary: Accept

        {"message":"page counts from 1, perPage is 1 to 100, each at most once"}
    "#]],
    );
}

#[test]
fn the_token_is_checked_before_the_page() {
    let (harness, token) = two_users();
    assert_eq!(harness.status("GET /user?page=0"), 401);
    assert!(harness.send_with_token("POST /auth/logout", &token).starts_with("200\n"));
    for line in ["GET /user?page=0", "GET /user?page=99", "GET /user/nobody", "GET /user/%FF"] {
        assert!(harness.send_with_token(line, &token).starts_with("401\n"), "{line}");
    }
}

#[test]
fn five_paths_are_claimed_and_no_other() {
    for (path, claimed) in [
        ("/auth/login", true),
        ("/auth/bump", true),
        ("/auth/logout", true),
        ("/user", true),
        ("/user/", true),
        ("/user/csmith", true),
        ("/user/a%2Fb", true),
        ("/user/csmith/", false),
        ("/user/a/b", false),
        ("/users", false),
        ("/auth/login/", false),
        ("/auth", false),
        ("/Auth/login", false),
        ("", false),
    ] {
        assert_eq!(FlaskUsertoken::claims(path), claimed, "{path}");
    }
}
