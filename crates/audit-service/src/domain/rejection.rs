/// Why a message can never be recorded. The text goes to the log and into the dead letter's headers, so that it names fields
/// and never repeats what they hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("{0} bytes are more than the {limit} that an event may have", limit = super::parse::MAX_MESSAGE_BYTES)]
    TooLarge(usize),
    #[error("not an envelope: {0}")]
    Malformed(String),
    #[error("specversion is not 1.0")]
    UnsupportedSpecversion,
    #[error("the type is not one of ours")]
    UnknownType,
    #[error("version {version} of {name} is not known")]
    UnknownVersion { name: String, version: u16 },
    #[error("data is not a fact: {0}")]
    InvalidFact(String),
    #[error("{field} {why}")]
    InvalidField { field: &'static str, why: &'static str },
    #[error("the database refuses the row")]
    RefusedByDatabase,
}

impl Rejection {
    /// The stable code: a label of `audit_rejected_total` and the beginning of the dead letter's reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too_large",
            Self::Malformed(_) => "malformed",
            Self::UnsupportedSpecversion => "unsupported_specversion",
            Self::UnknownType => "unknown_type",
            Self::UnknownVersion { .. } => "unknown_version",
            Self::InvalidFact(_) => "invalid_fact",
            Self::InvalidField { .. } => "invalid_field",
            Self::RefusedByDatabase => "refused_by_database",
        }
    }
}
