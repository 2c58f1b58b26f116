//! Keys: which are taken, what is shown of them, and how they change.

use std::sync::Arc;

use expect_test::expect;
use parlance_dialect::Values;

use super::*;
use crate::{KeyRejected, SigningKey};

fn key(der: &[u8]) -> SigningKey {
    SigningKey::from_pkcs8(der).unwrap()
}

#[test]
fn the_kid_is_the_thumbprint_of_rfc_7638() {
    expect!["UwnI9czAp0ynPo5hjVfmU_1r8nFu0-tz09dZHDajjt4"]
        .assert_eq(key(testing::PUBLIC_TEST_KEY).kid());
}

#[test]
fn the_sample_of_rfc_7638_has_the_thumbprint_that_it_prints() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let modulus = URL_SAFE_NO_PAD.decode(n).unwrap();
    assert_eq!(crate::keys::thumbprint(&modulus), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn a_weak_key_or_none_is_refused() {
    for (der, why) in [
        (&include_bytes!("../testing/too-short-1024.pk8")[..], KeyRejected::Unusable),
        (include_bytes!("../testing/exponent-3.pk8"), KeyRejected::Exponent),
        (b"", KeyRejected::Unusable),
        (b"not a key", KeyRejected::Unusable),
        (&testing::PUBLIC_TEST_KEY[..600], KeyRejected::Unusable),
    ] {
        assert_eq!(SigningKey::from_pkcs8(der).unwrap_err(), why);
    }
    assert!(SigningKey::from_pkcs8(testing::PUBLIC_TEST_KEY).is_ok());
}

#[test]
fn no_debug_shows_a_private_key() {
    let ring =
        KeyRing::new(key(testing::PUBLIC_TEST_KEY), [key(testing::PUBLIC_TEST_KEY_2).public()]);
    expect![[r#"
        KeyRing { active: Some(SigningKey("UwnI9czAp0ynPo5hjVfmU_1r8nFu0-tz09dZHDajjt4")), all: ["UwnI9czAp0ynPo5hjVfmU_1r8nFu0-tz09dZHDajjt4", "oWlw11shFODL1tzQEuXn65LqEKBVF50oCmhuB5Gf6Ic"] }
    "#]].assert_eq(&format!("{ring:?}\n"));
    expect![[r#"
        AxxonJsonrpc { settings: Settings { lifetime: 14400s, issuer: "parlance", bind_address: Off }, keys: KeyRing { active: Some(SigningKey("UwnI9czAp0ynPo5hjVfmU_1r8nFu0-tz09dZHDajjt4")), all: ["UwnI9czAp0ynPo5hjVfmU_1r8nFu0-tz09dZHDajjt4", "oWlw11shFODL1tzQEuXn65LqEKBVF50oCmhuB5Gf6Ic"] } }
    "#]].assert_eq(&format!("{:?}\n", AxxonJsonrpc::new(Settings::default(), ring)));
}

#[test]
fn the_key_set_names_public_members_only() {
    let ring =
        KeyRing::new(key(testing::PUBLIC_TEST_KEY), [key(testing::PUBLIC_TEST_KEY_2).public()]);
    let set: serde_json::Value = ring.jwks().parse().unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!((set.as_object().unwrap().len(), keys.len()), (1, 2));
    for key in keys {
        let mut members: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use"]);
        let values = [("alg", "RS256"), ("e", "AQAB"), ("kty", "RSA"), ("use", "sig")];
        assert!(values.iter().all(|(name, value)| key[name] == *value), "{key}");
    }
    for private in ["\"d\"", "\"p\"", "\"q\"", "\"dp\"", "\"dq\"", "\"qi\"", "\"oth\"", "\"k\""] {
        assert!(!ring.jwks().contains(private), "{private}");
    }
}

#[test]
fn a_key_that_signs_no_more_verifies_until_it_is_dropped() {
    let wire = Wire::new();
    let old = wire.log_in();
    let retired = key(testing::PUBLIC_TEST_KEY);
    wire.keys.replace(Some(Arc::new(key(testing::PUBLIC_TEST_KEY_2))), [retired.public()]);
    let new = wire.log_in();
    assert!(wire.admits(&old) && wire.admits(&new));
    assert!(part(&new, 0).contains(key(testing::PUBLIC_TEST_KEY_2).kid()));
    wire.keys.replace(Some(Arc::new(key(testing::PUBLIC_TEST_KEY_2))), []);
    assert!(!wire.admits(&old) && wire.admits(&new));
}

#[test]
fn without_a_key_that_signs_a_login_is_503_and_what_was_signed_is_good() {
    let wire = Wire::new();
    let token = wire.log_in();
    wire.keys.replace(None, [key(testing::PUBLIC_TEST_KEY).public()]);
    assert_eq!(wire.keys.active_kid(), None);
    assert!(wire.admits(&token));
    let answer = wire.grpc(&basic("csmith", "XXX"), "AuthenticateEx", CSMITH);
    assert_eq!(answer.status, 503);
    wire.keys.replace(None, []);
    assert!(!wire.admits(&token));
    assert_eq!(wire.keys.jwks(), r#"{"keys":[]}"#);
}

#[test]
fn a_new_key_has_3072_bits_and_can_be_kept() {
    let (made, der) = SigningKey::generate().unwrap();
    assert_eq!(key(&der).kid(), made.kid());
    let ring = KeyRing::new(made, []);
    let set: serde_json::Value = ring.jwks().parse().unwrap();
    let modulus = URL_SAFE_NO_PAD.decode(set["keys"][0]["n"].as_str().unwrap()).unwrap();
    assert_eq!((modulus.len(), modulus[0] >> 7), (384, 1));
}

#[test]
fn an_operators_settings_count_and_an_empty_issuer_is_parlance() {
    let mut values = Values::defaults(AxxonJsonrpc::SETTINGS, Default::default());
    assert_eq!(AxxonJsonrpc::configure(&values, testing::keys()).settings, Settings::default());
    values.set("issuer", parlance_dialect::Value::Text("V-HOST".to_owned()));
    values.set("lifetime", parlance_dialect::Value::Duration(Duration::from_secs(2)));
    let settings = Settings {
        lifetime: Duration::from_secs(2),
        issuer: "V-HOST".to_owned(),
        ..Settings::default()
    };
    assert_eq!(AxxonJsonrpc::configure(&values, testing::keys()).settings, settings);
}
