use std::fmt;

use auth_ids::Uuid;

/// The first thing that is not as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The row, or where one should be.
    pub seq: i64,
    /// The event's id, where there is a row.
    pub id: Option<Uuid>,
    pub kind: DamageKind,
    /// For people.
    pub detail: String,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// The row says something else than when it was hashed.
    HashMismatch,
    /// Rows before this one are gone.
    Missing,
    /// The row does not follow the one before it.
    ChainBroken,
    /// The log ends before it did.
    Truncated,
    /// The row is another one than was signed.
    CheckpointMismatch,
    /// Checkpoints are gone.
    CheckpointMissing,
    /// A checkpoint, or the place where retention cut a chain off, was not signed by us.
    SignatureInvalid,
    /// The archive has a checkpoint that the log does not have, or another one: the log was rolled back or written anew.
    ArchiveMismatch,
}

impl DamageKind {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::HashMismatch => "hash_mismatch",
            Self::Missing => "missing",
            Self::ChainBroken => "chain_broken",
            Self::Truncated => "truncated",
            Self::CheckpointMismatch => "checkpoint_mismatch",
            Self::CheckpointMissing => "checkpoint_missing",
            Self::SignatureInvalid => "signature_invalid",
            Self::ArchiveMismatch => "archive_mismatch",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at seq {}", self.kind.code(), self.seq)?;
        if let Some(id) = self.id {
            write!(f, ", event {id}")?;
        }
        write!(f, ": {}", self.detail)
    }
}
