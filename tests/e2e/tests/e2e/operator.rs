//! The command line beside a running server.

use serde_json::{Value, json};

use crate::harness::clock::unix_time;
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, USER, Verdict, Wire, on_both_databases,
};

on_both_databases!(
    session_list_shows_the_sessions_of_every_dialect,
    a_revoked_session_is_refused_by_the_next_request_and_no_other_is,
    revoking_a_user_ends_the_sessions_of_that_user_only,
    revoking_all_ends_every_session_and_logins_still_work,
    disabling_ends_every_session_and_enabling_revives_none,
    a_new_password_ends_every_session_and_is_the_only_one_that_logs_in,
    removing_a_user_removes_the_sessions_of_that_user,
    an_expired_password_refuses_logins_and_leaves_sessions_alone,
    the_password_on_standard_input_ends_at_one_final_newline,
    every_command_says_how_it_ended_by_its_exit_code,
    user_commands_print_what_they_know_as_json,
);

/// The user and a second one, each logged in on every wire.
#[track_caller]
pub(crate) fn two_users(
    installation: &Installation,
) -> (crate::harness::Server, Vec<HeldSession>, Vec<HeldSession>) {
    let server = installation.start_with_user();
    installation.add_user("other", PASSWORD);
    let own = server.log_in_everywhere();
    let others =
        Wire::ALL.into_iter().map(|wire| server.log_in_as(wire, "other", PASSWORD)).collect();
    (server, own, others)
}

fn session_list_shows_the_sessions_of_every_dialect(database: Database) {
    let installation = Installation::new(database);
    let before = unix_time().as_secs();
    let (_server, ..) = two_users(&installation);
    let all = installation.sessions();
    assert_eq!(all.len(), 10, "{all:?}");
    let text = installation.run_ok(&["session", "list", "--user", &USER.to_uppercase(), "--json"]);
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
    let table = installation.run_ok(&["session", "list"]);
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
    // Days from a civil date (Howard Hinnant's `days_from_civil`): the year begins in March.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    days * 86_400 + hour * 3600 + minute * 60 + second
}

fn a_revoked_session_is_refused_by_the_next_request_and_no_other_is(database: Database) {
    let installation = Installation::new(database);
    let (server, own, others) = two_users(&installation);
    for held in &own {
        let listed = installation.sessions();
        let session = listed
            .iter()
            .find(|session| session["user"] == USER && session["dialect"] == held.wire.name())
            .unwrap();
        let id = session["id"].as_str().unwrap();
        assert_eq!(server.use_session(held), Verdict::Accepted);
        installation.run_ok(&["session", "revoke", id]);
        assert_eq!(
            server.use_session(held),
            Verdict::Refused,
            "{} after its revocation",
            held.wire.name()
        );
        let again = installation.run_command(&["session", "revoke", id]);
        assert_eq!(again.code, 1, "{again:?}");
    }
    server.expect_each_use(&others, &Verdict::Accepted, "of the other user");
    assert_eq!(installation.sessions().len(), 5);
}

fn revoking_a_user_ends_the_sessions_of_that_user_only(database: Database) {
    let installation = Installation::new(database);
    let (server, own, others) = two_users(&installation);
    installation.run_ok(&["session", "revoke", "--user", USER]);
    server.expect_each_use(&own, &Verdict::Refused, "after the user's revocation");
    server.expect_each_use(&others, &Verdict::Accepted, "of the other user");
    let new = server.log_in_everywhere();
    server.expect_each_use(&new, &Verdict::Accepted, "opened after the revocation");
}

fn revoking_all_ends_every_session_and_logins_still_work(database: Database) {
    let installation = Installation::new(database);
    let (server, own, others) = two_users(&installation);
    installation.run_ok(&["session", "revoke", "--all"]);
    server.expect_each_use(
        &[own, others].concat(),
        &Verdict::Refused,
        "after the revocation of all",
    );
    assert_eq!(installation.sessions(), Vec::<Value>::new());
    let new = server.log_in_everywhere();
    server.expect_each_use(&new, &Verdict::Accepted, "opened after the revocation");
}

fn disabling_ends_every_session_and_enabling_revives_none(database: Database) {
    let installation = Installation::new(database);
    let (server, own, others) = two_users(&installation);
    installation.run_ok(&["user", "disable", USER]);
    server.expect_each_use(&own, &Verdict::Refused, "of a disabled user");
    for wire in Wire::ALL {
        let wrong = server.send(&wire.login_request(USER, "wrong"));
        let right = server.send(&wire.login_request(USER, PASSWORD));
        assert_eq!(
            (right.status, right.text()),
            (wrong.status, wrong.text()),
            "{}: a disabled user reads as a wrong password",
            wire.name()
        );
    }
    installation.run_ok(&["user", "enable", USER]);
    server.expect_each_use(&own, &Verdict::Refused, "of a user who is enabled again");
    server.expect_each_use(&others, &Verdict::Accepted, "of the other user");
    let new = server.log_in_everywhere();
    server.expect_each_use(&new, &Verdict::Accepted, "opened after he was enabled");
}

fn a_new_password_ends_every_session_and_is_the_only_one_that_logs_in(database: Database) {
    let installation = Installation::new(database);
    let (server, own, others) = two_users(&installation);
    let set = installation.run_command_with_input(
        &["user", "set-password", USER, "--password-stdin"],
        "another long password\n",
    );
    assert_eq!(set.code, 0, "{set:?}");
    server.expect_each_use(&own, &Verdict::Refused, "after a new password");
    server.expect_each_use(&others, &Verdict::Accepted, "of the other user");
    for wire in Wire::ALL {
        assert_eq!(server.refused_login(wire, USER, PASSWORD), Verdict::Refused);
        let new = server.log_in_as(wire, USER, "another long password");
        assert_eq!(server.use_session(&new), Verdict::Accepted);
    }
}

fn removing_a_user_removes_the_sessions_of_that_user(database: Database) {
    let installation = Installation::new(database);
    let (server, own, others) = two_users(&installation);
    installation.run_ok(&["user", "remove", USER]);
    server.expect_each_use(&own, &Verdict::Refused, "of a removed user");
    server.expect_each_use(&others, &Verdict::Accepted, "of the other user");
    for wire in Wire::ALL {
        assert_eq!(server.refused_login(wire, USER, PASSWORD), Verdict::Refused);
    }
    assert_eq!(installation.run_command(&["user", "show", USER]).code, 1);
    // A new user of the same name is another user.
    installation.add_user(USER, PASSWORD);
    server.expect_each_use(&own, &Verdict::Refused, "of a removed user's namesake");
}

fn an_expired_password_refuses_logins_and_leaves_sessions_alone(database: Database) {
    let installation = Installation::new(database);
    let (server, own, _) = two_users(&installation);
    installation.run_ok(&["user", "expire-password", USER]);
    server.expect_each_use(&own, &Verdict::Accepted, "of a user whose password has expired");
    for wire in Wire::ALL {
        let answer = server.send(&wire.login_request(USER, PASSWORD));
        assert!(wire.parse_login(USER, &answer).is_err(), "{}", wire.name());
        let expected = match wire {
            Wire::Cookie => 403,
            Wire::Cluster => 200,
            Wire::Polish | Wire::Flask | Wire::Axxon => 401,
        };
        assert_eq!(answer.status, expected, "{}: {}", wire.name(), answer.text());
        assert_eq!(server.refused_login(wire, USER, "wrong"), Verdict::Refused);
    }
    assert_eq!(
        server.send(&Wire::Cookie.login_request(USER, "wrong")).status,
        401,
        "403 is said only after the right password"
    );
    let set = installation
        .run_command_with_input(&["user", "set-password", USER, "--password-stdin"], PASSWORD);
    assert_eq!(set.code, 0, "{set:?}");
    server.log_in_everywhere();
}

fn the_password_on_standard_input_ends_at_one_final_newline(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start();
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
        let added =
            installation.run_command_with_input(&["user", "add", &name, "--password-stdin"], input);
        assert_eq!(added.code, 0, "{added:?}");
        // A form carries any text; Basic carries no control characters.
        let held = server.log_in_as(Wire::Cluster, &name, password);
        assert_eq!(server.use_session(&held), Verdict::Accepted);
        assert_eq!(
            server.refused_login(Wire::Cluster, &name, &format!("{password}\n")),
            Verdict::Refused
        );
        if password.trim_end() != password {
            assert_eq!(
                server.refused_login(Wire::Cluster, &name, password.trim_end()),
                Verdict::Refused,
                "nothing is trimmed"
            );
        }
    }
    for (input, why) in
        [("", "1 to 4096 bytes"), ("\n", "1 to 4096 bytes"), ("nul\0nul\n", "none of them NUL")]
    {
        let refused = installation
            .run_command_with_input(&["user", "add", "refused", "--password-stdin"], input);
        assert!(refused.code == 1 && refused.stderr.contains(why), "{input:?}: {refused:?}");
    }
    let long = installation
        .run_command_with_input(&["user", "add", "refused", "--password-stdin"], &"x".repeat(5000));
    assert_eq!(long.code, 1, "{long:?}");
    assert_eq!(installation.run_command(&["user", "show", "refused"]).code, 1, "nothing was made");
}

fn every_command_says_how_it_ended_by_its_exit_code(database: Database) {
    let installation = Installation::new(database);
    let _server = installation.start_with_user();
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
        (1, &["session", "revoke", nobody], "no live session"),
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
        let output = installation.run_command_with_input(arguments, "some long password\n");
        assert_eq!(output.code, *code, "{arguments:?}: {output:?}");
        assert!(output.stderr.contains(said), "{arguments:?} should say {said:?}: {output:?}");
        assert!(*code == 0 || output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
}

fn user_commands_print_what_they_know_as_json(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start();
    let role = "9745b902-2a36-4035-bdd6-012e0dae66c0";
    let add =
        ["user", "add", "Root", "--password-stdin", "--role", role, "--unrestricted", "--json"];
    let added = installation.run_command_with_input(&add, "a long password\n");
    assert_eq!(added.code, 0, "{added:?}");
    installation.add_user("aaa", "a long password");
    server.log_in_as(Wire::Flask, "root", "a long password");

    let shown: Value =
        serde_json::from_str(&installation.run_ok(&["user", "show", "ROOT", "--json"])).unwrap();
    let listed: Vec<Value> =
        serde_json::from_str(&installation.run_ok(&["user", "list", "--json"])).unwrap();
    assert_eq!(
        listed.iter().map(|user| user["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["aaa", "Root"]
    );
    assert_eq!(listed[1], shown);
    assert_eq!(shown["unrestricted"], json!(true), "{shown}");
    assert_eq!(shown["roles"], json!([role]), "{shown}");
    assert!(!shown.to_string().contains("argon2"), "no hash is shown: {shown}");

    let answer = server.send(&Wire::Axxon.login_request("root", "a long password"));
    assert_eq!(
        (answer.json()["is_unrestricted"].clone(), answer.json()["roles_ids"].clone()),
        (json!(true), json!([role]))
    );
    assert!(answer.json()["user_id"] == shown["id"], "{shown}");
}

#[test]
fn a_name_that_no_wire_can_carry_is_refused_before_a_password_is_read() {
    let installation = Installation::new(Database::sqlite());
    let _server = installation.start();
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
        let refused = installation.run_command_with_input(
            &["user", "add", name, "--password-stdin"],
            "a long password\n",
        );
        assert_eq!(refused.code, 1, "{name:?}: {refused:?}");
        assert!(
            refused.stderr.starts_with("parlance: ") && refused.stderr.lines().count() == 1,
            "{refused:?}"
        );
    }
    assert_eq!(installation.run_ok(&["user", "list", "--json"]).trim(), "[]");
}
