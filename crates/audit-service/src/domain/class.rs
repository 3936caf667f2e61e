/// How long an event matters. Each class is a hash chain and a set of partitions of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// What sessions do all day: of interest for weeks, and most of the rows.
    Routine,
    /// Everything else, and whatever is new: better kept too long than too short.
    Security,
}

impl Class {
    /// All of them, in the order in which their heads are locked.
    pub const ALL: &[Self] = &[Self::Routine, Self::Security];

    /// The class of a type.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "session.refreshed" => Self::Routine,
            _ => Self::Security,
        }
    }

    /// The name in the database, in checkpoints and in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::Security => "security",
        }
    }

    /// The class with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|class| class.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refreshes_are_routine_and_what_nobody_classed_is_kept_long() {
        assert_eq!(Class::of("session.refreshed"), Class::Routine);
        assert_eq!(Class::of("session.refresh_reuse_detected"), Class::Security);
        assert_eq!(Class::of("user.something_new"), Class::Security);
        for class in Class::ALL {
            assert_eq!(Class::parse(class.name()), Some(*class));
        }
    }
}
