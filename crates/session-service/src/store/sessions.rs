//! Sessions, live and ended.

use auth_ids::{AccessTokenId, GenericUuid, SessionId, UserId, Uuid};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    pg::Pg,
    prelude::*,
    sql_types::{Array, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ipnet::IpNet;

use super::schema::{sessions, subjects};
use crate::domain::{
    device::Device,
    lifetime::Lifetime,
    refresh_line::RefreshLine,
    session::{Grant, Session},
    standing::Standing,
};

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions, check_for_backend(Pg), treat_none_as_default_value = false)]
pub(super) struct SessionRow {
    pub(super) id: Uuid,
    pub(super) user_id: Uuid,
    pub(super) roles: Vec<String>,
    pub(super) permissions: Vec<String>,
    pub(super) amr: Vec<String>,
    pub(super) aal: i16,
    pub(super) auth_time: DateTime<Utc>,
    pub(super) device_name: Option<String>,
    pub(super) ip: Option<IpNet>,
    pub(super) user_agent: Option<String>,
    pub(super) refresh_key: Vec<u8>,
    pub(super) generation: i64,
    pub(super) parent_generation: Option<i64>,
    pub(super) rotated_at: DateTime<Utc>,
    pub(super) handed_out_at: DateTime<Utc>,
    pub(super) access_token_id: Uuid,
    pub(super) generation_seen: bool,
    pub(super) created_at: DateTime<Utc>,
    pub(super) last_seen_at: DateTime<Utc>,
    pub(super) idle_seconds: i32,
    pub(super) idle_expires_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) revoked_at: Option<DateTime<Utc>>,
    pub(super) revoked_reason: Option<String>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = sessions, check_for_backend(Pg))]
struct StandingRow {
    user_id: Uuid,
    idle_expires_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
}

/// Rows that one statement of the clean-up deletes, or looks at.
const BATCH: i64 = 500;
const WINDOW: i64 = 1000;
/// Sessions that one transaction ends: they are locked until their facts are written.
const EXPIRED_AT_ONCE: usize = 100;

/// That an access token of a session was in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    pub session: SessionId,
    pub token: AccessTokenId,
    pub at: DateTime<Utc>,
}

pub async fn insert(conn: &mut AsyncPgConnection, session: &Session) -> pg::Result<()> {
    diesel::insert_into(sessions::table).values(SessionRow::from(session)).execute(conn).await?;
    Ok(())
}

pub async fn find(conn: &mut AsyncPgConnection, id: SessionId) -> pg::Result<Option<Session>> {
    let row = sessions::table.find(id.into_untyped_uuid()).select(SessionRow::as_select());
    Ok(row.first(conn).await.optional()?.map(Session::from))
}

/// Finds a session and locks its row until the transaction ends.
pub async fn lock(conn: &mut AsyncPgConnection, id: SessionId) -> pg::Result<Option<Session>> {
    let row = sessions::table.find(id.into_untyped_uuid()).select(SessionRow::as_select());
    Ok(row.for_no_key_update().first(conn).await.optional()?.map(Session::from))
}

/// What the access tokens of a session depend on.
pub async fn standing(conn: &mut AsyncPgConnection, id: SessionId) -> pg::Result<Option<Standing>> {
    let found: Option<(StandingRow, i64)> = sessions::table
        .inner_join(subjects::table)
        .filter(sessions::id.eq(id.into_untyped_uuid()))
        .select((StandingRow::as_select(), subjects::epoch))
        .first(conn)
        .await
        .optional()?;
    Ok(found.map(|(row, epoch)| Standing {
        user_id: UserId::from_untyped_uuid(row.user_id),
        epoch: epoch.cast_unsigned(),
        idle_expires_at: row.idle_expires_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
    }))
}

/// The live sessions of a user, the newest first.
pub async fn live_of_user(
    conn: &mut AsyncPgConnection,
    user: UserId,
    now: DateTime<Utc>,
) -> pg::Result<Vec<Session>> {
    let rows: Vec<SessionRow> = sessions::table
        .filter(sessions::user_id.eq(user.into_untyped_uuid()))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::idle_expires_at.gt(now).and(sessions::expires_at.gt(now)))
        .order((sessions::created_at.desc(), sessions::id.desc()))
        .select(SessionRow::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(Session::from).collect())
}

/// Stores what [`Session::elevate`] changed.
pub async fn save_elevation(conn: &mut AsyncPgConnection, session: &Session) -> pg::Result<()> {
    let row = SessionRow::from(session);
    diesel::update(sessions::table.find(row.id))
        .set((
            sessions::amr.eq(row.amr),
            sessions::aal.eq(row.aal),
            sessions::auth_time.eq(row.auth_time),
            sessions::last_seen_at.eq(row.last_seen_at),
            sessions::idle_seconds.eq(row.idle_seconds),
            sessions::idle_expires_at.eq(row.idle_expires_at),
            sessions::expires_at.eq(row.expires_at),
            sessions::ip.eq(row.ip),
            sessions::user_agent.eq(row.user_agent),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a session that is not revoked yet.
pub async fn revoke(
    conn: &mut AsyncPgConnection,
    id: SessionId,
    reason: &str,
    now: DateTime<Utc>,
) -> pg::Result<()> {
    diesel::update(sessions::table.find(id.into_untyped_uuid()))
        .filter(sessions::revoked_at.is_null())
        .set((sessions::revoked_at.eq(now), sessions::revoked_reason.eq(reason)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends the sessions of a user that nobody has ended, but `kept`; which, and whether each was live. Also those whose time is over, which
/// is not written down yet.
pub async fn revoke_of_user(
    conn: &mut AsyncPgConnection,
    user: UserId,
    kept: Option<SessionId>,
    reason: &str,
    now: DateTime<Utc>,
) -> pg::Result<Vec<(SessionId, bool)>> {
    // Nobody's id: a session has a time in its own.
    let kept = kept.map_or(Uuid::nil(), GenericUuid::into_untyped_uuid);
    let revoked: Vec<(Uuid, bool)> = diesel::update(sessions::table)
        .filter(sessions::user_id.eq(user.into_untyped_uuid()).and(sessions::id.ne(kept)))
        .filter(sessions::revoked_at.is_null())
        .set((sessions::revoked_at.eq(now), sessions::revoked_reason.eq(reason)))
        .returning((sessions::id, sessions::idle_expires_at.gt(now).and(sessions::expires_at.gt(now))))
        .get_results(conn)
        .await?;
    Ok(revoked.into_iter().map(|(id, live)| (SessionId::from_untyped_uuid(id), live)).collect())
}

/// Changes what a user may do in all sessions that nobody has ended, none of which lives for longer than `limit` from now on; how many are live.
pub async fn update_grants(
    conn: &mut AsyncPgConnection,
    user: UserId,
    roles: &[String],
    permissions: &[String],
    limit: Option<Lifetime>,
    now: DateTime<Utc>,
) -> pg::Result<usize> {
    #[derive(QueryableByName)]
    struct Updated {
        #[diesel(sql_type = Bool)]
        live: bool,
    }
    let updated: Vec<Updated> = diesel::sql_query(
        "UPDATE sessions
            SET roles = $2, permissions = $3, idle_seconds = least(idle_seconds, $4),
                idle_expires_at = least(idle_expires_at, $5), expires_at = least(expires_at, $6)
          WHERE user_id = $1 AND revoked_at IS NULL
         RETURNING idle_expires_at > $7 AND expires_at > $7 AS live",
    )
    .bind::<SqlUuid, _>(user.into_untyped_uuid())
    .bind::<Array<Text>, _>(roles)
    .bind::<Array<Text>, _>(permissions)
    .bind::<Nullable<Integer>, _>(limit.map(|limit| seconds(limit.idle)))
    .bind::<Nullable<Timestamptz>, _>(limit.map(|limit| now + limit.idle))
    .bind::<Nullable<Timestamptz>, _>(limit.map(|limit| now + limit.absolute))
    .bind::<Timestamptz, _>(now)
    .load(conn)
    .await?;
    Ok(updated.into_iter().filter(|session| session.live).count())
}

fn seconds(time: TimeDelta) -> i32 {
    i32::try_from(time.num_seconds()).unwrap_or(i32::MAX)
}

/// Ends those of the next sessions after `after`, in the order of their ids, whose time was over at `now`. Gives them and the last id that was looked
/// at; `None` at the end of the table. A session that is locked is in use, and passed over. Their times are in no index, because that would make every refresh write to it.
pub async fn expire(
    conn: &mut AsyncPgConnection,
    after: SessionId,
    now: DateTime<Utc>,
) -> pg::Result<(Vec<Session>, Option<SessionId>)> {
    let is_over = sessions::revoked_at
        .is_null()
        .and(sessions::idle_expires_at.le(now).or(sessions::expires_at.le(now)).assume_not_null());
    let window: Vec<(Uuid, bool)> = sessions::table
        .filter(sessions::id.gt(after.into_untyped_uuid()))
        .order(sessions::id)
        .select((sessions::id, is_over))
        .limit(WINDOW)
        .load(conn)
        .await?;
    let mut over =
        window.iter().enumerate().filter(|(_, (_, over))| *over).map(|(index, (id, _))| (index, *id));
    let batch: Vec<Uuid> = over.by_ref().take(EXPIRED_AT_ONCE).map(|(_, id)| id).collect();
    // What is too much for now is looked at again.
    let looked_at = over.next().map_or(window.len(), |(index, _)| index);
    let last = window.iter().take(looked_at).next_back().map(|(id, _)| SessionId::from_untyped_uuid(*id));
    if batch.is_empty() {
        return Ok((Vec::new(), last));
    }
    let free: Vec<Uuid> = sessions::table
        .filter(sessions::id.eq_any(batch).and(is_over))
        .select(sessions::id)
        .for_no_key_update()
        .skip_locked()
        .load(conn)
        .await?;
    let rows: Vec<SessionRow> = diesel::update(sessions::table)
        .filter(sessions::id.eq_any(free))
        .set((sessions::revoked_at.eq(now), sessions::revoked_reason.eq("expired")))
        .returning(SessionRow::as_returning())
        .get_results(conn)
        .await?;
    Ok((rows.into_iter().map(Session::from).collect(), last))
}

/// Deletes a batch of sessions that ended before `before`; how many there were.
pub async fn delete_ended(conn: &mut AsyncPgConnection, before: DateTime<Utc>) -> pg::Result<usize> {
    let ended = sessions::table
        .filter(sessions::revoked_at.lt(before))
        .order(sessions::revoked_at)
        .select(sessions::id)
        .limit(BATCH);
    let ended: Vec<Uuid> = ended.load(conn).await?;
    Ok(diesel::delete(sessions::table.filter(sessions::id.eq_any(ended))).execute(conn).await?)
}

/// Stores that sessions were in use. Rows that somebody holds are passed over: the next use is told again.
pub async fn record_sightings(conn: &mut AsyncPgConnection, sightings: &[Sighting]) -> pg::Result<usize> {
    let ids: Vec<Uuid> = sightings.iter().map(|seen| seen.session.into_untyped_uuid()).collect();
    let tokens: Vec<Uuid> = sightings.iter().map(|seen| seen.token.into_untyped_uuid()).collect();
    let times: Vec<DateTime<Utc>> = sightings.iter().map(|seen| seen.at).collect();
    let updated = diesel::sql_query(
        "WITH seen AS (SELECT id, array_agg(token) AS tokens, max(at) AS at
                         FROM unnest($1, $2, $3) AS seen (id, token, at) GROUP BY id),
              free AS (SELECT id FROM sessions WHERE id = ANY ($1) FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE sessions
            SET last_seen_at = greatest(sessions.last_seen_at, seen.at),
                generation_seen = sessions.generation_seen OR sessions.access_token_id = ANY (seen.tokens)
           FROM seen JOIN free USING (id)
          WHERE sessions.id = seen.id",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<SqlUuid>, _>(tokens)
    .bind::<Array<Timestamptz>, _>(times)
    .execute(conn)
    .await?;
    Ok(updated)
}

impl From<&Session> for SessionRow {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id.into_untyped_uuid(),
            user_id: session.user_id.into_untyped_uuid(),
            roles: session.grant.roles.clone(),
            permissions: session.grant.permissions.clone(),
            amr: session.grant.amr.clone(),
            aal: i16::from(session.grant.aal),
            auth_time: session.grant.auth_time,
            device_name: session.device.name.clone(),
            ip: session.device.ip.map(IpNet::from),
            user_agent: session.device.user_agent.clone(),
            refresh_key: session.sealed_refresh_key.clone(),
            generation: session.line.generation.cast_signed(),
            parent_generation: session.line.parent.map(u64::cast_signed),
            rotated_at: session.line.rotated_at,
            handed_out_at: session.line.handed_out_at,
            access_token_id: session.access_token_id.into_untyped_uuid(),
            generation_seen: session.line.seen,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            idle_seconds: seconds(session.idle),
            idle_expires_at: session.idle_expires_at,
            expires_at: session.expires_at,
            revoked_at: session.revoked_at,
            revoked_reason: session.revoked_reason.clone(),
        }
    }
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: SessionId::from_untyped_uuid(row.id),
            user_id: UserId::from_untyped_uuid(row.user_id),
            grant: Grant {
                roles: row.roles,
                permissions: row.permissions,
                amr: row.amr,
                // The table allows 1 and 2 only.
                aal: if row.aal == 2 { 2 } else { 1 },
                auth_time: row.auth_time,
            },
            device: Device {
                name: row.device_name,
                ip: row.ip.map(|net| net.addr()),
                user_agent: row.user_agent,
            },
            sealed_refresh_key: row.refresh_key,
            line: RefreshLine {
                generation: row.generation.cast_unsigned(),
                parent: row.parent_generation.map(i64::cast_unsigned),
                rotated_at: row.rotated_at,
                handed_out_at: row.handed_out_at,
                seen: row.generation_seen,
            },
            access_token_id: AccessTokenId::from_untyped_uuid(row.access_token_id),
            created_at: row.created_at,
            last_seen_at: row.last_seen_at,
            idle: TimeDelta::seconds(i64::from(row.idle_seconds)),
            idle_expires_at: row.idle_expires_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            revoked_reason: row.revoked_reason,
        }
    }
}
