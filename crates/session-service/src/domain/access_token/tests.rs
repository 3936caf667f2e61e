use access_tokens::{ACCESS, PublicKey, PublicKeys, TokenRejection, TokenVerifier, verify};
use chrono::{DateTime, TimeDelta, Utc};
use clock::{Clock, ManualClock};
use serde_json::{Value, json};

use super::*;

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
        let assertion = self.scope.implicit_assertion();
        let secret = self.key.secret.as_ref().unwrap();
        PublicToken::sign(secret, payload.as_bytes(), Some(footer.as_bytes()), Some(assertion)).unwrap()
    }

    fn sign_payload(&self, payload: &str) -> String {
        self.sign(payload, &footer_for(&self.key.id))
    }

    fn keys(&self) -> PublicKeys {
        PublicKeys::new(vec![self.key.public.clone()])
    }

    fn verify(&self, token: &str) -> Result<AccessClaims, TokenRejection> {
        let claims = authenticate(token, &self.keys(), &self.scope, self.clock.now())?;
        claims.check_time(self.clock.now())?;
        Ok(claims)
    }
}

fn authenticate(
    token: &str,
    keys: &PublicKeys,
    scope: &TokenScope,
    now: DateTime<Utc>,
) -> Result<AccessClaims, TokenRejection> {
    verify(token, keys, scope, now).map(|(claims, _)| claims)
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

/// The same numbers each time (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// `token` with one fault; `other` is another good one.
fn mutate(token: &str, other: &str, dice: &mut Dice) -> String {
    let at = dice.below(token.len());
    let (before, after) = token.split_at(at);
    match dice.below(10) {
        0 => before.to_owned(),
        1 => after.to_owned(),
        2 => format!("{before}{}", &after[1..]),
        3 => format!(
            "{before}{}{after}",
            dice.pick(&["A", "-", "_", "=", ".", " ", "\n", "\0", "%00", "é", "{", "/", "+"])
        ),
        4 => format!("{before}{}", &other[at.min(other.len())..]),
        5 => {
            let end = at + dice.below(token.len() - at) + 1;
            format!("{before}{}{}", token[at..end].repeat(2), &token[end..])
        }
        6 => {
            let letter = &after[..1];
            let turned = if letter.to_ascii_lowercase() == letter {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            };
            format!("{before}{turned}{}", &after[1..])
        }
        7 => {
            let mut parts: Vec<_> = token.split('.').collect();
            let (one, two) = (dice.below(parts.len()), dice.below(parts.len()));
            parts.swap(one, two);
            parts.join(".")
        }
        8 => format!(
            "{}{token}{}",
            dice.pick(&["", " ", "Bearer ", "\u{feff}"]),
            dice.pick(&["", " ", ".", "==", "\r\n"])
        ),
        _ => {
            let mut bytes = token.to_owned().into_bytes();
            bytes[at] ^= 1 << dice.below(7);
            String::from_utf8(bytes).unwrap()
        }
    }
}

#[test]
fn tok_01_no_changed_character_and_no_cut_survives() {
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

/// What the presenter of a token learns: whether it is expired, and nothing else about what is wrong with it.
#[test]
fn tok_01_a_hundred_thousand_faults_are_one_and_the_same_to_the_presenter() {
    let world = World::new();
    let verifier = TokenVerifier::new(world.scope.clone(), 64);
    verifier.trust(&world.keys());
    let (token, other) = (world.mint(&world.claims()), world.mint(&world.claims()));
    let (dice, now) = (&mut Dice(1), world.clock.now());
    let mut tried = 0;
    while tried < 100_000 {
        let mut faulty = mutate(&token, &other, dice);
        if dice.below(4) == 0 && !faulty.is_empty() && faulty.is_ascii() {
            faulty = mutate(&faulty, &other, dice);
        }
        if faulty == token || faulty == other {
            continue;
        }
        tried += 1;
        match verifier.verify(&faulty, now) {
            Ok(_) | Err(TokenRejection::Expired | TokenRejection::NotYetValid) => panic!("{faulty:?}"),
            Err(_) => {}
        }
    }
    assert!(verifier.verify(&token, now).is_ok() && verifier.verify(&other, now).is_ok());
}

#[test]
fn tok_01_texts_around_a_good_token_are_refused_however_long() {
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
fn tok_04_another_key_another_environment_and_another_issuer_are_refused() {
    let world = World::new();
    let token = world.mint(&world.claims());
    let now = world.clock.now();

    let other_key = SigningKey::generate(now).unwrap();
    let strangers = mint(&world.claims(), &other_key, &world.scope).unwrap();
    assert_eq!(world.verify(&strangers), Err(TokenRejection::UnknownKey));
    let public = PublicKey { id: world.key.id.clone(), ..other_key.public };
    let borrowed_name = SigningKey { public, ..other_key };
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

    let retired = PublicKeys::new(vec![PublicKey { retire_at: Some(now), ..world.key.public.clone() }]);
    assert_eq!(authenticate(&token, &retired, &world.scope, now), Err(TokenRejection::UnknownKey));
}

#[test]
fn tok_03_only_one_spelling_of_the_footer_is_read() {
    let world = World::new();
    let payload = serde_json::to_string(&world.claims()).unwrap();
    let kid = &world.key.id;
    let padding = " ".repeat(256);
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

/// The key is looked up by an id that is exactly one, among those we trust, and nowhere else.
#[test]
fn tok_03_an_abused_key_id_finds_no_key() {
    let world = World::new();
    let payload = serde_json::to_string(&world.claims()).unwrap();
    let kid = world.key.id.to_string();
    let (prefix, digest) = kid.rsplit_once('.').unwrap();
    let long = "A".repeat(10 * 1024);
    for abused in [
        "",
        "k4.pid.",
        "1",
        "' OR 1=1 --",
        "../../../../dev/null",
        "/etc/passwd",
        "https://attacker.example/key",
        "k4.pid.../../../../../../../../../../../../../../../dev",
        &format!("{kid}\\u0000"),
        &format!("{kid}="),
        &format!(" {kid}"),
        &kid.to_uppercase(),
        &kid.replace("k4.pid", "k4.lid"),
        &kid.replace("k4.pid", "k2.pid"),
        &format!("{prefix}.{}", &digest[1..]),
        &long,
    ] {
        let token = world.sign(&payload, &format!(r#"{{"kid":"{abused}"}}"#));
        let rejection = world.verify(&token).unwrap_err();
        assert_eq!(rejection, TokenRejection::Malformed, "{abused:.80}");
    }
    let nested = format!("{}{kid}{}", r#"{"kid":"#.repeat(40), "}".repeat(40));
    assert_eq!(world.verify(&world.sign(&payload, &nested)), Err(TokenRejection::Malformed));

    // Well-formed, and of nobody; and our own key under the name of one that is trusted no more.
    let unknown = SigningKey::generate(world.clock.now()).unwrap();
    let token = world.sign(&payload, &footer_for(&unknown.id));
    assert_eq!(world.verify(&token), Err(TokenRejection::UnknownKey));
    let retired = PublicKey { retire_at: Some(world.clock.now()), ..unknown.public.clone() };
    let keys = PublicKeys::new(vec![world.key.public.clone(), retired]);
    let refused = authenticate(&token, &keys, &world.scope, world.clock.now());
    assert_eq!(refused, Err(TokenRejection::UnknownKey));
}

/// Everybody who verifies learns of a retirement with the keys; whoever has seen the token before too.
#[test]
fn tok_03_a_token_that_was_seen_dies_with_its_key() {
    let world = World::new();
    let verifier = TokenVerifier::new(world.scope.clone(), 64);
    let token = world.mint(&world.claims());
    let end = world.clock.now() + TimeDelta::seconds(60);
    verifier.trust(&PublicKeys::new(vec![PublicKey { retire_at: Some(end), ..world.key.public.clone() }]));
    let verify = |now| verifier.verify(&token, now).map(|_| ());
    assert_eq!(verify(end - TimeDelta::seconds(1)), Ok(()));
    assert_eq!(verify(end), Err(TokenRejection::UnknownKey));
    verifier.trust(&world.keys());
    assert_eq!(verify(end), Ok(()));
    verifier.trust(&PublicKeys::default());
    assert_eq!(verify(end), Err(TokenRejection::UnknownKey));
}

/// One key in the hands of two environments: everything but the key differs, one thing at a time.
#[test]
fn tok_04_a_token_of_the_same_key_with_other_claims_is_refused() {
    let world = World::new();
    let claims = world.claims();
    for changed in [
        AccessClaims { iss: "https://staging.example".to_owned(), ..claims.clone() },
        AccessClaims { iss: "https://auth.example/".to_owned(), ..claims.clone() },
        AccessClaims { aud: "billing".to_owned(), ..claims.clone() },
        AccessClaims { aud: String::new(), ..claims.clone() },
        AccessClaims { typ: "refresh".to_owned(), ..claims.clone() },
    ] {
        assert_eq!(world.verify(&world.mint(&changed)), Err(TokenRejection::WrongClaims));
    }
    for (environment, issuer) in
        [("development", "https://auth.example"), ("production", "https://auth.example|access"), ("", "")]
    {
        let elsewhere = TokenScope::new(environment, issuer, "feature-auth");
        let token = mint(&claims, &world.key, &elsewhere).unwrap();
        assert_eq!(world.verify(&token), Err(TokenRejection::Forged), "{environment} {issuer}");
    }
    let secret = world.key.secret.as_ref().unwrap();
    let payload = serde_json::to_vec(&claims).unwrap();
    let footer = footer_for(&world.key.id);
    let without = PublicToken::sign(secret, &payload, Some(footer.as_bytes()), None).unwrap();
    assert_eq!(world.verify(&without), Err(TokenRejection::Forged));
}

#[test]
fn tok_05_the_end_knows_no_leeway_and_the_beginning_thirty_seconds() {
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
        (now + second * 29, now + second * 29, now + second * 60, Ok(())),
        (now, now, now + TimeDelta::days(36_525), Err(TokenRejection::WrongClaims)),
        (now - TimeDelta::days(36_525), now, now + second, Err(TokenRejection::WrongClaims)),
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
fn tok_05_missing_odd_and_additional_claims_are_refused() {
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
fn tok_08_duplicate_keys_and_payloads_that_are_no_object_are_refused() {
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
