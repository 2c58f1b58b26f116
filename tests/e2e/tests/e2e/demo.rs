//! `parlance demo`: a newcomer pastes the printed commands into a shell.

use std::process::Command;
use std::time::Duration;

use crate::harness::server::run_to_end;
use crate::harness::{Database, Installation, Server, Stopwatch, clock};

/// The expected outputs of each dialect's commands, in this order: use of a session, logout, refusal.
const EXPECTED: [(&str, &[&str]); 5] = [
    ("1010-cookie", &["\"epw\": \"_______", "No such call", "Logged out", "Access denied"]),
    (
        "axxon-jsonrpc",
        &[
            "AUTHENTICATE_CODE_OK",
            "AUTHENTICATE_CODE_OK",
            "\"error_code\": \"OK\"",
            "AUTHENTICATE_CODE_WRONG_CREDENTIALS",
        ],
    ),
    (
        "cluster-api",
        &["\"status\": \"success\"", "\"status\": \"success\"", "Token expired please log in."],
    ),
    (
        "flask-usertoken",
        &["\"token\":", "lastLoginTime", "{\"success\":true}", "Authorization failed"],
    ),
    ("polish-longtoken", &["\"user\":\"demo\"", "\"user\":\"demo\"", "204", "Token not found"]),
];

/// The printed blocks, each with the name of its dialect.
fn blocks(printed: &str) -> Vec<(&str, &str)> {
    let end = printed.find("parlance ready: ").unwrap();
    printed[..end].split("\n# ").skip(1).map(|block| block.split_once('\n').unwrap()).collect()
}

#[test]
fn every_printed_block_works_as_it_stands_in_every_shell() {
    let installation = Installation::new(Database::sqlite());
    let (mut server, printed) = demo(&installation);
    let blocks = blocks(&printed);
    assert_eq!(
        blocks.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        EXPECTED.map(|(name, _)| name),
        "{printed}"
    );
    for (shell, flags) in [("bash", &["--norc"][..]), ("sh", &[]), ("bash", &["--norc", "-i"])] {
        for ((dialect, block), (_, expected)) in blocks.iter().zip(EXPECTED) {
            let mut command = Command::new(shell);
            command
                .args(flags)
                .current_dir(installation.folder())
                .env("NO_PROXY", "*")
                .env_remove("PROMPT_COMMAND");
            let output = run_to_end(command, block);
            let mut rest = output.stdout.as_str();
            for part in expected {
                let found = rest.split_once(part);
                rest = found
                    .unwrap_or_else(|| {
                        panic!(
                            "{dialect} in {shell} {flags:?}: no {part:?} in\n{}\n{}\nof\n{block}",
                            output.stdout, output.stderr
                        )
                    })
                    .1;
            }
        }
    }
    server.signal("INT");
    assert_eq!(
        server.wait_for_exit().code(),
        Some(0),
        "Ctrl-C is a good end: {}",
        server.log.text()
    );
    let left: Vec<_> = std::fs::read_dir(installation.folder().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(server.log.text(), "", "nothing but the commands is printed");
}

#[test]
fn the_demo_is_ready_soon_and_leaves_a_busy_port_alone() {
    let installation = Installation::new(Database::sqlite());
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let watch = Stopwatch::start();
    let (server, printed) = start(&installation, &busy.local_addr().unwrap().to_string());
    assert!(watch.elapsed() < Duration::from_secs(20), "{:?}", watch.elapsed());
    assert_ne!(server.dialects, busy.local_addr().unwrap());
    assert!(printed.contains(&server.base_url()), "{printed}");
    assert_eq!(clock::wait_for("readiness", || Some(server.get_admin("/readyz").status)), 200);
}

fn demo(installation: &Installation) -> (Server, String) {
    start(installation, "127.0.0.1:0")
}

/// Runs the command of the README, with a temporary directory of its own.
fn start(installation: &Installation, listen: &str) -> (Server, String) {
    let temporary = installation.folder().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let mut command =
        installation.bare_command(&["demo", "--listen", listen, "--admin-listen", "127.0.0.1:0"]);
    command.env("TMPDIR", temporary);
    Server::spawn(command)
}
