//! Session lifetimes: fixed, sliding, unlimited, each within the hard end.

use std::time::Duration;

use super::harness::{
    AuthorityHarness, HOUR, MINUTE, PLAIN_POLICY, TestTokenIssuer, expect_logged_in,
};
use crate::{Command, Failure, Lifetime, Outcome, SessionPolicy, Timestamp};

const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
const ENDED: Result<(), Failure> = Err(Failure::RevokedOrExpired);

fn policy_with(lifetime: Lifetime, max_lifetime: Option<Duration>) -> SessionPolicy {
    SessionPolicy { lifetime, max_lifetime, ..PLAIN_POLICY }
}

/// Asserts that a session opened at `at` is live until just before `limit` after that moment, and no longer.
#[track_caller]
fn check(at: Timestamp, lifetime: Lifetime, max: Option<Duration>, limit: Duration) {
    for (millis, expected) in [(-1, Ok(())), (0, ENDED), (1, ENDED)] {
        let world = AuthorityHarness::new(policy_with(lifetime, max));
        world.clock.set(at);
        let token = world.token();
        assert_eq!(world.peek(&token), Ok(()), "it counts at once");
        world.clock.set(Timestamp::from_millis(at.plus(limit).millis() + millis));
        assert_eq!(world.peek(&token), expected, "{lifetime:?}, {max:?}: {millis} ms from its end");
    }
}

#[test]
fn a_session_is_live_until_its_expiry_and_not_at_it() {
    let starts = [
        Timestamp::from_seconds(0),
        Timestamp::from_seconds(-86_400),
        Timestamp::from_seconds(1_651_406_400),
        Timestamp::from_seconds(i64::from(i32::MAX)),
        Timestamp::MIN,
        Timestamp::MAX.minus(YEAR),
    ];
    for at in starts {
        for lifetime in [Lifetime::Fixed(HOUR), Lifetime::Sliding(HOUR)] {
            check(at, lifetime, None, HOUR);
            check(at, lifetime, Some(YEAR), HOUR);
            check(at, lifetime, Some(MINUTE), MINUTE);
            check(at, lifetime, Some(HOUR), HOUR);
        }
        check(at, Lifetime::Unlimited, Some(HOUR), HOUR);
        check(at, Lifetime::Fixed(Duration::MAX), Some(HOUR), HOUR);
        check(at, Lifetime::Fixed(Duration::from_millis(1)), None, Duration::from_millis(1));
    }
}

#[test]
fn an_unlimited_session_never_expires() {
    let world = AuthorityHarness::new(policy_with(Lifetime::Unlimited, None));
    let token = world.token();
    for at in [Timestamp::MIN, Timestamp::from_seconds(0), Timestamp::MAX] {
        world.clock.set(at);
        assert_eq!(world.check(&token), Ok(()));
    }
    assert_eq!(world.session(&token).expires, None);
}

#[test]
fn extreme_lifetimes_saturate_at_the_last_timestamp() {
    for lifetime in [Lifetime::Fixed(Duration::MAX), Lifetime::Sliding(Duration::MAX)] {
        let world = AuthorityHarness::new(policy_with(lifetime, Some(Duration::MAX)));
        let token = world.token();
        assert_eq!(world.check(&token), Ok(()));
        assert_eq!(world.session(&token).expires, Some(Timestamp::MAX));
        world.clock.set(Timestamp::MAX);
        assert_eq!(world.check(&token), ENDED);
    }
}

#[test]
fn a_session_with_zero_lifetime_is_never_live() {
    for lifetime in [Lifetime::Fixed(Duration::ZERO), Lifetime::Sliding(Duration::ZERO)] {
        let world = AuthorityHarness::new(policy_with(lifetime, None));
        let token = world.token();
        assert_eq!(world.check(&token), ENDED);
    }
}

#[test]
fn a_sliding_session_in_use_lives_to_its_hard_end_and_no_longer() {
    let world = AuthorityHarness::new(policy_with(Lifetime::Sliding(10 * MINUTE), Some(24 * HOUR)));
    let (start, token) = (world.now(), world.token());
    for _ in 1..(24 * 60 / 9) {
        world.clock.advance(9 * MINUTE);
        assert_eq!(world.check(&token), Ok(()));
    }
    assert_eq!(world.session(&token).expires, Some(start.plus(24 * HOUR)));
    world.clock.set(Timestamp::from_millis(start.plus(24 * HOUR).millis() - 1));
    assert_eq!(world.check(&token), Ok(()));
    world.clock.set(start.plus(24 * HOUR));
    assert_eq!(world.check(&token), ENDED);
}

#[test]
fn lifetimes_of_a_second_survive_a_use_every_half_second() {
    for seconds in [1, 2] {
        let world = AuthorityHarness::new(policy_with(
            Lifetime::Sliding(Duration::from_secs(seconds)),
            None,
        ));
        let token = world.token();
        for _ in 0..100 {
            world.clock.advance(Duration::from_millis(500));
            assert_eq!(world.check(&token), Ok(()));
        }
        world.clock.advance(Duration::from_secs(seconds));
        assert_eq!(world.check(&token), ENDED);
    }
}

#[test]
fn only_a_check_slides_the_expiry() {
    let world = AuthorityHarness::new(policy_with(Lifetime::Sliding(HOUR), None));
    let (start, token) = (world.now(), world.token());
    world.clock.advance(MINUTE);
    assert_eq!(world.peek(&token), Ok(()));
    assert_eq!(world.session(&token).expires, Some(start.plus(HOUR)));
    assert_eq!(world.check(&token), Ok(()));
    assert_eq!(world.session(&token).expires, Some(start.plus(HOUR + MINUTE)));
    assert_eq!(world.session(&token).last_used, Some(start.plus(MINUTE)));
}

#[test]
fn a_check_reports_the_new_expiry() {
    let world = AuthorityHarness::new(policy_with(Lifetime::Sliding(HOUR), Some(90 * MINUTE)));
    let token = world.token();
    for (minutes, left) in [(10, HOUR), (30, 50 * MINUTE)] {
        world.clock.advance(minutes * MINUTE);
        let outcome = world.execute(Command::Check(world.credential(&token)));
        let Ok(Outcome::Active(session, _)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(session.expires, Some(world.now().plus(left)));
        assert_eq!(session, world.session(&token), "what is answered is what is stored");
    }
}

#[test]
fn sliding_never_shortens_an_expiry() {
    let world = AuthorityHarness::new(policy_with(Lifetime::Sliding(HOUR), None));
    let (start, token) = (world.now(), world.token());
    world.clock.advance(30 * MINUTE);
    assert_eq!(world.check(&token), Ok(()));
    // The clock is set back.
    world.clock.set(start);
    let outcome = world.execute(Command::Check(world.credential(&token)));
    let Ok(Outcome::Active(session, _)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(session.expires, Some(start.plus(90 * MINUTE)));
    assert_eq!(world.session(&token).expires, session.expires);
}

#[test]
fn sliding_gives_an_unlimited_session_no_expiry() {
    let world = AuthorityHarness::new(policy_with(Lifetime::Sliding(HOUR), None));
    let mut open = world.login_request("csmith", "XXX");
    open.lifetime = Lifetime::Unlimited;
    let (_, _, token) = expect_logged_in(world.execute(Command::Login(open)));
    assert_eq!(world.check(&token), Ok(()));
    assert_eq!(world.session(&token).expires, None);
}

#[test]
fn a_check_of_a_fixed_session_writes_nothing() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let token = world.token();
    world.store.calls();
    assert_eq!(world.check(&token), Ok(()));
    assert_eq!(world.store.calls(), ["session"]);
}

#[test]
fn a_login_can_request_its_own_lifetime() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let mut open = world.login_request("csmith", "XXX");
    open.lifetime = Lifetime::Fixed(30 * 24 * HOUR);
    let (session, _, _) = expect_logged_in(world.execute(Command::Login(open)));
    assert_eq!(session.expires, Some(world.now().plus(30 * 24 * HOUR)));
}

#[test]
fn a_renewal_counts_from_now_and_may_shorten() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let token = world.token();
    for lifetime in [24 * HOUR, MINUTE, HOUR] {
        world.clock.advance(Duration::from_secs(30));
        let renewed =
            world.execute(Command::Renew(world.credential(&token), Lifetime::Fixed(lifetime)));
        let Ok(Outcome::Renewed(session, user, secret)) = renewed else { panic!("{renewed:?}") };
        assert_eq!(session.expires, Some(world.now().plus(lifetime)));
        assert_eq!(session, world.session(&token), "what is answered is what is stored");
        assert_eq!((user.name.as_str(), &secret), ("csmith", &token));
    }
}

#[test]
fn a_renewal_does_not_pass_the_hard_end() {
    let world = AuthorityHarness::new(policy_with(Lifetime::Fixed(HOUR), Some(2 * HOUR)));
    let (start, token) = (world.now(), world.token());
    world.clock.advance(59 * MINUTE);
    for lifetime in [Lifetime::Fixed(30 * 24 * HOUR), Lifetime::Unlimited] {
        assert_eq!(world.renew(&token, lifetime).as_ref(), Ok(&token));
        assert_eq!(world.session(&token).expires, Some(start.plus(2 * HOUR)));
    }
}

#[test]
fn a_renewal_never_revives_a_dead_session() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let (expired, closed) = (world.token(), world.token());
    assert_eq!(world.log_out(&closed), Ok(()));
    assert_eq!(world.renew(&closed, Lifetime::Unlimited), Err(Failure::RevokedOrExpired));
    world.clock.advance(HOUR);
    assert_eq!(world.renew(&expired, Lifetime::Unlimited), Err(Failure::RevokedOrExpired));
    assert_eq!((world.peek(&expired), world.peek(&closed)), (ENDED, ENDED));
}

/// A dialect with credentials that carry their own end.
fn with_signed_tokens() -> AuthorityHarness {
    AuthorityHarness::with_issuer(TestTokenIssuer {
        signs: true,
        ..TestTokenIssuer::new(PLAIN_POLICY)
    })
}

#[test]
fn a_credential_is_refused_from_its_own_expiry_on() {
    let world = with_signed_tokens();
    let (start, token) = (world.now(), world.token());
    for (at, expected) in [(-1, Ok(())), (0, ENDED), (1, ENDED)] {
        let mut shown = world.credential(&token);
        world.clock.set(start.plus(MINUTE));
        shown.not_after = Some(Timestamp::from_millis(world.now().millis() - at));
        assert_eq!(world.execute(Command::Check(shown)).map(drop), expected);
    }
}

#[test]
fn a_reissued_credential_outlives_the_old_one_and_ends_with_the_session() {
    let world = with_signed_tokens();
    let old = world.token();
    world.clock.advance(30 * MINUTE);
    let new = world.renew(&old, Lifetime::Fixed(HOUR)).unwrap();
    assert_ne!(old, new);
    assert_eq!(world.session(&old).id, world.session(&new).id);
    assert_eq!((world.check(&old), world.check(&new)), (Ok(()), Ok(())));
    world.clock.advance(30 * MINUTE);
    assert_eq!((world.check(&old), world.check(&new)), (ENDED, Ok(())));
    let newest = world.renew(&new, Lifetime::Fixed(HOUR)).unwrap();
    assert_eq!(world.log_out(&new), Ok(()));
    assert_eq!((world.check(&new), world.check(&newest)), (ENDED, ENDED));
}

#[test]
fn timestamps_saturate_at_both_ends() {
    let (min, max) = (Timestamp::MIN, Timestamp::MAX);
    assert_eq!(max.plus(Duration::from_millis(1)), max);
    assert_eq!(max.plus(Duration::MAX), max);
    assert_eq!(min.plus(Duration::MAX), max);
    assert_eq!(min.minus(Duration::from_millis(1)), min);
    assert_eq!(max.minus(Duration::MAX), min);
    assert_eq!((Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX)), (min, max));
    assert_eq!((Timestamp::from_seconds(i64::MIN), Timestamp::from_seconds(i64::MAX)), (min, max));
    assert_eq!(min.since(max), Duration::ZERO);
    assert_eq!(max.since(min).as_millis(), 315_537_897_599_999);
    assert_eq!(Timestamp::from_millis(-1).seconds(), -1);
    assert_eq!(Timestamp::from_millis(1999).seconds(), 1);
}
