//! The user directory: which users may log in, how every check sees their changes, and which data the store keeps.

use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::harness::{
    AuthorityHarness, CHEAPEST_PARAMS, MINUTE, PLAIN_POLICY, TestTokenIssuer, block_on,
    expect_logged_in,
};
use super::refusals::COMMANDS;
use crate::password::Scratch;
use crate::ports::{PasswordVerifier, StoreError, StoreFuture, UserDirectory, UserPage};
use crate::{
    CanonicalName, Command, ConcurrentSessions, Failure, Lifetime, Outcome, PasswordPolicy, Secret,
    Session, SessionPolicy, User, UserId, UserName,
};

const ROLE: Uuid = Uuid::from_u128(7);

/// An external table of users, which verifies passwords itself if told to.
#[derive(Default)]
struct TestDirectory {
    users: Mutex<Vec<User>>,
    unavailable: AtomicBool,
    verifies_passwords: AtomicBool,
    calls: Mutex<Vec<&'static str>>,
    verified: Mutex<Vec<(Option<String>, String)>>,
}

impl TestDirectory {
    fn answer<T: Send + 'static>(
        &self,
        call: &'static str,
        act: impl FnOnce(&[User]) -> T,
    ) -> StoreFuture<T> {
        self.calls.lock().unwrap().push(call);
        let away = self.unavailable.load(Ordering::SeqCst);
        let answer =
            if away { Err(unavailable_error()) } else { Ok(act(&self.users.lock().unwrap())) };
        Box::pin(ready(answer))
    }

    fn edit(&self, id: u128, edit: impl FnOnce(&mut User)) {
        edit(self.users.lock().unwrap().iter_mut().find(|user| user.id == user_id(id)).unwrap());
    }

    fn remove(&self, id: u128) {
        self.users.lock().unwrap().retain(|user| user.id != user_id(id));
    }

    /// Adds a user with the password `XXX`.
    fn add(&self, id: u128, name: &str) {
        let mut scratch = Scratch::default();
        let [m, t, p] = CHEAPEST_PARAMS;
        let policy = PasswordPolicy::new(m, t, p).unwrap();
        let hash =
            policy.hash("XXX", &super::harness::SeededEntropy::default(), &mut scratch).unwrap();
        let name = UserName::new(name).unwrap();
        let created = crate::Timestamp::from_millis(0);
        let user = User::new(user_id(id), &name, created);
        let user = User { password: Some(hash), roles: vec![ROLE], unrestricted: true, ..user };
        self.users.lock().unwrap().push(user);
    }

    fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn verified(&self) -> Vec<(Option<String>, String)> {
        std::mem::take(&mut self.verified.lock().unwrap())
    }
}

fn unavailable_error() -> StoreError {
    StoreError::Unavailable("set to unavailable".to_owned())
}

fn user_id(id: u128) -> UserId {
    UserId(Uuid::from_u128(id))
}

impl UserDirectory for TestDirectory {
    fn user(&self, name: CanonicalName) -> StoreFuture<Option<User>> {
        self.answer("user", |people| people.iter().find(|user| user.canonical == name).cloned())
    }

    fn user_by_id(&self, id: UserId) -> StoreFuture<Option<User>> {
        self.answer("user_by_id", |people| people.iter().find(|user| user.id == id).cloned())
    }

    fn users(&self, offset: u64, limit: u32) -> StoreFuture<UserPage> {
        self.answer("users", |people| {
            let items = people.iter().skip(offset.try_into().unwrap()).take(limit as usize);
            UserPage { total: people.len() as u64, items: items.cloned().collect() }
        })
    }

    fn password_verifier(&self) -> Option<&dyn PasswordVerifier> {
        self.verifies_passwords.load(Ordering::SeqCst).then_some(self as _)
    }
}

impl PasswordVerifier for TestDirectory {
    fn verify_password(&self, user: Option<&User>, password: &str) -> Result<bool, StoreError> {
        let name = user.map(|user| user.name.clone());
        self.verified.lock().unwrap().push((name, password.to_owned()));
        if self.unavailable.load(Ordering::SeqCst) {
            Err(unavailable_error())
        } else {
            Ok(password == "XXX")
        }
    }
}

/// A world with the users `ann` (1) and `bob` (2) in a directory. `csmith` is in the store alone.
fn directory_world(session_policy: SessionPolicy) -> (AuthorityHarness, Arc<TestDirectory>) {
    let staff = Arc::<TestDirectory>::default();
    staff.add(1, "ann");
    staff.add(2, "bob");
    let world = AuthorityHarness::new(session_policy);
    let users = Arc::<TestDirectory>::clone(&staff);
    (AuthorityHarness { authority: world.authority.with_user_directory(users), ..world }, staff)
}

#[track_caller]
fn log_in(world: &AuthorityHarness, name: &str) -> (Session, User, Secret) {
    expect_logged_in(world.login(name, "XXX"))
}

/// Asserts the answer to a login as `user` with `password`, with the authority or the directory verifying. Every
/// refusal costs the same, and asks the store only for a reservation, which stays taken.
#[track_caller]
fn check(user: &str, password: &str, edit: impl Fn(&mut User), expected: Result<(), Failure>) {
    for verifies in [false, true] {
        let (world, staff) = directory_world(PLAIN_POLICY);
        staff.verifies_passwords.store(verifies, Ordering::SeqCst);
        staff.edit(1, &edit);
        let got = world.login(user, password).map(drop);
        assert_eq!(got, expected, "{user:?}, {password:?}, {verifies}");
        assert_eq!(staff.calls(), ["user"]);
        assert_eq!(
            (world.computed_hashes().len(), staff.verified().len()),
            (usize::from(!verifies), usize::from(verifies))
        );
        if expected.is_err() {
            assert_eq!(world.store.calls(), ["apply"; 2], "{user:?}, {password:?}, {verifies}");
        }
    }
}

#[test]
fn logins_follow_the_user_directory_and_every_refusal_costs_the_same() {
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
fn a_directory_never_verifies_an_impossible_password_for_a_real_user() {
    let (world, staff) = directory_world(PLAIN_POLICY);
    staff.verifies_passwords.store(true, Ordering::SeqCst);
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
fn a_directory_user_without_a_hash_never_logs_in_by_hash() {
    check("ann", "no", |ann| ann.password = None, Err(Failure::WrongPassword));
    let (world, staff) = directory_world(PLAIN_POLICY);
    staff.edit(1, |ann| ann.password = None);
    assert_eq!(world.login("ann", "XXX").map(drop), Err(Failure::WrongPassword));
}

#[test]
fn a_session_shows_current_directory_data_and_the_store_keeps_none() {
    let (world, staff) = directory_world(PLAIN_POLICY);
    let (session, user, token) = log_in(&world, "ann");
    assert_eq!((user.id, user.roles, user.unrestricted), (user_id(1), vec![ROLE], true));
    assert_eq!((session.user, user.last_login), (user_id(1), Some(world.now())));
    let row = world.user("ann");
    assert_eq!((row.password, row.roles.len(), row.unrestricted), (None, 0, false));
    staff.edit(1, |ann| ann.roles.clear());
    let active = world.execute(Command::Check(world.credential(&token)));
    let Ok(Outcome::Active(_, user)) = active else { panic!("{active:?}") };
    assert_eq!((user.roles.len(), user.last_login), (0, Some(world.now())));
}

#[test]
fn the_row_of_an_external_user_is_created_once() {
    let (world, _) = directory_world(PLAIN_POLICY);
    log_in(&world, "ann");
    assert_eq!(world.store.calls(), ["apply", "user", "apply", "user", "apply"]);
    log_in(&world, "ann");
    assert_eq!(world.store.calls(), ["apply", "user", "apply"]);
}

#[test]
fn a_directorys_hash_is_never_replaced() {
    let (world, staff) = directory_world(PLAIN_POLICY);
    let world =
        AuthorityHarness::with_store(world.store, TestTokenIssuer::new(PLAIN_POLICY), [16, 2, 1]);
    let users = Arc::<TestDirectory>::clone(&staff);
    let world = AuthorityHarness { authority: world.authority.with_user_directory(users), ..world };
    world.computed_hashes();
    log_in(&world, "ann");
    assert_eq!(world.computed_hashes(), [CHEAPEST_PARAMS]);
    assert_eq!(world.user("ann").password, None);
}

/// Asserts that each command on a live session of a user that the directory refuses is told that the session has ended,
/// and that a later restore in the directory revives no session.
#[track_caller]
fn check_end(end: impl Fn(&TestDirectory), restore: impl Fn(&TestDirectory)) {
    for command in COMMANDS {
        let (world, staff) = directory_world(PLAIN_POLICY);
        let (seen, unseen) = (log_in(&world, "ann").2, log_in(&world, "ann").2);
        let bob = log_in(&world, "bob").2;
        end(&staff);
        let refused = || world.execute(command(world.credential(&seen))).map(drop);
        assert_eq!(refused(), Err(Failure::RevokedOrExpired));
        assert_eq!(refused(), Err(Failure::RevokedOrExpired));
        restore(&staff);
        assert_eq!(refused(), Err(Failure::RevokedOrExpired));
        assert_eq!(world.check(&unseen), Err(Failure::RevokedOrExpired), "all end with the first");
        assert_eq!(world.check(&bob), Ok(()));
        assert_eq!(world.check(&log_in(&world, "ann").2), Ok(()));
    }
}

#[test]
fn a_user_disabled_or_removed_in_the_directory_is_refused_at_the_next_check() {
    let enable = |on: bool| move |staff: &TestDirectory| staff.edit(1, |ann| ann.enabled = on);
    check_end(enable(false), enable(true));
    check_end(|staff| staff.remove(1), |staff| staff.add(1, "ann"));
}

#[test]
fn a_session_ended_by_the_directory_is_reported_ended_once() {
    let (world, staff) = directory_world(SessionPolicy { report_end_once: true, ..PLAIN_POLICY });
    let token = log_in(&world, "ann").2;
    staff.remove(1);
    assert_eq!(world.check(&token), Err(Failure::RevokedOrExpired));
    assert_eq!(world.check(&token), Err(Failure::UnknownCredential));
}

#[test]
fn an_expired_password_in_the_directory_keeps_sessions() {
    let (world, staff) = directory_world(PLAIN_POLICY);
    let token = log_in(&world, "ann").2;
    staff.edit(1, |ann| ann.password_expired = true);
    assert_eq!(world.check(&token), Ok(()));
    assert_eq!(world.login("ann", "XXX").map(drop), Err(Failure::PasswordExpired));
}

#[test]
fn an_unavailable_directory_never_refuses_and_loses_nothing() {
    for verifies in [false, true] {
        let (world, staff) = directory_world(PLAIN_POLICY);
        staff.verifies_passwords.store(verifies, Ordering::SeqCst);
        let (living, dead) = (log_in(&world, "ann").2, log_in(&world, "ann").2);
        world.log_out(&dead).unwrap();
        let away = Err(Failure::Unavailable);
        staff.unavailable.store(true, Ordering::SeqCst);
        for (user, password) in [("ann", "XXX"), ("ann", "no"), ("nobody", "XXX"), ("", "")] {
            assert_eq!(world.login(user, password).map(drop), away);
        }
        assert_eq!((world.check(&living), world.log_out(&living)), (away, away));
        assert_eq!(world.renew(&living, Lifetime::Unlimited).map(drop), away);
        assert_eq!(
            world.check(&dead),
            Err(Failure::RevokedOrExpired),
            "this refusal does not need the directory"
        );
        staff.unavailable.store(false, Ordering::SeqCst);
        assert_eq!(world.check(&living), Ok(()));
    }
}

#[test]
fn a_directory_that_cannot_verify_is_unavailable_and_refuses_no_login() {
    let (world, staff) = directory_world(PLAIN_POLICY);
    staff.verifies_passwords.store(true, Ordering::SeqCst);
    let directory = world.authority.user_directory.clone().unwrap();
    staff.unavailable.store(true, Ordering::SeqCst);
    let verified = directory.password_verifier().unwrap().verify_password(None, "-");
    assert_eq!(verified, Err(unavailable_error()));
    assert_eq!(world.login("ann", "XXX").map(drop), Err(Failure::Unavailable));
}

#[test]
fn an_operator_can_revoke_and_disable_external_users() {
    let (world, _) = directory_world(PLAIN_POLICY);
    let token = log_in(&world, "ann").2;
    block_on(world.authority.revoke_user("Ann")).unwrap();
    assert_eq!(world.check(&token), Err(Failure::RevokedOrExpired));
    let token = log_in(&world, "ann").2;
    block_on(world.authority.set_enabled("ann", false)).unwrap();
    assert_eq!(world.check(&token), Err(Failure::RevokedOrExpired));
    assert_eq!(world.login("ann", "XXX").map(drop), Err(Failure::UserDisabled));
    assert_eq!(world.login("ann", "no").map(drop), Err(Failure::WrongPassword));
    block_on(world.authority.set_enabled("ann", true)).unwrap();
    block_on(world.authority.expire_password("ann")).unwrap();
    assert_eq!(world.login("ann", "XXX").map(drop), Err(Failure::PasswordExpired));
}

#[test]
fn a_name_can_move_to_another_directory_user() {
    let (world, staff) = directory_world(PLAIN_POLICY);
    let (anns, bobs) = (log_in(&world, "ann").2, log_in(&world, "bob").2);
    let rename = |id, name: &str| {
        let name = UserName::new(name).unwrap();
        staff.edit(id, |user| {
            (user.name, user.canonical) = (name.as_str().to_owned(), name.canonical());
        });
    };
    // A new name for the same user.
    rename(1, "Anna");
    assert_eq!(world.login("ann", "XXX").map(drop), Err(Failure::UnknownUser));
    let (_, user, _) = log_in(&world, "anna");
    assert_eq!((user.id, user.name.as_str()), (user_id(1), "Anna"));
    assert_eq!(world.check(&anns), Ok(()));
    // Another spelling reaches the row at the next login.
    rename(1, "ANNA");
    log_in(&world, "anna");
    assert_eq!(world.user("anna").name, "ANNA");
    // Another user has the name now. The former holder of the name has not logged in since, and has no sessions left.
    staff.remove(1);
    rename(2, "anna");
    let (session, user, _) = log_in(&world, "anna");
    assert_eq!((session.user, user.id), (user_id(2), user_id(2)));
    assert!(world.check(&anns).is_err());
    assert_eq!(world.check(&bobs), Ok(()));
    // A user of the store from before the directory existed gives way as well.
    staff.add(3, "csmith");
    assert_eq!(log_in(&world, "csmith").1.id, user_id(3));
}

#[test]
fn a_live_token_at_login_counts_only_while_the_directory_has_its_user() {
    let (world, staff) = directory_world(PLAIN_POLICY);
    let token = log_in(&world, "ann").2;
    let mut open = world.login_request("ann", "XXX");
    open.existing_credential = Some(world.credential(&token));
    let again = |world: &AuthorityHarness| world.execute(Command::Login(open.clone()));
    assert!(matches!(again(&world), Ok(Outcome::Active(..))));
    staff.edit(1, |ann| ann.enabled = false);
    assert_eq!(again(&world).map(drop), Err(Failure::UserDisabled));
    staff.unavailable.store(true, Ordering::SeqCst);
    assert_eq!(again(&world).map(drop), Err(Failure::Unavailable));
}

#[test]
fn concurrent_sessions_are_those_of_the_directory_user() {
    let (world, _) = directory_world(PLAIN_POLICY);
    let (first, bob) = (log_in(&world, "ann").2, log_in(&world, "bob").2);
    world.clock.advance(MINUTE);
    let mut open = world.login_request("ann", "XXX");
    open.concurrent_sessions = ConcurrentSessions::EndOthers;
    expect_logged_in(world.execute(Command::Login(open)));
    assert_eq!((world.check(&first), world.check(&bob)), (Err(Failure::RevokedOrExpired), Ok(())));
}

#[test]
fn listed_users_combine_directory_and_store_data() {
    let (world, staff) = directory_world(PLAIN_POLICY);
    let token = log_in(&world, "ann").2;
    staff.edit(2, |bob| (bob.last_login, bob.version) = (Some(world.now()), 9));
    let shown = || world.credential(&token);
    let page = world.execute(Command::ListUsers(shown(), 0, 10));
    let Ok(Outcome::Users(page)) = page else { panic!("{page:?}") };
    let listed: Vec<_> =
        page.items.iter().map(|user| (user.name.as_str(), user.last_login)).collect();
    assert_eq!((page.total, listed), (2, vec![("ann", Some(world.now())), ("bob", None)]));
    for (name, expected) in
        [("ANN", Some(("ann", Some(world.now())))), ("bob", Some(("bob", None))), ("csmith", None)]
    {
        let named = world.execute(Command::ShowUser(shown(), name.to_owned()));
        let Ok(Outcome::User(user)) = named else { panic!("{named:?}") };
        assert_eq!(user.as_ref().map(|user| (user.name.as_str(), user.last_login)), expected);
    }
}

#[test]
fn external_users_cannot_log_in_without_their_directory() {
    let (one, _) = directory_world(PLAIN_POLICY);
    log_in(&one, "ann");
    let other = AuthorityHarness::with_store(
        one.store,
        TestTokenIssuer::new(PLAIN_POLICY),
        CHEAPEST_PARAMS,
    );
    assert_eq!(other.login("ann", "XXX").map(drop), Err(Failure::WrongPassword));
    assert_eq!(other.login("ann", "").map(drop), Err(Failure::WrongPassword));
    assert!(other.login("csmith", "XXX").is_ok());
}
