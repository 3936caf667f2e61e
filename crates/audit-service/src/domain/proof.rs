//! Whether rows follow each other, and end where it was signed that they end. Without I/O: rows and checkpoints are fed in
//! their order.

use std::collections::BTreeMap;

use auth_ids::Uuid;

use super::{Checkpoint, CheckpointKeys, Class, Damage, DamageKind, SignedHead, chain::GENESIS};

/// What of a row is looked at once its hash is computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenRow {
    pub class: String,
    pub seq: i64,
    pub position: i64,
    pub id: Uuid,
    pub prev_hash: Vec<u8>,
    pub hash: Vec<u8>,
    /// Whether its hash is that of what it says.
    pub is_intact: bool,
}

/// What was seen so far.
#[derive(Debug, Clone)]
pub struct Proof {
    /// The last row of each class.
    ends: BTreeMap<String, End>,
    /// Up to here every `seq` was seen or is not to be seen.
    seq: i64,
    /// The `seq` of the last row.
    last_row: i64,
    /// The first `seq` that no row had.
    first_gap: Option<i64>,
    /// The last checkpoint.
    checkpoint: Option<Checkpoint>,
    pub rows: u64,
    pub checkpoints: u64,
}

#[derive(Debug, Clone)]
struct End {
    id: Option<Uuid>,
    head: SignedHead,
}

impl End {
    /// Before the first row.
    fn nothing() -> Self {
        Self { id: None, head: SignedHead { seq: 0, position: 0, hash: GENESIS.to_vec() } }
    }
}

/// Two rows of which one was changed.
#[derive(Debug)]
pub struct Broken {
    pub damage: Damage,
    /// The row before, which is to blame if what comes after follows the later one.
    pub suspect: Option<Damage>,
    pub class: String,
    /// What the later row is followed by if it is genuine.
    pub hash: Vec<u8>,
}

/// Why a row does not fit.
#[derive(Debug)]
pub enum Unfit {
    Damage(Damage),
    /// Who is to blame shows in the next row of that class.
    Broken(Box<Broken>),
}

impl Proof {
    /// Begins after the rows that `ends` speaks of, which are taken for granted, and after `checkpoint`.
    #[must_use]
    pub fn beginning_after(
        seq: i64,
        ends: BTreeMap<String, SignedHead>,
        checkpoint: Option<Checkpoint>,
    ) -> Self {
        let ends = ends.into_iter().map(|(class, head)| (class, End { id: None, head })).collect();
        Self { ends, seq, last_row: 0, first_gap: None, checkpoint, rows: 0, checkpoints: 0 }
    }

    /// The number of the checkpoint that comes next.
    #[must_use]
    pub fn next_checkpoint(&self) -> i64 {
        self.checkpoint.as_ref().map_or(0, |last| last.statement.number) + 1
    }

    /// The next row.
    pub fn row(&mut self, row: ProvenRow) -> Result<(), Unfit> {
        let damage = |kind, detail| Unfit::Damage(Damage { seq: row.seq, id: Some(row.id), kind, detail });
        if !row.is_intact {
            return Err(damage(DamageKind::HashMismatch, "its content is not what was recorded".to_owned()));
        }
        if Class::parse(&row.class).is_none() {
            return Err(damage(DamageKind::ChainBroken, format!("the log has no class {}", row.class)));
        }
        // It is counted over all classes.
        if row.seq <= self.last_row {
            let detail = format!("another row has seq {}", self.last_row);
            return Err(damage(DamageKind::ChainBroken, detail));
        }
        if row.seq > self.seq + 1 {
            self.first_gap.get_or_insert(self.seq + 1);
        }
        let end = self.ends.entry(row.class.clone()).or_insert_with(End::nothing);
        if row.position > end.head.position + 1 {
            let (first, last) = (end.head.position + 1, row.position - 1);
            return Err(Unfit::Damage(Damage {
                seq: self.first_gap.unwrap_or(row.seq),
                id: None,
                kind: DamageKind::Missing,
                detail: format!(
                    "{} rows of class {} are gone between seq {} and seq {}, event {} (positions {first} to {last})",
                    last - first + 1,
                    row.class,
                    end.head.seq,
                    row.seq,
                    row.id,
                ),
            }));
        }
        if row.position <= end.head.position || row.prev_hash != end.head.hash {
            let broken = |seq, id| Damage {
                seq,
                id,
                kind: DamageKind::ChainBroken,
                detail: format!(
                    "seq {} does not follow seq {} of class {}",
                    row.seq, end.head.seq, row.class
                ),
            };
            let suspect = (end.head.seq > 0).then(|| broken(end.head.seq, end.id));
            return Err(Unfit::Broken(Box::new(Broken {
                damage: broken(row.seq, Some(row.id)),
                suspect,
                class: row.class.clone(),
                hash: row.hash,
            })));
        }
        self.seq = self.seq.max(row.seq);
        self.last_row = row.seq;
        self.rows += 1;
        let head = SignedHead { seq: row.seq, position: row.position, hash: row.hash };
        *end = End { id: Some(row.id), head };
        Ok(())
    }

    /// Whether a checkpoint is ours and the next after the last one that was fed.
    pub fn follows(&self, checkpoint: &Checkpoint, keys: &CheckpointKeys) -> Result<(), Damage> {
        let statement = &checkpoint.statement;
        if !checkpoint.is_genuine(keys) {
            return Err(checkpoint.not_signed_by_us());
        }
        let (number, digest) =
            self.checkpoint.as_ref().map_or((0, GENESIS), |last| (last.statement.number, last.digest()));
        if statement.number != number + 1 || statement.previous != digest {
            let detail = format!("checkpoint {} does not follow checkpoint {number}", statement.number);
            return Err(Damage { seq: statement.seq, id: None, kind: DamageKind::CheckpointMissing, detail });
        }
        Ok(())
    }

    /// The next checkpoint, one that [follows](Self::follows), after all rows up to its `seq`; `is_end` when there are none behind it either.
    pub fn checkpoint(&mut self, checkpoint: Checkpoint, is_end: bool) -> Result<(), Damage> {
        let statement = &checkpoint.statement;
        let damage = |seq, kind, detail: String| Damage { seq, id: None, kind, detail };
        let is_signed = |class: &String| statement.heads.contains_key(class);
        let unsigned = self.ends.iter().find(|(class, end)| end.id.is_some() && !is_signed(class));
        if let Some((class, end)) = unsigned {
            let detail = format!(
                "checkpoint {} of {} does not know of class {class}, of which there was a row before",
                statement.number, statement.signed_at
            );
            return Err(damage(end.head.seq, DamageKind::CheckpointMismatch, detail));
        }
        let seq = self.checkpoint.as_ref().map_or(0, |last| last.statement.seq);
        for (class, signed) in &statement.heads {
            let end = self.end(class).head;
            // Rows behind which the chain begins cannot be looked at any more.
            if end != *signed && self.is_seen(class, signed) {
                if end.position < signed.position {
                    let kind = if is_end { DamageKind::Truncated } else { DamageKind::Missing };
                    let detail = format!(
                        "class {class} ends with seq {}; checkpoint {} of {} knows of seq {}",
                        end.seq, statement.number, statement.signed_at, signed.seq
                    );
                    return Err(damage(self.first_gap.unwrap_or(self.seq + 1), kind, detail));
                }
                let detail = format!(
                    "checkpoint {} of {} says that class {class} ended with another row; what was recorded after seq {seq} was written anew",
                    statement.number, statement.signed_at
                );
                return Err(damage(signed.seq, DamageKind::CheckpointMismatch, detail));
            }
        }
        self.checkpoint = Some(checkpoint);
        self.checkpoints += 1;
        Ok(())
    }

    /// Compares the end with what the log says its end is.
    pub fn finish(&self, heads: &BTreeMap<String, SignedHead>) -> Result<(), Damage> {
        for (class, head) in heads {
            let end = self.end(class).head;
            if end != *head {
                let kind = if end.seq < head.seq { DamageKind::Truncated } else { DamageKind::ChainBroken };
                let seq = if end.seq < head.seq { self.seq + 1 } else { end.seq };
                let detail =
                    format!("class {class} ends with seq {}, and should end with seq {}", end.seq, head.seq);
                return Err(Damage { seq, id: None, kind, detail });
            }
        }
        if let Some((class, end)) = self.ends.iter().find(|(class, _)| !heads.contains_key(*class)) {
            let detail = format!("there are rows of class {class}, and no end of its chain");
            return Err(Damage { seq: end.head.seq, id: end.id, kind: DamageKind::ChainBroken, detail });
        }
        Ok(())
    }

    fn end(&self, class: &str) -> End {
        self.ends.get(class).cloned().unwrap_or_else(End::nothing)
    }

    /// Whether the row that was signed is one of those that were to be seen.
    fn is_seen(&self, class: &str, signed: &SignedHead) -> bool {
        let end = self.end(class);
        end.id.is_some() || signed.seq >= end.head.seq
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::Statement;

    fn row(class: &str, seq: i64, position: i64, prev_hash: [u8; 32]) -> ProvenRow {
        let hash = vec![u8::try_from(seq).unwrap(); 32];
        ProvenRow {
            class: class.to_owned(),
            seq,
            position,
            id: Uuid::nil(),
            prev_hash: prev_hash.to_vec(),
            hash,
            is_intact: true,
        }
    }

    fn kind(unfit: Result<(), Unfit>) -> DamageKind {
        match unfit.unwrap_err() {
            Unfit::Damage(damage) => damage.kind,
            Unfit::Broken(broken) => broken.damage.kind,
        }
    }

    #[test]
    fn a_seq_is_used_once_whatever_the_class() {
        let mut proof = Proof::beginning_after(0, BTreeMap::new(), None);
        proof.row(row("security", 1, 1, GENESIS)).unwrap();
        assert_eq!(kind(proof.row(row("routine", 1, 1, GENESIS))), DamageKind::ChainBroken);
        proof.row(row("routine", 2, 1, GENESIS)).unwrap();
        assert_eq!(kind(proof.row(row("other", 3, 1, GENESIS))), DamageKind::ChainBroken);
    }

    #[test]
    fn a_chain_that_no_end_and_no_checkpoint_knows_of_is_damage() {
        let keys = CheckpointKeys::generate();
        let mut proof = Proof::beginning_after(0, BTreeMap::new(), None);
        proof.row(row("security", 1, 1, GENESIS)).unwrap();
        proof.row(row("routine", 2, 1, GENESIS)).unwrap();
        let security = SignedHead { seq: 1, position: 1, hash: vec![1; 32] };
        let heads: BTreeMap<_, _> = [("security".to_owned(), security)].into();
        assert_eq!(proof.finish(&heads).unwrap_err().kind, DamageKind::ChainBroken);
        let statement = Statement {
            number: 1,
            seq: 2,
            signed_at: DateTime::UNIX_EPOCH,
            key_id: keys.signing_id().unwrap().to_owned(),
            heads,
            previous: GENESIS.to_vec(),
        };
        let checkpoint = statement.sign(&keys).unwrap();
        proof.follows(&checkpoint, &keys).unwrap();
        assert_eq!(proof.checkpoint(checkpoint, true).unwrap_err().kind, DamageKind::CheckpointMismatch);
    }
}
