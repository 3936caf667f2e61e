use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Filter, FreeText, RecordedEvent, Scope, ScopeExceeded, TypeFilter};

/// What events have to match for somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Criteria {
    filter: Filter,
    scope: Scope,
}

impl Criteria {
    /// Fails when the filter would find out what the scope hides.
    pub fn new(filter: Filter, scope: Scope) -> Result<Self, ScopeExceeded> {
        scope.check(&filter)?;
        Ok(Self { filter, scope })
    }

    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The same for the same criteria, in every replica and release.
    pub(super) fn digest(&self) -> [u8; 32] {
        // Text, numbers and times always have a JSON form; without one every cursor would be refused, never a wrong one taken.
        Sha256::digest(serde_json::to_vec(self).unwrap_or_default()).into()
    }

    /// Whether an event matches: what `store::search` asks of the database.
    #[must_use]
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        let filter = &self.filter;
        let is = |wanted: Option<&str>, found: &str| wanted.is_none_or(|wanted| wanted == found);
        self.scope.admits(event)
            && filter.r#type.as_ref().is_none_or(|wanted| is_of_type(wanted, &event.name))
            && is(filter.outcome.map(auth_events::Outcome::name), &event.outcome)
            && is(filter.severity.map(auth_events::Severity::name), &event.severity)
            && filter.actor_id.is_none_or(|actor| event.actor_id == Some(actor))
            && filter.subject_id.is_none_or(|subject| event.subject_id == Some(subject))
            && filter.ip.is_none_or(|ip| event.client.ip == Some(ip))
            && filter.from.is_none_or(|from| event.occurred_at >= from)
            && filter.to.is_none_or(|to| event.occurred_at < to)
            && filter.request_id.as_ref().is_none_or(|id| event.client.request_id.as_ref() == Some(id))
            && filter.q.as_ref().is_none_or(|text| self.mentions(text, event))
    }

    fn mentions(&self, text: &FreeText, event: &RecordedEvent) -> bool {
        let literal = Some(text.as_str());
        let id = text.uuid();
        text.types().any(|name| name == event.name)
            || event.reason.as_deref() == literal
            || event.target.as_ref().map(|target| &*target.id) == literal
            || event.client.request_id.as_deref() == literal
            || event.trace_id.as_deref() == literal
            || id.is_some_and(|id| event.id == id || [event.subject_id, event.actor_id].contains(&Some(id)))
            || (!self.scope.omit_personal_data && text.ip().is_some_and(|ip| event.client.ip == Some(ip)))
    }
}

fn is_of_type(wanted: &TypeFilter, name: &str) -> bool {
    match wanted {
        TypeFilter::Exact(exact) => exact == name,
        TypeFilter::Domain(domain) => name.split('.').next() == Some(domain),
    }
}

#[cfg(test)]
mod tests {
    use auth_ids::Uuid;

    use super::*;

    fn digest(filter: Filter, scope: Scope) -> [u8; 32] {
        Criteria::new(filter, scope).unwrap().digest()
    }

    #[test]
    fn two_criteria_differ_in_their_digest() {
        let one = Some(Uuid::nil());
        let all = [
            digest(Filter::default(), Scope::default()),
            digest(
                Filter { r#type: TypeFilter::parse("auth.login").ok(), ..Filter::default() },
                Scope::default(),
            ),
            digest(Filter { r#type: TypeFilter::parse("auth.").ok(), ..Filter::default() }, Scope::default()),
            digest(Filter { actor_id: one, ..Filter::default() }, Scope::default()),
            digest(Filter { subject_id: one, ..Filter::default() }, Scope::default()),
            digest(Filter { q: FreeText::parse("auth").ok(), ..Filter::default() }, Scope::default()),
            digest(Filter::default(), Scope { subject_id: one, ..Scope::default() }),
            digest(Filter::default(), Scope { viewer: Some("a".to_owned()), ..Scope::default() }),
            digest(Filter::default(), Scope { omit_administration: true, ..Scope::default() }),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{index}");
        }
    }

    #[test]
    fn aud_10_what_is_hidden_cannot_be_filtered_by() {
        let by_address = Filter { ip: Filter::parse_ip("192.0.2.1").ok(), ..Filter::default() };
        let hidden = Scope { omit_personal_data: true, ..Scope::default() };
        assert!(Criteria::new(by_address.clone(), Scope::default()).is_ok());
        assert_eq!(Criteria::new(by_address, hidden), Err(ScopeExceeded { field: "ip" }));
    }
}
