//! No secret is written down, and no text of a client forges a log record.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::clock::wait_for;
use crate::harness::wires::{basic, encodings, grpc};
use crate::harness::{
    Database, HeldSession, Installation, Request, USER, Verdict, Wire, on_both_databases,
};

on_both_databases!(no_secret_reaches_the_log_the_metrics_or_the_database);

const PASSWORD: &str = "canary-Password-Xq7!";
const WRONG: &str = "canary-Wrong-Zk3?";
const NEW: &str = "canary-Newer-Wm5+";
const QUERY: &str = "canaryInQuery8Jd2";

/// The form in which these bytes hold a secret, if any.
fn find_encoding(secret: &str, bytes: &[u8]) -> Option<&'static str> {
    let hidden = encodings(secret)
        .into_iter()
        .find(|(_, form)| bytes.windows(form.len()).any(|window| window == form.as_bytes()));
    hidden.map(|(name, _)| name)
}

fn no_secret_reaches_the_log_the_metrics_or_the_database(database: Database) {
    let installation = Installation::with_config(database, "log_level = \"debug\"\n");
    let mut server = installation.start();
    installation.add_user(USER, PASSWORD);
    let mut secrets: Vec<String> = [PASSWORD, WRONG, NEW, QUERY].map(str::to_owned).to_vec();
    let mut remember = |held: &HeldSession| {
        secrets.extend(held.secrets());
        if held.wire == Wire::Axxon {
            let claims: Value = serde_json::from_slice(
                &URL_SAFE_NO_PAD.decode(held.secret.split('.').nth(1).unwrap()).unwrap(),
            )
            .unwrap();
            secrets.push(claims["sid"].as_str().unwrap().to_owned());
        }
    };
    for wire in Wire::ALL {
        for _ in 0..2 {
            let held = server.log_in_as(wire, USER, PASSWORD);
            remember(&held);
            assert_eq!(server.use_session(&held), Verdict::Accepted);
            let renewed = held.parse_renewal(&server.send(&held.renewal_request())).unwrap();
            remember(&renewed);
            // Places where the secret does not belong.
            for path in [
                "/",
                "/api/x",
                "/login",
                "/auth/bump",
                "/v/api/!x",
                "/grpc",
                "/v1/authentication/renew",
                "/nowhere",
            ] {
                let target = format!(
                    "{path}?token={0}&access_token={0}&password={QUERY}&pw={QUERY}",
                    renewed.secret.replace('|', "%7C")
                );
                server.send(&Request::get(&target));
                server.send(
                    &Request::post(&target)
                        .header("X-Auth-Token", &renewed.secret)
                        .header("X-Auth-Bearer", &renewed.secret),
                );
            }
            server.refused_login(wire, USER, WRONG);
            server.refused_login(
                wire,
                PASSWORD.trim_start_matches("canary-").get(..1).unwrap(),
                WRONG,
            );
        }
        let last = server.log_in_as(wire, USER, PASSWORD);
        remember(&last);
        assert_eq!(server.log_out(&last), Verdict::Accepted);
        assert_eq!(server.use_session(&last), Verdict::Refused);
        assert_eq!(server.log_out(&last), Verdict::Refused);
    }
    let rest = Request::get(&format!(
        "/v1/authentication/authenticate_ex?user_name={USER}&password={QUERY}"
    ));
    assert_eq!(server.send(&rest.header("Authorization", basic(USER, PASSWORD))).status, 400);
    let mismatched = grpc("AuthenticateEx", &json!({"user_name": "other", "password": WRONG}));
    assert_eq!(server.send(&mismatched.header("Authorization", basic(USER, PASSWORD))).status, 401);
    let set = installation.run_command_with_input(
        &["user", "set-password", USER, "--password-stdin"],
        &format!("{NEW}\n"),
    );
    let living = server.log_in_as(Wire::Cluster, USER, NEW);
    remember(&living);

    let listed = installation.run_ok(&["session", "list", "--json"])
        + &installation.run_ok(&["user", "show", USER, "--json"])
        + &set.stdout
        + &set.stderr;
    let metrics = server.get_admin("/metrics").text();
    let while_running = installation.database.stored_bytes();
    server.signal("TERM");
    server.wait_for_exit();
    let log = server.log.wait_for_end();
    assert!(
        log.contains("login refused") && log.lines().count() > 40,
        "the log says something: {log}"
    );
    let places = [
        ("the log", log.as_bytes()),
        ("the metrics", metrics.as_bytes()),
        ("what the operator sees", listed.as_bytes()),
        ("the database", &while_running),
        ("the database afterwards", &installation.database.stored_bytes()),
    ];
    for (place, bytes) in places {
        assert!(!bytes.is_empty());
        for secret in &secrets {
            assert_eq!(find_encoding(secret, bytes), None, "{secret} stands in {place}");
        }
    }
    assert!(!log.contains("token=") && !log.contains("$argon2"), "{log}");
    assert_eq!(
        find_encoding(USER, &while_running),
        Some("clear"),
        "what is no secret is found: the search works"
    );
}

#[test]
fn the_search_finds_a_secret_in_every_encoding() {
    use base64::engine::general_purpose::STANDARD;
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    for text in [
        format!("x{PASSWORD}y"),
        hex(PASSWORD),
        hex(PASSWORD).to_uppercase(),
        STANDARD.encode(PASSWORD),
        STANDARD.encode(format!("u:{PASSWORD}")),
        STANDARD.encode(format!("user:{PASSWORD} and more")),
        STANDARD.encode(format!("user1:{PASSWORD}")),
        "password=canary%2DPassword%2DXq7%21".to_owned(),
    ] {
        assert!(find_encoding(PASSWORD, text.as_bytes()).is_some(), "{text}");
    }
    assert_eq!(find_encoding(PASSWORD, b"nothing"), None);
}

/// Names that would break a line, colour a terminal, reverse text, or fill a disk.
fn hostile_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "a\r\n2026-01-01T00:00:00Z  INFO login forged=1",
        "a\nb",
        "a\rb",
        "\u{1b}[31mred\u{1b}[0m",
        "\u{9b}31m",
        "a\u{202e}b\u{2066}c",
    ]
    .map(str::to_owned)
    .to_vec();
    names.extend(
        ["a\u{85}b\u{7f}c", "\u{2029}para", "\u{ad}soft", "\u{e0041}tag"].map(str::to_owned),
    );
    names.extend(
        ["\u{2028}line", "\"quote\\", "tab\tbell\u{7}", "{\"json\":1}", "\u{feff}bom"]
            .map(str::to_owned),
    );
    names.push("long".repeat(3000));
    names
}

#[track_caller]
fn lines_of_hostile_logins(format: &str) -> Vec<String> {
    let installation =
        Installation::with_config(Database::sqlite(), &format!("log_format = \"{format}\"\n"));
    let mut server = installation.start();
    for name in hostile_names() {
        server.refused_login(Wire::Cluster, &name, WRONG);
        let json = Request::post("/v/api/!login").json(&json!({"uid": name, "pw": WRONG}));
        assert_eq!(server.send(&json).status, 401);
        server.send(&Wire::Flask.login_request(&name, WRONG));
        server.send(&Wire::Axxon.login_request(&name, WRONG));
        server.send(&Wire::Polish.login_request(&name, WRONG));
    }
    let metrics = server.get_admin("/metrics").text();
    assert!(!metrics.contains("forged"), "{metrics}");
    server.signal("TERM");
    server.wait_for_exit();
    server.log.wait_for_end().lines().map(str::to_owned).collect()
}

/// Whether a character must not occur in a line for people.
fn is_hidden(c: char) -> bool {
    let others = "\u{ad}\u{2028}\u{2029}\u{feff}\u{e0041}";
    c.is_control()
        || others.contains(c)
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn a_hostile_name_makes_one_line_and_no_control_character() {
    let lines = lines_of_hostile_logins("text");
    for line in &lines {
        assert!(!line.contains(is_hidden), "{line:?}");
        assert!(line.len() < 2000, "{} bytes in a line", line.len());
        assert!(line.starts_with("20") && line.contains('Z'), "every line is a record: {line:?}");
    }
    let refused = |dialect: &str| {
        lines.iter().filter(|line| line.contains("login refused") && line.contains(dialect)).count()
    };
    for wire in [Wire::Cluster, Wire::Cookie] {
        assert_eq!(refused(wire.name()), hostile_names().len(), "{}: {lines:#?}", wire.name());
    }
}

#[test]
fn a_hostile_name_leaves_every_json_record_valid() {
    let lines = lines_of_hostile_logins("json");
    let raw: Vec<_> = lines.iter().filter(|line| line.contains(is_hidden)).collect();
    assert_eq!(raw, Vec::<&String>::new(), "escaped as in the other format");
    let records: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let refused = |dialect: &str| {
        let of = |record: &&Value| {
            record["fields"]["message"] == "login refused" && record["fields"]["dialect"] == dialect
        };
        records.iter().filter(of).count()
    };
    for wire in [Wire::Cluster, Wire::Cookie] {
        assert_eq!(refused(wire.name()), hostile_names().len(), "{}", wire.name());
    }
}

#[test]
fn the_counters_of_a_dialect_move_with_what_happens_in_it() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    for wire in Wire::ALL {
        let name = wire.name();
        let of =
            |counter: &str| server.metric(&format!("parlance_{counter}{{dialect=\"{name}\"}}"));
        let counters = || ["logins_total", "checks_total", "renewals_total", "ends_total"].map(of);
        // A slow count is not repeated at once.
        let live = |count| {
            let what = format!("{count} live sessions of {name}");
            wait_for(&what, || (of("live_sessions") == count).then_some(()));
        };
        let answered = || {
            server.metric(&format!("parlance_request_duration_seconds_count{{dialect=\"{name}\"}}"))
        };
        assert_eq!((counters(), answered()), ([0; 4], 0), "{name}");
        live(0);
        let password = crate::harness::PASSWORD;
        let held = server.log_in_as(wire, USER, password);
        assert_eq!((counters(), answered()), ([1, 0, 0, 0], 1), "{name} after a login");
        live(1);
        server.use_session(&held);
        let expected = if wire == Wire::Axxon { [1, 0, 1, 0] } else { [1, 1, 0, 0] };
        assert_eq!((counters(), answered()), (expected, 2), "{name} after a use");
        server.log_out(&held);
        let [logins, checks, renewals, ..] = expected;
        assert_eq!(
            (counters(), answered()),
            ([logins, checks, renewals, 1], 3),
            "{name} after a logout"
        );
        live(0);
        server.refused_login(wire, USER, "wrong");
        let reason = if wire == Wire::Axxon { "outer_credential" } else { "wrong_password" };
        let refused = server.metric(&format!(
            "parlance_refusals_total{{dialect=\"{name}\",action=\"login\",reason=\"{reason}\"}}"
        ));
        assert_eq!(refused, 1, "{name}");
    }
}
