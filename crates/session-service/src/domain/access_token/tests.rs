use chrono::TimeDelta;
use clock::{Clock, ManualClock};
use serde_json::{Value, json};

use super::*;
use crate::domain::claims::ACCESS;

/// A token's world: one key, one scope, one clock.
struct World {
    clock: ManualClock,
    key: SigningKey,
    scope: TokenScope,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new("2030-01-01T00:00:00Z".parse().unwrap());
        let key = SigningKey::generate(clock.now()).unwrap();
        Self { clock, key, scope: TokenScope::new("production", "https://auth.example", "feature-auth") }
    }

    fn claims(&self) -> AccessClaims {
        let mut rng = clock::secure_rng();
        let now = self.clock.now();
        AccessClaims {
            iss: self.scope.issuer.clone(),
            sub: auth_ids::generate(&self.clock, &mut rng),
            aud: self.scope.audience.clone(),
            iat: now,
            nbf: now,
            exp: now + TimeDelta::minutes(5),
            jti: auth_ids::generate(&self.clock, &mut rng),
            sid: auth_ids::generate(&self.clock, &mut rng),
            typ: ACCESS.to_owned(),
            amr: vec!["pwd".to_owned()],
            aal: 1,
            auth_time: now,
            roles: vec!["user".to_owned()],
            permissions: vec![],
            epoch: 0,
        }
    }

    fn mint(&self, claims: &AccessClaims) -> String {
        mint(claims, &self.key, &self.scope).unwrap()
    }

    /// Signs any payload under any footer, as only the holder of the key can.
    fn sign(&self, payload: &str, footer: &str) -> String {
        let assertion = self.scope.implicit_assertion.as_bytes();
        let secret = self.key.secret.as_ref().unwrap();
        PublicToken::sign(secret, payload.as_bytes(), Some(footer.as_bytes()), Some(assertion)).unwrap()
    }

    fn sign_payload(&self, payload: &str) -> String {
        self.sign(payload, &footer_for(&self.key.id))
    }

    fn keys(&self) -> KeySet {
        KeySet::new(vec![self.key.clone()])
    }

    fn verify(&self, token: &str) -> Result<AccessClaims, TokenRejection> {
        let claims = authenticate(token, &self.keys(), &self.scope, self.clock.now())?;
        claims.check_time(self.clock.now())?;
        Ok(claims)
    }
}

#[test]
fn a_minted_token_comes_back_as_it_was_and_is_the_same_each_time() {
    let world = World::new();
    let claims = world.claims();
    let token = world.mint(&claims);
    assert!(token.starts_with("v4.public."));
    assert_eq!(token, world.mint(&claims));
    assert_eq!(world.verify(&token), Ok(claims));
}

#[test]
fn the_claims_on_the_wire_are_those_of_the_specification() {
    let world = World::new();
    let value = serde_json::to_value(world.claims()).unwrap();
    let names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "iss",
        "sub",
        "aud",
        "iat",
        "nbf",
        "exp",
        "jti",
        "sid",
        "typ",
        "amr",
        "aal",
        "auth_time",
        "roles",
        "permissions",
        "epoch",
    ];
    expected.sort_unstable();
    let mut names = names;
    names.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(value["exp"], "2030-01-01T00:05:00Z");
}

#[test]
fn no_changed_character_and_no_cut_survives() {
    let world = World::new();
    let token = world.mint(&world.claims());
    for index in 0..token.len() {
        assert!(world.verify(&token[..index]).is_err(), "cut at {index}");
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(world.verify(&changed).is_err(), "bit {bit} of character {index}");
        }
    }
}

#[test]
fn texts_around_a_good_token_are_refused() {
    let world = World::new();
    let token = world.mint(&world.claims());
    let no_footer = token.rsplit_once('.').unwrap().0;
    for text in [
        String::new(),
        "v4.public.".to_owned(),
        "v4.public..".to_owned(),
        no_footer.to_owned(),
        format!("{no_footer}."),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{token}="),
        format!("{token}."),
        format!("{token}.AAAA"),
        token.to_uppercase(),
        token.replace("v4.public", "v4.local"),
        token.replace("v4.public", "v3.public"),
        format!("Bearer {token}"),
        "é".repeat(100),
        "A".repeat(8 * 1024),
        format!("v4.public.{}", "A".repeat(1024 * 1024)),
    ] {
        assert_eq!(world.verify(&text), Err(TokenRejection::Malformed), "{text:.80}");
    }
}

#[test]
fn another_key_another_environment_and_another_issuer_are_refused() {
    let world = World::new();
    let token = world.mint(&world.claims());
    let now = world.clock.now();

    let other_key = SigningKey::generate(now).unwrap();
    let strangers = mint(&world.claims(), &other_key, &world.scope).unwrap();
    assert_eq!(world.verify(&strangers), Err(TokenRejection::UnknownKey));
    let borrowed_name = SigningKey { id: world.key.id.clone(), ..other_key };
    let forged = mint(&world.claims(), &borrowed_name, &world.scope).unwrap();
    assert_eq!(world.verify(&forged), Err(TokenRejection::Forged));

    for scope in [
        TokenScope::new("development", "https://auth.example", "feature-auth"),
        TokenScope::new("production", "https://staging.example", "feature-auth"),
    ] {
        assert_eq!(authenticate(&token, &world.keys(), &scope, now), Err(TokenRejection::Forged));
    }
    let other_audience = TokenScope::new("production", "https://auth.example", "billing");
    assert_eq!(authenticate(&token, &world.keys(), &other_audience, now), Err(TokenRejection::WrongClaims));

    let retired = KeySet::new(vec![SigningKey { retire_at: Some(now), ..world.key.clone() }]);
    assert_eq!(authenticate(&token, &retired, &world.scope, now), Err(TokenRejection::UnknownKey));
}

#[test]
fn only_one_spelling_of_the_footer_is_read() {
    let world = World::new();
    let payload = serde_json::to_string(&world.claims()).unwrap();
    let kid = &world.key.id;
    let padding = " ".repeat(MAX_FOOTER_BYTES);
    for footer in [
        format!(r#"{{"kid":"{kid}","kid":"{kid}"}}"#),
        format!(r#"{{"kid":"{kid}","wpk":"k4.public.AAAA"}}"#),
        format!(r#"{{"kid": "{kid}"}}"#),
        format!(r#"["{kid}"]"#),
        format!(r#"{{"kid":["{kid}"]}}"#),
        format!(r#"{{"kid":"{kid}"}}{padding}"#),
        world.key.paserk(),
        format!(r#"{{"kid":"{}"}}"#, world.key.paserk()),
        kid.to_string(),
        "{}".to_owned(),
    ] {
        let token = world.sign(&payload, &footer);
        assert_eq!(world.verify(&token), Err(TokenRejection::Malformed), "{footer}");
    }
}

#[test]
fn the_end_knows_no_leeway_and_the_beginning_thirty_seconds() {
    let world = World::new();
    let now = world.clock.now();
    let second = TimeDelta::seconds(1);
    let cases = [
        (now, now, now + second, Ok(())),
        (now - second, now - second, now, Err(TokenRejection::Expired)),
        (now - second * 2, now - second * 2, now - second, Err(TokenRejection::Expired)),
        (now + second * 30, now + second * 30, now + second * 60, Ok(())),
        (now + second * 31, now, now + second * 60, Err(TokenRejection::NotYetValid)),
        (now, now + second * 31, now + second * 60, Err(TokenRejection::NotYetValid)),
        (now, now, now + second * 900, Ok(())),
        (now, now, now + second * 901, Err(TokenRejection::WrongClaims)),
        (now + second, now, now, Err(TokenRejection::WrongClaims)),
    ];
    for (iat, nbf, exp, expected) in cases {
        let token = world.mint(&AccessClaims { iat, nbf, exp, ..world.claims() });
        assert_eq!(world.verify(&token).map(|_| ()), expected, "{iat} {nbf} {exp}");
    }
}

#[test]
fn an_expired_token_still_says_whose_it_was() {
    let world = World::new();
    let claims = world.claims();
    let token = world.mint(&claims);
    world.clock.advance(TimeDelta::days(1));
    assert_eq!(world.verify(&token), Err(TokenRejection::Expired));
    assert_eq!(authenticate(&token, &world.keys(), &world.scope, world.clock.now()), Ok(claims));
}

#[test]
fn missing_odd_and_additional_claims_are_refused() {
    let world = World::new();
    let good = serde_json::to_value(world.claims()).unwrap();
    assert!(world.verify(&world.sign_payload(&good.to_string())).is_ok());
    let refuse = |payload: &str| {
        let token = world.sign_payload(payload);
        assert_eq!(world.verify(&token), Err(TokenRejection::WrongClaims), "{payload}");
    };
    for name in good.as_object().unwrap().keys() {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(name);
        refuse(&without.to_string());
        for odd in [Value::Null, json!({}), json!([1]), json!(-1), json!(true), json!("")] {
            let mut changed = good.clone();
            changed[name] = odd;
            refuse(&changed.to_string());
        }
    }
    for (name, odd) in [
        ("typ", json!("refresh")),
        ("aal", json!(3)),
        ("aal", json!(0)),
        ("exp", json!("2030-01-01T00:05:00+00:00")),
        ("exp", json!("2030-01-01T00:05:00.5Z")),
        ("exp", json!(1_893_456_300)),
        ("epoch", json!(0.5)),
        ("admin", json!(true)),
    ] {
        let mut changed = good.clone();
        changed[name] = odd;
        refuse(&changed.to_string());
    }
}

#[test]
fn duplicate_keys_and_payloads_that_are_no_object_are_refused() {
    let world = World::new();
    let good = serde_json::to_string(&world.claims()).unwrap();
    let as_array: Vec<Value> = serde_json::from_str::<serde_json::Map<_, _>>(&good)
        .unwrap()
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    for payload in [
        good.replacen('{', r#"{"aal":2,"#, 1),
        good.replacen('{', r#"{"typ":"access","#, 1),
        format!("{good}{good}"),
        format!(" {good}"),
        Value::from(as_array).to_string(),
        "null".to_owned(),
        "\"\"".to_owned(),
        "[]".to_owned(),
        "not json".to_owned(),
    ] {
        let token = world.sign_payload(&payload);
        assert_eq!(world.verify(&token), Err(TokenRejection::WrongClaims), "{payload}");
    }
}

#[test]
fn claims_that_make_the_token_too_long_are_not_minted() {
    let world = World::new();
    let permissions = vec!["users:read".to_owned(); 400];
    let error = mint(&AccessClaims { permissions, ..world.claims() }, &world.key, &world.scope).unwrap_err();
    assert!(matches!(error, MintError::TooLong(bytes) if bytes > MAX_TOKEN_BYTES));
}
