//! Forward auth: the admin listener's answers to a proxy, request by request. `proxies` tests the proxies themselves.

mod targets;

use serde_json::json;

use crate::harness::cluster::Cluster;
use crate::harness::python::script;
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Request, Response, Server, USER, Wire, http,
};

const ROLE: &str = "9745b902-2a36-4035-bdd6-012e0dae66c0";

#[track_caller]
fn send_admin(server: &Server, request: &Request) -> Response {
    http::send(server.admin, request)
}

/// The request of nginx's recipe for this client request.
fn nginx(method: &str, uri: &str) -> Request {
    Request::get("/forward-auth").header("X-Original-Method", method).header("X-Original-URI", uri)
}

/// The request of Traefik: the client's headers and these.
fn traefik(method: &str, uri: &str) -> Request {
    Request::get("/forward-auth")
        .header("X-Forwarded-For", "127.0.0.1")
        .header("X-Forwarded-Host", "app.example")
        .header("X-Forwarded-Method", method)
        .header("X-Forwarded-Port", "443")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Server", "edge")
        .header("X-Forwarded-Uri", uri)
        .header("X-Real-Ip", "127.0.0.1")
        .header("Accept-Encoding", "gzip")
}

fn with_target(target: &str, request: Request) -> Request {
    Request { target: target.to_owned(), ..request }
}

/// The wires that carry the credential in a header.
const IN_HEADERS: [Wire; 4] = [Wire::Polish, Wire::Flask, Wire::Cookie, Wire::Axxon];

#[track_caller]
fn check_identity(answer: &Response, held: &HeldSession) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-auth-user"), Some(USER));
    assert_eq!(answer.header("x-auth-dialect"), Some(held.wire.name()));
    assert_eq!(answer.header("x-auth-roles"), Some(""));
    for name in ["x-auth-user-id", "x-auth-session"] {
        assert_eq!(answer.header(name).map(str::len), Some(36), "{name}");
    }
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.body.is_empty());
}

#[test]
fn the_auth_requests_of_every_proxy_are_understood() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    for wire in IN_HEADERS {
        let held = server.log_in(wire);
        for shape in [nginx("GET", "/a?b=c"), traefik("DELETE", "/a?b=c")] {
            check_identity(&send_admin(&server, &held.attach_to(shape.clone())), &held);
            for method in ["HEAD", "POST"] {
                let shape = Request { method: method.to_owned(), ..shape.clone() };
                check_identity(&send_admin(&server, &held.attach_to(shape)), &held);
            }
        }
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PROPFIND"] {
            let shape = Request::new(method, "/ext-authz/a?b=c");
            check_identity(&send_admin(&server, &held.attach_to(shape)), &held);
        }
    }
}

#[test]
fn a_body_is_read_only_if_the_proxy_passes_it_whole() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let held = server.log_in(Wire::Cluster);
    let shown = held.attach_to(Request::post("/ext-authz/a"));
    check_identity(&send_admin(&server, &shown), &held);
    let cut = shown.clone().header("X-Envoy-Auth-Partial-Body", "true");
    assert_eq!(send_admin(&server, &cut).status, 401, "what was cut off may hold a second token");
    let filler = format!("x={}&", "y".repeat(16 * 1024));
    let long = Request { body: [filler.as_bytes(), &shown.body].concat(), ..shown.clone() };
    assert_eq!(send_admin(&server, &long).status, 413);
    let only = with_target("/forward-auth/cluster-api", held.attach_to(nginx("POST", "/a")));
    check_identity(&send_admin(&server, &Request { method: "POST".to_owned(), ..only }), &held);
}

#[test]
fn the_original_request_must_be_stated_exactly_once() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let held = server.log_in(Wire::Flask);
    let bare = || Request::get("/forward-auth");
    for request in [
        bare(),
        bare().header("X-Original-URI", "/a"),
        bare().header("X-Forwarded-Method", "GET"),
        bare().header("X-Original-Method", "GET").header("X-Forwarded-Uri", "/a"),
        nginx("GET", "/a").header("X-Original-URI", "/b"),
        nginx("GET", "/a").header("X-Forwarded-Uri", "/b"),
        traefik("GET", "/a").header("X-Original-Method", "GET"),
        traefik("GET", "/a").header("X-Forwarded-Method", "GET"),
        nginx("GET", ""),
        nginx("G T", "/a"),
        nginx("", "/a"),
    ] {
        let answer = send_admin(&server, &held.attach_to(request.clone()));
        assert_eq!(answer.status, 400, "{request:?}");
        assert!(!answer.text().contains(&held.secret));
    }
    for method in ["PUT", "DELETE", "OPTIONS"] {
        let answer =
            send_admin(&server, &Request { method: method.to_owned(), ..nginx("GET", "/a") });
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, POST")));
    }
}

#[test]
fn the_path_names_the_dialects_that_are_let_pass() {
    let installation =
        Installation::with_config(Database::sqlite(), "[dialects.1010-cookie]\nenabled = false\n");
    let server = installation.start_with_user();
    let held = server.log_in(Wire::Flask);
    let status = |names: &str| {
        let target = format!("/forward-auth/{names}");
        send_admin(&server, &with_target(&target, held.attach_to(nginx("GET", "/a")))).status
    };
    assert_eq!(status("flask-usertoken"), 200);
    assert_eq!(status("polish-longtoken,flask-usertoken"), 200);
    assert_eq!(status("polish-longtoken"), 401);
    for unknown in
        ["1010-cookie", "flask", "flask-usertoken,", "flask-usertoken/x", "FLASK-USERTOKEN"]
    {
        assert_eq!(status(unknown), 404, "{unknown}");
    }
}

#[test]
fn a_refusal_has_the_dialects_own_form_and_is_never_a_success() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    for wire in Wire::ALL {
        let dead = server.log_in(wire);
        server.log_out(&dead);
        let target = format!("/forward-auth/{}", wire.name());
        let nobody = send_admin(&server, &with_target(&target, nginx("GET", "/a")));
        let shape = Request { method: "POST".to_owned(), ..nginx("POST", "/a") };
        let gone = send_admin(&server, &with_target(&target, dead.attach_to(shape)));
        for answer in [nobody, gone] {
            assert_eq!(answer.status, 401, "{}", wire.name());
            let words = [
                answer.text_at("/error"),
                answer.text_at("/message"),
                answer.text_at("/error_code"),
            ];
            assert!(words.iter().any(|words| !words.is_empty()), "{}", answer.text());
            assert!(answer.header("x-auth-user").is_none());
        }
    }
    let challenge =
        send_admin(&server, &with_target("/forward-auth/flask-usertoken", nginx("GET", "/a")));
    assert!(challenge.header("www-authenticate").is_some());
}

#[test]
fn the_first_route_that_matches_decides() {
    let configuration = format!(
        r#"
        [[forward_auth.routes]]
        path = "/admin"
        roles = ["{ROLE}"]
        [[forward_auth.routes]]
        path = "/legacy/"
        dialects = ["polish-longtoken", "flask-usertoken"]
        methods = ["GET", "HEAD"]
        [[forward_auth.routes]]
        path = "/"
        host = "app.example"
        dialects = ["axxon-jsonrpc"]
        "#
    );
    let installation = Installation::with_config(Database::sqlite(), &configuration);
    let server = installation.start_with_user();
    for (name, flags) in [
        ("admin", &["--role", ROLE][..]),
        ("root", &["--unrestricted"]),
        ("other", &["--role", "6f0c2f4e-2d6a-4b57-9a8e-0d7c5b1f3a21"]),
    ] {
        let words = [&["user", "add", name, "--password-stdin"], flags].concat();
        assert_eq!(installation.run_command_with_input(&words, PASSWORD).code, 0);
    }
    let check = |wire: Wire, user: &str, request: Request, status: u16| {
        let held = server.log_in_as(wire, user, PASSWORD);
        let answer = send_admin(&server, &held.attach_to(request.clone()));
        assert_eq!(answer.status, status, "{} {user} {request:?}: {}", wire.name(), answer.text());
        answer
    };
    let answer = check(Wire::Cookie, "admin", nginx("PUT", "/admin/x?y"), 200);
    assert_eq!(answer.header("x-auth-roles"), Some(ROLE));
    check(Wire::Cookie, "root", nginx("GET", "/admin"), 200);
    check(Wire::Cookie, "other", nginx("GET", "/admin"), 403);
    check(Wire::Cookie, USER, nginx("GET", "/admin"), 403);
    check(Wire::Flask, USER, nginx("GET", "/legacy/a"), 200);
    check(Wire::Cookie, USER, nginx("GET", "/legacy/a"), 401);
    check(Wire::Flask, USER, nginx("POST", "/legacy/a"), 403);
    check(Wire::Axxon, USER, traefik("GET", "/"), 200);
    check(Wire::Flask, USER, traefik("GET", "/"), 401);
    check(Wire::Axxon, USER, nginx("GET", "/x"), 403);
    check(Wire::Axxon, USER, nginx("GET", "/x").header("X-Forwarded-Host", "App.Example:443"), 200);
    check(
        Wire::Axxon,
        USER,
        with_target("/forward-auth/flask-usertoken", traefik("GET", "/")),
        403,
    );
    for path in [
        "/Admin",
        "/x/../admin",
        "//admin",
        "/%2fadmin",
        "/%2561dmin",
        "/admin;x",
        "/a%zz",
        "/%61dmin%2f",
        "/admin.",
        "/admin%2E",
        "/admin%20/x",
        "/%EF%BD%81dmin",
        "/ad%E2%80%8Cmin",
        "/admi\u{144}",
    ] {
        check(Wire::Axxon, USER, traefik("GET", path), 400);
    }
    for target in ["/x?q=zażółć", "/x?q=a b|c&r=%zz", "/x?/../admin"] {
        check(Wire::Axxon, USER, traefik("GET", target), 200);
    }
    check(Wire::Axxon, USER, traefik("GET", "/%61dmin"), 403);
    check(Wire::Axxon, USER, traefik("GET", "/administrator?/../admin"), 200);
    let nobody = send_admin(&server, &traefik("GET", "/admin"));
    assert_eq!(nobody.status, 401, "who he is comes before what he may");
}

#[test]
fn headers_are_named_by_configuration_and_carry_any_name() {
    let names = "[forward_auth.headers]\nuser = \"Remote-User\"\nsession = \"X-Session\"\n";
    let installation = Installation::with_config(Database::sqlite(), names);
    let server = installation.start();
    installation.add_user("Zoë 100% Ångström", PASSWORD);
    let held = server.log_in_as(Wire::Polish, "Zoë 100% Ångström", PASSWORD);
    let answer = send_admin(&server, &held.attach_to(nginx("GET", "/a")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.header("remote-user"),
        Some("Zo%C3%AB%20100%25%20%C3%85ngstr%C3%B6m"),
        "{:?}",
        answer.headers
    );
    let session = &installation.sessions()[0]["id"];
    assert_eq!(json!(answer.header("x-session")), *session);
    assert!(answer.header("x-auth-user").is_none() && answer.header("x-auth-roles").is_some());
}

#[test]
fn a_forwarded_address_is_believed_from_a_trusted_proxy_only() {
    let status = |configuration: &str, forwarded: &str| {
        let installation = Installation::with_config(Database::sqlite(), configuration);
        let server = installation.start_with_user();
        let held = server.log_in(Wire::Cluster);
        let shown =
            held.attach_to(Request::post("/ext-authz/a").header("X-Forwarded-For", forwarded));
        send_admin(&server, &shown).status
    };
    let listed = "trusted_proxies = [\"127.0.0.1\"]\n";
    assert_eq!(status(listed, "192.0.2.9"), 401, "the token is bound to 127.0.0.1");
    assert_eq!(status(listed, "127.0.0.1, 192.0.2.9"), 401);
    assert_eq!(status(listed, "192.0.2.9, nonsense"), 200);
    assert_eq!(status("", "192.0.2.9"), 200, "nobody is a proxy unless he is listed");
}

#[test]
fn a_check_counts_as_one_of_its_dialect() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let held = server.log_in(Wire::Flask);
    let before = server.metric("parlance_checks_total{dialect=\"flask-usertoken\"}");
    check_identity(&send_admin(&server, &held.attach_to(nginx("GET", "/a"))), &held);
    let after = server.metric("parlance_checks_total{dialect=\"flask-usertoken\"}");
    assert_eq!(after, before + 1);
}

#[test]
fn forward_auth_answers_503_with_retry_after_without_the_database() {
    let cluster = Cluster::start();
    let installation = Installation::new(Database::External(cluster.url()));
    let server = installation.start_with_user();
    let held = IN_HEADERS.map(|wire| server.log_in(wire));
    cluster.stop();
    for held in &held {
        let answer = send_admin(&server, &held.attach_to(nginx("GET", "/a")));
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    }
    cluster.start_again();
}

#[test]
fn an_identity_assertion_names_the_user_to_its_audience_only() {
    const ISSUER: &str = "https://login.example";
    let configuration = format!(
        "assertion_issuer = \"{ISSUER}\"\n[forward_auth]\naudience = \"app\"\n\
         [[forward_auth.routes]]\npath = \"/billing\"\naudience = \"billing\"\n[[forward_auth.routes]]\npath = \"/\"\n"
    );
    let installation = Installation::with_config(Database::sqlite(), &configuration);
    let server = installation.start_with_user();
    for wire in IN_HEADERS {
        let held = server.log_in(wire);
        for (path, audience) in [("/", "app"), ("/billing/1", "billing")] {
            let answer = send_admin(&server, &held.attach_to(nginx("GET", path)));
            let header = |name| answer.header(name).unwrap();
            let admin = format!("http://{}", server.admin);
            let arguments = [&admin, ISSUER, audience, header("x-auth-assertion")];
            let said = script(installation.folder(), "assertion.py", &arguments).output().unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            let claims: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
            assert_eq!(claims["sub"], header("x-auth-user-id"));
            assert_eq!(claims["sid"], header("x-auth-session"));
            assert_eq!((&claims["name"], &claims["dialect"]), (&json!(USER), &json!(wire.name())));
            let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
            assert!((1..=60).contains(&life), "{life}");
        }
        // An identity assertion is no credential.
        let assertion = send_admin(&server, &held.attach_to(nginx("GET", "/")));
        let bearer = format!("Bearer {}", assertion.header("x-auth-assertion").unwrap());
        let shown = nginx("GET", "/").header("Authorization", &bearer);
        assert_eq!(send_admin(&server, &shown).status, 401);
    }
}

#[test]
fn an_audience_without_an_issuer_is_a_configuration_error() {
    let installation =
        Installation::with_config(Database::sqlite(), "[forward_auth]\naudience = \"app\"\n");
    let refused = installation.run_command(&["config", "check"]);
    let line = "forward_auth.audience asks for identity assertions: set assertion_issuer";
    assert_eq!((refused.code, refused.stderr.contains(line)), (2, true), "{refused:?}");
}

#[test]
fn another_spelling_of_a_method_or_host_does_not_bypass_a_route() {
    let configuration = format!(
        "[[forward_auth.routes]]\npath = \"/p\"\nmethods = [\"POST\"]\nroles = [\"{ROLE}\"]\n\
         [[forward_auth.routes]]\npath = \"/\"\nhost = \"admin.example\"\nroles = [\"{ROLE}\"]\n\
         [[forward_auth.routes]]\npath = \"/\"\n"
    );
    let installation = Installation::with_config(Database::sqlite(), &configuration);
    let server = installation.start_with_user();
    let held = server.log_in(Wire::Polish);
    let status = |method: &str, uri: &str, hosts: &[&str]| {
        let shape = Request::get("/forward-auth")
            .header("X-Forwarded-Method", method)
            .header("X-Forwarded-Uri", uri);
        let named = |shape: Request, host: &&str| shape.header("X-Forwarded-Host", *host);
        send_admin(&server, &held.attach_to(hosts.iter().fold(shape, named))).status
    };
    assert_eq!(status("GET", "/p", &["app.example"]), 200);
    assert_eq!(status("POST", "/p", &["app.example"]), 403);
    for method in ["post", "Post", "pOST", "get"] {
        assert_eq!(status(method, "/p", &["app.example"]), 400, "{method}");
    }
    for host in ["admin.example", "ADMIN.example:443", "admin.example."] {
        assert_eq!(status("GET", "/", &[host]), 403, "{host}");
    }
    let disguised: [&[&str]; 6] = [
        &["admin.example", "x"],
        &["x, admin.example"],
        &[""],
        &["u@admin.example"],
        &["admin.example.."],
        &["adm%69n.example"],
    ];
    for hosts in disguised {
        assert_eq!(status("GET", "/", hosts), 400, "{hosts:?}");
    }
}

#[test]
fn a_route_or_header_that_cannot_work_is_a_configuration_error() {
    for (configuration, says) in [
        (
            "[dialects.cluster-api]\nenabled = false\n[[forward_auth.routes]]\npath = \"/\"\ndialects = [\"cluster-api\"]\n",
            "names cluster-api, which dialects.cluster-api.enabled disables",
        ),
        ("[forward_auth.headers]\nuser = \"X-Auth-Token\"\n", "is not the name of a header"),
        ("[forward_auth.headers]\nuser = \"X-Forwarded-For\"\n", "is not the name of a header"),
    ] {
        let refused = Installation::with_config(Database::sqlite(), configuration)
            .run_command(&["config", "check"]);
        assert_eq!((refused.code, refused.stderr.contains(says)), (2, true), "{refused:?}");
    }
}
