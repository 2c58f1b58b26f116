//! Tests of the body of a login: the forms and the JSON that are accepted or refused.

use super::*;

#[test]
fn login_body_is_read_strictly() {
    let harness = harness();
    let long = format!("uid=csmith&pw={}", "x".repeat(10_000));
    for (head, body, status) in [
        (FORM, VALID_LOGIN, 200),
        (FORM, "uid=CSmith&pw=XXX&kill=yes", 200),
        (FORM, "uid=csmith&pw=XXX&kill=possess&more=1", 200),
        ("Content-Type: application/x-www-form-urlencoded; charset=UTF-8", VALID_LOGIN, 200),
        ("Accept: */*", VALID_LOGIN, 200),
        (JSON, r#" {"uid":"csmith","pw":"XXX","kill":null} "#, 200),
        (JSON, r#"{"more":[{"a":1}],"uid":"csmith","pw":"\u0058XX","kill":"yes"}"#, 200),
        ("Content-Type: Application/JSON; charset=utf-8", r#"{"uid":"csmith","pw":"XXX"}"#, 200),
        (FORM, "uid=csmith&pw=xxx", 401),
        (FORM, "uid=nobody&pw=XXX", 401),
        (FORM, "uid=csmith", 401),
        (FORM, "uid=csmith&pw=", 401),
        (FORM, "pw=XXX", 401),
        (FORM, "", 401),
        (JSON, "", 401),
        (FORM, &long, 401),
        (FORM, "uid=csmith&pw=X&Y z", 401),
        (FORM, "uid=csmith&pw=XXX%FF", 401),
        (FORM, "uid=csmith&pw=XXX%00", 401),
        (FORM, "uid=csmith%00&pw=XXX", 401),
        (FORM, "uid=csmith%0D%0A&pw=XXX", 401),
        (JSON, r#"{"uid":"csmith"}"#, 401),
        (JSON, r#"{"uid":"csmith","pw":null}"#, 401),
        (JSON, r#"{"uid":"csmith","pw":"XXX\u0000"}"#, 401),
        (JSON, "{}", 401),
        (FORM, "uid=csmith&pw=XXX&kill=no", 400),
        (FORM, "uid=csmith&pw=XXX&kill=", 400),
        (FORM, "uid=csmith&pw=XXX&kill=YES", 400),
        (FORM, "uid=csmith&pw=XXX&pw=XXX", 400),
        (FORM, "uid=csmith&pw=XXX&%6bill=yes&kill=yes", 400),
        (JSON, r#"{"uid":"csmith","pw":"XXX","pw":"XXX"}"#, 400),
        (JSON, r#"{"uid":"csmith","pw":"XXX","a":1,"a":1}"#, 400),
        (JSON, r#"{"uid":"csmith","pw":7}"#, 400),
        (JSON, r#"{"uid":"csmith","pw":"\ud800"}"#, 400),
        (JSON, r#"{"uid":"csmith","pw":"XXX","kill":true}"#, 400),
        (JSON, r#"["csmith","XXX",null]"#, 400),
        (JSON, r#"{"uid":"csmith","pw":"XXX"} x"#, 400),
        (JSON, VALID_LOGIN, 400),
        (JSON, "null", 400),
        ("Content-Type: text/plain", VALID_LOGIN, 415),
        ("Content-Type: ", VALID_LOGIN, 415),
        ("Content-Type: multipart/form-data; boundary=x", VALID_LOGIN, 415),
        (
            "Content-Type: application/json\nContent-Type: application/x-www-form-urlencoded",
            VALID_LOGIN,
            415,
        ),
    ] {
        let answer = harness.send(&format!("POST /beta-latest/api/!login\n{head}\n\n{body}"));
        assert_eq!(answer.status, status, "{head} {body}");
        let error =
            serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()["error"].is_string();
        assert_eq!(error, status != 200, "{head} {body}");
    }
    let nested =
        format!(r#"{{"uid":"csmith","pw":"XXX","a":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    assert_eq!(
        harness.send(&format!("POST /beta-latest/api/!login\n{JSON}\n\n{nested}")).status,
        400
    );
}

#[test]
fn json_that_is_not_text_is_a_failed_login() {
    let harness = harness();
    let (headers, now) = ([("content-type", &b"application/json"[..])], harness.now());
    let body = b"{\"uid\":\"csmith\",\"pw\":\"XXX\xff\"}";
    let path = "/beta-latest/api/!login";
    let request = Request {
        method: "POST",
        path,
        query: None,
        headers: &headers,
        body,
        peer: None,
        secure: false,
        now,
    };
    assert_eq!(harness.world.block_on(harness.service.serve(&request)).status, 401);
}

#[test]
fn query_is_not_read_and_repeats_nothing() {
    let harness = harness();
    for (query, body, status) in [
        ("trace=1", VALID_LOGIN, 200),
        ("kill=no", VALID_LOGIN, 200),
        ("uid=csmith&pw=XXX", "", 401),
        ("pw=XXX", "uid=csmith", 401),
        ("pw=XXX", VALID_LOGIN, 400),
        ("kill=yes", "uid=csmith&pw=XXX&kill=yes", 400),
    ] {
        let answer =
            harness.send(&format!("POST /beta-latest/api/!login?{query}\n{FORM}\n\n{body}"));
        assert_eq!(answer.status, status, "{query} {body}");
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let harness = harness();
    let mut bytes =
        b"session=csmith|956151005|_______ca74; uid=%C3%A9&pw=%&kill=yes {\"uid\":\"\xc3\xa9\"}"
            .to_vec();
    for at in 0..bytes.len() {
        for byte in [0, b'%', b'|', b'=', b';', b'"', b'&', 0x7f, 0xff] {
            let old = std::mem::replace(&mut bytes[at], byte);
            for media in ["application/json", "application/x-www-form-urlencoded"] {
                let headers = [("content-type", media.as_bytes()), ("cookie", &bytes)];
                for path in ["/v/api/!login", "/v/api/!logout", "/v/api/!x"] {
                    let (body, now) = (&bytes, harness.now());
                    let request = Request {
                        method: "POST",
                        path,
                        query: None,
                        headers: &headers,
                        body,
                        peer: None,
                        secure: false,
                        now,
                    };
                    assert!(
                        (400..500).contains(
                            &harness.world.block_on(harness.service.serve(&request)).status
                        )
                    );
                }
            }
            bytes[at] = old;
        }
    }
}

#[test]
fn cross_site_login_request_is_refused() {
    let harness = harness();
    for (head, status) in [
        ("Sec-Fetch-Site: same-origin", 200),
        ("Sec-Fetch-Site: same-site", 200),
        ("Sec-Fetch-Site: none", 200),
        ("Sec-Fetch-Site: ", 200),
        ("Sec-Fetch-Site: cross-site", 403),
        ("sec-fetch-site: Cross-Site ", 403),
        ("Sec-Fetch-Site: none\nSec-Fetch-Site: cross-site", 403),
    ] {
        for body in [VALID_LOGIN, "uid=csmith&pw=wrong", ""] {
            let answer = harness.send(&format!("POST /v/api/!login\n{FORM}\n{head}\n\n{body}"));
            let expected = match status {
                200 if body != VALID_LOGIN => 401,
                _ => status,
            };
            assert_eq!(answer.status, expected, "{head} {body}");
            let sets = answer.headers.iter().any(|(name, _)| *name == "set-cookie");
            assert_eq!(sets, expected == 200, "{head} {body}");
        }
    }
    // Browsers send no cookie with `SameSite=Lax` along with such a request. A client that sends the cookie anyway ends the session.
    let opened = harness.login(VALID_LOGIN);
    let out =
        format!("POST /v/api/!logout\nSec-Fetch-Site: cross-site\nCookie: {}\n\n", opened.cookie());
    assert_eq!(harness.send(&out).status, 200);
}
