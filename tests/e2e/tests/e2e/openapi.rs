//! The description of the admin listener, held against the listener itself.

use std::process::Command;

use serde_json::Value;

use crate::harness::server::run;
use crate::harness::{Database, PASSWORD, Site, USER, Wire, python};

/// Every page that the listener is known to have, so that none is described by being forgotten.
const PAGES: &[&str] = &[
    "/.well-known/jwks.json",
    "/ext-authz/{path}",
    "/forward-auth",
    "/forward-auth/{dialects}",
    "/healthz",
    "/introspect",
    "/metrics",
    "/openapi.json",
    "/readyz",
    "/revoke",
];

#[test]
fn what_the_description_promises_holds_for_whatever_schemathesis_sends() {
    let site = Site::with(Database::sqlite(), "assertion_issuer = \"https://parlance.test\"\n");
    let server = site.start_with_user();
    let _held = server.login(Wire::Axxon, USER, PASSWORD);
    let description = server.admin("/openapi.json");
    assert_eq!(description.header("content-type"), Some("application/json"));
    let description = description.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut paths: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
    paths.sort();
    assert_eq!(paths, PAGES);

    let made: Value =
        serde_json::from_str(&site.must(&["client", "add", "tester", "--json"])).unwrap();
    let member = |name: &str| made[name].as_str().unwrap();
    // Envoy asks with whatever method it is asked with, which no description can say: there the methods beside those described are let be.
    let envoys = ["--include-path", "/ext-authz/{path}", "--exclude-checks", "unsupported_method"];
    for scope in [&["--exclude-path", "/ext-authz/{path}"][..], &envoys] {
        let mut command = Command::new(python::schemathesis());
        command.args(["-m", "schemathesis.cli", "run"]);
        command.arg(format!("http://{}/openapi.json", server.admin)).args(scope);
        command.args(["--auth", &format!("{}:{}", member("client_id"), member("client_secret"))]);
        command.args(["--checks", "all", "--max-examples", "40", "--seed", "1", "--no-color"]);
        command.current_dir(site.folder()).env("NO_PROXY", "*");
        let output = run(command, "");
        assert_eq!(output.code, 0, "{}\n{}\n{}", output.stdout, output.stderr, server.log.text());
    }
}
