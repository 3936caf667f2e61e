use std::{sync::Arc, time::Duration};

use clock::{Clock, SystemClock};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    SmtpFault,
    inbox::Inbox,
    message::{Envelope, read},
};

const MAX_MESSAGE_BYTES: usize = 10 * 1024 * 1024;
/// RFC 5321 asks for 512 bytes; extensions and long addresses want more.
const MAX_COMMAND_BYTES: u64 = 8 * 1024;
/// RFC 5321, section 4.5.3.2.7.
const IDLE: Duration = Duration::from_mins(5);
/// After an error of `accept` (no descriptors left), before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn serve(listener: TcpListener, inbox: Arc<Inbox>, stopping: CancellationToken) {
    let sessions = TaskTracker::new();
    let accept = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let session = Session { stream: BufReader::new(stream), inbox: inbox.clone(), envelope: None };
            sessions.spawn(stopping.clone().run_until_cancelled_owned(session.run()));
        }
    };
    stopping.run_until_cancelled(accept).await;
}

struct Session {
    stream: BufReader<TcpStream>,
    inbox: Arc<Inbox>,
    /// From `MAIL` to the end of the message.
    envelope: Option<Envelope>,
}

enum Next {
    Answer(&'static str),
    TakeMessage(Envelope),
    Close(&'static str),
}

impl Session {
    /// A client that breaks off is none of our business.
    async fn run(mut self) {
        let _ = self.converse().await;
    }

    async fn converse(&mut self) -> std::io::Result<()> {
        self.say("220 localhost ESMTP mail catcher").await?;
        while let Some(line) = self.command().await? {
            match self.next(&line) {
                Next::Answer(answer) => self.say(answer).await?,
                Next::Close(answer) => return self.say(answer).await,
                Next::TakeMessage(envelope) => {
                    self.say("354 End data with <CR><LF>.<CR><LF>").await?;
                    let Some(source) = self.message().await? else { return Ok(()) };
                    if self.answer_message(envelope, source).await?.is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn next(&mut self, line: &str) -> Next {
        let (verb, arguments) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                self.envelope = None;
                Next::Answer(
                    "250-localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 10485760",
                )
            }
            "HELO" => {
                self.envelope = None;
                Next::Answer("250 localhost")
            }
            "MAIL" => self.mail(arguments),
            "RCPT" => self.recipient(arguments),
            "DATA" => match self.envelope.take() {
                Some(envelope) if !envelope.to.is_empty() => Next::TakeMessage(envelope),
                envelope => {
                    self.envelope = envelope;
                    Next::Answer("503 5.5.1 MAIL and RCPT come first")
                }
            },
            "RSET" => {
                self.envelope = None;
                Next::Answer("250 2.0.0 OK")
            }
            "NOOP" => Next::Answer("250 2.0.0 OK"),
            "VRFY" => Next::Answer("252 2.5.0 Send it and see"),
            "QUIT" => Next::Close("221 2.0.0 Bye"),
            _ => Next::Answer("502 5.5.2 Unknown command"),
        }
    }

    fn mail(&mut self, arguments: &str) -> Next {
        if self.envelope.is_some() {
            return Next::Answer("503 5.5.1 There is a sender already");
        }
        let Some((from, parameters)) = path(arguments, "FROM:") else {
            return Next::Answer("501 5.5.4 Expected MAIL FROM:<address>");
        };
        let size = parameters.split_ascii_whitespace().find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.eq_ignore_ascii_case("SIZE").then(|| value.parse::<usize>().ok())?
        });
        if size.is_some_and(|size| size > MAX_MESSAGE_BYTES) {
            return Next::Answer("552 5.3.4 The message is too big");
        }
        self.envelope = Some(Envelope { from: from.to_owned(), to: Vec::new() });
        Next::Answer("250 2.1.0 OK")
    }

    fn recipient(&mut self, arguments: &str) -> Next {
        let Some(envelope) = &mut self.envelope else {
            return Next::Answer("503 5.5.1 MAIL comes first");
        };
        match path(arguments, "TO:") {
            Some((to, _)) if !to.is_empty() => {
                if self.inbox.fault() == Some(SmtpFault::Permanent) {
                    return Next::Answer("550 5.1.1 No such mailbox");
                }
                envelope.to.push(to.to_owned());
                Next::Answer("250 2.1.5 OK")
            }
            _ => Next::Answer("501 5.5.4 Expected RCPT TO:<address>"),
        }
    }

    async fn answer_message(
        &mut self,
        envelope: Envelope,
        source: Vec<u8>,
    ) -> std::io::Result<std::ops::ControlFlow<()>> {
        match self.inbox.fault() {
            Some(SmtpFault::Transient) => self.say("451 4.3.0 Try again later").await?,
            Some(SmtpFault::Disconnect) => return Ok(std::ops::ControlFlow::Break(())),
            Some(SmtpFault::Stall) => std::future::pending().await,
            Some(SmtpFault::Permanent) | None if source.len() > MAX_MESSAGE_BYTES => {
                self.say("552 5.3.4 The message is too big").await?;
            }
            Some(SmtpFault::Permanent) | None => {
                self.inbox.store(read(envelope, &source, SystemClock.now()), source);
                self.say("250 2.0.0 Caught").await?;
            }
        }
        Ok(std::ops::ControlFlow::Continue(()))
    }

    /// The message with its dots unstuffed; `None` when the client went away. One that is too big is read to its end.
    async fn message(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut message = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = u64::try_from(MAX_MESSAGE_BYTES).unwrap_or(u64::MAX);
            let mut limited = (&mut self.stream).take(limit);
            if timeout(IDLE, limited.read_until(b'\n', &mut line)).await?? == 0 {
                return Ok(None);
            }
            if line == b".\r\n" || line == b".\n" {
                return Ok(Some(message));
            }
            if message.len() <= MAX_MESSAGE_BYTES {
                message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            }
        }
    }

    async fn command(&mut self) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(MAX_COMMAND_BYTES);
        if timeout(IDLE, limited.read_until(b'\n', &mut line)).await?? == 0 || !line.ends_with(b"\n") {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
    }

    async fn say(&mut self, answer: &str) -> std::io::Result<()> {
        self.stream.get_mut().write_all(format!("{answer}\r\n").as_bytes()).await
    }
}

/// The address of `FROM:<address> PARAMETERS`, and the parameters.
fn path<'a>(arguments: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let arguments = arguments.trim_start();
    let (head, rest) = arguments.split_at_checked(keyword.len())?;
    let rest = head.eq_ignore_ascii_case(keyword).then(|| rest.trim_start())?;
    rest.strip_prefix('<')?.split_once('>')
}
