//! When addresses were last sent mails that anybody can ask for.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::schema::mail_allowances;

/// When mails were sent to the address with `key`, locked until the transaction ends.
pub async fn lock(
    conn: &mut AsyncPgConnection,
    key: &[u8],
    now: DateTime<Utc>,
) -> pg::Result<Vec<DateTime<Utc>>> {
    let sent_at = diesel::insert_into(mail_allowances::table)
        .values((
            mail_allowances::key.eq(key),
            mail_allowances::sent_at.eq(Vec::<DateTime<Utc>>::new()),
            mail_allowances::updated_at.eq(now),
        ))
        .on_conflict(mail_allowances::key)
        .do_update()
        .set(mail_allowances::updated_at.eq(now))
        .returning(mail_allowances::sent_at)
        .get_result(conn)
        .await?;
    Ok(sent_at)
}

/// Stores when mails were sent to the address with `key`, which is locked.
pub async fn save(conn: &mut AsyncPgConnection, key: &[u8], sent_at: &[DateTime<Utc>]) -> pg::Result<()> {
    diesel::update(mail_allowances::table.find(key))
        .set(mail_allowances::sent_at.eq(sent_at))
        .execute(conn)
        .await?;
    Ok(())
}
