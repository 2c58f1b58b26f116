//! The token: a JWT (RFC 7519) signed with RS256, which points at a session.
//!
//! Its reader is ours and strict; of the library it uses the signature alone. What RFC 8725 and the library's defaults leave open is
//! refused here: a header member that is not `alg`, `typ` or `kid`, a claim that is not one of the eight, a number that is not a
//! whole one, a list where one text belongs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parlance_core::{Credential, Grant, Secret, Timestamp};
use parlance_dialect::{Dialect as _, Object, from_json};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AxxonJsonrpc, KeyRing};

/// The longest token that is read, in bytes. One role is 52 of them, a signature some 512.
const LONGEST: usize = 16 * 1024;
/// The one algorithm.
const ALGORITHM: &str = "RS256";
/// The one type.
const TYPE: &str = "JWT";
/// Whom the tokens are for, in the words of the document's sample.
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

/// Signs a token for a session; `None` if it cannot be signed, or would be too long to be read again.
pub(crate) fn sign(keys: &KeyRing, issuer: &str, grant: &Grant<'_>, sid: &str) -> Option<Secret> {
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
    let claims = part(&claims)?;
    let message = |kid: &str| {
        let header =
            Header { alg: ALGORITHM.to_owned(), typ: TYPE.to_owned(), kid: kid.to_owned() };
        Some(format!("{}.{claims}", part(&header)?))
    };
    keys.sign(message).filter(|token| token.len() <= LONGEST).map(Secret::new)
}

/// The credential in a token that one of our keys has signed for this issuer; `None` for any other text. Whether its time is over is
/// for the authority to say, which knows the time.
pub(crate) fn read(keys: &KeyRing, issuer: &str, token: &str) -> Option<Credential> {
    let token = Some(token).filter(|token| token.len() <= LONGEST)?;
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.').filter(|(_, claims)| !claims.contains('.'))?;
    let header: Header = parse(header)?;
    let known = header.alg == ALGORITHM && header.typ == TYPE;
    if !known || !keys.verify(&header.kid, message, signature) {
        return None;
    }
    let claims: Claims = parse(claims)?;
    let ours = claims.aud == AUDIENCE;
    let ids =
        is_uuid(&claims.sid) && is_uuid(&claims.sub) && claims.rls.iter().all(|id| is_uuid(id));
    let latest = Timestamp::MAX.seconds();
    if !ours || !ids || !(claims.iat..=latest).contains(&claims.exp) {
        return None;
    }
    if claims.iss != issuer {
        keys.note_foreign(claims.iss);
        return None;
    }
    let credential = Credential::new(AxxonJsonrpc::NAME, Secret::new(claims.sid));
    // `exp` names a second, and its whole second counts: rounded down, it would end the token before its time (decision 0172).
    let not_after = Some(Timestamp::from_seconds(claims.exp.saturating_add(1)));
    Some(Credential { not_after, user: Some(claims.lgn), ..credential })
}

fn part(value: &impl Serialize) -> Option<String> {
    serde_json::to_vec(value).ok().map(|json| URL_SAFE_NO_PAD.encode(json))
}

fn parse<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    let Object(value) = from_json(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    Some(value)
}

/// Whether a text is a UUID as we write it: the other spellings that a reader of UUIDs takes are none of ours.
fn is_uuid(text: &str) -> bool {
    Uuid::try_parse(text).is_ok_and(|id| id.to_string() == text)
}
