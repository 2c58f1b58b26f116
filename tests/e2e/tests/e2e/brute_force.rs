//! Brute-force protection: the account lock-out over all dialects and nodes, and the rate limit of an address.

use std::time::Duration;

use serde_json::json;

use crate::harness::clock::wait_for;
use crate::harness::wires::{basic, grpc};
use crate::harness::{
    Database, Installation, PASSWORD, Request, Response, Server, Stopwatch, USER, Wire,
    on_both_databases,
};

on_both_databases!(
    failures_on_any_dialect_and_node_lock_one_account,
    a_locked_user_logs_in_from_an_address_that_the_operator_trusts,
);

/// Proxies on this machine are trusted, so that a test can play many addresses.
const TRUST_LOOPBACK: &str = "trusted_proxies = [\"127.0.0.0/8\"]\n";

/// The number of consecutive failures without a delay.
const FAILURES_WITHOUT_WAIT: usize = 20;

/// A login from an address.
#[track_caller]
fn log_in(server: &Server, wire: Wire, from: &str, user: &str, password: &str) -> Response {
    server.send(&wire.login_request(user, password).header("X-Forwarded-For", from))
}

/// A short form of a refused login.
fn refusal_summary(wire: Wire, answer: &Response) -> String {
    let said =
        ["/error", "/message", "/error_code"].map(|pointer| answer.text_at(pointer)).concat();
    let retry = answer.header("retry-after").map_or("", |_| ", retry later");
    assert!(wire.parse_login(USER, answer).is_err(), "{}: {}", wire.name(), answer.text());
    format!("{} {said}{retry}", answer.status)
}

/// The answers of each wire for a locked account of this name, or `None` if this machine was so slow that the
/// lock-out was over.
#[track_caller]
fn refusals_while_locked(servers: [&Server; 2], user: &str, password: &str) -> Option<Vec<String>> {
    let stranger = "198.51.100.9";
    let failing = [Wire::Cluster, Wire::Polish, Wire::Flask, Wire::Cookie];
    let mut watch = Stopwatch::start();
    for (number, wire) in (0..=FAILURES_WITHOUT_WAIT).zip(failing.into_iter().cycle()) {
        // The last failure locks the account.
        watch = Stopwatch::start();
        log_in(servers[number % 2], wire, stranger, user, "wrong");
    }
    let mut heard = Vec::new();
    for (number, wire) in Wire::ALL.into_iter().enumerate() {
        let answer = log_in(servers[(number + 1) % 2], wire, stranger, user, password);
        if watch.elapsed() >= Duration::from_secs(1) {
            return None;
        }
        heard.push(refusal_summary(wire, &answer));
    }
    Some(heard)
}

fn failures_on_any_dialect_and_node_lock_one_account(database: Database) {
    let installation = Installation::with_config(database, TRUST_LOOPBACK);
    let (here, there) = (installation.start_with_user(), installation.start());
    let unlock = || installation.run_ok(&["user", "unlock", USER]);
    let show = || {
        let text = installation.run_ok(&["user", "show", USER, "--json"]);
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    assert!(log_in(&here, Wire::Polish, "192.0.2.7", USER, PASSWORD).status == 200, "he is known");
    // The lock-out lasts one second, so a slow machine gets another try.
    let mut rounds = (0..10).filter_map(|_| {
        unlock();
        refusals_while_locked([&here, &there], USER, PASSWORD)
    });
    let heard = rounds.next().expect("this machine is too slow to tell");
    let ordinary = [
        "200 Wrong password.",
        "401 Wrong login or password.",
        "401 Authorization failed",
        "401 Access denied. The user id and/or password are incorrect.",
        "200 AUTHENTICATE_CODE_USER_LOCKED",
    ];
    assert_eq!(heard, ordinary);
    // A trusted address gets in despite the failures of other addresses.
    assert_eq!(log_in(&there, Wire::Flask, "192.0.2.7", USER, PASSWORD).status, 200);
    assert_eq!(show()["failed_logins_today"], FAILURES_WITHOUT_WAIT + 1);
    installation.database.execute("UPDATE login_attempts SET refused = 7");
    assert_eq!(show()["logins_while_locked"], 7);
    let line = "reason=\"locked\"";
    wait_for("its record", || {
        [&here, &there].iter().any(|server| server.log.text().contains(line)).then_some(())
    });

    // Unknown names get the same answers as without a lock-out, by the same code.
    let heard = (0..10).find_map(|round| {
        refusals_while_locked([&here, &there], &format!("nobody-{round}"), PASSWORD)
    });
    let mut unknown = ordinary;
    unknown[0] = "200 Username not found, please log in.";
    assert_eq!(heard.expect("this machine is too slow to tell"), unknown);

    unlock();
    for gone in ["failed_logins_today", "logins_while_locked", "locked_until"] {
        assert!(show().get(gone).is_none(), "{gone}");
    }
    assert_eq!(log_in(&here, Wire::Polish, "198.51.100.9", USER, PASSWORD).status, 200);
    let nobody = installation.run_command(&["user", "unlock", "nobody"]);
    assert_eq!((nobody.code, nobody.stderr.contains("there is no user of that name")), (1, true));
}

#[test]
fn an_address_that_fails_too_often_is_refused_in_each_wires_own_form() {
    let throttle = "[throttle]\nfailures_per_address = 3\nwindow = \"1h\"\n";
    let installation =
        Installation::with_config(Database::sqlite(), &format!("{TRUST_LOOPBACK}{throttle}"));
    let server = installation.start_with_user();
    for number in 0..3 {
        log_in(&server, Wire::Polish, "203.0.113.9", &format!("nobody-{number}"), "wrong");
    }
    let heard = Wire::ALL
        .map(|wire| refusal_summary(wire, &log_in(&server, wire, "203.0.113.9", USER, PASSWORD)));
    assert_eq!(
        heard,
        [
            "200 Wrong password.",
            "429 Too many failed logins, please try again later., retry later",
            "401 Authorization failed",
            "429 Too many failed logins. Please try again later., retry later",
            "200 AUTHENTICATE_CODE_IP_BLOCKED",
        ]
    );
    let refused =
        "parlance_refusals_total{dialect=\"1010-cookie\",action=\"login\",reason=\"throttled\"}";
    assert_eq!(server.metric(refused), 1);
    // Neighbours of the address are not limited, nor is the proxy: requests without a forwarded address stand for
    // many clients.
    assert_eq!(log_in(&server, Wire::Polish, "203.0.113.10", USER, PASSWORD).status, 200);
    for number in 0..5 {
        server.send(&Wire::Polish.login_request(&format!("other-{number}"), "wrong"));
    }
    server.log_in(Wire::Polish);
}

#[test]
fn a_failed_login_from_a_trusted_address_does_not_reveal_whether_the_user_exists() {
    let installation = Installation::with_config(Database::sqlite(), TRUST_LOOPBACK);
    let server = installation.start_with_user();
    let office = "192.0.2.7";
    assert_eq!(log_in(&server, Wire::Polish, office, USER, PASSWORD).status, 200);
    for name in [USER, "nobody"] {
        log_in(&server, Wire::Polish, "198.51.100.9", name, "wrong");
    }
    // Both accounts stay locked until after tomorrow, at any hour. From here on the user's own address has the five
    // attempts that are kept for trusted addresses.
    installation.database.execute(
        "UPDATE login_attempts SET failures = 90, day = day + 1, until_at = until_at + 172800000",
    );
    let rest = |user: &str| {
        let request = Request::get("/v1/authentication/authenticate_ex")
            .header("Authorization", basic(user, "wrong"))
            .header("X-Forwarded-For", office);
        refusal_summary(Wire::Axxon, &server.send(&request))
    };
    let tries = |user: &str| {
        let wires = [Wire::Axxon, Wire::Polish, Wire::Flask, Wire::Cookie];
        let heard =
            wires.map(|wire| refusal_summary(wire, &log_in(&server, wire, office, user, "wrong")));
        [&heard[..], &[rest(user)]].concat()
    };
    let (known, unknown) = (tries(USER), tries("nobody"));
    assert_eq!(known, unknown);
    assert!(known[0].ends_with("AUTHENTICATE_CODE_USER_LOCKED"), "{known:?}");
    // The five attempts were verified, and the metric tells the operator so. The sixth is not verified.
    let refusals = |reason: &str| {
        server.metric(&format!(
            "parlance_refusals_total{{dialect=\"polish-longtoken\",action=\"login\",reason=\"{reason}\"}}"
        ))
    };
    assert_eq!(refusals("wrong_password"), 2);
    log_in(&server, Wire::Polish, office, USER, PASSWORD);
    assert_eq!(refusals("locked"), 2);
}

fn a_locked_user_logs_in_from_an_address_that_the_operator_trusts(database: Database) {
    let installation = Installation::with_config(database, TRUST_LOOPBACK);
    let server = installation.start_with_user();
    let lock = || {
        log_in(&server, Wire::Polish, "198.51.100.9", USER, "wrong");
        installation.database.execute(
            "UPDATE login_attempts SET failures = 90, day = day + 1, until_at = until_at + 172800000",
        );
    };
    let status = |from: &str| log_in(&server, Wire::Polish, from, USER, PASSWORD).status;
    lock();
    assert_eq!([status("192.0.2.7"), status("2001:db8::7")], [401, 401]);
    for (shown, told) in [
        ("::ffff:192.0.2.7", "192.0.2.7 is a trusted"),
        ("2001:db8::1:2", "2001:db8:: is a trusted"),
    ] {
        let said = installation.run_ok(&["user", "unlock", "CSmith", "--trust", shown]);
        assert!(said.contains(told), "{said}");
    }
    // Other addresses lock the account again: the trusted addresses stay trusted.
    lock();
    assert_eq!([status("192.0.2.7"), status("2001:db8::7")], [200, 200]);
    assert_eq!([status("192.0.2.8"), status("2001:db8:0:1::7")], [401, 401]);
    let odd = installation.run_command(&["user", "unlock", USER, "--trust", "office"]);
    assert_eq!(odd.code, 2, "{odd:?}");
    let nobody = installation.run_command(&["user", "unlock", "nobody", "--trust", "192.0.2.7"]);
    assert_eq!((nobody.code, nobody.stderr.contains("there is no user of that name")), (1, true));
}

#[test]
fn a_right_password_for_an_unserved_call_is_logged_and_counted() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let call = |password: &str| {
        server.send(&grpc("ListUsers", &json!({})).header("Authorization", basic(USER, password)))
    };
    assert_eq!([call(PASSWORD).status, call("wrong").status], [404, 401]);
    let refused = |reason: &str| {
        server.metric(&format!(
            "parlance_refusals_total{{dialect=\"axxon-jsonrpc\",action=\"login\",reason=\"{reason}\"}}"
        ))
    };
    assert_eq!([refused("unserved_call"), refused("outer_credential")], [1, 1]);
    let line = server.log.wait_for_line("unserved_call").unwrap();
    assert!(line.contains("shown=\"csmith\"") && line.contains("user="), "{line}");
}

#[test]
fn a_login_after_failures_is_logged_with_how_many() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    for _ in 0..2 {
        server.refused_login(Wire::Flask, USER, "wrong");
    }
    server.log_in(Wire::Flask);
    let line = server.log.wait_for_line("login after failures").unwrap();
    assert!(line.contains("failures=2") && line.contains("flask-usertoken"), "{line}");
}

#[test]
fn lock_out_and_rate_limit_can_be_disabled() {
    let off = "[lockout]\nenabled = false\n[throttle]\nenabled = false\n";
    let installation =
        Installation::with_config(Database::sqlite(), &format!("{TRUST_LOOPBACK}{off}"));
    let server = installation.start_with_user();
    for _ in 0..=FAILURES_WITHOUT_WAIT {
        log_in(&server, Wire::Polish, "203.0.113.9", USER, "wrong");
    }
    assert_eq!(log_in(&server, Wire::Polish, "203.0.113.9", USER, PASSWORD).status, 200);
}
