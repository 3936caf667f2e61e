use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::anyhow;
use sealing::MailboxPrivateKey;
use url::Url;

use super::{Settings, environment::Environment, foundations::Foundations, service::ServiceName};
use crate::{
    ports::{Port, Ports},
    secrets::{Secrets, key, key_ring, password},
    turnstile::{ALWAYS_PASSES, SITE_KEY_ALWAYS_PASSES},
};

/// Every port of a stack, in an order that never changes: a port's last digits are its place.
pub(super) const PORTS: &[&str] = &[
    "api",
    "mailbox",
    "turnstile",
    "smtp",
    "session-grpc",
    "mailer-grpc",
    "audit-grpc",
    "auth-api-management",
    "session-management",
    "mailer-management",
    "audit-management",
    "postgres",
    "redis",
    "amqp",
    "amqp-management",
    "amqp-distribution",
    "epmd",
];

/// Who listens where, and who needs to know.
pub(super) struct Wiring {
    tls: PathBuf,
    secrets: Secrets,
    admin_email: String,
    admin_password: String,
    mailbox_url: String,
    smtp_url: String,
    turnstile_url: Url,
    database_url: Url,
    redis_url: String,
    amqp_url: String,
    amqp_management_url: String,
    mailer_public_key: String,
    auth_api: Listeners,
    session: Listeners,
    mailer: Listeners,
    audit: Listeners,
}

struct Listeners {
    /// HTTP or gRPC.
    work: Port,
    management: Port,
}

impl Wiring {
    /// Makes the secrets that are not there yet.
    pub(super) fn new(
        state: &Path,
        settings: &Settings,
        secrets: &Secrets,
        foundations: &Foundations,
        ports: &mut Ports,
    ) -> anyhow::Result<Self> {
        let mut listeners = |work, management| {
            anyhow::Ok(Listeners { work: ports.take(work)?, management: ports.take(management)? })
        };
        let admin_password = if settings.admin_password.is_empty() {
            secrets.keep("admin-password", password)?
        } else {
            secrets.put("admin-password", &settings.admin_password)?;
            settings.admin_password.clone()
        };
        for ring in ["password-keys", "data-keys", "session-keys", "audit-cursor-keys"] {
            secrets.keep(ring, key_ring)?;
        }
        secrets.keep("identifier-key", key)?;
        for (name, value) in [
            ("redis-url", foundations.redis_url.as_str()),
            ("amqp-url", &foundations.amqp_url),
            ("bootstrap-database-url", foundations.bootstrap_url.as_str()),
        ] {
            secrets.put(name, value)?;
        }
        for service in ServiceName::ALL {
            for role in ["owner", "app"] {
                let role = format!("{}_{role}", service.schema());
                let password = secrets.keep(&format!("{role}-password"), password)?;
                let url = with_login(&foundations.database_url, &role, &password)?;
                secrets.put(&format!("{role}-database-url"), url.as_str())?;
            }
        }
        Ok(Self {
            tls: state.join("tls"),
            secrets: secrets.clone(),
            admin_email: settings.admin_email.clone(),
            admin_password,
            mailbox_url: format!("http://{}", foundations.mailbox.http_addr()),
            smtp_url: format!("smtp://{}", foundations.mailbox.smtp_addr()),
            turnstile_url: foundations.turnstile.url(),
            database_url: foundations.database_url.clone(),
            redis_url: foundations.redis_url.clone(),
            amqp_url: foundations.amqp_url.clone(),
            amqp_management_url: foundations.amqp_management_url.clone(),
            mailer_public_key: mailer_keys(secrets)?,
            auth_api: listeners("api", "auth-api-management")?,
            session: listeners("session-grpc", "session-management")?,
            mailer: listeners("mailer-grpc", "mailer-management")?,
            audit: listeners("audit-grpc", "audit-management")?,
        })
    }

    /// The configuration of a service.
    pub(super) fn environment(&self, service: ServiceName) -> Environment {
        let mut environment = Environment::default();
        let Listeners { work, management } = self.listeners(service);
        let schema = service.schema();
        let secret = |name: &str| self.secrets.path(name);
        environment
            .set("ENVIRONMENT", "development")
            .unless_set("LOG_FORMAT", "json")
            .unless_set("SHUTDOWN_DELAY", "0s")
            .unless_set("SHUTDOWN_DRAIN", "5s")
            .set("MANAGEMENT_LISTEN", management.addr().to_string())
            .set("TLS_CA", self.tls_file("ca.pem"))
            .set("TLS_CERT", self.tls_file(&format!("{}.pem", service.name())))
            .set("TLS_KEY", self.tls_file(&format!("{}.key", service.name())))
            .file("BOOTSTRAP_DATABASE_URL", &secret("bootstrap-database-url"))
            .file("MIGRATIONS_DATABASE_URL", &secret(&format!("{schema}_owner-database-url")))
            .file("DATABASE_URL", &secret(&format!("{schema}_app-database-url")))
            .file("AMQP_URL", &secret("amqp-url"));
        match service {
            ServiceName::AuthApi => environment
                .set("HTTP_LISTEN", work.addr().to_string())
                .set("PUBLIC_URL", self.api_url())
                .unless_set("FRONTEND_URL", FRONTEND_URL)
                .unless_set("CORS_ORIGINS", FRONTEND_URL)
                .unless_set("TRUSTED_PROXIES", "127.0.0.1/32")
                .set("SESSION_SERVICE_URL", format!("https://{}", self.session.work.addr()))
                .set("AUDIT_SERVICE_URL", format!("https://{}", self.audit.work.addr()))
                .set("TOKEN_ISSUER", self.api_url())
                .unless_set("TOKEN_AUDIENCE", "feature-auth")
                .unless_set("CAPTCHA", "turnstile")
                .set("TURNSTILE_VERIFY_URL", self.turnstile_url.as_str())
                .unless_set("TURNSTILE_SECRET", ALWAYS_PASSES)
                .unless_set("TURNSTILE_SITE_KEY", SITE_KEY_ALWAYS_PASSES)
                .file("PASSWORD_KEYS", &secret("password-keys"))
                .file("DATA_KEYS", &secret("data-keys"))
                .file("IDENTIFIER_KEY", &secret("identifier-key"))
                .set("MAILER_PUBLIC_KEY", &self.mailer_public_key)
                .file("REDIS_URL", &secret("redis-url"))
                .set("ADMIN_EMAIL", &self.admin_email)
                .file("ADMIN_PASSWORD", &secret("admin-password")),
            ServiceName::SessionService => environment
                .set("GRPC_LISTEN", work.addr().to_string())
                .file("SESSION_KEYS", &secret("session-keys"))
                .set("TOKEN_ISSUER", self.api_url())
                .unless_set("TOKEN_AUDIENCE", "feature-auth"),
            ServiceName::Mailer => environment
                .set("GRPC_LISTEN", work.addr().to_string())
                .file("MAILER_PRIVATE_KEY", &secret("mailer-private-key"))
                .set("SMTP_URL", &self.smtp_url)
                .unless_set("MAIL_FROM", "no-reply@example.com")
                .unless_set("BRAND_NAME", "Feature Auth")
                .unless_set("SUPPORT_EMAIL", "support@example.com"),
            ServiceName::AuditService => environment
                .set("GRPC_LISTEN", work.addr().to_string())
                .file("AUDIT_CURSOR_KEYS", &secret("audit-cursor-keys")),
        };
        environment
    }

    pub(super) fn release_ports(&self, service: ServiceName) {
        let Listeners { work, management } = self.listeners(service);
        work.release();
        management.release();
    }

    pub(super) fn management_url(&self, service: ServiceName) -> String {
        format!("http://{}", self.listeners(service).management.addr())
    }

    /// What `stack.env` says, but for the pids.
    pub(super) fn stack_variables(&self) -> Vec<(&'static str, String)> {
        let grpc = |service| self.listeners(service).work.addr().to_string();
        vec![
            ("API_URL", self.api_url()),
            ("MAILBOX_URL", self.mailbox_url.clone()),
            ("TURNSTILE_URL", self.turnstile_url.origin().ascii_serialization()),
            ("SESSION_GRPC", grpc(ServiceName::SessionService)),
            ("MAILER_GRPC", grpc(ServiceName::Mailer)),
            ("AUDIT_GRPC", grpc(ServiceName::AuditService)),
            ("AUTH_API_MGMT", self.management_url(ServiceName::AuthApi)),
            ("SESSION_MGMT", self.management_url(ServiceName::SessionService)),
            ("MAILER_MGMT", self.management_url(ServiceName::Mailer)),
            ("AUDIT_MGMT", self.management_url(ServiceName::AuditService)),
            ("TLS_CA", self.tls_file("ca.pem")),
            ("TLS_CLIENT_CERT", self.tls_file("internal.pem")),
            ("TLS_CLIENT_KEY", self.tls_file("internal.key")),
            ("TLS_OPS_CERT", self.tls_file("operator.pem")),
            ("TLS_OPS_KEY", self.tls_file("operator.key")),
            ("ADMIN_EMAIL", self.admin_email.clone()),
            ("ADMIN_PASSWORD", self.admin_password.clone()),
            ("DATABASE_URL", self.database_url.to_string()),
            ("REDIS_URL", self.redis_url.clone()),
            ("AMQP_URL", self.amqp_url.clone()),
            ("AMQP_MGMT_URL", self.amqp_management_url.clone()),
        ]
    }

    /// What people need to know.
    pub(super) fn summary(&self, total: Duration) -> String {
        let api = self.api_url();
        format!(
            "\nFeature Auth is ready after {total:.1} s.\n\n  \
             API            {api}\n  \
             Documentation  {api}/docs\n  \
             Mail catcher   {mailbox}\n  \
             Administrator  {admin} with the password {password}\n\n  \
             Addresses, certificates and pids   . .dev/stack.env\n  \
             Logs                               .dev/log\n  \
             Stop                               Ctrl-C here, or `make stop`\n",
            total = total.as_secs_f32(),
            mailbox = self.mailbox_url,
            admin = self.admin_email,
            password = self.admin_password,
        )
    }

    fn api_url(&self) -> String {
        format!("http://{}", self.auth_api.work.addr())
    }

    fn tls_file(&self, name: &str) -> String {
        self.tls.join(name).to_string_lossy().into_owned()
    }

    fn listeners(&self, service: ServiceName) -> &Listeners {
        match service {
            ServiceName::AuthApi => &self.auth_api,
            ServiceName::SessionService => &self.session,
            ServiceName::Mailer => &self.mailer,
            ServiceName::AuditService => &self.audit,
        }
    }
}

/// Where the frontend's own development server listens.
const FRONTEND_URL: &str = "http://localhost:3000";

/// The private key is written last: without it both are made anew.
fn mailer_keys(secrets: &Secrets) -> anyhow::Result<String> {
    if !secrets.path("mailer-private-key").exists() {
        let (private, public) = MailboxPrivateKey::generate(&mut clock::secure_rng());
        secrets.put("mailer-public-key", &public)?;
        secrets.put("mailer-private-key", &private)?;
    }
    secrets.keep("mailer-public-key", String::new)
}

fn with_login(url: &Url, user: &str, password: &str) -> anyhow::Result<Url> {
    let mut url = url.clone();
    let set = url.set_username(user).and_then(|()| url.set_password(Some(password)));
    set.map_err(|()| anyhow!("DATABASE_URL has no host"))?;
    Ok(url)
}
