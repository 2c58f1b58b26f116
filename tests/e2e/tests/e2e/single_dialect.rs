//! A build with one dialect serves the paths of this dialect alone.

use crate::harness::{Database, Installation, PASSWORD, USER, Verdict, Wire, binary};

#[test]
fn a_dialect_compiled_in_alone_serves_its_own_wire_and_no_other() {
    for wire in Wire::ALL {
        let program = binary::target_folder().join(format!("parlance-{}", wire.name()));
        {
            let _lock = binary::lock("build");
            binary::build(
                &["--no-default-features", "--features", &format!("sqlite,{}", wire.name())],
                &program,
            );
        }
        let installation = Installation::of_program(&program, Database::sqlite(), "");
        let server = installation.start_with_user();
        let held = server.log_in(wire);
        assert_eq!(server.use_session(&held), Verdict::Accepted);
        assert_eq!(server.log_out(&held), Verdict::Accepted);
        assert_eq!(server.use_session(&held), Verdict::Refused);
        for other in Wire::ALL {
            if other != wire {
                let answer = server.send(&other.login_request(USER, PASSWORD));
                assert_eq!(
                    answer.status,
                    404,
                    "{} where only {} is compiled in",
                    other.name(),
                    wire.name()
                );
            }
        }
        let listed = installation.run_ok(&["dialect", "list", "--json"]);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&listed).unwrap().as_array().unwrap().len(),
            1,
            "{listed}"
        );
        let file = installation.folder().join("other.toml");
        std::fs::write(&file, "[dialects.esperanto]\nlifetime = \"10m\"\n").unwrap();
        let unknown = crate::harness::server::run_to_end(
            installation.bare_command(&["config", "check", "--config", file.to_str().unwrap()]),
            "",
        );
        assert!(unknown.code == 2 && unknown.stderr.contains(wire.name()), "{unknown:?}");
        let grpc = installation.run_command(&["serve", "--axxon-grpc-listen", "127.0.0.1:0"]);
        assert_eq!(grpc.code, 2, "gRPC is compiled in on its own word alone: {grpc:?}");
    }
    // Restores the full build in `target`, since the last build would stay there.
    let _lock = binary::lock("build");
    binary::build(binary::FLAGS, &binary::target_folder().join("parlance"));
}
