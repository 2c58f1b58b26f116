//! Sources of settings, and refusals of wrong ones.

use serde_json::{Value, json};

use crate::harness::server::run_to_end;
use crate::harness::{Database, Installation, Output, PASSWORD, USER, Wire};
use crate::operator::seconds;

/// Runs the program without this installation's own flags.
fn run_bare(installation: &Installation, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = installation.bare_command(arguments);
    command.envs(variables.iter().copied());
    run_to_end(command, "")
}

#[test]
fn an_unknown_key_is_an_error_that_names_file_line_and_nearest_key() {
    let installation = Installation::new(Database::sqlite());
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
        let file = installation.folder().join("broken.toml");
        std::fs::write(&file, text).unwrap();
        let place = format!("{}:{line}:", file.display());
        for command in
            [&["config", "check"][..], &["serve", "--listen", "127.0.0.1:0"], &["user", "list"]]
        {
            let output = run_bare(
                &installation,
                &[command, &["--config", file.to_str().unwrap()]].concat(),
                &[],
            );
            assert_eq!(output.code, 2, "{text:?}: {output:?}");
            assert!(output.stderr.contains(&place), "{text:?}: {output:?}");
            assert!(
                output.stderr.contains(key) && output.stderr.contains(near),
                "{text:?}: {output:?}"
            );
        }
    }
    let missing = run_bare(&installation, &["config", "check", "--config", "nowhere.toml"], &[]);
    assert!(missing.code == 2 && missing.stderr.contains("nowhere.toml"), "{missing:?}");
}

#[test]
fn an_unknown_variable_is_only_a_warning() {
    let installation = Installation::new(Database::sqlite());
    let variables = [("PARLANCE_SERVICE_HOST", "10.0.0.1"), ("PARLANCE_PORT", "tcp://10.0.0.1:80")];
    let checked = run_bare(&installation, &["config", "check"], &variables);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(variables.iter().all(|(name, _)| checked.stderr.contains(name)), "{checked:?}");
    let server = installation.start_with(&variables);
    assert!(
        variables.iter().all(|(name, _)| server
            .log
            .wait_for_line(name)
            .is_some_and(|line| line.contains("WARN")))
    );
}

#[test]
fn a_variable_overrides_the_file_and_a_flag_overrides_the_variable() {
    let installation = Installation::with_config(
        Database::sqlite(),
        "[dialects.polish-longtoken]\nlifetime = \"2h\"\nenabled = true\n",
    );
    let server = installation.start_with(&[
        ("PARLANCE_DIALECTS__POLISH_LONGTOKEN__LIFETIME", "30m"),
        ("PARLANCE_DIALECTS__CLUSTER_API__PREFIX", "/legacy"),
        ("PARLANCE_DIALECTS__AXXON_JSONRPC__ENABLED", "false"),
        ("PARLANCE_DATABASE", "sqlite:/nonexistent/folder/parlance.db"),
    ]);
    installation.add_user(USER, PASSWORD);
    server.log_in(Wire::Polish);
    let session = &installation.sessions()[0];
    assert_eq!(
        seconds(session["expires"].as_str().unwrap())
            - seconds(session["created"].as_str().unwrap()),
        30 * 60
    );
    let mut moved = Wire::Cluster.login_request(USER, PASSWORD);
    assert_eq!(server.send(&moved).status, 404);
    moved.target = format!("/legacy{}", moved.target);
    assert!(Wire::Cluster.parse_login(USER, &server.send(&moved)).is_ok());
    assert_eq!(
        server.send(&Wire::Axxon.login_request(USER, PASSWORD)).status,
        404,
        "a disabled dialect is not there"
    );
    let wrong = run_bare(&installation, &["config", "check"], &[("PARLANCE_LISTEN", "nowhere")]);
    assert!(wrong.code == 2 && wrong.stderr.contains("PARLANCE_LISTEN"), "{wrong:?}");
}

#[test]
fn dialects_and_schema_are_printed_as_json() {
    let installation = Installation::with_config(
        Database::sqlite(),
        "[dialects.cluster-api]\nenabled = false\n[dialects.1010-cookie]\nprefix = \"/legacy\"\n",
    );
    let listed: Vec<Value> =
        serde_json::from_str(&installation.run_ok(&["dialect", "list", "--json"])).unwrap();
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
    let schema: Value = serde_json::from_str(&installation.run_ok(&["config", "schema"])).unwrap();
    assert!(
        schema["properties"]["dialects"]["properties"]["cluster-api"]["properties"]["lifetime"]
            .is_object(),
        "{schema}"
    );
    let key_that_signs = schema["properties"]["key_file"].is_object();
    assert!(key_that_signs, "{schema}");
}

#[test]
fn the_configuration_is_found_by_flag_then_variable_then_default_path() {
    let installation = Installation::new(Database::sqlite());
    let write = |name: &str| {
        let path = installation.folder().join(name);
        std::fs::write(&path, format!("database = \"sqlite:{name}.db\"\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (flag, variable) = (write("flag.toml"), write("variable.toml"));
    let by_variable = [("PARLANCE_CONFIG", variable.as_str())];
    let said = |output: Output| {
        assert!(output.code == 0 && output.stderr.is_empty(), "{output:?}");
        output.stdout
    };
    let both = said(run_bare(&installation, &["config", "check", "--config", &flag], &by_variable));
    assert!(both.starts_with(&flag), "{both}");
    let variable_alone = said(run_bare(&installation, &["config", "check"], &by_variable));
    assert!(variable_alone.starts_with(&variable), "{variable_alone}");
    let nowhere =
        run_bare(&installation, &["config", "check"], &[("PARLANCE_CONFIG", "nowhere.toml")]);
    assert!(nowhere.code == 2 && nowhere.stderr.contains("nowhere.toml"), "{nowhere:?}");

    // In a mount namespace of its own the test has its own /etc.
    let program = installation.bare_command(&[]);
    let program = program.get_program().to_str().unwrap();
    let with_etc = |prepare: &str, arguments: &str, variables: &[(&str, &str)]| {
        let script = format!(
            "mount -t tmpfs -o mode=0755 none /etc && mkdir -p /etc/parlance && {{ {prepare}; }} && exec {program} {arguments}"
        );
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "sh", "-ec", &script]).current_dir(installation.folder());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PARLANCE_") {
                command.env_remove(name);
            }
        }
        command.envs(variables.iter().copied());
        run_to_end(command, "")
    };
    let file = "/etc/parlance/parlance.toml";
    let none = with_etc("true", "config check", &[]);
    assert!(none.code == 0 && none.stdout.contains("no file"), "{none:?}");
    let here = with_etc(&format!("echo 'log_level = \"warn\"' > {file}"), "config check", &[]);
    assert!(here.code == 0 && here.stdout.starts_with(file), "{here:?}");
    let passed_over =
        with_etc(&format!("echo 'nonsense = 1' > {file}"), "config check", &by_variable);
    assert!(passed_over.stdout.starts_with(&variable), "{passed_over:?}");
    for broken in [format!("ln -s nowhere {file}"), format!("mkdir {file}")] {
        let output = with_etc(&broken, "config check", &[]);
        assert!(output.code == 2 && output.stderr.contains(file), "{broken}: {output:?}");
    }
    // A folder without access is not an absent file. Root has access everywhere, so the folder is a file here.
    let shut = with_etc("rmdir /etc/parlance && touch /etc/parlance", "config check", &[]);
    assert!(shut.code == 2 && shut.stderr.contains(file), "{shut:?}");
}

#[test]
fn serve_says_which_configuration_it_has_read() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start();
    let line = server.log.wait_for_line("configuration read").unwrap();
    assert!(line.contains(installation.config().to_str().unwrap()), "{line}");
}

#[test]
fn user_add_makes_a_database_only_where_a_configuration_says() {
    let installation = Installation::new(Database::sqlite());
    let add = |name: &str, more: &[&str], variables: &[(&str, &str)]| {
        let arguments = [&["user", "add", name, "--password-stdin"], more].concat();
        let mut command = installation.bare_command(&arguments);
        command.envs(variables.iter().copied());
        run_to_end(command, PASSWORD)
    };
    let refused = add("a", &[], &[]);
    assert!(
        refused.code == 1 && refused.stderr.contains("no setting names another"),
        "{refused:?}"
    );
    assert!(!installation.folder().join("parlance.db").exists());
    let silent = installation.folder().join("silent.toml");
    std::fs::write(&silent, "log_level = \"warn\"\n").unwrap();
    let refused = add("a", &["--config", silent.to_str().unwrap()], &[]);
    assert!(
        refused.code == 1 && refused.stderr.contains("no setting names another"),
        "{refused:?}"
    );
    let named = installation.folder().join("named.toml");
    std::fs::write(&named, "database = \"sqlite:file.db\"\n").unwrap();
    for (more, variables, file) in [
        (&["--config", named.to_str().unwrap()][..], &[][..], "file.db"),
        (&["--database", "sqlite:flag.db"], &[], "flag.db"),
        (&[], &[("PARLANCE_DATABASE", "sqlite:variable.db")], "variable.db"),
    ] {
        let made = add("a", more, variables);
        assert!(made.code == 0 && made.stderr.contains("was created"), "{made:?}");
        assert!(installation.folder().join(file).is_file(), "{file}");
    }
    // An existing database at the default path is found as well.
    std::fs::rename(
        installation.folder().join("flag.db"),
        installation.folder().join("parlance.db"),
    )
    .unwrap();
    assert_eq!(add("b", &[], &[]).code, 0);
}
