//! The client address: trusted proxies and `X-Forwarded-For`.

use std::process::Command;

use crate::harness::server::run_to_end;
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Request, Server, USER, Verdict, Wire,
};

const FOREIGN: &str = "The token is not important for this IP address, please log in.";

/// Logs in through a proxy that sends these `X-Forwarded-For` lines.
#[track_caller]
fn log_in_from(server: &Server, forwarded: &[&str]) -> HeldSession {
    let answer = server.send(&through(Wire::Cluster.login_request(USER, PASSWORD), forwarded));
    Wire::Cluster.parse_login(USER, &answer).unwrap()
}

/// The request with these `X-Forwarded-For` lines.
fn through(request: Request, forwarded: &[&str]) -> Request {
    forwarded.iter().fold(request, |request, line| request.header("X-Forwarded-For", *line))
}

/// The error sentence for a logout that shows the token from this address. Success has no sentence.
#[track_caller]
fn log_out_from(server: &Server, held: &HeldSession, forwarded: &[&str]) -> String {
    server.send(&through(held.logout_request(), forwarded)).text_at("/error")
}

#[test]
fn a_token_is_good_from_the_address_of_its_login_only_and_outlives_a_wrong_one() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let held = server.log_in(Wire::Cluster);
    let mut command = Command::new("curl");
    let token = format!("access_token={}", held.secret);
    command
        .args(["-s", "--noproxy", "*", "--interface", "127.0.0.2", "-d", &token])
        .arg(format!("{}/api/logout", server.base_url()));
    let elsewhere = run_to_end(command, "");
    assert!(elsewhere.stdout.contains(FOREIGN), "{elsewhere:?}");
    assert_eq!(server.use_session(&held), Verdict::Accepted, "a wrong address ends nothing");
    // Only a listed address is a trusted proxy.
    assert_eq!(log_out_from(&server, &held, &["192.0.2.9"]), "", "the header counts for nothing");
}

#[test]
fn a_trusted_proxy_is_believed_and_a_chain_of_trusted_proxies_is_skipped() {
    let installation = Installation::with_config(
        Database::sqlite(),
        "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n",
    );
    let server = installation.start_with_user();
    let same: &[&[&str]] = &[
        &["192.0.2.9"],
        &["192.0.2.9:4711"],
        &["::ffff:192.0.2.9"],
        &["[::ffff:192.0.2.9]:4711"],
        &["192.0.2.9, 10.1.2.3"],
        &["203.0.113.5, 192.0.2.9, 10.1.2.3, 127.0.0.1"],
        &["203.0.113.5", "192.0.2.9", "10.1.2.3"],
        &["nonsense, 192.0.2.9"],
    ];
    for forwarded in same {
        let held = log_in_from(&server, &["192.0.2.9"]);
        assert_eq!(log_out_from(&server, &held, forwarded), "", "{forwarded:?} is 192.0.2.9");
    }
    let others: &[&[&str]] = &[
        &[],
        &["192.0.2.8"],
        &["192.0.2.9, 192.0.2.8"],
        &["192.0.2.9, nonsense"],
        &["192.0.2.9", "2001:db8::1"],
    ];
    let held = log_in_from(&server, &["192.0.2.9"]);
    for forwarded in others {
        assert_eq!(
            log_out_from(&server, &held, forwarded),
            FOREIGN,
            "{forwarded:?} is not 192.0.2.9"
        );
    }
    assert_eq!(installation.sessions()[0]["address"], "192.0.2.9");
}

#[test]
fn the_cookie_is_secure_where_a_listed_proxy_speaks_tls() {
    let cookie = |configuration: &str, scheme: &str| {
        let installation = Installation::with_config(Database::sqlite(), configuration);
        let server = installation.start_with_user();
        let login = Wire::Cookie.login_request(USER, PASSWORD).header("X-Forwarded-Proto", scheme);
        server.send(&login).header("set-cookie").unwrap().to_owned()
    };
    let trusting = "trusted_proxies = [\"127.0.0.1\"]\n";
    assert!(cookie(trusting, "https").ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"));
    for nearest in ["HTTPS", "http, https", "http,HTTPS "] {
        assert!(cookie(trusting, nearest).ends_with("; Secure"), "{nearest}");
    }
    assert!(
        cookie(trusting, "https, http").ends_with("; SameSite=Lax"),
        "the nearest proxy's word counts"
    );
    assert!(cookie(trusting, "http").ends_with("; Path=/; HttpOnly; SameSite=Lax"));
    assert!(
        cookie("", "https").ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "an unlisted proxy's word counts for nothing"
    );
}

/// Uses a session from 192.0.2.9, under this policy in every dialect, from three addresses: the same one, a neighbour
/// in its /24, a distant one. `passes` says for each whether the use is accepted. Returns the number of uses from an
/// unexpected address that each dialect has counted.
#[track_caller]
fn check(policy: &str, passes: [bool; 3]) -> Vec<u64> {
    let bound = |wire: Wire| format!("[dialects.{}]\nbind_sessions_to = {policy:?}\n", wire.name());
    let settings: String = Wire::ALL.into_iter().map(bound).collect();
    let installation = Installation::with_config(
        Database::sqlite(),
        &format!("trusted_proxies = [\"127.0.0.1\"]\n{settings}"),
    );
    let server = installation.start_with_user();
    let counted = |wire: Wire| {
        let login = through(wire.login_request(USER, PASSWORD), &["192.0.2.9"]);
        let held = wire.parse_login(USER, &server.send(&login)).unwrap();
        for (from, passes) in ["192.0.2.9", "192.0.2.200", "198.51.100.1"].iter().zip(passes) {
            let verdict = held.use_verdict(&server.send(&through(held.use_request(), &[from])));
            let expected = if passes { Verdict::Accepted } else { Verdict::Refused };
            assert_eq!(verdict, expected, "{policy}, {}, {from}", wire.name());
        }
        server.metric(&format!("parlance_foreign_uses_total{{dialect=\"{}\"}}", wire.name()))
    };
    let counted = Wire::ALL.into_iter().map(counted).collect();
    server.signal("TERM");
    let log = server.log.wait_for_end();
    let mut lines = log.lines().filter(|line| line.contains("use from an unexpected address"));
    assert!(lines.clone().count() == if policy == "log" { 10 } else { 0 }, "{log}");
    assert!(lines.all(|line| line.contains("peer=") && line.contains("user=")), "{log}");
    counted
}

#[test]
fn every_dialect_binds_its_sessions_as_it_is_told() {
    assert_eq!(check("exact", [true, false, false]), [0; 5]);
    assert_eq!(check("prefix", [true, true, false]), [0; 5]);
    assert_eq!(check("log", [true, true, true]), [2; 5]);
    assert_eq!(check("off", [true, true, true]), [0; 5]);
}
