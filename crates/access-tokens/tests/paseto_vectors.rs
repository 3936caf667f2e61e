//! The official PASETO v4 vectors, those that must fail included: with the library, and with what this crate makes of it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod vectors;

use access_tokens::{
    ACCESS, AccessClaims, KeyId, PublicKey, PublicKeys, TokenRejection, TokenScope, TokenVerifier,
    footer_for, verify,
};
use chrono::{DateTime, TimeDelta, Utc};
use pasetors::{
    Local, Public,
    keys::{AsymmetricPublicKey, AsymmetricSecretKey, SymmetricKey},
    token::UntrustedToken,
    version4::{LocalToken, PublicToken, V4},
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Vector {
    name: String,
    expect_fail: bool,
    token: String,
    payload: Option<String>,
    footer: String,
    implicit_assertion: String,
    /// Of `v4.local`.
    key: Option<String>,
    /// Of `v4.public`.
    public_key: Option<String>,
    secret_key: Option<String>,
}

fn all() -> Vec<Vector> {
    vectors::read(include_str!("vectors/paseto-v4.json"))
}

fn now() -> DateTime<Utc> {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

impl Vector {
    /// What the token says, if it is a good one.
    fn payload_as_public(&self) -> Option<String> {
        let key = AsymmetricPublicKey::<V4>::from(&vectors::bytes(self.public_key.as_ref()?)).unwrap();
        let token = UntrustedToken::<Public, V4>::try_from(self.token.as_str()).ok()?;
        let (footer, assertion) = (self.footer(), self.implicit_assertion.as_bytes());
        let trusted = PublicToken::verify(&key, &token, footer, Some(assertion)).ok()?;
        Some(trusted.payload().to_owned())
    }

    fn payload_as_local(&self) -> Option<String> {
        let key = SymmetricKey::<V4>::from(&vectors::bytes(self.key.as_ref()?)).unwrap();
        let token = UntrustedToken::<Local, V4>::try_from(self.token.as_str()).ok()?;
        let (footer, assertion) = (self.footer(), self.implicit_assertion.as_bytes());
        let trusted = LocalToken::decrypt(&key, &token, footer, Some(assertion)).ok()?;
        Some(trusted.payload().to_owned())
    }

    /// The library tells an empty footer from none.
    fn footer(&self) -> Option<&[u8]> {
        Some(self.footer.as_bytes()).filter(|footer| !footer.is_empty())
    }

    fn secret_key(&self) -> Option<AsymmetricSecretKey<V4>> {
        let bytes = vectors::bytes(self.secret_key.as_ref()?);
        Some(AsymmetricSecretKey::from(&bytes).unwrap())
    }
}

/// The library chooses the nonce of a `v4.local` token itself, so those can be opened and not made again.
#[test]
fn the_vectors_say_what_they_should_and_those_that_must_fail_do() {
    let vectors = all();
    for vector in &vectors {
        let payload =
            if vector.key.is_some() { vector.payload_as_local() } else { vector.payload_as_public() };
        assert_eq!(payload, vector.payload, "{}", vector.name);
        assert_eq!(payload.is_none(), vector.expect_fail, "{}", vector.name);
    }
    let names: Vec<_> = vectors.iter().map(|vector| vector.name.as_str()).collect();
    let known = [
        "4-E-1", "4-E-2", "4-E-3", "4-E-4", "4-E-5", "4-E-6", "4-E-7", "4-E-8", "4-E-9", "4-S-1", "4-S-2",
        "4-S-3", "4-F-1", "4-F-2", "4-F-3", "4-F-4", "4-F-5",
    ];
    assert_eq!(names, known);
}

#[test]
fn what_is_signed_is_the_vector_to_the_letter() {
    let mut signed = 0;
    for vector in all().iter().filter(|vector| !vector.expect_fail) {
        let (Some(key), Some(payload)) = (vector.secret_key(), &vector.payload) else { continue };
        let (footer, assertion) = (vector.footer(), vector.implicit_assertion.as_bytes());
        let token = PublicToken::sign(&key, payload.as_bytes(), footer, Some(assertion)).unwrap();
        assert_eq!(token, vector.token, "{}", vector.name);
        signed += 1;
    }
    assert_eq!(signed, 3);
}

/// None of them is an access token of ours, whatever its signature is worth; and no two ways of asking disagree.
#[test]
fn no_vector_is_an_access_token() {
    for vector in all() {
        let keys = vector.public_key.iter().map(|hex| {
            let key = AsymmetricPublicKey::<V4>::from(&vectors::bytes(hex)).unwrap();
            PublicKey { id: KeyId::of(&key), key, not_before: now(), retire_at: None }
        });
        let (keys, scope) = (PublicKeys::new(keys.collect()), TokenScope::new("production", "x", "y"));
        let verifier = TokenVerifier::new(scope.clone(), 1);
        verifier.trust(&keys);
        let rejection = verify(&vector.token, &keys, &scope, now()).unwrap_err();
        assert_eq!(rejection, TokenRejection::Malformed, "{}", vector.name);
        assert_eq!(verifier.verify(&vector.token, now()).unwrap_err(), rejection, "{}", vector.name);
    }
}

/// The key pair of the vectors, under a footer and claims of ours: what ours verifies is what the vectors mean by a signature.
#[test]
fn a_token_that_the_vectors_key_signed_is_verified_and_not_without_its_implicit_assertion() {
    let scope = TokenScope::new("production", "https://auth.example", "feature-auth");
    let vector = all().into_iter().find(|vector| vector.name == "4-S-3").unwrap();
    let secret = vector.secret_key().unwrap();
    let key = AsymmetricPublicKey::<V4>::from(&vectors::bytes(vector.public_key.as_ref().unwrap())).unwrap();
    let id = KeyId::of(&key);
    let keys = PublicKeys::new(vec![PublicKey { id: id.clone(), key, not_before: now(), retire_at: None }]);

    let (clock, mut rng) = (clock::ManualClock::new(now()), clock::secure_rng());
    let claims = AccessClaims {
        iss: scope.issuer.clone(),
        sub: auth_ids::generate(&clock, &mut rng),
        aud: scope.audience.clone(),
        iat: now(),
        nbf: now(),
        exp: now() + TimeDelta::minutes(5),
        jti: auth_ids::generate(&clock, &mut rng),
        sid: auth_ids::generate(&clock, &mut rng),
        typ: ACCESS.to_owned(),
        amr: vec![],
        aal: 1,
        auth_time: now(),
        roles: vec![],
        permissions: vec![],
        epoch: 0,
    };
    let payload = serde_json::to_vec(&claims).unwrap();
    let footer = footer_for(&id);
    let sign = |assertion: &[u8]| {
        PublicToken::sign(&secret, &payload, Some(footer.as_bytes()), Some(assertion)).unwrap()
    };
    let (verified, _) = verify(&sign(scope.implicit_assertion()), &keys, &scope, now()).unwrap();
    assert_eq!(verified, claims);
    for assertion in [b"".as_slice(), vector.implicit_assertion.as_bytes()] {
        assert_eq!(verify(&sign(assertion), &keys, &scope, now()).unwrap_err(), TokenRejection::Forged);
    }
}
