use access_tokens::{ACCESS, AccessClaims, KeyId, TokenScope, footer_for};
use auth_proto::session::v1 as proto;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clock::SystemClock;
use pasetors::{
    keys::{AsymmetricKeyPair, Generate},
    paserk::FormatAsPaserk,
    version4::{PublicToken, V4},
};
use prost_types::Timestamp;

use super::{AUDIENCE, ISSUER, now};

/// A signing key.
pub struct Key(AsymmetricKeyPair<V4>);

impl Key {
    pub fn new() -> Self {
        Self(AsymmetricKeyPair::generate().unwrap())
    }

    pub fn mint(&self, claims: &AccessClaims) -> String {
        self.mint_in("development", claims)
    }

    pub fn mint_in(&self, environment: &str, claims: &AccessClaims) -> String {
        let scope = TokenScope::new(environment, ISSUER, AUDIENCE);
        let footer = footer_for(&KeyId::of(&self.0.public));
        let payload = serde_json::to_vec(claims).unwrap();
        let assertion = Some(scope.implicit_assertion());
        PublicToken::sign(&self.0.secret, &payload, Some(footer.as_bytes()), assertion).unwrap()
    }

    pub fn message(&self) -> proto::PublicKey {
        let mut paserk = String::new();
        self.0.public.fmt(&mut paserk).unwrap();
        proto::PublicKey {
            kid: KeyId::of(&self.0.public).to_string(),
            paserk,
            not_before: Some(timestamp(now() - TimeDelta::hours(1))),
            retire_at: None,
        }
    }
}

/// What a token says that was minted just now, for a new session of a new user.
pub fn claims() -> AccessClaims {
    let now = now().trunc_subsecs(0);
    let mut rng = clock::secure_rng();
    AccessClaims {
        iss: ISSUER.to_owned(),
        sub: auth_ids::generate(&SystemClock, &mut rng),
        aud: AUDIENCE.to_owned(),
        iat: now,
        nbf: now,
        exp: now + TimeDelta::minutes(5),
        jti: auth_ids::generate(&SystemClock, &mut rng),
        sid: auth_ids::generate(&SystemClock, &mut rng),
        typ: ACCESS.to_owned(),
        amr: vec!["pwd".to_owned()],
        aal: 1,
        auth_time: now - TimeDelta::hours(1),
        roles: vec!["user".to_owned()],
        permissions: vec!["reports.read".to_owned()],
        epoch: 3,
    }
}

pub fn message(claims: &AccessClaims) -> proto::Claims {
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
    Timestamp { seconds: time.timestamp(), nanos: time.timestamp_subsec_nanos().cast_signed() }
}
