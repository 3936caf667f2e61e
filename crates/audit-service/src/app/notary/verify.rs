use std::collections::{BTreeMap, VecDeque};

use chrono::TimeDelta;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::Notary;
use crate::{
    domain::{
        Checkpoint, Class, Damage, DamageKind, SignedHead, Statement,
        proof::{Proof, ProvenRow, Unfit},
    },
    store::{
        self,
        chain::Heads,
        verification::{Joint, Row},
    },
};

/// How many rows are read at a time: some MiB.
const CHUNK: i64 = 4_000;
/// How many such chunks are read and hashed at once.
const AT_ONCE: usize = 3;
/// How many checkpoints are read at a time.
const CHECKPOINTS: i64 = 500;
/// A checkpoint is in the archive by then, unless that is away or new.
const ARCHIVED_WITHIN: TimeDelta = TimeDelta::minutes(5);

/// Which part of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    /// `None` begins with the oldest row that is kept.
    from: Option<i64>,
    /// `None` ends with the newest.
    to: Option<i64>,
}

/// The range makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the range does not begin with 1 or more, or ends before it begins")]
pub struct RangeInvalid;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub from_seq: i64,
    pub to_seq: i64,
    pub rows: u64,
    pub checkpoints: u64,
    /// `None` when all is well.
    pub damage: Option<Damage>,
    /// Where to go on, when there was no time for all.
    pub next_seq: Option<i64>,
    /// Whether the checkpoints outside of the database were looked at, too.
    pub is_archive_seen: bool,
}

/// Why nothing was found out.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    RangeInvalid(#[from] RangeInvalid),
    #[error("the log cannot be read")]
    Database(#[from] pg::Error),
    #[error("the archive cannot be read")]
    Archive(#[source] anyhow::Error),
    #[error("a chunk was not hashed")]
    Hashing(#[from] tokio::task::JoinError),
}

impl Range {
    /// 0 stands for the one end and the other.
    pub fn parse(from: i64, to: i64) -> Result<Self, RangeInvalid> {
        if from < 0 || to < 0 || (to > 0 && from > to) {
            return Err(RangeInvalid);
        }
        let given = |seq| Some(seq).filter(|seq| *seq > 0);
        Ok(Self { from: given(from), to: given(to) })
    }
}

impl Notary {
    /// Whether the rows of `range` are what was recorded, as far as `deadline` allows. Needs the memory of a few chunks,
    /// however long the log is.
    pub async fn verify(&self, range: Range, deadline: Option<Instant>) -> Result<Report, VerifyError> {
        // In this order: what is signed or recorded meanwhile is in what is read later.
        let archived = if range.to.is_none() { self.newest_archived().await? } else { None };
        let mut conn = self.database.connection().await?;
        let newest = store::checkpoints::newest(&mut conn).await?;
        let bounds = store::verification::bounds(&mut conn).await?;
        let heads = store::chain::heads(&mut conn).await?;
        drop(conn);

        let (lowest, highest) = bounds.unwrap_or((1, 0));
        let end = range.to.map_or(heads.seq(), |to| to.min(heads.seq()));
        let start = range.from.unwrap_or(lowest).max(lowest.min(end + 1));
        let mut report = Report {
            from_seq: start,
            to_seq: end,
            rows: 0,
            checkpoints: 0,
            damage: None,
            next_seq: None,
            is_archive_seen: false,
        };
        let mut proof = match self.beginning(start, range.from.is_none()).await? {
            Ok(proof) => proof,
            Err(damage) => return Ok(Report { damage: Some(damage), ..report }),
        };
        let walked = self.walk(&mut proof, start, end, deadline).await?;
        (report.rows, report.checkpoints) = (proof.rows, proof.checkpoints);
        match walked {
            Walked::Damaged(damage) => report.damage = Some(damage),
            Walked::Until(seq) if seq < end => {
                (report.to_seq, report.next_seq) = (seq, Some(seq + 1));
            }
            Walked::Until(_) if range.to.is_none() => {
                report.damage = ends_well(&proof, &heads, highest, newest.as_ref()).err();
                if report.damage.is_none()
                    && let Some((number, archived)) = archived
                {
                    report.damage = match newest {
                        Some(newest) if number == 0 => archives_nothing(&newest, &heads).err(),
                        _ => self.compare(number, archived.as_ref(), heads.seq()).await?.err(),
                    };
                    report.is_archive_seen = true;
                }
            }
            Walked::Until(_) => {}
        }
        Ok(report)
    }

    /// The number of the newest checkpoint of the archive with the checkpoint; the number is 0 when it has none.
    async fn newest_archived(&self) -> Result<Option<(i64, Option<Checkpoint>)>, VerifyError> {
        let Some(archive) = &self.archive else { return Ok(None) };
        let number = archive.newest_number().await.map_err(VerifyError::Archive)?;
        if number == 0 {
            return Ok(Some((0, None)));
        }
        let checkpoint = archive.checkpoint(number).await.map_err(VerifyError::Archive)?;
        Ok(Some((number, checkpoint)))
    }

    /// What precedes the first row of the range: the rows before it, where retention cut the chains off, or nothing.
    async fn beginning(&self, start: i64, is_oldest: bool) -> Result<Result<Proof, Damage>, VerifyError> {
        let mut conn = self.database.connection().await?;
        let mut ends = BTreeMap::new();
        let drops = store::checkpoints::last_drops(&mut conn).await?;
        for class in Class::ALL {
            let joint = if is_oldest {
                None
            } else {
                store::verification::last_before(&mut conn, class.name(), start).await?
            };
            if let Some(Joint { seq, position, hash }) = joint {
                ends.insert(class.name().to_owned(), SignedHead { seq, position, hash });
            } else if let Some(signed) = drops.get(class.name()) {
                if !signed.is_genuine(&self.keys) {
                    return Ok(Err(Damage {
                        seq: signed.drop.last.seq,
                        id: None,
                        kind: DamageKind::SignatureInvalid,
                        detail: format!("that class {class:?} begins here was not signed by us"),
                    }));
                }
                ends.insert(class.name().to_owned(), signed.drop.last.clone());
            }
        }
        let number = store::checkpoints::number_below(&mut conn, start).await?;
        let checkpoint = store::checkpoints::find(&mut conn, number).await?;
        if let Some(forged) = checkpoint.as_ref().filter(|last| !last.is_genuine(&self.keys)) {
            return Ok(Err(forged.not_signed_by_us()));
        }
        // Of rows in front of the oldest one it is known only that retention dropped them.
        let dropped = ends.values().map(|head| head.seq).max().unwrap_or_default();
        let before = if is_oldest { dropped } else { dropped.max(start - 1) };
        Ok(Ok(Proof::beginning_after(before, ends, checkpoint)))
    }

    async fn walk(
        &self,
        proof: &mut Proof,
        start: i64,
        end: i64,
        deadline: Option<Instant>,
    ) -> Result<Walked, VerifyError> {
        let first_number = proof.next_checkpoint();
        let mut checkpoints = Checkpoints {
            notary: self,
            next_number: first_number,
            read: VecDeque::new(),
            is_over: false,
            next: Next::Unread,
        };
        let chunks = stream::iter((start..=end).step_by(usize::try_from(CHUNK).unwrap_or(1)));
        let chunks = chunks.map(|first| self.chunk(first - 1, (first + CHUNK - 1).min(end)));
        let mut chunks = std::pin::pin!(chunks.buffered(AT_ONCE));
        let mut seen = start - 1;
        while let Some((up_to, rows)) = chunks.try_next().await? {
            for row in rows {
                if let Err(damage) = checkpoints.feed(proof, row.seq, false).await? {
                    return Ok(Walked::Damaged(damage));
                }
                match proof.row(row) {
                    Ok(()) => {}
                    Err(Unfit::Damage(damage)) => return Ok(Walked::Damaged(damage)),
                    Err(Unfit::Broken(broken)) => {
                        let mut conn = self.database.connection().await?;
                        let next =
                            store::verification::next_link(&mut conn, &broken.class, broken.damage.seq)
                                .await?;
                        let is_followed = next.is_some_and(|next| next == broken.hash);
                        let suspect = broken.suspect.filter(|_| is_followed);
                        return Ok(Walked::Damaged(suspect.unwrap_or(broken.damage)));
                    }
                }
            }
            seen = up_to;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        if let Err(damage) = checkpoints.feed(proof, seen + 1, seen == end).await? {
            return Ok(Walked::Damaged(damage));
        }
        if let Next::Unfit(damage) = checkpoints.next {
            return Ok(Walked::Damaged(damage));
        }
        Ok(Walked::Until(seen))
    }

    /// Rows with their hashes computed, by a task of its own, so that chunks share the cores.
    #[expect(clippy::disallowed_methods, reason = "it ends with whoever waits for it")]
    async fn chunk(&self, after: i64, up_to: i64) -> Result<(i64, Vec<ProvenRow>), VerifyError> {
        let database = self.database.clone();
        let proving = tokio::spawn(async move {
            let mut conn = database.connection().await?;
            let rows = store::verification::rows(&mut conn, after, up_to).await?;
            Ok::<_, VerifyError>(rows.into_iter().map(prove).collect())
        });
        Ok((up_to, AbortOnDropHandle::new(proving).await??))
    }

    /// Whether the log has what the archive has. All checkpoints are chained, so the newest stands for those before it.
    async fn compare(
        &self,
        number: i64,
        archived: Option<&Checkpoint>,
        end: i64,
    ) -> Result<Result<(), Damage>, VerifyError> {
        if number == 0 {
            return Ok(Ok(()));
        }
        let mut conn = self.database.connection().await?;
        let ours = store::checkpoints::find(&mut conn, number).await?;
        let Some(archived) = archived.filter(|archived| archived.is_genuine(&self.keys)) else {
            let detail = format!("checkpoint {number} of the archive was not signed by us");
            return Ok(Err(Damage { seq: end, id: None, kind: DamageKind::SignatureInvalid, detail }));
        };
        if ours.as_ref() == Some(archived) {
            return Ok(Ok(()));
        }
        let signed = archived.statement.seq;
        let at = archived.statement.signed_at;
        Ok(Err(if signed > end {
            let detail =
                format!("the archive knows of {at} that the log had seq {signed}, and it ends with {end}");
            Damage { seq: end + 1, id: None, kind: DamageKind::Truncated, detail }
        } else {
            let detail = format!("the archive has a checkpoint {number} of {at} that the log does not have");
            Damage { seq: signed, id: None, kind: DamageKind::ArchiveMismatch, detail }
        }))
    }
}

enum Walked {
    Damaged(Damage),
    /// The last `seq` that was looked at.
    Until(i64),
}

/// Checkpoints in their order, read as they are needed.
struct Checkpoints<'a> {
    notary: &'a Notary,
    /// The number of the next one that is to be read.
    next_number: i64,
    read: VecDeque<Checkpoint>,
    is_over: bool,
    next: Next,
}

/// The checkpoint that comes next.
enum Next {
    Unread,
    /// It is ours and follows the one before; so its `seq` can be believed.
    Fit(Checkpoint),
    /// It says nothing of where it belongs, nor do those behind it. The rows are looked at nevertheless: one of them may be named first.
    Unfit(Damage),
    None,
}

impl Checkpoints<'_> {
    /// Feeds those that speak of rows below `seq`.
    async fn feed(
        &mut self,
        proof: &mut Proof,
        seq: i64,
        is_end: bool,
    ) -> Result<Result<(), Damage>, VerifyError> {
        loop {
            match std::mem::replace(&mut self.next, Next::None) {
                Next::Unread => self.next = self.read_next(proof).await?,
                Next::Fit(next) if next.statement.seq < seq => {
                    if let Err(damage) = proof.checkpoint(next, is_end) {
                        return Ok(Err(damage));
                    }
                    self.next = Next::Unread;
                }
                other => {
                    self.next = other;
                    return Ok(Ok(()));
                }
            }
        }
    }

    async fn read_next(&mut self, proof: &Proof) -> Result<Next, VerifyError> {
        if self.read.is_empty() && !self.is_over {
            let mut conn = self.notary.database.connection().await?;
            self.read = store::checkpoints::after(&mut conn, self.next_number - 1, CHECKPOINTS).await?.into();
            self.is_over = self.read.len() < usize::try_from(CHECKPOINTS).unwrap_or_default();
            self.next_number = self.read.back().map_or(self.next_number, |last| last.statement.number + 1);
        }
        Ok(match self.read.pop_front() {
            Some(next) => match proof.follows(&next, &self.notary.keys) {
                Ok(()) => Next::Fit(next),
                Err(damage) => Next::Unfit(damage),
            },
            None => Next::None,
        })
    }
}

/// Whether an archive may have no checkpoint although the log has one.
fn archives_nothing(newest: &Checkpoint, heads: &Heads) -> Result<(), Damage> {
    let Statement { number, signed_at, .. } = newest.statement;
    if heads.now - signed_at < ARCHIVED_WITHIN {
        return Ok(());
    }
    let detail = format!(
        "the archive has no checkpoint, and the log has {number} of them; a service that signs brings them to an archive that is new"
    );
    Err(Damage { seq: heads.seq(), id: None, kind: DamageKind::ArchiveMismatch, detail })
}

fn prove(row: Row) -> ProvenRow {
    let is_intact = row.expected_hash().is_some_and(|hash| hash.as_slice() == row.hash);
    let Row { class, seq, position, id, prev_hash, hash, .. } = row;
    ProvenRow { class, seq, position, id, prev_hash, hash, is_intact }
}

/// Whether the rows end where the heads say, and where it was signed last.
fn ends_well(proof: &Proof, heads: &Heads, highest: i64, newest: Option<&Checkpoint>) -> Result<(), Damage> {
    let heads_of = heads.chains.iter().map(|(class, head)| {
        let hash = head.hash.to_vec();
        (class.name().to_owned(), SignedHead { seq: head.seq, position: head.position, hash })
    });
    proof.finish(&heads_of.collect())?;
    if highest > heads.seq() {
        let detail = format!("the log ends with seq {}, and there is a row behind its end", heads.seq());
        return Err(Damage { seq: highest, id: None, kind: DamageKind::ChainBroken, detail });
    }
    // Whatever was signed up to the newest was signed of rows that were there.
    if let Some(newest) = newest.filter(|newest| newest.statement.number >= proof.next_checkpoint()) {
        let Checkpoint { statement, .. } = newest;
        let detail = format!(
            "checkpoint {} knows of {} that the log had seq {}, and it ends with {}",
            statement.number,
            statement.signed_at,
            statement.seq,
            heads.seq()
        );
        return Err(Damage { seq: heads.seq() + 1, id: None, kind: DamageKind::Truncated, detail });
    }
    Ok(())
}
