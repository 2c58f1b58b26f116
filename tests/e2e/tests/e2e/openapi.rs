//! The OpenAPI description of the admin listener, compared with the listener itself.

use std::process::Command;

use serde_json::Value;

use crate::harness::server::run_to_end;
use crate::harness::{Database, Installation, PASSWORD, USER, Wire, python};

/// Every page of the listener, so that no page is missing from the description.
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
fn the_openapi_description_holds_against_schemathesis() {
    let installation = Installation::with_config(
        Database::sqlite(),
        "assertion_issuer = \"https://parlance.test\"\n",
    );
    let server = installation.start_with_user();
    let _held = server.log_in_as(Wire::Axxon, USER, PASSWORD);
    let description = server.get_admin("/openapi.json");
    assert_eq!(description.header("content-type"), Some("application/json"));
    let description = description.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut paths: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
    paths.sort();
    assert_eq!(paths, PAGES);

    let made: Value =
        serde_json::from_str(&installation.run_ok(&["client", "add", "tester", "--json"])).unwrap();
    let member = |name: &str| made[name].as_str().unwrap();
    // Envoy's path takes any method, which a description cannot express. The check of undescribed methods is off
    // there.
    let envoys = ["--include-path", "/ext-authz/{path}", "--exclude-checks", "unsupported_method"];
    for scope in [&["--exclude-path", "/ext-authz/{path}"][..], &envoys] {
        let mut command = Command::new(python::schemathesis());
        command.args(["-m", "schemathesis.cli", "run"]);
        command.arg(format!("http://{}/openapi.json", server.admin)).args(scope);
        command.args(["--auth", &format!("{}:{}", member("client_id"), member("client_secret"))]);
        command.args(["--checks", "all", "--max-examples", "40", "--seed", "1", "--no-color"]);
        command.current_dir(installation.folder()).env("NO_PROXY", "*");
        let output = run_to_end(command, "");
        assert_eq!(output.code, 0, "{}\n{}\n{}", output.stdout, output.stderr, server.log.text());
    }
}
