//! Two servers on one database.

use std::time::Duration;

use crate::harness::{
    Database, Installation, PASSWORD, Server, Stopwatch, USER, Verdict, Wire, on_both_databases,
    sleep,
};

on_both_databases!(
    a_session_is_valid_on_both_nodes_and_its_end_counts_on_both,
    a_session_used_alternately_on_two_servers_outlives_its_lifetime_and_an_unused_one_expires,
);

fn a_session_is_valid_on_both_nodes_and_its_end_counts_on_both(database: Database) {
    let installation = Installation::new(database);
    let here = installation.start_with_user();
    let there = installation.start();
    for round in 0..40 {
        let (a, b) = if round % 2 == 0 { (&here, &there) } else { (&there, &here) };
        for wire in Wire::ALL {
            let held = a.log_in(wire);
            assert_eq!(
                b.use_session(&held),
                Verdict::Accepted,
                "{}: opened there, used here",
                wire.name()
            );
            assert_eq!(b.log_out(&held), Verdict::Accepted);
            assert_eq!(
                a.use_session(&held),
                Verdict::Refused,
                "{}: ended here, shown there, round {round}",
                wire.name()
            );
        }
    }
    // A `possess` login on one node replaces the cookie of the other.
    let first = here.log_in(Wire::Cookie);
    let second = there.log_in(Wire::Cookie);
    assert_eq!(
        (here.use_session(&first), here.use_session(&second)),
        (Verdict::Refused, Verdict::Accepted)
    );
}

fn a_session_used_alternately_on_two_servers_outlives_its_lifetime_and_an_unused_one_expires(
    database: Database,
) {
    let configuration = "[dialects.cluster-api]\nlifetime = \"1s\"\n[dialects.1010-cookie]\nidle_lifetime = \"2s\"\n";
    let installation = Installation::with_config(database, configuration);
    let here = installation.start_with_user();
    let there = installation.start();
    installation.add_user("idle", PASSWORD);
    // A run with a pause of half a second decides nothing and is repeated.
    let told = (0..5).any(|_| check_sliding_expiry(&here, &there));
    assert!(told, "this machine is too slow to tell");
}

/// Whether all steps were on time, so that the run decides.
#[track_caller]
fn check_sliding_expiry(here: &Server, there: &Server) -> bool {
    let half = Duration::from_millis(500);
    let sliding = [Wire::Cluster, Wire::Cookie];
    let idle = sliding.map(|wire| here.log_in_as(wire, "idle", PASSWORD));
    let watch = Stopwatch::start();
    let used = sliding.map(|wire| here.log_in_as(wire, USER, PASSWORD));
    for round in 1..=7 {
        sleep((half * round).saturating_sub(watch.elapsed()));
        let server = if round % 2 == 0 { here } else { there };
        let verdicts = used.each_ref().map(|held| server.use_session(held));
        // Even the later of the two uses came less than a second after the previous use of the same session.
        if watch.elapsed() > half * round + Duration::from_millis(400) {
            return false;
        }
        assert_eq!(
            verdicts,
            [Verdict::Accepted, Verdict::Accepted],
            "used every half second, round {round}"
        );
    }
    for server in [here, there] {
        server.expect_each_use(&idle, &Verdict::Refused, "unused for 3.5 seconds");
    }
    true
}
