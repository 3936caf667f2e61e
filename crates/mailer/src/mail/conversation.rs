//! One mail over one connection, with a deadline for every command.

use std::{fmt::Display, future::Future, io, time::Duration};

use lettre::{
    Address,
    transport::smtp::{
        self,
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail, Noop, Rcpt},
        response::Response,
    },
};

use tokio::net::TcpStream;

use super::{
    line_by_line::LineByLine,
    patience::{NoAnswer, Patience},
    smtp_server::{Security, SmtpServer},
};
use crate::domain::{
    settlement::{Outcome, Reply},
    smtp_policy::{Meaning, Phase, meaning},
};

/// A connection that goes wrong is closed politely, within reason.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);
/// An idle connection that needs longer than this to say that it is there is not worth keeping.
const ALIVE_WITHIN: Duration = Duration::from_secs(2);
/// Connecting holds on to its own deadline, because the library wants one; ours is shorter.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Why a conversation came to nothing.
#[derive(Debug)]
pub(super) struct Interruption {
    /// How far it got.
    phase: Phase,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// There is no connection to the server.
    Unreachable(io::Error),
    /// The server refused, or the connection broke.
    Smtp(smtp::Error),
    /// The server said nothing in time, to this.
    Silence(&'static str),
    /// The mailer is being stopped.
    Stopping,
}

/// Connects, secures the connection and logs in.
pub(super) async fn open(
    server: &SmtpServer,
    patience: &Patience,
) -> Result<AsyncSmtpConnection, Interruption> {
    let step = Step { phase: Phase::Opening, patience };
    let mut connection = match &server.security {
        Security::Plain => step.run("the connection", connect(server, None)).await?,
        Security::Tls(parameters) => {
            step.run("the connection", connect(server, Some(parameters.clone()))).await?
        }
        Security::StartTls(parameters) => {
            let mut connection = open_to_be_secured(server, &step).await?;
            step.run("STARTTLS", connection.starttls(parameters.clone(), &server.hello_name)).await?;
            connection
        }
    };
    if let Some(credentials) = &server.credentials {
        use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
        step.run("AUTH", connection.auth(DEFAULT_MECHANISMS, credentials)).await?;
    }
    Ok(connection)
}

async fn connect(
    server: &SmtpServer,
    wrapper: Option<TlsParameters>,
) -> Result<AsyncSmtpConnection, smtp::Error> {
    let address = (server.host.as_str(), server.port);
    AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT_DEADLINE), &server.hello_name, wrapper, None)
        .await
}

/// A connection on which STARTTLS comes next.
async fn open_to_be_secured(
    server: &SmtpServer,
    step: &Step<'_>,
) -> Result<AsyncSmtpConnection, Interruption> {
    let connect = TcpStream::connect((server.host.as_str(), server.port));
    let interrupted = |cause| Interruption { phase: step.phase, cause };
    let stream = match step.patience.answer(connect).await {
        Ok(Ok(stream)) => Box::new(LineByLine::new(stream)),
        Ok(Err(error)) => return Err(interrupted(Cause::Unreachable(error))),
        Err(NoAnswer::Silence) => return Err(interrupted(Cause::Silence("the connection"))),
        Err(NoAnswer::Stopping) => return Err(interrupted(Cause::Stopping)),
    };
    let greeted = AsyncSmtpConnection::connect_with_transport(stream, &server.hello_name);
    step.run("the connection", greeted).await
}

/// Whether an idle connection is still good.
pub(super) async fn is_alive(connection: &mut AsyncSmtpConnection, patience: &Patience) -> bool {
    let patience = patience.at_most(ALIVE_WITHIN);
    let step = Step { phase: Phase::Opening, patience: &patience };
    step.command(connection, "NOOP", Noop).await.is_ok()
}

/// Sends one mail.
pub(super) async fn send(
    connection: &mut AsyncSmtpConnection,
    from: &Address,
    to: &Address,
    mail: &[u8],
    patience: &Patience,
) -> Result<Response, Interruption> {
    let step = |phase| Step { phase, patience };
    step(Phase::Sender).command(connection, "MAIL", Mail::new(Some(from.clone()), Vec::new())).await?;
    step(Phase::Recipient).command(connection, "RCPT", Rcpt::new(to.clone(), Vec::new())).await?;
    step(Phase::Data).command(connection, "DATA", Data).await?;
    let answer = patience.last_answer(connection.message(mail)).await;
    step(Phase::Message).end("the message", answer)
}

/// Closes the connection.
pub(super) async fn close(mut connection: AsyncSmtpConnection) {
    // Whether the server hears it makes no difference.
    let _ = tokio::time::timeout(GOODBYE_DEADLINE, connection.abort()).await;
}

/// What an interruption means for the mail.
pub(super) fn outcome_of(interruption: &Interruption) -> Outcome {
    let reply = reply_of(interruption);
    let Interruption { phase, cause } = interruption;
    let code = match cause {
        Cause::Smtp(error) => error.status().map(u16::from),
        Cause::Stopping => return Outcome::Interrupted(reply),
        Cause::Unreachable(_) | Cause::Silence(_) => None,
    };
    match code.map(|code| meaning(*phase, code)) {
        Some(Meaning::Refused) => Outcome::Refused(reply),
        Some(Meaning::Postponed) => Outcome::Postponed(reply),
        None if *phase == Phase::Message => Outcome::Ambiguous(reply),
        // The server has said that it did not take it, even where it says so last of all; or it never had it whole.
        Some(Meaning::Unavailable) | None => Outcome::Unavailable(reply),
    }
}

/// What there is to tell about an interruption.
pub(super) fn reply_of(interruption: &Interruption) -> Reply {
    use std::error::Error;
    match &interruption.cause {
        Cause::Smtp(error) => {
            let text = error.source().map(ToString::to_string).unwrap_or_default();
            Reply::new(&error.status().map_or_else(|| error.to_string(), |code| format!("{code} {text}")))
        }
        Cause::Unreachable(error) => Reply::new(&error.to_string()),
        Cause::Silence(what) => Reply::new(&format!("no answer to {what} in time")),
        Cause::Stopping => Reply::new("the mailer was stopped"),
    }
}

/// What a positive answer says.
pub(super) fn reply_from(response: &Response) -> Reply {
    let text: Vec<&str> = response.message().collect();
    Reply::new(&format!("{} {}", response.code(), text.join(" ")))
}

/// A part of the conversation.
struct Step<'a> {
    phase: Phase,
    patience: &'a Patience,
}

impl Step<'_> {
    async fn command(
        &self,
        connection: &mut AsyncSmtpConnection,
        name: &'static str,
        command: impl Display,
    ) -> Result<Response, Interruption> {
        self.run(name, connection.command(command)).await
    }

    async fn run<T>(
        &self,
        what: &'static str,
        step: impl Future<Output = Result<T, smtp::Error>>,
    ) -> Result<T, Interruption> {
        self.end(what, self.patience.answer(step).await)
    }

    fn end<T>(
        &self,
        what: &'static str,
        answer: Result<Result<T, smtp::Error>, NoAnswer>,
    ) -> Result<T, Interruption> {
        let cause = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Cause::Smtp(error),
            Err(NoAnswer::Silence) => Cause::Silence(what),
            Err(NoAnswer::Stopping) => Cause::Stopping,
        };
        Err(Interruption { phase: self.phase, cause })
    }
}
