//! Tells the other replicas through Redis that there is news in PostgreSQL, and hears it from them.
//!
//! A signal says who sent it and nothing else: whoever hears one reads PostgreSQL. So nobody makes anything true by writing to Redis, and what Redis
//! loses is found out by looking regularly. Each replica also says every second that it is there, and hears itself say it: that is how it knows that
//! it would have heard the others.

mod hearing;
mod redis_channel;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use parking_lot::Mutex;
use prometheus::{IntGauge, Registry};
use redis::PushInfo;
use secrecy::SecretString;
use tokio::{
    select,
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::{
    hearing::{Heard, Hearing, Kind},
    redis_channel::{Deaf, RedisChannel, Voice},
};

/// How often a replica says that it is there.
const PING_EVERY: Duration = Duration::from_secs(1);
/// The longest pause before Redis is tried again; the jitter is up to as much again, so that replicas do not knock together.
const LONGEST_PAUSE: Duration = Duration::from_millis(2_500);

/// This replica among those of one database; clones share it.
#[derive(Clone)]
pub struct PeerSignal(Arc<Inner>);

struct Inner {
    /// Without it nobody is told and nobody is heard.
    channel: Option<RedisChannel>,
    hearing: Mutex<Hearing>,
    news: Notify,
    outgoing: Notify,
    connected: IntGauge,
}

impl PeerSignal {
    /// A replica among all that share `scope`, which is hashed; nothing is connected yet.
    pub fn new(redis_url: Option<&SecretString>, scope: &str, registry: &Registry) -> anyhow::Result<Self> {
        let channel = redis_url.map(|url| RedisChannel::new(url, scope)).transpose();
        let channel = channel.context("the URL of Redis cannot be understood")?;
        let connected = IntGauge::new(
            "peer_signal_connected",
            "Whether the signals of other replicas are heard through Redis.",
        )?;
        registry.register(Box::new(connected.clone()))?;
        Ok(Self(Arc::new(Inner {
            channel,
            hearing: Mutex::new(Hearing::new(clock::random_bytes(&mut clock::secure_rng()), Instant::now())),
            news: Notify::new(),
            outgoing: Notify::new(),
            connected,
        })))
    }

    /// Tells the others that there is news, as soon as they can be told. Never waits; a burst is one signal.
    pub fn send(&self) {
        self.0.outgoing.notify_one();
    }

    /// Waits until another replica says that there is news, or may have said so unheard. What came while nobody waited is not lost.
    pub async fn heard(&self) {
        self.0.news.notified().await;
    }

    /// Whether every signal since `since` would have been heard, but for the last seconds, and there was none.
    pub fn quiet_since(&self, since: Instant) -> bool {
        self.0.hearing.lock().is_quiet_since(since, Instant::now())
    }

    /// Whether the news of another replica has waited `for_at_least` for somebody to look.
    pub fn has_waited(&self, for_at_least: Duration) -> bool {
        self.0.hearing.lock().has_waited(for_at_least, Instant::now())
    }

    /// Somebody looked, successfully, and began to at `began`.
    pub fn looked(&self, began: Instant) {
        self.0.hearing.lock().looked(began);
    }

    /// Tells all replicas that share `scope` that there is news, once, for somebody who is none of them.
    pub async fn send_once(redis_url: Option<&SecretString>, scope: &str) -> anyhow::Result<()> {
        let Some(url) = redis_url else { return Ok(()) };
        RedisChannel::new(url, scope)?.publish_once("news").await
    }

    /// Speaks and listens until `stop`, connecting as often as it takes. What was to be sent before `stop` is sent.
    pub async fn run(self, stop: CancellationToken) {
        let Some(channel) = &self.0.channel else {
            info!("There is no REDIS_URL: revocations reach other replicas by polling, within two seconds");
            return stop.cancelled().await;
        };
        let mut pauses = pauses();
        let mut is_told = false;
        while let Err(reason) = self.0.converse(channel, &stop).await {
            if self.0.end() {
                pauses = self::pauses();
                is_told = false;
            }
            tell(&reason, is_told);
            is_told = true;
            let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
        self.0.end();
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times()
        .build()
}

/// One line for each absence is enough.
fn tell(reason: &Deaf, is_told: bool) {
    let error = reason as &dyn std::error::Error;
    if is_told {
        debug!(error, "The other replicas still cannot be heard");
    } else {
        warn!(
            error,
            "The other replicas cannot be heard through Redis; revocations reach them and us by polling"
        );
    }
}

impl Inner {
    /// Nothing is heard any more. Says whether something was.
    fn end(&self) -> bool {
        self.connected.set(0);
        self.hearing.lock().end()
    }

    /// Speaks and listens on one connection, until `stop` or until it is good for nothing any more.
    async fn converse(&self, channel: &RedisChannel, stop: &CancellationToken) -> Result<(), Deaf> {
        let Some(connected) = stop.run_until_cancelled(channel.join()).await else { return Ok(()) };
        let (voice, messages) = connected?;
        self.hearing.lock().begin(Instant::now());
        select! {
            spoken = self.speak(voice, stop) => spoken,
            deaf = self.listen(messages) => Err(deaf),
        }
    }

    async fn speak(&self, mut voice: Voice, stop: &CancellationToken) -> Result<(), Deaf> {
        // What was not heard from here, while this replica was away, is news to the others.
        self.outgoing.notify_one();
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let kind = select! {
                biased;
                () = self.outgoing.notified() => Kind::Signal,
                () = stop.cancelled() => return Ok(()),
                _ = pings.tick() => Kind::Ping,
            };
            let message = self.hearing.lock().message(kind, Instant::now());
            let in_time = voice.say(&message).await?;
            if !in_time && kind == Kind::Signal && !stop.is_cancelled() {
                // It may arrive or not. That the connection is dead is for the listener to find out.
                self.outgoing.notify_one();
            }
        }
    }

    async fn listen(&self, mut messages: mpsc::UnboundedReceiver<PushInfo>) -> Deaf {
        let mut looks = interval(PING_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = select! {
                message = messages.recv() => match message {
                    Some(message) => match redis_channel::payload(message) {
                        Ok(Some(payload)) => self.hearing.lock().hear(&payload, Instant::now()),
                        Ok(None) => Heard::Nothing,
                        Err(deaf) => return deaf,
                    },
                    None => return Deaf::Closed,
                },
                _ = looks.tick() => match self.hearing.lock().look(Instant::now()) {
                    Some(heard) => heard,
                    None => return Deaf::Silent,
                },
            };
            match heard {
                Heard::Nothing => {}
                Heard::Signal => self.news.notify_one(),
                Heard::Beginning => {
                    info!("The other replicas can be heard through Redis");
                    self.connected.set(1);
                    // There may have been signals before.
                    self.news.notify_one();
                }
            }
        }
    }
}
