use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How much of the network around a client is charged as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What one customer of an access provider has: an IPv4 address, or an IPv6 /64, within which anybody can choose addresses at will.
    Host,
    /// What one data centre's customer or one company easily has: an IPv4 /24 or an IPv6 /48.
    Neighbourhood,
}

impl Scope {
    /// The key of everything that `address` is charged with. An IPv4 address that is written as an IPv6 one is the IPv4 address.
    #[must_use]
    pub fn key(self, address: IpAddr) -> String {
        match (address.to_canonical(), self) {
            (IpAddr::V4(address), Self::Host) => address.to_string(),
            (IpAddr::V4(address), Self::Neighbourhood) => {
                format!("{}/24", Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8)))
            }
            (IpAddr::V6(address), Self::Host) => ipv6_network(address, 64),
            (IpAddr::V6(address), Self::Neighbourhood) => ipv6_network(address, 48),
        }
    }
}

fn ipv6_network(address: Ipv6Addr, length: u32) -> String {
    let mask = u128::MAX << (u128::BITS - length);
    format!("{}/{length}", Ipv6Addr::from_bits(address.to_bits() & mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_one_client_can_choose_from_are_one_key() {
        for (address, host, neighbourhood) in [
            ("192.0.2.77", "192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.77", "192.0.2.0/24"),
            ("::ffff:c000:24d", "192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64", "2001:db8:1::/48"),
            ("2001:db8:1:3::", "2001:db8:1:3::/64", "2001:db8:1::/48"),
            ("::1", "::/64", "::/48"),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(Scope::Host.key(address), host);
            assert_eq!(Scope::Neighbourhood.key(address), neighbourhood);
        }
    }
}
