use std::net::IpAddr;

use ipnet::IpNet;

/// The client's address: the peer's, or, when the peer is a trusted proxy, the rightmost address in `X-Forwarded-For` that is not one. What lies further
/// left was written by the client and proves nothing. A malformed header counts as none.
pub fn client_address(peer: IpAddr, forwarded_for: &[&str], trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
    let peer = peer.to_canonical();
    if !is_trusted(&peer) {
        return peer;
    }
    let hops: Option<Vec<IpAddr>> = forwarded_for
        .iter()
        .flat_map(|line| line.split(','))
        .map(|hop| hop.trim().parse().ok().map(|ip: IpAddr| ip.to_canonical()))
        .collect();
    let hops = hops.unwrap_or_default();
    let client = hops.iter().rev().find(|hop| !is_trusted(hop)).or(hops.first());
    client.copied().unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_may_speak_for_others() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        for (peer, forwarded, expected) in [
            ("192.0.2.1", vec!["203.0.113.9"], "192.0.2.1"),
            ("10.0.0.1", vec!["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", vec!["198.51.100.1, 203.0.113.9, 10.1.2.3"], "203.0.113.9"),
            ("10.0.0.1", vec!["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", vec!["nonsense, 203.0.113.9"], "10.0.0.1"),
            ("10.0.0.1", vec![""], "10.0.0.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["10.9.9.9, 10.1.1.1"], "10.9.9.9"),
            ("::ffff:10.0.0.1", vec!["::ffff:203.0.113.9"], "203.0.113.9"),
            ("::1", vec!["2001:db8::7"], "2001:db8::7"),
        ] {
            let address = client_address(peer.parse().unwrap(), &forwarded, &trusted);
            assert_eq!(address, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        }
    }
}
