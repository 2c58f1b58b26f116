//! How the program starts, and why it may refuse to.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::server::run;
use crate::harness::{Database, Output, Site, Verdict, Wire, on_both_databases};

on_both_databases!(
    the_key_file_is_made_once_and_a_database_without_its_own_is_refused,
    a_token_signed_before_a_restart_is_good_after_it,
);

/// Starts a server that must not start.
#[track_caller]
fn refused(site: &Site, more: &[&str]) -> Output {
    let arguments = [&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"], more];
    let output = run(site.command(&arguments.concat()), "");
    assert_eq!(output.code, 1, "{output:?}");
    // After what the log has said by then.
    let last = output.stderr.lines().last().unwrap_or_default();
    assert!(output.stdout.is_empty() && last.starts_with("parlance: "), "{output:?}");
    output
}

fn the_key_file_is_made_once_and_a_database_without_its_own_is_refused(database: Database) {
    let site = Site::new(database);
    let key = site.folder().join("keys/parlance.key");
    site.start().kill();
    let made = fs::read(&key).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    site.start().kill();
    assert_eq!(fs::read(&key).unwrap(), made, "a restart keeps it");

    fs::rename(&key, site.folder().join("away")).unwrap();
    let output = refused(&site, &[]);
    assert!(output.stderr.contains("parlance.key"), "{output:?}");
    assert!(!key.exists(), "no new one is made beside a database that has keys");

    fs::write(&key, b"something else").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(refused(&site, &[]).stderr.contains("parlance.key"));

    fs::rename(site.folder().join("away"), &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&site, &[]).stderr.contains("parlance.key"), "others may read it");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    site.start().kill();
}

fn a_token_signed_before_a_restart_is_good_after_it(database: Database) {
    let site = Site::new(database);
    let server = site.start_with_user();
    let held = server.log_in_everywhere();
    server.kill();
    let server = site.start();
    server.expect(&held, &Verdict::Yes, "after a restart");
}

#[test]
fn a_port_that_is_taken_is_named_with_its_flag() {
    let site = Site::new(Database::sqlite());
    let busy = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .map(|address| address.to_string())
        .unwrap();
    let _held = TcpListener::bind(&busy).unwrap();
    for flag in ["--listen", "--admin-listen"] {
        let other = if flag == "--listen" { "--admin-listen" } else { "--listen" };
        let output = run(site.command(&["serve", flag, &busy, other, "127.0.0.1:0"]), "");
        assert!(
            output.code == 1 && output.stderr.contains(&busy) && output.stderr.contains(flag),
            "{output:?}"
        );
    }
}

#[test]
fn a_database_that_cannot_be_had_is_a_refusal_without_its_password() {
    let site = Site::new(Database::sqlite());
    let config = site.config().display().to_string();
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
            let output = run(site.bare_command(&arguments), "");
            assert!(output.code == 1 && output.stdout.is_empty(), "{url}: {output:?}");
            assert!(
                output.stderr.contains("parlance: ") && !output.stderr.contains("canarypassword"),
                "{output:?}"
            );
        }
    }
    for url in ["mysql://x/y", "parlance.db", ""] {
        let output = run(site.bare_command(&["user", "list", "--database", url]), "");
        assert!(output.code == 2 && output.stderr.contains("sqlite:PATH"), "{url}: {output:?}");
    }
}

#[test]
fn a_fresh_database_lets_nobody_in() {
    let site = Site::new(Database::sqlite());
    let server = site.start();
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
                server.refusal(wire, user, password),
                Verdict::No,
                "{} {user:?}",
                wire.name()
            );
        }
    }
}

#[test]
fn the_admin_listener_serves_no_dialect_and_the_dialects_no_admin() {
    let site = Site::new(Database::sqlite());
    let server = site.start_with_user();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(server.admin(path).status, 200, "{path}");
        assert_eq!(server.send(&crate::harness::Request::get(path)).status, 404, "{path}");
    }
    for wire in Wire::ALL {
        let login = wire.login(crate::harness::USER, crate::harness::PASSWORD);
        assert_eq!(crate::harness::http::send(server.admin, &login).status, 404, "{}", wire.name());
    }
}
