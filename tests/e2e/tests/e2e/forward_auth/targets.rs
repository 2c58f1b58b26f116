//! Targets and preflights: without routes any target passes, and a preflight passes only where its route allows that.

use super::{ROLE, check_identity, nginx, send_admin, traefik};
use crate::harness::{Database, Installation, Request, Wire};

#[test]
fn without_routes_nothing_of_the_target_decides() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let held = server.log_in(Wire::Polish);
    for target in
        ["/s?q=zażółć", "/zażółć", "/a//../b.", "/%zz", "/a\tb", "*", "http://app.example/a"]
    {
        for shape in [nginx("GET", target), traefik("GET", target)] {
            check_identity(&send_admin(&server, &held.attach_to(shape.clone())), &held);
            assert_eq!(send_admin(&server, &shape).status, 401, "{target}");
        }
    }
}

#[test]
fn a_preflight_passes_where_its_route_says_so_and_nothing_else_does() {
    let configuration = format!(
        r#"
        [[forward_auth.routes]]
        path = "/closed"
        [[forward_auth.routes]]
        path = "/posts"
        methods = ["POST"]
        roles = ["{ROLE}"]
        preflight = true
        [[forward_auth.routes]]
        path = "/"
        preflight = true
        "#
    );
    let installation = Installation::with_config(Database::sqlite(), &configuration);
    let server = installation.start_with_user();
    let preflight = |method: &str, uri: &str| {
        nginx(method, uri)
            .header("Origin", "https://app.example")
            .header("Access-Control-Request-Method", "POST")
    };
    let envoy = |target: &str| {
        let mut headers = preflight("", "").headers;
        headers.retain(|(name, _)| !name.starts_with("X-Original"));
        Request { headers, ..Request::new("OPTIONS", target) }
    };
    for passing in [
        preflight("OPTIONS", "/a"),
        preflight("OPTIONS", "/posts/1"),
        envoy("/ext-authz/a"),
        envoy("/ext-authz/posts"),
    ] {
        let answer = send_admin(&server, &passing);
        assert_eq!(answer.status, 200, "{passing:?}: {}", answer.text());
        let told = |(name, _): &(String, String)| name.to_lowercase().starts_with("x-auth");
        assert!(!answer.headers.iter().any(told), "it is nobody's: {answer:?}");
    }
    let other = |request: Request, name: &str, value: Option<&str>| {
        let mut request = request;
        request.headers.retain(|(other, _)| other != name);
        value.into_iter().fold(request, |request, value| request.header(name, value))
    };
    let wanted = "Access-Control-Request-Method";
    for refused in [
        preflight("OPTIONS", "/closed"),
        envoy("/ext-authz/closed"),
        preflight("GET", "/a"),
        preflight("POST", "/posts"),
        preflight("HEAD", "/a"),
        other(preflight("OPTIONS", "/a"), "Origin", None),
        other(preflight("OPTIONS", "/a"), "Origin", Some("")),
        other(preflight("OPTIONS", "/a"), wanted, None),
        other(preflight("OPTIONS", "/a"), wanted, Some("P T")),
        preflight("OPTIONS", "/a").header(wanted, "GET"),
        preflight("OPTIONS", "/a").header("Origin", "https://b.example"),
    ] {
        assert_eq!(send_admin(&server, &refused).status, 401, "{refused:?}");
    }
    assert_eq!(send_admin(&server, &preflight("OPTIONS", "/closed/../a")).status, 400);
    // A preflight for another method falls to the last route.
    let get = other(preflight("OPTIONS", "/posts"), wanted, Some("GET"));
    assert_eq!(send_admin(&server, &get).status, 200);
}
