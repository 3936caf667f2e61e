use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::anyhow;
use sealing::MailboxPrivateKey;
use url::Url;

use super::{
    Settings,
    environment::{Environment, given},
    foundations::Foundations,
    service::{Replica, ServiceName},
};
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
    "api-2",
    "auth-api-management-2",
    "session-grpc-2",
    "session-management-2",
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
    audit_archive_url: String,
    auth_api: Listeners,
    session: Listeners,
    mailer: Listeners,
    audit: Listeners,
    second_auth_api: Listeners,
    second_session: Listeners,
    replicas: u8,
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
        for ring in ["password-keys", "data-keys", "session-keys", "audit-cursor-keys", "audit-personal-keys"]
        {
            secrets.keep(ring, key_ring)?;
        }
        for single in ["identifier-key", "audit-checkpoint-key"] {
            secrets.keep(single, key)?;
        }
        for (name, value) in [
            ("redis-url", foundations.redis_url.as_str()),
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
            secrets.put(&format!("{}-amqp-url", service.name()), foundations.amqp_url_of(service.name()))?;
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
            audit_archive_url: directory_url(&state.join("audit-archive"))?,
            auth_api: listeners("api", "auth-api-management")?,
            session: listeners("session-grpc", "session-management")?,
            mailer: listeners("mailer-grpc", "mailer-management")?,
            audit: listeners("audit-grpc", "audit-management")?,
            second_auth_api: listeners("api-2", "auth-api-management-2")?,
            second_session: listeners("session-grpc-2", "session-management-2")?,
            replicas: settings.replicas,
        })
    }

    /// The configuration of a service.
    pub(super) fn environment(&self, replica: Replica) -> Environment {
        let mut environment = Environment::default();
        let Listeners { work, management } = self.listeners(replica);
        let service = replica.service();
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
            .file("AMQP_URL", &secret(&format!("{}-amqp-url", service.name())));
        match service {
            ServiceName::AuthApi => environment
                .set("HTTP_LISTEN", work.addr().to_string())
                .set("PUBLIC_URL", self.api_url())
                .unless_set("FRONTEND_URL", FRONTEND_URL)
                .unless_set("CORS_ORIGINS", FRONTEND_URL)
                .unless_set("TRUSTED_PROXIES", "127.0.0.1/32")
                .set("SESSION_SERVICE_URL", self.session_urls())
                .set("AUDIT_SERVICE_URL", format!("https://{}", self.audit.work.addr()))
                .set("TOKEN_ISSUER", self.api_url())
                .unless_set("TOKEN_AUDIENCE", TOKEN_AUDIENCE)
                .unless_set("CAPTCHA", "turnstile")
                .set("TURNSTILE_VERIFY_URL", self.turnstile_url.as_str())
                .unless_set("TURNSTILE_SECRET", ALWAYS_PASSES)
                .unless_set("TURNSTILE_SITE_KEY", SITE_KEY_ALWAYS_PASSES)
                .file("PASSWORD_KEYS", &secret("password-keys"))
                .file("DATA_KEYS", &secret("data-keys"))
                .file("IDENTIFIER_KEY", &secret("identifier-key"))
                .set("MAILER_PUBLIC_KEY", &self.mailer_public_key)
                .file("REDIS_URL", &secret("redis-url"))
                .set("REPLICAS", self.replicas.to_string())
                .set("ADMIN_EMAIL", &self.admin_email)
                .file("ADMIN_PASSWORD", &secret("admin-password")),
            ServiceName::SessionService => environment
                .set("GRPC_LISTEN", work.addr().to_string())
                .file("SESSION_KEYS", &secret("session-keys"))
                .file("REDIS_URL", &secret("redis-url"))
                .set("TOKEN_ISSUER", self.api_url())
                .unless_set("TOKEN_AUDIENCE", TOKEN_AUDIENCE),
            ServiceName::Mailer => environment
                .set("GRPC_LISTEN", work.addr().to_string())
                .file("MAILER_PRIVATE_KEY", &secret("mailer-private-key"))
                .unless_set("SMTP_URL", &self.smtp_url)
                .unless_set("MAIL_FROM", "no-reply@example.com")
                .unless_set("BRAND_NAME", "Feature Auth")
                .unless_set("SUPPORT_EMAIL", "support@example.com"),
            ServiceName::AuditService => environment
                .set("GRPC_LISTEN", work.addr().to_string())
                .file("AUDIT_CURSOR_KEYS", &secret("audit-cursor-keys"))
                .file("AUDIT_PERSONAL_KEYS", &secret("audit-personal-keys"))
                .file("AUDIT_CHECKPOINT_KEY", &secret("audit-checkpoint-key"))
                .unless_set("AUDIT_ARCHIVE_URL", self.audit_archive_url.clone()),
        };
        environment
    }

    pub(super) fn release_ports(&self, replica: Replica) {
        let Listeners { work, management } = self.listeners(replica);
        work.release();
        management.release();
    }

    pub(super) fn management_url(&self, replica: Replica) -> String {
        self.listeners(replica).management_url()
    }

    /// What `stack.env` says, but for the pids.
    pub(super) fn stack_variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("API_URL", self.api_url()),
            ("MAILBOX_URL", self.mailbox_url.clone()),
            ("TURNSTILE_URL", self.turnstile_url.origin().ascii_serialization()),
            ("SESSION_GRPC", self.session.work.addr().to_string()),
            ("MAILER_GRPC", self.mailer.work.addr().to_string()),
            ("AUDIT_GRPC", self.audit.work.addr().to_string()),
            ("AUTH_API_MGMT", self.auth_api.management_url()),
            ("SESSION_MGMT", self.session.management_url()),
            ("MAILER_MGMT", self.mailer.management_url()),
            ("AUDIT_MGMT", self.audit.management_url()),
            ("TOKEN_ISSUER", self.api_url()),
            ("TOKEN_AUDIENCE", given("TOKEN_AUDIENCE").unwrap_or_else(|| TOKEN_AUDIENCE.to_owned())),
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
        ];
        if self.replicas > 1 {
            variables.extend([
                ("API_URL_2", self.second_auth_api.http_url()),
                ("SESSION_GRPC_2", self.second_session.work.addr().to_string()),
                ("AUTH_API_MGMT_2", self.second_auth_api.management_url()),
                ("SESSION_MGMT_2", self.second_session.management_url()),
            ]);
        }
        variables
    }

    /// What people need to know.
    pub(super) fn summary(&self, total: Duration) -> String {
        let api = self.api_url();
        format!(
            "\nFeature Auth is ready after {total:.1} s.\n\n  \
             API            {api}\n  \
             Documentation  {api}/docs\n  \
             Mail catcher   {mailbox}\n  \
             Mail templates {mailbox}/templates/\n  \
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
        self.auth_api.http_url()
    }

    fn session_urls(&self) -> String {
        let listeners = [&self.session, &self.second_session];
        let urls = listeners.into_iter().take(self.replicas.into());
        urls.map(|it| format!("https://{}", it.work.addr())).collect::<Vec<_>>().join(",")
    }

    fn tls_file(&self, name: &str) -> String {
        self.tls.join(name).to_string_lossy().into_owned()
    }

    fn listeners(&self, replica: Replica) -> &Listeners {
        match replica {
            Replica::First(ServiceName::AuthApi) => &self.auth_api,
            Replica::First(ServiceName::SessionService) => &self.session,
            Replica::First(ServiceName::Mailer) => &self.mailer,
            Replica::First(ServiceName::AuditService) => &self.audit,
            Replica::SecondAuthApi => &self.second_auth_api,
            Replica::SecondSessionService => &self.second_session,
        }
    }
}

impl Listeners {
    fn http_url(&self) -> String {
        format!("http://{}", self.work.addr())
    }

    fn management_url(&self) -> String {
        format!("http://{}", self.management.addr())
    }
}

/// Who the access tokens are for.
const TOKEN_AUDIENCE: &str = "feature-auth";
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

/// The URL of a directory, which is made.
fn directory_url(directory: &Path) -> anyhow::Result<String> {
    std::fs::create_dir_all(directory)?;
    let url = Url::from_directory_path(std::path::absolute(directory)?);
    Ok(url.map_err(|()| anyhow!("{} is no absolute path", directory.display()))?.into())
}

fn with_login(url: &Url, user: &str, password: &str) -> anyhow::Result<Url> {
    let mut url = url.clone();
    let set = url.set_username(user).and_then(|()| url.set_password(Some(password)));
    set.map_err(|()| anyhow!("DATABASE_URL has no host"))?;
    Ok(url)
}
