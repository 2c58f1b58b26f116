//! The gRPC of axxon-jsonrpc, with clients of another library.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::clients::script;
use crate::harness::cluster::Cluster;
use crate::harness::log::Lines;
use crate::harness::server::run_to_end;
use crate::harness::{
    Database, Installation, Output, PASSWORD, Server, USER, Verdict, Wire, clock,
    on_both_databases, python,
};

const CLIENT: &str = "axxon_grpc.py";
const WRONG: &str = "UNAUTHENTICATED AUTHENTICATE_CODE_WRONG_CREDENTIALS";
/// Listens on free ports of the loopback.
const SERVE_ON_FREE_PORTS: [&str; 7] = [
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
    "--axxon-grpc-listen",
    "127.0.0.1:0",
];

on_both_databases!(
    the_seven_grpc_calls_work_and_share_one_store_with_the_json_endpoint,
    revoking_and_disabling_end_a_grpc_session_in_use,
    a_grpc_health_watcher_is_notified_of_the_shutdown_and_does_not_delay_it,
);

/// Starts a server with gRPC and adds the usual user. Returns the server and its gRPC address.
#[track_caller]
fn start(installation: &Installation) -> (Server, String) {
    let (server, _) = Server::spawn(installation.command(&SERVE_ON_FREE_PORTS));
    installation.add_user(USER, PASSWORD);
    let address = server.grpc.expect("the ready line says where it listens").to_string();
    (server, address)
}

#[track_caller]
fn run_client(server: &Server, installation: &Installation, arguments: &[&str]) -> String {
    script(server, installation.folder(), CLIENT, arguments)
}

fn the_seven_grpc_calls_work_and_share_one_store_with_the_json_endpoint(database: Database) {
    let installation = Installation::new(database);
    let (server, address) = start(&installation);
    let said =
        run_client(&server, &installation, &["tour", &address, &server.base_url(), USER, PASSWORD]);
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
    // Seven logins here, and one on the JSON binding.
    assert_eq!(server.metric("parlance_logins_total{dialect=\"axxon-jsonrpc\"}"), 8);
    server.log.wait_for_line("peer=127.0.0.1").expect("a record of a login");
    let log = server.log.text();
    assert!(!log.contains(PASSWORD), "{log}");
}

fn revoking_and_disabling_end_a_grpc_session_in_use(database: Database) {
    let installation = Installation::new(database);
    let (server, address) = start(&installation);
    let command = |arguments: &[&str]| {
        let command = installation.command(arguments);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        serde_json::to_string(&words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>())
            .unwrap()
    };
    let revoke = command(&["session", "revoke", "--user", USER]);
    let disable = command(&["user", "disable", USER]);
    let said = run_client(
        &server,
        &installation,
        &["killed", &address, USER, PASSWORD, &revoke, &disable],
    );
    let dead = format!("token AUTHENTICATE_CODE_OK | {WRONG} | UNAUTHENTICATED GENERAL_ERROR\n");
    assert_eq!(
        said,
        format!("{dead}{dead}login no token AUTHENTICATE_CODE_WRONG_CREDENTIALS | {WRONG}\n")
    );
}

fn a_grpc_health_watcher_is_notified_of_the_shutdown_and_does_not_delay_it(database: Database) {
    let installation = Installation::new(database);
    let (mut server, address) = start(&installation);
    let mut watcher = python::script(installation.folder(), CLIENT, &["watch", &address])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = Lines::read(watcher.stdout.take().unwrap());
    said.wait_for_line("SERVING").expect("it watches");
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log.text());
    assert!(watcher.wait().unwrap().success());
    assert_eq!(said.wait_for_end(), "SERVING\nNOT_SERVING\nend\n");
}

#[test]
fn without_its_database_every_call_is_unavailable_and_no_token_is_refused() {
    let cluster = Cluster::start();
    let installation = Installation::new(Database::External(cluster.url()));
    let (server, address) = start(&installation);
    let token = run_client(&server, &installation, &["token", &address, USER, PASSWORD]);
    let call = || {
        run_client(&server, &installation, &["all_seven", &address, USER, PASSWORD, token.trim()])
    };
    cluster.stop();
    assert_eq!(call(), "UNAVAILABLE AUTHENTICATE_CODE_GENERAL_ERROR wait 1000\n".repeat(7));
    cluster.start_again();
    clock::wait_for("readiness", || (server.get_admin("/readyz").status == 200).then_some(()));
    assert_eq!(call(), "token AUTHENTICATE_CODE_OK\n".repeat(6) + "closed OK\n");
}

/// Makes a certificate for 127.0.0.1 and its key.
fn certificate(installation: &Installation, name: &str) -> (String, String) {
    let [certificate, key] = ["crt", "pem"]
        .map(|kind| installation.folder().join(format!("{name}.{kind}")).display().to_string());
    let mut command = Command::new("openssl");
    command
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=parlance"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-keyout", &key, "-out", &certificate]);
    let output = run_to_end(command, "");
    assert_eq!(output.code, 0, "{output:?}");
    (certificate, key)
}

/// Starts a server with these TLS files.
fn with_tls(installation: &Installation, certificate: &str, key: &str) -> Command {
    let mut command = installation.command(&SERVE_ON_FREE_PORTS);
    for (name, file) in [("CERTIFICATE", certificate), ("CERTIFICATE_KEY", key)] {
        command.env(format!("PARLANCE_AXXON_GRPC__{name}"), file);
    }
    command
}

#[test]
fn grpc_with_a_certificate_speaks_tls_only() {
    let installation = Installation::new(Database::sqlite());
    let (certificate, key) = certificate(&installation, "own");
    let (server, printed) = Server::spawn(with_tls(&installation, &certificate, &key));
    installation.add_user(USER, PASSWORD);
    let address = server.grpc.unwrap().to_string();
    assert!(printed.ends_with(&format!(" grpc https://{address}\n")), "{printed}");
    let said = run_client(&server, &installation, &["tls", &address, &certificate, USER, PASSWORD]);
    assert_eq!(
        said,
        format!("token AUTHENTICATE_CODE_OK | closed OK | {WRONG}\nplain UNAVAILABLE\n")
    );
}

#[test]
fn a_tls_key_that_others_can_read_is_warned_of() {
    let installation = Installation::new(Database::sqlite());
    let (certificate, key) = certificate(&installation, "own");
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true), (0o660, true)] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let (mut server, _) = Server::spawn(with_tls(&installation, &certificate, &key));
        server.signal("TERM");
        server.wait_for_exit();
        let log = server.log.wait_for_end();
        assert_eq!(log.contains(&format!("mode=\"{mode:04o}\"")), warned, "{mode:o}: {log}");
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_a_refusal_to_start_that_names_it() {
    let installation = Installation::new(Database::sqlite());
    let [(certificate, key), (_, other)] =
        ["own", "other"].map(|name| certificate(&installation, name));
    let junk = installation.config().display().to_string();
    let refused = |certificate: &str, key: &str| -> Output {
        let output = run_to_end(with_tls(&installation, certificate, key), "");
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
fn a_taken_default_grpc_port_is_skipped_and_a_taken_configured_one_is_an_error() {
    let installation = Installation::new(Database::sqlite());
    let here = installation.start_with_user();
    let there = installation.start();
    let held = here.log_in(Wire::Axxon);
    assert_eq!(there.use_session(&held), Verdict::Accepted);
    // Another process may have the port; then neither of the two serves gRPC.
    let without = [&here, &there].map(|server| {
        server.log.wait_for_line("serving").unwrap();
        server.log.text().contains("WARN axxon-jsonrpc is not served by gRPC")
    });
    assert!(without[1] || without[0], "both cannot have one port");
    assert!(here.grpc.is_none() && there.grpc.is_none(), "nobody chose one, so nobody is told");

    let (server, address) = Server::spawn(installation.command(&SERVE_ON_FREE_PORTS));
    let address = server.grpc.map_or(address, |address| address.to_string());
    let mut again = SERVE_ON_FREE_PORTS;
    again[6] = &address;
    let output = run_to_end(installation.command(&again), "");
    assert!(
        output.code == 1
            && output.stderr.contains(&address)
            && output.stderr.contains("--axxon-grpc-listen"),
        "{output:?}"
    );
}

#[test]
fn grpc_is_disabled_with_its_dialect_or_alone() {
    // A listen address without effect is logged as a warning, unless gRPC itself is disabled.
    for (off, warned) in [
        ("[axxon-grpc]\nenabled = false\n", false),
        ("[dialects.axxon-jsonrpc]\nenabled = false\n", true),
    ] {
        let installation = Installation::with_config(Database::sqlite(), off);
        let (server, _) = Server::spawn(installation.command(&SERVE_ON_FREE_PORTS));
        assert!(server.grpc.is_none(), "{off}");
        server.log.wait_for_line("serving").unwrap();
        let said = server
            .log
            .text()
            .contains("WARN axxon-grpc.listen is set, but the dialect axxon-jsonrpc");
        assert_eq!(said, warned, "{off}");
    }
}
