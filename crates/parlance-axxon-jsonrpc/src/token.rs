//! Access token: a JWT (RFC 7519) signed with RS256, which points at a session.
//!
//! The reader is strict and part of this crate; the library only verifies the signature. The reader also refuses the input that RFC 8725
//! and the library's defaults leave open: a header member that is not `alg`, `typ` or `kid`, a claim that is not one of the eight, a number
//! that is not a whole one, a list in the place of one text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parlance_core::{Credential, IssueContext, IssueError, Secret, Timestamp};
use parlance_dialect::{Dialect as _, StrictObject, from_json};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AxxonJsonrpc, RsaKeySet};

/// Maximum size of a token that is read, in bytes. One role takes 52 bytes, a signature some 512.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// The only algorithm.
const ALGORITHM: &str = "RS256";
/// The only type.
const TOKEN_TYPE: &str = "JWT";
/// The audience of the tokens, in the words of the document's sample.
const AUDIENCE: &str = "*.*";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// The claims, in the order of the document's sample.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    aud: String,
    exp: i64,
    iat: i64,
    iss: String,
    lgn: String,
    rls: Vec<String>,
    sid: String,
    sub: String,
}

/// Signs a token for a session. A token that would be too long to be read again is an error.
pub(crate) fn sign(
    keys: &RsaKeySet,
    issuer: &str,
    grant: &IssueContext<'_>,
    sid: &str,
) -> Result<Secret, IssueError> {
    let claims = Claims {
        aud: AUDIENCE.to_owned(),
        exp: grant.expires.unwrap_or(Timestamp::MAX).seconds(),
        iat: grant.now.seconds(),
        iss: issuer.to_owned(),
        lgn: grant.user.name.clone(),
        rls: grant.user.roles.iter().map(Uuid::to_string).collect(),
        sid: sid.to_owned(),
        sub: grant.user.id.to_string(),
    };
    let claims = encode_part(&claims)?;
    let message = |kid: &str| {
        let header =
            Header { alg: ALGORITHM.to_owned(), typ: TOKEN_TYPE.to_owned(), kid: kid.to_owned() };
        Ok(format!("{}.{claims}", encode_part(&header)?))
    };
    let token = keys.sign(message)?;
    if token.len() > MAX_TOKEN_BYTES {
        return Err(IssueError::TooLong(MAX_TOKEN_BYTES));
    }
    Ok(Secret::new(token))
}

/// The credential in a token that a key of this ring has signed for this issuer; `None` for any other text. The authority knows the time,
/// and decides whether the token has expired.
pub(crate) fn verify(keys: &RsaKeySet, issuer: &str, token: &str) -> Option<Credential> {
    let token = Some(token).filter(|token| token.len() <= MAX_TOKEN_BYTES)?;
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.').filter(|(_, claims)| !claims.contains('.'))?;
    let header: Header = decode_part(header)?;
    let known = header.alg == ALGORITHM && header.typ == TOKEN_TYPE;
    if !known || !keys.verify(&header.kid, message, signature) {
        return None;
    }
    let claims: Claims = decode_part(claims)?;
    let ours = claims.aud == AUDIENCE;
    let ids =
        is_uuid(&claims.sid) && is_uuid(&claims.sub) && claims.rls.iter().all(|id| is_uuid(id));
    let latest = Timestamp::MAX.seconds();
    if !ours || !ids || !(claims.iat..=latest).contains(&claims.exp) {
        return None;
    }
    if claims.iss != issuer {
        keys.record_wrong_issuer(claims.iss);
        return None;
    }
    let credential = Credential::new(AxxonJsonrpc::NAME, Secret::new(claims.sid));
    // `exp` names a second, and the whole second counts: rounded down, `exp` would end the token too early
    // (decisions.md#the-whole-second-of-exp-counts).
    let not_after = Some(Timestamp::from_seconds(claims.exp.saturating_add(1)));
    Some(Credential { not_after, user: Some(claims.lgn), ..credential })
}

fn encode_part(value: &impl Serialize) -> Result<String, IssueError> {
    let json = serde_json::to_vec(value);
    let json = json.map_err(|error| IssueError::Signing(error.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

fn decode_part<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    let StrictObject(value) = from_json(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    Some(value)
}

/// Whether a text is a UUID in the one spelling that this crate writes. The other spellings that a UUID parser accepts are refused.
fn is_uuid(text: &str) -> bool {
    Uuid::try_parse(text).is_ok_and(|id| id.to_string() == text)
}
