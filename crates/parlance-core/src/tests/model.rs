//! Any sequence of commands against a model of the live sessions: no command revives an ended session, and no
//! session ends without a cause.

use std::time::Duration;

use proptest::prelude::*;

use super::harness::{AuthorityHarness, PLAIN_POLICY, block_on, expect_logged_in, secret};
use crate::{
    Command, ConcurrentSessions, Failure, Lifetime, Secret, SessionId, SessionPolicy, Timestamp,
};

const USERS: [&str; 2] = ["anna", "bert"];
const LIFETIME: Duration = Duration::from_secs(100);
const MAX_LIFETIME: Duration = Duration::from_secs(350);

#[derive(Debug, Clone)]
enum Step {
    Login(usize, ConcurrentSessions, bool),
    Check(usize),
    Renew(usize, u64),
    Logout(usize),
    Advance(u64),
    Enable(usize, bool),
    ExpirePassword(usize),
    SetPassword(usize),
    RevokeUser(usize),
    RevokeOne(usize),
    RevokeAll,
}

fn step() -> impl Strategy<Value = Step> {
    let rivals = prop_oneof![
        Just(ConcurrentSessions::Allow),
        Just(ConcurrentSessions::TakeOver),
        Just(ConcurrentSessions::EndOthers)
    ];
    let rivals = prop_oneof![2 => Just(ConcurrentSessions::Allow), 1 => rivals];
    prop_oneof![
        6 => (0..2_usize, rivals, prop::bool::weighted(0.9)).prop_map(|(user, rivals, right)| Step::Login(user, rivals, right)),
        6 => any::<usize>().prop_map(Step::Check),
        3 => (any::<usize>(), 0..400_u64).prop_map(|(token, seconds)| Step::Renew(token, seconds)),
        3 => any::<usize>().prop_map(Step::Logout),
        5 => (0..120_u64).prop_map(Step::Advance),
        2 => (0..2_usize, any::<bool>()).prop_map(|(user, enabled)| Step::Enable(user, enabled)),
        1 => (0..2_usize).prop_map(Step::ExpirePassword),
        1 => (0..2_usize).prop_map(Step::SetPassword),
        1 => (0..2_usize).prop_map(Step::RevokeUser),
        1 => any::<usize>().prop_map(Step::RevokeOne),
        1 => Just(Step::RevokeAll),
    ]
}

/// The state of a token in the model.
struct TokenModel {
    token: Secret,
    id: SessionId,
    user: usize,
    expires: Timestamp,
    hard_end: Timestamp,
    dead: bool,
    /// A concurrent login took the session over: no client has this secret any more.
    taken_over: bool,
}

impl TokenModel {
    fn state(&self, now: Timestamp) -> Result<(), Failure> {
        match (self.taken_over, self.dead || now >= self.expires) {
            (true, _) => Err(Failure::UnknownCredential),
            (false, true) => Err(Failure::RevokedOrExpired),
            (false, false) => Ok(()),
        }
    }
}

struct Model {
    world: AuthorityHarness,
    tokens: Vec<TokenModel>,
    enabled: [bool; 2],
    expired: [bool; 2],
}

impl Model {
    fn end_sessions(&mut self, ends: impl Fn(&TokenModel) -> bool) {
        self.tokens.iter_mut().filter(|known| ends(known)).for_each(|known| known.dead = true);
    }

    fn login(&mut self, user: usize, rivals: ConcurrentSessions, right: bool) {
        let now = self.world.now();
        let mut open = self.world.login_request(USERS[user], if right { "right" } else { "wrong" });
        open.concurrent_sessions = rivals;
        let outcome = self.world.execute(Command::Login(open));
        let refusal = match (right, self.enabled[user], self.expired[user]) {
            (false, ..) => Some(Failure::WrongPassword),
            (true, false, _) => Some(Failure::UserDisabled),
            (true, true, true) => Some(Failure::PasswordExpired),
            (true, true, false) => None,
        };
        if let Some(refusal) = refusal {
            assert_eq!(outcome.map(drop), Err(refusal));
            return;
        }
        let (session, _, token) = expect_logged_in(outcome);
        let mut fresh = TokenModel {
            token,
            id: session.id,
            user,
            expires: now.plus(LIFETIME),
            hard_end: now.plus(MAX_LIFETIME),
            dead: false,
            taken_over: false,
        };
        let living = |known: &TokenModel| known.user == user && known.state(now).is_ok();
        match rivals {
            ConcurrentSessions::Allow => {}
            ConcurrentSessions::EndOthers => self.end_sessions(living),
            ConcurrentSessions::TakeOver => {
                let possessed = self.tokens.iter_mut().find(|known| known.id == session.id);
                assert_eq!(possessed.is_some(), self.tokens.iter().any(living));
                if let Some(old) =
                    self.tokens.iter_mut().find(|known| known.id == session.id && !known.taken_over)
                {
                    old.taken_over = true;
                    fresh.hard_end = old.hard_end;
                    fresh.expires = fresh.expires.min(old.hard_end);
                }
            }
        }
        self.tokens.push(fresh);
    }

    fn run_step(&mut self, step: &Step) {
        let now = self.world.now();
        let count = self.tokens.len().max(1);
        let at = |token: usize| token % count;
        let authority = &self.world.authority;
        match *step {
            Step::Login(user, rivals, right) => self.login(user, rivals, right),
            Step::Check(token) => {
                let Some(known) = self.tokens.get_mut(at(token)) else { return };
                assert_eq!(self.world.check(&known.token), known.state(now));
                if known.state(now).is_ok() {
                    known.expires = now.plus(LIFETIME).min(known.hard_end).max(known.expires);
                }
            }
            Step::Renew(token, seconds) => {
                let Some(known) = self.tokens.get_mut(at(token)) else { return };
                let span = Duration::from_secs(seconds);
                let renewed = self.world.renew(&known.token, Lifetime::Fixed(span));
                assert_eq!(renewed, known.state(now).map(|()| known.token.clone()));
                if known.state(now).is_ok() {
                    known.expires = now.plus(span).min(known.hard_end);
                }
            }
            Step::Logout(token) => {
                let Some(known) = self.tokens.get_mut(at(token)) else { return };
                assert_eq!(self.world.log_out(&known.token), known.state(now));
                known.dead |= known.state(now).is_ok();
            }
            Step::Advance(seconds) => self.world.clock.advance(Duration::from_secs(seconds)),
            Step::Enable(user, enabled) => {
                block_on(authority.set_enabled(USERS[user], enabled)).unwrap();
                self.enabled[user] = enabled;
                self.end_sessions(|known| known.user == user && !enabled);
            }
            Step::ExpirePassword(user) => {
                block_on(authority.expire_password(USERS[user])).unwrap();
                self.expired[user] = true;
            }
            Step::SetPassword(user) => {
                block_on(authority.set_password(USERS[user], secret("right"))).unwrap();
                self.expired[user] = false;
                self.end_sessions(|known| known.user == user);
            }
            Step::RevokeUser(user) => {
                block_on(authority.revoke_user(USERS[user])).unwrap();
                self.end_sessions(|known| known.user == user);
            }
            Step::RevokeOne(token) => {
                let Some(known) = self.tokens.get(at(token)).filter(|known| !known.taken_over)
                else {
                    return;
                };
                let revoked = block_on(authority.revoke_session(known.id, now)).is_ok();
                assert_eq!(revoked, known.state(now).is_ok());
                let id = known.id;
                self.end_sessions(|known| known.id == id && revoked);
            }
            Step::RevokeAll => {
                block_on(authority.revoke_all()).unwrap();
                self.end_sessions(|_| true);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_token_is_accepted_exactly_while_the_model_accepts_it(steps in prop::collection::vec(step(), 1..60)) {
        let terms = SessionPolicy { lifetime: Lifetime::Sliding(LIFETIME), max_lifetime: Some(MAX_LIFETIME), ..PLAIN_POLICY };
        let world = AuthorityHarness::new(terms).without_limits();
        USERS.iter().for_each(|user| world.add_user(user, "right"));
        let mut model = Model { world, tokens: Vec::new(), enabled: [true; 2], expired: [false; 2] };
        for step in steps {
            model.run_step(&step);
            let now = model.world.now();
            for known in &model.tokens {
                prop_assert_eq!(model.world.peek(&known.token), known.state(now));
            }
            let living = model.tokens.iter().filter(|known| known.state(now).is_ok()).count();
            prop_assert_eq!(model.world.live_sessions(), living);
        }
    }
}
