//! A day of distributed guessing, in simulated time, on a real file: what is promised of guesses at one account.
//!
//! `PARLANCE_TORTURE=long` makes a million guesses at one user and one at each of a hundred thousand names; otherwise a two-hundredth of it.
//! Passwords are hashed for real, at the cheapest that argon2 takes.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_executor::block_on;
use parlance_core::lockout::{account, day};
use parlance_core::ports::{Clock, Entropy, EntropyError, Store, Unobserved};
use parlance_core::{
    Authority, Binding, CanonicalName, Command, Context, Digest, Failure, Grant, HashThreads,
    Lifetime, Login, Mint, Minted, NewUser, Open, Outcome, PasswordPolicy, Rivals, Secret, Terms,
    Timestamp, UPPER, draw,
};

use crate::tests::sqlite::fresh;
use crate::{Options, open};

/// Midnight, so that the simulated day is one day.
const MIDNIGHT: i64 = 1_651_363_200_000;
const DAY: usize = 24 * 60 * 60 * 1000;
const ADDRESSES: usize = 500;
const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));
/// How many clients wait at once: fewer than may wait to be hashed.
const CLIENTS: usize = 60;

#[derive(Debug)]
struct Dialect(&'static str);

impl Mint for Dialect {
    fn dialect(&self) -> &'static str {
        self.0
    }

    fn terms(&self) -> Terms {
        let lifetime = Lifetime::Fixed(std::time::Duration::from_secs(60));
        Terms { lifetime, max_lifetime: None, bind_address: Binding::Off, tell_end_once: false }
    }

    fn mint(&self, _: &Grant<'_>, entropy: &dyn Entropy) -> Result<Minted, EntropyError> {
        let secret = draw(UPPER, 60, entropy)?;
        Ok(Minted { digest: Digest::of(self.0, secret.expose()), secret, sid: None })
    }
}

/// Counts: what it makes is different each time, which is all that is asked here.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Entropy for Counting {
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

/// Nobody waits for a hash in simulated time.
struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(MIDNIGHT)
    }
}

/// One of two nodes on one database.
fn node(url: &str, entropy: &Arc<Counting>) -> Authority {
    let store: Arc<dyn Store> = Arc::new(open(url, Options::default()).unwrap());
    let threads = HashThreads::start(2, Arc::new(Standing));
    let policy = PasswordPolicy::new(8, 1, 1).unwrap();
    Authority::new(store, threads, policy, Arc::<Counting>::clone(entropy), Arc::new(Unobserved))
}

fn log_in(
    node: &Authority,
    mint: &Arc<dyn Mint>,
    (user, password): (&str, &str),
    peer: IpAddr,
    now: Timestamp,
) -> Result<Outcome, Failure> {
    let login = Login { user: user.to_owned(), password: Secret::new(password.to_owned()) };
    let (lifetime, rivals) = (mint.terms().lifetime, Rivals::Allow);
    let open = Open { shown: None, outer: None, login: Some(login), lifetime, rivals };
    block_on(node.execute(Command::Open(open), Context { now, peer: Some(peer), mint }))
}

/// How much memory this process holds, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What became of the guesses.
#[derive(Debug, Default)]
struct Tally {
    verified: AtomicUsize,
    locked: AtomicUsize,
    throttled: AtomicUsize,
    strangers: AtomicUsize,
}

impl Tally {
    fn note(&self, answer: Result<Outcome, Failure>) {
        let counter = match answer {
            Err(Failure::WrongPassword) => &self.verified,
            Err(Failure::Locked { .. }) => &self.locked,
            Err(Failure::Throttled) => &self.throttled,
            Err(Failure::UnknownUser) => &self.strangers,
            other => panic!("a guess was answered {other:?}"),
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the line of figures that this is run for")]
fn a_day_of_guesses_from_everywhere_is_a_hundred_and_the_owner_gets_in() {
    let long = std::env::var("PARLANCE_TORTURE").is_ok_and(|form| form == "long");
    let (guesses, names) = if long { (1_000_000, 100_000) } else { (5_000, 500) };
    let fresh = fresh();
    let entropy = Arc::new(Counting::default());
    let dialects: Vec<Arc<dyn Mint>> =
        ["cluster-api", "polish-longtoken", "flask-usertoken", "1010-cookie", "axxon-jsonrpc"]
            .map(|name| Arc::new(Dialect(name)) as Arc<dyn Mint>)
            .into();
    let at = |millis: usize| Timestamp::from_millis(MIDNIGHT + i64::try_from(millis).unwrap());
    let password = Secret::new("right".to_owned());
    let user =
        NewUser { name: "csmith".to_owned(), password, roles: Vec::new(), unrestricted: false };
    let nodes = || [node(&fresh.url, &entropy), node(&fresh.url, &entropy)];
    let mut pair = nodes();
    block_on(pair[0].add_user(user, at(0))).unwrap();
    let own = ("csmith", "right");
    log_in(&pair[0], &dialects[0], own, HOME, at(0)).unwrap();

    let (tally, before) = (Tally::default(), resident());
    let mut tries = Vec::new();
    for hour in 0..24 {
        // Both are restarted in the middle of the day.
        if hour == 12 {
            drop(pair);
            pair = nodes();
        }
        let (from, to) = (guesses * hour / 24, guesses * (hour + 1) / 24);
        let next = AtomicUsize::new(from);
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= to {
                            return;
                        }
                        let [high, low] = u16::try_from(number % ADDRESSES).unwrap().to_be_bytes();
                        let peer = IpAddr::from([198, 18 + high, low, 7]);
                        let (node, mint) = (&pair[number / ADDRESSES % 2], &dialects[number % 5]);
                        let now = at(DAY / guesses * number);
                        let guess = format!("guess {number}");
                        tally.note(log_in(node, mint, ("csmith", &guess), peer, now));
                        if number.is_multiple_of(guesses / names) {
                            let name = format!("name{number}");
                            tally.note(log_in(node, mint, (&name, &guess), peer, now));
                        }
                    }
                });
            }
        });
        // The owner, once an hour, until he is in.
        let end = at(DAY / guesses * to - 1);
        let enters = |node: &Authority| log_in(node, &dialects[hour % 5], own, HOME, end).is_ok();
        tries.push(1 + (0..4).take_while(|attempt| !enters(&pair[attempt % 2])).count());
    }
    let grown = resident().saturating_sub(before);
    let ladder = account(&CanonicalName::stored("csmith".to_owned()));
    let rung = block_on(pair[1].store().rung(ladder)).unwrap().unwrap();

    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    let (verified, most) = (count(&tally.verified), *tries.iter().max().unwrap());
    println!(
        "guesses: {guesses} guesses at one user and {names} names, {ADDRESSES} addresses, 24 h: {verified} verified, {} locked, {} throttled, \
         {} unknown; the owner in at the latest at try {most}; memory +{} MiB",
        count(&tally.locked),
        count(&tally.throttled),
        count(&tally.strangers),
        grown / 1024,
    );
    assert!(verified <= 100, "{verified} guesses were verified on one account");
    assert_eq!(count(&tally.strangers), names);
    assert!(most <= 3, "{tries:?}");
    assert!(grown <= 64 * 1024, "{grown} KiB");
    // What was counted before the restart, by both nodes.
    assert_eq!((rung.day, rung.taken), (day(at(0)), i64::try_from(verified).unwrap()));
}
