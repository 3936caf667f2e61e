//! Access tokens as session-service mints them, under a key of the test.

use access_tokens::{ACCESS, AccessClaims, KeyId, PublicKey, TokenScope, footer_for};
use auth_proto::session::v1 as proto;
use chrono::{DateTime, TimeDelta, Utc};
use pasetors::{
    keys::{AsymmetricKeyPair, Generate},
    version4::{PublicToken, V4},
};
use prost_types::Timestamp;

/// For whom and where the tokens of tests are.
pub fn scope() -> TokenScope {
    TokenScope::new("development", "https://auth.example.test", "feature-auth")
}

/// Signs tokens.
pub struct TokenKey(AsymmetricKeyPair<V4>);

impl TokenKey {
    pub fn generate() -> Self {
        Self(AsymmetricKeyPair::generate().unwrap())
    }

    /// `claims` as a token.
    pub fn sign(&self, claims: &AccessClaims) -> String {
        let payload = serde_json::to_vec(claims).unwrap();
        let footer = footer_for(&KeyId::of(&self.0.public));
        let scope = scope();
        let assertion = Some(scope.implicit_assertion());
        PublicToken::sign(&self.0.secret, &payload, Some(footer.as_bytes()), assertion).unwrap()
    }

    /// The key that verifies them, in use since 2020.
    pub fn public(&self) -> proto::PublicKey {
        let not_before = "2020-03-17T17:46:40Z".parse().unwrap();
        let key = PublicKey {
            id: KeyId::of(&self.0.public),
            key: self.0.public.clone(),
            not_before,
            retire_at: None,
        };
        proto::PublicKey {
            kid: key.id.to_string(),
            paserk: key.paserk(),
            not_before: Some(timestamp(not_before)),
            retire_at: None,
        }
    }
}

/// Claims of the platform for tests, which somebody else fills in.
pub fn claims(now: DateTime<Utc>, ttl: TimeDelta) -> AccessClaims {
    let now = DateTime::from_timestamp(now.timestamp(), 0).unwrap();
    let scope = scope();
    let fresh = || auth_ids::Uuid::now_v7();
    AccessClaims {
        iss: scope.issuer,
        sub: auth_ids::GenericUuid::from_untyped_uuid(fresh()),
        aud: scope.audience,
        iat: now,
        nbf: now,
        exp: now + ttl,
        jti: auth_ids::GenericUuid::from_untyped_uuid(fresh()),
        sid: auth_ids::GenericUuid::from_untyped_uuid(fresh()),
        typ: ACCESS.to_owned(),
        amr: vec!["pwd".to_owned()],
        aal: 1,
        auth_time: now,
        roles: vec![],
        permissions: vec![],
        epoch: 0,
    }
}

/// What `Validate` says of them.
pub fn told(claims: &AccessClaims) -> proto::Claims {
    proto::Claims {
        user_id: claims.sub.to_string(),
        session_id: claims.sid.to_string(),
        token_id: claims.jti.to_string(),
        issued_at: Some(timestamp(claims.iat)),
        expires_at: Some(timestamp(claims.exp)),
        auth_time: Some(timestamp(claims.auth_time)),
        amr: claims.amr.clone(),
        aal: claims.aal.into(),
        roles: claims.roles.clone(),
        permissions: claims.permissions.clone(),
        epoch: claims.epoch,
    }
}

pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: 0 }
}
