//! Tests of the idle timeout: connections without traffic.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::{advance, timeout};

use crate::connection::{Connection, IDLE_TIMEOUT, PREFACE_TIMEOUT};

// The clock stands still but for `advance`, and jumps to the next timer when all tasks wait for one.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_an_active_one_is_not() {
    let (mut client, server) = duplex(64);
    let mut connection = Connection::new(server, None);
    let mut preface = [0; 24];
    client.write_all(&preface).await.unwrap();
    connection.read_exact(&mut preface).await.unwrap();
    for _ in 0..3 {
        advance(IDLE_TIMEOUT * 2 / 3).await;
        client.write_all(b"x").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'x');
    }
    let silent = connection.read_u8().await.unwrap_err();
    assert_eq!(silent.kind(), ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_whole_preface_in_time_is_closed() {
    for dribbled in [0, 1, 23] {
        let (mut client, server) = duplex(64);
        let mut connection = Connection::new(server, None);
        for _ in 0..dribbled {
            advance(PREFACE_TIMEOUT / 24).await;
            client.write_all(b"x").await.unwrap();
            assert_eq!(connection.read_u8().await.unwrap(), b'x');
        }
        let silent = timeout(PREFACE_TIMEOUT * 2, connection.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::TimedOut, "after {dribbled} bytes");
    }
}
