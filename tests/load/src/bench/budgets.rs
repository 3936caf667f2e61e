//! What is measured, and what it has to reach.

use serde::{Deserialize, Serialize};

/// The rows, by their names in the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is described by its budget")]
pub enum Row {
    ValidateGrpc,
    VerifierSeen,
    VerifierFirst,
    Me,
    Login,
    MeUnderStorm,
    Refresh,
    AuditIngest,
    MailStartP95,
    Start,
    RssIdle,
    BinarySize,
}

/// What a row has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// What is measured.
    pub what: &'static str,
    /// The unit of both figures.
    pub unit: &'static str,
    /// Whether and how far our figure may differ from the ceiling.
    pub demand: Demand,
    /// Where the ceiling comes from.
    pub ceiling: Ceiling,
    /// How it is measured.
    pub how: &'static str,
}

/// How our figure has to relate to the ceiling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Demand {
    /// At least this multiple of it.
    AtLeast(f64),
    /// At most this multiple of it.
    AtMost(f64),
}

/// Where a ceiling comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// It is measured in the same run.
    Measured,
    /// It is the budget itself.
    Budget,
}

impl Demand {
    /// How many times better than demanded: 1 is just enough.
    #[must_use]
    pub fn margin(self, ratio: f64) -> f64 {
        match self {
            Self::AtLeast(factor) => ratio / factor,
            Self::AtMost(factor) => factor / ratio,
        }
    }

    /// Whether a ratio is good enough.
    #[must_use]
    pub fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(factor) => ratio >= factor,
            Self::AtMost(factor) => ratio <= factor,
        }
    }
}

impl std::fmt::Display for Demand {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(factor) => write!(formatter, "≥ {factor}"),
            Self::AtMost(factor) => write!(formatter, "≤ {factor}"),
        }
    }
}

impl Row {
    /// All of them, in the order in which they are measured and shown.
    pub const ALL: [Self; 12] = [
        Self::ValidateGrpc,
        Self::VerifierSeen,
        Self::VerifierFirst,
        Self::Me,
        Self::Login,
        Self::MeUnderStorm,
        Self::Refresh,
        Self::AuditIngest,
        Self::MailStartP95,
        Self::Start,
        Self::RssIdle,
        Self::BinarySize,
    ];

    /// The name in the results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ValidateGrpc => "validate_grpc",
            Self::VerifierSeen => "verifier_seen",
            Self::VerifierFirst => "verifier_first",
            Self::Me => "me",
            Self::Login => "login",
            Self::MeUnderStorm => "me_under_storm",
            Self::Refresh => "refresh",
            Self::AuditIngest => "audit_ingest",
            Self::MailStartP95 => "mail_start_p95",
            Self::Start => "start",
            Self::RssIdle => "rss_idle",
            Self::BinarySize => "binary_size",
        }
    }

    /// What it has to reach.
    #[must_use]
    pub fn budget(self) -> Budget {
        match self {
            Self::ValidateGrpc => Budget {
                what: "`Validate` over gRPC, against a bare tonic echo",
                unit: "calls/s",
                demand: Demand::AtLeast(0.8),
                ceiling: Ceiling::Measured,
                how: "A closed loop over 4 connections with 8 calls in flight on each, with mutual TLS. The calls ask about 64 sessions in turn. The \
                      ceiling is a tonic server that decodes a message of bytes and answers with another one: requests and answers are as long \
                      as those of `Validate`, and connections and TLS are the same.",
            },
            Self::VerifierSeen => Budget {
                what: "`session-verifier`, a token seen before",
                unit: "µs",
                demand: Demand::AtMost(1.0),
                ceiling: Ceiling::Budget,
                how: "In this process, beside the running session-service: the mean time of verifying 64 tokens, again and again, on one thread, \
                      after each was verified once.",
            },
            Self::VerifierFirst => Budget {
                what: "`session-verifier`, a token at first sight",
                unit: "µs",
                demand: Demand::AtMost(1.0),
                ceiling: Ceiling::Budget,
                how: "Likewise, over 1,000 tokens of as many new sessions, each verified for the first time.",
            },
            Self::Me => Budget {
                what: "`GET /v1/auth/me`, against a bare actix handler with one prepared select by primary key",
                unit: "requests/s",
                demand: Demand::AtLeast(0.8),
                ceiling: Ceiling::Measured,
                how: "A closed loop over 16 connections that are kept alive, each with a session of its own. The ceiling answers with a row of its own \
                      table by diesel-async, from the pool that the services use; it gets the same headers.",
            },
            Self::Login => Budget {
                what: "`POST /v1/auth/login`, against Argon2id alone",
                unit: "logins/s",
                demand: Demand::AtLeast(0.85),
                ceiling: Ceiling::Measured,
                how: "A closed loop with as many connections as give the best rate, found out before the first run. Limits by address and the \
                      captcha are off; 500 users take turns, each in a browser that is known. The ceiling is the fastest Argon2id kernel at the same parameters, on all \
                      cores, with nothing beside it.",
            },
            Self::MeUnderStorm => Budget {
                what: "`GET /v1/auth/me` beside a storm of logins at 4 × capacity: p95, against 3 × the p95 of an idle service",
                unit: "ms",
                demand: Demand::AtMost(1.0),
                ceiling: Ceiling::Measured,
                how: "Open loops: 50 requests a second for `/me`, first alone, then while four times as many logins arrive as the service can do. A \
                      login has to be answered with 200 or 503. The ceiling is three times the p95 of the idle half of the same run.",
            },
            Self::Refresh => Budget {
                what: "`Refresh` over gRPC, against bare PostgreSQL commits",
                unit: "refreshes/s",
                demand: Demand::AtLeast(0.7),
                ceiling: Ceiling::Measured,
                how: "A closed loop of 16 callers with mutual TLS, each exchanging the refresh token of a session of its own for the next. The ceiling is \
                      16 connections to the same PostgreSQL, each of which updates a row of its own and commits.",
            },
            Self::AuditIngest => Budget {
                what: "events that reach the audit log from the broker",
                unit: "events/s",
                demand: Demand::AtLeast(1.0),
                ceiling: Ceiling::Budget,
                how: "5,000 events for each second of a run are published with confirmation, as fast as the broker takes them; the clock stops \
                      when PostgreSQL has all of them.",
            },
            Self::MailStartP95 => Budget {
                what: "from the answer to `POST /v1/auth/forgot-password` to the mail's arrival, p95",
                unit: "s",
                demand: Demand::AtMost(1.0),
                ceiling: Ceiling::Budget,
                how: "10 requests a second, each of another user. From the moment the 202 was read to the moment the mail server of the development \
                      stack had the whole message.",
            },
            Self::Start => Budget {
                what: "from the start of a service's process until it is ready, the slowest of the four",
                unit: "s",
                demand: Demand::AtMost(1.0),
                ceiling: Ceiling::Budget,
                how: "One more replica of each service beside the running ones, asked every 2 ms whether it is ready.",
            },
            Self::RssIdle => Budget {
                what: "resident memory of an idle service, the largest of the four",
                unit: "MiB",
                demand: Demand::AtMost(1.0),
                ceiling: Ceiling::Budget,
                how: "Of such a replica, two seconds after it became ready.",
            },
            Self::BinarySize => Budget {
                what: "size of a service's program, the largest of the four",
                unit: "MiB",
                demand: Demand::AtMost(1.0),
                ceiling: Ceiling::Budget,
                how: "The file as the build left it.",
            },
        }
    }

    /// The budget itself, of those rows whose ceiling it is.
    #[must_use]
    pub fn absolute_budget(self) -> Option<f64> {
        match self {
            Self::VerifierSeen | Self::Start => Some(1.0),
            Self::VerifierFirst => Some(60.0),
            Self::AuditIngest => Some(5_000.0),
            Self::MailStartP95 => Some(2.0),
            Self::RssIdle => Some(40.0),
            Self::BinarySize => Some(25.0),
            Self::ValidateGrpc | Self::Me | Self::Login | Self::MeUnderStorm | Self::Refresh => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_of_one_is_just_enough() {
        for (demand, ratio, met) in [
            (Demand::AtLeast(0.8), 0.8, true),
            (Demand::AtLeast(0.8), 0.79, false),
            (Demand::AtMost(1.0), 1.0, true),
            (Demand::AtMost(1.0), 1.01, false),
        ] {
            assert_eq!(demand.is_met(ratio), met, "{demand} {ratio}");
            assert_eq!(demand.margin(ratio) >= 1.0, met, "{demand} {ratio}");
        }
        assert!((Demand::AtMost(1.0).margin(0.25) - 4.0).abs() < 1e-9);
    }

    #[test]
    fn exactly_the_rows_with_a_budget_for_a_ceiling_have_one() {
        for row in Row::ALL {
            assert_eq!(row.absolute_budget().is_some(), row.budget().ceiling == Ceiling::Budget, "{row:?}");
            assert_eq!(serde_json::to_value(row).unwrap(), row.name());
        }
    }
}
