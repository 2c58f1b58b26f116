//! Machines whose clocks are wrong, and clocks that are stepped.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::harness::clock::unix_time;
use crate::harness::faketime::{Steps, shifted, until_second};
use crate::harness::server::{Output, run};
use crate::harness::{Database, Held, Server, Site, Verdict, Watch, Wire, pace};
use crate::operator::seconds;

/// What `docs/operating.md` allows a node.
const TOLERANCE: Duration = Duration::from_secs(1);
const LIFETIME: Duration = Duration::from_secs(4);
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// The last second that 31 bits can count.
const LAST_SECOND: i64 = 2_147_483_647;

fn start(site: &Site, variables: &[(String, String)]) -> Server {
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    site.start_with(&variables)
}

fn operate(site: &Site, variables: &[(String, String)], arguments: &[&str]) -> Output {
    let mut command = site.command(arguments);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    run(command, "")
}

/// When the token itself says that it ends.
fn token_ends(held: &Held) -> u64 {
    let claims = held.secret.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["exp"].as_u64().unwrap()
}

#[test]
fn nodes_whose_clocks_are_wrong_agree_on_when_a_session_ends() {
    let life = format!("lifetime = \"{}s\"\n", LIFETIME.as_secs());
    let configuration = format!(
        "[dialects.polish-longtoken]\n{life}[dialects.flask-usertoken]\n{life}[dialects.axxon-jsonrpc]\n{life}issuer = \"here\"\n"
    );
    let site = Site::with(Database::postgres(), &configuration);
    let off = [0, 5 * MINUTE, -5 * MINUTE, HOUR, -HOUR, 30 * DAY, until_second(LAST_SECOND)];
    let nodes = off.map(|off| (off, start(&site, &shifted(off))));
    site.add_user(crate::harness::USER, crate::harness::PASSWORD);
    // A slow machine may lose the moment at which a session must still live; it gets another chance.
    assert!((0..5).any(|_| agree(&site, &nodes)), "this machine is too slow to tell");
    for (off, node) in &nodes {
        let told = node.log.text().contains("this machine's clock is not the database's");
        assert_eq!(told, *off != 0, "{off} seconds off: {}", node.log.text());
        assert!(!node.log.text().contains("panicked"));
    }
}

/// Whether everything was on time, so that it could be told.
#[track_caller]
fn agree(site: &Site, nodes: &[(i64, Server)]) -> bool {
    let watch = Watch::start();
    // An axxon token that is used is renewed.
    let kinds = [Wire::Polish, Wire::Flask];
    let began = unix_time();
    let opened: Vec<_> =
        nodes.iter().flat_map(|(off, node)| kinds.map(|wire| (*off, node.log_in(wire)))).collect();
    let tokens: Vec<_> = nodes.iter().map(|(off, node)| (*off, node.log_in(Wire::Axxon))).collect();
    let ended = unix_time();
    // Written with a second's precision.
    let ends = |second: u64| {
        {
            let slack = TOLERANCE + Duration::from_secs(1);
            (began + LIFETIME).saturating_sub(slack)..=ended + LIFETIME + slack
        }
        .contains(&Duration::from_secs(second))
    };
    for session in site.sessions() {
        let expires = seconds(session["expires"].as_str().unwrap());
        assert!(ends(expires), "{session} between {began:?} and {ended:?}");
    }
    for (off, held) in &tokens {
        assert!(ends(token_ends(held)), "a token by a node {off} seconds off");
    }
    for (theirs, held) in &opened {
        for (own, node) in nodes {
            let verdict = node.check(held);
            if watch.elapsed() + TOLERANCE > LIFETIME {
                return false;
            }
            assert_eq!(verdict, Verdict::Yes, "{:?} by {theirs} s off, to {own} s", held.wire);
        }
    }
    pace((LIFETIME + TOLERANCE).saturating_sub(unix_time().saturating_sub(ended)));
    for (theirs, held) in opened.iter().chain(&tokens) {
        for (own, node) in nodes {
            let verdict = node.check(held);
            assert_eq!(verdict, Verdict::No, "{:?} by {theirs} s off, to {own} s", held.wire);
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
fn a_step_of_a_nodes_clock_counts_for_nothing_beside_a_database_that_has_one() {
    let site = Site::new(Database::postgres());
    let steps = Steps::new(site.folder());
    let mut server = start(&site, &steps.variables());
    site.add_user(crate::harness::USER, crate::harness::PASSWORD);
    for off in [0, 5 * MINUTE, -5 * MINUTE, HOUR, -HOUR, 30 * DAY, until_second(LAST_SECOND)] {
        let held = server.log_in_everywhere();
        let ended = server.log_in(Wire::Polish);
        assert_eq!(server.log_out(&ended), Verdict::Yes);
        steps.to(off);
        server.expect(&held, &Verdict::Yes, &format!("after a step to {off} s"));
        server.expect(&[ended], &Verdict::No, &format!("ended before a step to {off} s"));
        server.log_in_everywhere();
    }
    assert!(server.is_running() && !server.log.text().contains("panicked"));
}

#[test]
fn an_operator_whose_clock_is_wrong_sees_and_ends_what_there_is() {
    let site = Site::new(Database::postgres());
    let server = site.start_with_user();
    for off in [30 * DAY, -30 * DAY] {
        let held = server.log_in(Wire::Cluster);
        let listed = operate(&site, &shifted(off), &["session", "list", "--json"]);
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{off} s off: {listed}");
        let id = listed[0]["id"].as_str().unwrap();
        let revoked = operate(&site, &shifted(off), &["session", "revoke", id]);
        assert_eq!(revoked.code, 0, "{revoked:?}");
        server.expect(&[held], &Verdict::No, "revoked");
    }
}

#[test]
fn a_step_back_revives_nothing_that_was_ended_and_the_expired_by_no_more_than_the_step() {
    let site = Site::with(Database::sqlite(), "[dialects.polish-longtoken]\nlifetime = \"10m\"\n");
    let steps = Steps::new(site.folder());
    let mut server = start(&site, &steps.variables());
    site.add_user(crate::harness::USER, crate::harness::PASSWORD);
    let ended = server.log_in_everywhere();
    for held in &ended {
        assert_eq!(server.log_out(held), Verdict::Yes);
    }
    let lasts = [server.log_in(Wire::Polish)];
    let at = |off: i64, verdict: Option<&Verdict>| {
        steps.to(off);
        server.expect(&ended, &Verdict::No, &format!("ended, at {off} s"));
        if let Some(verdict) = verdict {
            server.expect(&lasts, verdict, &format!("10 minutes from 0, at {off} s"));
        }
    };
    at(9 * MINUTE, Some(&Verdict::Yes));
    at(11 * MINUTE, Some(&Verdict::No));
    // Back by six minutes: it may live again, for these six.
    at(5 * MINUTE, None);
    at(10 * MINUTE, Some(&Verdict::No));
    for off in [HOUR, -HOUR, 30 * DAY, -30 * DAY, until_second(LAST_SECOND), 0] {
        at(off, None);
    }
    at(10 * MINUTE, Some(&Verdict::No));
    assert!(server.is_running() && !server.log.text().contains("panicked"));
}

#[test]
fn every_wire_works_over_the_last_second_that_31_bits_can_count() {
    let site = Site::new(Database::sqlite());
    let steps = Steps::new(site.folder());
    steps.to(until_second(LAST_SECOND - 60));
    let mut server = start(&site, &steps.variables());
    site.add_user(crate::harness::USER, crate::harness::PASSWORD);
    let before = server.log_in_everywhere();
    steps.to(until_second(LAST_SECOND + 1));
    server.expect(&before, &Verdict::Yes, "opened before");
    let after = server.log_in_everywhere();
    server.expect(&after, &Verdict::Yes, "opened after");
    assert!(token_ends(after.last().unwrap()) > u64::try_from(LAST_SECOND).unwrap());
    for held in &after {
        assert_eq!(server.log_out(held), Verdict::Yes, "{:?}", held.wire);
    }
    assert!(server.is_running() && !server.log.text().contains("panicked"));
}
