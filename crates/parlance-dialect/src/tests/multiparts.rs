//! Forms as `multipart/form-data`.

use proptest::prelude::*;

use crate::{Fields, Multipart};

const CONTENT_TYPE: &str = "multipart/form-data; boundary=b";

/// A part with this header line and this content.
fn part(head: &str, value: &str) -> String {
    format!("--b\r\n{head}\r\n\r\n{value}\r\n")
}

fn field(name: &str, value: &str) -> String {
    part(&format!("Content-Disposition: form-data; name=\"{name}\""), value)
}

fn multipart_body(parts: &[String]) -> String {
    parts.concat() + "--b--\r\n"
}

/// Asserts the fields of a body, urlencoded, or the refusal of the body.
#[track_caller]
fn check(content_type: &str, body: impl AsRef<[u8]>, expected: Option<&str>) {
    let body = body.as_ref();
    let got = Multipart::parse(content_type, body).map(|form| form.urlencoded());
    assert_eq!(got.as_deref(), expected.map(str::as_bytes), "{}", body.escape_ascii());
}

#[test]
fn the_parts_are_the_fields_in_their_order() {
    let two = multipart_body(&[field("a", "1"), field("b", "2 & =%\r\n--c")]);
    check(CONTENT_TYPE, &two, Some("a=1&b=2%20%26%20%3D%25%0D%0A%2D%2Dc"));
    check(CONTENT_TYPE, format!("\r\n{two}"), Some("a=1&b=2%20%26%20%3D%25%0D%0A%2D%2Dc"));
    check(CONTENT_TYPE, two.trim_end(), Some("a=1&b=2%20%26%20%3D%25%0D%0A%2D%2Dc"));
    check(CONTENT_TYPE, multipart_body(&[field("a", ""), field("", "x")]), Some("a=&=x"));
    check(CONTENT_TYPE, multipart_body(&[field("a", "1"), field("a", "2")]), Some("a=1&a=2"));
    check(CONTENT_TYPE, multipart_body(&[]), Some(""));
    check(CONTENT_TYPE, "", Some(""));
    let bytes = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\xff\0\r\n--b--";
    check(CONTENT_TYPE, bytes, Some("a=%FF%00"));
}

#[test]
fn a_part_may_say_more_about_itself() {
    for head in [
        "content-disposition:form-data;name=a",
        "Content-Disposition: Form-Data ; Name=\"a\" ; x=y",
        "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=\"a\"",
        "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: 8bit",
        "Content-Disposition: form-data; name=\"a\"\r\nContent-Length: 1",
    ] {
        check(CONTENT_TYPE, multipart_body(&[part(head, "1")]), Some("a=1"));
    }
}

#[test]
fn files_are_no_fields() {
    for name in ["filename=\"x;y=z.png\"", "filename=x", "filename*=UTF-8''x", "filename=\"C:\\x\""]
    {
        let head = format!("Content-Disposition: form-data; name=\"a\"; {name}");
        let body = multipart_body(&[part(&head, "PNG"), field("b", "2")]);
        check(CONTENT_TYPE, &body, Some("b=2"));
        let form = Multipart::parse(CONTENT_TYPE, body.as_bytes()).unwrap();
        let parts: Vec<_> = form.parts().map(|part| (part.name.as_str(), part.is_file)).collect();
        assert_eq!(parts, [("a", true), ("b", false)]);
    }
}

#[test]
fn ambiguous_multipart_bodies_are_refused() {
    let good = multipart_body(&[field("a", "1")]);
    for body in [
        // Framing.
        format!("preamble\r\n{good}"),
        format!("{good}epilogue"),
        format!("{good}{good}"),
        good.replace("\r\n", "\n"),
        good.replace("--b--", "--b"),
        good.replace("--b--", "--c--"),
        good.replace("--b--", "--bb--"),
        good.replacen("--b\r\n", "--b \r\n", 1),
        good.replace("\r\n\r\n", "\r\n"),
        "--b".to_owned(),
        "--b\r\n".to_owned(),
        "--b-".to_owned(),
        field("a", "1\r\n--b x"),
        "a=1".to_owned(),
        // Header lines.
        multipart_body(&[part("Content-Disposition: form-data", "1")]),
        multipart_body(&[part("Content-Disposition: attachment; name=a", "1")]),
        multipart_body(&[part("Content-Type: text/plain", "1")]),
        multipart_body(&[part("Content-Disposition: form-data; name=a; name=b", "1")]),
        multipart_body(&[part("Content-Disposition: form-data; name=a; NAME=a", "1")]),
        multipart_body(&[part("Content-Disposition: form-data; name=a; name*=UTF-8''b", "1")]),
        multipart_body(&[part("Content-Disposition: form-data; name=\"a\\\"; name=\"b\"", "1")]),
        multipart_body(&[part("Content-Disposition: form-data; name=\"a\\b\"", "1")]),
        multipart_body(&[part("Content-Disposition: form-data; name=\"a", "1")]),
        multipart_body(&[part("Content-Disposition: form-data; name=\"a\"x", "1")]),
        multipart_body(&[part("Content-Disposition: form-data; name=a\"b", "1")]),
        multipart_body(&[part("Content-Disposition: form-data; name=", "1")]),
        multipart_body(&[part("Content-Disposition: form-data; name", "1")]),
        multipart_body(&[part(
            "Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b",
            "1",
        )]),
        multipart_body(&[part("Content-Disposition: form-data;\r\n name=a", "1")]),
        multipart_body(&[part("Content-Disposition : form-data; name=a", "1")]),
        multipart_body(&[part("Content-Disposition: form-data; name=\"a\nb\"", "1")]),
        multipart_body(&[part(
            "Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64",
            "1",
        )]),
        multipart_body(&[part("Content-Disposition: form-data; name=a\r\nno colon", "1")]),
        multipart_body(&[field(&"a".repeat(1024), "1")]),
        multipart_body(&vec![field("a", "1"); 101]),
    ] {
        check(CONTENT_TYPE, body, None);
    }
    let most =
        Multipart::parse(CONTENT_TYPE, multipart_body(&vec![field("a", "1"); 100]).as_bytes())
            .map(|form| form.parts().count());
    assert_eq!(most, Some(100));
}

#[test]
fn the_boundary_is_named_once_and_within_its_letters() {
    let long = "b".repeat(70);
    for (content_type, boundary, good) in [
        ("multipart/form-data; boundary=b", "b", true),
        ("Multipart/Form-Data;boundary=\"b\"; charset=utf-8", "b", true),
        ("multipart/form-data; boundary=\"a b:(c)\"", "a b:(c)", true),
        (
            "multipart/form-data; boundary=----WebKitFormBoundaryAbC0",
            "----WebKitFormBoundaryAbC0",
            true,
        ),
        (&format!("multipart/form-data; boundary={long}"), &long, true),
        (&format!("multipart/form-data; boundary={long}b"), &format!("{long}b"), false),
        ("multipart/form-data; boundary=b; boundary=b", "b", false),
        ("multipart/form-data; boundary=\"b \"", "b ", false),
        ("multipart/form-data; boundary=\"\"", "", false),
        ("multipart/form-data; boundary=b@", "b@", false),
        ("multipart/form-data; boundary=\"b", "b", false),
        ("multipart/form-data", "b", false),
        ("multipart/mixed; boundary=b", "b", false),
        ("", "b", false),
    ] {
        let body = multipart_body(&[field("a", "1")]).replace("--b", &format!("--{boundary}"));
        check(content_type, body, good.then_some("a=1"));
    }
}

#[test]
fn debug_shows_no_field_of_a_form() {
    let body = multipart_body(&[field("secretname", "secretvalue")]);
    let form = Multipart::parse(CONTENT_TYPE, body.as_bytes()).unwrap();
    let shown = format!("{form:?} {:?}", form.parts().next());
    assert_eq!(shown, "Multipart(1) Some(Part { is_file: false, .. })");
}

proptest! {
    #[test]
    fn written_fields_are_read_back(
        fields in prop::collection::vec(("[a-z ;=]{0,8}", "[ -~é]{0,20}"), 0..8),
    ) {
        let body = multipart_body(&fields.iter().map(|(name, value)| field(name, value)).collect::<Vec<_>>());
        let form = Multipart::parse(CONTENT_TYPE, body.as_bytes()).unwrap();
        let parts: Vec<_> = form
            .parts()
            .map(|part| (part.name.clone(), String::from_utf8(part.value.to_vec()).unwrap()))
            .collect();
        prop_assert_eq!(parts, fields);
    }

    #[test]
    fn no_bytes_make_it_panic(body: Vec<u8>, content_type: String) {
        let _ = Multipart::parse(&content_type, &body);
        for start in [&b"--b"[..], b"--b\r\n", b"--b\r\nContent-Disposition: form-data; name=", b"--b\r\nContent-Disposition:"] {
            if let Some(form) = Multipart::parse(CONTENT_TYPE, &[start, &body, b"\r\n\r\nx\r\n--b--"].concat()) {
                let _ = Fields::parse(&form.urlencoded());
            }
        }
    }
}
