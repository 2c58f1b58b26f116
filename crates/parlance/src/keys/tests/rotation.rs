//! Claims about keys that take turns, on nodes whose clock a test moves.

use std::time::Duration;

use parlance_axxon_jsonrpc::{AxxonJsonrpc, Settings};
use parlance_core::Failure;
use parlance_core::ports::Clock as _;
use parlance_dialect::testing::TestClock;
use parlance_dialect::{Desk, Response, Service as _};
use serde_json::Value;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A key for six seconds.
const BRISK: Schedule = Schedule { poll: SECOND, every: Some(Duration::from_secs(6)) };
/// A key until somebody says otherwise.
const CALM: Schedule = Schedule { poll: SECOND, every: None };
/// How long tokens live.
const LIFE: Duration = Duration::from_secs(8);

fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(1_651_406_400 + second)
}

/// A node: its keys, and the wire that signs with them.
struct Node {
    chain: Keychain,
    ring: KeyRing,
    desk: Desk<AxxonJsonrpc>,
}

impl Node {
    fn start(place: &Place, world: &World, schedule: Schedule) -> Self {
        let store: Arc<dyn Store> = Arc::<Reference>::clone(&place.store);
        let entropy = Arc::new(SeededEntropy::default());
        let clock = Arc::clone(&world.clock);
        let mut chain = Keychain::new(store, place.file.clone(), clock, entropy, schedule);
        let ring = wait(chain.axxon(LIFE)).unwrap();
        let settings = Settings { lifetime: LIFE, ..Settings::default() };
        let desk = world.desk(AxxonJsonrpc::new(settings, ring.clone()));
        Self { chain, ring, desk }
    }

    fn tick(&self) {
        wait(self.chain.tick(|_, _| {})).unwrap();
    }

    fn try_log_in(&self, world: &World) -> Response {
        let login = "POST /v1/authentication/authenticate_ex2\n\n{\"user_name\":\"csmith\",\"password\":\"XXX\"}";
        world.send(&self.desk, login)
    }

    fn log_in(&self, world: &World) -> String {
        let answer = self.try_log_in(world);
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        answer["token_value"].as_str().unwrap().to_owned()
    }

    fn judge(&self, world: &World, token: &str) -> Result<(), Failure> {
        wait(self.desk.inspect(token, world.clock.now())).map(drop)
    }
}

/// The keys are these now, each by what it does and from which second on it signs.
#[track_caller]
fn check(place: &Place, second: i64, expected: &[(Turn, i64)]) {
    let keys = place.keys();
    let turns: Vec<_> = turns(&keys, at(second))
        .into_iter()
        .map(|(key, turn)| (turn, key.active.since(at(0)).as_secs().try_into().unwrap()))
        .collect();
    assert_eq!(turns, expected, "second {second}");
}

#[test]
fn a_new_key_every_six_seconds_refuses_no_valid_token_on_either_node() {
    let (place, world) = (Place::new(), World::with_csmith());
    let half = SECOND / 2;
    // Their polls fall between each other's.
    let nodes = [(); 2].map(|()| Node::start(&place, &world, BRISK));
    let mut tokens: Vec<(String, Timestamp)> = Vec::new();
    let (mut signers, mut judged) = (Vec::new(), 0);
    for step in 0..56 {
        nodes[step % 2].tick();
        for node in &nodes {
            signers.push(node.ring.active_kid().unwrap());
            // A JWT ends with a whole second.
            let ends = world.clock.now().plus(LIFE).seconds();
            tokens.push((node.log_in(&world), Timestamp::from_seconds(ends)));
        }
        tokens.retain(|(_, ends)| world.clock.now() < *ends);
        for (token, _) in &tokens {
            for node in &nodes {
                assert_eq!(node.judge(&world, token), Ok(()), "step {step}");
                judged += 1;
            }
        }
        world.clock.advance(half);
    }
    signers.sort();
    signers.dedup();
    assert!(signers.len() >= 5 && judged > 1500, "{} keys, {judged} judgements", signers.len());
    // No key is kept for longer than something it has signed can live.
    assert!(place.keys().len() <= 5, "{:?}", place.keys());
}

#[test]
fn a_retired_key_verifies_until_the_last_it_has_signed_is_over() {
    let (place, world) = (Place::new(), World::with_csmith());
    let node = Node::start(&place, &world, BRISK);
    let token = node.log_in(&world);
    let kid = node.ring.active_kid().unwrap();
    let mut seen = Vec::new();
    for second in 0..30 {
        node.tick();
        seen.push(node.ring.jwks().contains(&kid));
        if second < 8 {
            assert_eq!(node.judge(&world, &token), Ok(()), "second {second}");
        }
        world.clock.advance(SECOND);
    }
    // It signed until second 6: the last token it has signed ends with second 14, and two polls are grace.
    let until = seen.iter().position(|seen| !seen);
    assert_eq!(until, Some(6 + 8 + 2 + 1));
    assert_eq!(node.judge(&world, &token), Err(Failure::NoCredential));
}

#[test]
fn a_key_is_out_for_two_polls_before_it_signs_and_nodes_make_one_between_them() {
    let (place, world) = (Place::new(), World::with_csmith());
    let nodes = [(); 3].map(|()| Node::start(&place, &world, BRISK));
    let first = nodes[0].ring.active_kid();
    for (second, expected) in [
        (0, &[(Turn::Active, 0)][..]),
        (2, &[(Turn::Active, 0)]),
        (3, &[(Turn::Active, 0), (Turn::Next, 6)]),
        (5, &[(Turn::Active, 0), (Turn::Next, 6)]),
        (6, &[(Turn::Retired, 0), (Turn::Active, 6)]),
        (9, &[(Turn::Retired, 0), (Turn::Active, 6), (Turn::Next, 12)]),
    ] {
        world.clock.advance(at(second).since(world.clock.now()));
        nodes.iter().for_each(|node| node.tick());
        check(&place, second, expected);
        let kids = nodes.each_ref().map(|node| node.ring.active_kid());
        assert!(kids.iter().all(|kid| *kid == kids[0]));
        assert_eq!(kids[0] == first, second < 6, "second {second}");
    }
}

#[test]
fn when_the_next_key_is_due() {
    let lead = Duration::from_secs(600);
    let every = Schedule { poll: 5 * SECOND, every: Some(90 * DAY) };
    let key = |second| SealedKey { active: at(second), ..row("kid", Vec::new()) };
    let day = |days: i64| days * 24 * 60 * 60;
    let table = |keys: &[i64], second: i64, expected: Option<i64>, schedule: Schedule| {
        let keys: Vec<_> = keys.iter().map(|&second| key(second)).collect();
        assert_eq!(schedule.due(&keys, at(second)), expected.map(at), "{second}");
    };
    let lead_seconds = i64::try_from(lead.as_secs()).unwrap();
    table(&[0], 0, None, every);
    table(&[0], day(90) - lead_seconds - 1, None, every);
    table(&[0], day(90) - lead_seconds, Some(day(90)), every);
    // Nobody was there for a year: the verifiers elsewhere are given their time all the same.
    table(&[0], day(400), Some(day(400) + lead_seconds), every);
    table(&[0, day(90)], day(90) - 1, None, every);
    table(&[], day(90), None, every);
    table(&[0], day(4000), None, CALM);
    // A poll that is as long as a turn: a key signs longer rather than before all know it.
    let slow = Schedule { poll: 5 * SECOND, every: Some(5 * SECOND) };
    table(&[0], 0, Some(10), slow);
}

#[test]
fn a_clock_behind_that_of_the_first_key_signs_all_the_same() {
    let (place, kid) = Place::started();
    let early = at(-60);
    let ring = wait(load_or_make(&*place.store, &place.file, early, &place.entropy)).unwrap();
    assert_eq!(ring.active_kid(), Some(kid));
    check(&place, -60, &[(Turn::Active, 0)]);
}

#[test]
fn an_operator_s_rotation_is_one_however_often_he_asks() {
    let (place, world) = (Place::new(), World::with_csmith());
    let node = Node::start(&place, &world, CALM);
    let rotate = |second, notice| {
        let (store, file) = (&*place.store, &place.file);
        let (purpose, clock) = (Purpose::AxxonJsonrpc, TestClock::at(at(second)));
        let made = rotate(store, file, purpose, notice * SECOND, &clock, &place.entropy);
        wait(made).unwrap().unwrap().kid
    };
    let next = rotate(0, 2);
    assert_eq!(rotate(1, 2), next);
    check(&place, 1, &[(Turn::Active, 0), (Turn::Next, 2)]);
    world.clock.advance(2 * SECOND);
    node.tick();
    assert_eq!(node.ring.active_kid().as_ref(), Some(&next));
    let forced = rotate(3, 0);
    assert_ne!(forced, next);
    check(&place, 3, &[(Turn::Retired, 0), (Turn::Retired, 2), (Turn::Active, 3)]);
    let (purpose, clock) = (Purpose::Assertion, TestClock::at(at(3)));
    let nothing =
        super::rotate(&*place.store, &place.file, purpose, SECOND, &clock, &place.entropy);
    assert_eq!(wait(nothing).unwrap(), None, "nobody asked for assertions");
}

#[test]
fn a_revoked_key_counts_no_more_and_another_signs() {
    let (place, world) = (Place::new(), World::with_csmith());
    let node = Node::start(&place, &world, CALM);
    let revoke = |kid: &str, second| {
        let clock = TestClock::at(at(second));
        wait(revoke(&*place.store, &place.file, kid, &clock, &place.entropy)).unwrap()
    };
    let (first, token) = (node.ring.active_kid().unwrap(), node.log_in(&world));
    assert!(matches!(revoke("no such key", 0), Revocation::Unknown));
    assert!(
        matches!(revoke(&first, 1), Revocation::Done),
        "with nothing to come, a new one is made"
    );
    assert!(matches!(revoke(&first, 1), Revocation::Unknown));
    check(&place, 1, &[(Turn::Active, 1)]);
    assert_eq!(node.judge(&world, &token), Ok(()), "until the next poll");
    world.clock.advance(SECOND);
    node.tick();
    assert_eq!(node.judge(&world, &token), Err(Failure::NoCredential));
    let fresh = node.log_in(&world);
    assert_eq!(node.judge(&world, &fresh), Ok(()));

    let (purpose, clock) = (Purpose::AxxonJsonrpc, TestClock::at(at(2)));
    let made = rotate(&*place.store, &place.file, purpose, 98 * SECOND, &clock, &place.entropy);
    let next = wait(made).unwrap().map(|next| next.kid);
    let active = node.ring.active_kid().unwrap();
    assert!(matches!(revoke(&active, 3), Revocation::Done), "the one to come takes over at once");
    world.clock.advance(2 * SECOND);
    node.tick();
    assert_eq!(node.ring.active_kid(), next);
    check(&place, 3, &[(Turn::Active, 3)]);
}

#[test]
fn with_the_store_or_the_file_away_the_keys_stay_at_work() {
    let (place, world) = (Place::new(), World::with_csmith());
    let node = Node::start(&place, &world, BRISK);
    let token = node.log_in(&world);
    world.clock.advance(4 * SECOND);
    place.store.set_away(true);
    assert!(matches!(wait(node.chain.tick(|_, _| {})), Err(KeyError::Store(_))));
    assert_eq!(node.judge(&world, &token), Ok(()));
    place.store.set_away(false);
    fs::rename(&place.file, place.folder.path().join("elsewhere")).unwrap();
    assert!(matches!(wait(node.chain.tick(|_, _| {})), Err(KeyError::Missing { .. })));
    assert_eq!(place.keys().len(), 1, "no key is made without it, nor another file");
    assert!(!place.file.exists());
    assert_eq!(node.judge(&world, &token), Ok(()));
    fs::rename(place.folder.path().join("elsewhere"), &place.file).unwrap();
    node.tick();
    check(&place, 4, &[(Turn::Active, 0), (Turn::Next, 7)]);
}

#[test]
fn a_revoked_key_is_dropped_by_a_node_that_cannot_read_its_key_file() {
    let (place, world) = (Place::new(), World::with_csmith());
    let mut node = Node::start(&place, &world, CALM);
    wait(node.chain.assertions("https://p.test")).unwrap();
    let (old, token) = (node.ring.active_kid().unwrap(), node.log_in(&world));
    assert_eq!(node.chain.why_silent(), None);
    // Its own file is away; that of whoever revokes is not.
    let elsewhere = place.folder.path().join("elsewhere");
    fs::rename(&place.file, &elsewhere).unwrap();
    let clock = TestClock::at(at(1));
    let revoked = wait(revoke(&*place.store, &elsewhere, &old, &clock, &place.entropy));
    assert!(matches!(revoked, Ok(Revocation::Done)), "{revoked:?}");
    world.clock.advance(SECOND);
    let mut told = Vec::new();
    let tick = wait(node.chain.tick(|_, at_work| told.push(at_work.to_vec())));
    assert!(matches!(tick, Err(KeyError::Missing { .. })), "{tick:?}");
    assert_eq!(told, [[]], "nothing is at work");
    assert_eq!(node.judge(&world, &token), Err(Failure::NoCredential));
    assert!(!node.chain.jwks().contains(&old));
    assert_eq!(node.try_log_in(&world).status, 503);
    let why = node.chain.why_silent().unwrap();
    assert!(why.starts_with("no key signs for axxon-jsonrpc: the key file "), "{why}");
    // The other purpose goes on, and so does this one once the file is there.
    assert!(node.chain.jwks().contains("OKP"));
    fs::rename(&elsewhere, &place.file).unwrap();
    node.tick();
    assert_eq!(node.chain.why_silent(), None);
    let fresh = node.log_in(&world);
    assert_eq!(node.judge(&world, &fresh), Ok(()));
}

#[test]
fn a_key_that_was_opened_takes_over_although_the_file_is_away_by_then() {
    let (place, world) = (Place::new(), World::with_csmith());
    let node = Node::start(&place, &world, BRISK);
    let first = node.ring.active_kid();
    for second in 0..=3 {
        world.clock.advance(at(second).since(world.clock.now()));
        node.tick();
    }
    fs::remove_file(&place.file).unwrap();
    world.clock.advance(3 * SECOND);
    wait(node.chain.tick(|_, _| {})).unwrap();
    assert_ne!(node.ring.active_kid(), first);
    assert_eq!(node.chain.why_silent(), None);
}

#[test]
fn without_the_file_a_key_is_revoked_all_the_same_and_a_node_that_has_it_makes_another() {
    let (place, world) = (Place::new(), World::with_csmith());
    let node = Node::start(&place, &world, CALM);
    wait(
        Keychain::new(
            Arc::<Reference>::clone(&place.store),
            place.file.clone(),
            Arc::clone(&world.clock) as Arc<dyn Clock>,
            Arc::new(SeededEntropy::default()),
            CALM,
        )
        .assertions("https://p.test"),
    )
    .unwrap();
    let old = node.ring.active_kid().unwrap();
    let (nowhere, clock) = (place.folder.path().join("nowhere"), TestClock::at(at(1)));
    let revoked = wait(revoke(&*place.store, &nowhere, &old, &clock, &place.entropy));
    assert!(matches!(revoked, Ok(Revocation::Unreplaced(KeyError::Missing { .. }))), "{revoked:?}");
    assert!(!nowhere.exists());
    world.clock.advance(SECOND);
    node.tick();
    let new = node.ring.active_kid().unwrap();
    assert_ne!(new, old);
    let token = node.log_in(&world);
    assert_eq!(node.judge(&world, &token), Ok(()));
}

#[test]
fn purposes_have_keys_of_their_own_and_one_file() {
    let (place, world) = (Place::new(), World::with_csmith());
    let mut node = Node::start(&place, &world, BRISK);
    let assertions = wait(node.chain.assertions("https://p.test")).unwrap();
    for second in 0..=6 {
        world.clock.advance(at(second).since(world.clock.now()));
        node.tick();
    }
    let keys = place.keys();
    let of = |purpose: Purpose| keys.iter().filter(|key| key.purpose == purpose.name()).count();
    assert_eq!((of(Purpose::AxxonJsonrpc), of(Purpose::Assertion)), (2, 2));
    let set: Value = serde_json::from_str(&node.chain.jwks()).unwrap();
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
    assert!(!node.ring.jwks().contains("OKP"), "axxon's own page shows axxon's keys");
}

/// A clock that goes on by five seconds whenever somebody looks at it.
struct Slow(TestClock);

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        self.0.advance(5 * SECOND);
        self.0.now()
    }
}

#[test]
fn what_making_a_key_takes_is_not_taken_off_its_notice() {
    let (place, world) = (Place::new(), World::with_csmith());
    drop(Node::start(&place, &world, CALM));
    let clock = Slow(TestClock::at(at(0)));
    let purpose = Purpose::AxxonJsonrpc;
    let made = rotate(&*place.store, &place.file, purpose, 2 * SECOND, &clock, &place.entropy);
    let made = wait(made).unwrap().unwrap();
    assert_eq!((made.created, made.active), (at(10), at(12)));

    let store: Arc<dyn Store> = Arc::<Reference>::clone(&place.store);
    let (clock, entropy) =
        (Arc::new(Slow(TestClock::at(at(20)))), Arc::new(SeededEntropy::default()));
    let mut chain = Keychain::new(store, place.file.clone(), clock, entropy, BRISK);
    wait(chain.axxon(LIFE)).unwrap();
    wait(chain.tick(|_, _| {})).unwrap();
    let newest = place.keys().pop().unwrap();
    assert!(newest.active >= newest.created.plus(3 * SECOND), "{newest:?}");
}
