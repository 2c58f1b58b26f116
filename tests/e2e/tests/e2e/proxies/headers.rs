//! Headers of a client that must have no effect.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::program::Proxy;
use super::{CLIENT, ProxyFixture, headers_at_upstream, identity_headers};
use crate::harness::Request;

/// The headers that carry the dialects' credentials. The cookie is missing, since other programs share that header.
pub(super) const CREDENTIALS: [&str; 4] =
    ["authorization", "x-auth-bearer", "x-auth-token", "x-access-token"];

/// Headers by which some upstreams serve another path, method or address than those of the request.
pub(super) const REROUTING: [&str; 12] = [
    "x-original-url",
    "x-original-uri",
    "x-original-method",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-forwarded-uri",
    "x-forwarded-method",
    "x-forwarded-prefix",
    "forwarded",
    "x-real-ip",
];

/// Adds identity headers that the client made up.
pub(super) fn with_forged_identity(request: Request) -> Request {
    let names = ["User", "User-Id", "Roles", "Dialect", "Session", "Assertion"];
    names.into_iter().fold(request, |request, name| {
        request
            .header(&format!("X-Auth-{name}"), "root")
            .header(&format!("x-auth-{}", name.to_lowercase()), "root")
            .header(&format!("X_Auth_{}", name.replace('-', "_")), "root")
            .header(&format!("X-Auth_{}", name.replace('-', "_")), "root")
    })
}

/// Adds headers that make an upstream serve another path or believe in another host.
pub(super) fn with_rerouting_headers(request: Request) -> Request {
    let names = REROUTING.iter().chain(&["x-forwarded-host"]);
    names.fold(request, |request, name| {
        let spellings = [(*name).to_owned(), name.replace('-', "_"), name.replacen('-', "_", 1)];
        spellings.iter().fold(request, |request, name| request.header(name, "/admin"))
    })
}

/// Asserts that the upstream gets its own cookies, at any position of the session's cookie.
pub(super) fn check_cookies(fixture: &ProxyFixture) {
    let session = format!("session={}", fixture.held.secret);
    for (shown, passed) in [
        (format!("{session}; a=1"), vec!["a=1"]),
        (format!("a=1; {session}"), vec!["a=1"]),
        (format!("a=1; {session}; my_session=2|3"), vec!["a=1", "my_session=2|3"]),
        (format!("my-session=2|3;{session};b=\"x|y\""), vec!["my-session=2|3", "b=\"x|y\""]),
        // Equal copies count as one credential.
        (format!("{session}; {session}"), vec![]),
        (format!("{session};{session}; a=1"), vec!["a=1"]),
        (format!("{session}; a=1; {session}"), vec!["a=1"]),
        (format!("{session}; {session}; {session}"), vec![]),
        (format!("a=1; {session}; {session}; b=2; {session}; c=3"), vec!["a=1", "b=2", "c=3"]),
        ([&*session; 7].join("; "), vec![]),
        (session, vec![]),
    ] {
        let request = Request::post("/page").header("Cookie", &shown);
        fixture.check_passes(&request);
        let answer = fixture.send_from(CLIENT, &request);
        let lines = headers_at_upstream(&answer);
        let cookies = lines.iter().filter(|(name, _)| name == "cookie");
        let cookies = cookies.flat_map(|(_, value)| value.split(';')).map(str::trim);
        let cookies: Vec<_> = cookies.filter(|cookie| !cookie.is_empty()).collect();
        assert_eq!(cookies, passed, "{}", shown.replace(&fixture.held.secret, "..."));
    }
}

/// Asserts that a CORS preflight reaches the upstream where its route allows that, without an identity, and that no
/// other request does.
pub(super) fn check_preflight(fixture: &ProxyFixture) {
    let preflight = |method: &str, path: &str| {
        Request::new(method, path)
            .header("Origin", "https://app.example")
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "x-auth-bearer")
    };
    let answer = fixture.send_from(CLIENT, &with_forged_identity(preflight("OPTIONS", "/shared")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut identity = identity_headers(&answer);
    identity.retain(|(_, value)| !value.is_empty());
    assert_eq!(identity, [], "it is nobody's");
    for refused in [
        preflight("OPTIONS", "/page"),
        preflight("GET", "/shared"),
        Request::new("OPTIONS", "/shared").header("Origin", "https://app.example"),
        Request::new("OPTIONS", "/shared").header("Access-Control-Request-Method", "POST"),
    ] {
        fixture.check_refused(CLIENT, &refused, &[401]);
    }
}

/// Unusual request heads that a client may send.
pub(super) fn check_odd_heads(fixture: &ProxyFixture) {
    let page = fixture.held.attach_to(Request::get("/page"));
    // Headers that `Connection` names go no further than the next program.
    let by_hop = fixture.guarded_request("/page").header("Connection", "X-Auth-User, X-Auth-Roles");
    fixture.check_passes(&by_hop);
    let twice = by_hop.header("Connection", "X-Auth-Session, X-Forwarded-For");
    // Envoy refuses such a `Connection` header with 400.
    if fixture.proxy == Proxy::Envoy {
        fixture.check_refused(CLIENT, &twice, &[400]);
    } else {
        fixture.check_passes(&twice);
    }
    // The request names no host, so its route is unknown, and one route requires a role.
    let old = String::from_utf8(page.bytes(false)).unwrap();
    let old = old.replacen("HTTP/1.1", "HTTP/1.0", 1).replacen("Host:", "X-Was-Host:", 1);
    let before = fixture.upstream.request_count();
    let mut stream = TcpStream::connect(fixture.front.address).unwrap();
    stream.write_all(old.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    // Envoy does not speak HTTP/1.0.
    let status = if fixture.proxy == Proxy::Envoy { "426" } else { "400" };
    assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    assert_eq!(fixture.upstream.request_count(), before, "the upstream saw it");
    // More headers than parlance reads, and fewer than the proxy's limit.
    let many = (0..90).fold(page, |page, number| page.header(&format!("X-More-{number}"), "a"));
    let status = if fixture.proxy == Proxy::Envoy { 500 } else { 431 };
    let answer = fixture.check_refused(CLIENT, &many, &[status]);
    assert_eq!(answer.header("retry-after"), None);
    fixture.check_passes(&fixture.guarded_request("/page"));
}
