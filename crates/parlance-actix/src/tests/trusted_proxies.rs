//! Claims about the client's address behind trusted proxies.

use std::net::IpAddr;

use crate::TrustedProxies;

#[track_caller]
fn check(peer: &str, forwarded_for: &[&str], client: &str) {
    let networks = ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"];
    let proxies =
        TrustedProxies::new(networks.iter().map(|network| network.parse().unwrap()).collect());
    let peer: IpAddr = peer.parse().unwrap();
    let found = proxies.client_address(peer, forwarded_for.iter().map(|line| line.as_bytes()));
    assert_eq!(found.to_string(), client, "{forwarded_for:?}");
}

#[test]
fn forwarded_headers_of_an_untrusted_peer_are_ignored() {
    check("192.0.2.1", &["198.51.100.7"], "192.0.2.1");
}

#[test]
fn a_mapped_address_is_the_plain_one() {
    check("::ffff:192.0.2.1", &[], "192.0.2.1");
    check("::ffff:127.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7");
}

#[test]
fn the_first_untrusted_address_from_the_right_is_the_client() {
    check("127.0.0.1", &["198.51.100.7"], "198.51.100.7");
    check("127.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7");
    check("127.0.0.1", &["203.0.113.9, 198.51.100.7, 10.1.1.1"], "198.51.100.7");
    check("127.0.0.1", &["203.0.113.9", "198.51.100.7", "10.1.1.1,fd00::1"], "198.51.100.7");
}

#[test]
fn ports_brackets_and_zones_are_dropped() {
    check("127.0.0.1", &["198.51.100.7:4711"], "198.51.100.7");
    check("127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1");
    check("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
    check("127.0.0.1", &["fe80::1%eth0"], "fe80::1");
}

#[test]
fn a_malformed_hop_leaves_the_last_good_one() {
    check("127.0.0.1", &["198.51.100.7, unknown"], "127.0.0.1");
    check("127.0.0.1", &["203.0.113.9, nonsense, 10.1.1.1"], "10.1.1.1");
    check("127.0.0.1", &["[2001:db8::1]x"], "127.0.0.1");
    check("127.0.0.1", &["198.51.100.7:99999"], "127.0.0.1");
    check("127.0.0.1", &[""], "127.0.0.1");
}

#[test]
fn only_proxies_all_the_way_is_the_leftmost() {
    check("127.0.0.1", &["10.1.1.1, 10.2.2.2"], "10.1.1.1");
}

#[test]
fn a_network_that_is_written_as_mapped_is_the_plain_one() {
    let trusts = |network: &str, address: &str| {
        TrustedProxies::new(vec![network.parse().unwrap()]).trusts(address.parse().unwrap())
    };
    for address in ["10.1.2.3", "::ffff:10.1.2.3"] {
        assert!(trusts("::ffff:10.0.0.0/104", address), "{address}");
        assert!(trusts("10.0.0.0/8", address), "{address}");
        assert!(!trusts("::ffff:127.0.0.1/128", address), "{address}");
    }
    assert!(trusts("::ffff:127.0.0.1/128", "127.0.0.1"));
    assert!(trusts("::1/128", "::1") && !trusts("::/0", "127.0.0.1"));
}
