//! The small parsers that the dialects and the shell share.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use futures_executor::block_on;
use parlance::actix::TrustedProxies;
use parlance::core::ports::{Change, Clock as _, Store as _};
use parlance::core::{PasswordHash, UserId, UserName, canonical_name};
use parlance::dialect::testing::TestWorld;
use parlance::dialect::{Fields, Multipart, Request, SettingKind, SettingValue, from_json};
use parlance::table::{Dependencies, find};

use crate::fuzz_target::{PEER, expect_ok};

fn byte_seeds<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// Lines of `X-Forwarded-For`, from a trusted proxy.
pub(crate) fn forwarded(data: &[u8]) {
    let trusted =
        TrustedProxies::new(vec![expect_ok("10.0.0.0/8".parse()), expect_ok("fd00::/8".parse())]);
    let lines = || data.split(|byte| *byte == b'\n');
    // The lines of an untrusted peer have no effect.
    assert_eq!(trusted.client_address(PEER, lines()), PEER);
    let proxy = IpAddr::from([10, 0, 0, 1]);
    let client = trusted.client_address(proxy, lines());
    assert_eq!(client, client.to_canonical());
    // The client is the proxy, or the text holds the client's address in some spelling.
    let plain = String::from_utf8_lossy(data).to_lowercase();
    let named = match client {
        IpAddr::V4(client) => {
            // Mapped into IPv6, the address may be written in hexadecimal.
            plain.contains(&client.to_string()) || plain.contains(':')
        }
        IpAddr::V6(_) => plain.contains(':'),
    };
    assert!(client == proxy || named);
}

pub(crate) fn forwarded_seeds() -> Vec<Vec<u8>> {
    byte_seeds([
        "203.0.113.7",
        "203.0.113.7, 10.1.2.3",
        "203.0.113.7:4711, [fd00::1]:80\n10.0.0.9",
        "[2001:db8::7%eth0]:443",
        "::ffff:203.0.113.7",
        "::ffff:cb00:7107, ,10.0.0.2",
        "unknown, _hidden, 10.0.0.2",
        "for=192.0.2.60;proto=http",
    ])
}

/// A form, or a query.
pub(crate) fn form(data: &[u8]) {
    let Ok(fields) = Fields::parse(data) else { return };
    for name in ["username", "password", "access_token", "login", "pass", "token", ""] {
        let Some(value) = fields.get(name) else { continue };
        assert!(!value.contains('\0') && value.len() <= data.len());
        assert_eq!(
            fields.secret(name).map(|secret| secret.expose().to_owned()).as_deref(),
            Some(value)
        );
    }
}

pub(crate) fn form_seeds() -> Vec<Vec<u8>> {
    byte_seeds([
        "username=csmith&password=XXX",
        "access_token=ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "login=csmith&pass=a%20b+c%2B&longtoken=true",
        "username=%C3%A4&password=%00",
        "username=%ff&password=%fe",
        "a=1&a=2",
        "&&=&=x&x",
        "pw=X&Y z",
    ])
}

/// A multipart form; the first line holds the media type. The form in its urlencoded form holds the same fields as the
/// parts.
pub(crate) fn multipart(data: &[u8]) {
    let at = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (content_type, body) = data.split_at(at);
    let Ok(content_type) = std::str::from_utf8(content_type) else { return };
    let body = body.get(1..).unwrap_or_default();
    let Some(form) = Multipart::parse(content_type, body) else { return };
    let parts: Vec<_> = form.parts().filter(|part| !part.is_file).collect();
    assert!(parts.iter().map(|part| part.value.len()).sum::<usize>() <= body.len());
    let Ok(fields) = Fields::parse(&form.urlencoded()) else { return };
    for part in parts {
        assert_eq!(fields.get(&part.name).map(str::as_bytes), Some(part.value));
    }
}

pub(crate) fn multipart_seeds() -> Vec<Vec<u8>> {
    let head = "Content-Disposition: form-data; name=";
    byte_seeds([
        &format!(
            "multipart/form-data; boundary=b\n--b\r\n{head}\"username\"\r\n\r\ncsmith\r\n--b\r\n{head}\"password\"\r\n\r\nXXX\r\n--b--\r\n"
        ),
        &format!(
            "multipart/form-data; boundary=\"b c\"\n--b c\r\n{head}a; filename=\"x;y.png\"\r\nContent-Type: image/png\r\n\r\n\r\n--b\r\n--b c--"
        ),
        &format!(
            "multipart/form-data;boundary=--\n----\r\n{head}a\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--\r\n------"
        ),
        "multipart/form-data; boundary=b\n\r\n--b--",
        "multipart/form-data; boundary=b; boundary=b\n--b--",
        "multipart/form-data\n",
    ])
}

/// A shape like those that the dialects parse.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    data: Option<std::collections::BTreeMap<String, String>>,
}

/// JSON.
pub(crate) fn json(data: &[u8]) {
    let Ok(shape) = from_json::<Shape>(data) else { return };
    assert!(std::str::from_utf8(data).is_ok());
    assert!(shape.method.is_none_or(|method| method.len() <= 2 * data.len()));
    assert!(shape.data.is_none_or(|map| map.len() <= data.len()));
}

pub(crate) fn json_seeds() -> Vec<Vec<u8>> {
    let deep = format!("{{\"data\": {}", "[".repeat(200));
    byte_seeds([
        r#"{"method": "Login", "data": {"user_name": "csmith", "password": "XXX"}}"#,
        r#"{"method": "a", "method": "b"}"#,
        r#"{"data": {"a": "1", "a": "2", "a": "3"}}"#,
        r#"{"data": {"\ud83d\udd11": "\u0000", "\ud800": ""}}"#,
        "{\"method\": 1e999}",
        "[]",
        "null",
        &deep,
    ])
}

/// The value of `Authorization: Basic`.
pub(crate) fn basic(data: &[u8]) {
    let headers = [("authorization", data)];
    let request = Request {
        method: "GET",
        path: "/",
        query: None,
        headers: &headers,
        body: b"",
        peer: None,
        secure: false,
        now: parlance::core::Timestamp::MIN,
    };
    let Some(login) = parlance::dialect::basic_credentials(&request) else { return };
    let clean = |text: &str| text.chars().all(|c| !c.is_control());
    assert!(clean(&login.user) && clean(login.password.expose()) && !login.user.contains(':'));
}

pub(crate) fn basic_seeds() -> Vec<Vec<u8>> {
    byte_seeds([
        "Basic Y3NtaXRoOlhYWA==",
        "basic Y3NtaXRoOlhYWA==",
        "Basic Y3NtaXRoOlhYWA",
        "Basic Og==",
        "Basic Y3NtaXRoOlg6WDpY",
        "Basic Y3NtaXRoOg0KWA==",
        "Basic  Y3NtaXRoOlhYWA==",
        "Basic /////w==",
    ])
}

/// A user name.
pub(crate) fn user_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let canonical = canonical_name(text);
    let Ok(name) = UserName::new(text) else { return };
    // A valid name can be shown, and folding the name again changes nothing.
    assert_eq!(canonical, Some(name.canonical()));
    assert_eq!(canonical_name(name.canonical().as_str()), Some(name.canonical()));
    assert!(name.as_str().chars().all(|c| !c.is_control() && !"|:;,".contains(c)));
}

pub(crate) fn user_name_seeds() -> Vec<Vec<u8>> {
    byte_seeds([
        "csmith",
        "CSmith",
        "J\u{e4}ger",
        "Ja\u{308}ger",
        "\u{212a}elvin",
        "\u{fb01}sh",
        "a|b",
        " a",
        "\u{202e}evil",
        "\u{df}\u{1e9e}\u{130}\u{131}",
        "\u{1f511}",
    ])
}

/// A setting of a dialect.
pub(crate) fn setting(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for kind in [
        SettingKind::Duration,
        SettingKind::DurationOrNever,
        SettingKind::Text,
        SettingKind::Boolean,
        SettingKind::Choice(&["a", "b"]),
    ] {
        match SettingValue::parse(kind, text) {
            Ok(SettingValue::Duration(span)) => {
                // An accepted duration fits into every sum with a date.
                let now = parlance::core::Timestamp::from_seconds(1_651_406_400);
                assert!(now.plus(span) >= now);
            }
            Ok(SettingValue::Never) => assert_eq!(text, "never"),
            Ok(SettingValue::Text(_) | SettingValue::Boolean(_)) => {}
            Err(takes) => assert!(!takes.is_empty()),
        }
    }
}

pub(crate) fn setting_seeds() -> Vec<Vec<u8>> {
    byte_seeds([
        "90s",
        "10m",
        "24h",
        "30d",
        "never",
        "true",
        "0s",
        "-1d",
        "18446744073709551615d",
        "1.5h",
        "a",
        "",
    ])
}

/// A stored hash, checked with a wrong password. A hash with a high cost is skipped, because this target would compute
/// the hash; the cost bounds have tests of their own.
pub(crate) fn password_hash(data: &[u8]) {
    const GUESS: &str =
        "POST /login\ncontent-type: application/x-www-form-urlencoded\n\nlogin=csmith&pass=guess";
    thread_local! {
        // From loopback, which the rate limit exempts.
        static WORLD: TestWorld = TestWorld { peer: Some(Ipv4Addr::LOCALHOST.into()), ..TestWorld::default() };
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let digits = |key: &str| {
        let number = text.split(key).nth(1).unwrap_or_default();
        number.bytes().take_while(u8::is_ascii_digit).count()
    };
    if (4..=6).contains(&digits("m=")) {
        return;
    }
    WORLD.with(|world| {
        world.store.reset();
        let Ok(name) = UserName::new("csmith") else { return };
        let user = parlance::core::User {
            id: UserId(uuid::Uuid::from_u128(1)),
            name: name.as_str().to_owned(),
            canonical: name.canonical(),
            password: Some(PasswordHash::from_stored(text.to_owned())),
            enabled: true,
            password_expired: false,
            unrestricted: false,
            roles: Vec::new(),
            created: world.clock.now(),
            last_login: None,
            epoch: 0,
            version: 0,
        };
        expect_ok(block_on(world.store.apply(Change::AddUser(Box::new(user)))));
        let parts = Dependencies::new(Arc::clone(&world.authority));
        let entry = expect_ok(find("polish-longtoken"));
        let service = expect_ok(entry.install(&entry.defaults(), &parts));
        let answer = world.send(&*service, GUESS);
        assert_eq!(answer.status, 401);
    });
}

pub(crate) fn password_hash_seeds() -> Vec<Vec<u8>> {
    byte_seeds([
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=16$m=8,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=8,t=4294967295,p=1$c29tZXNhbHQ$nf65EOgL",
        "$argon2id$v=19$m=8,t=1,p=1,keyid=AAAA,data=AAAA$c29tZXNhbHQ$nf65EOgL",
        "$2b$12$abcdefghijklmnopqrstuuDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD",
        "$pbkdf2-sha256$i=600000$c2FsdA$aGFzaA",
        "",
        "$",
    ])
}
