//! Tests of the token: its claims, and the texts that are no valid token.

use expect_test::expect;
use parlance_core::ports::{SessionQuery, Store as _};
use parlance_core::{Failure, TokenIssuer as _};
use serde_json::{Value, json};

use super::*;
use crate::{SigningKey, WrongIssuerTokens};

#[test]
fn header_and_claims_stand_in_the_order_of_the_sample() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    expect![[r#"
        {"alg":"RS256","typ":"JWT","kid":"UwnI9czAp0ynPo5hjVfmU_1r8nFu0-tz09dZHDajjt4"}
        {"aud":"*.*","exp":1651420800,"iat":1651406400,"iss":"parlance","lgn":"csmith","rls":["9745b902-2a36-4035-bdd6-012e0dae66c0"],"sid":"e132451f-be9a-422c-bcab-16c93a1384c5","sub":"4f450980-185d-4406-ac81-4c72a8b88bf8"}
    "#]].assert_eq(&format!("{}\n{}\n", token_part(&token, 0), token_part(&token, 1)));
    expect!["eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IlV3bkk5Y3pBcDB5blBvNWhqVmZtVV8xcjhuRnUwLXR6MDlkWkhEYWpqdDQifQ.eyJhdWQiOiIqLioiLCJleHAiOjE2NTE0MjA4MDAsImlhdCI6MTY1MTQwNjQwMCwiaXNzIjoicGFybGFuY2UiLCJsZ24iOiJjc21pdGgiLCJybHMiOlsiOTc0NWI5MDItMmEzNi00MDM1LWJkZDYtMDEyZTBkYWU2NmMwIl0sInNpZCI6ImUxMzI0NTFmLWJlOWEtNDIyYy1iY2FiLTE2YzkzYTEzODRjNSIsInN1YiI6IjRmNDUwOTgwLTE4NWQtNDQwNi1hYzgxLTRjNzJhOGI4OGJmOCJ9.kMtTtdKJQxxYGz3Jkq22LYf5T-x7vsetFfQj1ix2AxM34J3fbeCmji8XlwtcUoy-ECcrt9F9kfNpib1GmjBp4HidRSillD51R4JoJYgOZvKCyKATR-RjEZDozlcDlQiD17xnGm_amLZaw1c91QdnYPVe8tF8axutoYFGmNHgibPTn5J4XZoE3ODobnE0Na7vesV4ZeiSsIVZnESIpaiw-KXbfTySaqX5MGte6HLyMzfHHp1tYo6KtqAlZvDbLa7Z-ifJx3HdQgB1BgIrEc24fLgPjA6910fcYDTzQ1_0JSxgFLCd-mRX-x6X-vd8JPdOwzpHq2ZQTbbuSBsC2BchpQ"].assert_eq(&token);
}

#[test]
fn exp_is_expires_at_and_whole_seconds_after_iat() {
    let harness = DialectHarness::new();
    harness.world.clock.advance(Duration::from_millis(999));
    let answer = harness.grpc(&basic("csmith", "XXX"), "AuthenticateEx", CSMITH);
    let claims: Value =
        serde_json::from_str(&token_part(&member(&answer, "token_value"), 1)).unwrap();
    assert_eq!(member(&answer, "expires_at"), "20220501T160000");
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(1_651_406_400), &json!(1_651_420_800)));
}

#[test]
fn a_token_ends_at_exp_to_the_second_without_leeway() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    harness.advance(4 * 3600 - 1);
    assert!(harness.admits(&token));
    harness.world.clock.advance(Duration::from_millis(999));
    assert!(harness.admits(&token));
    harness.world.clock.advance(Duration::from_millis(1));
    assert!(!harness.admits(&token));
}

#[test]
fn a_token_of_an_odd_millisecond_lives_its_whole_lifetime() {
    let harness = DialectHarness::new();
    harness.world.clock.advance(Duration::from_millis(999));
    let token = harness.log_in();
    harness.advance(4 * 3600 - 1);
    harness.world.clock.advance(Duration::from_millis(999));
    assert!(harness.admits(&token));
    harness.world.clock.advance(Duration::from_millis(1));
    assert!(!harness.admits(&token));
}

#[test]
fn a_token_longer_than_the_limit_is_not_issued() {
    let dialect = AxxonJsonrpc::new(
        Settings { issuer: "i".repeat(16 * 1024), ..Settings::default() },
        testing::keys(),
    );
    let world = TestWorld::with_csmith();
    let service = world.service(dialect);
    let answer = world.send(&service, &grpc(&basic("csmith", "XXX"), "AuthenticateEx", CSMITH));
    assert_eq!(answer.status, 503, "{answer:?}");
}

#[test]
fn a_user_with_the_maximum_number_of_roles_can_use_the_token() {
    let (world, keys) = (TestWorld::with_csmith(), testing::keys());
    let new = parlance_core::NewUser {
        name: "\"".repeat(128),
        password: parlance_core::Secret::new("XXX".to_owned()),
        roles: (0..256).map(uuid::Uuid::from_u128).collect(),
        unrestricted: false,
    };
    let user = world.block_on(world.authority.add_user(new, world.clock.now())).unwrap();
    let issuer = "a-host-name-of-sixty-three-letters-is-the-longest-there-can-be-".to_owned();
    let dialect = AxxonJsonrpc::new(Settings { issuer, ..Settings::default() }, keys);
    let now = world.clock.now();
    let grant = parlance_core::IssueContext { user: &user, now, expires: None };
    let minted =
        dialect.issue(&grant, &parlance_dialect::testing::SeededEntropy::default()).unwrap();
    assert!(dialect.verify_token(minted.secret.expose()).is_some());
}

#[test]
fn extreme_clocks_and_lifetimes_make_tokens_that_count() {
    for (now, lifetime) in
        [(0, 1), (2_147_483_647, 14_400), (253_402_300_000, 14_400), (1_651_406_400, u64::MAX)]
    {
        let (world, keys) = (TestWorld::with_csmith(), testing::keys());
        let lifetime = Duration::from_secs(lifetime);
        let dialect = AxxonJsonrpc::new(Settings { lifetime, ..Settings::default() }, keys);
        let user = world
            .block_on(world.store.user(parlance_core::canonical_name("csmith").unwrap()))
            .unwrap()
            .unwrap();
        let now = Timestamp::from_seconds(now);
        let expires = parlance_core::Lifetime::Fixed(lifetime).expiry(now, None);
        let grant = parlance_core::IssueContext { user: &user, now, expires };
        let minted =
            dialect.issue(&grant, &parlance_dialect::testing::SeededEntropy::default()).unwrap();
        let shown = dialect.verify_token(minted.secret.expose()).unwrap();
        assert_eq!(shown.digest, minted.digest);
        assert!(shown.not_after.unwrap() > now && shown.not_after >= expires);
    }
}

#[test]
fn the_store_holds_nothing_that_stands_in_the_token() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    let sessions = harness
        .world
        .block_on(harness.world.store.sessions(SessionQuery::live(harness.now())))
        .unwrap();
    let dump = format!("{sessions:?}");
    let claims: Value = serde_json::from_str(&token_part(&token, 1)).unwrap();
    assert_eq!(sessions.len(), 1);
    assert!(!dump.contains(claims["sid"].as_str().unwrap()) && !dump.contains(&token));
    assert_ne!(sessions[0].0.id.to_string(), claims["sid"].as_str().unwrap());
}

/// Signs any header and claims with the test key.
fn forge(keys: &RsaKeySet, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    keys.sign(|_| Ok(message)).unwrap()
}

/// A token of a living session is refused after such a change of its header or its claims, even with the signature of the test key.
#[track_caller]
fn check_refused(change: impl Fn(&mut Value, &mut Value)) {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    let (mut header, mut claims) =
        (token_part(&token, 0).parse().unwrap(), token_part(&token, 1).parse().unwrap());
    assert!(harness.admits(&forge(
        &harness.keys,
        &Value::to_string(&header),
        &Value::to_string(&claims)
    )));
    change(&mut header, &mut claims);
    assert!(!harness.admits(&forge(&harness.keys, &header.to_string(), &claims.to_string())));
}

#[test]
fn the_algorithm_is_rs256_and_nothing_else() {
    for alg in [
        json!("none"),
        json!("None"),
        json!("HS256"),
        json!("RS512"),
        json!("PS256"),
        json!("rs256"),
        json!(""),
        json!(null),
        json!(["RS256"]),
    ] {
        check_refused(|header, _| header["alg"] = alg.clone());
    }
}

#[test]
fn a_token_without_a_signature_or_with_one_by_the_public_key_is_refused() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    let kid = harness.keys.current_kid().unwrap();
    let claims = token.split('.').nth(1).unwrap();
    let none = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","typ":"JWT","kid":"{kid}"}}"#));
    let hs256 = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{kid}"}}"#));
    let mac = |message: &str, secret: &[u8]| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes()))
    };
    let message = format!("{hs256}.{claims}");
    let modulus: Value = harness.keys.jwks().parse().unwrap();
    let modulus = URL_SAFE_NO_PAD.decode(modulus["keys"][0]["n"].as_str().unwrap()).unwrap();
    let rs256 = token.rsplit_once('.').unwrap().0;
    for forged in [
        format!("{none}.{claims}."),
        format!("{none}.{claims}"),
        format!("{rs256}."),
        format!("{message}.{}", mac(&message, &modulus)),
        format!("{message}.{}", mac(&message, harness.keys.jwks().as_bytes())),
        format!("{rs256}.{}", mac(rs256, &modulus)),
    ] {
        assert!(!harness.admits(&forged), "{forged}");
    }
    assert!(harness.admits(&token));
}

#[test]
fn crit_and_every_other_member_of_the_header_are_refused() {
    for (name, value) in [
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("cty", json!("JWT")),
        ("jku", json!("http://127.0.0.1/keys")),
        ("jwk", json!({"kty": "RSA"})),
        ("x5u", json!("http://127.0.0.1/keys")),
        ("x5c", json!([])),
        ("zip", json!("DEF")),
        ("b64", json!(false)),
    ] {
        check_refused(|header, _| header[name] = value.clone());
    }
    for name in ["alg", "typ", "kid"] {
        check_refused(|header, _| drop(header.as_object_mut().unwrap().remove(name)));
    }
    for typ in ["jwt", "at+jwt", "JWS", ""] {
        check_refused(|header, _| header["typ"] = json!(typ));
    }
}

#[test]
fn an_unknown_kid_is_refused_and_is_never_a_path() {
    for kid in ["", "x", "../../etc/passwd", "' OR 1=1 --", "testing/public-test-key.pk8"] {
        check_refused(|header, _| header["kid"] = json!(kid));
    }
    check_refused(|header, _| header["kid"] = json!(null));
}

#[test]
fn a_token_by_another_key_is_refused_under_its_own_kid_and_ours() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    let stranger = RsaKeySet::new(SigningKey::from_pkcs8(testing::PUBLIC_TEST_KEY_2).unwrap(), []);
    let own = token_part(&token, 0)
        .replace(&harness.keys.current_kid().unwrap(), &stranger.current_kid().unwrap());
    assert!(!harness.admits(&forge(&stranger, &own, &token_part(&token, 1))));
    assert!(!harness.admits(&forge(&stranger, &token_part(&token, 0), &token_part(&token, 1))));
}

#[test]
fn exp_is_a_whole_number_that_a_date_can_hold() {
    for exp in [
        json!(1_651_420_800.0),
        json!(1_651_420_800.5),
        json!("1651420800"),
        json!(u64::MAX),
        json!(i64::MAX),
        json!(253_402_300_800_i64),
        json!(-1),
        json!(null),
        json!([1_651_420_800]),
        json!(1_651_406_399),
    ] {
        check_refused(|_, claims| claims["exp"] = exp.clone());
    }
    // A token with its end before its beginning is no token of this wire, at any time.
    let harness = DialectHarness::new();
    let (token, dialect) =
        (harness.log_in(), AxxonJsonrpc::new(Settings::default(), harness.keys.clone()));
    for (exp, counts) in [("1651420800", true), ("1651406400", true), ("1651406399", false)] {
        let claims = token_part(&token, 1).replace("1651420800", exp);
        let forged = forge(&harness.keys, &token_part(&token, 0), &claims);
        assert_eq!(dialect.verify_token(&forged).is_some(), counts, "{exp}");
    }
    // `serde_json` writes none of these.
    let harness = DialectHarness::new();
    let token = harness.log_in();
    for exp in ["1e400", "1651420800e0", "18446744073709551616", "0x10", "+1"] {
        let claims = token_part(&token, 1).replace("1651420800", exp);
        assert!(!harness.admits(&forge(&harness.keys, &token_part(&token, 0), &claims)), "{exp}");
    }
}

#[test]
fn the_issuer_and_the_audience_must_match_and_are_no_list() {
    for iss in [
        json!("other"),
        json!(""),
        json!(["parlance"]),
        json!(["parlance", "other"]),
        json!(null),
        json!("Parlance"),
    ] {
        check_refused(|_, claims| claims["iss"] = iss.clone());
    }
    for aud in [json!("*"), json!("parlance"), json!(["*.*"]), json!([]), json!(null)] {
        check_refused(|_, claims| claims["aud"] = aud.clone());
    }
}

#[test]
fn every_claim_is_required_and_no_other_is_taken() {
    for name in ["aud", "exp", "iat", "iss", "lgn", "rls", "sid", "sub"] {
        check_refused(|_, claims| drop(claims.as_object_mut().unwrap().remove(name)));
        check_refused(|_, claims| claims[name] = json!(null));
    }
    for name in ["nbf", "jti", "azp", "scope"] {
        check_refused(|_, claims| claims[name] = json!(1));
    }
}

#[test]
fn sid_and_sub_are_uuids_in_one_spelling_and_the_session_is_that_of_the_login_name() {
    let other = "00000000-0000-4000-8000-000000000000";
    check_refused(|_, claims| claims["sid"] = json!(other));
    check_refused(|_, claims| claims["lgn"] = json!("other"));
    check_refused(|_, claims| claims["lgn"] = json!(""));
    check_refused(|_, claims| claims["rls"] = json!(["x"]));
    for name in ["sid", "sub"] {
        check_refused(|_, claims| {
            claims[name] = json!(claims[name].as_str().unwrap().to_uppercase())
        });
        check_refused(|_, claims| {
            claims[name] = json!(claims[name].as_str().unwrap().replace('-', ""))
        });
        check_refused(|_, claims| {
            claims[name] = json!(format!("{{{}}}", claims[name].as_str().unwrap()))
        });
    }
}

#[test]
fn a_duplicate_member_is_refused_in_header_and_claims() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    let (header, claims) = (token_part(&token, 0), token_part(&token, 1));
    let twice = header.replacen('{', r#"{"alg":"RS256","#, 1);
    assert!(!harness.admits(&forge(&harness.keys, &twice, &claims)));
    let twice = claims.replacen('{', r#"{"exp":1651420800,"#, 1);
    assert!(!harness.admits(&forge(&harness.keys, &header, &twice)));
    assert!(!harness.admits(&forge(&harness.keys, "[\"RS256\",\"JWT\"]", &claims)));
}

#[test]
fn a_token_of_another_shape_is_refused() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let padding = "A".repeat(16 * 1024);
    let long = {
        let roles = vec!["9745b902-2a36-4035-bdd6-012e0dae66c0"; 500];
        let mut claims: Value = token_part(&token, 1).parse().unwrap();
        claims["rls"] = json!(roles);
        forge(&harness.keys, &token_part(&token, 0), &claims.to_string())
    };
    for other in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{token}."),
        format!(".{token}"),
        format!("{message}..{signature}"),
        format!("{message}=.{signature}"),
        format!("{token}=="),
        token.replace('.', " "),
        format!("{message}.{padding}"),
        padding,
        long,
        format!("{message}.{}", &signature[1..]),
        token[..token.len() - 1].to_owned(),
    ] {
        assert!(!harness.admits(&other), "{} bytes", other.len());
    }
}

#[test]
fn a_tampered_token_is_refused_at_every_byte() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    for at in (0..token.len()).step_by(7) {
        let byte = token.as_bytes()[at];
        let other = if byte == b'A' { 'B' } else { 'A' };
        let tampered = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        assert!(!harness.admits(&tampered), "at {at}");
    }
}

#[test]
fn a_valid_signature_without_an_active_session_is_refused() {
    let (one, other) = (DialectHarness::new(), DialectHarness::new());
    let token = one.log_in();
    assert!(one.admits(&token) && !other.admits(&token));
    let name = parlance_core::canonical_name("csmith").unwrap();
    use parlance_core::ports::Change;
    one.world.block_on(one.world.store.apply(Change::SetEnabled(name.clone(), false))).unwrap();
    assert!(!one.admits(&token));
    one.world.block_on(one.world.store.apply(Change::SetEnabled(name, true))).unwrap();
    assert!(!one.admits(&token));
}

#[test]
fn a_node_with_another_issuer_refuses_the_token() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    let elsewhere = Settings { issuer: "elsewhere".to_owned(), ..Settings::default() };
    let elsewhere = AxxonJsonrpc::new(elsewhere, harness.keys.clone());
    assert_eq!(harness.keys.take_wrong_issuer(), None);
    for _ in 0..3 {
        assert_eq!(elsewhere.verify_token(&token), None);
    }
    // A token without the signature of a key of the ring is not recorded.
    assert_eq!(elsewhere.verify_token(&token[..token.len() - 4]), None);
    let foreign = WrongIssuerTokens { issuer: "parlance".to_owned(), count: 3 };
    assert_eq!(
        [harness.keys.take_wrong_issuer(), harness.keys.take_wrong_issuer()],
        [Some(foreign), None]
    );
    assert!(
        AxxonJsonrpc::new(Settings::default(), harness.keys.clone()).verify_token(&token).is_some()
    );
    assert_eq!(harness.keys.take_wrong_issuer(), None);
}

#[test]
fn without_entropy_no_token_is_issued() {
    #[derive(Debug)]
    struct BrokenEntropy;
    impl parlance_core::ports::Entropy for BrokenEntropy {
        fn fill(&self, _: &mut [u8]) -> Result<(), parlance_core::ports::EntropyError> {
            Err(parlance_core::ports::EntropyError)
        }
    }
    let harness = DialectHarness::new();
    let user = harness
        .world
        .block_on(harness.world.store.user(parlance_core::canonical_name("csmith").unwrap()))
        .unwrap()
        .unwrap();
    let now = harness.now();
    let grant = parlance_core::IssueContext { user: &user, now, expires: Some(now) };
    let dialect = AxxonJsonrpc::new(Settings::default(), harness.keys);
    let error = dialect.issue(&grant, &BrokenEntropy).unwrap_err();
    assert_eq!(error, parlance_core::IssueError::Entropy(parlance_core::ports::EntropyError));
    assert_eq!(Failure::from(parlance_core::InternalError::from(error)), Failure::Unavailable);
}
