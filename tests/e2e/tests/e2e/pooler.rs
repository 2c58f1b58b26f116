//! PgBouncer as a connection pooler between the program and PostgreSQL.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::clock::wait_for;
use crate::harness::{Database, Installation, Verdict};

/// A running PgBouncer, killed on drop.
struct PgBouncer {
    address: SocketAddr,
    database: String,
    child: Child,
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts PgBouncer before this database with this pooling mode.
    fn start(database: &Database, mode: &str) -> Self {
        let url = database.url();
        let (_, place) = url.split_once('@').unwrap();
        let (server, name) = place.split_once('/').unwrap();
        let (host, port) = server.split_once(':').unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n{name} = host={host} port={port} dbname={name} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {mode}\n",
            address.port()
        );
        fs::write(&file, text).unwrap();
        // PgBouncer refuses to run as root.
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut command = if is_root {
            for path in [folder.path(), &file] {
                let owned = Command::new("chown").arg("postgres").arg(path).status().unwrap();
                assert!(owned.success(), "there is no system user postgres");
            }
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "pgbouncer"]);
            command
        } else {
            Command::new("pgbouncer")
        };
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").arg("-q").arg(&file).current_dir("/");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("PgBouncer to listen", || TcpStream::connect(address).ok());
        Self { address, database: name.to_owned(), child, _folder: folder }
    }

    fn url(&self) -> String {
        format!("postgres://postgres@{}/{}", self.address, self.database)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

#[test]
fn transaction_pooling_is_refused_with_a_reason_and_keeps_no_lock() {
    let database = Database::postgres();
    let bouncer = PgBouncer::start(&database, "transaction");
    let installation = Installation::new(Database::External(bouncer.url()));
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    // An empty database first, then one with tables: the refusal is about the pooler.
    for made in [false, true] {
        if made {
            drop(Installation::new(Database::External(database.url())).start());
        }
        for arguments in [&serve[..], &["user", "list"], &["session", "revoke", "--all"]] {
            let output = installation.run_command(arguments);
            assert_eq!(output.code, 1, "{output:?}");
            let says = "a connection pooler (such as PgBouncer) gives each transaction another server process";
            assert!(output.stderr.contains(says), "{output:?}");
            assert!(output.stderr.contains("pool_mode = session"), "{output:?}");
            assert!(!output.stderr.contains("no tables"), "{output:?}");
        }
        let tables =
            database.execute("SELECT count(*) > 0 FROM pg_tables WHERE schemaname = 'public'");
        assert_eq!(tables.trim(), if made { "t" } else { "f" });
        let locks = database.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'");
        assert_eq!(locks.trim(), "0");
    }
}

#[test]
fn every_wire_works_with_session_pooling() {
    let database = Database::postgres();
    let bouncer = PgBouncer::start(&database, "session");
    let installation = Installation::new(Database::External(bouncer.url()));
    let server = installation.start_with_user();
    let held = server.log_in_everywhere();
    server.expect_each_use(&held, &Verdict::Accepted, "behind PgBouncer");
    installation.run_ok(&["session", "revoke", "--all"]);
    server.expect_each_use(&held, &Verdict::Refused, "once they are ended");
}

#[test]
fn a_node_holds_no_more_than_four_connections() {
    let installation = Installation::new(Database::postgres());
    let server = installation.start_with_user();
    let held = server.log_in_everywhere();
    server.expect_each_use(&held, &Verdict::Accepted, "at first");
    assert_eq!(server.get_admin("/readyz").status, 200);
    assert_eq!(server.get_admin("/metrics").status, 200);
    let own = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'parlance'";
    // Connections of the start and of the commands end by themselves.
    wait_for("no more than four", || {
        let count: usize = installation.database.execute(own).trim().parse().unwrap();
        (1..=4).contains(&count).then_some(())
    });
}
