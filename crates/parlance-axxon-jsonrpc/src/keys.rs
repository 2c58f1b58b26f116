//! Keys: the one that signs, those that verify, and the public halves as a JWK set (RFC 7517).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The one public exponent that is taken: 65537.
const EXPONENT: &[u8] = &[1, 0, 1];

/// Why a key cannot sign this wire's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRejected {
    /// The bytes are no RSA private key in PKCS#8 of 2048 to 8192 bits: a shorter one is too weak (NIST SP 800-131A), a longer one
    /// cannot be verified.
    Unusable,
    /// The public exponent is not 65537.
    Exponent,
    /// A new key could not be made.
    Generation,
}

impl fmt::Display for KeyRejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unusable => "it is not an RSA private key in PKCS#8 of 2048 to 8192 bits",
            Self::Exponent => "its public exponent is not 65537",
            Self::Generation => "no RSA key could be made",
        })
    }
}

impl std::error::Error for KeyRejected {}

/// A key that signs. Its private half is wiped when it is dropped, and its `Debug` shows the `kid` alone.
pub struct SigningKey {
    private: EncodingKey,
    public: VerifyingKey,
}

/// A key that verifies.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: String,
    modulus: Vec<u8>,
    key: DecodingKey,
}

impl SigningKey {
    /// Makes a key of 3072 bits, and gives its PKCS#8 to be kept. This is set-up: the one place here that draws randomness, which it
    /// takes from aws-lc, and it may take a second.
    ///
    /// # Errors
    /// [`KeyRejected::Generation`].
    pub fn generate() -> Result<(Self, Zeroizing<Vec<u8>>), KeyRejected> {
        let pair = RsaKeyPair::generate(KeySize::Rsa3072).map_err(|_| KeyRejected::Generation)?;
        let der = pair.as_der().map_err(|_| KeyRejected::Generation)?;
        let der = Zeroizing::new(der.as_ref().to_vec());
        Ok((Self::from_pkcs8(&der)?, der))
    }

    /// Takes a key in PKCS#8, DER.
    ///
    /// # Errors
    /// See [`KeyRejected`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyRejected> {
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| KeyRejected::Unusable)?;
        let public = pair.public_key();
        if public.exponent().big_endian_without_leading_zero() != EXPONENT {
            return Err(KeyRejected::Exponent);
        }
        let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
        // The signer of jsonwebtoken wants the key inside, and finds it in PEM only.
        let private = EncodingKey::from_rsa_pem(pem(der).as_bytes());
        let private = private.map_err(|_| KeyRejected::Unusable)?;
        Ok(Self { private, public: VerifyingKey::new(modulus) })
    }

    /// The RFC 7638 thumbprint of its public half.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.public.kid()
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> VerifyingKey {
        self.public.clone()
    }

    /// The RS256 signature of a message; `None` if it cannot be made.
    fn sign(&self, message: &str) -> Option<String> {
        // The provider is named, not the process's default, which an app with other features can leave unset: that panics.
        let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::RS256, &self.private).ok()?;
        let signature = signer.try_sign(message.as_bytes()).ok()?;
        Some(URL_SAFE_NO_PAD.encode(signature))
    }
}

impl VerifyingKey {
    fn new(modulus: Vec<u8>) -> Self {
        let kid = thumbprint(&modulus);
        let key = DecodingKey::from_rsa_raw_components(&modulus, EXPONENT);
        Self { kid, modulus, key }
    }

    /// Its RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    fn verify(&self, message: &str, signature: &str) -> bool {
        let verified = || {
            let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
            let verifier =
                (DEFAULT_PROVIDER.verifier_factory)(&Algorithm::RS256, &self.key).ok()?;
            verifier.verify(message.as_bytes(), &signature).ok()
        };
        verified().is_some()
    }
}

/// The keys of a node, shared by all who hold a clone: one signs, or none, and each verifies.
#[derive(Clone)]
pub struct KeyRing(Arc<Ring>);

#[derive(Default)]
struct Ring {
    keys: RwLock<Arc<Keys>>,
    foreign: Mutex<Option<ForeignTokens>>,
}

/// Tokens that a key of the ring has signed, and that are refused since they were signed for another issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignTokens {
    /// The issuer of the last one.
    pub issuer: String,
    /// How often one was shown.
    pub shown: u64,
}

#[derive(Default)]
struct Keys {
    active: Option<Arc<SigningKey>>,
    by_kid: BTreeMap<String, VerifyingKey>,
}

impl KeyRing {
    /// A ring in which `active` signs and verifies, and `others` verify.
    #[must_use]
    pub fn new(active: SigningKey, others: impl IntoIterator<Item = VerifyingKey>) -> Self {
        let ring = Self::empty();
        ring.replace(Some(Arc::new(active)), others);
        ring
    }

    /// A ring without keys, which signs and verifies nothing until they are put there.
    #[must_use]
    pub fn empty() -> Self {
        Self(Arc::default())
    }

    /// Puts other keys in the place of all there are, for every clone at once. Without an `active` one nothing is signed: a login is
    /// then refused as unavailable.
    pub fn replace(
        &self,
        active: Option<Arc<SigningKey>>,
        others: impl IntoIterator<Item = VerifyingKey>,
    ) {
        let all = others.into_iter().chain(active.as_ref().map(|key| key.public()));
        let by_kid = all.map(|key| (key.kid.clone(), key)).collect();
        let keys = Arc::new(Keys { active, by_kid });
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The `kid` of the key that signs, if one does.
    #[must_use]
    pub fn active_kid(&self) -> Option<String> {
        self.keys().active.as_ref().map(|active| active.kid().to_owned())
    }

    /// The public halves as a JWK set, in the order of their `kid`. It names public members only (RFC 7517, 5; RFC 7518, 6.3.1).
    #[must_use]
    pub fn jwks(&self) -> String {
        let keys = self.keys();
        let jwk = |key: &VerifyingKey| Jwk {
            kty: "RSA",
            r#use: "sig",
            alg: "RS256",
            kid: key.kid.clone(),
            n: URL_SAFE_NO_PAD.encode(&key.modulus),
            e: URL_SAFE_NO_PAD.encode(EXPONENT),
        };
        let set = JwkSet { keys: keys.by_kid.values().map(jwk).collect() };
        serde_json::to_string(&set).unwrap_or_default()
    }

    /// The RS256 signature of what `message` makes of the signing key's `kid`, behind the message and a point.
    pub(crate) fn sign(&self, message: impl FnOnce(&str) -> Option<String>) -> Option<String> {
        let keys = self.keys();
        let active = keys.active.as_ref()?;
        let message = message(active.kid())?;
        let signature = active.sign(&message)?;
        Some(format!("{message}.{signature}"))
    }

    /// Whether the key of that `kid` is known and has made the signature.
    pub(crate) fn verify(&self, kid: &str, message: &str, signature: &str) -> bool {
        self.keys().by_kid.get(kid).is_some_and(|key| key.verify(message, signature))
    }

    /// Notes a token that is good but for its issuer.
    pub(crate) fn note_foreign(&self, issuer: String) {
        let mut foreign = self.0.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = foreign.as_ref().map_or(0, |foreign| foreign.shown).saturating_add(1);
        *foreign = Some(ForeignTokens { issuer, shown });
    }

    /// What was shown of tokens for another issuer since this was last asked: whoever set up the program has changed the issuer, or given
    /// two nodes two of them.
    #[must_use]
    pub fn take_foreign(&self) -> Option<ForeignTokens> {
        self.0.foreign.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Serialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Serialize)]
struct Jwk {
    kty: &'static str,
    r#use: &'static str,
    alg: &'static str,
    kid: String,
    n: String,
    e: String,
}

/// RFC 7638, 3: SHA-256 of the required members in the order of their names, without blanks.
pub(crate) fn thumbprint(modulus: &[u8]) -> String {
    let (e, n) = (URL_SAFE_NO_PAD.encode(EXPONENT), URL_SAFE_NO_PAD.encode(modulus));
    let members = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(members.as_bytes()))
}

fn pem(der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", *base64))
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public.kid).finish()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyingKey").field(&self.kid).finish()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys();
        let kids: Vec<_> = keys.by_kid.keys().collect();
        f.debug_struct("KeyRing").field("active", &keys.active).field("all", &kids).finish()
    }
}
