//! Claims about the configuration: the precedence of its layers, and the error message of each mistake.

mod malformed;
mod routes;

use std::time::Duration;

use expect_test::{Expect, expect};

use super::keys::{keys, route_keys};
use super::layers::Layers;
use super::{Config, Flags, schema};

fn load(file: &str, variables: &[(&str, &str)], flags: Flags) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("parlance.toml");
    std::fs::write(&path, file).unwrap();
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    let loaded = Config::load(Some(&path), variables, flags);
    loaded.map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

#[track_caller]
fn check_error(file: &str, expected: &Expect) {
    expected.assert_eq(&load(file, &[], Flags::default()).unwrap_err());
}

fn lifetime(config: &Config) -> Option<Duration> {
    let dialect =
        config.dialects.iter().find(|dialect| dialect.entry.name == "cluster-api").unwrap();
    dialect.values.duration("lifetime")
}

#[test]
fn defaults_then_file_then_variable_then_flag() {
    let file = "listen = \"127.0.0.2:1\"\n[dialects.cluster-api]\nlifetime = \"1m\"\n";
    let variables =
        [("PARLANCE_DIALECTS__CLUSTER_API__LIFETIME", "2s"), ("PARLANCE_LISTEN", "127.0.0.3:1")];
    assert_eq!(lifetime(&load("", &[], Flags::default()).unwrap()), Some(Duration::from_secs(600)));
    assert_eq!(
        lifetime(&load(file, &[], Flags::default()).unwrap()),
        Some(Duration::from_secs(60))
    );
    assert_eq!(
        lifetime(&load(file, &variables, Flags::default()).unwrap()),
        Some(Duration::from_secs(2))
    );
    let flags = Flags { listen: Some("127.0.0.4:1".to_owned()), ..Flags::default() };
    assert_eq!(load(file, &variables, flags).unwrap().listen.to_string(), "127.0.0.4:1");
}

#[test]
fn an_unknown_variable_is_only_a_warning() {
    let config =
        load("", &[("PARLANCE_PORT", "tcp://10.0.0.1:80"), ("OTHER", "x")], Flags::default())
            .unwrap();
    assert_eq!(config.unknown_variables, ["PARLANCE_PORT"]);
}

#[test]
fn a_former_name_of_a_key_is_read_with_a_warning() {
    let file = "stop_delay = \"never\"\n[dialects.cluster-api]\nbind_address = \"off\"\n";
    let config = load(file, &[("PARLANCE_STOP_DELAY", "3s")], Flags::default()).unwrap();
    assert_eq!(config.drain_delay, Duration::from_secs(3));
    let cluster = config.dialects.iter().find(|dialect| dialect.entry.name == "cluster-api");
    assert_eq!(cluster.unwrap().values.text("bind_sessions_to"), "off");
    let warnings: Vec<_> = config
        .former_names
        .iter()
        .map(|warning| warning.rsplit('/').next().unwrap_or_default())
        .collect();
    assert_eq!(
        warnings,
        [
            "parlance.toml:1: stop_delay is a former name of drain_delay",
            "parlance.toml:3: dialects.cluster-api.bind_address is a former name of dialects.cluster-api.bind_sessions_to",
            "variable PARLANCE_STOP_DELAY is a former name of drain_delay",
        ]
    );
}

#[test]
fn a_key_that_is_set_under_both_names_is_refused() {
    check_error(
        "drain_delay = \"1s\"\nstop_delay = \"2s\"\n",
        &expect![
            "parlance.toml:2: stop_delay is a former name of drain_delay, which is set too: remove stop_delay"
        ],
    );
    let both = [("PARLANCE_DRAIN_DELAY", "1s"), ("PARLANCE_STOP_DELAY", "2s")];
    assert_eq!(
        load("", &both, Flags::default()).unwrap_err(),
        "variable PARLANCE_STOP_DELAY and variable PARLANCE_DRAIN_DELAY both set drain_delay: remove the former name"
    );
}

#[test]
fn a_delay_is_0s_or_a_duration() {
    for (text, seconds) in [("0s", 0), ("never", 0), ("2m", 120)] {
        let config = load(&format!("drain_delay = \"{text}\"\n"), &[], Flags::default()).unwrap();
        assert_eq!(config.drain_delay, Duration::from_secs(seconds), "{text}");
    }
    check_error(
        "drain_delay = \"soon\"\n",
        &expect![[
            r#"parlance.toml:1: drain_delay "soon" is not "0s", or a duration such as "90s", "10m", "24h" or "30d", at least "1s""#
        ]],
    );
}

#[test]
fn an_unknown_key_names_file_line_and_the_nearest_key() {
    check_error(
        "listn = \"127.0.0.1:1\"\n",
        &expect!["parlance.toml:1: unknown key listn; the nearest known key is listen"],
    );
    check_error(
        "\n[dialects.cluster-api]\nlifetme = \"1m\"\n",
        &expect![
            "parlance.toml:3: unknown key dialects.cluster-api.lifetme; the nearest known key is dialects.cluster-api.lifetime"
        ],
    );
    check_error(
        "[passwords]\nmemory_kib = 1\n",
        &expect![
            "parlance.toml:1: unknown key passwords; the nearest known key is password.memory_kib"
        ],
    );
}

#[test]
fn an_unknown_dialect_is_an_error_that_lists_the_known_ones() {
    check_error(
        "[dialects.cluster]\nlifetime = \"1m\"\n",
        &expect![[
            r#"parlance.toml:1: unknown key dialects.cluster: no dialect "cluster" is compiled in; there are: 1010-cookie, axxon-jsonrpc, cluster-api, flask-usertoken, polish-longtoken"#
        ]],
    );
}

#[test]
fn a_bad_value_names_its_key_and_what_it_takes() {
    check_error(
        "[dialects.cluster-api]\nlifetime = \"10 minutes\"\n",
        &expect![[
            r#"parlance.toml:2: dialects.cluster-api.lifetime "10 minutes" is not a duration such as "90s", "10m", "24h" or "30d", at least "1s""#
        ]],
    );
    check_error(
        "timezone = \"Mars\"\n",
        &expect![[
            r#"parlance.toml:1: timezone "Mars" is not a time zone such as "UTC" or "Europe/Warsaw""#
        ]],
    );
    check_error(
        "[dialects.cluster-api]\nprefix = \"legacy/\"\n",
        &expect![[
            r#"parlance.toml:2: dialects.cluster-api.prefix "legacy/" is not "", or a path such as "/legacy" with a leading slash and no trailing one"#
        ]],
    );
    check_error(
        "[password]\nmemory_kib = 4\n",
        &expect![
            r#"parlance.toml:2: password.memory_kib "4" is not between 8 x parallelism and 262144"#
        ],
    );
    check_error(
        "\n[password]\nparallelism = 16\niterations = 11\n",
        &expect![[r#"parlance.toml:4: password.iterations "11" is not between 1 and 10"#]],
    );
    check_error(
        "max_connections_per_address = 0\n",
        &expect![[
            r#"parlance.toml:1: max_connections_per_address "0" is not a whole number from 1 on"#
        ]],
    );
    check_error(
        "timezone = \"postgres://parlance:hunter2@127.0.0.1/parlance\"\n",
        &expect![[
            r#"parlance.toml:1: timezone is not a time zone such as "UTC" or "Europe/Warsaw""#
        ]],
    );
    for number in ["0", "100001", "-1", "1.5"] {
        let error = load(&format!("max_sessions_per_user = {number}\n"), &[], Flags::default())
            .unwrap_err();
        assert!(error.to_string().contains("max_sessions_per_user"), "{number}: {error}");
    }
    check_error(
        "[password]\nparallelism = 17\n",
        &expect![[r#"parlance.toml:2: password.parallelism "17" is not between 1 and 16"#]],
    );
    check_error(
        "[lockout]\nfailures_per_day = 29\n",
        &expect![[
            r#"parlance.toml:2: lockout.failures_per_day "29" is not between 30 and 1000000"#
        ]],
    );
    check_error(
        "[throttle]\nfailures_per_network = 0\n",
        &expect![[
            r#"parlance.toml:2: throttle.failures_per_network "0" is not a whole number from 1 on"#
        ]],
    );
    for prefix in ["/a/../b", "/.", "/a/.."] {
        let error = load(
            &format!("[dialects.cluster-api]\nprefix = \"{prefix}\"\n"),
            &[],
            Flags::default(),
        );
        assert!(error.unwrap_err().starts_with("parlance.toml:2: dialects.cluster-api.prefix"));
    }
    check_error(
        "[dialects.1010-cookie]\nbind_sessions_to = \"subnet\"\n",
        &expect![[
            r#"parlance.toml:2: dialects.1010-cookie.bind_sessions_to "subnet" is not one of "exact", "prefix", "log", "off""#
        ]],
    );
    check_error(
        "[dialects.cluster-api]\naccess_token_header = \"yes\"\n",
        &expect![[
            r#"parlance.toml:2: dialects.cluster-api.access_token_header "yes" is not true or false"#
        ]],
    );
    check_error(
        "listen = 1.5\n",
        &expect![[
            r#"parlance.toml:1: listen takes an IP address and a port such as "127.0.0.1:8080""#
        ]],
    );
}

#[test]
#[cfg(feature = "axxon-grpc")]
fn a_certificate_and_its_key_belong_together() {
    check_error(
        "[axxon-grpc]\ncertificate = \"/etc/own.crt\"\n",
        &expect![
            "parlance.toml:2: axxon-grpc.certificate is set and axxon-grpc.certificate_key is not: TLS needs both"
        ],
    );
    check_error(
        "[axxon-grpc]\n\ncertificate_key = \"/etc/own.pem\"\n",
        &expect![
            "parlance.toml:3: axxon-grpc.certificate_key is set and axxon-grpc.certificate is not: TLS needs both"
        ],
    );
    let both = "[axxon-grpc]\ncertificate = \"a\"\ncertificate_key = \"b\"\n";
    let grpc = load(both, &[], Flags::default()).unwrap().axxon_grpc.unwrap();
    assert!(grpc.tls.is_some() && !grpc.is_explicit);
    assert_eq!(grpc.listen.to_string(), "127.0.0.1:20109");
}

#[test]
fn a_database_url_is_never_shown() {
    let error =
        load("database = \"mysql://root:hunter2@host/db\"\n", &[], Flags::default()).unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_database_url_that_the_store_cannot_open_is_an_error_with_its_place_and_without_its_password() {
    check_error(
        "\ndatabase = \"sqlite:\"\n",
        &expect![[
            r#"parlance.toml:2: database is not "sqlite:PATH" or "postgres://user:password@host/name": `sqlite:` needs the path of a file, as in `sqlite:parlance.db`"#
        ]],
    );
    check_error(
        "database = \"sqlite:x.db?mode=ro\"\n",
        &expect![[
            r#"parlance.toml:1: database is not "sqlite:PATH" or "postgres://user:password@host/name": `sqlite:` takes a plain path without parameters: leave out what begins with `?`"#
        ]],
    );
    // Without PostgreSQL compiled in, each of these is refused; with PostgreSQL, for the error in the
    // URL.
    for url in [
        "postgres://u:hunter2%4@h/n",
        "postgres://u:hunter2@h:99999/n",
        "postgres://u:hunter2@@h/n",
    ] {
        let error = load(&format!("database = \"{url}\"\n"), &[], Flags::default()).unwrap_err();
        assert!(error.starts_with("parlance.toml:1: database is not "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[cfg(feature = "postgres")]
#[test]
fn a_configuration_printed_for_debugging_shows_no_password() {
    let config = load("database = \"postgres://u:hunter2@h/n\"\n", &[], Flags::default()).unwrap();
    let printed = format!("{config:?}");
    assert!(printed.contains("parlance.toml") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn two_dialects_that_would_answer_one_path_are_refused() {
    check_error(
        "[dialects.polish-longtoken]\nprefix = \"/auth\"\n",
        &expect![
            "the dialects flask-usertoken and polish-longtoken both answer /auth/login: give one of them another prefix (dialects.flask-usertoken.prefix, dialects.polish-longtoken.prefix), or disable one (enabled = false)"
        ],
    );
    check_error(
        "[dialects.polish-longtoken]\nprefix = \"/api\"\n",
        &expect![
            "the dialects cluster-api and polish-longtoken both answer /api/login: give one of them another prefix (dialects.cluster-api.prefix, dialects.polish-longtoken.prefix), or disable one (enabled = false)"
        ],
    );
    let elsewhere = "[dialects.polish-longtoken]\nprefix = \"/auth\"\n[dialects.flask-usertoken]\n";
    for cure in ["prefix = \"/flask\"\n", "enabled = false\n"] {
        assert!(load(&format!("{elsewhere}{cure}"), &[], Flags::default()).is_ok(), "{cure}");
    }
    let same = "prefix = \"/legacy\"\n";
    let all: String = parlance::table::TABLE
        .iter()
        .map(|entry| format!("[dialects.{}]\n{same}", entry.name))
        .collect();
    assert!(load(&all, &[], Flags::default()).is_ok(), "what is apart stays so under one prefix");
}

#[test]
fn the_sample_of_every_documented_path_pattern_is_claimed() {
    for entry in parlance::table::TABLE {
        for pattern in entry.paths {
            assert!((entry.claims)(&super::sample_path(pattern)), "{pattern}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_an_error_if_it_names_a_key() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = || OsString::from_vec(vec![b'/', 0xff]);
    let load = |name: OsString| {
        Config::load(None, [(name, bytes())].into_iter(), Flags::default())
            .map(|config| config.unknown_variables)
            .map_err(|error| error.to_string())
    };
    expect!["variable PARLANCE_KEY_FILE: key_file is not UTF-8"]
        .assert_eq(&load("PARLANCE_KEY_FILE".into()).unwrap_err());
    assert_eq!(load("PARLANCE_PORT".into()).unwrap(), ["PARLANCE_PORT"]);
    assert_eq!(load("HOME".into()).unwrap(), [""; 0]);
    assert_eq!(load(bytes()).unwrap(), [""; 0]);
}

#[test]
fn a_toml_syntax_error_names_its_line() {
    let error = load("listen = \"127.0.0.1:1\"\n[dialects\n", &[], Flags::default()).unwrap_err();
    assert!(error.starts_with("parlance.toml:2: "), "{error}");
}

#[test]
fn a_switch_and_a_list_are_read_as_such() {
    let config = load(
        "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n[dialects.1010-cookie]\nenabled = false\n",
        &[("PARLANCE_DIALECTS__CLUSTER_API__ENABLED", "false")],
        Flags::default(),
    );
    let config = config.unwrap();
    let enabled: Vec<_> = config.enabled().map(|dialect| dialect.entry.name).collect();
    assert_eq!(enabled, ["axxon-jsonrpc", "flask-usertoken", "polish-longtoken"]);
    assert!(
        config.proxies.trusts("10.1.2.3".parse().unwrap())
            && config.proxies.trusts("::1".parse().unwrap())
    );
}

#[test]
fn a_dialects_switch_is_read_from_a_truth_value() {
    let switch = |file: &str| {
        let config = load(file, &[], Flags::default()).unwrap();
        let mut dialects = config.dialects.iter();
        let cluster = dialects.find(|dialect| dialect.entry.name == "cluster-api").unwrap();
        cluster.values.boolean("access_token_header")
    };
    assert!(!switch(""));
    assert!(switch("[dialects.cluster-api]\naccess_token_header = true\n"));
}

#[test]
fn every_default_is_a_value_of_its_kind() {
    let layers = Layers::new(keys());
    for key in keys() {
        assert!(layers.get(&key.path).is_ok(), "{key:?}");
    }
}

#[test]
fn the_schema_knows_every_key() {
    let schema = schema();
    for key in keys() {
        let pointer = format!("/properties/{}", key.path.replace('.', "/properties/"));
        assert!(
            schema.pointer(&pointer).is_some_and(|property| property.get("description").is_some()),
            "{pointer}"
        );
    }
    for key in route_keys("routes") {
        let name = key.path.trim_start_matches("routes.");
        let pointer = format!(
            "/properties/forward_auth/properties/routes/items/properties/{name}/description"
        );
        assert!(schema.pointer(&pointer).is_some(), "{pointer}");
    }
}
