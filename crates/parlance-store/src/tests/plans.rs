//! Tests of the query plans of PostgreSQL.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::sql_types::Text;
use diesel::{QueryableByName, RunQueryDsl as _, sql_query};

use super::postgres::migrated_database;
use crate::connection::{ConnectionSetup, build_pool};
use crate::url::Target;

#[derive(QueryableByName)]
struct PlanLine {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    line: String,
}

#[test]
fn many_sessions_are_joined_with_their_users_one_by_one_and_not_with_all_users() {
    const INSERT_USERS_AND_SESSIONS: &str = "\
        INSERT INTO users (id, name, canonical, enabled, password_expired, unrestricted, roles, created_at, epoch, version) \
        SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'), n, n, true, false, false, '', 0, 0, 0 FROM generate_series(1, 10000) n; \
        INSERT INTO sessions (digest, id, dialect, user_id, epoch, created_at, enabled, version) \
        SELECT decode(lpad(to_hex(n), 64, '0'), 'hex'), decode(lpad(to_hex(n), 32, '0'), 'hex'), 'd', \
        decode(lpad(to_hex(n), 32, '0'), 'hex'), 0, 0, true, 0 FROM generate_series(1, 10000) n; \
        ANALYZE users, sessions";
    let fresh = migrated_database();
    let digests: Vec<_> = (1..=512).map(|number| format!("'\\x{number:064x}'")).collect();
    let query = format!(
        "EXPLAIN SELECT * FROM sessions JOIN users ON users.id = sessions.user_id WHERE digest IN ({})",
        digests.join(",")
    );
    let connect = |setup: ConnectionSetup| {
        build_pool(Target::parse(&fresh.url).unwrap(), setup, 1, Duration::from_secs(1))
            .unwrap()
            .get()
            .unwrap()
    };
    connect(ConnectionSetup::default()).conn.batch_execute(INSERT_USERS_AND_SESSIONS).unwrap();
    let plan = |setup: ConnectionSetup| {
        let lines: Vec<PlanLine> = sql_query(&query).load(&mut connect(setup).conn).unwrap();
        lines.into_iter().map(|line| line.line).collect::<String>()
    };
    let (by_key, as_it_comes) =
        (plan(ConnectionSetup::default()), plan(ConnectionSetup::default().for_reports()));
    assert!(by_key.contains("Nested Loop") && !by_key.contains("Seq Scan"), "{by_key}");
    assert!(as_it_comes.contains("Hash Join"), "{as_it_comes}");
}
