use auth_events::ActorKind;
use auth_ids::Uuid;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Filter, RecordedEvent};

/// Domains of what administrators and the system do.
pub const ADMINISTRATION: [&str; 2] = ["admin", "system"];
const LONGEST_VIEWER: usize = 128;

/// What of the log somebody may see.
///
/// Unset parts are left out of the serialised form, so that cursors survive a release that adds a part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// Who reads, as the caller names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewer: Option<String>,
    /// The one subject that there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_id: Option<Uuid>,
    /// Without what administrators and the system do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub omit_administration: bool,
    /// Without addresses, user agents, names and details.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub omit_personal_data: bool,
}

/// A filter that would find out what the scope hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the filter {field} goes past the scope")]
pub struct ScopeExceeded {
    pub field: &'static str,
}

impl Scope {
    /// A viewer is up to 128 printable bytes.
    #[must_use]
    pub fn is_viewer(text: &str) -> bool {
        text.len() <= LONGEST_VIEWER && !text.chars().any(char::is_control)
    }

    /// Refuses a filter by something that is hidden: whether there is a result would tell it.
    pub fn check(&self, filter: &Filter) -> Result<(), ScopeExceeded> {
        if self.omit_personal_data && filter.ip.is_some() {
            return Err(ScopeExceeded { field: "ip" });
        }
        Ok(())
    }

    /// Whether there is this event at all.
    #[must_use]
    pub fn admits(&self, event: &RecordedEvent) -> bool {
        let domain = event.name.split('.').next().unwrap_or_default();
        let is_administration =
            ADMINISTRATION.contains(&domain) || event.actor_kind == ActorKind::Operator.name();
        self.subject_id.is_none_or(|subject| event.subject_id == Some(subject))
            && !(self.omit_administration && is_administration)
    }

    /// The event without what is hidden.
    #[must_use]
    pub fn redact(&self, mut event: RecordedEvent) -> RecordedEvent {
        if self.omit_personal_data {
            (event.client.ip, event.client.user_agent, event.actor_name) = (None, None, None);
            event.detail = Value::Object(Map::new());
        }
        event
    }
}
