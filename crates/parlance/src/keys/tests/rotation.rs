//! Claims about key rotation, on nodes under a clock that a test moves.

use std::time::Duration;

use parlance_axxon_jsonrpc::{AxxonJsonrpc, Settings};
use parlance_core::Failure;
use parlance_core::ports::Clock as _;
use parlance_dialect::testing::TestClock;
use parlance_dialect::{DialectHandler as _, DialectService, Response};
use serde_json::Value;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A key for six seconds.
const SIX_SECOND_ROTATION: Schedule =
    Schedule { poll_interval: SECOND, rotation_interval: Some(Duration::from_secs(6)) };
/// A key signs until an operator rotates.
const NO_ROTATION: Schedule = Schedule { poll_interval: SECOND, rotation_interval: None };
/// Lifetime of tokens.
const TOKEN_LIFETIME: Duration = Duration::from_secs(8);

fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(1_651_406_400 + second)
}

/// A node: its keys, and the wire that signs with them.
struct Node {
    key_manager: KeyManager,
    key_set: RsaKeySet,
    service: DialectService<AxxonJsonrpc>,
}

impl Node {
    fn start(harness: &KeyHarness, world: &TestWorld, schedule: Schedule) -> Self {
        let store: Arc<dyn Store> = Arc::<ReferenceStore>::clone(&harness.store);
        let entropy = Arc::new(SeededEntropy::default());
        let clock = Arc::clone(&world.clock);
        let mut key_manager =
            KeyManager::new(store, harness.file.clone(), clock, entropy, schedule);
        let key_set = block_on(key_manager.axxon_key_set(TOKEN_LIFETIME)).unwrap();
        let settings = Settings { lifetime: TOKEN_LIFETIME, ..Settings::default() };
        let service = world.service(AxxonJsonrpc::new(settings, key_set.clone()));
        Self { key_manager, key_set, service }
    }

    fn refresh(&self) {
        block_on(self.key_manager.refresh(|_, _| {})).unwrap();
    }

    fn try_log_in(&self, world: &TestWorld) -> Response {
        let login = "POST /v1/authentication/authenticate_ex2\n\n{\"user_name\":\"csmith\",\"password\":\"XXX\"}";
        world.send(&self.service, login)
    }

    fn log_in(&self, world: &TestWorld) -> String {
        let answer = self.try_log_in(world);
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        answer["token_value"].as_str().unwrap().to_owned()
    }

    fn introspect(&self, world: &TestWorld, token: &str) -> Result<(), Failure> {
        block_on(self.service.introspect(token, world.clock.now())).map(drop)
    }
}

/// These are the keys at this second, each by its state and by the second from which on the key signs.
#[track_caller]
fn check(harness: &KeyHarness, second: i64, expected: &[(KeyState, i64)]) {
    let keys = harness.keys();
    let turns: Vec<_> = key_states(&keys, at(second))
        .into_iter()
        .map(|(key, turn)| (turn, key.active_from.since(at(0)).as_secs().try_into().unwrap()))
        .collect();
    assert_eq!(turns, expected, "second {second}");
}

#[test]
fn a_new_key_every_six_seconds_refuses_no_valid_token_on_either_node() {
    let (harness, world) = (KeyHarness::new(), TestWorld::with_csmith());
    let half = SECOND / 2;
    // The polls of one node fall between those of the other.
    let nodes = [(); 2].map(|()| Node::start(&harness, &world, SIX_SECOND_ROTATION));
    let mut tokens: Vec<(String, Timestamp)> = Vec::new();
    let (mut signers, mut judged) = (Vec::new(), 0);
    for step in 0..56 {
        nodes[step % 2].refresh();
        for node in &nodes {
            signers.push(node.key_set.current_kid().unwrap());
            // A JWT ends with a whole second.
            let ends = world.clock.now().plus(TOKEN_LIFETIME).seconds();
            tokens.push((node.log_in(&world), Timestamp::from_seconds(ends)));
        }
        tokens.retain(|(_, ends)| world.clock.now() < *ends);
        for (token, _) in &tokens {
            for node in &nodes {
                assert_eq!(node.introspect(&world, token), Ok(()), "step {step}");
                judged += 1;
            }
        }
        world.clock.advance(half);
    }
    signers.sort();
    signers.dedup();
    assert!(signers.len() >= 5 && judged > 1500, "{} keys, {judged} judgements", signers.len());
    // No key is kept for longer than everything signed with the key can live.
    assert!(harness.keys().len() <= 5, "{:?}", harness.keys());
}

#[test]
fn a_retired_key_verifies_until_its_last_token_has_expired() {
    let (harness, world) = (KeyHarness::new(), TestWorld::with_csmith());
    let node = Node::start(&harness, &world, SIX_SECOND_ROTATION);
    let token = node.log_in(&world);
    let kid = node.key_set.current_kid().unwrap();
    let mut seen = Vec::new();
    for second in 0..30 {
        node.refresh();
        seen.push(node.key_set.jwks().contains(&kid));
        if second < 8 {
            assert_eq!(node.introspect(&world, &token), Ok(()), "second {second}");
        }
        world.clock.advance(SECOND);
    }
    // The key signed until second 6: the last of its tokens ends with second 14, and two polls are grace.
    let until = seen.iter().position(|seen| !seen);
    assert_eq!(until, Some(6 + 8 + 2 + 1));
    assert_eq!(node.introspect(&world, &token), Err(Failure::NoCredential));
}

#[test]
fn a_key_is_published_for_two_polls_before_it_signs_and_nodes_create_only_one() {
    let (harness, world) = (KeyHarness::new(), TestWorld::with_csmith());
    let nodes = [(); 3].map(|()| Node::start(&harness, &world, SIX_SECOND_ROTATION));
    let first = nodes[0].key_set.current_kid();
    for (second, expected) in [
        (0, &[(KeyState::Current, 0)][..]),
        (2, &[(KeyState::Current, 0)]),
        (3, &[(KeyState::Current, 0), (KeyState::Next, 6)]),
        (5, &[(KeyState::Current, 0), (KeyState::Next, 6)]),
        (6, &[(KeyState::Retired, 0), (KeyState::Current, 6)]),
        (9, &[(KeyState::Retired, 0), (KeyState::Current, 6), (KeyState::Next, 12)]),
    ] {
        world.clock.advance(at(second).since(world.clock.now()));
        nodes.iter().for_each(|node| node.refresh());
        check(&harness, second, expected);
        let kids = nodes.each_ref().map(|node| node.key_set.current_kid());
        assert!(kids.iter().all(|kid| *kid == kids[0]));
        assert_eq!(kids[0] == first, second < 6, "second {second}");
    }
}

#[test]
fn when_the_next_key_is_due() {
    let lead = Duration::from_secs(600);
    let every = Schedule { poll_interval: 5 * SECOND, rotation_interval: Some(90 * DAY) };
    let key = |second| SealedKey { active_from: at(second), ..row("kid", Vec::new()) };
    let day = |days: i64| days * 24 * 60 * 60;
    let table = |keys: &[i64], second: i64, expected: Option<i64>, schedule: Schedule| {
        let keys: Vec<_> = keys.iter().map(|&second| key(second)).collect();
        assert_eq!(schedule.next_activation(&keys, at(second)), expected.map(at), "{second}");
    };
    let lead_seconds = i64::try_from(lead.as_secs()).unwrap();
    table(&[0], 0, None, every);
    table(&[0], day(90) - lead_seconds - 1, None, every);
    table(&[0], day(90) - lead_seconds, Some(day(90)), every);
    // No node ran for a year: verifiers elsewhere are given their time all the same.
    table(&[0], day(400), Some(day(400) + lead_seconds), every);
    table(&[0, day(90)], day(90) - 1, None, every);
    table(&[], day(90), None, every);
    table(&[0], day(4000), None, NO_ROTATION);
    // A poll that is as long as a turn: the next key signs late rather than before all nodes know that key.
    let slow = Schedule { poll_interval: 5 * SECOND, rotation_interval: Some(5 * SECOND) };
    table(&[0], 0, Some(10), slow);
}

#[test]
fn a_clock_behind_that_of_the_first_key_signs_all_the_same() {
    let (harness, kid) = KeyHarness::started();
    let early = at(-60);
    let key_set =
        block_on(load_or_create(&*harness.store, &harness.file, early, &harness.entropy)).unwrap();
    assert_eq!(key_set.current_kid(), Some(kid));
    check(&harness, -60, &[(KeyState::Current, 0)]);
}

#[test]
fn repeated_rotation_requests_create_one_key() {
    let (harness, world) = (KeyHarness::new(), TestWorld::with_csmith());
    let node = Node::start(&harness, &world, NO_ROTATION);
    let rotate = |second, notice| {
        let (store, file) = (&*harness.store, &harness.file);
        let (purpose, clock) = (Purpose::AxxonJsonrpc, TestClock::at(at(second)));
        let made = rotate(store, file, purpose, notice * SECOND, &clock, &harness.entropy);
        block_on(made).unwrap().unwrap().kid
    };
    let next = rotate(0, 2);
    assert_eq!(rotate(1, 2), next);
    check(&harness, 1, &[(KeyState::Current, 0), (KeyState::Next, 2)]);
    world.clock.advance(2 * SECOND);
    node.refresh();
    assert_eq!(node.key_set.current_kid().as_ref(), Some(&next));
    let forced = rotate(3, 0);
    assert_ne!(forced, next);
    check(&harness, 3, &[(KeyState::Retired, 0), (KeyState::Retired, 2), (KeyState::Current, 3)]);
    let (purpose, clock) = (Purpose::Assertion, TestClock::at(at(3)));
    let nothing =
        super::rotate(&*harness.store, &harness.file, purpose, SECOND, &clock, &harness.entropy);
    assert_eq!(block_on(nothing).unwrap(), None, "nobody asked for assertions");
}

#[test]
fn a_revoked_key_is_invalid_and_another_signs() {
    let (harness, world) = (KeyHarness::new(), TestWorld::with_csmith());
    let node = Node::start(&harness, &world, NO_ROTATION);
    let revoke = |kid: &str, second| {
        let clock = TestClock::at(at(second));
        block_on(revoke(&*harness.store, &harness.file, kid, &clock, &harness.entropy)).unwrap()
    };
    let (first, token) = (node.key_set.current_kid().unwrap(), node.log_in(&world));
    assert!(matches!(revoke("no such key", 0), Revocation::Unknown));
    assert!(
        matches!(revoke(&first, 1), Revocation::Done),
        "with nothing to come, a new one is made"
    );
    assert!(matches!(revoke(&first, 1), Revocation::Unknown));
    check(&harness, 1, &[(KeyState::Current, 1)]);
    assert_eq!(node.introspect(&world, &token), Ok(()), "until the next poll");
    world.clock.advance(SECOND);
    node.refresh();
    assert_eq!(node.introspect(&world, &token), Err(Failure::NoCredential));
    let fresh = node.log_in(&world);
    assert_eq!(node.introspect(&world, &fresh), Ok(()));

    let (purpose, clock) = (Purpose::AxxonJsonrpc, TestClock::at(at(2)));
    let made =
        rotate(&*harness.store, &harness.file, purpose, 98 * SECOND, &clock, &harness.entropy);
    let next = block_on(made).unwrap().map(|next| next.kid);
    let active = node.key_set.current_kid().unwrap();
    assert!(matches!(revoke(&active, 3), Revocation::Done), "the one to come takes over at once");
    world.clock.advance(2 * SECOND);
    node.refresh();
    assert_eq!(node.key_set.current_kid(), next);
    check(&harness, 3, &[(KeyState::Current, 3)]);
}

#[test]
fn keys_stay_in_use_while_the_store_or_the_key_file_is_unavailable() {
    let (harness, world) = (KeyHarness::new(), TestWorld::with_csmith());
    let node = Node::start(&harness, &world, SIX_SECOND_ROTATION);
    let token = node.log_in(&world);
    world.clock.advance(4 * SECOND);
    harness.store.set_unavailable(true);
    assert!(matches!(block_on(node.key_manager.refresh(|_, _| {})), Err(KeyError::Store(_))));
    assert_eq!(node.introspect(&world, &token), Ok(()));
    harness.store.set_unavailable(false);
    fs::rename(&harness.file, harness.folder.path().join("elsewhere")).unwrap();
    assert!(matches!(block_on(node.key_manager.refresh(|_, _| {})), Err(KeyError::Missing { .. })));
    assert_eq!(harness.keys().len(), 1, "no key is made without it, nor another file");
    assert!(!harness.file.exists());
    assert_eq!(node.introspect(&world, &token), Ok(()));
    fs::rename(harness.folder.path().join("elsewhere"), &harness.file).unwrap();
    node.refresh();
    check(&harness, 4, &[(KeyState::Current, 0), (KeyState::Next, 7)]);
}

#[test]
fn a_revoked_key_is_dropped_by_a_node_that_cannot_read_its_key_file() {
    let (harness, world) = (KeyHarness::new(), TestWorld::with_csmith());
    let mut node = Node::start(&harness, &world, NO_ROTATION);
    block_on(node.key_manager.assertion_signer("https://p.test")).unwrap();
    let (old, token) = (node.key_set.current_kid().unwrap(), node.log_in(&world));
    assert_eq!(node.key_manager.signing_error(), None);
    // The node's own key file is away; the file of the process that revokes is not.
    let elsewhere = harness.folder.path().join("elsewhere");
    fs::rename(&harness.file, &elsewhere).unwrap();
    let clock = TestClock::at(at(1));
    let revoked = block_on(revoke(&*harness.store, &elsewhere, &old, &clock, &harness.entropy));
    assert!(matches!(revoked, Ok(Revocation::Done)), "{revoked:?}");
    world.clock.advance(SECOND);
    let mut reported = Vec::new();
    let tick = block_on(node.key_manager.refresh(|_, at_work| reported.push(at_work.to_vec())));
    assert!(matches!(tick, Err(KeyError::Missing { .. })), "{tick:?}");
    assert_eq!(reported, [[]], "nothing is at work");
    assert_eq!(node.introspect(&world, &token), Err(Failure::NoCredential));
    assert!(!node.key_manager.jwks().contains(&old));
    assert_eq!(node.try_log_in(&world).status, 503);
    let why = node.key_manager.signing_error().unwrap();
    assert!(why.starts_with("no key signs for axxon-jsonrpc: the key file "), "{why}");
    // The other purpose goes on, and so does this one once the file is there.
    assert!(node.key_manager.jwks().contains("OKP"));
    fs::rename(&elsewhere, &harness.file).unwrap();
    node.refresh();
    assert_eq!(node.key_manager.signing_error(), None);
    let fresh = node.log_in(&world);
    assert_eq!(node.introspect(&world, &fresh), Ok(()));
}

#[test]
fn an_opened_key_takes_over_although_the_key_file_is_missing_by_then() {
    let (harness, world) = (KeyHarness::new(), TestWorld::with_csmith());
    let node = Node::start(&harness, &world, SIX_SECOND_ROTATION);
    let first = node.key_set.current_kid();
    for second in 0..=3 {
        world.clock.advance(at(second).since(world.clock.now()));
        node.refresh();
    }
    fs::remove_file(&harness.file).unwrap();
    world.clock.advance(3 * SECOND);
    block_on(node.key_manager.refresh(|_, _| {})).unwrap();
    assert_ne!(node.key_set.current_kid(), first);
    assert_eq!(node.key_manager.signing_error(), None);
}

#[test]
fn a_key_is_revoked_without_the_key_file_and_a_node_with_the_file_creates_another() {
    let (harness, world) = (KeyHarness::new(), TestWorld::with_csmith());
    let node = Node::start(&harness, &world, NO_ROTATION);
    block_on(
        KeyManager::new(
            Arc::<ReferenceStore>::clone(&harness.store),
            harness.file.clone(),
            Arc::clone(&world.clock) as Arc<dyn Clock>,
            Arc::new(SeededEntropy::default()),
            NO_ROTATION,
        )
        .assertion_signer("https://p.test"),
    )
    .unwrap();
    let old = node.key_set.current_kid().unwrap();
    let (nowhere, clock) = (harness.folder.path().join("nowhere"), TestClock::at(at(1)));
    let revoked = block_on(revoke(&*harness.store, &nowhere, &old, &clock, &harness.entropy));
    assert!(matches!(revoked, Ok(Revocation::Unreplaced(KeyError::Missing { .. }))), "{revoked:?}");
    assert!(!nowhere.exists());
    world.clock.advance(SECOND);
    node.refresh();
    let new = node.key_set.current_kid().unwrap();
    assert_ne!(new, old);
    let token = node.log_in(&world);
    assert_eq!(node.introspect(&world, &token), Ok(()));
}

#[test]
fn purposes_have_keys_of_their_own_and_one_file() {
    let (harness, world) = (KeyHarness::new(), TestWorld::with_csmith());
    let mut node = Node::start(&harness, &world, SIX_SECOND_ROTATION);
    let assertions = block_on(node.key_manager.assertion_signer("https://p.test")).unwrap();
    for second in 0..=6 {
        world.clock.advance(at(second).since(world.clock.now()));
        node.refresh();
    }
    let keys = harness.keys();
    let of = |purpose: Purpose| keys.iter().filter(|key| key.purpose == purpose.name()).count();
    assert_eq!((of(Purpose::AxxonJsonrpc), of(Purpose::Assertion)), (2, 2));
    let set: Value = serde_json::from_str(&node.key_manager.jwks()).unwrap();
    let published = set["keys"].as_array().unwrap();
    let mut kids: Vec<_> = published.iter().map(|key| key["kid"].as_str().unwrap()).collect();
    let mut known: Vec<_> = keys.iter().map(|key| key.kid.as_str()).collect();
    kids.sort_unstable();
    known.sort_unstable();
    assert_eq!(kids, known);
    let public = ["alg", "crv", "e", "kid", "kty", "n", "use", "x"];
    for key in published {
        let members = key.as_object().unwrap().keys();
        assert!(members.clone().all(|member| public.contains(&member.as_str())), "{key}");
    }
    let own = assertions.jwks();
    assert!(own.iter().all(|key| key["kty"] == "OKP") && own.len() == 2);
    assert!(!node.key_set.jwks().contains("OKP"), "axxon's own page shows axxon's keys");
}

/// A clock that goes on by five seconds at each reading.
struct SteppingClock(TestClock);

impl Clock for SteppingClock {
    fn now(&self) -> Timestamp {
        self.0.advance(5 * SECOND);
        self.0.now()
    }
}

#[test]
fn key_generation_time_is_not_deducted_from_the_notice() {
    let (harness, world) = (KeyHarness::new(), TestWorld::with_csmith());
    drop(Node::start(&harness, &world, NO_ROTATION));
    let clock = SteppingClock(TestClock::at(at(0)));
    let purpose = Purpose::AxxonJsonrpc;
    let made =
        rotate(&*harness.store, &harness.file, purpose, 2 * SECOND, &clock, &harness.entropy);
    let made = block_on(made).unwrap().unwrap();
    assert_eq!((made.created, made.active_from), (at(10), at(12)));

    let store: Arc<dyn Store> = Arc::<ReferenceStore>::clone(&harness.store);
    let (clock, entropy) =
        (Arc::new(SteppingClock(TestClock::at(at(20)))), Arc::new(SeededEntropy::default()));
    let mut key_manager =
        KeyManager::new(store, harness.file.clone(), clock, entropy, SIX_SECOND_ROTATION);
    block_on(key_manager.axxon_key_set(TOKEN_LIFETIME)).unwrap();
    block_on(key_manager.refresh(|_, _| {})).unwrap();
    let newest = harness.keys().pop().unwrap();
    assert!(newest.active_from >= newest.created.plus(3 * SECOND), "{newest:?}");
}
