//! The gRPC of axxon-jsonrpc, by the clients of another library.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::clients::script;
use crate::harness::cluster::Cluster;
use crate::harness::log::Lines;
use crate::harness::server::run;
use crate::harness::{
    Database, Output, PASSWORD, Server, Site, USER, Verdict, Wire, clock, on_both_databases, python,
};

const CLIENT: &str = "axxon_grpc.py";
const WRONG: &str = "UNAUTHENTICATED AUTHENTICATE_CODE_WRONG_CREDENTIALS";
/// What a server listens on in these tests.
const ANYWHERE: [&str; 7] = [
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
    "--axxon-grpc-listen",
    "127.0.0.1:0",
];

on_both_databases!(
    the_seven_calls_work_and_share_one_store_with_the_json_door,
    a_session_dies_in_mid_flight,
    a_watcher_of_its_health_is_told_of_the_end_and_does_not_hold_it_up,
);

/// Starts a server with gRPC, on which the usual user can log in; the server, and where that listens.
#[track_caller]
fn start(site: &Site) -> (Server, String) {
    let (server, _) = Server::spawn(site.command(&ANYWHERE));
    site.add_user(USER, PASSWORD);
    let address = server.grpc.expect("the ready line says where it listens").to_string();
    (server, address)
}

#[track_caller]
fn client(server: &Server, site: &Site, arguments: &[&str]) -> String {
    script(server, site.folder(), CLIENT, arguments)
}

fn the_seven_calls_work_and_share_one_store_with_the_json_door(database: Database) {
    let site = Site::new(database);
    let (server, address) = start(&site);
    let said = client(&server, &site, &["tour", &address, &server.base(), USER, PASSWORD]);
    let call = |method: &str, wrong: &str| {
        format!(
            "{method} | wrong {wrong} | renewed token AUTHENTICATE_CODE_OK | closed OK | then {WRONG} 401\n"
        )
    };
    let code = "no token AUTHENTICATE_CODE_WRONG_CREDENTIALS";
    let calls = [("", WRONG), ("2", WRONG), ("Ex", code), ("Ex2", code)]
        .map(|(name, wrong)| call(&format!("Authenticate{name}"), wrong));
    let service = "axxonsoft.bl.auth.AuthenticationService";
    assert_eq!(
        said,
        calls.concat()
            + &format!(
                "here, there 200 200 and here UNAUTHENTICATED GENERAL_ERROR\n\
                 there, here token AUTHENTICATE_CODE_OK closed OK and there 401\n\
                 no token {WRONG}: no token in the metadata auth_token\n\
                 two tokens {WRONG}: no token in the metadata auth_token\n\
                 another's {WRONG}\n\
                 no message INVALID_ARGUMENT there is no message\n\
                 noise INVALID_ARGUMENT the message cannot be read\n\
                 not UTF-8 {WRONG}\n\
                 too long RESOURCE_EXHAUSTED the message is too long\n\
                 no method UNIMPLEMENTED no such method\n\
                 no service UNIMPLEMENTED no such service\n\
                 health  SERVING\n\
                 health {service} SERVING\n\
                 by reflection auth_token\n"
            )
    );
    // Seven logins here, and one on the other door.
    assert_eq!(server.metric("parlance_logins_total{dialect=\"axxon-jsonrpc\"}"), 8);
    server.log.line_with("peer=127.0.0.1").expect("a record of a login");
    let log = server.log.text();
    assert!(!log.contains(PASSWORD), "{log}");
}

fn a_session_dies_in_mid_flight(database: Database) {
    let site = Site::new(database);
    let (server, address) = start(&site);
    let command = |arguments: &[&str]| {
        let command = site.command(arguments);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        serde_json::to_string(&words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>())
            .unwrap()
    };
    let revoke = command(&["session", "revoke", "--user", USER]);
    let disable = command(&["user", "disable", USER]);
    let said = client(&server, &site, &["killed", &address, USER, PASSWORD, &revoke, &disable]);
    let dead = format!("token AUTHENTICATE_CODE_OK | {WRONG} | UNAUTHENTICATED GENERAL_ERROR\n");
    assert_eq!(
        said,
        format!("{dead}{dead}login no token AUTHENTICATE_CODE_WRONG_CREDENTIALS | {WRONG}\n")
    );
}

fn a_watcher_of_its_health_is_told_of_the_end_and_does_not_hold_it_up(database: Database) {
    let site = Site::new(database);
    let (mut server, address) = start(&site);
    let mut watcher = python::script(site.folder(), CLIENT, &["watch", &address])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = Lines::of(watcher.stdout.take().unwrap());
    said.line_with("SERVING").expect("it watches");
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log.text());
    assert!(watcher.wait().unwrap().success());
    assert_eq!(said.whole(), "SERVING\nNOT_SERVING\nend\n");
}

#[test]
fn without_its_database_every_call_is_unavailable_and_no_token_is_refused() {
    let cluster = Cluster::start();
    let site = Site::new(Database::Foreign(cluster.url()));
    let (server, address) = start(&site);
    let token = client(&server, &site, &["token", &address, USER, PASSWORD]);
    let call = || client(&server, &site, &["all_seven", &address, USER, PASSWORD, token.trim()]);
    cluster.stop();
    assert_eq!(call(), "UNAVAILABLE AUTHENTICATE_CODE_GENERAL_ERROR wait 1000\n".repeat(7));
    cluster.resume();
    clock::until("readiness", || (server.admin("/readyz").status == 200).then_some(()));
    assert_eq!(call(), "token AUTHENTICATE_CODE_OK\n".repeat(6) + "closed OK\n");
}

/// Makes a certificate for 127.0.0.1, and its key.
fn certificate(site: &Site, name: &str) -> (String, String) {
    let [certificate, key] = ["crt", "pem"]
        .map(|kind| site.folder().join(format!("{name}.{kind}")).display().to_string());
    let mut command = Command::new("openssl");
    command
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=parlance"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-keyout", &key, "-out", &certificate]);
    let output = run(command, "");
    assert_eq!(output.code, 0, "{output:?}");
    (certificate, key)
}

/// Starts a server with these files for its TLS.
fn with_tls(site: &Site, certificate: &str, key: &str) -> Command {
    let mut command = site.command(&ANYWHERE);
    for (name, file) in [("CERTIFICATE", certificate), ("CERTIFICATE_KEY", key)] {
        command.env(format!("PARLANCE_AXXON_GRPC__{name}"), file);
    }
    command
}

#[test]
fn with_a_certificate_it_speaks_tls_alone() {
    let site = Site::new(Database::sqlite());
    let (certificate, key) = certificate(&site, "own");
    let (server, printed) = Server::spawn(with_tls(&site, &certificate, &key));
    site.add_user(USER, PASSWORD);
    let address = server.grpc.unwrap().to_string();
    assert!(printed.ends_with(&format!(" grpc https://{address}\n")), "{printed}");
    let said = client(&server, &site, &["tls", &address, &certificate, USER, PASSWORD]);
    assert_eq!(
        said,
        format!("token AUTHENTICATE_CODE_OK | closed OK | {WRONG}\nplain UNAVAILABLE\n")
    );
}

#[test]
fn a_tls_key_that_others_can_read_is_warned_of() {
    let site = Site::new(Database::sqlite());
    let (certificate, key) = certificate(&site, "own");
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true), (0o660, true)] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let (mut server, _) = Server::spawn(with_tls(&site, &certificate, &key));
        server.signal("TERM");
        server.ended();
        let log = server.log.whole();
        assert_eq!(log.contains(&format!("mode=\"{mode:04o}\"")), warned, "{mode:o}: {log}");
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_a_refusal_to_start_that_names_it() {
    let site = Site::new(Database::sqlite());
    let [(certificate, key), (_, other)] = ["own", "other"].map(|name| certificate(&site, name));
    let junk = site.config().display().to_string();
    let refused = |certificate: &str, key: &str| -> Output {
        let output = run(with_tls(&site, certificate, key), "");
        assert!(output.stdout.is_empty(), "{output:?}");
        output
    };
    for (certificate, key, code, named) in [
        (&*certificate, &*other, 1, "other.pem"),
        (&junk, &key, 1, "parlance.toml"),
        (&certificate, &junk, 1, "parlance.toml"),
        ("nowhere.crt", &key, 1, "nowhere.crt"),
        (&certificate, "nowhere.pem", 1, "nowhere.pem"),
        (&certificate, "", 2, "axxon-grpc.certificate_key"),
        ("", &key, 2, "PARLANCE_AXXON_GRPC__CERTIFICATE_KEY"),
    ] {
        let output = refused(certificate, key);
        assert!(
            output.code == code && output.stderr.contains(named),
            "{certificate} {key}: {output:?}"
        );
    }
}

#[test]
fn where_nobody_chose_a_port_two_servers_get_along_and_a_chosen_one_that_is_taken_is_named() {
    let site = Site::new(Database::sqlite());
    let here = site.start_with_user();
    let there = site.start();
    let held = here.log_in(Wire::Axxon);
    assert_eq!(there.check(&held), Verdict::Yes);
    // Or both, if somebody else has it.
    let without = [&here, &there].map(|server| {
        server.log.line_with("serving").unwrap();
        server.log.text().contains("WARN axxon-jsonrpc is not served by gRPC")
    });
    assert!(without[1] || without[0], "both cannot have one port");
    assert!(here.grpc.is_none() && there.grpc.is_none(), "nobody chose one, so nobody is told");

    let (server, address) = Server::spawn(site.command(&ANYWHERE));
    let address = server.grpc.map_or(address, |address| address.to_string());
    let mut again = ANYWHERE;
    again[6] = &address;
    let output = run(site.command(&again), "");
    assert!(
        output.code == 1
            && output.stderr.contains(&address)
            && output.stderr.contains("--axxon-grpc-listen"),
        "{output:?}"
    );
}

#[test]
fn it_goes_with_its_dialect_and_can_be_disabled_alone() {
    // An address that was asked for in vain is worth a word.
    for (off, warned) in [
        ("[axxon-grpc]\nenabled = false\n", false),
        ("[dialects.axxon-jsonrpc]\nenabled = false\n", true),
    ] {
        let site = Site::with(Database::sqlite(), off);
        let (server, _) = Server::spawn(site.command(&ANYWHERE));
        assert!(server.grpc.is_none(), "{off}");
        server.log.line_with("serving").unwrap();
        let said = server.log.text().contains("WARN axxon-grpc.listen is set, but its dialect");
        assert_eq!(said, warned, "{off}");
    }
}
