//! Starts auth-api for one test, and reads what it left in the database.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use auth_api::{
    config::{CaptchaConfig, Config, LimitConfig, PublicAddresses},
    domain::{bearer_secret::OneTimeToken, email_address::EmailAddress, plain_password::PlainPassword},
    http::{Hosts, Origins},
    password::{HashParameters, KernelChoice, PasswordPolicy},
    service::MIGRATIONS,
    startup::Application,
    state::{AppState, IdentifierKey},
};
use auth_events::commands::{MailParameters, MailSend, MailTemplate};
use base64::prelude::*;
use clock::{SharedClock, SystemClock};
use diesel::{QueryableByName, sql_types::Text};
use diesel_async::RunQueryDsl;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use sealing::{KeyRing, MailboxPrivateKey, MailboxPublicKey};
use secrecy::SecretString;
use serde_json::{Value, json};
use service_runtime::{CommonConfig, Environment, Lifecycle, Registry, ShutdownSettings, Transport};
use telemetry::{LogFormat, TelemetrySettings};
use test_support::{TestDatabase, eventually, install_crypto_provider};

use crate::{fake_sessions::FakeSessions, fake_tokens};

pub const PASSWORD: &str = "SecurePassword123";
/// The first one seals; the second one was replaced by it.
pub const PASSWORD_KEYS: &str =
    "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8,k0:_wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
/// Whose scripts may read answers, beside which there are the frontend and the interface itself.
pub const CORS_ORIGINS: [&str; 2] = ["https://app.host", "https://shop.example.test:8443"];
pub const FRONTEND: &str = "https://app.example.test";
const PATIENCE: Duration = Duration::from_secs(10);

/// What a test changes about the service before it starts.
#[derive(Default)]
pub struct Changes {
    pub captcha: Option<CaptchaConfig>,
    pub session_service: Option<SocketAddr>,
    pub database_url: Option<SecretString>,
    pub metrics_allow: Option<&'static str>,
    pub passwords: Option<PasswordPolicy>,
    pub clock: Option<SharedClock>,
    pub registration_closed: bool,
    pub allowed_hosts: &'static [&'static str],
    pub limits: Limits,
}

/// Whether requests are limited, and where they are counted.
#[derive(Default)]
pub enum Limits {
    #[default]
    Off,
    InRedis,
    InRedisAt(SecretString),
    InProcess,
}

/// A running auth-api.
pub struct TestApi {
    pub url: String,
    pub http: reqwest::Client,
    pub sessions: FakeSessions,
    pub registry: Registry,
    pub database: TestDatabase,
    pub state: AppState,
    mailbox_key: MailboxPrivateKey,
    lifecycle: Lifecycle,
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    value: String,
}

impl TestApi {
    pub async fn start() -> Self {
        Self::start_with(Changes::default()).await
    }

    pub async fn start_with(changes: Changes) -> Self {
        install_crypto_provider();
        let database = TestDatabase::new("auth", MIGRATIONS).await;
        let shutdown = ShutdownSettings { delay: Duration::ZERO, drain: Duration::from_secs(5) };
        let lifecycle = Lifecycle::new(shutdown);
        let clock = changes.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let (sessions, sessions_address) = FakeSessions::start(&lifecycle, Arc::clone(&clock)).await;
        let (private, public) = MailboxPrivateKey::generate(&mut clock::secure_rng());
        let database_url = changes.database_url.unwrap_or_else(|| database.app_url());
        let common = common(database_url, shutdown);
        let config = Config {
            http_listen: "127.0.0.1:0".parse().unwrap(),
            addresses: PublicAddresses {
                frontend: FRONTEND.to_owned(),
                docs: "https://docs.example.test".to_owned(),
            },
            session_service_url: format!("http://{}", changes.session_service.unwrap_or(sessions_address))
                .parse()
                .unwrap(),
            // Nobody listens there: what audit-service is asked for is tested with the whole platform.
            audit_service_url: "http://127.0.0.1:1".parse().unwrap(),
            token_scope: fake_tokens::scope(),
            trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()],
            allowed_hosts: hosts(changes.allowed_hosts),
            origins: Origins {
                cors: CORS_ORIGINS.iter().map(|origin| origin.parse().unwrap()).collect(),
                own: ["https://api.example.test", FRONTEND]
                    .iter()
                    .map(|origin| origin.parse().unwrap())
                    .collect(),
            },
            limits: limits(&changes.limits),
            metrics_allow: vec![changes.metrics_allow.unwrap_or("127.0.0.0/8").parse().unwrap()],
            captcha: changes.captcha.unwrap_or(CaptchaConfig::Off),
            password_keys: KeyRing::parse(PASSWORD_KEYS).unwrap(),
            data_keys: KeyRing::parse("d1:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8").unwrap(),
            registration_open: !changes.registration_closed,
            identifier_key: IdentifierKey::new(&[7; IdentifierKey::BYTES]).unwrap(),
            mailer_public_key: MailboxPublicKey::parse(&public).unwrap(),
            password_hash_kernel: KernelChoice::Auto,
            password_hash: HashParameters::FLOOR,
            passwords: changes.passwords.unwrap_or_default(),
            admin: None,
        };
        let registry = Registry::new();
        let application =
            Application::build(config, &common, &lifecycle, registry.clone(), clock).await.unwrap();
        let url = format!("http://{}", application.local_addr().unwrap());
        let state = application.state().unwrap();
        let running = lifecycle.clone();
        lifecycle.spawn("auth-api", async move { application.run(&running).await.unwrap() });
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mailbox_key = MailboxPrivateKey::parse(&private).unwrap();
        let api = Self { url, http, sessions, registry, database, state, mailbox_key, lifecycle };
        eventually("auth-api answers", PATIENCE, || async { api.get("/health").send().await.ok() }).await;
        api
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.unwrap()
    }

    /// Registers `email` with [`PASSWORD`]; the handle.
    pub async fn register(&self, email: &str) -> String {
        let answer = self.post("/v1/auth/register", &json!({"email": email, "password": PASSWORD})).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        body(answer).await["registrationHandle"].as_str().unwrap().to_owned()
    }

    /// A verified account of `email` with [`PASSWORD`].
    pub async fn verified_account(&self, email: &str) {
        let handle = self.register(email).await;
        let token = self.verification_token(email).await;
        let answer =
            self.post("/v1/auth/verify-email", &json!({"token": token, "registrationHandle": handle})).await;
        assert_eq!(answer.status(), StatusCode::OK);
    }

    pub async fn login(&self, email: &str, password: &str) -> Response {
        self.post("/v1/auth/login", &json!({"email": email, "password": password})).await
    }

    /// Every mail that waits in the outbox, the oldest first, opened.
    pub async fn mails(&self) -> Vec<(MailSend, MailParameters)> {
        let mails = self.outbox("mail.send.v1").await.into_iter().map(|envelope| {
            let mail: MailSend = serde_json::from_value(envelope["data"].clone()).unwrap();
            let sealed = BASE64_STANDARD.decode(&mail.sealed).unwrap();
            let id = envelope["id"].as_str().unwrap().parse().unwrap();
            let opened = self.mailbox_key.open(&sealed, &MailSend::binding(id, mail.template)).unwrap();
            (mail, serde_json::from_slice(&opened).unwrap())
        });
        mails.collect()
    }

    /// Waits until everything that was deferred is done.
    pub async fn deferred_done(&self) {
        eventually("deferred requests are done", PATIENCE, || async {
            (self.sql("SELECT count(*) FROM auth.deferred_requests").await == "0").then_some(())
        })
        .await;
    }

    /// The newest mail of a template to `email`, once everything that was deferred is done.
    pub async fn mail_to(&self, email: &str, template: MailTemplate) -> Option<MailParameters> {
        self.deferred_done().await;
        let mails = self.mails().await.into_iter().rev();
        let mut wanted = mails.filter(|(mail, _)| mail.to == email && mail.template == template);
        wanted.next().map(|(_, parameters)| parameters)
    }

    /// The token in the newest verification mail to `email`.
    pub async fn verification_token(&self, email: &str) -> String {
        match self.mail_to(email, MailTemplate::VerifyEmail).await {
            Some(MailParameters::VerifyEmail { link, .. }) => token_of(&link, "verify-email"),
            _ => panic!("no verification mail was sent"),
        }
    }

    /// The tokens of a login with [`PASSWORD`].
    pub async fn login_tokens(&self, email: &str) -> Value {
        let answer = self.login(email, PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::OK);
        body(answer).await
    }

    /// Waits until the stream of revocations told that the session of the access token has ended.
    pub async fn until_refused(&self, access_token: &str) {
        eventually("the access token is refused", PATIENCE, || async {
            let answer = self.get("/v1/auth/me").bearer_auth(access_token).send().await.unwrap();
            (answer.status() == StatusCode::UNAUTHORIZED).then_some(())
        })
        .await;
    }

    /// The facts of one type, the oldest first.
    pub async fn facts(&self, name: &str) -> Vec<Value> {
        self.outbox(&format!("auth.{name}.v1")).await
    }

    async fn outbox(&self, message_type: &str) -> Vec<Value> {
        let query =
            "SELECT payload AS value FROM auth.outbox WHERE message_type = $1 ORDER BY created_at, id";
        let mut conn = self.database.admin().connection().await.unwrap();
        let rows: Vec<TextRow> =
            diesel::sql_query(query).bind::<Text, _>(message_type).load(&mut conn).await.unwrap();
        rows.iter().map(|row| serde_json::from_str(&row.value).unwrap()).collect()
    }

    /// The first column of the first row, as text.
    pub async fn sql(&self, query: &str) -> String {
        let mut conn = self.database.admin().connection().await.unwrap();
        let query = format!("SELECT ({query})::text AS value");
        diesel::sql_query(query).get_result::<TextRow>(&mut conn).await.unwrap().value
    }

    pub async fn execute(&self, statement: &str) {
        let mut conn = self.database.admin().connection().await.unwrap();
        diesel::sql_query(statement).execute(&mut conn).await.unwrap();
    }

    /// The value of a counter or gauge, or the number of observations of a histogram, summed over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let one = |metric: &prometheus::proto::Metric| {
            metric.get_counter().get_value()
                + metric.get_gauge().get_value()
                + f64::from(u32::try_from(metric.get_histogram().get_sample_count()).unwrap())
        };
        family.get_metric().iter().map(one).sum()
    }
}

impl Drop for TestApi {
    fn drop(&mut self) {
        self.lifecycle.request_shutdown();
    }
}

/// The one-time token in a link to a page of the frontend.
pub fn token_of(link: &str, page: &str) -> String {
    let token = link.strip_prefix(&format!("https://app.example.test/{page}#token=")).unwrap();
    assert!(OneTimeToken::parse(token).is_some());
    token.to_owned()
}

pub async fn body(response: Response) -> Value {
    response.json().await.unwrap()
}

/// A problem document, checked for what every one of them has.
pub async fn problem(response: Response, status: u16, code: &str) -> Value {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem = body(response).await;
    assert_eq!(problem["code"], code, "{problem}");
    let listed = auth_api::http::problem_codes::find(code);
    assert_eq!(listed.map(|listed| listed.status), Some(status), "{code} is not in the catalogue like this");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], format!("https://docs.example.test/problems/{code}"));
    assert_eq!(problem["requestId"], request_id);
    assert!(
        !problem["title"].as_str().unwrap().is_empty() && !problem["detail"].as_str().unwrap().is_empty()
    );
    problem
}

fn common(database_url: SecretString, shutdown: ShutdownSettings) -> CommonConfig {
    CommonConfig {
        environment: Environment::Development,
        encryption: service_runtime::Encryption::Optional,
        migrations_database_url: database_url.clone(),
        database_url,
        bootstrap_database_url: None,
        database_max_connections: 8,
        // Nobody listens there: what is said stays in the outbox, where the tests read it.
        amqp_url: "amqp://127.0.0.1:1/none".into(),
        management_listen: "127.0.0.1:0".parse().unwrap(),
        telemetry: TelemetrySettings {
            service: "auth-api",
            version: "test",
            environment: "test".to_owned(),
            log_filter: "off".to_owned(),
            log_format: LogFormat::Pretty,
            otlp_endpoint: None,
            trace_sample_ratio: 1.0,
        },
        transport: Transport::Plaintext,
        shutdown,
    }
}

fn limits(limits: &Limits) -> LimitConfig {
    let redis_url = match limits {
        Limits::Off => return LimitConfig::Off,
        Limits::InRedis => Some(test_support::redis_url()),
        Limits::InRedisAt(url) => Some(url.clone()),
        Limits::InProcess => None,
    };
    LimitConfig::On { redis_url, key_prefix: test_support::redis_prefix(), replicas: NonZeroU32::MIN }
}

fn hosts(names: &[&str]) -> Hosts {
    Hosts::from(names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>())
}

/// An account as an operator would create it.
pub fn credentials(email: &str) -> (EmailAddress, PlainPassword) {
    (EmailAddress::parse(email).unwrap(), PlainPassword::presented(PASSWORD).unwrap())
}
