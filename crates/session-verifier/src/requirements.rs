use std::time::Duration;

use crate::{Forbidden, Session};

/// What is required of a session beyond being one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requirements {
    pub permissions: Vec<String>,
    pub aal2: bool,
    pub max_age: Option<Duration>,
}

impl Requirements {
    /// The permission comes first: whoever may not do it at all is not sent to prove more.
    pub fn check(&self, session: &Session) -> Result<(), Forbidden> {
        for permission in &self.permissions {
            session.require_permission(permission)?;
        }
        if self.aal2 {
            session.require_aal2()?;
        }
        self.max_age.map_or(Ok(()), |max_age| session.require_recent(max_age))
    }
}
