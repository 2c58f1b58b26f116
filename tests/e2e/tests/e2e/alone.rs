//! Each dialect compiled in alone: it serves its own paths, and nobody else's.

use crate::harness::{Database, PASSWORD, Site, USER, Verdict, Wire, binary};

#[test]
fn a_dialect_compiled_in_alone_serves_its_own_wire_and_no_other() {
    for wire in Wire::ALL {
        let program = binary::folder().join(format!("parlance-{}", wire.name()));
        {
            let _lock = binary::lock("build");
            binary::build(
                &["--no-default-features", "--features", &format!("sqlite,{}", wire.name())],
                &program,
            );
        }
        let site = Site::of(&program, Database::sqlite(), "");
        let server = site.start_with_user();
        let held = server.log_in(wire);
        assert_eq!(server.check(&held), Verdict::Yes);
        assert_eq!(server.log_out(&held), Verdict::Yes);
        assert_eq!(server.check(&held), Verdict::No);
        for other in Wire::ALL {
            if other != wire {
                let answer = server.send(&other.login(USER, PASSWORD));
                assert_eq!(
                    answer.status,
                    404,
                    "{} where only {} is compiled in",
                    other.name(),
                    wire.name()
                );
            }
        }
        let listed = site.must(&["dialect", "list", "--json"]);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&listed).unwrap().as_array().unwrap().len(),
            1,
            "{listed}"
        );
        let file = site.folder().join("other.toml");
        std::fs::write(&file, "[dialects.esperanto]\nlifetime = \"10m\"\n").unwrap();
        let unknown = crate::harness::server::run(
            site.bare_command(&["config", "check", "--config", file.to_str().unwrap()]),
            "",
        );
        assert!(unknown.code == 2 && unknown.stderr.contains(wire.name()), "{unknown:?}");
        let grpc = site.operate(&["serve", "--axxon-grpc-listen", "127.0.0.1:0"]);
        assert_eq!(grpc.code, 2, "gRPC is compiled in on its own word alone: {grpc:?}");
    }
    // What stands in `target` is not to be the last of these.
    let _lock = binary::lock("build");
    binary::build(binary::FLAGS, &binary::folder().join("parlance"));
}
