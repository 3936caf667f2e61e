use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use auth_events::{
    Client, Envelope, Fact,
    facts::AuthLogin,
    routing::{AUDIT_DEAD_QUEUE, Route},
};
use auth_ids::UserId;
use clock::SystemClock;
use event_bus::OutgoingMessage;

use tokio::{process::Command, time::timeout};

use crate::bench::{Bench, Findings, Row, figures::shown};

const PER_SECOND: u64 = 5_000;
/// Published at once; the outbox of a busy service is emptied in batches too.
const BATCH: usize = 500;
const PATIENCE: Duration = Duration::from_mins(3);
const SOURCE: &str = "load";

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Findings> {
    let dead_before = bench.bus.queue_length(AUDIT_DEAD_QUEUE).await?;
    let pairs = bench.against_budget(Row::AuditIngest, async || ingest(bench).await).await?;
    let dead = bench.bus.queue_length(AUDIT_DEAD_QUEUE).await?;
    ensure!(dead == dead_before, "{} events became dead letters", dead.saturating_sub(dead_before));
    Ok(Findings { pairs, notes: vec![proof(bench).await?] })
}

/// How fast the whole log is proved, the start of the command included.
async fn proof(bench: &Bench) -> anyhow::Result<String> {
    let mut verify = Command::new(bench.platform.program("audit-service"));
    verify.env_clear().envs(bench.platform.environment_of("AUDIT_SERVICE_PID")?);
    verify.arg("verify").kill_on_drop(true);
    let started = Instant::now();
    let output = timeout(PATIENCE, verify.output()).await.context("the log is not proved in time")??;
    let took = started.elapsed();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let rows: f64 = bench.platform.sql("SELECT count(*) FROM audit.events").await?.concat().parse()?;
    let rate = shown(rows / took.as_secs_f64());
    Ok(format!(
        "`audit-service verify` proved the {rows} rows that there were then in {took:.2?}: {rate} rows/s."
    ))
}

async fn ingest(bench: &Bench) -> anyhow::Result<f64> {
    let count = PER_SECOND * bench.measured.as_secs();
    let messages = (0..count).map(|_| message()).collect::<anyhow::Result<Vec<_>>>()?;
    let end = bench.platform.sql("SELECT coalesce(max(seq), 0) FROM audit.events").await?.concat();
    let publisher = bench.bus.publisher();
    let started = Instant::now();
    for batch in messages.chunks(BATCH) {
        let confirmed = publisher.publish(batch.to_vec()).await;
        confirmed.into_iter().collect::<Result<Vec<_>, _>>().context("an event was not published")?;
    }
    let recorded = format!("SELECT count(*) FROM audit.events WHERE seq > {end} AND source = '{SOURCE}'");
    loop {
        let recorded: u64 = bench.platform.sql(&recorded).await?.concat().parse()?;
        if recorded == count {
            break;
        }
        ensure!(started.elapsed() < PATIENCE, "{recorded} of {count} events are recorded");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    #[expect(clippy::cast_precision_loss, reason = "there are millions of events, not 2^52")]
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

/// What a login leaves in the log.
fn message() -> anyhow::Result<OutgoingMessage> {
    let (clock, mut rng) = (SystemClock, clock::secure_rng());
    let user: UserId = auth_ids::generate(&clock, &mut rng);
    let client = Client {
        ip: Some([192, 0, 2, 7].into()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned()),
        request_id: Some(uuid::Uuid::now_v7().to_string()),
    };
    let detail = AuthLogin { methods: vec!["pwd".to_owned()], identifier_hash: None };
    let fact = Fact::by_user(user, detail).from_client(client);
    let envelope = Envelope::fact(SOURCE, Some(user), fact, &clock, &mut rng);
    Ok(OutgoingMessage {
        route: Route::fact(&envelope.r#type),
        message_id: auth_ids::GenericUuid::into_untyped_uuid(envelope.id).to_string(),
        message_type: format!("{}.v{}", envelope.r#type, envelope.version),
        traceparent: None,
        payload: serde_json::to_vec(&envelope)?,
    })
}
