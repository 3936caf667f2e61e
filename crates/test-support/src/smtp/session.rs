use std::{io, sync::Arc, time::Instant};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tokio_rustls::TlsAcceptor;

use super::{
    Answered, Behaviour, Profile, ReceivedMail, Security, Step,
    book::Book,
    received::header,
    stream::{MAX_MESSAGE_BYTES, Stream},
};

pub(super) async fn accept(listener: TcpListener, profile: Arc<Profile>, book: Arc<Book>) {
    let acceptor = match profile.security {
        Security::Plain => None,
        Security::StartTls(certificate) | Security::Tls(certificate) => Some(certificate.acceptor()),
    };
    let mut sessions = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let session = Session {
            profile: Arc::clone(&profile),
            acceptor: acceptor.clone(),
            presence: Presence::new(Arc::clone(&book)),
            user: None,
            mail: None,
        };
        sessions.spawn(session.run(Stream::plain(stream)));
        while sessions.try_join_next().is_some() {}
    }
}

struct Session {
    profile: Arc<Profile>,
    acceptor: Option<TlsAcceptor>,
    presence: Presence,
    user: Option<String>,
    /// From `MAIL` to the end of the message.
    mail: Option<Mail>,
}

struct Mail {
    from: String,
    /// Whoever was accepted.
    to: Vec<String>,
    /// Whoever was named.
    named: Vec<String>,
    behaviour: Behaviour,
    started: Instant,
    book: Arc<Book>,
}

/// What becomes of the connection.
enum Turn {
    Goes(Stream),
    Over,
}

impl Session {
    /// A client that breaks off is none of our business.
    async fn run(mut self, stream: Stream) {
        let _ = self.converse(stream).await;
    }

    async fn converse(&mut self, mut stream: Stream) -> io::Result<()> {
        if let (Security::Tls(_), Some(acceptor)) = (self.profile.security, &self.acceptor) {
            stream = stream.encrypted(acceptor).await?;
        }
        let said = self.book().lock().for_connection(Step::Connect);
        let mut turn = act(stream, said, "220 localhost ESMTP").await?;
        while let Turn::Goes(mut stream) = turn {
            let Some(line) = stream.command().await? else { break };
            let (verb, arguments) = line.split_once(' ').unwrap_or((&line, ""));
            let verb = verb.to_ascii_uppercase();
            self.note(&verb, &line);
            turn = match verb.as_str() {
                "EHLO" | "HELO" => self.hello(stream, verb == "EHLO").await?,
                "STARTTLS" => self.start_tls(stream).await?,
                "AUTH" => self.log_in(stream, arguments).await?,
                "MAIL" => self.mail_from(stream, arguments).await?,
                "RCPT" => self.rcpt_to(stream, arguments).await?,
                "DATA" => self.data(stream).await?,
                "RSET" => {
                    self.mail = None;
                    act(stream, None, "250 2.0.0 OK").await?
                }
                "NOOP" => act(stream, None, "250 2.0.0 OK").await?,
                "QUIT" => {
                    stream.say("221 2.0.0 Bye").await?;
                    Turn::Over
                }
                _ => act(stream, None, "502 5.5.2 Unknown command").await?,
            };
        }
        Ok(())
    }

    fn book(&self) -> &Arc<Book> {
        &self.presence.book
    }

    fn note(&self, verb: &str, line: &str) {
        let line = if verb == "AUTH" { "AUTH" } else { line };
        self.book().lock().commands.push(line.to_owned());
    }

    async fn hello(&mut self, stream: Stream, is_extended: bool) -> io::Result<Turn> {
        self.mail = None;
        let said = self.book().lock().for_connection(Step::Hello);
        if !is_extended {
            return act(stream, said, "250 localhost").await;
        }
        let mut answer = String::from("250-localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n");
        if matches!(self.profile.security, Security::StartTls(_)) && !stream.is_encrypted() {
            answer.push_str("250-STARTTLS\r\n");
        } else if self.profile.credentials.is_some() {
            answer.push_str("250-AUTH PLAIN LOGIN\r\n");
        }
        answer.push_str("250 SIZE 16777216");
        act(stream, said, &answer).await
    }

    async fn start_tls(&mut self, stream: Stream) -> io::Result<Turn> {
        let said = self.book().lock().for_connection(Step::StartTls);
        let acceptor = self.acceptor.clone().filter(|_| !stream.is_encrypted());
        let Some(acceptor) = acceptor else {
            return act(stream, said, "502 5.5.1 Not offered").await;
        };
        let is_refused = said.as_ref().is_some_and(|it| !matches!(it, Behaviour::Inject(_)));
        match act(stream, said, "220 2.0.0 Go ahead").await? {
            Turn::Goes(stream) if !is_refused => {
                self.mail = None;
                Ok(Turn::Goes(stream.encrypted(&acceptor).await?))
            }
            turn => Ok(turn),
        }
    }

    async fn log_in(&mut self, mut stream: Stream, arguments: &str) -> io::Result<Turn> {
        let said = self.book().lock().for_connection(Step::Auth);
        let shown = match arguments.split_once(' ').unwrap_or((arguments, "")) {
            (mechanism, initial) if mechanism.eq_ignore_ascii_case("PLAIN") => {
                plain_credentials(&asked_unless(&mut stream, initial, "").await?)
            }
            (mechanism, initial) if mechanism.eq_ignore_ascii_case("LOGIN") => {
                let user = asked_unless(&mut stream, initial, "VXNlcm5hbWU6").await?;
                Some((decoded(&user), decoded(&asked_unless(&mut stream, "", "UGFzc3dvcmQ6").await?)))
            }
            _ => return act(stream, said, "504 5.5.4 Unknown mechanism").await,
        };
        let is_right = shown.is_some() && shown == self.profile.credentials;
        if said.is_none() && is_right {
            self.user = shown.map(|(user, _)| user);
            self.book().lock().counts.logins += 1;
        }
        let answer = if is_right { "235 2.7.0 Welcome" } else { "535 5.7.8 Wrong user name or password" };
        act(stream, said, answer).await
    }

    async fn mail_from(&mut self, stream: Stream, arguments: &str) -> io::Result<Turn> {
        let said = self.book().lock().for_connection(Step::MailFrom);
        if matches!(self.profile.security, Security::StartTls(_)) && !stream.is_encrypted() {
            return act(stream, said, "530 5.7.0 STARTTLS comes first").await;
        }
        if self.profile.credentials.is_some() && self.user.is_none() {
            return act(stream, said, "530 5.7.0 Log in first").await;
        }
        let Some(from) = path(arguments, "FROM:").filter(|_| self.mail.is_none()) else {
            return act(stream, said, "503 5.5.1 Not now, or not like this").await;
        };
        if said.is_none() {
            let (behaviour, started) = (Behaviour::Accept, Instant::now());
            let book = Arc::clone(self.book());
            let (to, named) = (Vec::new(), Vec::new());
            self.mail = Some(Mail { from: from.to_owned(), to, named, behaviour, started, book });
        }
        act(stream, said, "250 2.1.0 OK").await
    }

    async fn rcpt_to(&mut self, stream: Stream, arguments: &str) -> io::Result<Turn> {
        let to = path(arguments, "TO:").filter(|to| !to.is_empty());
        let (Some(mail), Some(to)) = (&mut self.mail, to) else {
            return act(stream, None, "503 5.5.1 Not now, or not like this").await;
        };
        let said = mail.meets(to);
        let is_accepted = said.as_ref().is_none_or(|it| matches!(it, Behaviour::Slow(_)));
        if is_accepted {
            mail.to.push(to.to_owned());
        }
        act(stream, said, "250 2.1.5 OK").await
    }

    async fn data(&mut self, stream: Stream) -> io::Result<Turn> {
        let Some(mail) = self.mail.take_if(|mail| !mail.to.is_empty()) else {
            return act(stream, None, "503 5.5.1 MAIL and RCPT come first").await;
        };
        let said = mail.says(Step::Data);
        let is_refused = said.as_ref().is_some_and(|it| !matches!(it, Behaviour::Slow(_)));
        let mut stream = match act(stream, said, "354 End data with <CR><LF>.<CR><LF>").await? {
            Turn::Goes(stream) if !is_refused => stream,
            turn => return Ok(turn),
        };
        let Some(bytes) = stream.message().await? else { return Ok(Turn::Over) };
        let said = mail.says(Step::Message);
        let said = said.or_else(|| {
            let is_too_big = bytes.len() > MAX_MESSAGE_BYTES;
            is_too_big.then_some(Behaviour::Answer(Step::Message, "552 5.3.4 The message is too big"))
        });
        self.keep(&mail, bytes, said.as_ref(), stream.is_encrypted());
        act(stream, said, "250 2.0.0 Taken").await
    }

    /// Before the answer: who was told finds it.
    fn keep(&self, mail: &Mail, bytes: Vec<u8>, said: Option<&Behaviour>, encrypted: bool) {
        let answered = match said {
            None | Some(Behaviour::Accept | Behaviour::Slow(_) | Behaviour::Inject(_)) => Answered::Accepted,
            Some(Behaviour::Swallow) => Answered::Swallowed,
            Some(Behaviour::Answer(_, answer)) => Answered::Refused(answer),
            Some(Behaviour::Stall(_) | Behaviour::Disconnect(_) | Behaviour::Reset(_)) => Answered::Nothing,
        };
        let message_id = header(&bytes, "Message-ID").pop();
        let message_id = message_id.map(|id| id.trim_matches(['<', '>', ' ']).to_owned());
        let mut book = self.book().lock();
        book.counts.messages += 1;
        book.mails.push(ReceivedMail {
            from: mail.from.clone(),
            to: mail.to.clone(),
            bytes,
            message_id,
            answered,
            connection: self.presence.number,
            encrypted,
            user: self.user.clone(),
            started: mail.started,
            ended: Instant::now(),
        });
    }
}

impl Mail {
    /// The first recipient decides how it goes on.
    fn meets(&mut self, to: &str) -> Option<Behaviour> {
        let mut book = self.book.lock();
        let own = book.for_mail(to);
        if self.to.is_empty() {
            self.behaviour = own.clone();
        }
        book.mail_begins(to);
        let queued = book.queued(Step::RcptTo);
        drop(book);
        self.named.push(to.to_owned());
        if let Some(queued) = queued {
            self.behaviour = queued.clone();
            return Some(queued);
        }
        Some(own).filter(|behaviour| behaviour.concerns(Step::RcptTo))
    }

    fn says(&self, step: Step) -> Option<Behaviour> {
        let queued = self.book.lock().queued(step);
        queued.or_else(|| Some(self.behaviour.clone()).filter(|behaviour| behaviour.concerns(step)))
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        let mut book = self.book.lock();
        for to in &self.named {
            book.mail_ends(to);
        }
    }
}

/// Counts a connection as open until it is dropped.
struct Presence {
    book: Arc<Book>,
    number: usize,
}

impl Presence {
    fn new(book: Arc<Book>) -> Self {
        let mut pages = book.lock();
        let number = pages.counts.connections;
        pages.counts.connections += 1;
        pages.counts.open += 1;
        pages.counts.most_open = pages.counts.most_open.max(pages.counts.open);
        drop(pages);
        Self { book, number }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.book.lock().counts.open -= 1;
    }
}

/// Answers, or does what was said instead.
async fn act(mut stream: Stream, said: Option<Behaviour>, answer: &str) -> io::Result<Turn> {
    match said {
        None | Some(Behaviour::Accept | Behaviour::Swallow) => stream.say(answer).await?,
        Some(Behaviour::Inject(more)) => stream.say(&format!("{answer}\r\n{more}")).await?,
        Some(Behaviour::Slow(pause)) => {
            sleep(pause).await;
            stream.say(answer).await?;
        }
        Some(Behaviour::Answer(_, answer)) => {
            stream.say(answer).await?;
            if answer.starts_with("421") {
                return Ok(Turn::Over);
            }
        }
        Some(Behaviour::Stall(_)) => {
            stream.stall().await?;
            return Ok(Turn::Over);
        }
        Some(Behaviour::Disconnect(_)) => return Ok(Turn::Over),
        Some(Behaviour::Reset(_)) => {
            stream.reset()?;
            return Ok(Turn::Over);
        }
    }
    Ok(Turn::Goes(stream))
}

/// What came with the command, or else the answer to a challenge.
async fn asked_unless(stream: &mut Stream, initial: &str, challenge: &str) -> io::Result<String> {
    if !initial.is_empty() {
        return Ok(initial.to_owned());
    }
    stream.say(&format!("334 {challenge}")).await?;
    Ok(stream.command().await?.unwrap_or_default())
}

/// `authorization NUL user NUL password`.
fn plain_credentials(text: &str) -> Option<(String, String)> {
    let text = decoded(text);
    let (user, password) = text.split_once('\0')?.1.split_once('\0')?;
    Some((user.to_owned(), password.to_owned()))
}

fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&BASE64_STANDARD.decode(text).unwrap_or_default()).into_owned()
}

/// The address of `FROM:<address> PARAMETERS`.
fn path<'a>(arguments: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, rest) = arguments.trim_start().split_at_checked(keyword.len())?;
    let rest = head.eq_ignore_ascii_case(keyword).then(|| rest.trim_start())?;
    Some(rest.strip_prefix('<')?.split_once('>')?.0)
}
