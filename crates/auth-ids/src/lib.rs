#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

use clock::{Clock, CryptoRng, random_bytes};
pub use newtype_uuid::{GenericUuid, TypedUuid, TypedUuidKind, TypedUuidTag};
pub use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $id:ident = $kind:ident($tag:literal);)+) => {$(
        #[doc = concat!("The kind of [`", stringify!($id), "`].")]
        #[derive(Debug, Clone, Copy)]
        pub enum $kind {}

        impl TypedUuidKind for $kind {
            fn tag() -> TypedUuidTag {
                const TAG: TypedUuidTag = TypedUuidTag::new($tag);
                TAG
            }
        }

        $(#[$doc])*
        pub type $id = TypedUuid<$kind>;
    )+};
}

ids! {
    /// A user account.
    UserId = UserKind("user");
    /// A session: one device of one user.
    SessionId = SessionKind("session");
    /// An event or command; also the key by which consumers recognise a second delivery.
    EventId = EventKind("event");
    /// A one-time token as a row; the token itself is random and never an id.
    OneTimeTokenId = OneTimeTokenKind("one_time_token");
    /// One access token (`jti`).
    AccessTokenId = AccessTokenKind("access_token");
    /// A browser that logged in before.
    DeviceId = DeviceKind("device");
    /// A login that awaits its second factor, as a row.
    LoginChallengeId = LoginChallengeKind("login_challenge");
    /// A change of an account's address.
    EmailChangeId = EmailChangeKind("email_change");
    /// A request that is done in the background.
    DeferredRequestId = DeferredRequestKind("deferred_request");
    /// A decision to end sessions.
    RevocationId = RevocationKind("revocation");
    /// A copy of a user's data.
    DataExportId = DataExportKind("data_export");
}

/// A new version 7 id: 48 bits of `clock`'s time in milliseconds and 74 bits of `rng`.
pub fn generate<K: TypedUuidKind>(clock: &dyn Clock, rng: &mut (impl CryptoRng + ?Sized)) -> TypedUuid<K> {
    let millis = u64::try_from(clock.now().timestamp_millis()).unwrap_or(0);
    let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random_bytes(rng)).into_uuid();
    TypedUuid::from_untyped_uuid(uuid)
}

#[cfg(test)]
mod tests {
    use clock::ManualClock;

    use super::*;

    #[test]
    fn ids_sort_by_time_and_are_version_7() {
        let clock = ManualClock::new("2030-01-01T00:00:00Z".parse().unwrap());
        let mut rng = clock::secure_rng();
        let earlier: UserId = generate(&clock, &mut rng);
        clock.advance(chrono::TimeDelta::milliseconds(1));
        let later: UserId = generate(&clock, &mut rng);
        assert!(earlier < later);
        assert_eq!(earlier.into_untyped_uuid().get_version_num(), 7);
    }
}
