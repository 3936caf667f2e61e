use chrono::TimeDelta;
use diesel_async::{AsyncConnection, AsyncPgConnection};

use super::Notary;
use crate::{
    domain::{Checkpoint, CheckpointKeys, SignedHead, Statement, chain::GENESIS},
    store::{self, chain::Heads},
};

/// So many new rows are worth a checkpoint at once.
pub const ROWS: i64 = 1_000;
/// Any new row is worth one after this long.
pub const AGE: TimeDelta = TimeDelta::seconds(60);
/// How many checkpoints are read at a time that the archive misses.
const CATCH_UP: i64 = 100;

/// What a round of signing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// The log has a new checkpoint.
    Checkpoint { number: i64, seq: i64 },
    /// Nothing new is worth one yet, or somebody else signs.
    Nothing,
}

/// Why nothing was signed or archived.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("the log cannot be read or written")]
    Database(#[from] pg::Error),
    #[error("the archive does not take the checkpoint")]
    Archive(#[source] anyhow::Error),
    /// The log was rolled back, or written anew. A signature on top of that would bless it.
    #[error("the archive has checkpoint {archived}, and the log does not have the same")]
    RolledBack { archived: i64 },
    #[error("there is no key to sign with")]
    NoKey,
}
pg::leaves_transactions!(SignError);

impl Notary {
    /// Signs where the log ends, if there is enough new in it, and brings to the archive what is not there yet. Signs nothing
    /// while the archive has what the log does not have.
    pub async fn sign_if_due(&self) -> Result<Signed, SignError> {
        self.sign(is_due).await
    }

    /// The same if there is anything new at all.
    pub async fn sign_now(&self) -> Result<Signed, SignError> {
        self.sign(|newest, heads| heads.seq() > signed_seq(newest)).await
    }

    async fn sign(&self, is_due: IsDue) -> Result<Signed, SignError> {
        let mut conn = self.database.connection().await?;
        // Asked twice, because the archive is looked at in between, and only if there is a reason to.
        if !is_due_now(&mut conn, is_due).await? {
            return Ok(Signed::Nothing);
        }
        drop(conn);
        self.bring_to_archive().await?;
        let mut conn = self.database.connection().await?;
        let signed = conn
            .transaction(async |conn| {
                if !store::checkpoints::try_to_sign(conn).await? {
                    return Ok(None);
                }
                let newest = store::checkpoints::newest(conn).await?;
                let heads = store::chain::heads(conn).await?;
                if !is_due(newest.as_ref(), &heads) {
                    return Ok(None);
                }
                add_checkpoint(conn, &self.keys, newest.as_ref(), &heads).await.map(Some)
            })
            .await?;
        drop(conn);
        let Some(checkpoint) = signed else { return Ok(Signed::Nothing) };
        self.archive_one(&checkpoint).await?;
        Ok(Signed::Checkpoint { number: checkpoint.statement.number, seq: checkpoint.statement.seq })
    }

    async fn archive_one(&self, checkpoint: &Checkpoint) -> Result<(), SignError> {
        let Some(archive) = &self.archive else { return Ok(()) };
        archive.keep(checkpoint).await.map_err(SignError::Archive)
    }

    /// Brings what the archive missed, because it was away or the process died in between.
    pub async fn bring_to_archive(&self) -> Result<(), SignError> {
        let Some(archive) = &self.archive else { return Ok(()) };
        let mut archived = archive.newest_number().await.map_err(SignError::Archive)?;
        let mut conn = self.database.connection().await?;
        if archived > 0 {
            let ours = store::checkpoints::find(&mut conn, archived).await?;
            let theirs = archive.checkpoint(archived).await.map_err(SignError::Archive)?;
            if ours.is_none() || ours != theirs {
                return Err(SignError::RolledBack { archived });
            }
        }
        loop {
            let missing = store::checkpoints::after(&mut conn, archived, CATCH_UP).await?;
            let Some(last) = missing.last() else { return Ok(()) };
            archived = last.statement.number;
            for checkpoint in &missing {
                archive.keep(checkpoint).await.map_err(SignError::Archive)?;
            }
        }
    }
}

/// Whether the log is worth another checkpoint.
type IsDue = fn(Option<&Checkpoint>, &Heads) -> bool;

async fn is_due_now(conn: &mut AsyncPgConnection, is_due: IsDue) -> pg::Result<bool> {
    let newest = store::checkpoints::newest(conn).await?;
    let heads = store::chain::heads(conn).await?;
    Ok(is_due(newest.as_ref(), &heads))
}

fn signed_seq(newest: Option<&Checkpoint>) -> i64 {
    newest.map_or(0, |newest| newest.statement.seq)
}

fn is_due(newest: Option<&Checkpoint>, heads: &Heads) -> bool {
    let new_rows = heads.seq() - signed_seq(newest);
    let is_old = newest.is_none_or(|newest| heads.now - newest.statement.signed_at >= AGE);
    new_rows >= ROWS || (new_rows > 0 && is_old)
}

async fn add_checkpoint(
    conn: &mut AsyncPgConnection,
    keys: &CheckpointKeys,
    newest: Option<&Checkpoint>,
    heads: &Heads,
) -> Result<Checkpoint, SignError> {
    let signed_heads = heads.chains.iter().filter(|(_, head)| head.seq > 0).map(|(class, head)| {
        let hash = head.hash.to_vec();
        (class.name().to_owned(), SignedHead { seq: head.seq, position: head.position, hash })
    });
    let statement = Statement {
        number: newest.map_or(0, |newest| newest.statement.number) + 1,
        seq: heads.seq(),
        signed_at: heads.now,
        key_id: keys.signing_id().ok_or(SignError::NoKey)?.to_owned(),
        heads: signed_heads.collect(),
        previous: newest.map_or(GENESIS, Checkpoint::digest).to_vec(),
    };
    let checkpoint = statement.sign(keys).ok_or(SignError::NoKey)?;
    store::checkpoints::insert(conn, &checkpoint).await?;
    Ok(checkpoint)
}
