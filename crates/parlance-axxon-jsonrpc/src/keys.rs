//! Signing keys and verifying keys, and their public halves as a JWK set (RFC 7517).

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
use parlance_core::IssueError;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The only accepted public exponent: 65537.
const EXPONENT: &[u8] = &[1, 0, 1];

/// Why a key cannot sign this wire's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKeyError {
    /// The bytes are no RSA private key in PKCS#8 of 2048 to 8192 bits. A shorter key is too weak (NIST SP 800-131A), a longer key cannot
    /// be verified.
    Unusable,
    /// The public exponent is not 65537.
    Exponent,
    /// The generation of a new key failed.
    Generation,
}

impl fmt::Display for SigningKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unusable => "it is not an RSA private key in PKCS#8 of 2048 to 8192 bits",
            Self::Exponent => "its public exponent is not 65537",
            Self::Generation => "no RSA key could be made",
        })
    }
}

impl std::error::Error for SigningKeyError {}

/// A key that signs. A drop wipes the private half, and `Debug` shows the `kid` alone.
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
    /// Generates a key of 3072 bits, and returns its PKCS#8 for storage. This belongs to set-up and may take a second. No other place in this
    /// crate draws random numbers; they come from aws-lc.
    ///
    /// # Errors
    /// [`SigningKeyError::Generation`].
    pub fn generate() -> Result<(Self, Zeroizing<Vec<u8>>), SigningKeyError> {
        let pair =
            RsaKeyPair::generate(KeySize::Rsa3072).map_err(|_| SigningKeyError::Generation)?;
        let der = pair.as_der().map_err(|_| SigningKeyError::Generation)?;
        let der = Zeroizing::new(der.as_ref().to_vec());
        Ok((Self::from_pkcs8(&der)?, der))
    }

    /// Reads a key from PKCS#8, DER.
    ///
    /// # Errors
    /// See [`SigningKeyError`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SigningKeyError> {
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| SigningKeyError::Unusable)?;
        let public = pair.public_key();
        if public.exponent().big_endian_without_leading_zero() != EXPONENT {
            return Err(SigningKeyError::Exponent);
        }
        let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
        // The signer of jsonwebtoken needs the key inside the PKCS#8, and extracts that key from PEM only.
        let private = EncodingKey::from_rsa_pem(pem(der).as_bytes());
        let private = private.map_err(|_| SigningKeyError::Unusable)?;
        Ok(Self { private, public: VerifyingKey::new(modulus) })
    }

    /// The RFC 7638 thumbprint of the public half.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.public.kid()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> VerifyingKey {
        self.public.clone()
    }

    /// The RS256 signature of a message.
    fn sign(&self, message: &str) -> Result<String, IssueError> {
        let fault = |error: jsonwebtoken::errors::Error| IssueError::Signing(error.to_string());
        // An explicit provider: an app with other features can leave the process's default unset, and then the default panics.
        let signer =
            (DEFAULT_PROVIDER.signer_factory)(&Algorithm::RS256, &self.private).map_err(fault)?;
        let signature = signer
            .try_sign(message.as_bytes())
            .map_err(|error| IssueError::Signing(error.to_string()))?;
        Ok(URL_SAFE_NO_PAD.encode(signature))
    }
}

impl VerifyingKey {
    fn new(modulus: Vec<u8>) -> Self {
        let kid = thumbprint(&modulus);
        let key = DecodingKey::from_rsa_raw_components(&modulus, EXPONENT);
        Self { kid, modulus, key }
    }

    /// The RFC 7638 thumbprint.
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

/// The keys of a node, shared by all clones: at most one signs, and each verifies.
#[derive(Clone)]
pub struct RsaKeySet(Arc<Shared>);

#[derive(Default)]
struct Shared {
    keys: RwLock<Arc<Keys>>,
    wrong_issuer: Mutex<Option<WrongIssuerTokens>>,
}

/// Tokens with a signature of a key of the ring, refused since they were signed for another issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongIssuerTokens {
    /// The issuer of the last one.
    pub issuer: String,
    /// How often clients sent such a token.
    pub count: u64,
}

#[derive(Default)]
struct Keys {
    current: Option<Arc<SigningKey>>,
    by_kid: BTreeMap<String, VerifyingKey>,
}

impl RsaKeySet {
    /// A ring in which `active` signs and verifies, and `others` verify.
    #[must_use]
    pub fn new(current: SigningKey, others: impl IntoIterator<Item = VerifyingKey>) -> Self {
        let key_set = Self::empty();
        key_set.replace(Some(Arc::new(current)), others);
        key_set
    }

    /// A ring without keys, which signs and verifies nothing until keys are added.
    #[must_use]
    pub fn empty() -> Self {
        Self(Arc::default())
    }

    /// Replaces all keys, for every clone at once (key rotation). Without an `active` key nothing is signed, and a login is refused as
    /// unavailable.
    pub fn replace(
        &self,
        current: Option<Arc<SigningKey>>,
        others: impl IntoIterator<Item = VerifyingKey>,
    ) {
        let all = others.into_iter().chain(current.as_ref().map(|key| key.public()));
        let by_kid = all.map(|key| (key.kid.clone(), key)).collect();
        let keys = Arc::new(Keys { current, by_kid });
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The `kid` of the signing key, if there is one.
    #[must_use]
    pub fn current_kid(&self) -> Option<String> {
        self.keys().current.as_ref().map(|active| active.kid().to_owned())
    }

    /// The public halves as a JWK set, in the order of their `kid`. The set has public members only (RFC 7517, 5; RFC 7518, 6.3.1).
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

    /// Signs with RS256 the text that `message` makes of the signing key's `kid`. Returns the text, a point and the signature.
    pub(crate) fn sign(
        &self,
        message: impl FnOnce(&str) -> Result<String, IssueError>,
    ) -> Result<String, IssueError> {
        let keys = self.keys();
        let current = keys.current.as_ref().ok_or(IssueError::NoKey)?;
        let message = message(current.kid())?;
        let signature = current.sign(&message)?;
        Ok(format!("{message}.{signature}"))
    }

    /// Whether the key with that `kid` is known and has made the signature.
    pub(crate) fn verify(&self, kid: &str, message: &str, signature: &str) -> bool {
        self.keys().by_kid.get(kid).is_some_and(|key| key.verify(message, signature))
    }

    /// Records a token that is valid but for its issuer.
    pub(crate) fn record_wrong_issuer(&self, issuer: String) {
        let mut wrong_issuer = self.0.wrong_issuer.lock().unwrap_or_else(PoisonError::into_inner);
        let count = wrong_issuer.as_ref().map_or(0, |foreign| foreign.count).saturating_add(1);
        *wrong_issuer = Some(WrongIssuerTokens { issuer, count });
    }

    /// The tokens for another issuer since the last call of this method. They are a sign that the operator has changed the issuer, or has
    /// given two nodes different issuers.
    #[must_use]
    pub fn take_wrong_issuer(&self) -> Option<WrongIssuerTokens> {
        self.0.wrong_issuer.lock().unwrap_or_else(PoisonError::into_inner).take()
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

/// RFC 7638, 3: SHA-256 of the required members in the order of their names, without spaces.
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

impl fmt::Debug for RsaKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys();
        let kids: Vec<_> = keys.by_kid.keys().collect();
        f.debug_struct("RsaKeySet").field("current", &keys.current).field("all", &kids).finish()
    }
}
