//! Tests of the clock that counts.

use futures_executor::block_on;
use parlance_core::ports::Store as _;

use crate::{Options, open};

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_has_no_server_time() {
    let fresh = super::sqlite::migrated_database();
    assert_eq!(block_on(open(&fresh.url, Options::default()).unwrap().time()), Ok(None));
}

#[cfg(feature = "postgres")]
#[test]
fn postgresql_time_is_the_time_of_the_server() {
    use diesel::dsl::sql;
    use diesel::sql_types::BigInt;
    use diesel::{Connection as _, PgConnection, RunQueryDsl as _};

    let fresh = super::postgres::migrated_database();
    let store = open(&fresh.url, Options::default()).unwrap();
    let mut conn = PgConnection::establish(&fresh.url).unwrap();
    let mut server = || -> i64 {
        let seconds = sql::<BigInt>("floor(extract(epoch from clock_timestamp()))::bigint");
        diesel::select(seconds).get_result(&mut conn).unwrap()
    };
    let before = server();
    let time = block_on(store.time()).unwrap().unwrap().seconds();
    assert!((before..=server()).contains(&time), "{time} is not just after {before}");
}
