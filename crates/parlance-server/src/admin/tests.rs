//! Claims about paths: which are read, and what lies below what.

use super::path::{folded, host, lies_in, plain};

#[track_caller]
fn check(path: &str, read: Option<&str>) {
    assert_eq!(plain(path.as_bytes()).as_deref(), read, "{path}");
}

#[test]
fn a_plain_path_is_decoded() {
    check("/", Some("/"));
    check("/admin/", Some("/admin/"));
    check("/%61dmin/a%20b", Some("/admin/a b"));
    check("/z%C3%BC.rich", Some("/zü.rich"));
    check("/.well-known/a.b", Some("/.well-known/a.b"));
    check("/%20a/..b", Some("/ a/..b"));
    check("/%E6%97%A5%E6%9C%AC", Some("/日本"));
}

#[test]
fn a_path_that_two_programs_may_read_differently_is_none() {
    for path in [
        "",
        "admin",
        "*",
        "//admin",
        "/a//b",
        "/./a",
        "/a/.",
        "/a/..",
        "/../a",
        "/%2e%2e/a",
        "/a/%2E",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/%2561dmin",
        "/a;b/c",
        "/a%3bb",
        "/a%00",
        "/a%0d%0a",
        "/a%",
        "/a%4",
        "/a%zz",
        "/%c0%af",
        "/%ff",
        "/ü",
        "/a b",
        "/a#b",
        "/a%23b",
        "/a%3fb",
        // Windows drops these from the end of a name.
        "/admin.",
        "/admin%2e",
        "/admin./x",
        "/...",
        "/admin%20",
        "/admin%20/x",
        "/admin%20.%20",
        // Others in compatibility form: fullwidth letters, a letter in a circle, one with its accent apart, a blank that does not break.
        "/%EF%BD%81dmin",
        "/%E2%93%90dmin",
        "/e%CC%81",
        "/admin%C2%A0",
        // Invisible: ZERO WIDTH NON-JOINER, a byte order mark, ZERO WIDTH SPACE, a soft hyphen, WORD JOINER, a variation selector, a tag,
        // LINE SEPARATOR.
        "/ad%E2%80%8Cmin",
        "/admin%EF%BB%BF",
        "/admin%E2%80%8B",
        "/adm%C2%ADin",
        "/admin%E2%81%A0",
        "/admin%EF%B8%8F",
        "/admin%F3%A0%81%81",
        "/admin%E2%80%A8",
    ] {
        check(path, None);
    }
}

#[test]
fn a_route_is_whole_segments() {
    assert!(lies_in("/admin", "/admin") && lies_in("/admin/x", "/admin/") && lies_in("/x", "/"));
    assert!(!lies_in("/administrator", "/admin") && !lies_in("/adm", "/admin"));
}

#[test]
fn letters_that_are_one_in_another_case_are_one() {
    assert_eq!(folded("/ADMIN"), "/admin");
    assert_eq!(folded("/acce\u{17f}\u{17f}/\u{212a}ey"), "/access/key");
}

#[test]
fn a_host_is_a_name_without_port_case_or_the_last_dot() {
    for (shown, name) in [
        ("App.Example:8443", "app.example"),
        ("app.example.", "app.example"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
    ] {
        assert_eq!(host(shown), name);
    }
}
