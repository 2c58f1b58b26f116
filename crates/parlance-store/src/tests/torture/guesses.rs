//! A day of distributed brute force, in simulated time, on a real file: the promises of the account lock-out.
//!
//! `PARLANCE_TORTURE=long` makes a million guesses at one user and one at each of a hundred thousand names; otherwise a
//! two-hundredth of these. Passwords are hashed for real, with the cheapest parameters that argon2 takes.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_executor::block_on;
use parlance_core::lockout::{account_digest, utc_day};
use parlance_core::ports::{Clock, Entropy, EntropyError, NoopObserver, Store};
use parlance_core::{
    AddressBinding, Authority, CanonicalName, Command, ConcurrentSessions, Context, Digest,
    Failure, HashQueue, IssueContext, IssueError, IssuedToken, Lifetime, Login, NewUser, Outcome,
    PasswordCredentials, PasswordPolicy, Secret, SessionPolicy, Timestamp, TokenIssuer, UPPER,
    random_string,
};

use crate::tests::sqlite::migrated_database;
use crate::{Options, open};

/// Midnight, so that the simulated day is one day.
const MIDNIGHT_MILLIS: i64 = 1_651_363_200_000;
const DAY_MILLIS: usize = 24 * 60 * 60 * 1000;
const ADDRESSES: usize = 500;
const OWNER_ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));
/// Number of clients that wait at once: fewer than may wait to be hashed.
const CONCURRENT_CLIENTS: usize = 60;

#[derive(Debug)]
struct TestTokenIssuer(&'static str);

impl TokenIssuer for TestTokenIssuer {
    fn dialect(&self) -> &'static str {
        self.0
    }

    fn session_policy(&self) -> SessionPolicy {
        let lifetime = Lifetime::Fixed(std::time::Duration::from_secs(60));
        SessionPolicy {
            lifetime,
            max_lifetime: None,
            address_binding: AddressBinding::Off,
            report_end_once: false,
        }
    }

    fn issue(
        &self,
        _: &IssueContext<'_>,
        entropy: &dyn Entropy,
    ) -> Result<IssuedToken, IssueError> {
        let secret = random_string(UPPER, 60, entropy)?;
        Ok(IssuedToken { digest: Digest::of(self.0, secret.expose()), secret, public_id: None })
    }
}

/// A counter: every output differs, and the test needs no more.
#[derive(Default)]
struct CountingEntropy(AtomicUsize);

impl Entropy for CountingEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in bytes.chunks_mut(8) {
            let step = self.0.fetch_add(1, Ordering::SeqCst) as u64;
            let word = step.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
            let word = word.wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes();
            chunk.iter_mut().zip(word).for_each(|(byte, random)| *byte = random);
        }
        Ok(())
    }
}

/// A clock that stands still: in simulated time no login waits for a hash.
struct FrozenClock;

impl Clock for FrozenClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(MIDNIGHT_MILLIS)
    }
}

/// One of two nodes on one database.
fn node(url: &str, entropy: &Arc<CountingEntropy>) -> Authority {
    let store: Arc<dyn Store> = Arc::new(open(url, Options::default()).unwrap());
    let threads = HashQueue::start(2, Arc::new(FrozenClock));
    let policy = PasswordPolicy::new(8, 1, 1).unwrap();
    Authority::new(
        store,
        threads,
        policy,
        Arc::<CountingEntropy>::clone(entropy),
        Arc::new(NoopObserver),
    )
}

fn log_in(
    node: &Authority,
    token_issuer: &Arc<dyn TokenIssuer>,
    (user, password): (&str, &str),
    peer: IpAddr,
    now: Timestamp,
) -> Result<Outcome, Failure> {
    let login =
        PasswordCredentials { user: user.to_owned(), password: Secret::new(password.to_owned()) };
    let (lifetime, rivals) = (token_issuer.session_policy().lifetime, ConcurrentSessions::Allow);
    let open = Login {
        existing_credential: None,
        outer_credentials: None,
        credentials: Some(login),
        lifetime,
        concurrent_sessions: rivals,
    };
    block_on(node.execute(Command::Login(open), Context { now, peer: Some(peer), token_issuer }))
}

/// Resident memory of this process, in KiB.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Outcomes of the guesses.
#[derive(Debug, Default)]
struct Tally {
    verified: AtomicUsize,
    locked: AtomicUsize,
    throttled: AtomicUsize,
    unknown_users: AtomicUsize,
}

impl Tally {
    fn record(&self, answer: Result<Outcome, Failure>) {
        let counter = match answer {
            Err(Failure::WrongPassword) => &self.verified,
            Err(Failure::Locked { .. }) => &self.locked,
            Err(Failure::RateLimited) => &self.throttled,
            Err(Failure::UnknownUser) => &self.unknown_users,
            other => panic!("an attempt was answered {other:?}"),
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the line of figures that this is run for")]
fn a_day_of_distributed_brute_force_verifies_at_most_100_passwords_and_the_owner_logs_in() {
    let long = std::env::var("PARLANCE_TORTURE").is_ok_and(|form| form == "long");
    let (guesses, names) = if long { (1_000_000, 100_000) } else { (5_000, 500) };
    let fresh = migrated_database();
    let entropy = Arc::new(CountingEntropy::default());
    let dialects: Vec<Arc<dyn TokenIssuer>> =
        ["cluster-api", "polish-longtoken", "flask-usertoken", "1010-cookie", "axxon-jsonrpc"]
            .map(|name| Arc::new(TestTokenIssuer(name)) as Arc<dyn TokenIssuer>)
            .into();
    let at =
        |millis: usize| Timestamp::from_millis(MIDNIGHT_MILLIS + i64::try_from(millis).unwrap());
    let password = Secret::new("right".to_owned());
    let user =
        NewUser { name: "csmith".to_owned(), password, roles: Vec::new(), unrestricted: false };
    let nodes = || [node(&fresh.url, &entropy), node(&fresh.url, &entropy)];
    let mut pair = nodes();
    block_on(pair[0].add_user(user, at(0))).unwrap();
    let own = ("csmith", "right");
    log_in(&pair[0], &dialects[0], own, OWNER_ADDRESS, at(0)).unwrap();

    let (tally, before) = (Tally::default(), resident_kib());
    let mut tries = Vec::new();
    for hour in 0..24 {
        // Both nodes restart in the middle of the day.
        if hour == 12 {
            drop(pair);
            pair = nodes();
        }
        let (from, to) = (guesses * hour / 24, guesses * (hour + 1) / 24);
        let next = AtomicUsize::new(from);
        std::thread::scope(|scope| {
            for _ in 0..CONCURRENT_CLIENTS {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= to {
                            return;
                        }
                        let [high, low] = u16::try_from(number % ADDRESSES).unwrap().to_be_bytes();
                        let peer = IpAddr::from([198, 18 + high, low, 7]);
                        let (node, token_issuer) =
                            (&pair[number / ADDRESSES % 2], &dialects[number % 5]);
                        let now = at(DAY_MILLIS / guesses * number);
                        let guess = format!("guess {number}");
                        tally.record(log_in(node, token_issuer, ("csmith", &guess), peer, now));
                        if number.is_multiple_of(guesses / names) {
                            let name = format!("name{number}");
                            tally.record(log_in(node, token_issuer, (&name, &guess), peer, now));
                        }
                    }
                });
            }
        });
        // The owner tries once an hour, until logged in.
        let end = at(DAY_MILLIS / guesses * to - 1);
        let enters =
            |node: &Authority| log_in(node, &dialects[hour % 5], own, OWNER_ADDRESS, end).is_ok();
        tries.push(1 + (0..4).take_while(|attempt| !enters(&pair[attempt % 2])).count());
    }
    let grown = resident_kib().saturating_sub(before);
    let account = account_digest(&CanonicalName::from_stored("csmith".to_owned()));
    let state = block_on(pair[1].store().attempt_state(account)).unwrap().unwrap();

    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    let (verified, most) = (count(&tally.verified), *tries.iter().max().unwrap());
    println!(
        "guesses: {guesses} guesses at one user and {names} names, {ADDRESSES} addresses, 24 h: {verified} verified, {} locked, {} throttled, \
         {} unknown; the owner in at the latest at try {most}; memory +{} MiB",
        count(&tally.locked),
        count(&tally.throttled),
        count(&tally.unknown_users),
        grown / 1024,
    );
    assert!(verified <= 100, "{verified} attempts were verified on one account");
    assert_eq!(count(&tally.unknown_users), names);
    assert!(most <= 3, "{tries:?}");
    assert!(grown <= 64 * 1024, "{grown} KiB");
    // The total includes the attempts before the restart, by both nodes.
    assert_eq!((state.day, state.used), (utc_day(at(0)), i64::try_from(verified).unwrap()));
}
