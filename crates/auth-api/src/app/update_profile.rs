//! Changes how a user is shown and spoken to.

use auth_events::{Client, Fact, commands::Locale, facts::UserProfileUpdated};
use diesel_async::AsyncConnection;
use session_verifier::Session;

use crate::{
    app::me::MeError,
    domain::{account::Account, display_name::DisplayName},
    state::AppState,
    store::{totp_factors, users},
};

/// What is to be changed; what is absent stays.
#[derive(Default)]
pub struct ProfileChange {
    /// Another name, or none.
    pub display_name: Option<Option<DisplayName>>,
    /// Another language.
    pub locale: Option<Locale>,
}

/// Changes the profile of whoever `caller` is; the account as it is then.
pub async fn update_profile(
    state: &AppState,
    caller: &Session,
    change: ProfileChange,
    client: &Client,
) -> Result<Account, MeError> {
    let mut conn = state.database.connection().await?;
    let updated = conn
        .transaction(async |conn| {
            let mut user = users::lock(conn, caller.user_id()).await?.ok_or(MeError::Gone)?;
            let name = change.display_name.map(|name| name.map(|name| name.as_str().to_owned()));
            let name = name.filter(|name| *name != user.display_name);
            let locale = change.locale.filter(|locale| *locale != user.locale);
            let fields: Vec<String> = [("displayName", name.is_some()), ("locale", locale.is_some())]
                .into_iter()
                .filter(|(_, changed)| *changed)
                .map(|(field, _)| field.to_owned())
                .collect();
            if !fields.is_empty() {
                let new_name = name.as_ref().map(Option::as_deref);
                users::update_profile(conn, user.id, new_name, locale, state.clock.now()).await?;
                let fact = Fact::by_user(user.id, UserProfileUpdated { fields }).from_client(client.clone());
                outbox::append_fact(conn, state.fact(Some(user.id), fact)).await?;
            }
            user.display_name = name.unwrap_or(user.display_name);
            user.locale = locale.unwrap_or(user.locale);
            let mfa_enabled = totp_factors::exists(conn, user.id).await?;
            Ok::<_, MeError>(Account::of(user, mfa_enabled))
        })
        .await?;
    state.accounts.forget(updated.id);
    state.outbox.wake();
    Ok(updated)
}
