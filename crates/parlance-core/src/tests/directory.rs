//! Users who live in a directory: who may log in, what every check sees of him, and what the store keeps.

use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::refusals::COMMANDS;
use super::world::{CHEAP, MINUTE, PLAIN, TestMint, World, opened, run};
use crate::password::Scratch;
use crate::ports::{Pending, StoreError, UserPage, Users};
use crate::{
    CanonicalName, Command, Failure, Lifetime, Outcome, PasswordPolicy, Rivals, Secret, Session,
    Terms, User, UserId, UserName,
};

const ROLE: Uuid = Uuid::from_u128(7);

/// Somebody else's table of users, who verifies passwords himself if he is told to.
#[derive(Default)]
struct Staff {
    people: Mutex<Vec<User>>,
    away: AtomicBool,
    verifies: AtomicBool,
    calls: Mutex<Vec<&'static str>>,
    verified: Mutex<Vec<(Option<String>, String)>>,
}

impl Staff {
    fn answer<T: Send + 'static>(
        &self,
        call: &'static str,
        act: impl FnOnce(&[User]) -> T,
    ) -> Pending<T> {
        self.calls.lock().unwrap().push(call);
        let away = self.away.load(Ordering::SeqCst);
        let answer = if away { Err(away_error()) } else { Ok(act(&self.people.lock().unwrap())) };
        Box::pin(ready(answer))
    }

    fn edit(&self, id: u128, edit: impl FnOnce(&mut User)) {
        edit(self.people.lock().unwrap().iter_mut().find(|user| user.id == user_id(id)).unwrap());
    }

    fn remove(&self, id: u128) {
        self.people.lock().unwrap().retain(|user| user.id != user_id(id));
    }

    /// Adds a user whose password is `XXX`.
    fn add(&self, id: u128, name: &str) {
        let mut scratch = Scratch::default();
        let [m, t, p] = CHEAP;
        let policy = PasswordPolicy::new(m, t, p).unwrap();
        let hash = policy.hash("XXX", &super::world::Seeded::default(), &mut scratch).unwrap();
        let name = UserName::new(name).unwrap();
        let created = crate::Timestamp::from_millis(0);
        let user = User::new(user_id(id), &name, created);
        let user = User { password: Some(hash), roles: vec![ROLE], unrestricted: true, ..user };
        self.people.lock().unwrap().push(user);
    }

    fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn verified(&self) -> Vec<(Option<String>, String)> {
        std::mem::take(&mut self.verified.lock().unwrap())
    }
}

fn away_error() -> StoreError {
    StoreError::Unavailable("taken away".to_owned())
}

fn user_id(id: u128) -> UserId {
    UserId(Uuid::from_u128(id))
}

impl Users for Staff {
    fn user(&self, name: CanonicalName) -> Pending<Option<User>> {
        self.answer("user", |people| people.iter().find(|user| user.canonical == name).cloned())
    }

    fn user_by_id(&self, id: UserId) -> Pending<Option<User>> {
        self.answer("user_by_id", |people| people.iter().find(|user| user.id == id).cloned())
    }

    fn users(&self, offset: u64, limit: u32) -> Pending<UserPage> {
        self.answer("users", |people| {
            let items = people.iter().skip(offset.try_into().unwrap()).take(limit as usize);
            UserPage { total: people.len() as u64, items: items.cloned().collect() }
        })
    }

    fn verifies(&self) -> bool {
        self.verifies.load(Ordering::SeqCst)
    }

    fn verify(&self, user: Option<&User>, password: &str) -> Result<bool, StoreError> {
        let name = user.map(|user| user.name.clone());
        self.verified.lock().unwrap().push((name, password.to_owned()));
        if self.away.load(Ordering::SeqCst) { Err(away_error()) } else { Ok(password == "XXX") }
    }
}

/// A world whose users are `ann` (1) and `bob` (2) of a directory. `csmith` is in the store alone.
fn world(terms: Terms) -> (World, Arc<Staff>) {
    let staff = Arc::<Staff>::default();
    staff.add(1, "ann");
    staff.add(2, "bob");
    let world = World::new(terms);
    let users = Arc::<Staff>::clone(&staff);
    (World { authority: world.authority.with_users(users), ..world }, staff)
}

#[track_caller]
fn log_in(world: &World, name: &str) -> (Session, User, Secret) {
    opened(world.login(name, "XXX"))
}

/// What a login as `user` with `password` is answered, whether the authority or the directory verifies; a refusal costs what every other
/// costs, and has asked the store for nothing but a place, which it keeps.
#[track_caller]
fn check(user: &str, password: &str, edit: impl Fn(&mut User), expected: Result<(), Failure>) {
    for verifies in [false, true] {
        let (world, staff) = world(PLAIN);
        staff.verifies.store(verifies, Ordering::SeqCst);
        staff.edit(1, &edit);
        let got = world.login(user, password).map(drop);
        assert_eq!(got, expected, "{user:?}, {password:?}, {verifies}");
        assert_eq!(staff.calls(), ["user"]);
        assert_eq!(
            (world.hashes().len(), staff.verified().len()),
            (usize::from(!verifies), usize::from(verifies))
        );
        if expected.is_err() {
            assert_eq!(world.store.calls(), ["apply"; 2], "{user:?}, {password:?}, {verifies}");
        }
    }
}

#[test]
fn a_directory_says_who_may_log_in_and_every_refusal_costs_the_same() {
    let (unknown, wrong) = (Err(Failure::UnknownUser), Err(Failure::WrongPassword));
    let as_he_is = |_: &mut User| ();
    check("ann", "XXX", as_he_is, Ok(()));
    check("ANN", "XXX", as_he_is, Ok(()));
    check("csmith", "XXX", as_he_is, unknown);
    for password in ["no", "", "XXX\0", "\0", &"X".repeat(4097)] {
        check("ann", password, as_he_is, wrong);
        check("nobody", password, as_he_is, unknown);
        check("a|b", password, as_he_is, unknown);
        check("", password, as_he_is, unknown);
        check("ann", password, |ann| ann.enabled = false, wrong);
    }
    check("ann", "XXX", |ann| ann.enabled = false, Err(Failure::UserDisabled));
    check("ann", "XXX", |ann| ann.password_expired = true, Err(Failure::PasswordExpired));
}

#[test]
fn a_verifier_never_sees_a_user_beside_a_password_that_cannot_be_right() {
    let (world, staff) = world(PLAIN);
    staff.verifies.store(true, Ordering::SeqCst);
    let none = || vec![(None, "-".to_owned())];
    for (user, password, expected) in [
        ("ann", "XXX", vec![(Some("ann".to_owned()), "XXX".to_owned())]),
        ("ann", "no", vec![(Some("ann".to_owned()), "no".to_owned())]),
        ("ann", "", none()),
        ("ann", "XXX\0", none()),
        ("nobody", "XXX", none()),
        ("a|b", "XXX", none()),
    ] {
        let _answered = world.login(user, password);
        assert_eq!(staff.verified(), expected, "{user:?}, {password:?}");
    }
    staff.edit(1, |ann| ann.password = None);
    log_in(&world, "ann");
}

#[test]
fn a_user_without_a_hash_never_logs_in_where_hashes_count() {
    check("ann", "no", |ann| ann.password = None, Err(Failure::WrongPassword));
    let (world, staff) = world(PLAIN);
    staff.edit(1, |ann| ann.password = None);
    assert_eq!(world.login("ann", "XXX").map(drop), Err(Failure::WrongPassword));
}

#[test]
fn a_session_tells_what_the_directory_says_now_and_the_store_keeps_no_claim() {
    let (world, staff) = world(PLAIN);
    let (session, user, token) = log_in(&world, "ann");
    assert_eq!((user.id, user.roles, user.unrestricted), (user_id(1), vec![ROLE], true));
    assert_eq!((session.user, user.last_login), (user_id(1), Some(world.now())));
    let row = world.user("ann");
    assert_eq!((row.password, row.roles.len(), row.unrestricted), (None, 0, false));
    staff.edit(1, |ann| ann.roles.clear());
    let standing = world.execute(Command::Check(world.shown(&token)));
    let Ok(Outcome::Standing(_, user)) = standing else { panic!("{standing:?}") };
    assert_eq!((user.roles.len(), user.last_login), (0, Some(world.now())));
}

#[test]
fn a_row_is_made_once() {
    let (world, _) = world(PLAIN);
    log_in(&world, "ann");
    assert_eq!(world.store.calls(), ["apply", "user", "apply", "user", "apply"]);
    log_in(&world, "ann");
    assert_eq!(world.store.calls(), ["apply", "user", "apply"]);
}

#[test]
fn a_directorys_hash_is_never_replaced() {
    let (world, staff) = world(PLAIN);
    let world = World::over(world.store, TestMint::new(PLAIN), [16, 2, 1]);
    let users = Arc::<Staff>::clone(&staff);
    let world = World { authority: world.authority.with_users(users), ..world };
    world.hashes();
    log_in(&world, "ann");
    assert_eq!(world.hashes(), [CHEAP]);
    assert_eq!(world.user("ann").password, None);
}

/// Whoever the directory refuses from now on: each command of a living session is told that it has ended, and what the directory takes
/// back later revives nothing.
#[track_caller]
fn check_end(end: impl Fn(&Staff), restore: impl Fn(&Staff)) {
    for command in COMMANDS {
        let (world, staff) = world(PLAIN);
        let (seen, unseen) = (log_in(&world, "ann").2, log_in(&world, "ann").2);
        let bob = log_in(&world, "bob").2;
        end(&staff);
        let refused = || world.execute(command(world.shown(&seen))).map(drop);
        assert_eq!(refused(), Err(Failure::EndedSession));
        assert_eq!(refused(), Err(Failure::EndedSession));
        restore(&staff);
        assert_eq!(refused(), Err(Failure::EndedSession));
        assert_eq!(world.check(&unseen), Err(Failure::EndedSession), "all end with the first");
        assert_eq!(world.check(&bob), Ok(()));
        assert_eq!(world.check(&log_in(&world, "ann").2), Ok(()));
    }
}

#[test]
fn whom_the_directory_disables_or_loses_is_refused_at_the_next_check() {
    let enable = |on: bool| move |staff: &Staff| staff.edit(1, |ann| ann.enabled = on);
    check_end(enable(false), enable(true));
    check_end(|staff| staff.remove(1), |staff| staff.add(1, "ann"));
}

#[test]
fn an_end_that_the_directory_made_is_told_once() {
    let (world, staff) = world(Terms { tell_end_once: true, ..PLAIN });
    let token = log_in(&world, "ann").2;
    staff.remove(1);
    assert_eq!(world.check(&token), Err(Failure::EndedSession));
    assert_eq!(world.check(&token), Err(Failure::UnknownCredential));
}

#[test]
fn an_expired_password_in_the_directory_leaves_sessions_alone() {
    let (world, staff) = world(PLAIN);
    let token = log_in(&world, "ann").2;
    staff.edit(1, |ann| ann.password_expired = true);
    assert_eq!(world.check(&token), Ok(()));
    assert_eq!(world.login("ann", "XXX").map(drop), Err(Failure::PasswordExpired));
}

#[test]
fn a_directory_that_is_away_is_never_a_refusal_and_loses_nothing() {
    for verifies in [false, true] {
        let (world, staff) = world(PLAIN);
        staff.verifies.store(verifies, Ordering::SeqCst);
        let (living, dead) = (log_in(&world, "ann").2, log_in(&world, "ann").2);
        world.close(&dead).unwrap();
        let away = Err(Failure::Unavailable);
        staff.away.store(true, Ordering::SeqCst);
        for (user, password) in [("ann", "XXX"), ("ann", "no"), ("nobody", "XXX"), ("", "")] {
            assert_eq!(world.login(user, password).map(drop), away);
        }
        assert_eq!((world.check(&living), world.close(&living)), (away, away));
        assert_eq!(world.renew(&living, Lifetime::Unlimited).map(drop), away);
        assert_eq!(world.check(&dead), Err(Failure::EndedSession), "that needs nobody's word");
        staff.away.store(false, Ordering::SeqCst);
        assert_eq!(world.check(&living), Ok(()));
    }
}

#[test]
fn a_verifier_that_finds_nothing_out_is_no_refusal() {
    let (world, staff) = world(PLAIN);
    staff.verifies.store(true, Ordering::SeqCst);
    let ask = world.authority.users.clone().unwrap();
    staff.away.store(true, Ordering::SeqCst);
    assert_eq!(ask.verify(None, "-"), Err(away_error()));
    assert_eq!(world.login("ann", "XXX").map(drop), Err(Failure::Unavailable));
}

#[test]
fn an_operator_ends_sessions_and_disables_beside_the_directory() {
    let (world, _) = world(PLAIN);
    let token = log_in(&world, "ann").2;
    run(world.authority.revoke_user("Ann")).unwrap();
    assert_eq!(world.check(&token), Err(Failure::EndedSession));
    let token = log_in(&world, "ann").2;
    run(world.authority.set_enabled("ann", false)).unwrap();
    assert_eq!(world.check(&token), Err(Failure::EndedSession));
    assert_eq!(world.login("ann", "XXX").map(drop), Err(Failure::UserDisabled));
    assert_eq!(world.login("ann", "no").map(drop), Err(Failure::WrongPassword));
    run(world.authority.set_enabled("ann", true)).unwrap();
    run(world.authority.expire_password("ann")).unwrap();
    assert_eq!(world.login("ann", "XXX").map(drop), Err(Failure::PasswordExpired));
}

#[test]
fn a_name_may_change_hands() {
    let (world, staff) = world(PLAIN);
    let (anns, bobs) = (log_in(&world, "ann").2, log_in(&world, "bob").2);
    let rename = |id, name: &str| {
        let name = UserName::new(name).unwrap();
        staff.edit(id, |user| {
            (user.name, user.canonical) = (name.as_str().to_owned(), name.canonical());
        });
    };
    // Another name, the same user.
    rename(1, "Anna");
    assert_eq!(world.login("ann", "XXX").map(drop), Err(Failure::UnknownUser));
    let (_, user, _) = log_in(&world, "anna");
    assert_eq!((user.id, user.name.as_str()), (user_id(1), "Anna"));
    assert_eq!(world.check(&anns), Ok(()));
    // Another spelling reaches the row at the next login.
    rename(1, "ANNA");
    log_in(&world, "anna");
    assert_eq!(world.user("anna").name, "ANNA");
    // Somebody else has the name now. Whoever had it, and has not logged in since, has no sessions left.
    staff.remove(1);
    rename(2, "anna");
    let (session, user, _) = log_in(&world, "anna");
    assert_eq!((session.user, user.id), (user_id(2), user_id(2)));
    assert!(world.check(&anns).is_err());
    assert_eq!(world.check(&bobs), Ok(()));
    // A user of the store, from before there was a directory, gives way as well.
    staff.add(3, "csmith");
    assert_eq!(log_in(&world, "csmith").1.id, user_id(3));
}

#[test]
fn a_living_token_shown_at_a_login_counts_only_while_the_directory_knows_its_user() {
    let (world, staff) = world(PLAIN);
    let token = log_in(&world, "ann").2;
    let mut open = world.open("ann", "XXX");
    open.shown = Some(world.shown(&token));
    let again = |world: &World| world.execute(Command::Open(open.clone()));
    assert!(matches!(again(&world), Ok(Outcome::Standing(..))));
    staff.edit(1, |ann| ann.enabled = false);
    assert_eq!(again(&world).map(drop), Err(Failure::UserDisabled));
    staff.away.store(true, Ordering::SeqCst);
    assert_eq!(again(&world).map(drop), Err(Failure::Unavailable));
}

#[test]
fn rivals_are_those_of_the_directorys_user() {
    let (world, _) = world(PLAIN);
    let (first, bob) = (log_in(&world, "ann").2, log_in(&world, "bob").2);
    world.clock.advance(MINUTE);
    let mut open = world.open("ann", "XXX");
    open.rivals = Rivals::Kill;
    opened(world.execute(Command::Open(open)));
    assert_eq!((world.check(&first), world.check(&bob)), (Err(Failure::EndedSession), Ok(())));
}

#[test]
fn users_are_listed_as_the_directory_has_them_with_what_the_store_knows() {
    let (world, staff) = world(PLAIN);
    let token = log_in(&world, "ann").2;
    staff.edit(2, |bob| (bob.last_login, bob.version) = (Some(world.now()), 9));
    let shown = || world.shown(&token);
    let page = world.execute(Command::ListUsers(shown(), 0, 10));
    let Ok(Outcome::Users(page)) = page else { panic!("{page:?}") };
    let told: Vec<_> =
        page.items.iter().map(|user| (user.name.as_str(), user.last_login)).collect();
    assert_eq!((page.total, told), (2, vec![("ann", Some(world.now())), ("bob", None)]));
    for (name, expected) in
        [("ANN", Some(("ann", Some(world.now())))), ("bob", Some(("bob", None))), ("csmith", None)]
    {
        let named = world.execute(Command::ShowUser(shown(), name.to_owned()));
        let Ok(Outcome::Named(user)) = named else { panic!("{named:?}") };
        assert_eq!(user.as_ref().map(|user| (user.name.as_str(), user.last_login)), expected);
    }
}

#[test]
fn without_its_directory_a_store_lets_nobody_of_it_in() {
    let (one, _) = world(PLAIN);
    log_in(&one, "ann");
    let other = World::over(one.store, TestMint::new(PLAIN), CHEAP);
    assert_eq!(other.login("ann", "XXX").map(drop), Err(Failure::WrongPassword));
    assert_eq!(other.login("ann", "").map(drop), Err(Failure::WrongPassword));
    assert!(other.login("csmith", "XXX").is_ok());
}
