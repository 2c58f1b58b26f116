//! Secrets: as random as their source, and hidden.

use std::collections::HashSet;
use std::sync::Mutex;

use uuid::Uuid;

use super::harness::{
    AuthorityHarness, PLAIN_POLICY, SeededEntropy, credentials, expect_logged_in, secret,
};
use crate::ports::{Change, Entropy, EntropyError, SealedKey};
use crate::{
    Command, ConcurrentSessions, Credential, Digest, IssuedToken, LOWER_AND_DIGITS, NewUser,
    PasswordHash, Timestamp, UPPER, random_hex, random_string, uuid_v4,
};

/// Draws `draws` secrets: exact alphabet, exact length, no repeat, every letter equally likely at every position.
#[track_caller]
fn check(alphabet: &[u8], length: usize, draws: usize) {
    let entropy = SeededEntropy::default();
    let mut seen = HashSet::with_capacity(draws);
    let mut counts = vec![vec![0_u32; alphabet.len()]; length];
    let mut index = [usize::MAX; 256];
    alphabet.iter().enumerate().for_each(|(at, &letter)| index[usize::from(letter)] = at);
    for _ in 0..draws {
        let secret = random_string(alphabet, length, &entropy).unwrap();
        assert_eq!(secret.expose().len(), length);
        for (position, letter) in secret.expose().bytes().enumerate() {
            counts[position][index[usize::from(letter)]] += 1;
        }
        assert!(seen.insert(secret.expose().to_owned()), "a repeat");
    }
    let (freedom, expected) = ((alphabet.len() - 1) as f64, draws as f64 / alphabet.len() as f64);
    let chi = |counts: &Vec<u32>| {
        counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum::<f64>()
    };
    // Bounds: six standard deviations at any one position, four over all of them.
    let each: Vec<f64> = counts.iter().map(chi).collect();
    assert!(
        each.iter().all(|&chi| (chi - freedom).abs() < 6.0 * (2.0 * freedom).sqrt()),
        "{each:?}"
    );
    let (total, freedom) = (each.iter().sum::<f64>(), freedom * length as f64);
    assert!((total - freedom).abs() < 4.0 * (2.0 * freedom).sqrt(), "{total}, expected {freedom}");
}

#[test]
fn letters_are_equally_likely_at_every_position() {
    check(UPPER, 60, 10_000);
    check(LOWER_AND_DIGITS, 64, 10_000);
    check(b"0123456789abcdef", 64, 5_000);
    check(b"0123456789", 10, 20_000);
}

/// Every byte once, in order, for ever.
struct EveryByte(Mutex<u8>);

impl Entropy for EveryByte {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        let mut next = self.0.lock().unwrap();
        for byte in bytes {
            *byte = *next;
            *next = next.wrapping_add(1);
        }
        Ok(())
    }
}

#[test]
fn random_bytes_beyond_the_last_multiple_are_rejected() {
    for (alphabet, each) in
        [(UPPER, 9), (LOWER_AND_DIGITS, 7), (&b"0123456789abcdef"[..], 16), (b"a", 256)]
    {
        let secret =
            random_string(alphabet, each * alphabet.len(), &EveryByte(Mutex::new(0))).unwrap();
        for &letter in alphabet {
            assert_eq!(secret.expose().bytes().filter(|&other| other == letter).count(), each);
        }
    }
}

#[test]
fn an_invalid_alphabet_is_refused() {
    assert!(random_string(b"", 10, &SeededEntropy::default()).is_err());
    assert!(random_string(&[b'a'; 257], 10, &SeededEntropy::default()).is_err());
    assert_eq!(random_string(UPPER, 0, &SeededEntropy::default()).unwrap().expose(), "");
}

#[test]
fn hexadecimal_has_two_digits_a_byte() {
    let text = random_hex(32, &SeededEntropy::default()).unwrap();
    assert_eq!(text.expose().len(), 64);
    assert!(text.expose().bytes().all(|digit| b"0123456789abcdef".contains(&digit)));
}

#[test]
fn uuids_are_of_version_four_and_differ() {
    let entropy = SeededEntropy::default();
    let uuids: HashSet<Uuid> = (0..10_000).map(|_| uuid_v4(&entropy).unwrap()).collect();
    assert_eq!(uuids.len(), 10_000);
    assert!(uuids.iter().all(|uuid| uuid.get_version_num() == 4));
}

#[test]
fn no_secret_is_made_without_entropy() {
    let entropy = SeededEntropy::default();
    entropy.broken.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(
        random_string(UPPER, 60, &entropy).is_err()
            && random_hex(32, &entropy).is_err()
            && uuid_v4(&entropy).is_err()
    );
}

#[test]
fn a_digest_is_the_documented_one_and_differs_between_dialects() {
    // printf 'parlance:v1:cluster-api\0SECRET' | sha256sum
    let digest = Digest::of("cluster-api", "SECRET");
    let text: String = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, "522caf8aa0ce0bb1767c8b74e78e8d791918a6709c089c65bb7b8b8df9e400f2");
    assert_ne!(digest, Digest::of("cluster-ap", "iSECRET"));
    assert_ne!(digest, Digest::of("polish-longtoken", "SECRET"));
    assert_eq!(Digest::from_stored(digest.as_bytes()), Some(digest));
    for wrong in [0, 31, 33] {
        assert_eq!(Digest::from_stored(&vec![0; wrong]), None);
    }
}

#[test]
fn nothing_that_is_printed_for_debugging_shows_a_secret() {
    let canary = "hunter2";
    let hidden = || secret(canary);
    let world = AuthorityHarness::new(PLAIN_POLICY);
    world.add_user("canary", canary);
    let (session, user, token) = expect_logged_in(world.login("canary", canary));
    let hash = user.password.clone().unwrap();
    let mut open = world.login_request("canary", canary);
    open.existing_credential = Some(Credential::new("test", hidden()));
    open.outer_credentials = Some(credentials("canary", canary));
    let sealed = canary.as_bytes().to_vec();
    let key = SealedKey {
        kid: "kid".to_owned(),
        purpose: "test".to_owned(),
        created: Timestamp::MIN,
        active_from: Timestamp::MIN,
        sealed,
    };
    let new = NewUser {
        name: "n".to_owned(),
        password: hidden(),
        roles: Vec::new(),
        unrestricted: false,
    };
    let minted =
        IssuedToken { secret: hidden(), digest: Digest::of("test", canary), public_id: None };
    let change = Change::OpenSession {
        session: Box::new(session.clone()),
        concurrent_sessions: ConcurrentSessions::EndOthers,
        rehash: Some(hash.clone()),
        reservation: None,
        session_limit: Some(1),
    };
    let printed = [
        format!("{:?}", hidden()),
        format!("{open:?} {:?}", Command::Login(open.clone())),
        format!(
            "{key:?} {:?}",
            Change::AddKey { key: Box::new(key.clone()), expected_newest: None }
        ),
        format!("{new:?} {minted:?} {change:?}"),
        format!("{session:?} {user:?} {:?}", PasswordHash::from_stored(canary.to_owned())),
        format!("{:?}", crate::Outcome::LoggedIn(session, user, token.clone())),
        format!("{:?} {:?} {:?}", world.authority, world.cx(), world.store.inner),
    ];
    let digest = format!("{:?}", Digest::of("test", token.expose()).as_bytes());
    let salt_and_tag: Vec<_> = hash.as_str().split('$').skip(4).collect();
    for text in printed {
        for secret in [canary, token.expose(), &digest, &format!("{:?}", canary.as_bytes())] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(salt_and_tag.iter().all(|part| !text.contains(part)), "{text}");
    }
}
