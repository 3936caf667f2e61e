//! Rows that have had their time.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::{BigInt, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Rows that are forgotten.
#[derive(Debug, Clone, Copy)]
pub struct Leftovers {
    /// What they are, for operators.
    pub what: &'static str,
    table: &'static str,
    /// Holds for rows that have had their time; `$1` is the time that `age` ago was.
    condition: &'static str,
    age: TimeDelta,
}

const fn leftovers(
    what: &'static str,
    table: &'static str,
    condition: &'static str,
    age: TimeDelta,
) -> Leftovers {
    Leftovers { what, table, condition, age }
}

/// All of them.
pub const LEFTOVERS: &[Leftovers] = &[
    // As long as the newest link in a mail works.
    leftovers(
        "registrations that nobody verified",
        "users",
        "status = 'unverified' AND updated_at < $1 AND NOT EXISTS (
             SELECT FROM one_time_tokens
             WHERE user_id = users.id AND expires_at > $1 + interval '24 hours')",
        TimeDelta::hours(24),
    ),
    leftovers("expired one-time tokens", "one_time_tokens", "expires_at <= $1", TimeDelta::zero()),
    leftovers("expired login challenges", "login_challenges", "expires_at <= $1", TimeDelta::zero()),
    leftovers("unfinished second factors", "totp_enrolments", "expires_at <= $1", TimeDelta::zero()),
    leftovers("devices that were not seen for long", "known_devices", "expires_at <= $1", TimeDelta::zero()),
    leftovers(
        "changes of address that are over",
        "email_changes",
        "(confirmed_at IS NULL AND confirm_expires_at <= $1) OR undo_expires_at <= $1",
        TimeDelta::zero(),
    ),
    leftovers("answers to repeat", "idempotency_keys", "expires_at <= $1", TimeDelta::zero()),
    leftovers("copies of users' data", "data_exports", "expires_at <= $1", TimeDelta::zero()),
    // Guesses that are made slowly must add up. Anybody can make a row for any address, so those of a few guesses do not stay for as long.
    leftovers(
        "counters of few guesses at passwords",
        "attempts",
        "scope = 'password' AND updated_at < $1 AND consecutive < 5",
        TimeDelta::days(30),
    ),
    // What turned something off stays until a success or a new credential.
    leftovers(
        "counters of old attempts",
        "attempts",
        "updated_at < $1 AND consecutive < 100",
        TimeDelta::days(180),
    ),
    // Longer than session-service knows a session that has ended.
    leftovers(
        "sessions whose owner was told that they were stolen",
        "stolen_sessions",
        "told_at < $1",
        TimeDelta::days(60),
    ),
    leftovers("counters of mails", "mail_allowances", "updated_at < $1", TimeDelta::days(2)),
];

/// Forgets at most `count` of them; says how many. Rows that somebody works with wait for another time.
pub async fn delete(
    conn: &mut AsyncPgConnection,
    leftovers: &Leftovers,
    now: DateTime<Utc>,
    count: i64,
) -> pg::Result<usize> {
    let Leftovers { table, condition, age, .. } = leftovers;
    let statement = format!(
        "DELETE FROM {table} WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM {table} WHERE {condition} LIMIT $2 FOR UPDATE SKIP LOCKED))"
    );
    let query = diesel::sql_query(statement).bind::<Timestamptz, _>(now - *age).bind::<BigInt, _>(count);
    Ok(query.execute(conn).await?)
}
