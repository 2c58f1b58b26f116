//! Claims about assertions: their content, their lifetime, and the keys that verify them.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use parlance_core::{SessionId, UserId};
use uuid::Uuid;

use super::*;

const NOW: i64 = 1_651_406_400;

fn key(seed: u8) -> Arc<AssertionKey> {
    Arc::new(AssertionKey::from_seed(&[seed; 32]).unwrap().0)
}

fn caller() -> Caller {
    Caller {
        user: UserId(Uuid::from_u128(1)),
        name: "C \"Smith\" \u{e9}".to_owned(),
        roles: vec![Uuid::from_u128(2)],
        unrestricted: false,
        session: SessionId(Uuid::from_u128(3)),
        dialect: "cluster-api",
        expires: Some(Timestamp::from_seconds(NOW + 600)),
    }
}

fn signer() -> AssertionSigner {
    let signer = AssertionSigner::new("https://p.test");
    signer.replace(Some(key(1)), &[]);
    signer
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1000 * (NOW + second) + 700)
}

fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// A published key has signed this token with these claims.
#[track_caller]
fn check(signer: &AssertionSigner, token: &str, claims: &Value) {
    let header = part(token, 0);
    let known = signer.jwks();
    let jwk = known.iter().find(|jwk| jwk["kid"] == header["kid"]).unwrap();
    let x = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&ED25519, x).verify(message.as_bytes(), &signature).unwrap();
    assert_eq!(header, json!({ "alg": "EdDSA", "typ": "assertion+jwt", "kid": jwk["kid"] }));
    assert_eq!(part(token, 1), *claims);
}

#[test]
fn an_assertion_identifies_the_caller_for_a_minute() {
    let signer = signer();
    let claims = |exp: i64| {
        json!({
            "iss": "https://p.test",
            "aud": "https://up.test",
            "sub": "00000000-0000-0000-0000-000000000001",
            "name": "C \"Smith\" \u{e9}",
            "roles": ["00000000-0000-0000-0000-000000000002"],
            "unrestricted": false,
            "sid": "00000000-0000-0000-0000-000000000003",
            "dialect": "cluster-api",
            "iat": NOW,
            "exp": NOW + exp,
        })
    };
    let mut caller = caller();
    for (number, ends, exp) in [(3, Some(600), 60), (4, None, 60), (5, Some(20), 20)] {
        caller.session = SessionId(Uuid::from_u128(number));
        caller.expires = ends.map(|ends| Timestamp::from_seconds(NOW + ends));
        let token = signer.for_caller(&caller, "https://up.test", at(0)).unwrap();
        let mut expected = claims(exp);
        expected["sid"] = json!(caller.session.to_string());
        check(&signer, &token, &expected);
    }
}

#[test]
fn another_key_signs_at_once_and_the_old_one_is_published_still() {
    let (signer, caller) = (signer(), caller());
    let old = signer.for_caller(&caller, "a", at(0)).unwrap();
    signer.replace(Some(key(2)), &[key(1)]);
    let new = signer.for_caller(&caller, "a", at(0)).unwrap();
    assert_ne!(part(&old, 0)["kid"], part(&new, 0)["kid"]);
    for token in [&old, &new] {
        check(&signer, token, &part(&old, 1));
    }
    signer.replace(None, &[key(2)]);
    assert_eq!(signer.for_caller(&caller, "a", at(0)), None, "nothing signs");
    assert!(!signer.jwks().iter().any(|jwk| jwk["kid"] == part(&old, 0)["kid"]));
}

#[test]
fn the_thumbprint_is_that_of_rfc_8037() {
    // RFC 8037, A.1 and A.3.
    let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let (key, der) = AssertionKey::from_seed(&seed.try_into().unwrap()).unwrap();
    assert_eq!(key.public.x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(AssertionKey::from_pkcs8(&der).unwrap().kid(), key.kid());
    assert!(AssertionKey::from_pkcs8(b"no key").is_err());
    let printed = format!("{key:?} {:?}", signer());
    assert!(printed.starts_with("AssertionKey(\"kPrK"), "{printed}");
}
