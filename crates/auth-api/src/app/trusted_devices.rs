//! Browsers that need no second factor.

use auth_events::{Client, Fact, facts::MfaDeviceUntrusted};
use auth_ids::UserId;
use pg::AsyncPgConnection;

use crate::{app::dependency::DependencyError, state::AppState, store::known_devices};

/// From now on every browser of the user needs the second factor.
pub async fn untrust_all(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    user: UserId,
    client: &Client,
) -> Result<(), DependencyError> {
    let devices = known_devices::untrust_all(conn, user).await?;
    if devices == 0 {
        return Ok(());
    }
    let detail = MfaDeviceUntrusted { devices: u32::try_from(devices).unwrap_or(u32::MAX) };
    let fact = Fact::by_user(user, detail).from_client(client.clone());
    Ok(outbox::append_fact(conn, state.fact(Some(user), fact)).await?)
}
