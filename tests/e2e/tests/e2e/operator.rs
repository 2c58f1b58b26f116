//! The command line beside a running server.

use serde_json::{Value, json};

use crate::harness::clock::unix_time;
use crate::harness::{Database, Held, PASSWORD, Site, USER, Verdict, Wire, on_both_databases};

on_both_databases!(
    session_list_shows_the_sessions_of_every_dialect,
    a_revoked_session_is_refused_by_the_next_request_and_no_other_is,
    revoking_a_user_ends_his_sessions_and_nobody_else_s,
    revoking_all_ends_everybody_s_sessions_and_logins_go_on,
    disabling_ends_every_session_and_enabling_revives_none,
    a_new_password_ends_every_session_and_is_the_only_one_that_logs_in,
    a_removed_user_is_gone_with_his_sessions,
    an_expired_password_refuses_logins_and_leaves_sessions_alone,
    the_password_on_standard_input_ends_at_one_final_newline,
    every_command_says_how_it_ended_by_its_exit_code,
    user_commands_print_what_they_know_as_json,
);

/// The user and a second one, each logged in on every wire.
#[track_caller]
pub(crate) fn two_users(site: &Site) -> (crate::harness::Server, Vec<Held>, Vec<Held>) {
    let server = site.start_with_user();
    site.add_user("other", PASSWORD);
    let own = server.log_in_everywhere();
    let others = Wire::ALL.into_iter().map(|wire| server.login(wire, "other", PASSWORD)).collect();
    (server, own, others)
}

fn session_list_shows_the_sessions_of_every_dialect(database: Database) {
    let site = Site::new(database);
    let before = unix_time().as_secs();
    let (_server, ..) = two_users(&site);
    let all = site.sessions();
    assert_eq!(all.len(), 10, "{all:?}");
    let text = site.must(&["session", "list", "--user", &USER.to_uppercase(), "--json"]);
    let own: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut dialects: Vec<&str> =
        own.iter().map(|session| session["dialect"].as_str().unwrap()).collect();
    dialects.sort_unstable();
    assert_eq!(
        dialects,
        ["1010-cookie", "axxon-jsonrpc", "cluster-api", "flask-usertoken", "polish-longtoken"]
    );
    for session in &own {
        let keys: Vec<&str> = session.as_object().unwrap().keys().map(String::as_str).collect();
        let known = ["id", "user", "dialect", "created", "last_used", "expires", "address", "note"];
        assert!(keys.iter().all(|key| known.contains(key)) && keys.contains(&"id"), "{session}");
        assert_eq!(session["user"], json!(USER));
        let second = |key: &str| {
            seconds(session[key].as_str().unwrap_or_else(|| panic!("no {key} in {session}")))
        };
        let created = second("created");
        assert!((before..before + 60).contains(&created), "{session}");
        let life = match session["dialect"].as_str().unwrap() {
            "cluster-api" => 600,
            "1010-cookie" => 3600,
            "axxon-jsonrpc" => 4 * 3600,
            "polish-longtoken" => 24 * 3600,
            _ => 30 * 24 * 3600,
        };
        assert_eq!(second("expires") - created, life, "{session}");
        if session["dialect"] == "cluster-api" {
            assert_eq!(session["address"], json!("127.0.0.1"), "it is bound to its address");
        }
    }
    let table = site.must(&["session", "list"]);
    assert!(all.iter().all(|session| table.contains(session["id"].as_str().unwrap())), "{table}");
}

/// Seconds since 1970 of an RFC 3339 date in UTC.
#[track_caller]
pub(crate) fn seconds(date: &str) -> u64 {
    let parts: Vec<u64> = date
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap())
        .collect();
    let [year, month, day, hour, minute, second, ..] = parts[..] else {
        panic!("{date} is no date")
    };
    assert!(date.ends_with('Z') || date.ends_with("+00:00"), "{date} is not in UTC");
    // Days from civil, after Hinnant; March begins the year.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    days * 86_400 + hour * 3600 + minute * 60 + second
}

fn a_revoked_session_is_refused_by_the_next_request_and_no_other_is(database: Database) {
    let site = Site::new(database);
    let (server, own, others) = two_users(&site);
    for held in &own {
        let listed = site.sessions();
        let session = listed
            .iter()
            .find(|session| session["user"] == USER && session["dialect"] == held.wire.name())
            .unwrap();
        let id = session["id"].as_str().unwrap();
        assert_eq!(server.check(held), Verdict::Yes);
        site.must(&["session", "revoke", id]);
        assert_eq!(server.check(held), Verdict::No, "{} after its revocation", held.wire.name());
        let again = site.operate(&["session", "revoke", id]);
        assert_eq!(again.code, 1, "{again:?}");
    }
    server.expect(&others, &Verdict::Yes, "of the other user");
    assert_eq!(site.sessions().len(), 5);
}

fn revoking_a_user_ends_his_sessions_and_nobody_else_s(database: Database) {
    let site = Site::new(database);
    let (server, own, others) = two_users(&site);
    site.must(&["session", "revoke", "--user", USER]);
    server.expect(&own, &Verdict::No, "after the user's revocation");
    server.expect(&others, &Verdict::Yes, "of the other user");
    let new = server.log_in_everywhere();
    server.expect(&new, &Verdict::Yes, "opened after the revocation");
}

fn revoking_all_ends_everybody_s_sessions_and_logins_go_on(database: Database) {
    let site = Site::new(database);
    let (server, own, others) = two_users(&site);
    site.must(&["session", "revoke", "--all"]);
    server.expect(&[own, others].concat(), &Verdict::No, "after the revocation of all");
    assert_eq!(site.sessions(), Vec::<Value>::new());
    let new = server.log_in_everywhere();
    server.expect(&new, &Verdict::Yes, "opened after the revocation");
}

fn disabling_ends_every_session_and_enabling_revives_none(database: Database) {
    let site = Site::new(database);
    let (server, own, others) = two_users(&site);
    site.must(&["user", "disable", USER]);
    server.expect(&own, &Verdict::No, "of a disabled user");
    for wire in Wire::ALL {
        let wrong = server.send(&wire.login(USER, "wrong"));
        let right = server.send(&wire.login(USER, PASSWORD));
        assert_eq!(
            (right.status, right.text()),
            (wrong.status, wrong.text()),
            "{}: a disabled user reads as a wrong password",
            wire.name()
        );
    }
    site.must(&["user", "enable", USER]);
    server.expect(&own, &Verdict::No, "of a user who is enabled again");
    server.expect(&others, &Verdict::Yes, "of the other user");
    let new = server.log_in_everywhere();
    server.expect(&new, &Verdict::Yes, "opened after he was enabled");
}

fn a_new_password_ends_every_session_and_is_the_only_one_that_logs_in(database: Database) {
    let site = Site::new(database);
    let (server, own, others) = two_users(&site);
    let set = site.operate_with(
        &["user", "set-password", USER, "--password-stdin"],
        "another long password\n",
    );
    assert_eq!(set.code, 0, "{set:?}");
    server.expect(&own, &Verdict::No, "after a new password");
    server.expect(&others, &Verdict::Yes, "of the other user");
    for wire in Wire::ALL {
        assert_eq!(server.refusal(wire, USER, PASSWORD), Verdict::No);
        let new = server.login(wire, USER, "another long password");
        assert_eq!(server.check(&new), Verdict::Yes);
    }
}

fn a_removed_user_is_gone_with_his_sessions(database: Database) {
    let site = Site::new(database);
    let (server, own, others) = two_users(&site);
    site.must(&["user", "remove", USER]);
    server.expect(&own, &Verdict::No, "of a removed user");
    server.expect(&others, &Verdict::Yes, "of the other user");
    for wire in Wire::ALL {
        assert_eq!(server.refusal(wire, USER, PASSWORD), Verdict::No);
    }
    assert_eq!(site.operate(&["user", "show", USER]).code, 1);
    // One of the same name is another.
    site.add_user(USER, PASSWORD);
    server.expect(&own, &Verdict::No, "of a removed user's namesake");
}

fn an_expired_password_refuses_logins_and_leaves_sessions_alone(database: Database) {
    let site = Site::new(database);
    let (server, own, _) = two_users(&site);
    site.must(&["user", "expire-password", USER]);
    server.expect(&own, &Verdict::Yes, "of a user whose password has expired");
    for wire in Wire::ALL {
        let answer = server.send(&wire.login(USER, PASSWORD));
        assert!(wire.opened(USER, &answer).is_err(), "{}", wire.name());
        let expected = match wire {
            Wire::Cookie => 403,
            Wire::Cluster => 200,
            Wire::Polish | Wire::Flask | Wire::Axxon => 401,
        };
        assert_eq!(answer.status, expected, "{}: {}", wire.name(), answer.text());
        assert_eq!(server.refusal(wire, USER, "wrong"), Verdict::No);
    }
    assert_eq!(
        server.send(&Wire::Cookie.login(USER, "wrong")).status,
        401,
        "403 is said only after the right password"
    );
    let set = site.operate_with(&["user", "set-password", USER, "--password-stdin"], PASSWORD);
    assert_eq!(set.code, 0, "{set:?}");
    server.log_in_everywhere();
}

fn the_password_on_standard_input_ends_at_one_final_newline(database: Database) {
    let site = Site::new(database);
    let server = site.start();
    let given = [
        ("plain\n", "plain"),
        ("bare", "bare"),
        ("two\n\n", "two\n"),
        (" blanks \n", " blanks "),
        ("cr\r\n", "cr\r"),
        ("grün:&%=+\n", "grün:&%=+"),
    ];
    for (number, (input, password)) in given.into_iter().enumerate() {
        let name = format!("user{number}");
        let added = site.operate_with(&["user", "add", &name, "--password-stdin"], input);
        assert_eq!(added.code, 0, "{added:?}");
        // A form carries any text; Basic carries no control characters.
        let held = server.login(Wire::Cluster, &name, password);
        assert_eq!(server.check(&held), Verdict::Yes);
        assert_eq!(server.refusal(Wire::Cluster, &name, &format!("{password}\n")), Verdict::No);
        if password.trim_end() != password {
            assert_eq!(
                server.refusal(Wire::Cluster, &name, password.trim_end()),
                Verdict::No,
                "nothing is trimmed"
            );
        }
    }
    for (input, why) in
        [("", "1 to 4096 bytes"), ("\n", "1 to 4096 bytes"), ("nul\0nul\n", "none of them NUL")]
    {
        let refused = site.operate_with(&["user", "add", "refused", "--password-stdin"], input);
        assert!(refused.code == 1 && refused.stderr.contains(why), "{input:?}: {refused:?}");
    }
    let long =
        site.operate_with(&["user", "add", "refused", "--password-stdin"], &"x".repeat(5000));
    assert_eq!(long.code, 1, "{long:?}");
    assert_eq!(site.operate(&["user", "show", "refused"]).code, 1, "nothing was made");
}

fn every_command_says_how_it_ended_by_its_exit_code(database: Database) {
    let site = Site::new(database);
    let _server = site.start_with_user();
    let nobody = "00000000-0000-4000-8000-000000000000";
    let cases: &[(i32, &[&str], &str)] = &[
        (0, &["user", "list"], ""),
        (0, &["user", "show", "CSmith"], ""),
        (0, &["session", "list"], ""),
        (0, &["session", "list", "--user", USER], ""),
        (0, &["session", "revoke", "--user", USER], ""),
        (0, &["session", "revoke", "--all"], ""),
        (0, &["dialect", "list"], ""),
        (0, &["config", "check"], ""),
        (0, &["config", "schema"], ""),
        (1, &["user", "show", "nobody"], "nobody"),
        (1, &["user", "disable", "nobody"], "nobody"),
        (1, &["user", "enable", "nobody"], "nobody"),
        (1, &["user", "remove", "nobody"], "nobody"),
        (1, &["user", "expire-password", "nobody"], "nobody"),
        (1, &["user", "set-password", "nobody", "--password-stdin"], "nobody"),
        (1, &["user", "add", "CSMITH", "--password-stdin"], "another spelling"),
        (1, &["session", "list", "--user", "nobody"], "nobody"),
        (1, &["session", "revoke", "--user", "nobody"], "nobody"),
        (1, &["session", "revoke", nobody], "no living session"),
        (2, &["session", "revoke"], "--all"),
        (2, &["session", "revoke", "no-uuid"], "no-uuid"),
        (2, &["session", "show", "no-uuid"], "session list"),
        (2, &["session", "revoke", nobody, "--all"], "--all"),
        (2, &["user"], "Usage"),
        (2, &["user", "add"], "NAME"),
        (2, &["user", "add", "new"], "--password-stdin"),
        (2, &["user", "add", "new", "--role", "admin"], "admin"),
        (2, &["nonsense"], "nonsense"),
        (2, &["serve", "--listen", "nowhere"], "--listen"),
    ];
    for (code, arguments, said) in cases {
        let output = site.operate_with(arguments, "some long password\n");
        assert_eq!(output.code, *code, "{arguments:?}: {output:?}");
        assert!(output.stderr.contains(said), "{arguments:?} should say {said:?}: {output:?}");
        assert!(*code == 0 || output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
}

fn user_commands_print_what_they_know_as_json(database: Database) {
    let site = Site::new(database);
    let server = site.start();
    let role = "9745b902-2a36-4035-bdd6-012e0dae66c0";
    let add =
        ["user", "add", "Root", "--password-stdin", "--role", role, "--unrestricted", "--json"];
    let added = site.operate_with(&add, "a long password\n");
    assert_eq!(added.code, 0, "{added:?}");
    site.add_user("aaa", "a long password");
    server.login(Wire::Flask, "root", "a long password");

    let shown: Value =
        serde_json::from_str(&site.must(&["user", "show", "ROOT", "--json"])).unwrap();
    let listed: Vec<Value> = serde_json::from_str(&site.must(&["user", "list", "--json"])).unwrap();
    assert_eq!(
        listed.iter().map(|user| user["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["aaa", "Root"]
    );
    assert_eq!(listed[1], shown);
    assert_eq!(shown["unrestricted"], json!(true), "{shown}");
    assert_eq!(shown["roles"], json!([role]), "{shown}");
    assert!(!shown.to_string().contains("argon2"), "no hash is shown: {shown}");

    let answer = server.send(&Wire::Axxon.login("root", "a long password"));
    assert_eq!(
        (answer.json()["is_unrestricted"].clone(), answer.json()["roles_ids"].clone()),
        (json!(true), json!([role]))
    );
    assert!(answer.json()["user_id"] == shown["id"], "{shown}");
}

#[test]
fn a_name_that_no_wire_can_carry_is_refused_before_a_password_is_read() {
    let site = Site::new(Database::sqlite());
    let _server = site.start();
    let long = "n".repeat(129);
    for name in [
        "a|b",
        "a:b",
        "a;b",
        "a,b",
        " a",
        "a ",
        "",
        "a\tb",
        "a\nb",
        "a\u{7f}",
        "a\u{85}",
        "full\u{ff1a}width",
        &long,
    ] {
        let refused =
            site.operate_with(&["user", "add", name, "--password-stdin"], "a long password\n");
        assert_eq!(refused.code, 1, "{name:?}: {refused:?}");
        assert!(
            refused.stderr.starts_with("parlance: ") && refused.stderr.lines().count() == 1,
            "{refused:?}"
        );
    }
    assert_eq!(site.must(&["user", "list", "--json"]).trim(), "[]");
}
