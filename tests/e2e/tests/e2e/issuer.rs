//! The issuer of axxon-jsonrpc's tokens, which outlives the name of a host.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::harness::clock::until;
use crate::harness::{
    Database, Held, PASSWORD, Server, Site, USER, Verdict, Wire, on_both_databases,
};

on_both_databases!(
    the_issuer_is_kept_and_a_configured_one_takes_its_place,
    of_two_nodes_without_a_configured_issuer_each_takes_the_tokens_of_the_other,
);

/// How a setting names the issuer.
const ISSUER: &str = "PARLANCE_DIALECTS__AXXON_JSONRPC__ISSUER";

/// The `iss` in a token.
fn issuer(held: &Held) -> String {
    let claims = held.secret.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["iss"].as_str().unwrap().to_owned()
}

/// How many records of a server say this.
fn said(server: &Server, text: &str) -> usize {
    server.log.text().lines().filter(|line| line.contains(text)).count()
}

fn the_issuer_is_kept_and_a_configured_one_takes_its_place(database: Database) {
    let site = Site::with(database, "key_poll = \"1s\"\n");
    let first = site.start_with(&[(ISSUER, "container-1")]);
    site.add_user(USER, PASSWORD);
    let old = first.log_in(Wire::Axxon);
    assert_eq!(issuer(&old), "container-1");
    drop(first);
    // The name of this host is another one.
    let second = site.start();
    assert_eq!(second.check(&old), Verdict::Yes);
    assert_eq!(issuer(&second.log_in(Wire::Axxon)), "container-1");
    assert_eq!(said(&second, "the issuer of axxon-jsonrpc has changed"), 0);
    drop(second);
    let third = site.start_with(&[(ISSUER, "container-3")]);
    let line = third.log.line_with("the issuer of axxon-jsonrpc has changed").unwrap();
    assert!(line.contains("container-1") && line.contains("container-3"), "{line}");
    let warning = "signed for another issuer";
    for _ in 0..5 {
        assert_eq!(third.check(&old), Verdict::No);
    }
    let line = third.log.line_with(warning).unwrap();
    assert!(line.contains("WARN") && line.contains("container-1"), "{line}");
    // However often one is shown it is told once a minute, and the token never.
    for _ in 0..3 {
        assert_eq!(third.check(&old), Verdict::No);
    }
    let polls = || third.admin("/readyz").status == 200;
    (0..20).for_each(|_| assert!(polls()));
    assert_eq!(said(&third, warning), 1);
    let signature = old.secret.rsplit('.').next().unwrap();
    assert!(!third.log.text().contains(signature));
    let new = third.log_in(Wire::Axxon);
    assert_eq!((issuer(&new).as_str(), third.check(&new)), ("container-3", Verdict::Yes));
    drop(third);
    let fourth = site.start();
    assert_eq!(
        (fourth.check(&new), issuer(&fourth.log_in(Wire::Axxon))),
        (Verdict::Yes, "container-3".to_owned())
    );
}

fn of_two_nodes_without_a_configured_issuer_each_takes_the_tokens_of_the_other(database: Database) {
    let site = Site::new(database);
    let here = site.start_with_user();
    let held = here.log_in(Wire::Axxon);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(issuer(&held), host.trim(), "at first it is the host's name");
    // As on a host of another name: another issuer is kept than this host's.
    drop(here);
    drop(site.start_with(&[(ISSUER, "another-host")]));
    let (here, there) = (site.start(), site.start());
    let tokens = [here.log_in(Wire::Axxon), there.log_in(Wire::Axxon)];
    until("both to serve", || (here.admin("/readyz").status == 200).then_some(()));
    for held in &tokens {
        assert_eq!(issuer(held), "another-host");
        assert_eq!([here.check(held), there.check(held)], [Verdict::Yes, Verdict::Yes]);
    }
}
