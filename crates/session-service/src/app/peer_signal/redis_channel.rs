//! The channel in Redis on which the replicas of one database meet.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use redis::{
    AsyncCommands, AsyncConnectionConfig, Client, IntoConnectionInfo, Msg, ProtocolVersion, PushInfo,
    PushKind, RedisError, RedisResult, aio::MultiplexedConnection,
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, time::timeout};

const CONNECTED_WITHIN: Duration = Duration::from_secs(2);
const ANSWERED_WITHIN: Duration = Duration::from_millis(100);

/// The channel, as it can be reached.
pub(super) struct RedisChannel {
    client: Client,
    name: String,
}

/// Speaks on the channel. It lives as long as the connection, which is also listened to: what comes back has gone both ways.
pub(super) struct Voice {
    connection: MultiplexedConnection,
    channel: String,
}

/// Why the others cannot be heard.
#[derive(Debug, thiserror::Error)]
pub(super) enum Deaf {
    #[error("Redis could not be connected to within {CONNECTED_WITHIN:?}")]
    Late,
    #[error("what is published does not come back")]
    Silent,
    #[error("Redis has closed the connection")]
    Closed,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl RedisChannel {
    pub(super) fn new(url: &SecretString, scope: &str) -> RedisResult<Self> {
        let info = url.expose_secret().into_connection_info()?;
        // Only in this version of the protocol one connection speaks and listens.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(scope));
        Ok(Self {
            client: Client::open(info.set_redis_settings(settings))?,
            name: format!("feature-auth:session:v1:{digest}"),
        })
    }

    /// Connects, and listens from now on.
    pub(super) async fn join(&self) -> Result<(Voice, mpsc::UnboundedReceiver<PushInfo>), Deaf> {
        let (sender, messages) = mpsc::unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTED_WITHIN))
            .set_response_timeout(Some(ANSWERED_WITHIN))
            .set_push_sender(sender);
        let joined = timeout(CONNECTED_WITHIN, async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            connection.subscribe(&self.name).await?;
            Ok::<_, RedisError>(connection)
        });
        let connection = joined.await.map_err(|_| Deaf::Late)??;
        Ok((Voice { connection, channel: self.name.clone() }, messages))
    }

    /// Says one thing without listening.
    pub(super) async fn publish_once(&self, message: &str) -> anyhow::Result<()> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTED_WITHIN))
            .set_response_timeout(Some(CONNECTED_WITHIN));
        let published = timeout(CONNECTED_WITHIN * 2, async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            connection.publish::<_, _, i64>(&self.name, message).await
        });
        published.await??;
        Ok(())
    }
}

impl Voice {
    /// Publishes `message`; says whether Redis answered in time.
    pub(super) async fn say(&mut self, message: &str) -> Result<bool, Deaf> {
        match self.connection.publish::<_, _, i64>(&self.channel, message).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_timeout() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// What was said on the channel; nothing if this is something else that Redis tells.
pub(super) fn payload(push: PushInfo) -> Result<Option<Vec<u8>>, Deaf> {
    if push.kind == PushKind::Disconnection {
        return Err(Deaf::Closed);
    }
    Ok(Msg::from_push_info(push).map(|message| message.get_payload_bytes().to_vec()))
}
