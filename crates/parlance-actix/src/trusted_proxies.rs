//! The client's address behind trusted proxies.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::{IpNet, Ipv4Net};

/// Trusted proxies: their `X-Forwarded-For` and `X-Forwarded-Proto` are believed. Empty by default: no proxy is
/// trusted. Clones share the list: see [`Self::replace`].
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<ArcSwap<Vec<IpNet>>>);

impl TrustedProxies {
    /// Trusts the proxies of these networks. A network in mapped form, `::ffff:10.0.0.0/104`, equals the plain one.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        let networks: Vec<_> = networks.into_iter().map(canonical).collect();
        Self(Arc::new(ArcSwap::from_pointee(networks)))
    }

    /// From now on trusts the same proxies as `other`, here and in every clone of this.
    pub fn replace(&self, other: &Self) {
        self.0.store(other.0.load_full());
    }

    /// Whether this is the address of a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.load().iter().any(|network| network.contains(&address))
    }

    /// The client's address: the socket's peer, unless the peer is a trusted proxy. Then the forwarded hops are walked
    /// from right to left to the first that is no trusted proxy; a hop that cannot be read ends the walk at the last
    /// good one. `::ffff:a.b.c.d` becomes `a.b.c.d`, so that a dual-stack listener knows its clients again.
    pub fn client_address<'v>(
        &self,
        peer: IpAddr,
        forwarded_for: impl Iterator<Item = &'v [u8]>,
    ) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        let lines: Vec<&[u8]> = forwarded_for.collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(|&byte| byte == b',')) {
            let Some(address) = std::str::from_utf8(hop).ok().and_then(parse_hop) else { break };
            client = address;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }
}

/// Gives a network its plain form: addresses are compared in that form.
fn canonical(network: IpNet) -> IpNet {
    let plain = || {
        let IpNet::V6(mapped) = network else { return None };
        let address = mapped.addr().to_ipv4_mapped()?;
        Ipv4Net::new(address, mapped.prefix_len().checked_sub(96)?).ok()
    };
    plain().map_or(network, IpNet::V4)
}

/// Reads `a.b.c.d`, `a.b.c.d:port`, `v6`, `[v6]` or `[v6]:port`, with or without a zone.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = match hop.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']')?;
            let port = after.strip_prefix(':');
            if !(after.is_empty() || port.is_some_and(|port| port.parse::<u16>().is_ok())) {
                return None;
            }
            inside
        }
        None => match hop.split_once(':') {
            Some((host, port)) if !port.contains(':') => {
                port.parse::<u16>().ok()?;
                host
            }
            _ => hop,
        },
    };
    let without_zone = bare.split_once('%').map_or(bare, |(address, _)| address);
    without_zone.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}
