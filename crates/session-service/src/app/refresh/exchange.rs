//! The two ways from a refresh token to a pair. The ordinary one reads without a lock, decides, and writes only if what it read is still so: two round
//! trips and one commit. Whoever loses a race, or would end a session, takes the other one and decides with the row locked.

use access_tokens::{Revocation, RevocationTarget};
use auth_ids::GenericUuid;
use chrono::{DateTime, Utc};
use diesel_async::AsyncConnection;
use pg::AsyncPgConnection;

use super::{Refresh, RefreshError};
use crate::{
    app::{IssueError, Issued, facts, revocation_feed::RevocationFeed},
    domain::{
        key_set::KeySet,
        refresh_line::Verdict,
        refresh_token::{RefreshKey, RefreshToken},
        session::{REUSE, Session},
    },
    state::App,
    store::{
        revocations,
        rotation::{self, Read},
        sessions, subjects,
    },
};

/// What became of a token, committed.
pub(super) enum Outcome {
    Issued(Verdict, Box<Issued>),
    Reused(Box<Session>),
    /// Before; nothing if it was deleted meanwhile.
    Ended(Option<Box<Session>>),
}

/// A token whose MAC is good, with what an answer to it needs.
struct Presented<'a> {
    token: RefreshToken,
    refresh_key: RefreshKey,
    keys: &'a KeySet,
    request: &'a Refresh,
}

pub(super) async fn exchange(app: &App, request: &Refresh) -> Result<Outcome, RefreshError> {
    let token = RefreshToken::parse(&request.token).ok_or(RefreshError::InvalidToken)?;
    // Before a connection is held, because loading keys takes one too.
    let keys = app.keys.for_signing().await;
    let (read, epoch, refresh_key) = prove(app, &token).await?;
    let presented = Presented { token, refresh_key, keys: &keys, request };

    let now = app.now();
    if !read.session.is_live(now) {
        return Ok(Outcome::Ended(Some(Box::new(read.session))));
    }
    let verdict = read.session.line.judge(presented.token.generation, now);
    if verdict == Verdict::Repeat && read.session.line.hand_out_again(now).is_none() {
        let issued = presented.issue(app, read.session, epoch, now)?;
        return Ok(Outcome::Issued(verdict, Box::new(issued)));
    }
    // A burst at one session waits here, where it holds no connection.
    let _turn = app.turns.take(presented.token.session.into_untyped_uuid()).await;
    let mut conn = app.database.connection().await?;
    if let Some(issued) = presented.answer(app, &mut conn, verdict, read, epoch, now).await? {
        app.wake.wake();
        return Ok(Outcome::Issued(verdict, Box::new(issued)));
    }
    let (outcome, revocation) =
        conn.transaction(async |conn| presented.answer_locked(app, conn).await).await?;
    if let Some(revocation) = revocation {
        app.feed.announce(vec![revocation]);
    }
    app.wake.wake();
    Ok(outcome)
}

/// Checks the token's MAC; gives what was read to do so, and the key it was made with. Reads without a lock: who forges a token can neither write
/// nor make the owner wait.
async fn prove(app: &App, token: &RefreshToken) -> Result<(Read, u64, RefreshKey), RefreshError> {
    let mut conn = app.database.connection().await?;
    let (read, epoch) = rotation::read(&mut conn, token.session).await?.ok_or(RefreshError::InvalidToken)?;
    let key = app.open_refresh_key(&read.session).map_err(IssueError::from)?;
    if key.issued(token) { Ok((read, epoch, key)) } else { Err(RefreshError::InvalidToken) }
}

impl Presented<'_> {
    /// Answers as `verdict` says; nothing if that ends the session, or if somebody has changed it since it was read.
    async fn answer(
        &self,
        app: &App,
        conn: &mut AsyncPgConnection,
        verdict: Verdict,
        read: Read,
        epoch: u64,
        now: DateTime<Utc>,
    ) -> Result<Option<Issued>, RefreshError> {
        match verdict {
            Verdict::Rotate | Verdict::Replace => self.rotate(app, conn, read, epoch, now).await,
            Verdict::Repeat => self.repeat(app, conn, read, epoch, now).await,
            Verdict::Reuse => Ok(None),
        }
    }

    /// Gives the token the child that it already has.
    async fn repeat(
        &self,
        app: &App,
        conn: &mut AsyncPgConnection,
        read: Read,
        epoch: u64,
        now: DateTime<Utc>,
    ) -> Result<Option<Issued>, RefreshError> {
        let Read { mut session, version } = read;
        if let Some(line) = session.line.hand_out_again(now) {
            session.line = line;
            if !rotation::save_hand_out(conn, &session, version).await? {
                return Ok(None);
            }
        }
        Ok(Some(self.issue(app, session, epoch, now)?))
    }

    /// Gives the token a new child, if nobody has changed the session since it was read. The tokens are made first: a child that cannot be told
    /// to anybody must not be born. Should the epoch have changed since, they say what was true in the old one and are dead with it.
    async fn rotate(
        &self,
        app: &App,
        conn: &mut AsyncPgConnection,
        read: Read,
        epoch: u64,
        now: DateTime<Utc>,
    ) -> Result<Option<Issued>, RefreshError> {
        let Read { session, version } = read;
        let Refresh { device, client, .. } = self.request;
        let context_changed = session.device.differs_from(device);
        let access_token_id = auth_ids::generate(&*app.clock, &mut clock::secure_rng());
        let session = session.rotate(self.token.generation, access_token_id, device, now);
        let issued = self.issue(app, session, epoch, now)?;
        let fact = facts::refreshed(&issued.session, context_changed, client.clone(), &*app.clock);
        let stored = rotation::save(conn, &issued.session, version, outbox::Row::of_fact(fact)?).await?;
        Ok(stored.then_some(issued))
    }

    /// Decides with the session's row locked; gives what is to be announced after the commit.
    async fn answer_locked(
        &self,
        app: &App,
        conn: &mut AsyncPgConnection,
    ) -> Result<(Outcome, Option<Revocation>), RefreshError> {
        let locked = rotation::lock(conn, self.token.session).await?;
        // Only now: waiting for the lock took time.
        let now = app.now();
        let read = match locked {
            Some(read) if read.session.is_live(now) => read,
            ended => return Ok((Outcome::Ended(ended.map(|read| Box::new(read.session))), None)),
        };
        let verdict = read.session.line.judge(self.token.generation, now);
        if verdict == Verdict::Reuse {
            let revocation = self.end(app, conn, &read.session, now).await?;
            return Ok((Outcome::Reused(Box::new(read.session)), Some(revocation)));
        }
        // Not before the lock: who changes it changes the sessions first, and waits for us or made us wait.
        let epoch = subjects::epoch(conn, read.session.user_id).await?;
        let issued = self.answer(app, conn, verdict, read, epoch, now).await?;
        // Nobody can have changed a row that is locked.
        let issued = issued.ok_or(pg::Error::from(diesel::result::Error::NotFound))?;
        Ok((Outcome::Issued(verdict, Box::new(issued)), None))
    }

    /// Ends the session of a token that nobody honest still holds.
    async fn end(
        &self,
        app: &App,
        conn: &mut AsyncPgConnection,
        session: &Session,
        now: DateTime<Utc>,
    ) -> Result<Revocation, RefreshError> {
        sessions::revoke(conn, session.id, REUSE, now).await?;
        let revocation = RevocationFeed::revocation(RevocationTarget::Session(session.id), now);
        revocations::record(conn, &[revocation]).await?;
        let client = self.request.client.clone();
        let fact = facts::reuse_detected(session, self.token.generation, client, &*app.clock);
        outbox::append_fact(conn, fact).await?;
        Ok(revocation)
    }

    /// The pair of the session's current generation.
    fn issue(
        &self,
        app: &App,
        session: Session,
        epoch: u64,
        now: DateTime<Utc>,
    ) -> Result<Issued, IssueError> {
        let signer = self.keys.signer(now).ok_or(IssueError::NoSigningKey)?;
        let tokens = app.tokens(&session, epoch, &self.refresh_key, signer, now)?;
        Ok(Issued { session, tokens })
    }
}
