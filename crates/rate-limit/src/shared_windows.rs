//! The windows that all replicas share, in Redis.

use std::time::Duration;

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, Script, aio::MultiplexedConnection};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use crate::{
    decision::Decision,
    limit::Charge,
    limiter::RateLimitSettings,
    window::{SLICES, Window},
};

/// An attempt to connect is given up after this. Longer than a deadline: the next request goes on with it.
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);

/// Redis as it can be reached, and the connection while there is one. Nobody watches it: whoever finds none makes the next one, and whoever
/// gets no answer gives it up.
pub(crate) struct SharedWindows {
    client: Client,
    key_prefix: String,
    deadline: Duration,
    script: Script,
    connection: Mutex<Option<Connection>>,
}

/// A connection or the attempt to get one, by all who want it.
type Connection = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

/// Why Redis did not decide.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl SharedWindows {
    pub(crate) fn new(settings: &RateLimitSettings) -> RedisResult<Self> {
        Ok(Self {
            client: Client::open(settings.redis_url.expose_secret())?,
            key_prefix: settings.key_prefix.clone(),
            deadline: settings.redis_deadline,
            script: Script::new(include_str!("charge.lua")),
            connection: Mutex::new(None),
        })
    }

    /// Charges all if all allow it. That takes no longer than the deadline, a new connection included.
    pub(crate) async fn charge(&self, charges: &[Charge]) -> Result<Decision, NoAnswer> {
        let connection = self.connection();
        let decision = timeout(self.deadline, self.charge_on(connection.clone(), charges)).await;
        let decision = decision.unwrap_or(Err(NoAnswer::Late(self.deadline)));
        if decision.is_err() {
            self.discard(&connection);
        }
        decision
    }

    async fn charge_on(&self, connection: Connection, charges: &[Charge]) -> Result<Decision, NoAnswer> {
        let mut call = self.script.prepare_invoke();
        call.arg(SLICES);
        for charge in charges {
            call.key(format!("{}{}", self.key_prefix, charge.window_key()));
            call.arg(charge.limit.slice_width()).arg(charge.limit.quota);
        }
        let (allowed, now, windows): (bool, u64, Vec<String>) =
            call.invoke_async(&mut connection.await?).await?;
        let windows: Vec<_> = windows.iter().map(|text| Window::parse(text)).collect();
        let windows = charges.iter().map(|charge| charge.limit).zip(&windows);
        let refusal = if allowed { None } else { Decision::refusal(windows.clone(), now) };
        Ok(refusal.unwrap_or_else(|| Decision::allowed(windows, now)))
    }

    fn connection(&self) -> Connection {
        self.connection.lock().get_or_insert_with(|| connect(self.client.clone()).boxed().shared()).clone()
    }

    /// Gives up a connection, but not an attempt that is still under way. One that is silent might be so for a quarter of an hour before TCP says so.
    fn discard(&self, connection: &Connection) {
        if connection.peek().is_some() {
            self.connection.lock().take_if(|current| current.ptr_eq(connection));
        }
    }
}

async fn connect(client: Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECTED_WITHIN));
    client.get_multiplexed_async_connection_with_config(&config).await
}
