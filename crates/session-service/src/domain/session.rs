//! A session: one device of one user, from its beginning to its end.

use access_tokens::{ACCESS, AccessClaims, TokenScope};
use auth_ids::{AccessTokenId, GenericUuid, SessionId, UserId};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use super::{device::Device, lifetime::Lifetime, refresh_line::RefreshLine};

/// How many live sessions a user may have; the oldest goes.
pub const MAX_SESSIONS_PER_USER: usize = 20;

/// Why a session ends whose spent refresh token comes back.
pub const REUSE: &str = "refresh_token_reused";

/// What the user proved and may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub roles: Vec<String>,
    pub permissions: Vec<String>,
    /// How the user authenticated (RFC 8176).
    pub amr: Vec<String>,
    /// The authenticator assurance level, 1 or 2.
    pub aal: u8,
    pub auth_time: DateTime<Utc>,
}

/// What the user of a session proved again.
#[derive(Debug, Clone)]
pub struct Proof {
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// The authenticator assurance level, 1 or 2.
    pub aal: u8,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    pub id: SessionId,
    pub user_id: UserId,
    pub grant: Grant,
    pub device: Device,
    /// The key of the refresh tokens, sealed.
    pub sealed_refresh_key: Vec<u8>,
    pub line: RefreshLine,
    /// The id of the access token that belongs to the current generation.
    pub access_token_id: AccessTokenId,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// How long it lives without being refreshed.
    pub idle: TimeDelta,
    pub idle_expires_at: DateTime<Utc>,
    /// When it ends even if it is used.
    pub expires_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
    /// Why, a code.
    pub revoked_reason: Option<String>,
}

/// What a session needs to begin, besides the time.
#[derive(Debug)]
pub struct NewSession {
    pub id: SessionId,
    pub user_id: UserId,
    pub grant: Grant,
    pub device: Device,
    pub sealed_refresh_key: Vec<u8>,
    pub access_token_id: AccessTokenId,
    pub lifetime: Lifetime,
}

impl Session {
    pub fn begin(new: NewSession, now: DateTime<Utc>) -> Self {
        let expires_at = now + new.lifetime.absolute;
        Self {
            id: new.id,
            user_id: new.user_id,
            grant: new.grant,
            device: new.device,
            sealed_refresh_key: new.sealed_refresh_key,
            line: RefreshLine::begin(now),
            access_token_id: new.access_token_id,
            created_at: now,
            last_seen_at: now,
            idle: new.lifetime.idle,
            idle_expires_at: (now + new.lifetime.idle).min(expires_at),
            expires_at,
            revoked_at: None,
            revoked_reason: None,
        }
    }

    /// Whether it ended because a refresh token came back that nobody honest holds.
    pub fn was_stolen(&self) -> bool {
        self.revoked_reason.as_deref() == Some(REUSE)
    }

    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && now < self.idle_expires_at && now < self.expires_at
    }

    /// The session after `presented` got a new child.
    #[must_use]
    pub fn rotate(self, presented: u64, token: AccessTokenId, device: &Device, now: DateTime<Utc>) -> Self {
        Self {
            line: self.line.advance(presented, now),
            access_token_id: token,
            device: self.device.seen_again_as(device),
            last_seen_at: self.last_seen_at.max(now),
            idle_expires_at: (now + self.idle).min(self.expires_at),
            ..self
        }
    }

    /// The session after its user authenticated again. What it may do never falls and its life never grows: one that reaches the second level ends
    /// when one that begins there now would, at the latest.
    #[must_use]
    pub fn elevate(self, proof: Proof, device: &Device, now: DateTime<Utc>) -> Self {
        let Grant { roles, permissions, mut amr, aal, auth_time } = self.grant;
        for method in proof.amr {
            if !amr.contains(&method) {
                amr.push(method);
            }
        }
        let aal = aal.max(proof.aal);
        let limit = Lifetime::of(true, aal, &roles);
        let expires_at = self.expires_at.min(now + limit.absolute);
        let idle = self.idle.min(limit.idle);
        Self {
            grant: Grant { roles, permissions, amr, aal, auth_time: auth_time.max(now) },
            device: self.device.seen_again_as(device),
            last_seen_at: self.last_seen_at.max(now),
            idle,
            idle_expires_at: self.idle_expires_at.min(now + idle).min(expires_at),
            expires_at,
            ..self
        }
    }

    /// The claims of the one access token that belongs to the current generation. They depend on the session alone, so that
    /// answering a refresh again gives the same bytes.
    pub fn access_claims(&self, epoch: u64, scope: &TokenScope, ttl: TimeDelta) -> AccessClaims {
        self.claims(self.access_token_id, self.line.rotated_at, epoch, scope, ttl)
    }

    /// The claims of the access token `id`, minted at `now`, which belongs to no generation: whoever uses it need not have the current refresh token.
    pub fn further_access_claims(
        &self,
        id: AccessTokenId,
        now: DateTime<Utc>,
        epoch: u64,
        scope: &TokenScope,
        ttl: TimeDelta,
    ) -> AccessClaims {
        self.claims(id, now, epoch, scope, ttl)
    }

    fn claims(
        &self,
        jti: AccessTokenId,
        minted_at: DateTime<Utc>,
        epoch: u64,
        scope: &TokenScope,
        ttl: TimeDelta,
    ) -> AccessClaims {
        let iat = minted_at.trunc_subsecs(0);
        let end = self.expires_at.min(self.idle_expires_at).trunc_subsecs(0);
        let exp = (iat + shortened(ttl, jti)).min(end);
        AccessClaims {
            iss: scope.issuer.clone(),
            sub: self.user_id,
            aud: scope.audience.clone(),
            iat,
            nbf: iat,
            exp,
            jti,
            sid: self.id,
            typ: ACCESS.to_owned(),
            amr: self.grant.amr.clone(),
            aal: self.grant.aal,
            auth_time: self.grant.auth_time.trunc_subsecs(0),
            roles: self.grant.roles.clone(),
            permissions: self.grant.permissions.clone(),
            epoch,
        }
    }
}

/// `ttl` less up to 5 %, so that clients which began together do not all refresh together. The random bits of the id decide.
fn shortened(ttl: TimeDelta, id: AccessTokenId) -> TimeDelta {
    let [.., high, low] = *id.as_untyped_uuid().as_bytes();
    let random = i64::from(u16::from_be_bytes([high, low]));
    ttl - TimeDelta::seconds(random % (ttl.num_seconds() / 20 + 1))
}

#[cfg(test)]
mod tests {
    use clock::{Clock, ManualClock};

    use super::*;

    fn session(clock: &ManualClock, lifetime: Lifetime) -> Session {
        let mut rng = clock::secure_rng();
        let grant = Grant {
            roles: vec!["user".to_owned()],
            permissions: vec![],
            amr: vec!["pwd".to_owned()],
            aal: 1,
            auth_time: clock.now(),
        };
        let new = NewSession {
            id: auth_ids::generate(clock, &mut rng),
            user_id: auth_ids::generate(clock, &mut rng),
            grant,
            device: Device { name: Some("Laptop".to_owned()), ..Device::default() },
            sealed_refresh_key: vec![],
            access_token_id: auth_ids::generate(clock, &mut rng),
            lifetime,
        };
        Session::begin(new, clock.now())
    }

    fn remembered() -> Lifetime {
        Lifetime::of(true, 1, &[])
    }

    #[test]
    fn a_session_slides_while_it_is_refreshed_and_ends_at_its_end() {
        let clock = ManualClock::new("2030-01-01T00:00:00Z".parse().unwrap());
        let mut session = session(&clock, remembered());
        let begun = clock.now();
        for _ in 0..2 {
            clock.advance(TimeDelta::days(13));
            assert!(session.is_live(clock.now()));
            let generation = session.line.generation;
            let token = session.access_token_id;
            session = session.rotate(generation, token, &Device::default(), clock.now());
        }
        assert_eq!(session.idle_expires_at, begun + TimeDelta::days(30), "the end is not passed by sliding");
        assert!(session.is_live(begun + TimeDelta::days(30) - TimeDelta::microseconds(1)));
        assert!(!session.is_live(begun + TimeDelta::days(30)));
    }

    #[test]
    fn a_session_that_is_not_refreshed_dies_of_idleness() {
        let clock = ManualClock::new("2030-01-01T00:00:00Z".parse().unwrap());
        let session = session(&clock, remembered());
        clock.advance(TimeDelta::days(14));
        assert!(!session.is_live(clock.now()));
    }

    fn proof(amr: &[&str], aal: u8) -> Proof {
        Proof { amr: amr.iter().map(|&method| method.to_owned()).collect(), aal }
    }

    #[test]
    fn an_elevation_adds_methods_and_never_lowers_the_level() {
        let clock = ManualClock::new("2030-01-01T00:00:00Z".parse().unwrap());
        let session = session(&clock, remembered());
        clock.advance(TimeDelta::days(1));
        let raised = session.elevate(proof(&["pwd", "otp"], 2), &Device::default(), clock.now());
        assert_eq!((&raised.grant.amr[..], raised.grant.aal), (&["pwd", "otp"].map(str::to_owned)[..], 2));
        let line = raised.line;
        clock.advance(TimeDelta::minutes(1));
        let again = raised.elevate(proof(&["pwd"], 1), &Device::default(), clock.now());
        assert_eq!((again.grant.amr.len(), again.grant.aal, again.grant.auth_time), (2, 2, clock.now()));
        assert_eq!(again.line, line, "the refresh tokens are what they were");
    }

    #[test]
    fn a_session_that_reaches_the_second_level_lives_shorter_and_no_elevation_makes_it_live_longer() {
        let clock = ManualClock::new("2030-01-01T00:00:00Z".parse().unwrap());
        let session = session(&clock, remembered());
        clock.advance(TimeDelta::days(1));
        let same = session.clone().elevate(proof(&["pwd"], 1), &Device::default(), clock.now());
        assert_eq!(
            (same.idle, same.idle_expires_at, same.expires_at),
            (session.idle, session.idle_expires_at, session.expires_at)
        );
        let raised_at = clock.now();
        let raised = same.elevate(proof(&["otp"], 2), &Device::default(), raised_at);
        let (hour, end) = (TimeDelta::hours(1), raised_at + TimeDelta::hours(12));
        assert_eq!((raised.idle, raised.idle_expires_at, raised.expires_at), (hour, raised_at + hour, end));

        clock.advance(TimeDelta::minutes(30));
        let again = raised.elevate(proof(&["otp"], 2), &Device::default(), clock.now());
        assert_eq!((again.idle_expires_at, again.expires_at), (raised_at + hour, end));
        let (generation, token) = (again.line.generation, again.access_token_id);
        let next = again.rotate(generation, token, &Device::default(), clock.now());
        assert_eq!(next.idle_expires_at, clock.now() + hour);
    }

    #[test]
    fn the_device_keeps_its_name() {
        let clock = ManualClock::new("2030-01-01T00:00:00Z".parse().unwrap());
        let session = session(&clock, remembered());
        let token = session.access_token_id;
        let now = Device { name: Some("Other".to_owned()), ip: "2001:db8::1".parse().ok(), user_agent: None };
        let session = session.rotate(1, token, &now, clock.now());
        assert_eq!(session.device, Device { name: Some("Laptop".to_owned()), ..now });
    }

    #[test]
    fn a_token_lives_no_longer_than_allowed_and_no_more_than_a_twentieth_shorter() {
        let clock = ManualClock::new("2030-01-01T00:00:00.9Z".parse().unwrap());
        let scope = TokenScope::new("production", "https://auth.example", "feature-auth");
        let ttl = TimeDelta::minutes(5);
        let lives: Vec<_> = (0..200)
            .map(|_| session(&clock, remembered()).access_claims(0, &scope, ttl))
            .map(|claims| (claims.exp - claims.iat).num_seconds())
            .collect();
        assert!(lives.iter().all(|seconds| (285..=300).contains(seconds)));
        assert!(lives.iter().min() < lives.iter().max());
    }

    #[test]
    fn a_token_does_not_outlive_its_session() {
        let clock = ManualClock::new("2030-01-01T00:00:00Z".parse().unwrap());
        let scope = TokenScope::new("production", "https://auth.example", "feature-auth");
        let end = TimeDelta::minutes(1);
        let session = session(&clock, Lifetime { idle: end, absolute: end });
        let claims = session.access_claims(0, &scope, TimeDelta::minutes(5));
        assert_eq!(claims.exp, clock.now() + end);
    }
}
