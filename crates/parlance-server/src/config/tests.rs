//! Claims about the configuration: what is read from where, and what is said of a mistake.

use std::time::Duration;

use expect_test::{Expect, expect};

use super::keys::keys;
use super::layers::Layers;
use super::{Config, Flags, schema};

fn load(file: &str, variables: &[(&str, &str)], flags: Flags) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("parlance.toml");
    std::fs::write(&path, file).unwrap();
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
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
fn a_dialect_that_is_not_there_is_told_from_those_that_are() {
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
            "parlance.toml:2: password: memory_kib must lie between 8 x parallelism and 262144, iterations between 1 and 10, parallelism between 1 and 16"
        ],
    );
    check_error(
        "[dialects.1010-cookie]\nbind_address = \"subnet\"\n",
        &expect![[
            r#"parlance.toml:2: dialects.1010-cookie.bind_address "subnet" is not one of "exact", "prefix", "log", "off""#
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
fn a_database_url_is_never_shown() {
    let error =
        load("database = \"mysql://root:hunter2@host/db\"\n", &[], Flags::default()).unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn what_is_not_toml_names_its_line() {
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
        cluster.values.switch("access_token_header")
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
}
