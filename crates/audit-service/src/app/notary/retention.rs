use chrono::{Months, NaiveTime, TimeDelta};
use clock::SharedClock;
use tracing::{error, info, warn};

use super::{Notary, SignError};
use crate::{
    domain::{Class, Drop, SignedHead},
    store::{self, partitions::Partition},
};

/// How many ids of dropped events are forgotten at a time; fits into a statement's time.
const FORGET: i32 = 5_000;

/// How long events are kept, as this process is told. The database has its own copy, for who drops must not be who decides; and what is in the
/// database alone, somebody could have changed there.
#[derive(Clone)]
pub struct Retention {
    /// For how many days each class is kept; one that is missing is kept for ever.
    pub days: Vec<(Class, i32)>,
    pub clock: SharedClock,
}

impl Retention {
    fn is_over(&self, partition: &Partition) -> bool {
        let mut days = self.days.iter().filter(|(class, _)| class.name() == partition.class);
        let (Some((_, days)), Some(end)) = (days.next(), partition.month.checked_add_months(Months::new(1)))
        else {
            return false;
        };
        end.and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(i64::from(*days)) <= self.clock.now()
    }
}

/// What a round of retention did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retained {
    /// How many partitions are new.
    pub created: i32,
    /// The names of those that are gone.
    pub dropped: Vec<String>,
}

/// Why a round was not finished.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    #[error("partitions cannot be made or dropped")]
    Database(#[from] pg::Error),
    #[error("nothing can be signed")]
    Sign(#[from] SignError),
}

impl Notary {
    /// Every month of every class.
    pub async fn partitions(&self) -> pg::Result<Vec<Partition>> {
        store::partitions::list(&mut *self.database.connection().await?).await
    }

    /// Makes the partitions of the months ahead, and drops those whose time is over, if a signed checkpoint covers them.
    pub async fn retain(&self, ahead: i32) -> Result<Retained, RetentionError> {
        let created = store::partitions::create(&mut *self.database.connection().await?, ahead).await?;
        self.forget_ids().await?;
        let mut retained = Retained { created, dropped: Vec::new() };
        let mut over = self.partitions().await?;
        over.retain(|it| it.is_over);
        over.retain(|it| {
            let agreed = self.retention.is_over(it);
            if !agreed {
                error!(
                    partition = it.name,
                    "Kept {}: its time is over by the database, which keeps it for {} days, and not by AUDIT_RETENTION",
                    it.name,
                    it.keep_days
                );
            }
            agreed
        });
        if over.is_empty() {
            return Ok(retained);
        }
        if !self.signs() {
            warn!(
                "Kept {} partitions whose time is over: there is no key to sign where they end",
                over.len()
            );
            return Ok(retained);
        }
        // Of a log in which nothing has happened since, too.
        self.sign_now().await?;
        for partition in over {
            self.drop_partition(&partition).await?;
            info!(partition = partition.name, "Dropped {}: its time is over", partition.name);
            retained.dropped.push(partition.name);
        }
        self.forget_ids().await?;
        Ok(retained)
    }

    /// In small steps, also what an earlier round did not come to.
    async fn forget_ids(&self) -> pg::Result<()> {
        while store::partitions::forget_ids(&mut *self.database.connection().await?, FORGET).await? > 0 {}
        Ok(())
    }

    async fn drop_partition(&self, partition: &Partition) -> Result<(), RetentionError> {
        let Partition { class, month, .. } = partition;
        let mut conn = self.database.connection().await?;
        let signed = match store::partitions::last_row(&mut conn, class, *month).await? {
            Some(last) => {
                let drop = Drop {
                    class: class.clone(),
                    month: *month,
                    key_id: self.keys.signing_id().ok_or(SignError::NoKey)?.to_owned(),
                    last: SignedHead { seq: last.seq, position: last.position, hash: last.hash },
                };
                Some(drop.sign(&self.keys).ok_or(SignError::NoKey)?)
            }
            None => None,
        };
        store::partitions::drop_oldest(&mut conn, class, *month, signed.as_ref()).await?;
        Ok(())
    }
}
