//! Claims about the connection limit of a listener.

use crate::connections::{ConnectionLimit, ConnectionPolicy};

/// Asserts that `let_in` of these connections, made one after the other, are accepted; once all have ended, as many
/// again.
#[track_caller]
fn check(total: u32, per_address: u32, from: &[&str], let_in: usize) {
    let policy = ConnectionPolicy { total, per_address };
    let proxy = "198.51.100.1";
    let limit = ConnectionLimit::new(policy).with_exempt(move |peer| peer.to_string() == proxy);
    for _ in 0..2 {
        let enter = |address: &&str| limit.try_acquire(address.parse().unwrap());
        let places: Vec<_> = from.iter().filter_map(enter).collect();
        assert_eq!(places.len(), let_in, "{policy:?} {from:?}");
    }
}

#[test]
fn each_address_has_its_own_connection_limit_and_an_ipv6_64_counts_as_one() {
    check(100, 2, &["192.0.2.1"; 3], 2);
    check(100, 2, &["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"], 4);
    check(100, 2, &["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"], 2);
    check(100, 2, &["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"], 3);
}

#[test]
fn one_address_holds_at_most_half_of_all_connections_and_a_proxy_any_number() {
    check(4, 100, &["192.0.2.1"; 5], 2);
    check(4, 100, &["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"], 4);
    check(1, 100, &["192.0.2.1"; 2], 1);
    check(100, 2, &["198.51.100.1"; 50], 50);
    check(4, 2, &["198.51.100.1"; 5], 4);
}
