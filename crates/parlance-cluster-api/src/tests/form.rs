//! Tests of the form: its fields, and the places where a form is read.

use super::*;

#[test]
fn login_reads_what_it_can_and_says_what_is_missing() {
    let harness = harness();
    let long = "x".repeat(10_000);
    for (form, expected) in [
        (VALID_LOGIN, "success"),
        ("username=CSmith&password=XXX", "success"),
        ("&&username=csmith&password=XXX&", "success"),
        ("username=csmith&password=XXX&unknown=1", "success"),
        ("access_token=&username=csmith&password=XXX", "success"),
        ("access_token=INVENTED&username=csmith&password=XXX", "success"),
        ("username=csmith&password=xxx", WRONG_PASSWORD),
        ("username=csmith&password=XXX+", WRONG_PASSWORD),
        ("username=csmith&password=", WRONG_PASSWORD),
        ("username=csmith", WRONG_PASSWORD),
        (&format!("username=csmith&password={long}"), WRONG_PASSWORD),
        ("username=nobody&password=XXX", UNKNOWN_USER),
        (&format!("username={long}&password=XXX"), UNKNOWN_USER),
        ("username=&password=XXX", UNKNOWN_USER),
        ("password=XXX", UNKNOWN_USER),
        ("access_token=INVENTED", UNKNOWN_USER),
        ("access_token=", UNKNOWN_USER),
        ("", UNKNOWN_USER),
        ("%", UNKNOWN_USER),
        ("Username=csmith&Password=XXX", UNKNOWN_USER),
        ("username=csmith%FF&password=XXX", UNKNOWN_USER),
        ("username=csmith%00&password=XXX", UNKNOWN_USER),
        ("username=csmith&password=XXX%FF", WRONG_PASSWORD),
        ("username=csmith&password=XXX%00", WRONG_PASSWORD),
        ("username=csmith&password=%0AXXX", WRONG_PASSWORD),
        ("username=csmith&password=XXX&x=%FF", WRONG_PASSWORD),
        ("username=csmith&username=csmith&password=XXX", DUPLICATE_PARAMETER),
        ("username=csmith&password=XXX&pass%77ord=XXX", DUPLICATE_PARAMETER),
    ] {
        assert_eq!(harness.post_result("/api/login", form), expected, "{form}");
    }
}

#[test]
fn only_the_form_is_read() {
    let harness = harness();
    for (head, expected) in [
        (
            "POST /api/login\nContent-Type: application/x-www-form-urlencoded; charset=UTF-8",
            "success",
        ),
        ("PUT /api/login\nContent-Type: Application/X-WWW-Form-Urlencoded", "success"),
        ("POST /api/login?page=1\nContent-Type: application/x-www-form-urlencoded", "success"),
        (
            "POST /api/login?username=other\nContent-Type: application/x-www-form-urlencoded",
            DUPLICATE_PARAMETER,
        ),
        ("GET /api/login\nContent-Type: application/x-www-form-urlencoded", UNKNOWN_USER),
        ("HEAD /api/login\nContent-Type: application/x-www-form-urlencoded", UNKNOWN_USER),
        ("GET /api/login?username=csmith&password=XXX", UNKNOWN_USER),
        ("POST /api/login", UNKNOWN_USER),
        ("POST /api/login\nContent-Type: application/json", UNKNOWN_USER),
        ("POST /api/login\nContent-Type: multipart/form-data; boundary=x", UNKNOWN_USER),
        ("POST /api/login\nContent-Type: multipart/form-data", UNKNOWN_USER),
        ("POST /api//login\nContent-Type: application/x-www-form-urlencoded", "success"),
        ("POST //api/login\nContent-Type: application/x-www-form-urlencoded", "success"),
        ("POST ///api///login///\nContent-Type: application/x-www-form-urlencoded", "success"),
        (
            "POST /api/login\nContent-Type: text/plain\nContent-Type: application/x-www-form-urlencoded",
            UNKNOWN_USER,
        ),
    ] {
        let answer = harness.world.send(&harness.service, &format!("{head}\n\n{VALID_LOGIN}"));
        assert_eq!(envelope_result(&answer), expected, "{head}");
    }
}

#[test]
fn guard_finds_the_token_in_any_readable_form() {
    let harness = harness();
    let token = harness.token();
    let kept = [("content-type", &b"application/x-www-form-urlencoded"[..])];
    for (method, query, form, expected) in [
        ("POST", None, format!("access_token={token}"), Some("csmith")),
        ("DELETE", None, format!("access_token={token}"), Some("csmith")),
        (
            "POST",
            Some("id=1&id=2"),
            format!("id=1&id=2&access_token={token}&name=%FF"),
            Some("csmith"),
        ),
        ("GET", None, format!("access_token={token}"), None),
        ("POST", Some("access_token=x"), format!("access_token={token}"), None),
        ("POST", Some(&format!("access_token={token}")), String::new(), None),
        ("POST", None, format!("access_token={token}&access_token=%FF"), None),
        ("POST", None, "access_token=".to_owned(), None),
        ("POST", None, "access_token".to_owned(), None),
        ("POST", None, String::new(), None),
    ] {
        let (peer, now, body) =
            (harness.world.peer, Timestamp::from_seconds(1_651_406_400), form.as_bytes());
        let request =
            Request { method, path: "/vm", query, headers: &kept, body, peer, secure: false, now };
        let expected = expected.map(str::to_owned).ok_or_else(|| UNKNOWN_TOKEN.to_owned());
        assert_eq!(harness.admits(&request), expected, "{method} {query:?} {form}");
    }
}

/// A multipart form with the boundary `b`.
fn multipart(fields: &[(&str, &str)]) -> String {
    let parts = fields.iter().map(|(name, value)| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    });
    parts.collect::<String>() + "--b--\r\n"
}

#[test]
fn multipart_form_is_read_as_an_urlencoded_one() {
    let harness = harness();
    let (user, password) = (("username", "csmith"), ("password", "XXX"));
    for (form, expected) in [
        (multipart(&[user, password]), "success"),
        (multipart(&[password, ("other", "a\r\nb"), user]), "success"),
        (multipart(&[user, ("password", "xxx")]), WRONG_PASSWORD),
        (multipart(&[user]), WRONG_PASSWORD),
        (multipart(&[user, ("password", "XXX\r\n")]), WRONG_PASSWORD),
        // No part is decoded.
        (multipart(&[user, ("password", "%58XX")]), WRONG_PASSWORD),
        (multipart(&[user, ("pass%77ord", "XXX")]), WRONG_PASSWORD),
        (multipart(&[user, ("password", "XXX\0")]), WRONG_PASSWORD),
        (multipart(&[("username", "nobody"), password]), UNKNOWN_USER),
        (multipart(&[password]), UNKNOWN_USER),
        (multipart(&[]), UNKNOWN_USER),
        (multipart(&[user, password, password]), DUPLICATE_PARAMETER),
        (multipart(&[user, password, ("other", "1"), ("other", "2")]), DUPLICATE_PARAMETER),
        (multipart(&[user, password]).replace("--b--", ""), UNKNOWN_USER),
        (multipart(&[user, password]) + "username=csmith", UNKNOWN_USER),
        (multipart(&[user, password]).replace("\r\n", "\n"), UNKNOWN_USER),
        (multipart(&[user, ("password\"; filename=\"p", "XXX")]), UNKNOWN_USER),
        (multipart(&[user, password, ("logo\"; filename=\"l.png", "PNG")]), "success"),
        (VALID_LOGIN.to_owned(), UNKNOWN_USER),
    ] {
        let head = "POST /api/login\nContent-Type: multipart/form-data; boundary=b";
        let answer = harness.world.send(&harness.service, &format!("{head}\n\n{form}"));
        assert_eq!(envelope_result(&answer), expected, "{form}");
    }
}

#[test]
fn guard_finds_the_token_in_a_short_multipart_form() {
    let harness = harness();
    let token = harness.token();
    let shown = multipart(&[("id", "1"), ("id", "2"), ("access_token", &token)]);
    let file = multipart(&[("access_token\"; filename=\"x", &token)]);
    let twice = multipart(&[("access_token", &token), ("access_token", &token)]);
    let limit = parlance_dialect::MAX_BODY_BYTES;
    for (method, length, body, looks, passes) in [
        ("POST", Some(shown.len().to_string()), &shown, true, true),
        ("PUT", Some(limit.to_string()), &shown, true, true),
        ("POST", Some((limit + 1).to_string()), &String::new(), false, false),
        ("POST", None, &String::new(), false, false),
        ("POST", Some("-1".to_owned()), &String::new(), false, false),
        ("GET", Some(shown.len().to_string()), &shown, false, false),
        ("POST", Some(file.len().to_string()), &file, true, false),
        ("POST", Some(twice.len().to_string()), &twice, true, false),
        ("POST", Some("3".to_owned()), &"--b".to_owned(), true, false),
    ] {
        let mut headers = vec![("content-type", &b"multipart/form-data; boundary=b"[..])];
        headers.extend(length.as_ref().map(|length| ("content-length", length.as_bytes())));
        let (peer, now) = (harness.world.peer, Timestamp::from_seconds(1_651_406_400));
        let request = Request {
            method,
            path: "/vm",
            query: None,
            headers: &headers,
            body: body.as_bytes(),
            peer,
            secure: false,
            now,
        };
        assert_eq!(harness.service.needs_body(&request), looks, "{method} {length:?}");
        let expected = if passes { Ok("csmith") } else { Err(UNKNOWN_TOKEN) };
        let got = harness.admits(&request);
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{method} {length:?} {body}");
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let DialectHarness { world, service: desk } = harness();
    let headers = [("content-type", &b"application/x-www-form-urlencoded"[..])];
    let mut body = b"username=%C3%A9&password=+%&access_token=A&&==%F".to_vec();
    for at in 0..body.len() {
        for byte in [0, b'%', b'&', b'=', 0x7f, 0xff] {
            let old = std::mem::replace(&mut body[at], byte);
            let (peer, now) = (world.peer, Timestamp::from_seconds(1_651_406_400));
            for path in ["/api/login", "/api/logout"] {
                let request = Request {
                    method: "POST",
                    path,
                    query: None,
                    headers: &headers,
                    body: &body,
                    peer,
                    secure: false,
                    now,
                };
                assert_ne!(envelope_result(&world.block_on(desk.serve(&request))), "success");
                let _ = desk.claims(&String::from_utf8_lossy(&body));
            }
            body[at] = old;
        }
    }
}
