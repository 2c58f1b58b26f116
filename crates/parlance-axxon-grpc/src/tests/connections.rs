//! A connection over which nothing comes.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::advance;

use crate::connection::{Connection, SILENCE};

// The clock stands but for `advance`, and jumps to the next timer when all wait for one.
#[tokio::test(start_paused = true)]
async fn a_silent_connection_ends_and_one_that_says_something_does_not() {
    let (mut client, server) = duplex(16);
    let mut connection = Connection::new(server, None);
    for _ in 0..3 {
        advance(SILENCE * 2 / 3).await;
        client.write_all(b"x").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'x');
    }
    let silent = connection.read_u8().await.unwrap_err();
    assert_eq!(silent.kind(), ErrorKind::TimedOut);
}
