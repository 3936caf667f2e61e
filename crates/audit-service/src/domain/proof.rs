//! Whether rows follow each other, and end where it was signed that they end. Without I/O: rows and checkpoints are fed in
//! their order.

use std::collections::BTreeMap;

use auth_ids::Uuid;

use super::{Checkpoint, CheckpointKeys, Damage, DamageKind, SignedHead, chain::GENESIS};

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
    /// The last row of all.
    seq: i64,
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
        Self { ends, seq, first_gap: None, checkpoint, rows: 0, checkpoints: 0 }
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
        if row.seq > self.seq + 1 {
            self.first_gap.get_or_insert(self.seq + 1);
        }
        let end = self.end(&row.class);
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
        self.rows += 1;
        let head = SignedHead { seq: row.seq, position: row.position, hash: row.hash };
        self.ends.insert(row.class, End { id: Some(row.id), head });
        Ok(())
    }

    /// The next checkpoint, after all rows up to its `seq`; `is_end` when there are none behind it either.
    pub fn checkpoint(
        &mut self,
        checkpoint: Checkpoint,
        is_end: bool,
        keys: &CheckpointKeys,
    ) -> Result<(), Damage> {
        let statement = &checkpoint.statement;
        let damage = |seq, kind, detail: String| Damage { seq, id: None, kind, detail };
        if !checkpoint.is_genuine(keys) {
            let detail =
                format!("checkpoint {} was not signed by key {}", statement.number, statement.key_id);
            return Err(damage(statement.seq, DamageKind::SignatureInvalid, detail));
        }
        let (number, seq, digest) = self
            .checkpoint
            .as_ref()
            .map_or((0, 0, GENESIS), |last| (last.statement.number, last.statement.seq, last.digest()));
        if statement.number != number + 1 || statement.previous != digest {
            let detail = format!("checkpoint {} does not follow checkpoint {number}", statement.number);
            return Err(damage(statement.seq, DamageKind::CheckpointMissing, detail));
        }
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
        Ok(())
    }

    fn end(&self, class: &str) -> End {
        self.ends
            .get(class)
            .cloned()
            .unwrap_or(End { id: None, head: SignedHead { seq: 0, position: 0, hash: GENESIS.to_vec() } })
    }

    /// Whether the row that was signed is one of those that were to be seen.
    fn is_seen(&self, class: &str, signed: &SignedHead) -> bool {
        let end = self.end(class);
        end.id.is_some() || signed.seq >= end.head.seq
    }
}
