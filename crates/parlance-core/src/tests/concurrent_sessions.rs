//! Concurrent sessions: the effect of a login on the user's other sessions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::harness::{
    AuthorityHarness, CHEAPEST_PARAMS, HOUR, MINUTE, PLAIN_POLICY, TestTokenIssuer,
    expect_logged_in,
};
use crate::{Command, ConcurrentSessions, Failure, Lifetime, Secret, Session, SessionPolicy};

fn issuer_with_public_ids(public_ids: &[&'static str]) -> TestTokenIssuer {
    let public_ids = Mutex::new(VecDeque::from(public_ids.to_vec()));
    let session_policy = SessionPolicy {
        lifetime: Lifetime::Sliding(HOUR),
        max_lifetime: Some(24 * HOUR),
        ..PLAIN_POLICY
    };
    TestTokenIssuer { public_ids, ..TestTokenIssuer::new(session_policy) }
}

fn login(world: &AuthorityHarness, concurrent_sessions: ConcurrentSessions) -> (Session, Secret) {
    let mut open = world.login_request("csmith", "XXX");
    open.concurrent_sessions = concurrent_sessions;
    let (session, _, token) = expect_logged_in(world.execute(Command::Login(open)));
    (session, token)
}

const ENDED: Result<(), Failure> = Err(Failure::RevokedOrExpired);
const UNKNOWN: Result<(), Failure> = Err(Failure::UnknownCredential);

#[test]
fn allow_keeps_concurrent_sessions() {
    let world = AuthorityHarness::with_issuer(issuer_with_public_ids(&["1", "2", "3"]));
    let tokens: Vec<_> = (0..3).map(|_| login(&world, ConcurrentSessions::Allow).1).collect();
    assert!(tokens.iter().all(|token| world.check(token) == Ok(())));
    assert_eq!(world.live_sessions(), 3);
}

#[test]
fn end_others_ends_all_sessions_and_opens_another() {
    let world = AuthorityHarness::with_issuer(issuer_with_public_ids(&["1", "2", "3"]));
    let (_, first) = login(&world, ConcurrentSessions::Allow);
    let (_, second) = login(&world, ConcurrentSessions::Allow);
    let (session, third) = login(&world, ConcurrentSessions::EndOthers);
    assert_eq!(session.public_id.as_deref(), Some("3"));
    assert_eq!((world.check(&first), world.check(&second)), (ENDED, ENDED));
    assert_eq!(world.check(&third), Ok(()));
}

#[test]
fn take_over_continues_the_session_under_a_new_secret() {
    let mut world = AuthorityHarness::with_issuer(issuer_with_public_ids(&["1", "2"]));
    let (old, old_token) = login(&world, ConcurrentSessions::TakeOver);
    world.clock.advance(MINUTE);
    world.peer = None;
    let (new, new_token) = login(&world, ConcurrentSessions::TakeOver);
    assert_eq!(
        (new.id, &new.public_id, new.created, new.hard_end),
        (old.id, &old.public_id, old.created, old.hard_end)
    );
    assert_eq!((new.expires, new.address), (Some(world.now().plus(HOUR)), None));
    assert_ne!(old_token, new_token);
    assert_eq!((world.check(&old_token), world.check(&new_token)), (UNKNOWN, Ok(())));
    assert_eq!(world.live_sessions(), 1);
}

#[test]
fn taking_over_does_not_pass_the_hard_end() {
    let world = AuthorityHarness::with_issuer(issuer_with_public_ids(&["1", "2"]));
    let (start, (_, token)) = (world.now(), login(&world, ConcurrentSessions::TakeOver));
    for _ in 0..47 {
        world.clock.advance(30 * MINUTE);
        assert_eq!(world.check(&token), Ok(()));
    }
    let (session, _) = login(&world, ConcurrentSessions::TakeOver);
    assert_eq!(
        (session.public_id.as_deref(), session.expires),
        (Some("1"), Some(start.plus(24 * HOUR)))
    );
}

#[test]
fn take_over_opens_a_new_session_when_the_old_one_is_dead() {
    let ends: [fn(&AuthorityHarness, &Secret); 2] =
        [|world, _| world.clock.advance(HOUR), |world, token| world.log_out(token).unwrap()];
    for end in ends {
        let world = AuthorityHarness::with_issuer(issuer_with_public_ids(&["1", "2"]));
        let (old, old_token) = login(&world, ConcurrentSessions::TakeOver);
        end(&world, &old_token);
        let (new, new_token) = login(&world, ConcurrentSessions::TakeOver);
        assert_ne!((new.id, &new.public_id), (old.id, &old.public_id));
        assert_eq!((world.check(&old_token), world.check(&new_token)), (ENDED, Ok(())));
    }
}

#[test]
fn sessions_of_other_users_and_dialects_are_not_affected() {
    for concurrent_sessions in [ConcurrentSessions::EndOthers, ConcurrentSessions::TakeOver] {
        let world = AuthorityHarness::with_issuer(issuer_with_public_ids(&["1", "2", "3"]));
        world.add_user("other", "ZZZ");
        let (_, _, others) = expect_logged_in(world.login("other", "ZZZ"));
        let elsewhere = AuthorityHarness::with_store(
            Arc::clone(&world.store),
            TestTokenIssuer { dialect: "elsewhere", ..TestTokenIssuer::new(PLAIN_POLICY) },
            CHEAPEST_PARAMS,
        );
        let in_another_dialect = elsewhere.token();
        let (session, _) = login(&world, concurrent_sessions);
        assert_eq!(session.public_id.as_deref(), Some("2"));
        assert_eq!((world.check(&others), elsewhere.check(&in_another_dialect)), (Ok(()), Ok(())));
    }
}

#[test]
fn a_wrong_password_ends_no_session() {
    let world = AuthorityHarness::with_issuer(issuer_with_public_ids(&["1", "2"]));
    let (_, token) = login(&world, ConcurrentSessions::EndOthers);
    for concurrent_sessions in [ConcurrentSessions::EndOthers, ConcurrentSessions::TakeOver] {
        let mut open = world.login_request("csmith", "xxx");
        open.concurrent_sessions = concurrent_sessions;
        assert_eq!(world.execute(Command::Login(open)).map(drop), Err(Failure::WrongPassword));
    }
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn a_duplicate_public_id_is_drawn_again() {
    let world = AuthorityHarness::with_issuer(issuer_with_public_ids(&["1", "1", "1", "2"]));
    let (first, token) = login(&world, ConcurrentSessions::Allow);
    let (second, _) = login(&world, ConcurrentSessions::Allow);
    assert_eq!((first.public_id.as_deref(), second.public_id.as_deref()), (Some("1"), Some("2")));
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn a_login_fails_when_every_public_id_is_a_duplicate() {
    let world = AuthorityHarness::with_issuer(issuer_with_public_ids(&["1"; 20]));
    let (_, token) = login(&world, ConcurrentSessions::Allow);
    let refused = world.login("csmith", "XXX").map(drop);
    assert_eq!(refused, Err(Failure::Unavailable));
    assert_eq!((world.live_sessions(), world.check(&token)), (1, Ok(())));
}

#[test]
fn a_public_id_is_free_after_its_session_ends() {
    let world = AuthorityHarness::with_issuer(issuer_with_public_ids(&["1", "1"]));
    let (_, token) = login(&world, ConcurrentSessions::Allow);
    world.log_out(&token).unwrap();
    assert_eq!(login(&world, ConcurrentSessions::Allow).0.public_id.as_deref(), Some("1"));
}
