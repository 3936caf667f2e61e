//! A mail server whose behaviour a test chooses, mail by mail.
//!
//! It speaks the protocol as a provider does (pipelining, dot-stuffing, STARTTLS, AUTH), so a client that is good with it is good with a
//! provider; everything that it does wrong it was told to.

use std::{collections::BTreeSet, fmt, net::SocketAddr, sync::Arc};

use secrecy::SecretString;
use tokio::{net::TcpListener, task::JoinHandle};
use url::Url;

mod behaviour;
mod book;
mod certificates;
mod received;
mod session;
mod stream;

pub use behaviour::{Behaviour, Step};
pub use certificates::{Certificate, ca_pem};
pub use received::{Answered, ReceivedMail};

use book::Book;

/// How connections are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// Plain text; STARTTLS is not offered.
    #[default]
    Plain,
    /// STARTTLS is offered, and nothing else is allowed before it.
    StartTls(Certificate),
    /// TLS from the first byte.
    Tls(Certificate),
}

/// A programmable SMTP server on a port of its own. It stops when dropped.
pub struct SmtpServer {
    address: SocketAddr,
    profile: Arc<Profile>,
    book: Arc<Book>,
    accepting: JoinHandle<()>,
}

/// What does not change while a server runs.
#[derive(Debug, Clone, Default)]
struct Profile {
    security: Security,
    credentials: Option<(String, String)>,
}

/// How many connections and mails there were; see [`SmtpServer::counts`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted.
    pub connections: usize,
    /// Connections that are open now.
    pub open: usize,
    /// The most connections that were open at once.
    pub most_open: usize,
    /// Logins that were accepted.
    pub logins: usize,
    /// Messages whose end was seen.
    pub messages: usize,
}

impl SmtpServer {
    /// Accepts every mail in plain text until it is told otherwise.
    pub async fn plain() -> Self {
        Self::start(Security::Plain).await
    }

    /// Accepts every mail from whoever connects as `security` says.
    pub async fn start(security: Security) -> Self {
        Self::run(Profile { security, credentials: None }).await
    }

    /// Like [`SmtpServer::start`], but only for who logs in as `user` with `password`, by PLAIN or LOGIN. Anybody else gets 535, and 530
    /// for a mail.
    pub async fn with_login(security: Security, user: &str, password: &str) -> Self {
        Self::run(Profile { security, credentials: Some((user.to_owned(), password.to_owned())) }).await
    }

    async fn run(profile: Profile) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (profile, book) = (Arc::new(profile), Arc::new(Book::default()));
        #[expect(
            clippy::disallowed_methods,
            reason = "a test has no lifecycle; the task ends with the value"
        )]
        let accepting = tokio::spawn(session::accept(listener, Arc::clone(&profile), Arc::clone(&book)));
        Self { address, profile, book, accepting }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL with which a client talks to it as it wants to be talked to, its credentials included.
    #[must_use]
    pub fn url(&self) -> SecretString {
        let scheme = if matches!(self.profile.security, Security::Tls(_)) { "smtps" } else { "smtp" };
        let mut url: Url = format!("{scheme}://localhost:{}", self.address.port()).parse().expect("a URL");
        if let Some((user, password)) = &self.profile.credentials {
            url.set_username(user)
                .and_then(|()| url.set_password(Some(password)))
                .expect("a URL with a host");
        }
        if matches!(self.profile.security, Security::StartTls(_)) {
            url.set_query(Some("tls=required"));
        }
        url.to_string().into()
    }

    /// Asks `judge` what to do with a mail, for its recipient and how often that recipient was named before (from 0), and with a
    /// connection on which no recipient was named yet, for an empty one. A later call takes the place of an earlier one.
    pub fn decide(&self, judge: impl Fn(&str, usize) -> Behaviour + Send + Sync + 'static) {
        self.book.lock().judge = Some(Arc::new(judge));
    }

    /// What to do with every mail that nothing else is said about.
    pub fn by_default(&self, behaviour: Behaviour) {
        self.decide(move |_, _| behaviour.clone());
    }

    /// What to do with mails to one address, whatever is said about others.
    pub fn for_recipient(&self, address: &str, behaviour: Behaviour) {
        self.book.lock().recipients.insert(address.to_ascii_lowercase(), behaviour);
    }

    /// What to do with mails to a domain, but for addresses that [`SmtpServer::for_recipient`] names.
    pub fn for_domain(&self, domain: &str, behaviour: Behaviour) {
        self.book.lock().domains.insert(domain.to_ascii_lowercase(), behaviour);
    }

    /// Uses each of `behaviours` once, in their order, before anything else that was said. The first one waits until a conversation comes
    /// to its step, so that a queue is the same however many connections there are.
    pub fn queue(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.book.lock().queue.extend(behaviours);
    }

    /// Forgets everything that it was told to do, and accepts mails.
    pub fn behave(&self) {
        self.book.lock().forget_orders();
    }

    /// The mails whose end was seen, in the order of their ends, whatever was answered.
    #[must_use]
    pub fn mails(&self) -> Vec<ReceivedMail> {
        self.book.lock().mails.clone()
    }

    /// The mails to one address.
    #[must_use]
    pub fn mails_to(&self, address: &str) -> Vec<ReceivedMail> {
        let mut mails = self.mails();
        mails.retain(|mail| mail.to.iter().any(|to| to.eq_ignore_ascii_case(address)));
        mails
    }

    /// The `Message-ID`s of the mails that somebody finds in a mailbox, which is cheaper to ask for than the mails.
    #[must_use]
    pub fn delivered_ids(&self) -> BTreeSet<String> {
        let book = self.book.lock();
        book.mails
            .iter()
            .filter(|mail| mail.is_delivered())
            .filter_map(|mail| mail.message_id.clone())
            .collect()
    }

    /// How many connections and mails there were.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.book.lock().counts.clone()
    }

    /// The most mails to a domain that were under way at once, from `RCPT` to the answer to the message.
    #[must_use]
    pub fn most_at_once(&self, domain: &str) -> usize {
        self.book.lock().concurrency.get(&domain.to_ascii_lowercase()).map_or(0, |domain| domain.most)
    }

    /// Every command as it was sent, in the order of its arrival on any connection. What a login sends is left out.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.book.lock().commands.clone()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        // Its sessions are in a set that goes with it.
        self.accepting.abort();
    }
}

impl fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmtpServer({}, {:?})", self.address, self.profile.security)
    }
}

#[cfg(test)]
mod tests;
