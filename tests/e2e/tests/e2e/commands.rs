//! The first steps of an operator: first commands, a terminal, mistakes, the log.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::server::run_to_end;
use crate::harness::{
    Database, Installation, PASSWORD, Request, Server, USER, Wire, on_both_databases,
};

on_both_databases!(
    a_user_is_added_to_a_database_that_is_not_there_yet,
    the_first_start_and_the_first_user_add_may_run_concurrently,
);

/// A file of the repository.
fn repository_file(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(file)).unwrap()
}

const ADD_USER: [&str; 3] = ["user", "add", "--password-stdin"];

fn a_user_is_added_to_a_database_that_is_not_there_yet(database: Database) {
    let installation = Installation::new(database);
    let added = installation.run_command_with_input(&[&ADD_USER[..], &[USER]].concat(), PASSWORD);
    assert!(added.code == 0 && added.stderr.contains("was created"), "{added:?}");
    let again =
        installation.run_command_with_input(&[&ADD_USER[..], &["other"]].concat(), PASSWORD);
    assert!(again.code == 0 && again.stderr.is_empty(), "{again:?}");
    installation.start().log_in(Wire::Axxon);
}

fn the_first_start_and_the_first_user_add_may_run_concurrently(database: Database) {
    let installation = Installation::new(database);
    let server = std::thread::scope(|scope| {
        for number in 0..3 {
            let installation = &installation;
            scope.spawn(move || installation.add_user(&format!("user{number}"), PASSWORD));
        }
        installation.start()
    });
    for number in 0..3 {
        server.log_in_as(Wire::Flask, &format!("user{number}"), PASSWORD);
    }
}

#[test]
fn the_commands_that_the_readme_prints_work_in_a_fresh_folder() {
    let readme = repository_file("README.md");
    let (_, block) = readme.split_once("## Run it\n\n```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let (build, block) = block.split_once('\n').unwrap();
    assert!(build.starts_with("cargo build --release"), "{build}");
    let installation = Installation::new(Database::sqlite());
    let mut shell = installation.bare_command(&[]);
    let program = shell.get_program().to_owned();
    let script = block.replace("target/release/parlance", program.to_str().unwrap());
    shell = Command::new("sh");
    shell.args(["-ec", &format!("{script}kill $!\nwait $!")]).current_dir(installation.folder());
    shell.envs([("PARLANCE_LISTEN", "127.0.0.1:0"), ("PARLANCE_ADMIN_LISTEN", "127.0.0.1:0")]);
    let done = run_to_end(shell, "");
    // The shell exits with the server's status: 0, or 143 (SIGTERM).
    assert!(matches!(done.code, 0 | 143), "{done:?}");
    assert!(
        done.stdout.contains("user alice added") && done.stdout.contains("DIALECT"),
        "{done:?}"
    );
}

#[test]
fn a_key_file_made_by_the_documented_command_is_taken() {
    let page = repository_file("docs/operating/databases.md");
    let (_, line) = page.split_once("\n```sh\n(umask").unwrap();
    let (line, _) = line.split_once('\n').unwrap();
    let installation = Installation::new(Database::sqlite());
    let mut shell = Command::new("sh");
    shell.args(["-ec", &format!("(umask{line}")]).current_dir(installation.folder().join("keys"));
    assert_eq!(run_to_end(shell, "").code, 0);
    let made = std::fs::read(installation.folder().join("keys/parlance.key")).unwrap();
    installation.start_with_user().log_in(Wire::Axxon);
    assert_eq!(std::fs::read(installation.folder().join("keys/parlance.key")).unwrap(), made);
}

#[test]
fn a_variable_that_is_not_utf_8_panics_nothing() {
    let installation = Installation::new(Database::sqlite());
    let check = |name: &str| {
        let mut command = installation.bare_command(&["config", "check"]);
        command.env(name, OsStr::from_bytes(b"\xff"));
        run_to_end(command, "")
    };
    assert_eq!(check("SOMETHING_ELSE").code, 0);
    let refused = check("PARLANCE_LISTEN");
    assert!(refused.code == 2 && refused.stderr.contains("PARLANCE_LISTEN"), "{refused:?}");
}

#[test]
fn ctrl_c_at_the_password_prompt_restores_the_terminal_echo() {
    let installation = Installation::new(Database::sqlite());
    installation.add_user(USER, PASSWORD);
    let script = "\
import os, pty, sys, termios
pid, tty = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said = b''
while b'Password: ' not in said:
    said += os.read(tty, 1000)
echoes = lambda: bool(termios.tcgetattr(tty)[3] & termios.ECHO)
while echoes():
    pass
os.write(tty, b'\\x03')
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), echoes())
";
    let program = installation.command(&["user", "set-password", USER]);
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(program.get_program()).args(program.get_args());
    command.current_dir(installation.folder());
    let done = run_to_end(command, "");
    assert_eq!(done.stdout.trim(), "130 True", "{done:?}");
}

#[test]
fn user_add_warns_of_names_and_passwords_that_a_wire_cannot_carry() {
    let installation = Installation::new(Database::sqlite());
    let add = |name: &str, password: &str| {
        let added =
            installation.run_command_with_input(&[&ADD_USER[..], &[name]].concat(), password);
        assert_eq!(added.code, 0, "{added:?}");
        added.stderr
    };
    add(USER, PASSWORD);
    assert_eq!(add("plain", PASSWORD), "");
    assert!(add("100%", PASSWORD).contains("1010-cookie"));
    let windows = format!("{PASSWORD}\r\n");
    assert!(add("windows", &windows).contains("control character"));
    let set = installation
        .run_command_with_input(&["user", "set-password", USER, "--password-stdin"], &windows);
    assert!(set.code == 0 && set.stderr.contains("control character"), "{set:?}");

    let role = "9745b902-2a36-4035-bdd6-012e0dae66c0";
    let roles: Vec<String> = (0..257).map(|n| format!("--role={}{n:03}", &role[..33])).collect();
    let many =
        [&ADD_USER[..], &["many"], &roles.iter().map(String::as_str).collect::<Vec<_>>()].concat();
    let refused = installation.run_command_with_input(&many, PASSWORD);
    assert!(refused.code == 1 && refused.stderr.contains("256 roles"), "{refused:?}");
}

#[test]
fn hidden_characters_in_a_name_are_escaped_for_the_terminal() {
    let installation = Installation::new(Database::sqlite());
    installation.add_user("evil\u{202e}gpj", PASSWORD);
    for shown in [
        installation.run_ok(&["user", "list"]),
        installation.run_ok(&["user", "show", "evil\u{202e}gpj"]),
    ] {
        assert!(shown.contains("evil\\u{202e}gpj") && !shown.contains('\u{202e}'), "{shown}");
    }
}

#[test]
fn a_command_that_must_fail_fails_before_it_prompts() {
    let installation = Installation::new(Database::sqlite());
    installation.add_user(USER, PASSWORD);
    // Without a terminal there is no prompt for a password, which would be the next error.
    let nobody = installation.run_command(&["user", "set-password", "nobody"]);
    assert!(nobody.code == 1 && nobody.stderr.contains("no user"), "{nobody:?}");
    let demo = installation.run_command(&["demo"]);
    assert!(demo.code == 2 && demo.stderr.contains("--database"), "{demo:?}");
    let report = installation.run_command(&[
        "conformance",
        "--base",
        "http://127.0.0.1:9",
        "--user",
        USER,
        "--junit",
        "/nonexistent/x.xml",
    ]);
    assert!(report.code == 1 && report.stderr.contains("/nonexistent/x.xml"), "{report:?}");
    assert!(report.stdout.is_empty(), "{report:?}");
}

/// How many calls of a dialect were refused for this reason before a command was built.
#[track_caller]
fn count_refusals(server: &Server, wire: Wire, reason: &str) -> u64 {
    let labels = format!("dialect=\"{}\",action=\"call\",reason=\"{reason}\"", wire.name());
    server.metric(&format!("parlance_refusals_total{{{labels}}}"))
}

#[test]
fn calls_without_a_credential_and_malformed_calls_are_counted() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start();
    for (wire, request) in [
        (Wire::Cluster, Request::get("/api/")),
        (Wire::Polish, Request::get("/login")),
        (Wire::Flask, Request::post("/auth/bump")),
        (Wire::Cookie, Request::post("/v/api/!logout")),
        (Wire::Axxon, Request::get("/v1/authentication/renew")),
    ] {
        server.send(&request);
        assert_eq!(count_refusals(&server, wire, "no_credential"), 1, "{}", wire.name());
    }
    let tampered = Request::get("/v1/authentication/renew").header("Authorization", "Bearer a.b.c");
    server.send(&tampered);
    assert_eq!(count_refusals(&server, Wire::Axxon, "no_credential"), 2);
    server.send(&Request::post("/v1/authentication/authenticate2"));
    assert_eq!(count_refusals(&server, Wire::Axxon, "malformed"), 1);
    server.send(&Request::get("/.well-known/jwks.json"));
    assert_eq!(count_refusals(&server, Wire::Axxon, "malformed"), 1, "the keys are no refusal");
}

#[test]
fn the_cause_of_a_failed_store_is_logged_once_and_not_for_each_request() {
    let installation = Installation::new(Database::sqlite());
    let mut server = installation.start_with_user();
    let file = installation.database.url().strip_prefix("sqlite:").unwrap().to_owned();
    let script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(\"CREATE TRIGGER no BEFORE UPDATE ON users \
                  BEGIN SELECT RAISE(ABORT, 'canary cause'); END\")";
    let mut python = Command::new("python3");
    python.args(["-c", script, &file]);
    assert_eq!(run_to_end(python, "").code, 0);
    for _ in 0..3 {
        assert_eq!(server.send(&Wire::Flask.login_request(USER, PASSWORD)).status, 503);
    }
    server.signal("TERM");
    server.wait_for_exit();
    let log = server.log.wait_for_end();
    let lines = ["canary cause", "not served reason=", "count=1", "count=2"];
    assert_eq!(lines.map(|line| log.matches(line).count()), [1, 2, 1, 1], "{log}");
}

/// Sends bytes that are no HTTP, and waits until the server closes the connection.
fn send_garbage(server: &Server) {
    let mut stream = TcpStream::connect(server.dialects).unwrap();
    stream.write_all(b"\x16\x03\x01 \x00 no HTTP\r\n\r\n").unwrap();
    let _whatever = stream.read_to_end(&mut Vec::new());
}

#[test]
fn protocol_errors_of_clients_are_logged_at_debug_level_only() {
    for (configuration, told) in [("", false), ("log_level = \"debug\"\n", true)] {
        let installation = Installation::with_config(Database::sqlite(), configuration);
        let mut server = installation.start();
        send_garbage(&server);
        server.signal("TERM");
        server.wait_for_exit();
        assert_eq!(
            server.log.wait_for_end().contains("ERROR"),
            told,
            "{}",
            server.log.wait_for_end()
        );
    }
}

#[test]
fn a_name_is_escaped_once_in_a_json_log_and_a_logout_names_its_user() {
    let installation = Installation::with_config(Database::sqlite(), "log_format = \"json\"\n");
    let server = installation.start_with_user();
    server.send(&Wire::Cluster.login_request("a\"b\\c", "x"));
    let record = server.log.wait_for_line("login refused").unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["fields"]["shown"], "a\"b\\c", "{record}");

    server.send(&Request::post("/v/api/!login"));
    let nameless = server.log.wait_for_line("1010-cookie").unwrap();
    let nameless: Value = serde_json::from_str(&nameless).unwrap();
    assert!(nameless["fields"].get("shown").is_none(), "{nameless}");

    let held = server.log_in(Wire::Flask);
    server.log_out(&held);
    let record: Value =
        serde_json::from_str(&server.log.wait_for_line("\"logout\"").unwrap()).unwrap();
    let user: Value =
        serde_json::from_str(&installation.run_ok(&["user", "show", USER, "--json"])).unwrap();
    assert_eq!(record["fields"]["user"], user["id"], "{record}");
}

/// Runs a command with this file as standard output. Returns the exit code and the text on standard error.
fn run_with_stdout(
    installation: &Installation,
    arguments: &[&str],
    input: &str,
    out: &str,
) -> (i32, String) {
    let mut command = installation.command(arguments);
    let out = File::options().write(true).open(out).unwrap();
    command.stdin(Stdio::piped()).stdout(out).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap())
}

/// Every command that writes to standard output, with its standard input. The order satisfies each command's
/// preconditions.
fn commands_that_print(kid: &str) -> Vec<(Vec<&str>, &'static str)> {
    let add = [&ADD_USER[..], &["another"]].concat();
    let set = vec!["user", "set-password", USER, "--password-stdin"];
    let mut all = vec![(add, PASSWORD), (set, PASSWORD)];
    for plain in [
        "--help",
        "--version",
        "user add --help",
        "user list",
        "user list --json",
        "user show csmith",
        "user disable csmith",
        "user enable csmith",
        "user expire-password csmith",
        "user unlock csmith",
        "user set-roles csmith",
        "user set-unrestricted csmith true",
        "user rename csmith carol",
        "user rename carol csmith --json",
        "user import /dev/null --format jsonl",
        "backup copy.db",
        "restore copy.db",
        "session list",
        "session list --json",
        "session revoke --user csmith",
        "session revoke --all",
        "client list",
        "client list --json",
        "client remove known",
        "key list",
        "key list --json",
        "key rotate",
        "dialect list",
        "dialect list --json",
        "config check",
        "config schema",
        "serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0",
        "user remove csmith",
    ] {
        all.push((plain.split(' ').collect(), ""));
    }
    all.push((vec!["key", "revoke", kid], ""));
    all
}

#[test]
fn a_failed_write_to_standard_output_is_an_error_of_every_command() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    installation.run_ok(&["client", "add", "known"]);
    server.kill();
    let keys: Value =
        serde_json::from_str(&installation.run_ok(&["key", "list", "--json"])).unwrap();
    let kid = keys[0]["kid"].as_str().unwrap();
    for (arguments, input) in commands_that_print(kid) {
        let (code, said) = run_with_stdout(&installation, &arguments, input, "/dev/full");
        let told = said.contains("cannot write to standard output: No space left on device");
        assert!(code == 1 && told, "{arguments:?}: {code} {said}");
    }
}

/// Runs a command with standard output on a pipe with a closed read end.
fn run_without_reader(installation: &Installation, arguments: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = installation.command(arguments);
    command.stdout(writer).stderr(Stdio::piped());
    let done = command.spawn().unwrap().wait_with_output().unwrap();
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

#[test]
fn a_closed_reader_of_standard_output_is_no_error() {
    let installation = Installation::new(Database::sqlite());
    installation.add_user(USER, PASSWORD);
    let asked = ["--help", "user list", "user list --json", "session list --json", "config schema"];
    for arguments in asked {
        let arguments: Vec<_> = arguments.split(' ').collect();
        assert_eq!(
            run_without_reader(&installation, &arguments),
            (Some(0), String::new()),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_failed_write_to_standard_error_changes_no_exit_code() {
    let installation = Installation::new(Database::sqlite());
    installation.add_user(USER, PASSWORD);
    let short = [&ADD_USER[..], &["short"]].concat();
    for (arguments, code) in
        [(vec!["user", "show", "nobody"], 1), (vec!["nonsense"], 2), (short, 0)]
    {
        let mut command = installation.command(&arguments);
        let full = File::options().write(true).open("/dev/full").unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(full);
        let mut child = command.spawn().unwrap();
        let _closed = child.stdin.take().unwrap().write_all(b"short\n");
        assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn a_service_client_is_not_created_if_its_secret_was_not_printed() {
    let installation = Installation::new(Database::sqlite());
    installation.add_user(USER, PASSWORD);
    for format in [&[][..], &["--json"]] {
        let add = [&["client", "add", "proxy"][..], format].concat();
        let (code, said) = run_with_stdout(&installation, &add, "", "/dev/full");
        assert!(code == 1 && said.contains("No space left on device"), "{code} {said}");
        // A pipe with a closed read end fails likewise.
        let (code, said) = run_without_reader(&installation, &add);
        assert!(code == Some(1) && said.contains("its reader has gone"), "{said}");
        assert_eq!(installation.run_ok(&["client", "list", "--json"]).trim(), "[]");
    }
    installation.run_ok(&["client", "add", "proxy"]);
    let again = installation.run_command(&["client", "add", "proxy"]);
    assert!(again.code == 1 && again.stdout.is_empty(), "no secret for nothing: {again:?}");
}
