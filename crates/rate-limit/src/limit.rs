use std::time::Duration;

use crate::window::SLICES;

/// How often something may happen to one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What the limit is called in headers, metrics and keys: lower-case letters, digits and dashes.
    pub name: &'static str,
    /// How many charges are allowed in a window. With zero everything is refused.
    pub quota: u32,
    /// The length of every period in which that many are allowed; counted in milliseconds.
    pub window: Duration,
}

impl Limit {
    /// The length of a slice in milliseconds. Rounded up, so that the slices are never shorter than the window together.
    pub(crate) fn slice_width(&self) -> u64 {
        milliseconds(self.window).div_ceil(SLICES).max(1)
    }

    /// What one of `replicas` may allow while they do not know of each other.
    pub(crate) fn share(self, replicas: u32) -> Self {
        Self { quota: (self.quota / replicas.max(1)).max(self.quota.min(1)), ..self }
    }
}

/// One unit of a limit for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The limit that is charged.
    pub limit: Limit,
    /// Whom it is charged to. The text is stored as it is, so it must be of bounded length and nothing secret: a [`Scope::key`](crate::Scope::key),
    /// an id, an HMAC.
    pub key: String,
}

impl Charge {
    /// The key under which the window is found. The length of the window is in it, since the slices of another length could not be understood.
    pub(crate) fn window_key(&self) -> String {
        format!("{}:{}:{}", self.limit.name, milliseconds(self.limit.window), self.key)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_nothing_unless_the_quota_is() {
        let limit = |quota| Limit { name: "test", quota, window: Duration::from_mins(1) };
        for (quota, replicas, share) in [(10, 1, 10), (10, 3, 3), (2, 5, 1), (0, 2, 0), (7, 0, 7)] {
            assert_eq!(limit(quota).share(replicas).quota, share, "{quota} among {replicas}");
        }
    }

    #[test]
    fn slices_cover_the_window() {
        for (milliseconds, width) in [(60_000, 6_000), (1_001, 101), (3, 1), (0, 1)] {
            let limit = Limit { name: "test", quota: 1, window: Duration::from_millis(milliseconds) };
            assert_eq!(limit.slice_width(), width);
        }
    }
}
