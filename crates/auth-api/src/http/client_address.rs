use std::net::IpAddr;

use ipnet::IpNet;

/// The client's address: the peer's, or, when the peer is a trusted proxy, the rightmost address in `X-Forwarded-For` that is not one. What lies further
/// left was written by the client and proves nothing.
pub fn client_address(peer: IpAddr, forwarded_for: &[&[u8]], trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
    let peer = peer.to_canonical();
    if !is_trusted(&peer) {
        return peer;
    }
    let hops = forwarded_for.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    let mut client = peer;
    for hop in hops {
        // What stands further left than a hop that is not understood was written by nobody that we trust.
        let Some(hop) = parse(hop) else { return client };
        client = hop;
        if !is_trusted(&hop) {
            break;
        }
    }
    client
}

fn parse(hop: &[u8]) -> Option<IpAddr> {
    let ip: IpAddr = std::str::from_utf8(hop).ok()?.trim().parse().ok()?;
    Some(ip.to_canonical())
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
            ("10.0.0.1", vec!["nonsense, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", vec!["\u{FC}", "203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", vec!["203.0.113.9, nonsense"], "10.0.0.1"),
            ("10.0.0.1", vec!["203.0.113.9, nonsense, 10.1.1.1"], "10.1.1.1"),
            ("10.0.0.1", vec![""], "10.0.0.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["10.9.9.9, 10.1.1.1"], "10.9.9.9"),
            ("::ffff:10.0.0.1", vec!["::ffff:203.0.113.9"], "203.0.113.9"),
            ("::1", vec!["2001:db8::7"], "2001:db8::7"),
        ] {
            let lines: Vec<&[u8]> = forwarded.iter().map(|line| line.as_bytes()).collect();
            let address = client_address(peer.parse().unwrap(), &lines, &trusted);
            assert_eq!(address, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        }
    }
}
