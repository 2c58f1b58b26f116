//! Password hashes: the accepted formats, and the bounds on the cost of a stored hash.

use proptest::prelude::*;

use super::harness::{CHEAPEST_PARAMS, SeededEntropy};
use crate::password::Scratch;
use crate::{HashError, PasswordHash, PasswordPolicy, PolicyError};

/// Salt and tag of the reference implementation's answer for `password` and `somesalt`, 256 KiB, 2 iterations, 1 lane.
const REFERENCE_SALT_AND_TAG: &str = "c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn policy() -> PasswordPolicy {
    let [m, t, p] = CHEAPEST_PARAMS;
    PasswordPolicy::new(m, t, p).unwrap()
}

/// Asserts whether a stored hash verifies `password`, at the cost of these hashes.
#[track_caller]
fn check(hash: &str, verifies: bool, cost: [u32; 3]) {
    let mut scratch = Scratch::default();
    let got =
        PasswordHash::from_stored(hash.to_owned()).verify("password", &policy(), &mut scratch);
    assert_eq!((got, scratch.computed), (Ok(verifies), vec![cost]), "{hash}");
}

#[test]
fn a_hash_of_the_reference_implementation_verifies() {
    check(&format!("$argon2id$v=19$m=256,t=2,p=1${REFERENCE_SALT_AND_TAG}"), true, [256, 2, 1]);
    check(&format!("$argon2id$v=19$m=256,t=3,p=1${REFERENCE_SALT_AND_TAG}"), false, [256, 3, 1]);
    check(&format!("$argon2id$v=16$m=256,t=2,p=1${REFERENCE_SALT_AND_TAG}"), false, [256, 2, 1]);
}

#[test]
fn a_stored_hash_cannot_exceed_the_cost_limits() {
    for params in [
        "m=262145,t=2,p=1",
        "m=4194304,t=2,p=1",
        "m=4294967295,t=4294967295,p=16777215",
        "m=256,t=11,p=1",
        "m=256,t=4294967295,p=1",
        "m=256,t=2,p=17",
        "m=7,t=1,p=1",
        "m=8,t=0,p=1",
        "m=8,t=1,p=0",
        "m=8,t=1,p=2",
        "m=99999999999999999999,t=1,p=1",
        "m=-8,t=1,p=1",
    ] {
        check(&format!("$argon2id$v=19${params}${REFERENCE_SALT_AND_TAG}"), false, CHEAPEST_PARAMS);
    }
}

#[test]
fn a_string_that_is_no_argon2_hash_never_verifies_at_the_usual_cost() {
    for hash in [
        "",
        "$",
        "$$$$$",
        "password",
        "garbage$argon2id$",
        "$argon2id",
        "$argon2id$v=19$m=256,t=2,p=1",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$AAAA",
        "$argon2id$v=19$m=256,t=2,p=1$YQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/",
        "$argon2id$v=18$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        "pbkdf2_sha256$1000000$salt$hash",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4\n",
    ] {
        check(hash, false, CHEAPEST_PARAMS);
    }
    // The tag of the reference implementation for argon2i and this password; the tag of argon2id matches neither
    // argon2i nor argon2d.
    check(
        "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
        true,
        [256, 2, 1],
    );
    for other in ["argon2i", "argon2d"] {
        check(&format!("${other}$v=19$m=256,t=2,p=1${REFERENCE_SALT_AND_TAG}"), false, [256, 2, 1]);
    }
}

#[test]
fn equal_passwords_have_different_hashes() {
    let (policy, entropy, mut scratch) = (policy(), SeededEntropy::default(), Scratch::default());
    let one = policy.hash("password", &entropy, &mut scratch).unwrap();
    let other = policy.hash("password", &entropy, &mut scratch).unwrap();
    assert_ne!(one, other);
    for hash in [one, other] {
        assert_eq!(hash.verify("password", &policy, &mut scratch), Ok(true));
        assert_eq!(hash.verify("Password", &policy, &mut scratch), Ok(false));
        assert!(policy.matches(&hash));
    }
}

#[test]
fn the_default_policy_hashes_with_its_parameters() {
    let (policy, mut scratch) = (PasswordPolicy::default(), Scratch::default());
    let hash = policy.hash("password", &SeededEntropy::default(), &mut scratch).unwrap();
    let fields: Vec<_> = hash.as_str().split('$').collect();
    assert_eq!(fields[..4], ["", "argon2id", "v=19", "m=19456,t=2,p=1"]);
    assert_eq!((fields[4].len(), fields[5].len()), (22, 43), "16 bytes of salt, 32 of tag");
    assert_eq!(scratch.computed, [[19456, 2, 1]]);
}

#[test]
fn a_password_policy_stays_within_the_cost_limits() {
    for (m, t, p) in [(8, 1, 1), (19456, 2, 1), (262_144, 10, 16), (128, 1, 16)] {
        assert!(PasswordPolicy::new(m, t, p).is_ok(), "{m}, {t}, {p}");
    }
    let outside = [
        (0, 1, 1, PolicyError::Memory),
        (7, 1, 1, PolicyError::Memory),
        (262_145, 1, 1, PolicyError::Memory),
        (8, 0, 1, PolicyError::Iterations),
        (8, 11, 1, PolicyError::Iterations),
        (8, 1, 0, PolicyError::Parallelism),
        (8, 1, 2, PolicyError::Memory),
        (1024, 1, 17, PolicyError::Parallelism),
        (u32::MAX, u32::MAX, u32::MAX, PolicyError::Parallelism),
    ];
    for (m, t, p, why) in outside {
        assert_eq!(PasswordPolicy::new(m, t, p).map(drop), Err(why), "{m}, {t}, {p}");
    }
}

proptest! {
    #[test]
    fn no_stored_string_panics_or_verifies(hash in r"(\$argon2id)?(\$v=[0-9]{1,3})?(\$m=[0-9]{1,12},t=[0-9]{1,2},p=[0-9]{1,9})?[$a-zA-Z0-9+/=,]{0,60}") {
        // A hash within the bounds may still ask for 256 MiB, too slow here; a test above checks that cost.
        prop_assume!(!hash.contains("m=") || hash.contains("m=9999"));
        let verified = PasswordHash::from_stored(hash).verify("password", &policy(), &mut Scratch::default());
        prop_assert_eq!(verified, Ok(false));
    }
}

#[test]
fn imported_hashes_are_accepted_within_the_cost_limits() {
    // Made by the reference implementation, of "password" and the salt "somesalt".
    let made = [
        "$argon2i$v=19$m=64,t=2,p=1$c29tZXNhbHQ$uRkUb20yOYJF7x2+Gf6qbA",
        "$argon2d$v=19$m=64,t=2,p=1$c29tZXNhbHQ$Us1acEuyS5qaT/6ahVZKIg",
        "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$CpahY97MNWo2uyGWQjji4g",
        "$argon2i$m=64,t=2,p=1$c29tZXNhbHQ$Mt/jIl5zTh7I68ndaONWnw",
    ];
    let policy = PasswordPolicy::new(8, 1, 1).unwrap();
    for phc in made {
        let hash = PasswordHash::imported(phc).unwrap();
        let verify = |password| hash.verify(password, &policy, &mut Scratch::default());
        assert_eq!((verify("password"), verify("passwort")), (Ok(true), Ok(false)), "{phc}");
        assert!(!policy.matches(&hash), "{phc} is replaced at the first login");
    }
    let tail = "$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";
    let refused = [
        ("$2b$12$abcdefghijklmnopqrstuv", HashError::Scheme),
        ("{SSHA}abc", HashError::Scheme),
        ("secret", HashError::Scheme),
        ("$argon2x$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", HashError::Unreadable),
        ("$argon2id$v=19$m=64,t=1,p=1$c2hvcnQ$AAAAAAAAAAAAAAAAAAAAAA", HashError::Unreadable),
        ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ", HashError::Unreadable),
        ("$argon2id$v=18$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", HashError::Unreadable),
        ("$argon2id", HashError::Unreadable),
    ];
    for (phc, error) in refused {
        assert_eq!(PasswordHash::imported(phc).map(drop), Err(error), "{phc}");
    }
    for (parameters, good) in [
        ("m=262144,t=10,p=16", true),
        ("m=262145,t=1,p=1", false),
        ("m=64,t=11,p=1", false),
        ("m=512,t=1,p=17", false),
        ("m=4294967295,t=4294967295,p=16777215", false),
    ] {
        let hash = PasswordHash::imported(&format!("$argon2id$v=19${parameters}{tail}"));
        assert_eq!(
            hash.map(drop),
            if good { Ok(()) } else { Err(HashError::Costly) },
            "{parameters}"
        );
    }
}
