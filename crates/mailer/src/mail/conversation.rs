//! One mail over one connection, with a deadline for every command.

use std::{fmt::Display, time::Duration};

use lettre::{
    Address,
    transport::smtp::{
        self,
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Noop, Rcpt},
        response::Response,
    },
};

use super::smtp_server::{Security, SmtpServer};
use crate::domain::settlement::{Outcome, Reply};

/// How long a server may take to answer one command.
const COMMAND_DEADLINE: Duration = Duration::from_secs(10);
/// A connection that goes wrong is closed politely, within reason.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);

/// Why a conversation came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interruption {
    /// The server refused, or the connection broke.
    #[error("{0}")]
    Smtp(#[from] smtp::Error),
    /// The server said nothing in time.
    #[error("no answer to {0} within 10 s")]
    Silence(&'static str),
}

/// Connects, secures the connection and logs in.
pub(super) async fn open(server: &SmtpServer) -> Result<AsyncSmtpConnection, Interruption> {
    let wrapper = match &server.security {
        Security::Tls(parameters) => Some(parameters.clone()),
        Security::Plain | Security::StartTls(_) => None,
    };
    let address = (server.host.as_str(), server.port);
    let connect = AsyncSmtpConnection::connect_tokio1(
        address,
        Some(COMMAND_DEADLINE),
        &server.hello_name,
        wrapper,
        None,
    );
    let mut connection = in_time("the connection", connect).await?;
    if let Security::StartTls(parameters) = &server.security {
        in_time("STARTTLS", connection.starttls(parameters.clone(), &server.hello_name)).await?;
    }
    if let Some(credentials) = &server.credentials {
        use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
        in_time("AUTH", connection.auth(DEFAULT_MECHANISMS, credentials)).await?;
    }
    Ok(connection)
}

/// Whether an idle connection is still good.
pub(super) async fn is_alive(connection: &mut AsyncSmtpConnection) -> bool {
    command(connection, "NOOP", Noop).await.is_ok()
}

/// Sends one mail.
pub(super) async fn send(
    connection: &mut AsyncSmtpConnection,
    from: &Address,
    to: &Address,
    mail: &[u8],
) -> Result<Response, Interruption> {
    command(connection, "MAIL", Mail::new(Some(from.clone()), Vec::new())).await?;
    command(connection, "RCPT", Rcpt::new(to.clone(), Vec::new())).await?;
    command(connection, "DATA", Data).await?;
    in_time("the message", connection.message(mail)).await
}

/// Closes the connection.
pub(super) async fn close(mut connection: AsyncSmtpConnection) {
    // Whether the server hears it makes no difference.
    let _ = tokio::time::timeout(GOODBYE_DEADLINE, connection.abort()).await;
}

/// What an interruption while a mail is handed over means for that mail.
pub(super) fn outcome_of(interruption: &Interruption) -> Outcome {
    let reply = reply_of(interruption);
    match interruption {
        Interruption::Smtp(error) if is_about_the_mail(error) => Outcome::Refused(reply),
        _ => Outcome::Postponed(reply),
    }
}

/// What there is to tell about an interruption.
pub(super) fn reply_of(interruption: &Interruption) -> Reply {
    use std::error::Error;
    if let Interruption::Smtp(error) = interruption
        && let Some(code) = error.status()
    {
        let text = error.source().map(ToString::to_string).unwrap_or_default();
        return Reply::new(&format!("{code} {text}"));
    }
    Reply::new(&interruption.to_string())
}

/// What a positive answer says.
pub(super) fn reply_from(response: &Response) -> Reply {
    let text: Vec<&str> = response.message().collect();
    Reply::new(&format!("{} {}", response.code(), text.join(" ")))
}

/// A permanent refusal is about this mail, unless it says that we have to log in first: then it is about our configuration,
/// and the mail can be sent as soon as that is right.
fn is_about_the_mail(error: &smtp::Error) -> bool {
    error.is_permanent()
        && !error.status().is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538))
}

async fn command(
    connection: &mut AsyncSmtpConnection,
    name: &'static str,
    command: impl Display,
) -> Result<Response, Interruption> {
    in_time(name, connection.command(command)).await
}

async fn in_time<T>(
    what: &'static str,
    step: impl Future<Output = Result<T, smtp::Error>>,
) -> Result<T, Interruption> {
    match tokio::time::timeout(COMMAND_DEADLINE, step).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Interruption::Silence(what)),
    }
}
