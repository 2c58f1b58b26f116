//! Starts of the program, and reasons to refuse a start.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::server::run_to_end;
use crate::harness::{Database, Installation, Output, Verdict, Wire, on_both_databases};

on_both_databases!(
    the_key_file_is_made_once_and_a_database_without_its_own_is_refused,
    a_token_signed_before_a_restart_is_good_after_it,
);

/// Starts a server that must refuse to start.
#[track_caller]
fn check_start_refused(installation: &Installation, more: &[&str]) -> Output {
    let arguments = [&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"], more];
    let output = run_to_end(installation.command(&arguments.concat()), "");
    assert_eq!(output.code, 1, "{output:?}");
    // The error follows all records of the log.
    let last = output.stderr.lines().last().unwrap_or_default();
    assert!(output.stdout.is_empty() && last.starts_with("parlance: "), "{output:?}");
    output
}

fn the_key_file_is_made_once_and_a_database_without_its_own_is_refused(database: Database) {
    let installation = Installation::new(database);
    let key = installation.folder().join("keys/parlance.key");
    installation.start().kill();
    let made = fs::read(&key).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    installation.start().kill();
    assert_eq!(fs::read(&key).unwrap(), made, "a restart keeps it");

    fs::rename(&key, installation.folder().join("away")).unwrap();
    let output = check_start_refused(&installation, &[]);
    assert!(output.stderr.contains("parlance.key"), "{output:?}");
    assert!(!key.exists(), "no new one is made beside a database that has keys");

    fs::write(&key, b"something else").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(check_start_refused(&installation, &[]).stderr.contains("parlance.key"));

    fs::rename(installation.folder().join("away"), &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(
        check_start_refused(&installation, &[]).stderr.contains("parlance.key"),
        "others may read it"
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    installation.start().kill();
}

fn a_token_signed_before_a_restart_is_good_after_it(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let held = server.log_in_everywhere();
    server.kill();
    let server = installation.start();
    server.expect_each_use(&held, &Verdict::Accepted, "after a restart");
}

#[test]
fn a_port_that_is_taken_is_named_with_its_flag() {
    let installation = Installation::new(Database::sqlite());
    let busy = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .map(|address| address.to_string())
        .unwrap();
    let _held = TcpListener::bind(&busy).unwrap();
    for flag in ["--listen", "--admin-listen"] {
        let other = if flag == "--listen" { "--admin-listen" } else { "--listen" };
        let output =
            run_to_end(installation.command(&["serve", flag, &busy, other, "127.0.0.1:0"]), "");
        assert!(
            output.code == 1 && output.stderr.contains(&busy) && output.stderr.contains(flag),
            "{output:?}"
        );
    }
}

#[test]
fn an_unavailable_database_is_an_error_without_its_password() {
    let installation = Installation::new(Database::sqlite());
    let config = installation.config().display().to_string();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [
        format!("postgres://u:canarypassword@{nobody}/x"),
        "sqlite:/nonexistent/folder/parlance.db".to_owned(),
    ] {
        for command in [
            &["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"][..],
            &["user", "list"],
        ] {
            let arguments = [command, &["--config", &config, "--database", &url]].concat();
            let output = run_to_end(installation.bare_command(&arguments), "");
            assert!(output.code == 1 && output.stdout.is_empty(), "{url}: {output:?}");
            assert!(
                output.stderr.contains("parlance: ") && !output.stderr.contains("canarypassword"),
                "{output:?}"
            );
        }
    }
    for url in ["mysql://x/y", "parlance.db", ""] {
        let output =
            run_to_end(installation.bare_command(&["user", "list", "--database", url]), "");
        assert!(output.code == 2 && output.stderr.contains("sqlite:PATH"), "{url}: {output:?}");
    }
}

#[test]
fn a_fresh_database_accepts_no_login() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start();
    for (user, password) in [
        ("root", "root"),
        ("csmith", "XXX"),
        ("admin", "admin"),
        ("demo", "demo"),
        ("TWOJ_LOGIN", "TWOJE_HASLO"),
        ("", ""),
    ] {
        for wire in Wire::ALL {
            assert_eq!(
                server.refused_login(wire, user, password),
                Verdict::Refused,
                "{} {user:?}",
                wire.name()
            );
        }
    }
}

#[test]
fn the_admin_listener_serves_no_dialect_and_the_dialects_no_admin() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(server.get_admin(path).status, 200, "{path}");
        assert_eq!(server.send(&crate::harness::Request::get(path)).status, 404, "{path}");
    }
    for wire in Wire::ALL {
        let login = wire.login_request(crate::harness::USER, crate::harness::PASSWORD);
        assert_eq!(crate::harness::http::send(server.admin, &login).status, 404, "{}", wire.name());
    }
}
