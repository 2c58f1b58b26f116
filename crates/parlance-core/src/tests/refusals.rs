//! Which refusal a presented credential gets, and in which order.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use super::harness::{
    AuthorityHarness, CHEAPEST_PARAMS, HOUR, MINUTE, PLAIN_POLICY, TestTokenIssuer, block_on,
    expect_logged_in, secret,
};
use crate::{
    AddressBinding, Command, Credential, Digest, Failure, Lifetime, Outcome, SessionPolicy,
};

/// The session policy of cluster-api.
const BOUND_POLICY: SessionPolicy = SessionPolicy {
    lifetime: Lifetime::Sliding(HOUR),
    max_lifetime: None,
    address_binding: AddressBinding::Exact,
    report_end_once: true,
};
const ELSEWHERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)));

#[test]
fn a_bound_session_is_accepted_only_from_its_login_address() {
    let mapped = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped();
    let cases = [
        (Some(IpAddr::from([192, 0, 2, 7])), Ok(())),
        (Some(IpAddr::from(mapped)), Ok(())),
        (ELSEWHERE, Err(Failure::UnexpectedAddress)),
        (Some(IpAddr::from([0_u16, 0, 0, 0, 0, 0, 0, 1])), Err(Failure::UnexpectedAddress)),
        (None, Err(Failure::UnexpectedAddress)),
    ];
    let mut world = AuthorityHarness::new(BOUND_POLICY);
    let token = world.token();
    for (peer, expected) in cases {
        world.peer = peer;
        assert_eq!(world.check(&token), expected, "{peer:?}");
    }
}

#[test]
fn an_ipv4_mapped_address_equals_its_ipv4_address() {
    let mut world = AuthorityHarness::new(BOUND_POLICY);
    world.peer = Some(IpAddr::from(Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped()));
    let token = world.token();
    world.peer = Some(IpAddr::from([192, 0, 2, 7]));
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn an_unbound_session_is_accepted_from_any_address() {
    let mut world = AuthorityHarness::new(PLAIN_POLICY);
    let token = world.token();
    world.peer = ELSEWHERE;
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn an_unexpected_address_neither_ends_nor_slides_a_session() {
    let mut world = AuthorityHarness::new(BOUND_POLICY);
    let token = world.token();
    let before = world.session(&token);
    let login_address = std::mem::replace(&mut world.peer, ELSEWHERE);
    world.clock.advance(MINUTE);
    assert_eq!(world.check(&token), Err(Failure::UnexpectedAddress));
    assert_eq!(world.log_out(&token), Err(Failure::UnexpectedAddress));
    assert_eq!(world.renew(&token, Lifetime::Unlimited), Err(Failure::UnexpectedAddress));
    assert_eq!(world.session(&token), before);
    world.peer = login_address;
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn unknown_comes_before_unexpected_address_and_that_before_ended() {
    let mut world = AuthorityHarness::new(BOUND_POLICY);
    let token = world.token();
    let login_address = std::mem::replace(&mut world.peer, ELSEWHERE);
    assert_eq!(world.check(&secret("NOBODY'S")), Err(Failure::UnknownCredential));
    world.clock.advance(HOUR);
    assert_eq!(world.check(&token), Err(Failure::UnexpectedAddress));
    // The end was not reported to the unexpected address, so the login address still gets the report.
    world.peer = login_address;
    assert_eq!(world.check(&token), Err(Failure::RevokedOrExpired));
    assert_eq!(world.check(&token), Err(Failure::UnknownCredential));
    world.peer = ELSEWHERE;
    assert_eq!(world.check(&token), Err(Failure::UnknownCredential));
}

/// Asserts that the end of a session, from any cause, is told once by a dialect with `report_end_once`, and always by
/// others.
#[track_caller]
fn check(end: impl Fn(&AuthorityHarness, &crate::Secret)) {
    for (tell_end_once, then) in
        [(true, Failure::UnknownCredential), (false, Failure::RevokedOrExpired)]
    {
        let world =
            AuthorityHarness::new(SessionPolicy { report_end_once: tell_end_once, ..BOUND_POLICY });
        let token = world.token();
        end(&world, &token);
        assert_eq!(world.check(&token), Err(Failure::RevokedOrExpired));
        for _ in 0..3 {
            assert_eq!(world.check(&token), Err(then));
            assert_eq!(world.log_out(&token), Err(then));
            assert_eq!(world.renew(&token, Lifetime::Unlimited), Err(then));
        }
    }
}

#[test]
fn an_end_is_reported_once_and_then_the_credential_is_unknown() {
    check(|world, token| assert_eq!(world.log_out(token), Ok(())));
    check(|world, _| world.clock.advance(HOUR));
    check(|world, _| block_on(world.authority.revoke_user("csmith")).unwrap());
    check(|world, _| block_on(world.authority.revoke_all()).unwrap());
    check(|world, _| block_on(world.authority.set_enabled("csmith", false)).unwrap());
    check(|world, _| block_on(world.authority.set_password("csmith", secret("YYY"))).unwrap());
    check(|world, token| {
        block_on(world.authority.revoke_session(world.session(token).id, world.now())).unwrap();
    });
}

/// Every command that takes a credential.
pub(super) const COMMANDS: [fn(Credential) -> Command; 7] = [
    Command::Check,
    Command::Peek,
    Command::Logout,
    Command::RecordLogin,
    |shown| Command::Renew(shown, Lifetime::Fixed(HOUR)),
    |shown| Command::ListUsers(shown, 0, 10),
    |shown| Command::ShowUser(shown, "csmith".to_owned()),
];

#[test]
fn every_command_reports_the_end() {
    for command in COMMANDS {
        let world = AuthorityHarness::new(BOUND_POLICY);
        let token = world.token();
        world.clock.advance(HOUR);
        let refused = || world.execute(command(world.credential(&token))).map(drop);
        assert_eq!(refused(), Err(Failure::RevokedOrExpired));
        assert_eq!(refused(), Err(Failure::UnknownCredential));
        let unknown = command(world.credential(&secret("NOBODY'S")));
        assert_eq!(world.execute(unknown).map(drop), Err(Failure::UnknownCredential));
    }
}

#[test]
fn a_login_with_an_ended_token_does_not_report_its_end() {
    let world = AuthorityHarness::new(BOUND_POLICY);
    let token = world.token();
    assert_eq!(world.log_out(&token), Ok(()));
    let mut open = world.login_request("csmith", "XXX");
    (open.existing_credential, open.credentials) = (Some(world.credential(&token)), None);
    assert_eq!(world.execute(Command::Login(open)).map(drop), Err(Failure::UnknownCredential));
    assert_eq!(world.check(&token), Err(Failure::RevokedOrExpired));
}

#[test]
fn an_expired_credential_does_not_end_a_live_session() {
    let world = AuthorityHarness::with_issuer(TestTokenIssuer {
        signs: true,
        ..TestTokenIssuer::new(BOUND_POLICY)
    });
    let old = world.token();
    world.clock.advance(HOUR - MINUTE);
    let new = world.renew(&old, Lifetime::Sliding(HOUR)).unwrap();
    world.clock.advance(MINUTE);
    assert!(world.check(&old).is_err());
    assert_eq!(world.check(&new), Ok(()));
}

#[test]
fn a_credential_must_name_the_user_and_public_id_of_its_session() {
    let world = AuthorityHarness::with_issuer(TestTokenIssuer {
        public_ids: Mutex::new(VecDeque::from(["956151005"])),
        ..TestTokenIssuer::new(PLAIN_POLICY)
    });
    world.add_user("Other", "ZZZ");
    let with_sid = world.token();
    let without = world.token();
    let unexpected = Err(Failure::UnexpectedUser);
    let cases = [
        (&with_sid, Some("csmith"), Some("956151005"), Ok(())),
        (&with_sid, Some("CSmith"), None, Ok(())),
        (&with_sid, None, Some("956151005"), Ok(())),
        (&with_sid, Some("other"), Some("956151005"), unexpected),
        (&with_sid, Some("nobody"), None, unexpected),
        (&with_sid, Some(""), None, unexpected),
        (&with_sid, Some("csmith|x"), None, unexpected),
        (&with_sid, None, Some("956151006"), unexpected),
        (&with_sid, None, Some("95615100"), unexpected),
        (&with_sid, None, Some(""), unexpected),
        (&without, None, None, Ok(())),
        (&without, None, Some(""), unexpected),
        (&without, None, Some("956151005"), unexpected),
    ];
    for (token, user, public_id, expected) in cases {
        let mut shown = world.credential(token);
        shown.user = user.map(str::to_owned);
        shown.public_id = public_id.map(str::to_owned);
        let got = world.execute(Command::Check(shown)).map(drop);
        assert_eq!(got, expected, "{user:?}, {public_id:?}");
    }
}

#[test]
fn a_credential_is_valid_in_its_own_dialect_only() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let other = AuthorityHarness::with_store(
        Arc::clone(&world.store),
        TestTokenIssuer { dialect: "other", ..TestTokenIssuer::new(PLAIN_POLICY) },
        CHEAPEST_PARAMS,
    );
    let token = world.token();
    assert_eq!(other.check(&token), Err(Failure::UnknownCredential));
    // Also for a client that knows the digest in the other dialect.
    let shown =
        Credential { digest: Digest::of("test", token.expose()), ..other.credential(&token) };
    assert_eq!(other.execute(Command::Logout(shown)).map(drop), Err(Failure::UnknownCredential));
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn a_disabled_session_is_refused_whatever_its_expiry() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let (mut session, user, _) = expect_logged_in(world.login("csmith", "XXX"));
    session.enabled = false;
    assert!(!session.is_live(&user, world.now()));
    session.enabled = true;
    assert!(session.is_live(&user, world.now()));
}

#[test]
fn each_liveness_condition_is_independent() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let (session, user, _) = expect_logged_in(world.login("csmith", "XXX"));
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
fn reading_users_requires_a_credential() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    world.add_user("Anna", "ZZZ");
    let token = world.token();
    let page = world.execute(Command::ListUsers(world.credential(&token), 1, 5));
    let Ok(Outcome::Users(page)) = page else { panic!("{page:?}") };
    assert_eq!((page.total, page.items.len()), (2, 1));
    for (name, expected) in [("ANNA", Some("Anna")), ("nobody", None), ("a|b", None), ("", None)] {
        let named = world.execute(Command::ShowUser(world.credential(&token), name.to_owned()));
        let Ok(Outcome::User(user)) = named else { panic!("{named:?}") };
        assert_eq!(user.map(|user| user.name).as_deref(), expected);
    }
}

#[test]
fn record_login_sets_the_last_login_and_not_the_expiry() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let token = world.token();
    let before = world.session(&token);
    world.clock.advance(MINUTE);
    let recorded = world.execute(Command::RecordLogin(world.credential(&token)));
    assert!(
        matches!(recorded, Ok(Outcome::LoginRecorded(at)) if at == world.now()),
        "{recorded:?}"
    );
    assert_eq!(world.user("csmith").last_login, Some(world.now()));
    assert_eq!(world.session(&token), before);
}
