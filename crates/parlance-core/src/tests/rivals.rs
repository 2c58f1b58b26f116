//! What a login does to the user's other sessions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::world::{CHEAP, HOUR, MINUTE, PLAIN, TestMint, World, opened};
use crate::{Command, Failure, Lifetime, Rivals, Secret, Session, Terms};

fn scripted(sids: &[&'static str]) -> TestMint {
    let sids = Mutex::new(VecDeque::from(sids.to_vec()));
    let terms = Terms { lifetime: Lifetime::Sliding(HOUR), max_lifetime: Some(24 * HOUR), ..PLAIN };
    TestMint { sids, ..TestMint::new(terms) }
}

fn login(world: &World, rivals: Rivals) -> (Session, Secret) {
    let mut open = world.open("csmith", "XXX");
    open.rivals = rivals;
    let (session, _, token) = opened(world.execute(Command::Open(open)));
    (session, token)
}

const ENDED: Result<(), Failure> = Err(Failure::EndedSession);
const UNKNOWN: Result<(), Failure> = Err(Failure::UnknownCredential);

#[test]
fn allow_ends_none() {
    let world = World::with(scripted(&["1", "2", "3"]));
    let tokens: Vec<_> = (0..3).map(|_| login(&world, Rivals::Allow).1).collect();
    assert!(tokens.iter().all(|token| world.check(token) == Ok(())));
    assert_eq!(world.living(), 3);
}

#[test]
fn kill_ends_all_of_them_and_opens_another() {
    let world = World::with(scripted(&["1", "2", "3"]));
    let (_, first) = login(&world, Rivals::Allow);
    let (_, second) = login(&world, Rivals::Allow);
    let (session, third) = login(&world, Rivals::Kill);
    assert_eq!(session.sid.as_deref(), Some("3"));
    assert_eq!((world.check(&first), world.check(&second)), (ENDED, ENDED));
    assert_eq!(world.check(&third), Ok(()));
}

#[test]
fn possess_goes_on_under_a_new_secret() {
    let mut world = World::with(scripted(&["1", "2"]));
    let (old, old_token) = login(&world, Rivals::Possess);
    world.clock.advance(MINUTE);
    world.peer = None;
    let (new, new_token) = login(&world, Rivals::Possess);
    assert_eq!(
        (new.id, &new.sid, new.created, new.hard_end),
        (old.id, &old.sid, old.created, old.hard_end)
    );
    assert_eq!((new.expires, new.address), (Some(world.now().plus(HOUR)), None));
    assert_ne!(old_token, new_token);
    assert_eq!((world.check(&old_token), world.check(&new_token)), (UNKNOWN, Ok(())));
    assert_eq!(world.living(), 1);
}

#[test]
fn possessing_does_not_pass_the_hard_end() {
    let world = World::with(scripted(&["1", "2"]));
    let (start, (_, token)) = (world.now(), login(&world, Rivals::Possess));
    for _ in 0..47 {
        world.clock.advance(30 * MINUTE);
        assert_eq!(world.check(&token), Ok(()));
    }
    let (session, _) = login(&world, Rivals::Possess);
    assert_eq!((session.sid.as_deref(), session.expires), (Some("1"), Some(start.plus(24 * HOUR))));
}

#[test]
fn possess_opens_a_new_session_where_the_old_one_is_dead() {
    let ends: [fn(&World, &Secret); 2] =
        [|world, _| world.clock.advance(HOUR), |world, token| world.close(token).unwrap()];
    for end in ends {
        let world = World::with(scripted(&["1", "2"]));
        let (old, old_token) = login(&world, Rivals::Possess);
        end(&world, &old_token);
        let (new, new_token) = login(&world, Rivals::Possess);
        assert_ne!((new.id, &new.sid), (old.id, &old.sid));
        assert_eq!((world.check(&old_token), world.check(&new_token)), (ENDED, Ok(())));
    }
}

#[test]
fn other_users_and_other_dialects_are_no_rivals() {
    for rivals in [Rivals::Kill, Rivals::Possess] {
        let world = World::with(scripted(&["1", "2", "3"]));
        world.add_user("other", "ZZZ");
        let (_, _, others) = opened(world.login("other", "ZZZ"));
        let elsewhere = World::over(
            Arc::clone(&world.store),
            TestMint { dialect: "elsewhere", ..TestMint::new(PLAIN) },
            CHEAP,
        );
        let in_another_dialect = elsewhere.token();
        let (session, _) = login(&world, rivals);
        assert_eq!(session.sid.as_deref(), Some("2"));
        assert_eq!((world.check(&others), elsewhere.check(&in_another_dialect)), (Ok(()), Ok(())));
    }
}

#[test]
fn a_wrong_password_ends_no_rival() {
    let world = World::with(scripted(&["1", "2"]));
    let (_, token) = login(&world, Rivals::Kill);
    for rivals in [Rivals::Kill, Rivals::Possess] {
        let mut open = world.open("csmith", "xxx");
        open.rivals = rivals;
        assert_eq!(world.execute(Command::Open(open)).map(drop), Err(Failure::WrongPassword));
    }
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn a_sid_that_is_taken_is_drawn_again() {
    let world = World::with(scripted(&["1", "1", "1", "2"]));
    let (first, token) = login(&world, Rivals::Allow);
    let (second, _) = login(&world, Rivals::Allow);
    assert_eq!((first.sid.as_deref(), second.sid.as_deref()), (Some("1"), Some("2")));
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn a_login_gives_up_when_every_sid_is_taken() {
    let world = World::with(scripted(&["1"; 20]));
    let (_, token) = login(&world, Rivals::Allow);
    let refused = world.login("csmith", "XXX").map(drop);
    assert_eq!(refused, Err(Failure::Unavailable));
    assert_eq!((world.living(), world.check(&token)), (1, Ok(())));
}

#[test]
fn a_sid_is_free_again_when_its_session_was_ended() {
    let world = World::with(scripted(&["1", "1"]));
    let (_, token) = login(&world, Rivals::Allow);
    world.close(&token).unwrap();
    assert_eq!(login(&world, Rivals::Allow).0.sid.as_deref(), Some("1"));
}
