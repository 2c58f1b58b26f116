//! Key rotation on two servers that share a database.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::harness::clock::wait_for;
use crate::harness::server::{run_to_end, wrap_command};
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Server, Stopwatch, USER, Verdict, Wire,
    on_both_databases, sleep,
};

on_both_databases!(
    keys_rotate_under_load_on_two_servers_and_no_valid_token_is_refused,
    a_key_that_is_rotated_by_hand_signs_on_both_servers,
    a_revoked_key_is_refused_on_both_servers_within_seconds,
    a_revoked_key_is_gone_from_a_node_whose_key_file_cannot_be_read,
);

/// The `kid` in a token's header.
fn kid(held: &HeldSession) -> String {
    let header = held.secret.split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// `key list --json`, as pairs of `kid` and state.
#[track_caller]
fn keys(installation: &Installation) -> Vec<(String, String)> {
    let text = installation.run_ok(&["key", "list", "--json"]);
    let keys: Value = serde_json::from_str(&text).unwrap();
    let member = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    keys.as_array().unwrap().iter().map(|key| (member(key, "kid"), member(key, "state"))).collect()
}

fn publishes(server: &Server, kid: &str) -> bool {
    let pages = [
        server.get_admin("/.well-known/jwks.json"),
        server.send(&crate::harness::Request::get("/.well-known/jwks.json")),
    ];
    let [admin, wire] = pages.map(|page| page.text().contains(kid));
    admin && wire
}

fn keys_rotate_under_load_on_two_servers_and_no_valid_token_is_refused(database: Database) {
    // A token is certain to be valid for one second less than its lifetime, since `exp` is a whole second.
    let (life, good) = (Duration::from_secs(9), Duration::from_secs(8));
    let configuration = "key_poll = \"1s\"\nkey_rotation = \"12s\"\n[dialects.axxon-jsonrpc]\nlifetime = \"9s\"\nissuer = \"p\"\n";
    assert!(good < life);
    let installation = Installation::with_config(database, configuration);
    let here = installation.start_with_user();
    let there = installation.start();
    let mut signers = BTreeSet::new();
    let mut tokens: Vec<(Stopwatch, HeldSession)> = Vec::new();
    let mut judged = 0;
    while signers.len() < 3 {
        for server in [&here, &there] {
            let watch = Stopwatch::start();
            let held = server.log_in(Wire::Axxon);
            signers.insert(kid(&held));
            tokens.push((watch, held));
        }
        for (watch, held) in &tokens {
            for server in [&here, &there] {
                let verdict = server.use_session(held);
                // Counts only if the token was certainly valid at the time of the answer.
                if watch.elapsed() < good {
                    assert_eq!(verdict, Verdict::Accepted, "after {:?}", watch.elapsed());
                    judged += 1;
                }
            }
        }
        tokens.retain(|(watch, _)| watch.elapsed() < good);
        let crowd = tokens.len().saturating_sub(40);
        tokens.drain(..crowd);
        sleep(Duration::from_millis(100));
    }
    assert!(judged > 50, "{judged}");
    // The first key is dropped once no token that the key has signed can be valid.
    let first =
        signers.iter().find(|kid| keys(&installation).iter().all(|(other, _)| other != *kid));
    if let Some(gone) = first {
        wait_for("a dropped key to be published no more", || {
            (!publishes(&here, gone) && !publishes(&there, gone)).then_some(())
        });
    }
}

fn a_key_that_is_rotated_by_hand_signs_on_both_servers(database: Database) {
    let installation = Installation::with_config(
        database,
        "key_poll = \"1s\"\n[dialects.axxon-jsonrpc]\nissuer = \"p\"\n",
    );
    let here = installation.start_with_user();
    let there = installation.start();
    let old = here.log_in(Wire::Axxon);
    assert_eq!(keys(&installation), [(kid(&old), "active".to_owned())]);
    let said = installation.run_ok(&["key", "rotate", "--json"]);
    let made: Value = serde_json::from_str(&said).unwrap();
    let new = made["keys"][0]["kid"].as_str().unwrap().to_owned();
    assert_eq!(made["keys"][0]["purpose"], "axxon-jsonrpc");
    assert_eq!(made["done"], "key.rotate");
    let servers = [&here, &there];
    wait_for("both to sign with it", || {
        let signs = |server: &&Server| kid(&server.log_in(Wire::Axxon)) == new;
        servers.iter().all(signs).then_some(())
    });
    for server in servers {
        assert!(publishes(server, &kid(&old)) && publishes(server, &new));
        assert_eq!(
            server.use_session(&old),
            Verdict::Accepted,
            "what the old one has signed is good"
        );
        let turned = format!("{} retired, {new} active", kid(&old));
        let record = server.log.wait_for_line(&turned).unwrap();
        assert!(record.contains("INFO signing keys changed purpose=\"axxon-jsonrpc\""), "{record}");
    }
    assert_eq!(
        keys(&installation),
        [(kid(&old), "retired".to_owned()), (new, "active".to_owned())]
    );
}

fn a_revoked_key_is_refused_on_both_servers_within_seconds(database: Database) {
    let installation = Installation::with_config(
        database,
        "key_poll = \"1s\"\n[dialects.axxon-jsonrpc]\nissuer = \"p\"\n",
    );
    let here = installation.start_with_user();
    let there = installation.start();
    let old = here.log_in(Wire::Axxon);
    for (arguments, code, says) in [
        (
            &["key", "revoke", "no-such-key"][..],
            1,
            "there is no key of that id; `parlance key list`",
        ),
        (&["key", "revoke", "-no-such-key"], 1, "there is no key of that id; `parlance key list`"),
        (&["key", "rotate", "--purpose", "assertion"], 1, "there is no signing key to rotate"),
        (&["key", "rotate", "--purpose", "cookie"], 2, "axxon-jsonrpc, assertion"),
        (&["key", "revoke"], 2, "KID"),
    ] {
        let output = installation.run_command(arguments);
        assert_eq!(output.code, code, "{output:?}");
        assert!(output.stderr.contains(says), "{output:?}");
    }
    installation.run_ok(&["key", "revoke", &kid(&old)]);
    for server in [&here, &there] {
        wait_for("the revoked key to be refused", || {
            (server.use_session(&old) == Verdict::Refused).then_some(())
        });
        assert!(!publishes(server, &kid(&old)));
    }
    let new = here.log_in(Wire::Axxon);
    assert_ne!(kid(&new), kid(&old));
    assert_eq!(
        [here.use_session(&new), there.use_session(&new)],
        [Verdict::Accepted, Verdict::Accepted]
    );
    assert_eq!(keys(&installation), [(kid(&new), "active".to_owned())]);
}

fn a_revoked_key_is_gone_from_a_node_whose_key_file_cannot_be_read(database: Database) {
    let installation = Installation::with_config(
        database,
        "key_poll = \"1s\"\nassertion_issuer = \"https://p.test\"\n[dialects.axxon-jsonrpc]\nissuer = \"p\"\n",
    );
    let well = installation.start_with_user();
    // A node's own copy of the key file, private at first. Made readable for others, the file is refused like a
    // missing one.
    let (file, copy) =
        (installation.folder().join("keys/parlance.key"), installation.folder().join("copy.key"));
    fs::copy(&file, &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o600)).unwrap();
    let ill = installation.start_with(&[("PARLANCE_KEY_FILE", copy.to_str().unwrap())]);
    let old = ill.log_in(Wire::Axxon);
    assert_eq!(
        [well.use_session(&old), ill.use_session(&old)],
        [Verdict::Accepted, Verdict::Accepted]
    );
    fs::set_permissions(&copy, Permissions::from_mode(0o644)).unwrap();
    installation.run_ok(&["key", "revoke", &kid(&old)]);
    wait_for("the revoked key to be refused and published no more", || {
        let gone = |server: &&Server| {
            server.use_session(&old) == Verdict::Refused && !publishes(server, &kid(&old))
        };
        [&ill, &well].iter().all(gone).then_some(())
    });
    // The node signs nothing and gives the reason in `/readyz`. The other node goes on.
    let ready = ill.get_admin("/readyz");
    assert_eq!(ready.status, 503);
    let why = ready.text();
    assert!(why.contains("no key signs for axxon-jsonrpc: the key file "), "{why}");
    assert!(why.contains("has mode 0644"), "{why}");
    assert_eq!(ill.refused_login(Wire::Axxon, USER, PASSWORD), Verdict::Unavailable);
    assert_eq!(well.get_admin("/readyz").status, 200);
    let new = well.log_in(Wire::Axxon);
    assert_eq!(well.use_session(&new), Verdict::Accepted);
    // Once the file is readable again the node works like the others.
    fs::set_permissions(&copy, Permissions::from_mode(0o600)).unwrap();
    wait_for("readiness", || (ill.get_admin("/readyz").status == 200).then_some(()));
    assert_eq!(ill.use_session(&new), Verdict::Accepted);
}

#[test]
fn a_lost_or_stolen_key_file_is_replaced_by_the_documented_commands() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operating/databases.md");
    let manual = fs::read_to_string(manual).unwrap();
    let (_, block) = manual.split_once("\n```sh\nmv parlance.key").unwrap();
    let (rest_of_mv, block) = block.split_once('\n').unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let (without_revoking, _) = block.split_once("parlance session revoke").unwrap();
    let stolen = format!("mv parlance.key{rest_of_mv}\n{block}");
    for (script, lost) in [(without_revoking, true), (stolen.as_str(), false)] {
        let configuration =
            "assertion_issuer = \"https://p\"\n[dialects.axxon-jsonrpc]\nissuer = \"p\"\n";
        let installation = Installation::with_config(Database::sqlite(), configuration);
        let server = installation.start_with_user();
        installation.run_ok(&["key", "rotate"]);
        let (token, other) = (server.log_in(Wire::Axxon), server.log_in(Wire::Flask));
        server.kill();
        let before: BTreeSet<_> = keys(&installation).into_iter().map(|(kid, _)| kid).collect();
        assert_eq!(before.len(), 4, "two of each purpose");
        let folder = installation.folder().join("keys");
        let file = folder.join("parlance.key");
        let old = fs::read(&file).unwrap();
        if lost {
            fs::remove_file(&file).unwrap();
            let refused = run_to_end(installation.serve_command(), "");
            assert!(refused.code == 1 && refused.stderr.contains("key file"), "{refused:?}");
        }

        let bare = installation.bare_command(&[]);
        let program = bare.get_program().to_str().unwrap();
        let script = format!("parlance() {{ {program} \"$@\"; }}\n{script}");
        let mut shell = wrap_command(&["sh", "-ec", &script], &bare);
        shell.current_dir(&folder);
        shell
            .env("PARLANCE_CONFIG", installation.config())
            .env("PARLANCE_DATABASE", installation.database.url());
        let done = run_to_end(shell, "");
        assert!(done.code == 0 && done.stderr.is_empty(), "{done:?}");

        assert_ne!(fs::read(&file).unwrap(), old);
        let server = installation.start();
        let now: BTreeSet<_> = keys(&installation).into_iter().map(|(kid, _)| kid).collect();
        assert!(now.len() == 2 && now.is_disjoint(&before), "{now:?} {before:?}");
        assert_eq!(server.use_session(&token), Verdict::Refused, "what an old key has signed");
        assert_eq!(
            server.use_session(&other),
            if lost { Verdict::Accepted } else { Verdict::Refused }
        );
        assert_eq!(server.use_session(&server.log_in(Wire::Axxon)), Verdict::Accepted);
    }
}
