//! The audit log with millions of events: pages take as long as in a small log, and files leave it in little memory.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use auth_proto::audit::v1::{
    ExportFormat, ExportRequest, SearchRequest, audit_service_client::AuditServiceClient,
    export_response::Part,
};
use e2e::{
    Stack,
    grpc::{As, audit},
};
use soak::memory::peak_resident_mib;
use tonic::transport::Channel;

const FILL: &str = include_str!("fill.sql");
const SMALL: u64 = 20_000;
/// Ten million take a quarter of an hour to make and 11 GB to keep.
const LARGE: u64 = 2_000_000;
const REPEATED: usize = 15;

/// So many events; `AUDIT_EVENTS` asks for another large log.
fn large() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a knob of this test")]
    std::env::var("AUDIT_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(LARGE)
}

async fn fill(stack: &Stack, events: u64) {
    let began = Instant::now();
    stack.sql(FILL).await;
    stack.sql(&format!("CALL audit.fill({events})")).await;
    stack.sql("ANALYZE audit.events").await;
    println!("{events} events were made in {:?}", began.elapsed());
}

/// What is looked for: the first page of each, and one in the middle of the log.
async fn searches(stack: &Stack, events: u64) -> Vec<(&'static str, SearchRequest)> {
    let any = SearchRequest::default;
    let middle = events / 2 / 1000 * 1000 + 14;
    let row = format!(
        "SELECT subject_id || ' ' || request_id || ' ' || trace_id || ' ' || id || ' ' || extract(epoch FROM recorded_at)::bigint \
         FROM audit.events WHERE seq = {middle}"
    );
    let row = stack.sql(&row).await.concat();
    let [subject, request, trace, id, seconds] = row.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let seconds: i64 = seconds.parse().unwrap();
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    vec![
        ("everything", any()),
        ("page 100", SearchRequest { page: 100, page_size: 100, ..any() }),
        ("with a total", SearchRequest { with_total: true, ..any() }),
        ("frequent type", SearchRequest { r#type: "auth.login".into(), ..any() }),
        ("rare type", SearchRequest { r#type: "security.account_locked".into(), ..any() }),
        ("absent type", SearchRequest { r#type: "mfa.totp_enabled".into(), ..any() }),
        ("domain", SearchRequest { r#type: "admin.".into(), ..any() }),
        ("success", SearchRequest { outcome: "success".into(), ..any() }),
        ("denied", SearchRequest { outcome: "denied".into(), ..any() }),
        ("denied logins", SearchRequest { outcome: "denied".into(), r#type: "auth.login".into(), ..any() }),
        ("critical", SearchRequest { severity: "critical".into(), ..any() }),
        ("actor", SearchRequest { actor_id: subject.into(), ..any() }),
        ("subject", SearchRequest { subject_id: subject.into(), ..any() }),
        ("request", SearchRequest { request_id: request.into(), ..any() }),
        ("a day", SearchRequest { from: time(seconds), to: time(seconds + 86_400), ..any() }),
        ("text: a type", SearchRequest { q: "login".into(), ..any() }),
        ("text: a trace", SearchRequest { q: trace.into(), ..any() }),
        ("text: an id", SearchRequest { q: id.into(), ..any() }),
        ("text: nothing", SearchRequest { q: "nothing".into(), ..any() }),
    ]
}

/// The median time of a page, and of the tenth one.
async fn time(client: &mut AuditServiceClient<Channel>, request: &SearchRequest) -> (Duration, Duration) {
    let (mut first, mut tenth) = (Vec::new(), Vec::new());
    for _ in 0..REPEATED {
        let mut request = request.clone();
        for page in 0..10 {
            let began = Instant::now();
            let answer = client.search(request.clone()).await.unwrap().into_inner();
            match page {
                0 => first.push(began.elapsed()),
                9 => tenth.push(began.elapsed()),
                _ => {}
            }
            if answer.next_page_token.is_empty() || request.page > 0 {
                break;
            }
            request.page_token = answer.next_page_token;
        }
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    };
    (median(first), median(tenth))
}

async fn times(stack: &Stack, events: u64) -> Vec<(&'static str, Duration, Duration)> {
    fill(stack, events).await;
    let mut client = audit(stack, As::Operator);
    // Whoever asks first waits for the connection.
    client.search(SearchRequest::default()).await.unwrap();
    let mut times = Vec::new();
    for (name, request) in searches(stack, events).await {
        let (first, tenth) = time(&mut client, &request).await;
        times.push((name, first, tenth));
    }
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_large_log_takes_no_more_than_three_times_as_long_as_of_a_small_one() {
    let stack = Stack::start(&[]).await;
    let small = times(&stack, SMALL).await;
    let large = times(&stack, large()).await;
    let mut slow = Vec::new();
    for ((name, small, small_tenth), (_, large, large_tenth)) in small.into_iter().zip(large) {
        println!("{name}: {small:?} became {large:?}, the tenth page {small_tenth:?} became {large_tenth:?}");
        for (small, large) in [(small, large), (small_tenth, large_tenth)] {
            // A log that has no such page has no time for it. And below that a ratio says more of the machine than of the log.
            if !small.is_zero() && large > (small * 3).max(Duration::from_millis(15)) {
                slow.push(name);
            }
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_08_a_million_events_leave_in_little_memory() {
    const EVENTS: u64 = 1_000_000;
    let stack = Stack::start(&[]).await;
    fill(&stack, EVENTS + 12).await;
    let pid = stack.variable("AUDIT_SERVICE_PID");
    for format in [ExportFormat::Csv, ExportFormat::Ndjson] {
        let before = peak_resident_mib(&pid);
        let began = Instant::now();
        let request = ExportRequest { format: format.into(), ..ExportRequest::default() };
        let mut stream = audit(&stack, As::Operator).export(request).await.unwrap().into_inner();
        let (mut bytes, mut summary) = (0, None);
        while let Some(response) = stream.message().await.unwrap() {
            match response.part.unwrap() {
                Part::Chunk(chunk) => bytes += chunk.len(),
                Part::Summary(end) => summary = Some(end),
            }
        }
        let (events, peak) = (summary.unwrap().events, peak_resident_mib(&pid));
        println!(
            "{format:?}: {events} events, {} MiB in {:?}; {before} MiB became {peak} MiB",
            bytes / 1024 / 1024,
            began.elapsed()
        );
        assert!(events >= EVENTS, "{events}");
        assert!(peak < 64, "{before} MiB became {peak} MiB");
    }
}
