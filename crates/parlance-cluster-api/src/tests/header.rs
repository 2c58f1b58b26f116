//! The token in a header, of guarded requests alone and only where it is switched on.

use std::sync::Arc;

use parlance_dialect::Guard;

use super::*;

const FORM: &str = "application/x-www-form-urlencoded";
const SHOWN: &[&str] = &["{token}"];

fn switched(access_token_header: bool) -> Bench {
    let world = World::with_csmith();
    let desk = world.desk(ClusterApi::new(Settings { access_token_header, ..Settings::default() }));
    Bench { world, desk }
}

/// A guarded request with these lines of `X-Access-Token` and this form, both with `{token}` for a living token and `{other}` for
/// another one of the same user, is let pass or hears that there is no token.
#[track_caller]
fn check(
    switch: bool,
    method: &str,
    lines: &[&str],
    query: Option<&str>,
    form: &str,
    passes: bool,
) {
    let bench = switched(switch);
    let (token, other) = (bench.token(), bench.token());
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
        peer: bench.world.peer,
        secure: false,
        now: Timestamp::from_seconds(1_651_406_400),
    };
    let expected = if passes { Ok("csmith") } else { Err(UNKNOWN_TOKEN) };
    let got = bench.admits(&request);
    let shown = got.as_deref().map_err(String::as_str);
    assert_eq!(shown, expected, "{switch} {method} {lines:?} {query:?} {form}");
}

#[test]
fn a_header_shows_the_token_where_it_is_switched_on() {
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        check(true, method, SHOWN, None, "", true);
        check(false, method, SHOWN, None, "", false);
    }
    check(true, "POST", &[], None, "access_token={token}", true);
    check(false, "POST", &[], None, "access_token={token}", true);
    check(false, "POST", &["nonsense"], None, "access_token={token}", true);
}

#[test]
fn two_tokens_that_disagree_are_none() {
    check(true, "POST", SHOWN, None, "access_token={token}", true);
    check(true, "POST", SHOWN, None, "access_token={other}", false);
    check(true, "POST", SHOWN, None, "access_token=INVENTED", false);
    check(true, "POST", SHOWN, None, "access_token=", false);
    check(true, "POST", SHOWN, None, "access_token=%FF", false);
    check(true, "POST", SHOWN, None, "access_token={token}&access_token={token}", false);
    check(true, "POST", SHOWN, Some("access_token={token}"), "", false);
    check(true, "POST", &["INVENTED"], None, "access_token={token}", false);
    // The body of a GET means nothing.
    check(true, "GET", SHOWN, None, "access_token={other}", true);
}

#[test]
fn a_header_that_cannot_be_read_is_no_token_and_hides_the_form() {
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
    let bench = switched(true);
    let token = bench.token();
    for (path, expected) in
        [("/api/login", UNKNOWN_USER), ("/api/logout", UNKNOWN_TOKEN), ("/api/vm", UNKNOWN_TOKEN)]
    {
        let request = format!("POST {path}\nContent-Type: {FORM}\nX-Access-Token: {token}");
        assert_eq!(sentence(&bench.world.send(&bench.desk, &request)), expected, "{path}");
    }
    assert_eq!(bench.uses(&token), WRONG_PATH);
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
        let needs = switched(switch).desk.needs_body(&request);
        // A guard of several reads it as soon as one of them needs it.
        let [one, other] = [switched(true), switched(switch)].map(|bench| Arc::new(bench.desk));
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
    let mut values = Values::defaults(ClusterApi::SETTINGS, Default::default());
    values.set("bind_address", Value::Text("prefix".to_owned()));
    let world = World::with_csmith();
    let desk = world.desk(ClusterApi::configure(&values));
    let mut bench = Bench { world, desk };
    let token = bench.token();
    bench.world.peer = Some(IpAddr::from([192, 0, 2, 200]));
    assert_eq!(bench.uses(&token), WRONG_PATH);
    bench.world.peer = Some(IpAddr::from([192, 0, 3, 7]));
    assert_eq!(bench.uses(&token), FOREIGN_ADDRESS);
}
