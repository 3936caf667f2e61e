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

    /// Whether what is known `now` contradicts what was known: another address or user agent.
    pub fn differs_from(&self, now: &Self) -> bool {
        fn contradicts<T: PartialEq>(known: Option<&T>, now: Option<&T>) -> bool {
            known.is_some() && now.is_some() && known != now
        }
        contradicts(self.ip.as_ref(), now.ip.as_ref())
            || contradicts(self.user_agent.as_ref(), now.user_agent.as_ref())
    }
}
