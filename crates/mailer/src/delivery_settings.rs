//! Whom mails are handed to, and how many at a time.

use std::{fs, path::PathBuf};

use chrono::TimeDelta;
use lettre::Address;
use secrecy::ExposeSecret;
use service_runtime::{Environment, Problems};
use url::Url;

use crate::{
    domain::provider::ProviderName,
    mail::{dkim::Dkim, providers::ProviderSettings, sendgrid::SendGridSettings, smtp_server::SmtpServer},
};

/// A message is recognised by its row when it comes again. Nobody brings one back after longer than this.
const SHORTEST_RETENTION_DAYS: i64 = 30;

/// Flags and variables about delivery, before they are understood.
#[derive(Clone, clap::Args)]
pub(crate) struct DeliverySettings {
    /// The mail server: `smtps://user:password@host` (TLS), `smtp://user:password@host?tls=required` (STARTTLS), or
    /// `smtp://host` (plain text, development only).
    #[arg(long, env = "SMTP_URL", hide_env_values = true)]
    smtp_url: Option<String>,
    /// A file that holds the mail server's URL.
    #[arg(long, env = "SMTP_URL_FILE")]
    smtp_url_file: Option<PathBuf>,
    /// The mail server that is asked when the first one does not do its work, as a URL of the same form.
    #[arg(long, env = "SMTP_FALLBACK_URL", hide_env_values = true)]
    smtp_fallback_url: Option<String>,
    /// A file that holds the other mail server's URL.
    #[arg(long, env = "SMTP_FALLBACK_URL_FILE")]
    smtp_fallback_url_file: Option<PathBuf>,
    /// A file with the PEM certificate of an authority that the mail servers' certificates may come from, besides those that the machine trusts.
    #[arg(long, env = "SMTP_CA_FILE")]
    smtp_ca_file: Option<PathBuf>,
    /// A key of `SendGrid` that may send mail; `SendGrid` is asked last.
    #[arg(long, env = "SENDGRID_API_KEY", hide_env_values = true)]
    sendgrid_api_key: Option<String>,
    /// A file that holds the key of `SendGrid`.
    #[arg(long, env = "SENDGRID_API_KEY_FILE")]
    sendgrid_api_key_file: Option<PathBuf>,
    /// Where `SendGrid` is.
    #[arg(long, env = "SENDGRID_BASE_URL", default_value = "https://api.sendgrid.com")]
    sendgrid_base_url: String,
    /// The private key, in PEM, that signs what goes to mail servers (DKIM): RSA of 2048 bits and more, or Ed25519. Needs `DKIM_SELECTOR`.
    #[arg(long, env = "DKIM_PRIVATE_KEY", hide_env_values = true)]
    dkim_private_key: Option<String>,
    /// A file that holds the private key.
    #[arg(long, env = "DKIM_PRIVATE_KEY_FILE")]
    dkim_private_key_file: Option<PathBuf>,
    /// Under which name the public key is published: <selector>._domainkey.<domain>.
    #[arg(long, env = "DKIM_SELECTOR")]
    dkim_selector: Option<String>,
    /// In whose name mails are signed; by default the domain of `MAIL_FROM`.
    #[arg(long, env = "DKIM_DOMAIN")]
    dkim_domain: Option<String>,
    /// Where one says that one wants no more mails of the lane `bulk`: an https or mailto URL, for their header List-Unsubscribe.
    #[arg(long, env = "LIST_UNSUBSCRIBE_URL")]
    list_unsubscribe_url: Option<String>,
    /// Mails of the lane `security` that are under way at a time; half as many of `notice`, a quarter of `bulk`.
    #[arg(long, env = "MAIL_WORKERS", default_value = "16")]
    mail_workers: String,
    /// Mails to one domain that are under way at a time.
    #[arg(long, env = "MAIL_DOMAIN_CONCURRENCY", default_value = "6")]
    mail_domain_concurrency: String,
    /// How long the history of a mail is kept after its end; 30d at least, because by it a command that comes again is recognised.
    #[arg(long, env = "MAIL_RETENTION", default_value = "90d")]
    mail_retention: String,
}

/// Whom mails are handed to, and how many at a time.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// In the order in which they are asked.
    pub providers: Vec<ProviderSettings>,
    /// For the header of mails to many.
    pub list_unsubscribe: Option<String>,
    /// Mails of the most urgent lane that are under way at a time.
    pub workers: u16,
    /// Mails to one domain that are under way at a time.
    pub domain_concurrency: usize,
    /// How long the history of a mail is kept after its end.
    pub retention: TimeDelta,
}

impl Delivery {
    /// Everything to `server`, as it is where nothing is configured.
    #[must_use]
    pub fn to(server: SmtpServer) -> Self {
        Self {
            providers: vec![ProviderSettings::Smtp(ProviderName::Smtp, server)],
            list_unsubscribe: None,
            workers: 16,
            domain_concurrency: 6,
            retention: TimeDelta::days(90),
        }
    }
}

impl DeliverySettings {
    /// Understands everything, or names every mistake.
    pub(crate) fn configure(self, environment: Environment, problems: &mut Problems) -> Option<Delivery> {
        let before = problems.len();
        let providers = [
            self.smtp("SMTP_URL", environment, problems),
            self.smtp("SMTP_FALLBACK_URL", environment, problems),
            self.sendgrid(environment, problems),
        ];
        let providers: Vec<ProviderSettings> = providers.into_iter().flatten().collect();
        if providers.is_empty() && problems.len() == before {
            problems
                .add("SMTP_URL", "is required (or SMTP_URL_FILE, a file that holds it, or SENDGRID_API_KEY)");
        }
        let list_unsubscribe = self.list_unsubscribe_url.filter(|url| !url.is_empty());
        if list_unsubscribe.as_ref().is_some_and(|url| !is_unsubscribe_url(url)) {
            problems.add("LIST_UNSUBSCRIBE_URL", "must be an https or mailto URL");
        }
        let workers = within(problems, "MAIL_WORKERS", &self.mail_workers);
        let domain_concurrency = within(problems, "MAIL_DOMAIN_CONCURRENCY", &self.mail_domain_concurrency);
        let retention = problems.parse_duration("MAIL_RETENTION", &self.mail_retention);
        let retention = retention.and_then(|it| TimeDelta::from_std(it).ok());
        if retention.is_some_and(|it| it < TimeDelta::days(SHORTEST_RETENTION_DAYS)) {
            problems.add("MAIL_RETENTION", "must be 30d or more");
        }
        Some(Delivery {
            providers: Some(providers).filter(|providers| !providers.is_empty())?,
            list_unsubscribe,
            workers: workers?,
            domain_concurrency: usize::from(domain_concurrency?),
            retention: retention?,
        })
    }

    fn smtp(
        &self,
        variable: &str,
        environment: Environment,
        problems: &mut Problems,
    ) -> Option<ProviderSettings> {
        let (name, url, file) = if variable == "SMTP_URL" {
            (ProviderName::Smtp, &self.smtp_url, &self.smtp_url_file)
        } else {
            (ProviderName::SmtpFallback, &self.smtp_fallback_url, &self.smtp_fallback_url_file)
        };
        let url = problems.optional_secret(variable, url.clone(), file.clone())?;
        let server: SmtpServer = problems.parse(variable, url.expose_secret())?;
        let server = self.trusting(server, problems)?;
        if environment == Environment::Production && server.is_plain() {
            problems.add(variable, "plain SMTP is for development: use smtps:// or ?tls=required");
        }
        Some(ProviderSettings::Smtp(name, server))
    }

    fn trusting(&self, server: SmtpServer, problems: &mut Problems) -> Option<SmtpServer> {
        let Some(file) = self.smtp_ca_file.as_ref().filter(|file| !file.as_os_str().is_empty()) else {
            return Some(server);
        };
        let trusting = fs::read(file)
            .map_err(|error| error.to_string())
            .and_then(|pem| server.trusting(&pem).map_err(|error| error.to_string()));
        trusting.map_err(|why| problems.add("SMTP_CA_FILE", format_args!("cannot be used: {why}"))).ok()
    }

    /// Who signs, in the name of `from` unless another domain is given.
    pub(crate) fn dkim(&self, from: Option<&Address>, problems: &mut Problems) -> Option<Dkim> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (key, file) = (self.dkim_private_key.clone(), self.dkim_private_key_file.clone());
        let Some(key) = problems.optional_secret("DKIM_PRIVATE_KEY", key, file) else {
            if given(&self.dkim_selector).is_some() {
                problems.add("DKIM_SELECTOR", "needs DKIM_PRIVATE_KEY");
            }
            return None;
        };
        let selector = problems.required("DKIM_SELECTOR", given(&self.dkim_selector))?;
        let domain = given(&self.dkim_domain).or_else(|| Some(from?.domain().to_owned()))?;
        for (variable, name) in [("DKIM_SELECTOR", &selector), ("DKIM_DOMAIN", &domain)] {
            if !is_dns_name(name) {
                problems.add(variable, "must be a name in the DNS");
                return None;
            }
        }
        let dkim = Dkim::new(key.expose_secret(), &selector, &domain);
        dkim.map_err(|why| problems.add("DKIM_PRIVATE_KEY", why)).ok()
    }

    fn sendgrid(&self, environment: Environment, problems: &mut Problems) -> Option<ProviderSettings> {
        let (key, file) = (self.sendgrid_api_key.clone(), self.sendgrid_api_key_file.clone());
        let api_key = problems.optional_secret("SENDGRID_API_KEY", key, file)?;
        if api_key.expose_secret().chars().any(|c| !c.is_ascii_graphic()) {
            problems.add("SENDGRID_API_KEY", "must be visible characters only");
        }
        let base_url: Url = problems.parse("SENDGRID_BASE_URL", &self.sendgrid_base_url)?;
        let allowed = match base_url.scheme() {
            "https" => true,
            "http" => environment == Environment::Development,
            _ => false,
        };
        if !allowed || !base_url.has_host() {
            problems.add("SENDGRID_BASE_URL", "must be an https URL; http is for development");
        }
        Some(ProviderSettings::SendGrid(SendGridSettings { base_url, api_key }))
    }
}

fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_unsubscribe_url(text: &str) -> bool {
    // It ends up in a header between angle brackets.
    let harmless = text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"'));
    harmless && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "mailto"))
}

/// A number that nobody regrets.
fn within(problems: &mut Problems, variable: &str, text: &str) -> Option<u16> {
    let value: u16 = problems.parse(variable, text)?;
    if !(1..=256).contains(&value) {
        problems.add(variable, "must be from 1 to 256");
        return None;
    }
    Some(value)
}
