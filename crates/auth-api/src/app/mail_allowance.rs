//! How many mails anybody can have sent to one address.

use pg::AsyncPgConnection;

use crate::{
    domain::{email_address::EmailAddress, mail_allowance},
    state::AppState,
    store::mail_allowances,
};

/// Whether one more mail may go to `email`, which is then counted. Whoever asked is not told.
pub async fn take(conn: &mut AsyncPgConnection, state: &AppState, email: &EmailAddress) -> pg::Result<bool> {
    let now = state.clock.now();
    let key = state.identifier_key.mac("mail_allowance", email.as_str().as_bytes());
    let sent_at = mail_allowances::lock(conn, &key, now).await?;
    let Some(sent_at) = mail_allowance::with_one_more(&sent_at, now) else { return Ok(false) };
    mail_allowances::save(conn, &key, &sent_at).await?;
    Ok(true)
}
