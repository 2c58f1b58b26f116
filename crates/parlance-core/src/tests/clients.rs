//! Service clients and their secrets.

use super::harness::{AuthorityHarness, PLAIN_POLICY};
use crate::ports::{Entropy, EntropyError};
use crate::{Client, Digest};

/// Asserts whether this is a valid name of a client.
#[track_caller]
fn check(name: &str, expected: bool) {
    assert_eq!(Client::is_valid_name(name), expected, "{name:?}");
}

#[test]
fn a_client_name_is_a_short_line_without_leading_or_trailing_spaces() {
    for name in ["w", "wiki", "the wiki", "\u{e9}", &"x".repeat(128), &"\u{e9}".repeat(128)] {
        check(name, true);
    }
    for name in ["", " ", " wiki", "wiki ", "wi\nki", "wi\0ki", "\u{1b}[1m", &"x".repeat(129)] {
        check(name, false);
    }
}

#[test]
fn a_client_authenticates_by_its_secret_alone_and_debug_hides_it() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let make = || Client::new("wiki".to_owned(), world.now(), &*world.entropy).unwrap();
    let ((one, secret), (other, others)) = (make(), make());
    assert_eq!(secret.expose().len(), 64, "256 bits in hexadecimal digits");
    assert!(secret != others && one.id != other.id);
    assert!(one.has_secret(secret.expose()));
    let upper = secret.expose().to_uppercase();
    for wrong in ["", others.expose(), &upper, &secret.expose()[1..]] {
        assert!(!one.has_secret(wrong));
    }
    let printed = format!("{one:?}");
    assert!(!printed.contains(secret.expose()) && printed.contains("Digest(..)"), "{printed}");
    // A client's digest differs from the digest of the same secret in a dialect.
    assert_ne!(one.digest, Digest::of("cluster-api", secret.expose()));
}

#[test]
fn a_client_is_not_created_without_entropy() {
    struct BrokenEntropy;
    impl Entropy for BrokenEntropy {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }
    let now = AuthorityHarness::new(PLAIN_POLICY).now();
    assert!(Client::new("wiki".to_owned(), now, &BrokenEntropy).is_err());
}
