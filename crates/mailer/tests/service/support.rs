//! What the tests of the mailer have in common: mail commands, and a mailer around a mail catcher.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use auth_events::{
    Envelope,
    commands::{Lane, Locale, MailParameters, MailSend},
    routing::Route,
};
use auth_ids::{EventId, UserId};
use base64::prelude::*;
use chrono::{DateTime, TimeDelta, Utc};
use clock::{Clock, ManualClock, SystemClock};
use dev_stack::mailbox::Mailbox;
use event_bus::OutgoingMessage;
use mailer::{
    app::deliver::Postman,
    domain::{mail_command::MailCommand, provider::ProviderName},
    mail::{
        composer::Sender,
        domain_gates::DomainGates,
        providers::{ProviderSettings, Providers},
        renderer::{Brand, Renderer},
    },
    metrics::Metrics,
};
use pg::Database;
use prometheus::Registry;
use sealing::{MailboxPrivateKey, MailboxPublicKey};
use service_runtime::{CommonConfig, Environment, ShutdownSettings, Transport};
use telemetry::{LogFormat, TelemetrySettings};
use test_support::TestDatabase;
use tokio_util::sync::CancellationToken;

pub const DEADLINE: Duration = Duration::from_secs(20);
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Both halves of the mailer's key.
pub struct Keys {
    pub private: MailboxPrivateKey,
    pub public: MailboxPublicKey,
}

impl Keys {
    pub fn new() -> Self {
        let (private, public) = MailboxPrivateKey::generate(&mut clock::secure_rng());
        Self {
            private: MailboxPrivateKey::parse(&private).unwrap(),
            public: MailboxPublicKey::parse(&public).unwrap(),
        }
    }
}

/// A mail command as auth-api writes it.
#[derive(Clone)]
pub struct Order {
    pub id: EventId,
    pub user_id: UserId,
    pub to: String,
    pub locale: Locale,
    pub lane: Lane,
    pub expires_at: DateTime<Utc>,
    pub supersedes: Option<String>,
    pub requested_at: DateTime<Utc>,
    pub parameters: MailParameters,
}

impl Order {
    pub fn verify_email(to: &str) -> Self {
        let mut rng = clock::secure_rng();
        Self {
            id: auth_ids::generate(&SystemClock, &mut rng),
            user_id: auth_ids::generate(&SystemClock, &mut rng),
            to: to.to_owned(),
            locale: Locale::En,
            lane: Lane::Security,
            expires_at: SystemClock.now() + TimeDelta::days(1),
            supersedes: None,
            requested_at: SystemClock.now(),
            parameters: MailParameters::VerifyEmail {
                display_name: Some("Ada".to_owned()),
                link: "https://auth.example/verify-email#token=fat_secret".to_owned(),
                expires_in_hours: 24,
            },
        }
    }

    pub fn envelope(&self, public: &MailboxPublicKey) -> Envelope<MailSend> {
        let template = self.parameters.template();
        let plaintext = serde_json::to_vec(&self.parameters).unwrap();
        let binding = MailSend::binding(self.id, template);
        let sealed = public.seal(&plaintext, &binding, &mut clock::secure_rng());
        let mail = MailSend {
            template,
            locale: self.locale,
            to: self.to.clone(),
            lane: self.lane,
            expires_at: self.expires_at,
            supersedes: self.supersedes.clone(),
            sealed: BASE64_STANDARD.encode(sealed),
        };
        let clock = ManualClock::new(self.requested_at);
        Envelope::mail_command(self.id, "auth-api", Some(self.user_id), mail, &clock)
    }

    pub fn message(&self, public: &MailboxPublicKey) -> OutgoingMessage {
        OutgoingMessage {
            route: Route::mail(self.lane),
            message_id: self.id.to_string(),
            message_type: "mail.send.v1".to_owned(),
            traceparent: None,
            payload: serde_json::to_vec(&self.envelope(public)).unwrap(),
        }
    }

    /// The command as the consumer understands it.
    pub fn command(&self, keys: &Keys) -> MailCommand {
        let payload = serde_json::to_vec(&self.envelope(&keys.public)).unwrap();
        MailCommand::open(&payload, &keys.private).unwrap()
    }
}

/// A mail catcher on free ports.
pub async fn mailbox() -> Mailbox {
    Mailbox::start(ANY_PORT, ANY_PORT).await.unwrap()
}

/// A postman over `database` that hands mails to the server at `smtp`.
pub fn postman(database: Database, smtp: SocketAddr, clock: Arc<ManualClock>) -> Postman {
    postman_with(database, vec![smtp_provider(ProviderName::Smtp, &format!("smtp://{smtp}"))], clock)
}

/// A postman over `database` that hands mails to `providers`.
pub fn postman_with(
    database: Database,
    providers: Vec<ProviderSettings>,
    clock: Arc<ManualClock>,
) -> Postman {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    Postman {
        database,
        providers: Providers::new(providers, DEADLINE, clock.clone(), metrics.clone()).unwrap(),
        renderer: Renderer::new(Brand::named("Acme")).unwrap(),
        sender: sender(),
        mail_domain: "auth.example".to_owned(),
        gates: DomainGates::new(6, 16),
        clock,
        metrics,
        stop: CancellationToken::new(),
    }
}

/// The mail server at `url` as the provider `name`.
pub fn smtp_provider(name: ProviderName, url: &str) -> ProviderSettings {
    test_support::install_crypto_provider();
    ProviderSettings::Smtp(name, url.parse().unwrap())
}

/// Who writes.
pub fn sender() -> Sender {
    Sender {
        from: "Acme <no-reply@auth.example>".parse().unwrap(),
        reply_to: None,
        list_unsubscribe: None,
        dkim: None,
    }
}

/// A clock that shows the time and stands still.
pub fn stopped_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(SystemClock.now()))
}

/// A migrated database of its own.
pub async fn database() -> TestDatabase {
    test_support::install_crypto_provider();
    TestDatabase::new("mailer", mailer::migrations()).await
}

/// What every service is configured with, naming servers that nobody connects to.
pub fn unconnected(environment: Environment) -> CommonConfig {
    CommonConfig {
        environment,
        encryption: service_runtime::Encryption::Optional,
        database_url: "postgres://localhost/x".to_owned().into(),
        migrations_database_url: "postgres://localhost/x".to_owned().into(),
        bootstrap_database_url: None,
        database_max_connections: 1,
        amqp_url: "amqp://localhost".to_owned().into(),
        management_listen: ANY_PORT,
        telemetry: TelemetrySettings {
            service: "mailer",
            version: "0",
            environment: "test".to_owned(),
            log_filter: "info".to_owned(),
            log_format: LogFormat::Auto,
            otlp_endpoint: None,
            trace_sample_ratio: 1.0,
        },
        transport: Transport::Plaintext,
        shutdown: ShutdownSettings { delay: Duration::ZERO, drain: DEADLINE },
    }
}
