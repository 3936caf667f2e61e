//! The mail catcher: takes every mail, delivers none, and shows them on a web page and as JSON.

mod inbox;
mod links;
mod message;
mod page;
mod smtp;
mod templates;
mod web;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use chrono::{DateTime, Utc};
use inbox::Inbox;
use serde::Serialize;
use templates::Gallery;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// A running mail catcher; it stops when dropped.
#[derive(Debug)]
pub struct Mailbox {
    inbox: Arc<Inbox>,
    gallery: Gallery,
    smtp: SocketAddr,
    http: SocketAddr,
    stopping: CancellationToken,
}

/// A mail that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredMail {
    /// Ours, not the mail's.
    pub id: Uuid,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The address in the `From` header, or the envelope's sender where there is none.
    pub from: String,
    /// The decoded subject.
    pub subject: String,
    /// The text part, empty where there is none.
    pub text: String,
    /// The HTML part, empty where there is none.
    pub html: String,
    /// Every http(s) link of both parts, in order, each once.
    pub links: Vec<String>,
    /// The `Message-ID` without angle brackets.
    pub message_id: Option<String>,
    /// When the last byte arrived.
    pub received_at: DateTime<Utc>,
}

/// How the SMTP listener misbehaves, for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpFault {
    /// Answers `451` to the message: try again later.
    Transient,
    /// Answers `550` to the recipient: never.
    Permanent,
    /// Closes the connection when the message is complete, before answering.
    Disconnect,
    /// Takes the message and never answers.
    Stall,
}

impl Mailbox {
    /// Listens on both addresses; port 0 takes a free one.
    pub async fn start(smtp: SocketAddr, http: SocketAddr) -> anyhow::Result<Self> {
        let bind =
            async |addr| TcpListener::bind(addr).await.with_context(|| format!("cannot listen on {addr}"));
        let (smtp, http) = (bind(smtp).await?, bind(http).await?);
        let mailbox = Self {
            inbox: Arc::new(Inbox::default()),
            gallery: Gallery::default(),
            smtp: smtp.local_addr()?,
            http: http.local_addr()?,
            stopping: CancellationToken::new(),
        };
        let tasks = TaskTracker::new();
        let (inbox, stopping) = (mailbox.inbox.clone(), mailbox.stopping.clone());
        let web = web::serve(http, mailbox.inbox.clone(), mailbox.gallery.clone());
        tasks.spawn(mailbox.stopping.clone().run_until_cancelled_owned(web));
        tasks.spawn(smtp::serve(smtp, inbox, stopping));
        Ok(mailbox)
    }

    /// Where mail is taken.
    #[must_use]
    pub fn smtp_addr(&self) -> SocketAddr {
        self.smtp
    }

    /// Where mail is shown.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// The mails for `address`, newest first.
    #[must_use]
    pub fn messages_to(&self, address: &str) -> Vec<StoredMail> {
        self.inbox.to(Some(address))
    }

    /// The newest mail for `address`, as soon as there is one; an error after `deadline`.
    pub async fn wait_for(&self, address: &str, deadline: Duration) -> anyhow::Result<StoredMail> {
        tokio::time::timeout(deadline, self.inbox.newest_to(address))
            .await
            .with_context(|| format!("no mail for {address} within {deadline:?}"))
    }

    /// Shows the gallery of all templates in `directory` at `/templates/` from now on; the first call counts.
    pub fn show_templates(&self, directory: PathBuf) {
        self.gallery.get_or_init(|| directory);
    }

    /// Misbehaves from now on, or no longer.
    pub fn set_fault(&self, fault: Option<SmtpFault>) {
        self.inbox.set_fault(fault);
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}
