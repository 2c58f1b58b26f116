//! Where settings come from, and how wrong ones are refused.

use serde_json::{Value, json};

use crate::harness::server::run;
use crate::harness::{Database, Output, PASSWORD, Site, USER, Wire};
use crate::operator::seconds;

/// Runs the program without this site's own flags.
fn bare(site: &Site, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = site.bare_command(arguments);
    command.envs(variables.iter().copied());
    run(command, "")
}

#[test]
fn an_unknown_key_is_an_error_that_names_file_line_and_nearest_key() {
    let site = Site::new(Database::sqlite());
    let cases = [
        ("listen = \"127.0.0.1:0\"\nlissten = 1\n", 2, "lissten", "nearest known key is listen"),
        (
            "[dialects.cluster-api]\nlife_time = \"10m\"\n",
            2,
            "life_time",
            "nearest known key is dialects.cluster-api.lifetime",
        ),
        ("[dialects.cluster]\nlifetime = \"10m\"\n", 1, "cluster", "cluster-api"),
        ("\n\n[passwords]\nmemory_kib = 8\n", 3, "passwords", "nearest known key is password."),
        ("[password]\niterations = \"many\"\n", 2, "iterations", "whole number"),
        ("listen = \n", 1, "", ""),
    ];
    for (text, line, key, near) in cases {
        let file = site.folder().join("broken.toml");
        std::fs::write(&file, text).unwrap();
        let place = format!("{}:{line}:", file.display());
        for command in
            [&["config", "check"][..], &["serve", "--listen", "127.0.0.1:0"], &["user", "list"]]
        {
            let output =
                bare(&site, &[command, &["--config", file.to_str().unwrap()]].concat(), &[]);
            assert_eq!(output.code, 2, "{text:?}: {output:?}");
            assert!(output.stderr.contains(&place), "{text:?}: {output:?}");
            assert!(
                output.stderr.contains(key) && output.stderr.contains(near),
                "{text:?}: {output:?}"
            );
        }
    }
    let missing = bare(&site, &["config", "check", "--config", "nowhere.toml"], &[]);
    assert!(missing.code == 2 && missing.stderr.contains("nowhere.toml"), "{missing:?}");
}

#[test]
fn an_unknown_variable_is_only_a_warning() {
    let site = Site::new(Database::sqlite());
    let variables = [("PARLANCE_SERVICE_HOST", "10.0.0.1"), ("PARLANCE_PORT", "tcp://10.0.0.1:80")];
    let checked = bare(&site, &["config", "check"], &variables);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(variables.iter().all(|(name, _)| checked.stderr.contains(name)), "{checked:?}");
    let server = site.start_with(&variables);
    assert!(
        variables
            .iter()
            .all(|(name, _)| server.log.line_with(name).is_some_and(|line| line.contains("WARN")))
    );
}

#[test]
fn a_variable_overrides_the_file_and_a_flag_overrides_the_variable() {
    let site = Site::with(
        Database::sqlite(),
        "[dialects.polish-longtoken]\nlifetime = \"2h\"\nenabled = true\n",
    );
    let server = site.start_with(&[
        ("PARLANCE_DIALECTS__POLISH_LONGTOKEN__LIFETIME", "30m"),
        ("PARLANCE_DIALECTS__CLUSTER_API__PREFIX", "/legacy"),
        ("PARLANCE_DIALECTS__AXXON_JSONRPC__ENABLED", "false"),
        ("PARLANCE_DATABASE", "sqlite:/nonexistent/folder/parlance.db"),
    ]);
    site.add_user(USER, PASSWORD);
    server.log_in(Wire::Polish);
    let session = &site.sessions()[0];
    assert_eq!(
        seconds(session["expires"].as_str().unwrap())
            - seconds(session["created"].as_str().unwrap()),
        30 * 60
    );
    let mut moved = Wire::Cluster.login(USER, PASSWORD);
    assert_eq!(server.send(&moved).status, 404);
    moved.target = format!("/legacy{}", moved.target);
    assert!(Wire::Cluster.opened(USER, &server.send(&moved)).is_ok());
    assert_eq!(
        server.send(&Wire::Axxon.login(USER, PASSWORD)).status,
        404,
        "a disabled dialect is not there"
    );
    let wrong = bare(&site, &["config", "check"], &[("PARLANCE_LISTEN", "nowhere")]);
    assert!(wrong.code == 2 && wrong.stderr.contains("PARLANCE_LISTEN"), "{wrong:?}");
}

#[test]
fn dialects_and_schema_are_printed_as_json() {
    let site = Site::with(
        Database::sqlite(),
        "[dialects.cluster-api]\nenabled = false\n[dialects.1010-cookie]\nprefix = \"/legacy\"\n",
    );
    let listed: Vec<Value> =
        serde_json::from_str(&site.must(&["dialect", "list", "--json"])).unwrap();
    let names: Vec<_> = listed.iter().map(|dialect| dialect["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["1010-cookie", "axxon-jsonrpc", "cluster-api", "flask-usertoken", "polish-longtoken"]
    );
    for dialect in &listed {
        assert_eq!(dialect["enabled"], json!(dialect["name"] != "cluster-api"), "{dialect}");
        let mounted = dialect["paths"]
            .as_array()
            .unwrap()
            .iter()
            .all(|path| path.as_str().unwrap().starts_with("/legacy"));
        assert_eq!(mounted, dialect["name"] == "1010-cookie", "{dialect}");
    }
    let schema: Value = serde_json::from_str(&site.must(&["config", "schema"])).unwrap();
    assert!(
        schema["properties"]["dialects"]["properties"]["cluster-api"]["properties"]["lifetime"]
            .is_object(),
        "{schema}"
    );
    let key_that_signs = schema["properties"]["key_file"].is_object();
    assert!(key_that_signs, "{schema}");
}
