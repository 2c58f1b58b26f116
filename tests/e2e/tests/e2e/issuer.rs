//! The issuer (`iss`) of axxon-jsonrpc's tokens, which outlives the name of a host.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::harness::clock::wait_for;
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Server, USER, Verdict, Wire, on_both_databases,
};

on_both_databases!(
    the_issuer_is_kept_and_a_configured_one_takes_its_place,
    of_two_nodes_without_a_configured_issuer_each_takes_the_tokens_of_the_other,
);

/// The environment variable that sets the issuer.
const ISSUER_VARIABLE: &str = "PARLANCE_DIALECTS__AXXON_JSONRPC__ISSUER";

/// The `iss` of a token.
fn issuer(held: &HeldSession) -> String {
    let claims = held.secret.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["iss"].as_str().unwrap().to_owned()
}

/// The number of log records of a server with this text.
fn count_records(server: &Server, text: &str) -> usize {
    server.log.text().lines().filter(|line| line.contains(text)).count()
}

fn the_issuer_is_kept_and_a_configured_one_takes_its_place(database: Database) {
    let installation = Installation::with_config(database, "key_poll = \"1s\"\n");
    let first = installation.start_with(&[(ISSUER_VARIABLE, "container-1")]);
    installation.add_user(USER, PASSWORD);
    let old = first.log_in(Wire::Axxon);
    assert_eq!(issuer(&old), "container-1");
    drop(first);
    // The name of this host differs.
    let second = installation.start();
    assert_eq!(second.use_session(&old), Verdict::Accepted);
    assert_eq!(issuer(&second.log_in(Wire::Axxon)), "container-1");
    assert_eq!(count_records(&second, "the issuer of axxon-jsonrpc has changed"), 0);
    drop(second);
    let third = installation.start_with(&[(ISSUER_VARIABLE, "container-3")]);
    let line = third.log.wait_for_line("the issuer of axxon-jsonrpc has changed").unwrap();
    assert!(line.contains("container-1") && line.contains("container-3"), "{line}");
    let warning = "signed for another issuer";
    for _ in 0..5 {
        assert_eq!(third.use_session(&old), Verdict::Refused);
    }
    let line = third.log.wait_for_line(warning).unwrap();
    assert!(line.contains("WARN") && line.contains("container-1"), "{line}");
    // A token of another issuer is logged once a minute at most, and without the token itself.
    for _ in 0..3 {
        assert_eq!(third.use_session(&old), Verdict::Refused);
    }
    let polls = || third.get_admin("/readyz").status == 200;
    (0..20).for_each(|_| assert!(polls()));
    assert_eq!(count_records(&third, warning), 1);
    let signature = old.secret.rsplit('.').next().unwrap();
    assert!(!third.log.text().contains(signature));
    let new = third.log_in(Wire::Axxon);
    assert_eq!(
        (issuer(&new).as_str(), third.use_session(&new)),
        ("container-3", Verdict::Accepted)
    );
    drop(third);
    let fourth = installation.start();
    assert_eq!(
        (fourth.use_session(&new), issuer(&fourth.log_in(Wire::Axxon))),
        (Verdict::Accepted, "container-3".to_owned())
    );
}

fn of_two_nodes_without_a_configured_issuer_each_takes_the_tokens_of_the_other(database: Database) {
    let installation = Installation::new(database);
    let here = installation.start_with_user();
    let held = here.log_in(Wire::Axxon);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(issuer(&held), host.trim(), "at first it is the host's name");
    // Simulates a host of another name: the stored issuer differs from the name of this host.
    drop(here);
    drop(installation.start_with(&[(ISSUER_VARIABLE, "another-host")]));
    let (here, there) = (installation.start(), installation.start());
    let tokens = [here.log_in(Wire::Axxon), there.log_in(Wire::Axxon)];
    wait_for("both to serve", || (here.get_admin("/readyz").status == 200).then_some(()));
    for held in &tokens {
        assert_eq!(issuer(held), "another-host");
        assert_eq!(
            [here.use_session(held), there.use_session(held)],
            [Verdict::Accepted, Verdict::Accepted]
        );
    }
}
