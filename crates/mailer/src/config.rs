use std::{fmt::Display, net::SocketAddr, path::PathBuf, str::FromStr};

use lettre::{Address, message::Mailbox};
use sealing::MailboxPrivateKey;
use secrecy::ExposeSecret;
use service_runtime::{CommonConfig, Environment, Problems};

use crate::{
    delivery_settings::{Delivery, DeliverySettings},
    mail::{composer::Sender, renderer::Brand},
    presentation::PresentationSettings,
};

/// The mailer's own flags and variables, before they are understood.
#[derive(Clone, clap::Args)]
pub struct Settings {
    /// Where gRPC is served.
    #[arg(long, env = "GRPC_LISTEN", default_value = "0.0.0.0:50052")]
    grpc_listen: String,
    /// The private key that mail commands are sealed to; `mailer keys generate` makes one.
    #[arg(long, env = "MAILER_PRIVATE_KEY", hide_env_values = true)]
    mailer_private_key: Option<String>,
    /// A file that holds the private key.
    #[arg(long, env = "MAILER_PRIVATE_KEY_FILE")]
    mailer_private_key_file: Option<PathBuf>,
    #[command(flatten)]
    delivery: DeliverySettings,
    /// The sender of every mail, `Name <address>` or an address.
    #[arg(long, env = "MAIL_FROM")]
    mail_from: Option<String>,
    /// Where answers go, if not to the sender.
    #[arg(long, env = "MAIL_REPLY_TO")]
    mail_reply_to: Option<String>,
    /// The right-hand side of every Message-ID; by default the domain of `MAIL_FROM`.
    #[arg(long, env = "MAIL_DOMAIN")]
    mail_domain: Option<String>,
    #[command(flatten)]
    presentation: PresentationSettings,
}

/// The mailer's configuration, understood.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where gRPC is served.
    pub grpc_listen: SocketAddr,
    /// Opens mail commands.
    pub private_key: MailboxPrivateKey,
    /// Whom mails are handed to, and how.
    pub delivery: Delivery,
    /// Who writes.
    pub sender: Sender,
    /// The right-hand side of every `Message-ID`.
    pub mail_domain: String,
    /// How the platform presents itself.
    pub brand: Brand,
}

impl Settings {
    /// Understands everything, or names every mistake.
    pub fn configure(self, common: &CommonConfig, problems: &mut Problems) -> Option<Config> {
        let grpc_listen = problems.parse("GRPC_LISTEN", &self.grpc_listen);
        let private_key = problems
            .required_secret("MAILER_PRIVATE_KEY", self.mailer_private_key, self.mailer_private_key_file)
            .and_then(|key| match MailboxPrivateKey::parse(key.expose_secret()) {
                Ok(key) => Some(key),
                Err(why) => {
                    problems.add("MAILER_PRIVATE_KEY", why);
                    None
                }
            });
        let from = problems.required("MAIL_FROM", self.mail_from);
        let from: Option<Mailbox> = from.and_then(|text| one_line(problems, "MAIL_FROM", &text));
        let dkim = self.delivery.dkim(from.as_ref().map(|from| &from.email), problems);
        let delivery = self.delivery.configure(common.environment, problems);
        let reply_to = optional(problems, "MAIL_REPLY_TO", self.mail_reply_to);
        let mail_domain = match self.mail_domain {
            Some(domain) => one_line(problems, "MAIL_DOMAIN", &format!("id@{domain}")),
            None => from.as_ref().map(|from| from.email.clone()),
        };
        let brand = self.presentation.configure(common.environment == Environment::Production, problems);
        Some(Config {
            grpc_listen: grpc_listen?,
            private_key: private_key?,
            sender: Sender {
                from: from?,
                reply_to: reply_to?,
                list_unsubscribe: delivery.as_ref()?.list_unsubscribe.clone(),
                dkim,
            },
            delivery: delivery?,
            mail_domain: mail_domain.map(|address: Address| address.domain().to_owned())?,
            brand: brand?,
        })
    }
}

/// The value as a `T`, if there is one; the outer `None` is a mistake.
#[expect(clippy::option_option, reason = "a mistake is not the same as nothing")]
fn optional<T: FromStr<Err: Display>>(
    problems: &mut Problems,
    variable: &str,
    text: Option<String>,
) -> Option<Option<T>> {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => one_line(problems, variable, &text).map(Some),
        None => Some(None),
    }
}

/// The value as a `T`. It ends up in the header of a mail, where a line break would begin another header.
fn one_line<T: FromStr<Err: Display>>(problems: &mut Problems, variable: &str, text: &str) -> Option<T> {
    if text.trim().chars().any(char::is_control) {
        problems.add(variable, "must not contain control characters");
        return None;
    }
    problems.parse(variable, text)
}
