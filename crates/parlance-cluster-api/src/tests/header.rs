//! Tests of the token in a header, for guarded requests alone and only where the setting allows the header.

use std::sync::Arc;

use parlance_dialect::Guard;

use super::*;

const FORM: &str = "application/x-www-form-urlencoded";
const TOKEN_HEADER: &[&str] = &["{token}"];

fn harness_with_header_setting(access_token_header: bool) -> DialectHarness {
    let world = TestWorld::with_csmith();
    let service =
        world.service(ClusterApi::new(Settings { access_token_header, ..Settings::default() }));
    DialectHarness { world, service }
}

/// Checks whether the guard admits a request with these lines of `X-Access-Token` and this form, or answers that there is no token. Both
/// texts have `{token}` for a living token, and `{other}` for another token of the same user.
#[track_caller]
fn check(
    switch: bool,
    method: &str,
    lines: &[&str],
    query: Option<&str>,
    form: &str,
    passes: bool,
) {
    let harness = harness_with_header_setting(switch);
    let (token, other) = (harness.token(), harness.token());
    let fill = |text: &str| text.replace("{token}", &token).replace("{other}", &other);
    let lines: Vec<_> = lines.iter().map(|line| fill(line)).collect();
    let mut headers = vec![("content-type", FORM.as_bytes())];
    headers.extend(lines.iter().map(|line| ("X-ACCESS-TOKEN", line.as_bytes())));
    let (query, body) = (query.map(fill), fill(form));
    let request = Request {
        method,
        path: "/vm",
        query: query.as_deref(),
        headers: &headers,
        body: body.as_bytes(),
        peer: harness.world.peer,
        secure: false,
        now: Timestamp::from_seconds(1_651_406_400),
    };
    let expected = if passes { Ok("csmith") } else { Err(UNKNOWN_TOKEN) };
    let got = harness.admits(&request);
    let shown = got.as_deref().map_err(String::as_str);
    assert_eq!(shown, expected, "{switch} {method} {lines:?} {query:?} {form}");
}

#[test]
fn a_header_shows_the_token_where_it_is_switched_on() {
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        check(true, method, TOKEN_HEADER, None, "", true);
        check(false, method, TOKEN_HEADER, None, "", false);
    }
    check(true, "POST", &[], None, "access_token={token}", true);
    check(false, "POST", &[], None, "access_token={token}", true);
    check(false, "POST", &["nonsense"], None, "access_token={token}", true);
}

#[test]
fn two_different_tokens_are_no_credential() {
    check(true, "POST", TOKEN_HEADER, None, "access_token={token}", true);
    check(true, "POST", TOKEN_HEADER, None, "access_token={other}", false);
    check(true, "POST", TOKEN_HEADER, None, "access_token=INVENTED", false);
    check(true, "POST", TOKEN_HEADER, None, "access_token=", false);
    check(true, "POST", TOKEN_HEADER, None, "access_token=%FF", false);
    check(true, "POST", TOKEN_HEADER, None, "access_token={token}&access_token={token}", false);
    check(true, "POST", TOKEN_HEADER, Some("access_token={token}"), "", false);
    check(true, "POST", &["INVENTED"], None, "access_token={token}", false);
    // The body of a GET means nothing.
    check(true, "GET", TOKEN_HEADER, None, "access_token={other}", true);
}

#[test]
fn an_invalid_header_is_no_token_and_overrides_the_form() {
    for lines in [
        &["{token}", "{token}"][..],
        &["{token}", "{other}"],
        &["{token}", ""],
        &["{token},{token}"],
        &["{token} "],
        &["Bearer {token}"],
        &["{token}\u{e9}"],
        &[""],
    ] {
        check(true, "GET", lines, None, "", false);
        check(true, "POST", lines, None, "access_token={token}", false);
    }
}

#[test]
fn the_login_wire_never_reads_the_header() {
    let harness = harness_with_header_setting(true);
    let token = harness.token();
    for (path, expected) in
        [("/api/login", UNKNOWN_USER), ("/api/logout", UNKNOWN_TOKEN), ("/api/vm", UNKNOWN_TOKEN)]
    {
        let request = format!("POST {path}\nContent-Type: {FORM}\nX-Access-Token: {token}");
        assert_eq!(
            envelope_result(&harness.world.send(&harness.service, &request)),
            expected,
            "{path}"
        );
    }
    assert_eq!(harness.guarded_result(&token), WRONG_PATH);
}

#[test]
fn a_guard_reads_a_body_only_where_the_token_may_stand_in_it() {
    let needs = |switch: bool, method: &str, media_type: &str, header: bool| {
        let mut headers = vec![("content-type", media_type.as_bytes())];
        headers.extend(header.then_some(("x-access-token", &b"A"[..])));
        let (peer, now) = (None, Timestamp::from_seconds(0));
        let request = Request {
            method,
            path: "/vm",
            query: None,
            headers: &headers,
            body: &[],
            peer,
            secure: false,
            now,
        };
        let needs = harness_with_header_setting(switch).service.needs_body(&request);
        // A guard for several dialects reads the body as soon as one of them needs the body.
        let [one, other] = [harness_with_header_setting(true), harness_with_header_setting(switch)]
            .map(|bench| Arc::new(bench.service));
        assert_eq!(Guard::new(one).or(other).needs_body(&request).is_some(), needs);
        needs
    };
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        assert!(needs(false, method, FORM, false), "{method}");
        assert!(needs(false, method, "Application/X-WWW-Form-Urlencoded; charset=UTF-8", true));
        assert!(needs(true, method, FORM, false), "{method}");
        assert!(!needs(true, method, FORM, true), "{method}");
        assert!(!needs(false, method, "application/json", false), "{method}");
        assert!(!needs(false, method, "multipart/form-data; boundary=x", false), "{method}");
    }
    for method in ["GET", "HEAD"] {
        assert!(!needs(false, method, FORM, false), "{method}");
    }
}

#[test]
fn the_binding_is_that_of_the_configuration() {
    let mut values = SettingValues::defaults(ClusterApi::SETTINGS, Default::default());
    values.set("bind_sessions_to", SettingValue::Text("prefix".to_owned()));
    let world = TestWorld::with_csmith();
    let service = world.service(ClusterApi::configure(&values));
    let mut harness = DialectHarness { world, service };
    let token = harness.token();
    harness.world.peer = Some(IpAddr::from([192, 0, 2, 200]));
    assert_eq!(harness.guarded_result(&token), WRONG_PATH);
    harness.world.peer = Some(IpAddr::from([192, 0, 3, 7]));
    assert_eq!(harness.guarded_result(&token), UNEXPECTED_ADDRESS);
}
