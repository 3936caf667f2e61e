use std::{cmp::Reverse, time::Duration};

use crate::{limit::Limit, window::Window};

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Everything was charged. The standing is that of the limit with the fewest remaining; there is none where nothing is limited.
    Allowed(Option<Standing>),
    /// Nothing was charged.
    Refused {
        /// The standing of the limit that has to be waited for the longest.
        standing: Standing,
        /// After this the same charges would be allowed, if nobody else used the keys.
        retry_after: Duration,
    },
}

impl Decision {
    /// Whether everything was charged.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// What the headers of the answer are about.
    #[must_use]
    pub fn standing(&self) -> Option<&Standing> {
        match self {
            Self::Allowed(standing) => standing.as_ref(),
            Self::Refused { standing, .. } => Some(standing),
        }
    }

    /// What was allowed, from the windows that it was charged to.
    pub(crate) fn allowed<'a>(windows: impl Iterator<Item = (Limit, &'a Window)>, now: u64) -> Self {
        let standings = windows.map(|(limit, window)| window.standing(&limit, now));
        Self::Allowed(standings.min_by_key(|it| (it.remaining, Reverse(it.resets_in))))
    }

    /// The refusal by those of the windows that are full; nothing if none is.
    pub(crate) fn refusal<'a>(windows: impl Iterator<Item = (Limit, &'a Window)>, now: u64) -> Option<Self> {
        let waits = windows.filter_map(|(limit, window)| Some((window.wait(&limit, now)?, limit, window)));
        let (retry_after, limit, window) = waits.max_by_key(|(wait, ..)| *wait)?;
        Some(Self::Refused { standing: window.standing(&limit, now), retry_after })
    }
}

/// How a key stands with a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The name of the limit.
    pub name: &'static str,
    /// How many are allowed in a window: the limit's quota, or this replica's share of it while Redis is away.
    pub quota: u32,
    /// How many more are allowed now.
    pub remaining: u32,
    /// How long until at least one more than `remaining` is allowed.
    pub resets_in: Duration,
    /// The length of the window.
    pub window: Duration,
}

impl Standing {
    /// Name and value of the header fields that tell a client, after
    /// [draft-ietf-httpapi-ratelimit-headers](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/). Seconds are rounded up, so
    /// that who believes them is not refused.
    #[must_use]
    pub fn headers(&self) -> [(&'static str, String); 2] {
        let Self { name, quota, remaining, .. } = self;
        let (resets_in, window) = (whole_seconds(self.resets_in), whole_seconds(self.window));
        [
            ("RateLimit", format!("\"{name}\";r={remaining};t={resets_in}")),
            ("RateLimit-Policy", format!("\"{name}\";q={quota};w={window}")),
        ]
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Limit = Limit { name: "minute", quota: 3, window: Duration::from_mins(1) };
    const HOUR: Limit = Limit { name: "hour", quota: 4, window: Duration::from_hours(1) };

    #[test]
    fn the_tightest_limit_speaks() {
        let name = |decision: &Decision| decision.standing().unwrap().name;
        let (one, two) = (Window::parse("0=1"), Window::parse("0=2"));
        assert_eq!(name(&Decision::allowed([(MINUTE, &one), (HOUR, &one)].into_iter(), 0)), "minute");
        assert_eq!(name(&Decision::allowed([(MINUTE, &one), (HOUR, &two)].into_iter(), 0)), "hour");

        let full = Window::parse("0=9");
        let refusal = Decision::refusal([(HOUR, &full), (MINUTE, &full)].into_iter(), 0).unwrap();
        assert_eq!(name(&refusal), "hour");
        let refusal = Decision::refusal([(HOUR, &one), (MINUTE, &full)].into_iter(), 0).unwrap();
        assert_eq!(name(&refusal), "minute");
        assert_eq!(Decision::refusal([(HOUR, &one)].into_iter(), 0), None);
    }

    #[test]
    fn headers_are_structured_fields_in_whole_seconds() {
        let standing = Standing {
            name: "login-ip",
            quota: 10,
            remaining: 7,
            resets_in: Duration::from_millis(41_001),
            window: Duration::from_mins(1),
        };
        assert_eq!(
            standing.headers(),
            [
                ("RateLimit", r#""login-ip";r=7;t=42"#.to_owned()),
                ("RateLimit-Policy", r#""login-ip";q=10;w=60"#.to_owned())
            ]
        );
    }
}
