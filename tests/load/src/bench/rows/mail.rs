use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use chrono::{DateTime, Utc};
use clock::{Clock, SystemClock};
use hdrhistogram::Histogram;
use http::Request;
use http_body_util::Full;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;

use crate::{
    Client, Outcome, Timing,
    bench::{
        Bench, Findings, Row,
        users::{Turns, email, post},
    },
    client::{HttpConnection, HttpTarget},
    open_loop,
};

const PER_SECOND: f64 = 10.0;
const CONNECTIONS: usize = 8;
const PATIENCE: Duration = Duration::from_mins(1);
/// The link in the mail that is waited for; other mails go to the same users.
const LINK: &str = "/reset-password";

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Findings> {
    // Across the runs: who asks again and again gets no more mails.
    let turns = Turns::default();
    let pairs = bench.against_budget(Row::MailStartP95, async || p95(bench, &turns).await).await?;
    Ok(Findings { pairs, notes: Vec::new() })
}

/// Who was told at what time that the request was taken.
type Answered = Arc<Mutex<Vec<(String, DateTime<Utc>)>>>;

/// Asks for a link, each time as somebody else.
struct Asking {
    connection: HttpConnection,
    turns: Turns,
    answered: Answered,
}

impl Client for Asking {
    async fn request(&mut self) -> Outcome {
        let email = email(self.turns.next());
        let request = post("/v1/auth/forgot-password", &json!({"email": email}));
        match self.connection.exchange(request).await {
            Ok(answer) => {
                self.answered.lock().push((email, SystemClock.now()));
                Outcome::Http(answer.status().as_u16())
            }
            Err(_) => Outcome::Silence,
        }
    }
}

/// In seconds.
async fn p95(bench: &Bench, turns: &Turns) -> anyhow::Result<f64> {
    let (began, answered) = (SystemClock.now(), Answered::default());
    let target = bench.platform.api()?;
    let client = || Asking {
        connection: HttpConnection::new(target.clone()),
        turns: turns.clone(),
        answered: Arc::clone(&answered),
    };
    let clients = std::iter::repeat_with(client).take(CONNECTIONS).collect();
    let timing = Timing { warm_up: Duration::ZERO, measured: bench.measured };
    let load = open_loop(clients, PER_SECOND, timing).await?;
    ensure!(load.good() == load.count(), "a request for a mail was refused");

    let mut mailbox = HttpConnection::new(HttpTarget::parse(&bench.platform.variable("MAILBOX_URL")?, None)?);
    let mut latencies = Histogram::<u64>::new(3)?;
    let deadline = Instant::now() + PATIENCE;
    let answered = std::mem::take(&mut *answered.lock());
    for (email, answered_at) in answered {
        let arrived_at = arrival(&mut mailbox, &email, began, deadline).await?;
        // It may arrive before its request is answered.
        let latency = (arrived_at - answered_at).to_std().unwrap_or_default();
        latencies.record(u64::try_from(latency.as_micros())?)?;
    }
    #[expect(clippy::cast_precision_loss, reason = "there are no 2^52 microseconds in a minute")]
    Ok(latencies.value_at_quantile(0.95) as f64 / 1e6)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mail {
    links: Vec<String>,
    received_at: DateTime<Utc>,
}

async fn arrival(
    mailbox: &mut HttpConnection,
    email: &str,
    began: DateTime<Utc>,
    deadline: Instant,
) -> anyhow::Result<DateTime<Utc>> {
    loop {
        let request = Request::get(format!("/api/messages?to={email}")).body(Full::default())?;
        let answer = mailbox.exchange(request).await?;
        let mails: Vec<Mail> = serde_json::from_slice(answer.body())?;
        let is_it =
            |mail: &Mail| mail.received_at >= began && mail.links.iter().any(|link| link.contains(LINK));
        if let Some(mail) = mails.into_iter().find(is_it) {
            return Ok(mail.received_at);
        }
        ensure!(Instant::now() < deadline, "a mail did not arrive within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
