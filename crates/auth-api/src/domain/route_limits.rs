//! How often whom may ask for what.

use std::time::Duration;

use rate_limit::Limit;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// A registration.
    Register,
    /// A login with a password.
    Login,
    /// A mail that anybody can ask for: a new password, another verification mail.
    Mail,
    /// A refresh.
    Refresh,
    /// A second factor.
    SecondFactor,
    /// Anything else for which nobody needs to say who they are.
    Anonymous,
    /// Anything with an access token, but for reading one's own account, which costs less than counting it.
    Authenticated,
    /// Anything with an access token that nobody we know of signed.
    BadToken,
}

/// Whom a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    /// The client's address.
    Host,
    /// The network around it.
    Neighbourhood,
    /// The session or the user that the route is about.
    Subject,
}

/// Every limit by route. A neighbourhood has ten times as much as a host.
pub const ROUTE_LIMITS: &[(Route, Payer, Limit)] = &[
    (Route::Register, Payer::Host, per_hour("register-ip-hour", 5)),
    (Route::Register, Payer::Host, per_day("register-ip-day", 20)),
    (Route::Register, Payer::Neighbourhood, per_hour("register-network-hour", 50)),
    (Route::Register, Payer::Neighbourhood, per_day("register-network-day", 200)),
    (Route::Login, Payer::Host, per_minute("login-ip-minute", 10)),
    (Route::Login, Payer::Host, per_hour("login-ip-hour", 100)),
    (Route::Login, Payer::Neighbourhood, per_minute("login-network-minute", 100)),
    (Route::Login, Payer::Neighbourhood, per_hour("login-network-hour", 1000)),
    (Route::Mail, Payer::Host, per_hour("mail-ip", 5)),
    (Route::Mail, Payer::Neighbourhood, per_hour("mail-network", 50)),
    (Route::Refresh, Payer::Host, per_minute("refresh-ip", 600)),
    (Route::Refresh, Payer::Neighbourhood, per_minute("refresh-network", 6000)),
    (Route::Refresh, Payer::Subject, per_minute("refresh-session", 60)),
    (Route::SecondFactor, Payer::Host, per_minute("second-factor-ip", 60)),
    (Route::SecondFactor, Payer::Neighbourhood, per_minute("second-factor-network", 600)),
    (Route::Anonymous, Payer::Host, per_minute("anonymous-ip", 60)),
    (Route::Anonymous, Payer::Neighbourhood, per_minute("anonymous-network", 600)),
    (Route::BadToken, Payer::Host, per_minute("bad-token-ip", 60)),
    (Route::BadToken, Payer::Neighbourhood, per_minute("bad-token-network", 600)),
    (Route::Authenticated, Payer::Subject, per_minute("user", 300)),
];

/// How often an address may do without a captcha what needs one, while nobody can check it and the operator lets it go on: a tenth of what it may do with one.
pub const WITHOUT_CAPTCHA: Limit = per_day("without-captcha-ip", 2);

/// How often a refusal of one key is written down.
pub const REFUSALS_WRITTEN_DOWN: Limit = per_minute("refusals-written-down", 1);

/// The names of [`ROUTE_LIMITS`].
pub const LIMIT_NAMES: &[&str] = &names();

const fn names() -> [&'static str; ROUTE_LIMITS.len()] {
    let mut names = [""; ROUTE_LIMITS.len()];
    let mut index = 0;
    while index < names.len() {
        #[expect(clippy::indexing_slicing, reason = "checked at compile time")]
        {
            names[index] = ROUTE_LIMITS[index].2.name;
        }
        index += 1;
    }
    names
}

const fn per_minute(name: &'static str, quota: u32) -> Limit {
    Limit { name, quota, window: Duration::from_mins(1) }
}

const fn per_hour(name: &'static str, quota: u32) -> Limit {
    Limit { name, quota, window: Duration::from_hours(1) }
}

const fn per_day(name: &'static str, quota: u32) -> Limit {
    Limit { name, quota, window: Duration::from_hours(24) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbourhood_has_ten_times_as_much_as_a_host() {
        let of = |payer: Payer, factor: u32| {
            let limits = ROUTE_LIMITS.iter().filter(move |(_, limited, _)| *limited == payer);
            limits.map(|(route, _, limit)| (*route, limit.window, limit.quota * factor)).collect::<Vec<_>>()
        };
        assert_eq!(of(Payer::Host, 10), of(Payer::Neighbourhood, 1));
    }
}
