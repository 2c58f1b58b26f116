//! Tests of the keys: accepted keys, published members, and changes of the keys (key rotation).

use std::sync::Arc;

use expect_test::expect;
use parlance_dialect::SettingValues;

use super::*;
use crate::{SigningKey, SigningKeyError};

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
        (&include_bytes!("../testing/too-short-1024.pk8")[..], SigningKeyError::Unusable),
        (include_bytes!("../testing/exponent-3.pk8"), SigningKeyError::Exponent),
        (b"", SigningKeyError::Unusable),
        (b"not a key", SigningKeyError::Unusable),
        (&testing::PUBLIC_TEST_KEY[..600], SigningKeyError::Unusable),
    ] {
        assert_eq!(SigningKey::from_pkcs8(der).unwrap_err(), why);
    }
    assert!(SigningKey::from_pkcs8(testing::PUBLIC_TEST_KEY).is_ok());
}

#[test]
fn no_debug_shows_a_private_key() {
    let key_set =
        RsaKeySet::new(key(testing::PUBLIC_TEST_KEY), [key(testing::PUBLIC_TEST_KEY_2).public()]);
    expect![[r#"
        RsaKeySet { current: Some(SigningKey("UwnI9czAp0ynPo5hjVfmU_1r8nFu0-tz09dZHDajjt4")), all: ["UwnI9czAp0ynPo5hjVfmU_1r8nFu0-tz09dZHDajjt4", "oWlw11shFODL1tzQEuXn65LqEKBVF50oCmhuB5Gf6Ic"] }
    "#]].assert_eq(&format!("{key_set:?}\n"));
    expect![[r#"
        AxxonJsonrpc { settings: Settings { lifetime: 14400s, issuer: "parlance", bind_sessions_to: Off }, keys: RsaKeySet { current: Some(SigningKey("UwnI9czAp0ynPo5hjVfmU_1r8nFu0-tz09dZHDajjt4")), all: ["UwnI9czAp0ynPo5hjVfmU_1r8nFu0-tz09dZHDajjt4", "oWlw11shFODL1tzQEuXn65LqEKBVF50oCmhuB5Gf6Ic"] } }
    "#]].assert_eq(&format!("{:?}\n", AxxonJsonrpc::new(Settings::default(), key_set)));
}

#[test]
fn the_key_set_names_public_members_only() {
    let key_set =
        RsaKeySet::new(key(testing::PUBLIC_TEST_KEY), [key(testing::PUBLIC_TEST_KEY_2).public()]);
    let set: serde_json::Value = key_set.jwks().parse().unwrap();
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
        assert!(!key_set.jwks().contains(private), "{private}");
    }
}

#[test]
fn a_retired_key_verifies_until_it_is_dropped() {
    let harness = DialectHarness::new();
    let old = harness.log_in();
    let retired = key(testing::PUBLIC_TEST_KEY);
    harness.keys.replace(Some(Arc::new(key(testing::PUBLIC_TEST_KEY_2))), [retired.public()]);
    let new = harness.log_in();
    assert!(harness.admits(&old) && harness.admits(&new));
    assert!(token_part(&new, 0).contains(key(testing::PUBLIC_TEST_KEY_2).kid()));
    harness.keys.replace(Some(Arc::new(key(testing::PUBLIC_TEST_KEY_2))), []);
    assert!(!harness.admits(&old) && harness.admits(&new));
}

#[test]
fn without_a_current_key_a_login_is_503_and_earlier_tokens_stay_valid() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    harness.keys.replace(None, [key(testing::PUBLIC_TEST_KEY).public()]);
    assert_eq!(harness.keys.current_kid(), None);
    assert!(harness.admits(&token));
    let answer = harness.grpc(&basic("csmith", "XXX"), "AuthenticateEx", CSMITH);
    assert_eq!(answer.status, 503);
    harness.keys.replace(None, []);
    assert!(!harness.admits(&token));
    assert_eq!(harness.keys.jwks(), r#"{"keys":[]}"#);
}

#[test]
fn a_new_key_has_3072_bits_and_can_be_kept() {
    let (made, der) = SigningKey::generate().unwrap();
    assert_eq!(key(&der).kid(), made.kid());
    let key_set = RsaKeySet::new(made, []);
    let set: serde_json::Value = key_set.jwks().parse().unwrap();
    let modulus = URL_SAFE_NO_PAD.decode(set["keys"][0]["n"].as_str().unwrap()).unwrap();
    assert_eq!((modulus.len(), modulus[0] >> 7), (384, 1));
}

#[test]
fn configured_settings_apply_and_an_empty_issuer_is_parlance() {
    let mut values = SettingValues::defaults(AxxonJsonrpc::SETTINGS, Default::default());
    assert_eq!(AxxonJsonrpc::configure(&values, testing::keys()).settings, Settings::default());
    values.set("issuer", parlance_dialect::SettingValue::Text("V-HOST".to_owned()));
    values.set("lifetime", parlance_dialect::SettingValue::Duration(Duration::from_secs(2)));
    let settings = Settings {
        lifetime: Duration::from_secs(2),
        issuer: "V-HOST".to_owned(),
        ..Settings::default()
    };
    assert_eq!(AxxonJsonrpc::configure(&values, testing::keys()).settings, settings);
}
