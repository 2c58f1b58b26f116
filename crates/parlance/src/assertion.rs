//! Identity assertions: a short-lived JWT (RFC 7519) that tells an upstream who makes a request, signed with Ed25519 (RFC 8037).
//!
//! An upstream verifies it with the published keys, and demands `typ`, `iss`, `aud` and `exp`. It speaks of one request and opens
//! nothing here.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parlance_core::{SessionId, Timestamp};
use parlance_dialect::Caller;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// How long an assertion lives.
pub const LIFETIME: Duration = Duration::from_secs(60);

/// Says what it is (RFC 8725, 3.11), so that no other JWT is taken for one.
const TYPE: &str = "assertion+jwt";

/// The most assertions that are kept within one second; one more is signed anew for each request.
const MOST: usize = 16 * 1024;

/// An Ed25519 key. Its `Debug` shows the `kid` alone.
pub struct AssertionKey {
    pair: Ed25519KeyPair,
    public: Public,
}

/// The public half of one.
#[derive(Clone)]
struct Public {
    kid: String,
    x: String,
}

impl AssertionKey {
    /// Makes a key of 32 random bytes, and gives its PKCS#8 to be kept.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Result<(Self, Zeroizing<Vec<u8>>), Unspecified> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Unspecified)?;
        let der = Zeroizing::new(pair.to_pkcs8()?.as_ref().to_vec());
        Ok((Self::new(pair), der))
    }

    /// Takes a key in PKCS#8, DER.
    pub(crate) fn from_pkcs8(der: &[u8]) -> Result<Self, Unspecified> {
        Ed25519KeyPair::from_pkcs8(der).map(Self::new).map_err(|_| Unspecified)
    }

    fn new(pair: Ed25519KeyPair) -> Self {
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        // RFC 7638, 3 and RFC 8037, 2: the required members in the order of their names, without blanks.
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()));
        Self { pair, public: Public { kid, x } }
    }

    /// The RFC 7638 thumbprint of its public half.
    pub(crate) fn kid(&self) -> &str {
        &self.public.kid
    }
}

/// Signs assertions. Clones share their keys and what they have signed within this second.
#[derive(Clone)]
pub struct Assertions(Arc<Inner>);

struct Inner {
    issuer: String,
    keys: RwLock<Arc<Keys>>,
    signed: Mutex<Signed>,
}

struct Keys {
    active: AssertionKey,
    all: BTreeMap<String, Public>,
}

/// A session's assertions by audience.
type ByAudience = Vec<(Box<str>, Arc<str>)>;

/// What has been signed within one second with one key.
#[derive(Default)]
struct Signed {
    second: i64,
    kid: String,
    by_session: HashMap<SessionId, ByAudience>,
    count: usize,
}

impl Assertions {
    pub(crate) fn new(
        issuer: &str,
        active: AssertionKey,
        others: impl IntoIterator<Item = AssertionKey>,
    ) -> Self {
        let keys = RwLock::new(Arc::new(Keys::new(active, others)));
        Self(Arc::new(Inner { issuer: issuer.to_owned(), keys, signed: Mutex::default() }))
    }

    pub(crate) fn replace(
        &self,
        active: AssertionKey,
        others: impl IntoIterator<Item = AssertionKey>,
    ) {
        let keys = Arc::new(Keys::new(active, others));
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The assertion that this caller makes a request of this audience now; `None` if it cannot be signed. One is signed once a second
    /// for a session and an audience, and given again within that second.
    #[must_use]
    pub fn for_caller(&self, caller: &Caller, audience: &str, now: Timestamp) -> Option<Arc<str>> {
        let keys = Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner));
        let second = now.seconds();
        let (_past, again) = self.signed(|signed| {
            (signed.begin(second, keys.active.kid()), signed.find(caller.session, audience))
        });
        if again.is_some() {
            return again;
        }
        let fresh: Arc<str> = self.sign(&keys.active, caller, audience, second)?.into();
        self.signed(|signed| {
            if signed.second == second && signed.kid == keys.active.kid() && signed.count < MOST {
                signed.count += 1;
                let entry = (audience.into(), Arc::clone(&fresh));
                signed.by_session.entry(caller.session).or_default().push(entry);
            }
        });
        Some(fresh)
    }

    fn signed<T>(&self, act: impl FnOnce(&mut Signed) -> T) -> T {
        act(&mut self.0.signed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn sign(
        &self,
        key: &AssertionKey,
        caller: &Caller,
        audience: &str,
        second: i64,
    ) -> Option<String> {
        let header = json!({ "alg": "EdDSA", "kid": key.kid(), "typ": TYPE });
        let life = i64::try_from(LIFETIME.as_secs()).ok()?;
        // No later than the session itself.
        let exp = caller.expires.map_or(i64::MAX, Timestamp::seconds).min(second + life);
        let roles: Vec<String> = caller.roles.iter().map(ToString::to_string).collect();
        let claims = json!({
            "iss": self.0.issuer,
            "aud": audience,
            "sub": caller.user.to_string(),
            "name": caller.name,
            "roles": roles,
            "unrestricted": caller.unrestricted,
            "sid": caller.session.to_string(),
            "dialect": caller.dialect,
            "iat": second,
            "exp": exp,
        });
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = key.pair.try_sign(message.as_bytes()).ok()?;
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// The public halves as JWKs (RFC 8037, 2), in the order of their `kid`.
    #[must_use]
    pub fn jwks(&self) -> Vec<Value> {
        let keys = Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner));
        let jwk = |Public { kid, x }: &Public| json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x });
        keys.all.values().map(jwk).collect()
    }
}

impl Keys {
    fn new(active: AssertionKey, others: impl IntoIterator<Item = AssertionKey>) -> Self {
        let publics = others.into_iter().map(|key| key.public).chain([active.public.clone()]);
        let all = publics.map(|public| (public.kid.clone(), public)).collect();
        Self { active, all }
    }
}

impl Signed {
    /// Gives up everything where another second has begun, or another key signs: to be dropped where nobody waits for it. The second
    /// only goes forward.
    fn begin(&mut self, second: i64, kid: &str) -> Option<Self> {
        (second > self.second || kid != self.kid).then(|| {
            let fresh = Self { second, kid: kid.to_owned(), ..Self::default() };
            std::mem::replace(self, fresh)
        })
    }

    fn find(&self, session: SessionId, audience: &str) -> Option<Arc<str>> {
        let known = self.by_session.get(&session)?;
        known.iter().find(|(other, _)| **other == *audience).map(|(_, again)| Arc::clone(again))
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AssertionKey").field(&self.public.kid).finish()
    }
}

impl fmt::Debug for Assertions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertions").field("issuer", &self.0.issuer).finish_non_exhaustive()
    }
}
