use std::collections::HashMap;

use auth_ids::{SessionId, UserId};
use chrono::{DateTime, Utc};
use parking_lot::RwLock;

use crate::AccessClaims;

/// That access tokens died before their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// Which.
    pub target: RevocationTarget,
    /// When it happened.
    pub revoked_at: DateTime<Utc>,
    /// When the last of them would have expired anyway.
    pub forget_at: DateTime<Utc>,
}

/// Which access tokens died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RevocationTarget {
    /// All of a session.
    Session(SessionId),
    /// All of a user that were minted in an earlier epoch.
    UserBefore(UserId, u64),
}

/// The revocations that still matter.
#[derive(Debug, Default)]
pub struct RevocationSet(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    sessions: HashMap<SessionId, Times>,
    users: HashMap<UserId, (u64, Times)>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    revoked_at: DateTime<Utc>,
    forget_at: DateTime<Utc>,
}

impl Known {
    /// Whether that was not known.
    fn insert(&mut self, revocation: &Revocation) -> bool {
        let times = Times { revoked_at: revocation.revoked_at, forget_at: revocation.forget_at };
        match revocation.target {
            RevocationTarget::Session(id) => self.sessions.insert(id, times).is_none(),
            RevocationTarget::UserBefore(id, epoch) => {
                let is_news = self.users.get(&id).is_none_or(|(known, _)| *known < epoch);
                if is_news {
                    self.users.insert(id, (epoch, times));
                }
                is_news
            }
        }
    }
}

impl RevocationSet {
    /// Adds what was revoked; those of them that were news.
    pub fn insert(&self, revocations: impl IntoIterator<Item = Revocation>) -> Vec<Revocation> {
        let mut known = self.0.write();
        revocations.into_iter().filter(|revocation| known.insert(revocation)).collect()
    }

    /// Knows `revocations` from now on, and no others.
    pub fn replace(&self, revocations: impl IntoIterator<Item = Revocation>) {
        let mut fresh = Known::default();
        for revocation in revocations {
            fresh.insert(&revocation);
        }
        *self.0.write() = fresh;
    }

    /// Whether a token with `claims` died.
    #[must_use]
    pub fn revokes(&self, claims: &AccessClaims) -> bool {
        let known = self.0.read();
        known.sessions.contains_key(&claims.sid)
            || known.users.get(&claims.sub).is_some_and(|(epoch, _)| claims.epoch < *epoch)
    }

    /// Forgets those of which no token is left.
    pub fn forget_old(&self, now: DateTime<Utc>) {
        let mut known = self.0.write();
        known.sessions.retain(|_, times| now < times.forget_at);
        known.users.retain(|_, (_, times)| now < times.forget_at);
    }

    /// What was revoked since `since`.
    #[must_use]
    pub fn since(&self, since: DateTime<Utc>) -> Vec<Revocation> {
        let known = self.0.read();
        let all = known.sessions.iter().map(|(id, times)| (RevocationTarget::Session(*id), *times)).chain(
            known
                .users
                .iter()
                .map(|(id, (epoch, times))| (RevocationTarget::UserBefore(*id, *epoch), *times)),
        );
        all.filter(|(_, times)| times.revoked_at >= since)
            .map(|(target, Times { revoked_at, forget_at })| Revocation { target, revoked_at, forget_at })
            .collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let known = self.0.read();
        known.sessions.len() + known.users.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
