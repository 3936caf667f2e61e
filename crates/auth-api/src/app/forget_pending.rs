//! Forgets what was begun in an account before its owner proved who they are: an attacker may have begun it.

use auth_ids::UserId;
use pg::AsyncPgConnection;

use crate::store::{
    email_changes, known_devices, login_challenges,
    one_time_tokens::{self, Purpose},
    totp_enrolments,
};

/// Forgets links that were not used, changes of address and second factors that were not confirmed, logins that await a second factor, and known
/// devices with their trust. What undoes or secures stays.
pub async fn forget_pending(conn: &mut AsyncPgConnection, user: UserId) -> pg::Result<()> {
    for purpose in [Purpose::VerifyEmail, Purpose::ResetPassword] {
        one_time_tokens::forget_unused(conn, user, purpose).await?;
    }
    email_changes::delete_pending(conn, user).await?;
    totp_enrolments::delete(conn, user).await?;
    login_challenges::delete_all(conn, user).await?;
    known_devices::delete_all(conn, user).await?;
    Ok(())
}
