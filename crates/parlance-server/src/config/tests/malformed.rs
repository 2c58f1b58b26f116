//! Broken files and variables get an error message and no panic. The message repeats no password.

use parlance_fuzz::mutate::mutated;
use proptest::test_runner::{Config as Cases, TestCaseError, TestRunner};

use super::load;
use crate::config::Flags;

const PASSWORD: &str = "hunter2hunter2";

/// Mutates texts like these, and checks the error message of each.
#[track_caller]
fn check(seeds: &[&str], read: impl Fn(&str) -> Option<String>) {
    let long = std::env::var("PARLANCE_TORTURE").is_ok_and(|form| form == "long");
    let cases = if long { 100_000 } else { 1000 };
    let seeds = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let cases = Cases { cases, failure_persistence: None, ..Cases::default() };
    let result = TestRunner::new(cases).run(&mutated(seeds), |bytes| {
        let Some(said) = read(&String::from_utf8_lossy(&bytes)) else { return Ok(()) };
        if said.is_empty() || said.contains(PASSWORD) {
            return Err(TestCaseError::fail(said));
        }
        Ok(())
    });
    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn no_malformed_file_panics_or_shows_its_password() {
    let whole = include_str!("../../../../../docs/operating/configuration.md");
    let whole = whole.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let database = format!("database = \"postgres://parlance:{PASSWORD}@127.0.0.1/parlance\"\n");
    let routes = "[[forward_auth.routes]]\npath = \"/\"\nmethods = [\"GET\"]\ndialects = [\"cluster-api\"]\n";
    check(&[whole, &database, routes, "[password]\nmemory_kib = 8\n"], |file| {
        load(file, &[], Flags::default()).err()
    });
}

#[test]
fn no_malformed_variable_panics_or_shows_its_password() {
    let read = |name: &str, value: &str| load("", &[(name, value)], Flags::default()).err();
    let database = format!("postgres://parlance:{PASSWORD}@127.0.0.1/parlance");
    check(&[&database], |value| read("PARLANCE_DATABASE", value));
    let names = [
        "PARLANCE_LISTEN",
        "PARLANCE_TRUSTED_PROXIES",
        "PARLANCE_TIMEZONE",
        "PARLANCE_MAX_SESSIONS_PER_USER",
        "PARLANCE_DIALECTS__CLUSTER_API__LIFETIME",
        "PARLANCE_DIALECTS__CLUSTER_API__PREFIX",
        "PARLANCE_FORWARD_AUTH__HEADERS__USER",
    ];
    let values = ["127.0.0.1:8080", "10.0.0.0/8, ::1", "Europe/Warsaw", "90s", "/legacy"];
    check(&values, |value| names.iter().find_map(|name| read(name, value)));
}
