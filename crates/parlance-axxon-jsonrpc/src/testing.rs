//! Keys for tests. The keys are published, so their signatures are worth nothing.

use crate::{RsaKeySet, SigningKey};

/// The key of [`keys`], in PKCS#8: RSA, 2048 bits.
pub const PUBLIC_TEST_KEY: &[u8] = include_bytes!("testing/public-test-key.pk8");
/// Another key of the same kind.
pub const PUBLIC_TEST_KEY_2: &[u8] = include_bytes!("testing/public-test-key-2.pk8");

/// A ring with the published key alone, for tests, which need a key that is fast and always the same.
///
/// # Panics
/// Never: the key is a constant.
#[must_use]
pub fn keys() -> RsaKeySet {
    #[expect(clippy::expect_used, reason = "a constant, in tests only")]
    let key = SigningKey::from_pkcs8(PUBLIC_TEST_KEY).expect("the constant is a key");
    RsaKeySet::new(key, [])
}
