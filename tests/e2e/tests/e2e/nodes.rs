//! Two servers on one database.

use std::time::Duration;

use crate::harness::{
    Database, PASSWORD, Server, Site, USER, Verdict, Watch, Wire, on_both_databases, pace,
};

on_both_databases!(
    a_session_opened_here_is_good_there_and_ended_there_is_dead_here,
    a_session_used_in_turns_on_two_servers_outlives_its_lifetime_and_an_unused_one_does_not,
);

fn a_session_opened_here_is_good_there_and_ended_there_is_dead_here(database: Database) {
    let site = Site::new(database);
    let here = site.start_with_user();
    let there = site.start();
    for round in 0..40 {
        let (a, b) = if round % 2 == 0 { (&here, &there) } else { (&there, &here) };
        for wire in Wire::ALL {
            let held = a.log_in(wire);
            assert_eq!(b.check(&held), Verdict::Yes, "{}: opened there, used here", wire.name());
            assert_eq!(b.log_out(&held), Verdict::Yes);
            assert_eq!(
                a.check(&held),
                Verdict::No,
                "{}: ended here, shown there, round {round}",
                wire.name()
            );
        }
    }
    // A possessing login on one takes the cookie of the other.
    let first = here.log_in(Wire::Cookie);
    let second = there.log_in(Wire::Cookie);
    assert_eq!((here.check(&first), here.check(&second)), (Verdict::No, Verdict::Yes));
}

fn a_session_used_in_turns_on_two_servers_outlives_its_lifetime_and_an_unused_one_does_not(
    database: Database,
) {
    let configuration = "[dialects.cluster-api]\nlifetime = \"1s\"\n[dialects.1010-cookie]\nidle_lifetime = \"2s\"\n";
    let site = Site::with(database, configuration);
    let here = site.start_with_user();
    let there = site.start();
    site.add_user("idle", PASSWORD);
    // A machine that loses half a second cannot tell; it gets another chance.
    let told = (0..5).any(|_| lives_while_it_is_used(&here, &there));
    assert!(told, "this machine is too slow to tell");
}

/// Whether everything was on time, so that it could be told.
#[track_caller]
fn lives_while_it_is_used(here: &Server, there: &Server) -> bool {
    let half = Duration::from_millis(500);
    let sliding = [Wire::Cluster, Wire::Cookie];
    let idle = sliding.map(|wire| here.login(wire, "idle", PASSWORD));
    let watch = Watch::start();
    let used = sliding.map(|wire| here.login(wire, USER, PASSWORD));
    for round in 1..=7 {
        pace((half * round).saturating_sub(watch.elapsed()));
        let server = if round % 2 == 0 { here } else { there };
        let verdicts = used.each_ref().map(|held| server.check(held));
        // Even the second of the two came less than a second after its use before.
        if watch.elapsed() > half * round + Duration::from_millis(400) {
            return false;
        }
        assert_eq!(verdicts, [Verdict::Yes, Verdict::Yes], "used every half second, round {round}");
    }
    for server in [here, there] {
        server.expect(&idle, &Verdict::No, "unused for 3.5 seconds");
    }
    true
}
