//! Keys for tests. They are published, so whatever they sign is worth nothing.

use crate::{KeyRing, SigningKey};

/// The key of [`keys`], in PKCS#8: RSA, 2048 bits.
pub const PUBLIC_TEST_KEY: &[u8] = include_bytes!("testing/public-test-key.pk8");
/// Another one like it.
pub const PUBLIC_TEST_KEY_2: &[u8] = include_bytes!("testing/public-test-key-2.pk8");

/// A ring with the published key alone: for tests, where its speed and its sameness count.
///
/// # Panics
/// Never: the key is a constant.
#[must_use]
pub fn keys() -> KeyRing {
    #[expect(clippy::expect_used, reason = "a constant, in tests only")]
    let key = SigningKey::from_pkcs8(PUBLIC_TEST_KEY).expect("the constant is a key");
    KeyRing::new(key, [])
}
