//! Service clients and their secrets.

use super::world::{PLAIN, World};
use crate::ports::{Entropy, EntropyError};
use crate::{Client, Digest};

/// Whether this can be a client's name.
#[track_caller]
fn check(name: &str, expected: bool) {
    assert_eq!(Client::may_be_called(name), expected, "{name:?}");
}

#[test]
fn a_name_is_a_short_line_without_blanks_at_its_ends() {
    for name in ["w", "wiki", "the wiki", "\u{e9}", &"x".repeat(128), &"\u{e9}".repeat(128)] {
        check(name, true);
    }
    for name in ["", " ", " wiki", "wiki ", "wi\nki", "wi\0ki", "\u{1b}[1m", &"x".repeat(129)] {
        check(name, false);
    }
}

#[test]
fn a_client_is_known_by_its_secret_alone_and_shows_none_of_it() {
    let world = World::new(PLAIN);
    let make = || Client::new("wiki".to_owned(), world.now(), &*world.entropy).unwrap();
    let ((one, secret), (other, others)) = (make(), make());
    assert_eq!(secret.expose().len(), 64, "256 bits in hexadecimal digits");
    assert!(secret != others && one.id != other.id);
    assert!(one.is_known_by(secret.expose()));
    let upper = secret.expose().to_uppercase();
    for wrong in ["", others.expose(), &upper, &secret.expose()[1..]] {
        assert!(!one.is_known_by(wrong));
    }
    let printed = format!("{one:?}");
    assert!(!printed.contains(secret.expose()) && printed.contains("Digest(..)"), "{printed}");
    // No dialect's secret is a client's.
    assert_ne!(one.digest, Digest::of("cluster-api", secret.expose()));
}

#[test]
fn without_randomness_there_is_no_client() {
    struct Dry;
    impl Entropy for Dry {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }
    let now = World::new(PLAIN).now();
    assert!(Client::new("wiki".to_owned(), now, &Dry).is_err());
}
