//! Changes of users, and the output of the command line about users, sessions and completed actions.

use serde_json::{Value, json};

use crate::harness::{
    Database, Installation, PASSWORD, Request, USER, Verdict, Wire, on_both_databases,
};
use crate::operator::two_users;

on_both_databases!(
    changed_roles_count_from_the_next_use,
    a_renamed_user_logs_in_by_the_new_name_only_and_keeps_the_id,
    session_list_applies_its_filters,
    user_list_applies_its_filters,
    every_command_reports_its_act_and_its_counts_as_json,
    a_user_is_found_by_id_as_well,
);

const ROLE: &str = "9745b902-2a36-4035-bdd6-012e0dae66c0";
const OTHER_ROLE: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

/// A command's answer as JSON.
#[track_caller]
fn run_json(installation: &Installation, arguments: &[&str]) -> Value {
    let text = installation.run_ok(&[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn changed_roles_count_from_the_next_use(database: Database) {
    let route = format!("[[forward_auth.routes]]\npath = \"/\"\nroles = [\"{ROLE}\"]\n");
    let installation = Installation::with_config(database, &route);
    let server = installation.start_with_user();
    let held = server.log_in(Wire::Flask);
    let asks = || {
        let asked = Request::get("/forward-auth").header("X-Original-Method", "GET");
        let asked = asked.header("X-Original-URI", "/");
        server.send_admin(&held.attach_to(asked)).status
    };
    assert_eq!(asks(), 403);
    installation.run_ok(&["user", "set-roles", USER, OTHER_ROLE, ROLE]);
    assert_eq!(asks(), 200, "with the role");
    let answer = server.send(&Wire::Axxon.login_request(USER, PASSWORD)).json();
    assert_eq!(answer["roles_ids"], json!([OTHER_ROLE, ROLE]));
    installation.run_ok(&["user", "set-roles", USER]);
    assert_eq!(asks(), 403, "without any role");
    installation.run_ok(&["user", "set-unrestricted", USER, "true"]);
    assert_eq!(asks(), 200, "unrestricted");
    installation.run_ok(&["user", "set-unrestricted", USER, "false"]);
    assert_eq!(asks(), 403, "restricted again");
    assert_eq!(server.use_session(&held), Verdict::Accepted, "the session goes on");
}

fn a_renamed_user_logs_in_by_the_new_name_only_and_keeps_the_id(database: Database) {
    let installation = Installation::new(database);
    let (server, own, others) = two_users(&installation);
    let before = run_json(&installation, &["user", "show", USER]);
    let taken = installation.run_command(&["user", "rename", USER, "OTHER"]);
    assert!(taken.code == 1 && taken.stderr.contains("another spelling"), "{taken:?}");
    let bad = installation.run_command(&["user", "rename", USER, "a:b"]);
    assert!(bad.code == 1 && bad.stderr.contains("cannot contain"), "{bad:?}");
    server.expect_each_use(&own, &Verdict::Accepted, "before the user is renamed");

    installation.run_ok(&["user", "rename", USER, "Carol"]);
    server.expect_each_use(&own, &Verdict::Refused, "of a renamed user");
    server.expect_each_use(&others, &Verdict::Accepted, "of the other user");
    for wire in Wire::ALL {
        assert_eq!(server.refused_login(wire, USER, PASSWORD), Verdict::Refused);
        let held = server.log_in_as(wire, "carol", PASSWORD);
        assert_eq!(server.use_session(&held), Verdict::Accepted);
    }
    let after = run_json(&installation, &["user", "show", "CAROL"]);
    assert_eq!((&after["id"], &after["name"]), (&before["id"], &json!("Carol")));
}

fn session_list_applies_its_filters(database: Database) {
    let installation = Installation::new(database);
    let (server, own, _) = two_users(&installation);
    server.log_out(&own[1]);
    let ids = |arguments: &[&str]| {
        let listed = run_json(&installation, &[&["session", "list"], arguments].concat());
        let ids = listed.as_array().unwrap().iter();
        ids.map(|session| session["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = ids(&[]);
    assert_eq!(all.len(), 9);
    let cases: &[(&[&str], usize)] = &[
        (&["--user", USER], 4),
        (&["--dialect", "cluster-api"], 2),
        (&["--dialect", "cluster-api", "--user", "other"], 1),
        (&["--address", "127.0.0.0/8"], 9),
        (&["--address", "127.0.0.1"], 9),
        (&["--address", "192.0.2.0/24"], 0),
        (&["--since", "1h"], 9),
        (&["--since", "2020-01-01T00:00:00Z"], 9),
        (&["--since", "2100-01-01T00:00:00+01:00"], 0),
        (&["--state", "ended"], 1),
        (&["--state", "expired"], 0),
        (&["--state", "all"], 10),
        (&["--limit", "4"], 4),
        (&["--limit", "9"], 9),
    ];
    for (arguments, count) in cases {
        assert_eq!(ids(arguments).len(), *count, "{arguments:?}");
    }
    assert_eq!(ids(&["--limit", "4"]), all[..4], "the oldest first");
    let wrong: &[(&[&str], &str)] = &[
        (&["--dialect", "cluster"], "cluster-api"),
        (&["--address", "here"], "192.0.2.0/24"),
        (&["--since", "yesterday"], "24h"),
        (&["--limit", "0"], "0"),
    ];
    for (arguments, said) in wrong {
        let refused = installation.run_command(&[&["session", "list"], *arguments].concat());
        assert!(refused.code == 2 && refused.stderr.contains(said), "{refused:?}");
    }

    let counted = |arguments: &[&str]| {
        let text = installation.run_ok(&[&["session", "list"], arguments].concat());
        text.lines().last().unwrap().to_owned()
    };
    assert_eq!(
        counted(&["--user", "other"]),
        "5 sessions: 1 1010-cookie, 1 axxon-jsonrpc, 1 cluster-api, 1 flask-usertoken, 1 polish-longtoken"
    );
    assert_eq!(counted(&["--address", "192.0.2.1"]), "0 sessions");
    assert!(counted(&["--limit", "1"]).ends_with("; there are more"));
    assert!(!counted(&["--limit", "9"]).contains("more"));

    let ended = &ids(&["--state", "ended"])[0];
    let shown = run_json(&installation, &["session", "show", ended]);
    assert_eq!((&shown["state"], &shown["user"]), (&json!("ended"), &json!(USER)), "{shown}");
    assert!(shown["ended"].is_string(), "{shown}");
    let live = run_json(&installation, &["session", "show", &all[0]]);
    assert_eq!((&live["state"], live.get("ended")), (&json!("live"), None));
    assert!(installation.run_ok(&["session", "show", &all[0]]).contains(&all[0]));
    let nothing = installation.run_command(&["session", "show", ROLE]);
    assert!(nothing.code == 1 && nothing.stderr.contains("no session of that id"), "{nothing:?}");
}

fn user_list_applies_its_filters(database: Database) {
    let installation = Installation::with_config(database, "[lockout]\nfailures_per_day = 30\n");
    let server = installation.start_with_user();
    for name in ["Bob", "disabled", "expired", "locked"] {
        installation.add_user(name, PASSWORD);
    }
    installation.run_ok(&["user", "disable", "disabled"]);
    installation.run_ok(&["user", "expire-password", "expired"]);
    installation.run_ok(&["user", "set-roles", "bob", ROLE]);
    for _ in 0..21 {
        server.refused_login(Wire::Polish, "locked", "wrong");
    }
    let names = |arguments: &[&str]| {
        let listed = run_json(&installation, &[&["user", "list"], arguments].concat());
        let users = listed.as_array().unwrap().iter();
        users.map(|user| user["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let cases: &[(&[&str], &str)] = &[
        (&[], "Bob csmith disabled expired locked"),
        (&["--role", ROLE], "Bob"),
        (&["--role", OTHER_ROLE], ""),
        (&["--state", "enabled"], "Bob csmith expired locked"),
        (&["--state", "disabled"], "disabled"),
        (&["--state", "expired"], "expired"),
        (&["--limit", "2"], "Bob csmith"),
    ];
    for (arguments, expected) in cases {
        assert_eq!(names(arguments), *expected, "{arguments:?}");
    }
    // The lock-out after the 21st failure lasts one second, which may be over on a slow machine.
    assert!(["locked", ""].contains(&names(&["--state", "locked"]).as_str()));
    let text = installation.run_ok(&["user", "list", "--limit", "2"]);
    assert!(text.ends_with("\n2 users; there are more\n"), "{text}");
    assert!(installation.run_ok(&["user", "list", "--role", ROLE]).ends_with("\n1 user\n"));
}

fn every_command_reports_its_act_and_its_counts_as_json(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start();
    let add = ["user", "add", USER, "--password-stdin", "--json"];
    let added = installation.run_command_with_input(&add, PASSWORD);
    let added: Value = serde_json::from_str(&added.stdout).unwrap();
    assert_eq!((&added["done"], &added["name"]), (&json!("user.add"), &json!(USER)));
    let log_in = || drop(server.log_in_everywhere());
    log_in();
    let session = installation.sessions()[0]["id"].as_str().unwrap().to_owned();
    let one = run_json(&installation, &["session", "revoke", &session]);
    assert_eq!(one, json!({ "done": "session.revoke", "session": session, "sessions_ended": 1 }));
    let user = |act: &str, more: Value| {
        let mut said = json!({ "done": act, "user": USER, "id": added["id"] });
        said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        said
    };
    let ended = |count: u32| json!({ "sessions_ended": count });
    // Four sessions are left, and five are opened before each action. On the 1010 wire a login takes over the session
    // before.
    let acts: Vec<(Vec<&str>, Value)> = vec![
        (vec!["session", "revoke", "--user", USER], user("session.revoke", ended(8))),
        (
            vec!["session", "revoke", "--all"],
            json!({ "done": "session.revoke", "sessions_ended": 5 }),
        ),
        (vec!["user", "disable", USER], user("user.disable", ended(5))),
        (vec!["user", "enable", USER], user("user.enable", json!({}))),
        (vec!["user", "unlock", USER], user("user.unlock", json!({}))),
        (vec!["user", "set-roles", USER, ROLE], user("user.set-roles", json!({ "roles": [ROLE] }))),
        (
            vec!["user", "set-unrestricted", USER, "true"],
            user("user.set-unrestricted", json!({ "unrestricted": true })),
        ),
        (
            vec!["user", "rename", USER, "CSmith"],
            json!({ "done": "user.rename", "user": "CSmith", "was": USER, "id": added["id"], "sessions_ended": 5 }),
        ),
        (
            vec!["user", "rename", "CSmith", USER],
            user("user.rename", json!({ "was": "CSmith", "sessions_ended": 0 })),
        ),
        (vec!["user", "expire-password", USER], user("user.expire-password", json!({}))),
        (vec!["user", "remove", USER], user("user.remove", ended(0))),
    ];
    for (number, (arguments, said)) in acts.into_iter().enumerate() {
        // No login succeeds while the user is disabled. The later actions end the sessions that were opened once.
        if number < 3 || number == 5 {
            log_in();
        }
        assert_eq!(run_json(&installation, &arguments), said, "{arguments:?}");
    }
    let made = run_json(&installation, &["client", "add", "proxy"]);
    assert_eq!((&made["done"], &made["name"]), (&json!("client.add"), &json!("proxy")));
    let removed = run_json(&installation, &["client", "remove", "proxy"]);
    assert_eq!(removed, json!({ "done": "client.remove", "name": "proxy" }));
    assert_eq!(run_json(&installation, &["config", "check"])["done"], "config.check");
    let kid = run_json(&installation, &["key", "list"])[0]["kid"].clone();
    assert_eq!(run_json(&installation, &["key", "rotate"])["done"], "key.rotate");
    let revoked = run_json(&installation, &["key", "revoke", kid.as_str().unwrap()]);
    assert_eq!(revoked, json!({ "done": "key.revoke", "kid": kid }));
    // A refused command writes nothing to standard output.
    let refused = installation.run_command(&["user", "disable", "nobody", "--json"]);
    assert!(refused.code == 1 && refused.stdout.is_empty(), "{refused:?}");
}

fn a_user_is_found_by_id_as_well(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let id = run_json(&installation, &["user", "show", USER])["id"].as_str().unwrap().to_owned();
    assert_eq!(run_json(&installation, &["user", "show", &id])["name"], USER);
    assert_eq!(run_json(&installation, &["user", "show", &id.to_uppercase()])["name"], USER);
    let held = server.log_in(Wire::Flask);
    let listed = run_json(&installation, &["session", "list", "--user", &id]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    installation.run_ok(&["user", "disable", &id]);
    assert_eq!(server.use_session(&held), Verdict::Refused);
    let nobody = installation.run_command(&["user", "show", ROLE]);
    assert!(nobody.code == 1 && nobody.stderr.contains("no user"), "{nobody:?}");
    // A user with another user's id as name is not confused with that user.
    installation.add_user(&id, PASSWORD);
    let both = installation.run_command(&["user", "remove", &id]);
    assert!(both.code == 1 && both.stderr.contains("the id of another"), "{both:?}");
}
