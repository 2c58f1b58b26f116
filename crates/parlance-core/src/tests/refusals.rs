//! Which refusal a shown credential hears, and in which order.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use super::world::{CHEAP, HOUR, MINUTE, PLAIN, TestMint, World, opened, run, secret};
use crate::{Binding, Command, Credential, Digest, Failure, Lifetime, Outcome, Terms};

/// Terms as cluster-api has them.
const BOUND: Terms = Terms {
    lifetime: Lifetime::Sliding(HOUR),
    max_lifetime: None,
    bind_address: Binding::Exact,
    tell_end_once: true,
};
const ELSEWHERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)));

#[test]
fn a_bound_session_counts_from_its_own_address_only() {
    let mapped = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped();
    let cases = [
        (Some(IpAddr::from([192, 0, 2, 7])), Ok(())),
        (Some(IpAddr::from(mapped)), Ok(())),
        (ELSEWHERE, Err(Failure::ForeignAddress)),
        (Some(IpAddr::from([0_u16, 0, 0, 0, 0, 0, 0, 1])), Err(Failure::ForeignAddress)),
        (None, Err(Failure::ForeignAddress)),
    ];
    let mut world = World::new(BOUND);
    let token = world.token();
    for (peer, expected) in cases {
        world.peer = peer;
        assert_eq!(world.check(&token), expected, "{peer:?}");
    }
}

#[test]
fn a_session_bound_through_a_mapped_address_is_the_same() {
    let mut world = World::new(BOUND);
    world.peer = Some(IpAddr::from(Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped()));
    let token = world.token();
    world.peer = Some(IpAddr::from([192, 0, 2, 7]));
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn an_unbound_session_counts_from_anywhere() {
    let mut world = World::new(PLAIN);
    let token = world.token();
    world.peer = ELSEWHERE;
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn a_foreign_address_ends_nothing_and_slides_nothing() {
    let mut world = World::new(BOUND);
    let token = world.token();
    let before = world.session(&token);
    let home = std::mem::replace(&mut world.peer, ELSEWHERE);
    world.clock.advance(MINUTE);
    assert_eq!(world.check(&token), Err(Failure::ForeignAddress));
    assert_eq!(world.close(&token), Err(Failure::ForeignAddress));
    assert_eq!(world.renew(&token, Lifetime::Unlimited), Err(Failure::ForeignAddress));
    assert_eq!(world.session(&token), before);
    world.peer = home;
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn unknown_comes_before_foreign_and_foreign_before_ended() {
    let mut world = World::new(BOUND);
    let token = world.token();
    let home = std::mem::replace(&mut world.peer, ELSEWHERE);
    assert_eq!(world.check(&secret("NOBODY'S")), Err(Failure::UnknownCredential));
    world.clock.advance(HOUR);
    assert_eq!(world.check(&token), Err(Failure::ForeignAddress));
    // From elsewhere it was not told, so at home it still is.
    world.peer = home;
    assert_eq!(world.check(&token), Err(Failure::EndedSession));
    assert_eq!(world.check(&token), Err(Failure::UnknownCredential));
    world.peer = ELSEWHERE;
    assert_eq!(world.check(&token), Err(Failure::UnknownCredential));
}

/// The end of a session, whatever ended it, is told once by a dialect that tells, and always by others.
#[track_caller]
fn check(end: impl Fn(&World, &crate::Secret)) {
    for (tell_end_once, then) in
        [(true, Failure::UnknownCredential), (false, Failure::EndedSession)]
    {
        let world = World::new(Terms { tell_end_once, ..BOUND });
        let token = world.token();
        end(&world, &token);
        assert_eq!(world.check(&token), Err(Failure::EndedSession));
        for _ in 0..3 {
            assert_eq!(world.check(&token), Err(then));
            assert_eq!(world.close(&token), Err(then));
            assert_eq!(world.renew(&token, Lifetime::Unlimited), Err(then));
        }
    }
}

#[test]
fn an_end_is_told_once_and_then_the_credential_is_unknown() {
    check(|world, token| assert_eq!(world.close(token), Ok(())));
    check(|world, _| world.clock.advance(HOUR));
    check(|world, _| run(world.authority.revoke_user("csmith")).unwrap());
    check(|world, _| run(world.authority.revoke_all()).unwrap());
    check(|world, _| run(world.authority.set_enabled("csmith", false)).unwrap());
    check(|world, _| run(world.authority.set_password("csmith", secret("YYY"))).unwrap());
    check(|world, token| {
        run(world.authority.revoke_session(world.session(token).id, world.now())).unwrap();
    });
}

/// Whatever may be asked with a credential.
pub(super) const COMMANDS: [fn(Credential) -> Command; 7] = [
    Command::Check,
    Command::Look,
    Command::Close,
    Command::Bump,
    |shown| Command::Renew(shown, Lifetime::Fixed(HOUR)),
    |shown| Command::ListUsers(shown, 0, 10),
    |shown| Command::ShowUser(shown, "csmith".to_owned()),
];

#[test]
fn every_command_tells_the_end() {
    for command in COMMANDS {
        let world = World::new(BOUND);
        let token = world.token();
        world.clock.advance(HOUR);
        let refused = || world.execute(command(world.shown(&token))).map(drop);
        assert_eq!(refused(), Err(Failure::EndedSession));
        assert_eq!(refused(), Err(Failure::UnknownCredential));
        let unknown = command(world.shown(&secret("NOBODY'S")));
        assert_eq!(world.execute(unknown).map(drop), Err(Failure::UnknownCredential));
    }
}

#[test]
fn a_login_that_shows_an_ended_token_does_not_tell_its_end() {
    let world = World::new(BOUND);
    let token = world.token();
    assert_eq!(world.close(&token), Ok(()));
    let mut open = world.open("csmith", "XXX");
    (open.shown, open.login) = (Some(world.shown(&token)), None);
    assert_eq!(world.execute(Command::Open(open)).map(drop), Err(Failure::UnknownCredential));
    assert_eq!(world.check(&token), Err(Failure::EndedSession));
}

#[test]
fn a_credential_that_outlived_itself_leaves_a_living_session_alone() {
    let world = World::with(TestMint { signs: true, ..TestMint::new(BOUND) });
    let old = world.token();
    world.clock.advance(HOUR - MINUTE);
    let new = world.renew(&old, Lifetime::Sliding(HOUR)).unwrap();
    world.clock.advance(MINUTE);
    assert!(world.check(&old).is_err());
    assert_eq!(world.check(&new), Ok(()));
}

#[test]
fn a_credential_names_its_own_user_and_sid_or_is_refused() {
    let world = World::with(TestMint {
        sids: Mutex::new(VecDeque::from(["956151005"])),
        ..TestMint::new(PLAIN)
    });
    world.add_user("Other", "ZZZ");
    let with_sid = world.token();
    let without = world.token();
    let foreign = Err(Failure::ForeignUser);
    let cases = [
        (&with_sid, Some("csmith"), Some("956151005"), Ok(())),
        (&with_sid, Some("CSmith"), None, Ok(())),
        (&with_sid, None, Some("956151005"), Ok(())),
        (&with_sid, Some("other"), Some("956151005"), foreign),
        (&with_sid, Some("nobody"), None, foreign),
        (&with_sid, Some(""), None, foreign),
        (&with_sid, Some("csmith|x"), None, foreign),
        (&with_sid, None, Some("956151006"), foreign),
        (&with_sid, None, Some("95615100"), foreign),
        (&with_sid, None, Some(""), foreign),
        (&without, None, None, Ok(())),
        (&without, None, Some(""), foreign),
        (&without, None, Some("956151005"), foreign),
    ];
    for (token, user, sid, expected) in cases {
        let mut shown = world.shown(token);
        shown.user = user.map(str::to_owned);
        shown.sid = sid.map(str::to_owned);
        let got = world.execute(Command::Check(shown)).map(drop);
        assert_eq!(got, expected, "{user:?}, {sid:?}");
    }
}

#[test]
fn a_credential_counts_in_its_own_dialect_only() {
    let world = World::new(PLAIN);
    let other = World::over(
        Arc::clone(&world.store),
        TestMint { dialect: "other", ..TestMint::new(PLAIN) },
        CHEAP,
    );
    let token = world.token();
    assert_eq!(other.check(&token), Err(Failure::UnknownCredential));
    // Even where somebody knows the digest that the other dialect would look up.
    let shown = Credential { digest: Digest::of("test", token.expose()), ..other.shown(&token) };
    assert_eq!(other.execute(Command::Close(shown)).map(drop), Err(Failure::UnknownCredential));
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn a_disabled_session_is_refused_whatever_its_expiry() {
    let world = World::new(PLAIN);
    let (mut session, user, _) = opened(world.login("csmith", "XXX"));
    session.enabled = false;
    assert!(!session.is_live(&user, world.now()));
    session.enabled = true;
    assert!(session.is_live(&user, world.now()));
}

#[test]
fn each_condition_of_a_living_session_counts_by_itself() {
    let world = World::new(PLAIN);
    let (session, user, _) = opened(world.login("csmith", "XXX"));
    let now = world.now();
    let session = crate::Session { expires: None, hard_end: None, ..session };
    let live = |edit: fn(&mut crate::Session, &mut crate::User, crate::Timestamp)| {
        let (mut session, mut user) = (session.clone(), user.clone());
        edit(&mut session, &mut user, now);
        session.is_live(&user, now)
    };
    assert!(live(|_, _, _| ()));
    assert!(live(|session, _, now| session.expires = Some(now.plus(MINUTE))));
    assert!(live(|session, _, now| session.hard_end = Some(now.plus(MINUTE))));
    assert!(!live(|session, _, now| session.expires = Some(now)));
    assert!(!live(|session, _, now| session.hard_end = Some(now)));
    assert!(!live(|session, _, now| session.revoked = Some(now)));
    assert!(!live(|session, _, _| session.enabled = false));
    assert!(!live(|_, user, _| user.enabled = false));
    assert!(!live(|session, _, _| session.epoch += 1));
    assert!(!live(|_, user, _| user.epoch += 1));
    assert!(live(|_, user, _| user.password_expired = true));
}

#[test]
fn users_are_read_behind_a_credential() {
    let world = World::new(PLAIN);
    world.add_user("Anna", "ZZZ");
    let token = world.token();
    let page = world.execute(Command::ListUsers(world.shown(&token), 1, 5));
    let Ok(Outcome::Users(page)) = page else { panic!("{page:?}") };
    assert_eq!((page.total, page.items.len()), (2, 1));
    for (name, expected) in [("ANNA", Some("Anna")), ("nobody", None), ("a|b", None), ("", None)] {
        let named = world.execute(Command::ShowUser(world.shown(&token), name.to_owned()));
        let Ok(Outcome::Named(user)) = named else { panic!("{named:?}") };
        assert_eq!(user.map(|user| user.name).as_deref(), expected);
    }
}

#[test]
fn a_bump_sets_the_last_login_and_not_the_expiry() {
    let world = World::new(PLAIN);
    let token = world.token();
    let before = world.session(&token);
    world.clock.advance(MINUTE);
    let bumped = world.execute(Command::Bump(world.shown(&token)));
    assert!(matches!(bumped, Ok(Outcome::Bumped(at)) if at == world.now()), "{bumped:?}");
    assert_eq!(world.user("csmith").last_login, Some(world.now()));
    assert_eq!(world.session(&token), before);
}
