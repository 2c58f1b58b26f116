//! Nodes with wrong clocks, and clocks that are stepped.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::harness::clock::unix_time;
use crate::harness::faketime::{SteppedClock, environment_with_offset, offset_to};
use crate::harness::server::{Output, run_to_end};
use crate::harness::{
    Database, HeldSession, Installation, Server, Stopwatch, Verdict, Wire, sleep,
};
use crate::operator::seconds;

/// The tolerance of a node according to `docs/operating/several-nodes.md`.
const TOLERANCE: Duration = Duration::from_secs(1);
const LIFETIME: Duration = Duration::from_secs(4);
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// The last second that a signed 32-bit count can hold, in the year 2038.
const LAST_SECOND: i64 = 2_147_483_647;

fn start(installation: &Installation, variables: &[(String, String)]) -> Server {
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    installation.start_with(&variables)
}

fn run_command_with_clock(
    installation: &Installation,
    variables: &[(String, String)],
    arguments: &[&str],
) -> Output {
    let mut command = installation.command(arguments);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    run_to_end(command, "")
}

/// The token's own expiry (`exp`), in seconds since 1970.
fn token_expiry(held: &HeldSession) -> u64 {
    let claims = held.secret.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["exp"].as_u64().unwrap()
}

#[test]
fn nodes_with_wrong_clocks_agree_on_when_a_session_ends() {
    let life = format!("lifetime = \"{}s\"\n", LIFETIME.as_secs());
    let configuration = format!(
        "[dialects.polish-longtoken]\n{life}[dialects.flask-usertoken]\n{life}[dialects.axxon-jsonrpc]\n{life}issuer = \"here\"\n"
    );
    let installation = Installation::with_config(Database::postgres(), &configuration);
    let off = [0, 5 * MINUTE, -5 * MINUTE, HOUR, -HOUR, 30 * DAY, offset_to(LAST_SECOND)];
    let nodes = off.map(|off| (off, start(&installation, &environment_with_offset(off))));
    installation.add_user(crate::harness::USER, crate::harness::PASSWORD);
    // A slow machine may miss the moment when a session must still live, so the check may be repeated.
    assert!(
        (0..5).any(|_| check_agreement(&installation, &nodes)),
        "this machine is too slow to tell"
    );
    for (off, node) in &nodes {
        let told =
            node.log.text().contains("this machine's clock differs from the database's clock");
        assert_eq!(told, *off != 0, "{off} seconds off: {}", node.log.text());
        assert!(!node.log.text().contains("panicked"));
    }
}

/// Whether every check was in time for a verdict.
#[track_caller]
fn check_agreement(installation: &Installation, nodes: &[(i64, Server)]) -> bool {
    let watch = Stopwatch::start();
    // A use of an axxon token renews the token.
    let kinds = [Wire::Polish, Wire::Flask];
    let began = unix_time();
    let opened: Vec<_> =
        nodes.iter().flat_map(|(off, node)| kinds.map(|wire| (*off, node.log_in(wire)))).collect();
    let tokens: Vec<_> = nodes.iter().map(|(off, node)| (*off, node.log_in(Wire::Axxon))).collect();
    let ended = unix_time();
    // Expiries have a precision of one second.
    let ends = |second: u64| {
        {
            let slack = TOLERANCE + Duration::from_secs(1);
            (began + LIFETIME).saturating_sub(slack)..=ended + LIFETIME + slack
        }
        .contains(&Duration::from_secs(second))
    };
    for session in installation.sessions() {
        let expires = seconds(session["expires"].as_str().unwrap());
        assert!(ends(expires), "{session} between {began:?} and {ended:?}");
    }
    for (off, held) in &tokens {
        assert!(ends(token_expiry(held)), "a token by a node {off} seconds off");
    }
    for (theirs, held) in &opened {
        for (own, node) in nodes {
            let verdict = node.use_session(held);
            if watch.elapsed() + TOLERANCE > LIFETIME {
                return false;
            }
            assert_eq!(verdict, Verdict::Accepted, "{:?} by {theirs} s off, to {own} s", held.wire);
        }
    }
    sleep((LIFETIME + TOLERANCE).saturating_sub(unix_time().saturating_sub(ended)));
    for (theirs, held) in opened.iter().chain(&tokens) {
        for (own, node) in nodes {
            let verdict = node.use_session(held);
            assert_eq!(verdict, Verdict::Refused, "{:?} by {theirs} s off, to {own} s", held.wire);
        }
    }
    eprintln!(
        "clocks: {} nodes up to 30 days and until 2038 off, {} sessions: alive everywhere until their end, dead everywhere {TOLERANCE:?} after it",
        nodes.len(),
        opened.len() + tokens.len(),
    );
    true
}

#[test]
fn a_clock_step_of_a_node_has_no_effect_if_the_database_has_a_clock() {
    let installation = Installation::new(Database::postgres());
    let steps = SteppedClock::new(installation.folder());
    let mut server = start(&installation, &steps.variables());
    installation.add_user(crate::harness::USER, crate::harness::PASSWORD);
    for off in [0, 5 * MINUTE, -5 * MINUTE, HOUR, -HOUR, 30 * DAY, offset_to(LAST_SECOND)] {
        let held = server.log_in_everywhere();
        let ended = server.log_in(Wire::Polish);
        assert_eq!(server.log_out(&ended), Verdict::Accepted);
        steps.step_to(off);
        server.expect_each_use(&held, &Verdict::Accepted, &format!("after a step to {off} s"));
        server.expect_each_use(
            &[ended],
            &Verdict::Refused,
            &format!("ended before a step to {off} s"),
        );
        server.log_in_everywhere();
    }
    assert!(server.is_running() && !server.log.text().contains("panicked"));
}

#[test]
fn commands_run_with_a_wrong_clock_list_and_end_the_live_sessions() {
    let installation = Installation::new(Database::postgres());
    let server = installation.start_with_user();
    for off in [30 * DAY, -30 * DAY] {
        let held = server.log_in(Wire::Cluster);
        let listed = run_command_with_clock(
            &installation,
            &environment_with_offset(off),
            &["session", "list", "--json"],
        );
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{off} s off: {listed}");
        let id = listed[0]["id"].as_str().unwrap();
        let revoked = run_command_with_clock(
            &installation,
            &environment_with_offset(off),
            &["session", "revoke", id],
        );
        assert_eq!(revoked.code, 0, "{revoked:?}");
        server.expect_each_use(&[held], &Verdict::Refused, "revoked");
    }
}

#[test]
fn a_step_back_revives_nothing_that_was_ended_and_the_expired_by_no_more_than_the_step() {
    let installation = Installation::with_config(
        Database::sqlite(),
        "[dialects.polish-longtoken]\nlifetime = \"10m\"\n",
    );
    let steps = SteppedClock::new(installation.folder());
    let mut server = start(&installation, &steps.variables());
    installation.add_user(crate::harness::USER, crate::harness::PASSWORD);
    let ended = server.log_in_everywhere();
    for held in &ended {
        assert_eq!(server.log_out(held), Verdict::Accepted);
    }
    let lasts = [server.log_in(Wire::Polish)];
    let at = |off: i64, verdict: Option<&Verdict>| {
        steps.step_to(off);
        server.expect_each_use(&ended, &Verdict::Refused, &format!("ended, at {off} s"));
        if let Some(verdict) = verdict {
            server.expect_each_use(&lasts, verdict, &format!("10 minutes from 0, at {off} s"));
        }
    };
    at(9 * MINUTE, Some(&Verdict::Accepted));
    at(11 * MINUTE, Some(&Verdict::Refused));
    // A step back by six minutes may revive the session for these six minutes.
    at(5 * MINUTE, None);
    at(10 * MINUTE, Some(&Verdict::Refused));
    for off in [HOUR, -HOUR, 30 * DAY, -30 * DAY, offset_to(LAST_SECOND), 0] {
        at(off, None);
    }
    at(10 * MINUTE, Some(&Verdict::Refused));
    assert!(server.is_running() && !server.log.text().contains("panicked"));
}

#[test]
fn every_wire_works_over_the_last_second_that_31_bits_can_count() {
    let installation = Installation::new(Database::sqlite());
    let steps = SteppedClock::new(installation.folder());
    steps.step_to(offset_to(LAST_SECOND - 60));
    let mut server = start(&installation, &steps.variables());
    installation.add_user(crate::harness::USER, crate::harness::PASSWORD);
    let before = server.log_in_everywhere();
    steps.step_to(offset_to(LAST_SECOND + 1));
    server.expect_each_use(&before, &Verdict::Accepted, "opened before");
    let after = server.log_in_everywhere();
    server.expect_each_use(&after, &Verdict::Accepted, "opened after");
    assert!(token_expiry(after.last().unwrap()) > u64::try_from(LAST_SECOND).unwrap());
    for held in &after {
        assert_eq!(server.log_out(held), Verdict::Accepted, "{:?}", held.wire);
    }
    assert!(server.is_running() && !server.log.text().contains("panicked"));
}
