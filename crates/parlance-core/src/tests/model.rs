//! Any sequence of commands against a model of what lives: nothing revives what was ended, nothing ends what was not.

use std::time::Duration;

use proptest::prelude::*;

use super::world::{PLAIN, World, opened, run, secret};
use crate::{Command, Failure, Lifetime, Rivals, Secret, SessionId, Terms, Timestamp};

const USERS: [&str; 2] = ["anna", "bert"];
const LIFE: Duration = Duration::from_secs(100);
const HARD: Duration = Duration::from_secs(350);

#[derive(Debug, Clone)]
enum Step {
    Login(usize, Rivals, bool),
    Check(usize),
    Renew(usize, u64),
    Close(usize),
    Advance(u64),
    Enable(usize, bool),
    ExpirePassword(usize),
    SetPassword(usize),
    RevokeUser(usize),
    RevokeOne(usize),
    RevokeAll,
}

fn step() -> impl Strategy<Value = Step> {
    let rivals = prop_oneof![Just(Rivals::Allow), Just(Rivals::Possess), Just(Rivals::Kill)];
    let rivals = prop_oneof![2 => Just(Rivals::Allow), 1 => rivals];
    prop_oneof![
        6 => (0..2_usize, rivals, prop::bool::weighted(0.9)).prop_map(|(user, rivals, right)| Step::Login(user, rivals, right)),
        6 => any::<usize>().prop_map(Step::Check),
        3 => (any::<usize>(), 0..400_u64).prop_map(|(token, seconds)| Step::Renew(token, seconds)),
        3 => any::<usize>().prop_map(Step::Close),
        5 => (0..120_u64).prop_map(Step::Advance),
        2 => (0..2_usize, any::<bool>()).prop_map(|(user, enabled)| Step::Enable(user, enabled)),
        1 => (0..2_usize).prop_map(Step::ExpirePassword),
        1 => (0..2_usize).prop_map(Step::SetPassword),
        1 => (0..2_usize).prop_map(Step::RevokeUser),
        1 => any::<usize>().prop_map(Step::RevokeOne),
        1 => Just(Step::RevokeAll),
    ]
}

/// What the model knows of a token.
struct Known {
    token: Secret,
    id: SessionId,
    user: usize,
    expires: Timestamp,
    hard_end: Timestamp,
    dead: bool,
    /// A rival took the session over: nobody has this secret any more.
    gone: bool,
}

impl Known {
    fn state(&self, now: Timestamp) -> Result<(), Failure> {
        match (self.gone, self.dead || now >= self.expires) {
            (true, _) => Err(Failure::UnknownCredential),
            (false, true) => Err(Failure::EndedSession),
            (false, false) => Ok(()),
        }
    }
}

struct Model {
    world: World,
    known: Vec<Known>,
    enabled: [bool; 2],
    expired: [bool; 2],
}

impl Model {
    fn end(&mut self, ends: impl Fn(&Known) -> bool) {
        self.known.iter_mut().filter(|known| ends(known)).for_each(|known| known.dead = true);
    }

    fn login(&mut self, user: usize, rivals: Rivals, right: bool) {
        let now = self.world.now();
        let mut open = self.world.open(USERS[user], if right { "right" } else { "wrong" });
        open.rivals = rivals;
        let outcome = self.world.execute(Command::Open(open));
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
        let (session, _, token) = opened(outcome);
        let mut fresh = Known {
            token,
            id: session.id,
            user,
            expires: now.plus(LIFE),
            hard_end: now.plus(HARD),
            dead: false,
            gone: false,
        };
        let living = |known: &Known| known.user == user && known.state(now).is_ok();
        match rivals {
            Rivals::Allow => {}
            Rivals::Kill => self.end(living),
            Rivals::Possess => {
                let possessed = self.known.iter_mut().find(|known| known.id == session.id);
                assert_eq!(possessed.is_some(), self.known.iter().any(living));
                if let Some(old) =
                    self.known.iter_mut().find(|known| known.id == session.id && !known.gone)
                {
                    old.gone = true;
                    fresh.hard_end = old.hard_end;
                    fresh.expires = fresh.expires.min(old.hard_end);
                }
            }
        }
        self.known.push(fresh);
    }

    fn take(&mut self, step: &Step) {
        let now = self.world.now();
        let count = self.known.len().max(1);
        let at = |token: usize| token % count;
        let authority = &self.world.authority;
        match *step {
            Step::Login(user, rivals, right) => self.login(user, rivals, right),
            Step::Check(token) => {
                let Some(known) = self.known.get_mut(at(token)) else { return };
                assert_eq!(self.world.check(&known.token), known.state(now));
                if known.state(now).is_ok() {
                    known.expires = now.plus(LIFE).min(known.hard_end).max(known.expires);
                }
            }
            Step::Renew(token, seconds) => {
                let Some(known) = self.known.get_mut(at(token)) else { return };
                let span = Duration::from_secs(seconds);
                let renewed = self.world.renew(&known.token, Lifetime::Fixed(span));
                assert_eq!(renewed, known.state(now).map(|()| known.token.clone()));
                if known.state(now).is_ok() {
                    known.expires = now.plus(span).min(known.hard_end);
                }
            }
            Step::Close(token) => {
                let Some(known) = self.known.get_mut(at(token)) else { return };
                assert_eq!(self.world.close(&known.token), known.state(now));
                known.dead |= known.state(now).is_ok();
            }
            Step::Advance(seconds) => self.world.clock.advance(Duration::from_secs(seconds)),
            Step::Enable(user, enabled) => {
                run(authority.set_enabled(USERS[user], enabled)).unwrap();
                self.enabled[user] = enabled;
                self.end(|known| known.user == user && !enabled);
            }
            Step::ExpirePassword(user) => {
                run(authority.expire_password(USERS[user])).unwrap();
                self.expired[user] = true;
            }
            Step::SetPassword(user) => {
                run(authority.set_password(USERS[user], secret("right"))).unwrap();
                self.expired[user] = false;
                self.end(|known| known.user == user);
            }
            Step::RevokeUser(user) => {
                run(authority.revoke_user(USERS[user])).unwrap();
                self.end(|known| known.user == user);
            }
            Step::RevokeOne(token) => {
                let Some(known) = self.known.get(at(token)).filter(|known| !known.gone) else {
                    return;
                };
                let revoked = run(authority.revoke_session(known.id, now)).is_ok();
                assert_eq!(revoked, known.state(now).is_ok());
                let id = known.id;
                self.end(|known| known.id == id && revoked);
            }
            Step::RevokeAll => {
                run(authority.revoke_all()).unwrap();
                self.end(|_| true);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_token_counts_exactly_as_long_as_the_model_says(steps in prop::collection::vec(step(), 1..60)) {
        let terms = Terms { lifetime: Lifetime::Sliding(LIFE), max_lifetime: Some(HARD), ..PLAIN };
        let world = World::new(terms).unbounded();
        USERS.iter().for_each(|user| world.add_user(user, "right"));
        let mut model = Model { world, known: Vec::new(), enabled: [true; 2], expired: [false; 2] };
        for step in steps {
            model.take(&step);
            let now = model.world.now();
            for known in &model.known {
                prop_assert_eq!(model.world.look(&known.token), known.state(now));
            }
            let living = model.known.iter().filter(|known| known.state(now).is_ok()).count();
            prop_assert_eq!(model.world.living(), living);
        }
    }
}
