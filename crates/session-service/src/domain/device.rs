//! The device at the other end of a session, as its user will see it in a list.

use std::net::IpAddr;

/// What is known about a device. All of it is what the client says of itself, except the address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// A name given by the user.
    pub name: Option<String>,
    pub ip: Option<IpAddr>,
    pub user_agent: Option<String>,
}

impl Device {
    /// The device as it looks `now`; what is not known any more is kept, and so is the name.
    pub fn seen_again_as(self, now: &Self) -> Self {
        Self {
            name: self.name,
            ip: now.ip.or(self.ip),
            user_agent: now.user_agent.clone().or(self.user_agent),
        }
    }
}
