//! Opens connections: TLS, session limits and an error text that says what went wrong.

use std::{error::Error, fmt::Write, time::Duration};

use anyhow::Context;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::{
    Config, NoTls, Socket,
    config::{Host, SslMode, SslNegotiation},
    tls::{MakeTlsConnect, TlsConnect},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    Commit,
    answering::{Answering, Plain},
    tls::TlsWish,
};

/// A server that stops answering packets, unlike one that refuses them, is noticed by this only.
const UNACKNOWLEDGED_FOR: Duration = Duration::from_secs(3);

/// How much longer than a statement may take its answer may be on its way.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// Longer than any transaction of ours; frees the locks of a process that was frozen inside one.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(15);

/// What the server keeps to for a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionSettings {
    pub(crate) statement_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) commit: Commit,
}

/// A parsed database URL.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// How long an answer may be owed; absent where an operator waits for the result.
    patience: Option<Duration>,
}

impl Connector {
    /// Understands `url`; `session` is absent where an operator waits for the result.
    pub(crate) fn new(
        url: &SecretString,
        application_name: &str,
        session: Option<SessionSettings>,
    ) -> anyhow::Result<Self> {
        let (url, tls) = TlsWish::split_off(url.expose_secret())?;
        // The driver's message names the parameter that it does not understand, never its value.
        let mut config: Config = url.parse().context("the database URL cannot be understood")?;
        config.application_name(application_name).keepalives_idle(Duration::from_secs(30));
        if let Some(SessionSettings { statement_timeout, lock_timeout, commit }) = session {
            let options = config.get_options().unwrap_or_default();
            let mut options = format!(
                "{options} -c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={}",
                statement_timeout.as_millis(),
                lock_timeout.as_millis(),
                IDLE_IN_TRANSACTION.as_millis(),
            );
            if commit == Commit::Asynchronous {
                options.push_str(" -c synchronous_commit=off");
            }
            config.options(options.trim_start()).tcp_user_timeout(UNACKNOWLEDGED_FOR);
        }
        let tls = tls.apply(&mut config)?;
        let patience = session.map(|session| session.statement_timeout + ANSWERED_WITHIN);
        Ok(Self { config, tls, patience })
    }

    /// The same server and role, another database.
    pub(crate) fn with_database(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.config.dbname(name);
        other
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) async fn connect(&self) -> ConnectionResult<AsyncPgConnection> {
        match (self.tls.clone(), self.patience) {
            (Some(tls), Some(patience)) => open(&self.config, Answering { tls, patience }).await,
            (Some(tls), None) => open(&self.config, tls).await,
            (None, Some(patience)) if self.names_hosts() => {
                let mut config = self.config.clone();
                config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
                open(&config, Answering { tls: Plain, patience }).await
            }
            (None, _) => open(&self.config, NoTls).await,
        }
    }

    /// Unlike sockets of this machine and bare addresses. Others the driver does not hand to TLS.
    fn names_hosts(&self) -> bool {
        let hosts = self.config.get_hosts();
        !hosts.is_empty() && hosts.iter().all(|host| matches!(host, Host::Tcp(_)))
    }
}

async fn open<T>(config: &Config, tls: T) -> ConnectionResult<AsyncPgConnection>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await.map_err(bad_connection)?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}

/// `ConnectionError` keeps a text only, so the text has to tell the whole chain.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn bad_connection(error: tokio_postgres::Error) -> ConnectionError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    ConnectionError::BadConnection(text)
}
