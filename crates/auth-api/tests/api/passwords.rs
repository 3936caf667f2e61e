//! Which passwords are accepted, what it costs to refuse one, and how stored ones follow keys and costs.

use std::sync::atomic::{AtomicUsize, Ordering};

use auth_api::{
    app::reseal::{Resealed, Sealed, reseal, sealed_columns},
    domain::{
        email_address::EmailAddress,
        plain_password::{PasswordError, PlainPassword},
    },
    password::{BreachFilter, BreachMode, HashParameters, HashPool, Kernel, PasswordPolicy, PasswordVault},
};
use reqwest::{Method, Response, StatusCode};
use sealing::KeyRing;
use serde_json::{Value, json};
use service_runtime::Registry;
use unicode_normalization::UnicodeNormalization;

use crate::{
    documented::address,
    harness::{Changes, PASSWORD, PASSWORD_KEYS, TestApi, problem},
};

const EMAIL: &str = "ada.lovelace@example.test";
const NAME: &str = "Countess Ada";
/// Known from a breach, and good but for that.
const BREACHED: &str = "seven violins on a raft";
/// Its SHA-1.
const BREACHED_HASH: &str = "68609beb9866a487511361c0208a1a1ddcbefa31";
const LISTED: &str = include_str!("../../data/common-passwords/long.txt");

/// Where a password is chosen. Another endpoint is another entry.
#[derive(Debug, Clone, Copy)]
enum Endpoint {
    Register,
    VerifyEmail,
}

const ENDPOINTS: [Endpoint; 2] = [Endpoint::Register, Endpoint::VerifyEmail];

impl Endpoint {
    /// The field that holds the password.
    fn field(self) -> &'static str {
        match self {
            Self::Register => "password",
            Self::VerifyEmail => "newPassword",
        }
    }

    /// A request that is good but for the password, which can be put into it any number of times.
    async fn request(self, api: &TestApi) -> (&'static str, Value) {
        match self {
            Self::Register => ("/v1/auth/register", json!({"email": EMAIL, "displayName": NAME})),
            Self::VerifyEmail => {
                let registration = json!({"email": EMAIL, "displayName": NAME, "password": PASSWORD});
                let answer = post(api, "/v1/auth/register", &registration).await;
                assert_eq!(answer.status(), StatusCode::ACCEPTED);
                ("/v1/auth/verify-email", json!({"token": api.verification_token(EMAIL).await}))
            }
        }
    }
}

/// From an address of its own, so that no limit per address counts.
async fn post(api: &TestApi, path: &str, body: &Value) -> Response {
    static REQUESTS: AtomicUsize = AtomicUsize::new(0);
    let client = address(REQUESTS.fetch_add(1, Ordering::Relaxed));
    api.request(Method::POST, path).header("x-forwarded-for", client).json(body).send().await.unwrap()
}

fn email() -> EmailAddress {
    EmailAddress::parse(EMAIL).unwrap()
}

fn enforcing() -> PasswordPolicy {
    let filter = BreachFilter::build(format!("{BREACHED_HASH}:3\n").as_bytes(), 1).unwrap();
    PasswordPolicy::with_breach_filter(filter, BreachMode::Enforce)
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_09_guessable_passwords_are_refused_with_a_reason_everywhere() {
    for endpoint in ENDPOINTS {
        let api = TestApi::start_with(Changes { passwords: Some(enforcing()), ..Changes::default() }).await;
        let (path, mut request) = endpoint.request(&api).await;
        let hashes = api.metric("password_hash_seconds");
        for (password, code) in [
            ("123456", "password_too_short"),
            ("Passw0rd!", "password_too_short"),
            ("fourteen chars", "password_too_short"),
            ("passwordpassword", "password_common"),
            ("1q2w3e4r5t6y7u8i9o0p", "password_common"),
            ("CORRECTHORSEBATTERYSTAPLE", "password_common"),
            ("               ", "password_common"),
            ("aaaaaaaaaaaaaaa", "password_common"),
            ("123412341234123", "password_common"),
            ("dragon dragon dragon", "password_common"),
            ("qwertyuiop123456", "password_common"),
            (EMAIL, "password_context"),
            ("Ada.Lovelace-1815", "password_context"),
            ("Countess Ada 1815", "password_context"),
            ("featureauth-2026", "password_context"),
            (BREACHED, "password_breached"),
        ] {
            request[endpoint.field()] = password.into();
            let refusal = problem(post(&api, path, &request).await, 422, code).await;
            let error = &refusal["errors"][0];
            assert_eq!(
                (&error["field"], &error["code"]),
                (&endpoint.field().into(), &code.into()),
                "{endpoint:?}"
            );
            assert_eq!(error["detail"], refusal["detail"]);
        }
        assert!(api.metric("password_hash_seconds") <= hashes, "{endpoint:?} hashes what it refuses");
        assert!((api.metric("password_breached_total") - 1.0).abs() < 0.5);
        request[endpoint.field()] = "correct horse battery staple".into();
        assert!(post(&api, path, &request).await.status().is_success(), "{endpoint:?}");
    }
}

#[test]
fn reg_09_every_listed_password_is_refused_and_there_are_no_rules_of_composition() {
    let policy = PasswordPolicy::default();
    for listed in LISTED.lines().step_by(111) {
        let refused = policy.choose(&listed.to_uppercase(), &email(), None).unwrap_err();
        assert!(matches!(refused, PasswordError::Guessable(_)), "{listed}");
    }
    for password in [
        PASSWORD,
        "correct horse battery staple",
        "only lower case letters",
        "ONLYUPPERCASELETTERS",
        "602214076314159265",
        "пятнадцать букв",
        "🦊🐻🦁🐸🐙🦄🐝🐢🦋🐳🦀🐞🐌🦔🦩",
    ] {
        assert!(policy.choose(password, &email(), Some(NAME)).is_ok(), "{password}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_09_a_breach_filter_that_only_warns_accepts_and_counts() {
    let filter = BreachFilter::build(BREACHED_HASH.as_bytes(), 1).unwrap();
    let policy = PasswordPolicy::with_breach_filter(filter, BreachMode::Warn);
    let api = TestApi::start_with(Changes { passwords: Some(policy), ..Changes::default() }).await;
    let answer = post(&api, "/v1/auth/register", &json!({"email": EMAIL, "password": BREACHED})).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert!((api.metric("password_breached_total") - 1.0).abs() < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_10_what_is_too_long_is_refused_before_anything_is_hashed() {
    let api = TestApi::start().await;
    let marks = format!("a{}", "\u{323}\u{308}".repeat(150));
    // Each is one code point that NFKC turns into eighteen.
    let ligatures = "\u{FDFA}".repeat(200);
    for password in
        ["x".repeat(1025), "long one ".repeat(1000), "é".repeat(513), "ab".repeat(129), marks, ligatures]
    {
        for path in ["/v1/auth/register", "/v1/auth/login"] {
            let request = json!({"email": EMAIL, "password": password});
            problem(post(&api, path, &request).await, 422, "password_too_long").await;
        }
    }
    for bytes in [16 * 1024, 1 << 20] {
        let request = json!({"email": EMAIL, "password": "x".repeat(bytes)});
        problem(post(&api, "/v1/auth/register", &request).await, 413, "payload_too_large").await;
    }
    assert!(api.metric("password_hash_seconds") < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_10_all_of_256_code_points_count() {
    let api = TestApi::start().await;
    let words = (0..64).map(|number| format!("{number:02}é ")).collect::<Vec<_>>().concat();
    assert_eq!((words.chars().count(), words.len()), (256, 320));
    api.verified_account(EMAIL).await;
    set_password(&api, &words, HashParameters::FLOOR, PASSWORD_KEYS).await;
    assert_eq!(api.login(EMAIL, &words).await.status(), StatusCode::OK);
    let last = words.strip_suffix(' ').unwrap();
    for wrong in [format!("{last}_"), last.to_owned(), format!("X{}", &words[1..])] {
        assert_eq!(api.login(EMAIL, &wrong).await.status(), StatusCode::UNAUTHORIZED);
    }
}

/// Numbers that are the same in every run (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }
}

#[test]
fn reg_12_a_password_is_the_same_from_every_keyboard() {
    let pieces: Vec<char> =
        "aZ5 éüñÅﬁﬀ㎏①ⅷ½ｱｶﾞパ한각œßıſÅΩ\u{301}\u{308}\u{323}\u{327}\u{3099}\u{202E}\u{200D}א🦊👩💻"
            .chars()
            .collect();
    let mut numbers = Numbers(12);
    for _ in 0..20_000 {
        let length = 1 + numbers.below(40);
        let text: String = (0..length).map(|_| pieces[numbers.below(pieces.len())]).collect();
        let bytes = |text: &str| PlainPassword::presented(text).unwrap().as_bytes().to_vec();
        let typed = bytes(&text);
        for form in [
            text.nfc().collect::<String>(),
            text.nfd().collect(),
            text.nfkc().collect(),
            text.nfkd().collect(),
            text.nfd().nfc().collect(),
        ] {
            assert_eq!(bytes(&form), typed, "{}", text.escape_unicode());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_12_forms_of_one_password_log_in_alike_and_nul_is_refused_alike() {
    let api = TestApi::start().await;
    let chosen = "Żółta ﬁgura № 5 \u{5E9}\u{5DC}\u{5D5}\u{5DD} 🦊";
    let registration = json!({"email": EMAIL, "password": chosen.nfd().collect::<String>()});
    let answer = post(&api, "/v1/auth/register", &registration).await;
    let handle = answer.json::<Value>().await.unwrap()["registrationHandle"].clone();
    let token = api.verification_token(EMAIL).await;
    let verification = json!({"token": token, "registrationHandle": handle});
    assert_eq!(post(&api, "/v1/auth/verify-email", &verification).await.status(), StatusCode::OK);
    for form in [chosen.to_owned(), chosen.nfc().collect(), chosen.nfkc().collect(), chosen.nfkd().collect()]
    {
        assert_eq!(api.login(EMAIL, &form).await.status(), StatusCode::OK, "{}", form.escape_unicode());
    }
    assert_eq!(api.login(EMAIL, &chosen.to_lowercase()).await.status(), StatusCode::UNAUTHORIZED);

    let cut = format!("{chosen}\0and more");
    for (path, email) in [("/v1/auth/register", "other@example.test"), ("/v1/auth/login", EMAIL)] {
        problem(post(&api, path, &json!({"email": email, "password": cut})).await, 422, "password_invalid")
            .await;
    }
}

/// Gives the account of [`EMAIL`] another password behind the back of the service, as one of another time would have.
async fn set_password(api: &TestApi, password: &str, parameters: HashParameters, keys: &str) {
    let user = user(api).await;
    let pool = HashPool::new(Kernel::Simd, 1, &Registry::new()).unwrap();
    let vault = PasswordVault::new(pool, KeyRing::parse(keys).unwrap(), parameters);
    let password = PlainPassword::presented(password).unwrap();
    let sealed = vault.seal(&vault.hash(&password).await.unwrap(), user);
    api.execute(&format!("UPDATE auth.users SET password = '\\x{}'", hex::encode(sealed))).await;
}

async fn user(api: &TestApi) -> auth_ids::UserId {
    api.sql("SELECT id FROM auth.users").await.parse().unwrap()
}

/// The stored PHC string, and whether it is sealed with the first key.
async fn stored(api: &TestApi) -> (String, bool) {
    let sealed = hex::decode(api.sql("SELECT encode(password, 'hex') FROM auth.users").await).unwrap();
    let ring = KeyRing::parse(PASSWORD_KEYS).unwrap();
    let phc = ring.open(&sealed, &PasswordVault::binding(user(api).await)).unwrap();
    (String::from_utf8(phc.to_vec()).unwrap(), ring.is_current(&sealed))
}

fn replaced_key() -> &'static str {
    PASSWORD_KEYS.split_once(',').unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_login_renews_a_hash_of_another_cost_or_key() {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    let dearer = HashParameters { passes: 3, ..HashParameters::FLOOR };
    for (parameters, keys) in
        [(HashParameters::FLOOR, replaced_key()), (dearer, PASSWORD_KEYS), (dearer, replaced_key())]
    {
        set_password(&api, PASSWORD, parameters, keys).await;
        let before = stored(&api).await;
        assert_eq!(api.login(EMAIL, "another good password").await.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(stored(&api).await, before, "only the right password renews");
        assert_eq!(api.login(EMAIL, PASSWORD).await.status(), StatusCode::OK);
        let (phc, is_current) = stored(&api).await;
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && is_current, "{phc}");
        assert_eq!(api.login(EMAIL, PASSWORD).await.status(), StatusCode::OK);
        assert_eq!(stored(&api).await.0, phc, "a current one stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_under_a_replaced_key_is_sealed_anew_once() {
    let api = TestApi::start().await;
    api.verified_account(EMAIL).await;
    set_password(&api, PASSWORD, HashParameters::FLOOR, replaced_key()).await;
    for email in ["b@example.test", "c@example.test", "d@example.test"] {
        let registration = json!({"email": email, "password": PASSWORD});
        assert_eq!(post(&api, "/v1/auth/register", &registration).await.status(), StatusCode::ACCEPTED);
    }
    api.deferred_done().await;
    let database = api.database.database("auth-api keys");
    let keys = |text: &str| KeyRing::parse(text).unwrap();
    let passwords = |ring: &KeyRing| -> Sealed { sealed_columns(ring, ring).remove(0) };

    let ring = keys(PASSWORD_KEYS);
    let expected = Resealed { resealed: 1, current: 3, ..Resealed::default() };
    assert_eq!(reseal(&database, &passwords(&ring), 2).await.unwrap(), expected);
    let again = Resealed { current: 4, ..Resealed::default() };
    assert_eq!(reseal(&database, &passwords(&ring), 1).await.unwrap(), again);
    assert_eq!(api.login(EMAIL, PASSWORD).await.status(), StatusCode::OK);

    let unreadable = Resealed { unreadable: 4, ..Resealed::default() };
    assert_eq!(reseal(&database, &passwords(&keys(replaced_key())), 500).await.unwrap(), unreadable);
    assert_eq!(api.login(EMAIL, PASSWORD).await.status(), StatusCode::OK, "what cannot be opened stays");
    for sealed in sealed_columns(&ring, &ring) {
        assert_eq!(reseal(&database, &sealed, 500).await.unwrap().resealed, 0, "every column is there");
    }
}
