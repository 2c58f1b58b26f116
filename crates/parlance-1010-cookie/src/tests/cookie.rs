//! Tests of the session cookie: read from the raw header lines, and sent at logout.

use super::*;

#[test]
fn cookie_is_read_from_the_raw_header_lines() {
    let harness = harness();
    let opened = harness.login(VALID_LOGIN);
    let SessionCookie { sid, epw, .. } = &opened;
    let good = opened.cookie();
    let lines = |lines: &[&str]| {
        lines.iter().map(|line| line.replace("GOOD", &good).into_bytes()).collect::<Vec<_>>()
    };
    let of = |value: String| vec![format!("session={value}").into_bytes()];
    let padded = |length: usize| of(format!("csmith|{sid}|{epw}{}", "x".repeat(length)));
    for (cookies, status) in [
        (lines(&["GOOD"]), 404),
        (lines(&["a=1; GOOD; b=\"2%7C\""]), 404),
        (lines(&["a=1", "GOOD"]), 404),
        (lines(&["GOOD;"]), 404),
        (lines(&[" GOOD "]), 404),
        (lines(&["a=1;GOOD;b"]), 404),
        (lines(&["Session=x; sessions=y; GOOD; =; ; xsession=z"]), 404),
        (of(format!("CSmith|{sid}|{epw}")), 404),
        (lines(&[]), 401),
        (lines(&[""]), 401),
        (lines(&["GOOD; GOOD"]), 404),
        (lines(&["GOOD", "GOOD"]), 404),
        (lines(&["session; GOOD"]), 404),
        (lines(&["session=; GOOD"]), 404),
        (lines(&["session=eyJhbGciOiJIUzI1NiJ9.e30.c2ln; GOOD"]), 404),
        (lines(&["GOOD; session=\"a|b\"; session=a|b|c|d; session=a||c"]), 404),
        (lines(&["GOOD; session=csmith|1|e"]), 401),
        (lines(&["session=csmith|1|e; GOOD"]), 401),
        (lines(&["GOOD", "session=csmith|1|e"]), 401),
        (lines(&["GOOD; GOOD%"]), 401),
        (lines(&["GOOD; GOOD\t"]), 401),
        (lines(&["session=csmith|1|e; session=csmith|1|e"]), 401),
        (lines(&["xGOOD"]), 401),
        (lines(&["GOOD|"]), 401),
        (lines(&["GOOD|x"]), 401),
        (lines(&["GOOD%"]), 401),
        (lines(&["GOOD\t"]), 401),
        (lines(&["GOOD\r\nx: y"]), 401),
        (lines(&["\tGOOD"]), 401),
        (of(String::new()), 401),
        (of("||".to_owned()), 401),
        (of("csmith".to_owned()), 401),
        (of(format!("csmith|{sid}")), 401),
        (of(format!("csmith|{sid}|")), 401),
        (of(format!("|{sid}|{epw}")), 401),
        (of(format!("csmith||{epw}")), 401),
        (of(format!("csmith%7C{sid}%7C{epw}")), 401),
        (of(format!("csmith|{sid}%7C{epw}")), 401),
        (of(format!("%63smith|{sid}|{epw}")), 401),
        (of(format!("\"csmith|{sid}|{epw}\"")), 404),
        (lines(&[&format!("session=\"csmith|{sid}|{epw}\"; GOOD")]), 404),
        (of(format!("\"csmith|{sid}|{epw}")), 401),
        (of(format!("csmith|{sid}|{epw}\"")), 401),
        (of(format!("\"\"csmith|{sid}|{epw}\"\"")), 401),
        (of(format!("\"csmith\"|{sid}|{epw}")), 401),
        (of(format!("\"csmith\\174{sid}\\174{epw}\"")), 401),
        (of(format!("'csmith|{sid}|{epw}'")), 401),
        (of("\"".to_owned()), 401),
        (of(format!("csmith|0{sid}|{epw}")), 401),
        (of(format!("csmith|1|{epw}")), 401),
        (of(format!("other|{sid}|{epw}")), 401),
        (of(format!("{sid}|csmith|{epw}")), 401),
        (of(format!("csmith|{sid}|{}", epw.trim_start_matches('_'))), 401),
        (of(format!("csmith|{sid}|{}", epw.to_uppercase())), 401),
        (of(format!("csmith|{sid}|{epw}\0")), 401),
        (of(format!("csmith\u{85}|{sid}|{epw}")), 401),
        (
            vec![[b"session=csmith\xff|".to_vec(), format!("{sid}|{epw}").into_bytes()].concat()],
            401,
        ),
        (padded(1), 401),
        (padded(100_000), 401),
    ] {
        let cookies: Vec<&[u8]> = cookies.iter().map(Vec::as_slice).collect();
        assert_eq!(
            harness.guarded_status(&cookies),
            status,
            "{:?}",
            cookies.iter().map(|line| line.escape_ascii().to_string()).collect::<Vec<_>>()
        );
    }
}

#[test]
fn non_ascii_name_round_trips_through_the_cookie() {
    let harness = harness();
    for (name, form) in [
        ("zoë k.", "uid=zo%C3%AB+k.&pw=YYY"),
        ("山田", "uid=%E5%B1%B1%E7%94%B0&pw=YYY"),
        ("a=\"b\"", "uid=a%3D%22b%22&pw=YYY"),
    ] {
        harness.world.add_user(name, "YYY");
        let answer = harness.post(form);
        let opened = harness.login(form);
        assert_eq!(opened.uid, name);
        let (_, cookie) = answer.headers.iter().find(|(name, _)| *name == "set-cookie").unwrap();
        assert!(cookie.starts_with(&format!("session={name}|")), "{cookie}");
        assert!(harness.is_active(&opened), "{name}");
        // As the document's client writes a typed name: the library `requests` encodes a header as Latin-1 where possible.
        let latin: Vec<u8> = opened
            .cookie()
            .chars()
            .filter_map(|letter| u8::try_from(u32::from(letter)).ok())
            .collect();
        let whole = latin.len() == opened.cookie().chars().count();
        assert_eq!(harness.guarded_status(&[&latin]) == 404, whole, "{name}");
    }
}

#[test]
fn name_that_no_cookie_can_carry_does_not_log_in() {
    let harness = harness();
    harness.world.add_user("50%er", "YYY");
    for form in ["uid=50%25er&pw=YYY", "uid=50%EF%BC%85er&pw=YYY"] {
        assert_eq!(harness.post(form).status, 401, "{form}");
    }
}

#[test]
fn logout_requires_the_cookie_and_refuses_another_one_in_the_body() {
    let harness = harness();
    harness.world.add_user("other", "YYY");
    let other = harness.login("uid=other&pw=YYY").cookie();
    let value = |cookie: &str| cookie.trim_start_matches("session=").to_owned();
    for (head, body, status) in [
        ("Accept: */*", "", 200),
        (JSON, "", 200),
        ("Content-Type: text/plain", "", 200),
        (FORM, "cookies=COOKIE", 200),
        (FORM, "cookies=VALUE&x=1", 200),
        (JSON, "{\"cookies\":\"COOKIE\"}", 200),
        (JSON, "{}", 200),
        (FORM, "cookies=OTHER", 400),
        (FORM, "cookies=\"VALUE\"", 200),
        (FORM, "cookies=", 200),
        (FORM, "cookies=x", 200),
        (FORM, "cookies=%FF", 200),
        (
            FORM,
            "cookies=# Netscape HTTP Cookie File\n\n#HttpOnly_h\tFALSE\t/\tFALSE\t0\tsession\tVALUE",
            200,
        ),
        (FORM, "cookies=# Jar\nh\tFALSE\t/\tFALSE\t0\tsession\tOTHER", 200),
        (FORM, "cookies=# Jar\nh\tFALSE\t/\tFALSE\t0\ta\t%FF&a=1&a=2\n", 200),
        (FORM, "cookies=COOKIE; path=/", 200),
        (FORM, "a=1&a=2&%FF", 200),
        (JSON, "{\"cookies\":\"x\"}", 200),
        (JSON, "{\"cookies\":null}", 200),
        (FORM, "%63ookies=OTHER", 400),
        (FORM, "cookies=\"OTHER\"", 400),
        (FORM, "cookies=csmith|1|e", 400),
        (FORM, "cookies=&cookies=", 400),
        (FORM, "cookies=COOKIE&cookies=COOKIE", 400),
        (JSON, "{\"cookies\":\"OTHER\"}", 400),
        (JSON, "{\"cookies\":7}", 400),
        (JSON, "{", 400),
        ("Content-Type: text/plain", "cookies=COOKIE", 415),
    ] {
        let opened = harness.login(VALID_LOGIN);
        let cookie = opened.cookie();
        let body = body
            .replace("COOKIE", &cookie)
            .replace("VALUE", &value(&cookie))
            .replace("OTHER", &other);
        let answer =
            harness.send(&format!("POST /v/api/!logout\n{head}\nCookie: {cookie}\n\n{body}"));
        assert_eq!(answer.status, status, "{head} {body}");
        assert_eq!(harness.is_active(&opened), status != 200, "{head} {body}");
        let alone = harness.send(&format!("POST /v/api/!logout\n{FORM}\n\ncookies={cookie}"));
        assert_eq!(alone.status, 401, "a field without the cookie");
    }
    assert_eq!(harness.guarded_status(&[other.as_bytes()]), 404, "another user's session");
}

#[test]
fn parser_takes_three_parts_of_plain_text() {
    let longest = "e".repeat(4096 - "session".len() - "u|1|".len());
    for (value, good) in [
        ("u|1|e", true),
        ("u v|1|e", true),
        ("é|1|e", true),
        (&format!("u|1|{longest}"), true),
        (&format!("u|1|{longest}e"), false),
        ("u%|1|e", false),
        ("u|1%|e", false),
        ("u|1|%65", false),
        ("u|1|e\n", false),
        ("u|1|e\u{7f}", false),
        ("u|1|e\u{9b}", false),
        ("|1|e", false),
        ("u||e", false),
        ("u|1|", false),
        ("u|1", false),
        ("u|1|e|", false),
        ("|u|1|e", false),
        ("", false),
    ] {
        assert_eq!(crate::cookie::from_text(value).is_some(), good, "{value:.40}");
        assert_eq!(
            crate::cookie::from_text(&format!("session={value}")).is_some(),
            good,
            "{value:.40}"
        );
    }
}
