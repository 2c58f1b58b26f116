//! Claims about paths: the accepted spellings, and the paths below a parent.

use super::path::{decode_unambiguous, fold_case, is_within, normalize_host};

#[track_caller]
fn check(path: &str, read: Option<&str>) {
    assert_eq!(decode_unambiguous(path.as_bytes()).as_deref(), read, "{path}");
}

#[test]
fn an_unambiguous_path_is_decoded() {
    check("/", Some("/"));
    check("/admin/", Some("/admin/"));
    check("/%61dmin/a%20b", Some("/admin/a b"));
    check("/z%C3%BC.rich", Some("/zü.rich"));
    check("/.well-known/a.b", Some("/.well-known/a.b"));
    check("/%20a/..b", Some("/ a/..b"));
    check("/%E6%97%A5%E6%9C%AC", Some("/日本"));
}

#[test]
fn an_ambiguous_path_is_refused() {
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
        // Compatibility forms: fullwidth letters, a circled letter, a letter with a separate accent, a no-break space.
        "/%EF%BD%81dmin",
        "/%E2%93%90dmin",
        "/e%CC%81",
        "/admin%C2%A0",
        // Invisible: ZERO WIDTH NON-JOINER, a byte order mark, ZERO WIDTH SPACE, a soft hyphen, WORD JOINER, a
        // variation selector, a tag, LINE SEPARATOR.
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
fn a_route_matches_whole_path_segments() {
    assert!(
        is_within("/admin", "/admin") && is_within("/admin/x", "/admin/") && is_within("/x", "/")
    );
    assert!(!is_within("/administrator", "/admin") && !is_within("/adm", "/admin"));
}

#[test]
fn case_folding_merges_letters_that_differ_in_case_only() {
    assert_eq!(fold_case("/ADMIN"), "/admin");
    assert_eq!(fold_case("/acce\u{17f}\u{17f}/\u{212a}ey"), "/access/key");
}

#[test]
fn a_host_is_normalized_without_port_case_or_final_dot() {
    for (shown, name) in [
        ("App.Example:8443", "app.example"),
        ("app.example.", "app.example"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
    ] {
        assert_eq!(normalize_host(shown), name);
    }
}
