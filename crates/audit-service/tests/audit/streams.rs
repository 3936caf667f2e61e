//! The log as a stream and as a file.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use audit_service::{startup::migrations, tail::Tail};
use auth_proto::audit::v1::{
    Event, EventFilter, ExportFormat, ExportRequest, ExportSummary, StatsRequest, TailRequest, TailResponse,
    export_response::Part,
};
use service_runtime::CancellationToken;
use sha2::{Digest, Sha256};
use test_support::TestDatabase;
use tokio::sync::broadcast::error::RecvError;
use tonic::{Code, Streaming};

use crate::{
    cli,
    facts::{self, login, parsed, registration, user},
    running::{DEADLINE, Running, log_of},
    sql,
};

async fn next(stream: &mut Streaming<TailResponse>) -> TailResponse {
    tokio::time::timeout(DEADLINE, stream.message()).await.unwrap().unwrap().unwrap()
}

/// Waits for events, past signs of life.
async fn next_events(stream: &mut Streaming<TailResponse>) -> Vec<Event> {
    loop {
        let response = next(stream).await;
        if !response.events.is_empty() {
            break response.events;
        }
    }
}

fn ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whom_nothing_concerns_hears_how_far_it_was_told_while_the_log_is_busy() {
    let audit = Running::start().await;
    let log = audit.another_log();
    let filter = Some(EventFilter { r#type: "admin.".into(), ..Default::default() });
    let request = TailRequest { filter, ..Default::default() };
    let mut live = audit.client.clone().tail(request).await.unwrap().into_inner();
    assert_eq!(next(&mut live).await.up_to_seq, 0);
    // There is something new in every look of the reader.
    let busy = async {
        loop {
            log.record(&[parsed(&login(user()))]).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let told = async {
        loop {
            let response = next(&mut live).await;
            assert!(response.events.is_empty());
            if response.up_to_seq > 0 {
                break;
            }
        }
    };
    tokio::select! {
        () = busy => {}
        () = told => {}
    }
    drop(live);
    audit.stop_and_expect_an_empty_queue().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_hear_what_matches_as_it_comes_and_go_on_where_they_were() {
    let audit = Running::start().await;
    let log = audit.another_log();
    let record = async |envelope: &serde_json::Value| drop(log.record(&[parsed(envelope)]).await);
    let before = login(user());
    record(&before).await;

    let filter = Some(EventFilter { r#type: "auth.".into(), ..Default::default() });
    let mut client = audit.client.clone();
    let from_now = TailRequest { filter: filter.clone(), ..Default::default() };
    let mut live = client.tail(from_now).await.unwrap().into_inner();
    let sign_of_life = next(&mut live).await;
    assert_eq!((sign_of_life.events.len(), sign_of_life.up_to_seq), (0, 1));

    let (first, second) = (login(user()), login(user()));
    record(&first).await;
    assert_eq!(ids(&next_events(&mut live).await), [facts::id(&first)]);
    record(&registration(user())).await;
    record(&second).await;
    let last = next_events(&mut live).await;
    assert_eq!((ids(&last), last[0].seq), (vec![facts::id(&second)], 4));

    // Another one, who had the first event already.
    let resumed = TailRequest { filter: filter.clone(), after_seq: Some(2), scope: None };
    let mut resumed = client.tail(resumed).await.unwrap().into_inner();
    assert_eq!(ids(&next_events(&mut resumed).await), [facts::id(&second)]);
    let third = login(user());
    record(&third).await;
    for stream in [&mut live, &mut resumed] {
        assert_eq!(ids(&next_events(stream).await), [facts::id(&third)]);
    }

    let beyond = TailRequest { filter, after_seq: Some(1_000), scope: None };
    assert_eq!(client.tail(beyond).await.unwrap_err().code(), Code::InvalidArgument);

    audit.lifecycle.request_shutdown();
    let end = loop {
        match tokio::time::timeout(DEADLINE, live.message()).await.unwrap() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(service_error::error_reason(&end).as_deref(), Some("stopping"));
    audit.stop_and_expect_an_empty_queue().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_who_does_not_listen_loses_news_and_keeps_nobody_waiting() {
    let audit = Running::start().await;
    let log = audit.another_log();
    let (tail, stop) = (Tail::new(log.clone()), CancellationToken::new());
    let running = tail.clone().run(stop.clone());
    let reading = async {
        let (mut idle, mut awake) = (tail.follow(), tail.follow());
        // Everybody who comes is told at once, and so are those who are there.
        for _ in 0..100 {
            drop(tail.follow());
            awake.recv().await.unwrap();
        }
        log.record(&[parsed(&login(user()))]).await;
        while awake.recv().await.unwrap().events.is_empty() {}
        assert!(matches!(idle.recv().await, Err(RecvError::Lagged(_))));
        assert_eq!(tail.followers(), 2);
        stop.cancel();
    };
    let both = Box::pin(async { tokio::join!(running, reading) });
    tokio::time::timeout(Duration::from_mins(1), both).await.unwrap();
    audit.stop_and_expect_an_empty_queue().await;
}

async fn export(audit: &Running, request: ExportRequest) -> (Vec<u8>, ExportSummary) {
    let mut stream = audit.client.clone().export(request).await.unwrap().into_inner();
    let (mut file, mut summary) = (Vec::new(), None);
    while let Some(response) = stream.message().await.unwrap() {
        match response.part.unwrap() {
            Part::Chunk(chunk) => {
                assert!(summary.is_none() && chunk.len() <= 64 * 1024);
                file.extend(chunk);
            }
            Part::Summary(end) => summary = Some(end),
        }
    }
    (file, summary.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_every_event_that_matches_once_and_in_order() {
    let audit = Running::start().await;
    let log = audit.another_log();
    let logins: Vec<_> = (0..1_300).map(|_| login(user())).collect();
    for chunk in logins.chunks(130) {
        let events: Vec<_> = chunk.iter().map(parsed).collect();
        log.record(&events).await;
        log.record(&[parsed(&registration(user()))]).await;
    }
    let filter = Some(EventFilter { r#type: "auth.login".into(), ..Default::default() });
    let expected: Vec<_> = logins.iter().map(facts::id).collect();

    let request = ExportRequest { filter: filter.clone(), scope: None, format: ExportFormat::Ndjson.into() };
    let (file, summary) = export(&audit, request).await;
    let lines: Vec<serde_json::Value> = file
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let found: Vec<_> = lines.iter().map(facts::id).collect();
    assert_eq!(found, expected);
    assert_eq!(lines[0]["client"]["ip"], "192.0.2.7");
    assert_eq!((summary.events, summary.up_to_seq), (1_300, 1_310));
    assert_eq!(summary.sha256, Sha256::digest(&file).to_vec());

    let request = ExportRequest { filter, scope: None, format: ExportFormat::Csv.into() };
    let (file, summary) = export(&audit, request).await;
    let mut reader = csv::Reader::from_reader(file.as_slice());
    let found: Vec<_> = reader.records().map(|row| row.unwrap()[1].to_owned()).collect();
    assert_eq!(found, expected);
    assert_eq!(summary.sha256, Sha256::digest(&file).to_vec());

    let nothing = Some(EventFilter { q: "nobody".into(), ..Default::default() });
    let request = ExportRequest { filter: nothing, scope: None, format: ExportFormat::Csv.into() };
    let (file, summary) = export(&audit, request).await;
    assert_eq!((summary.events, String::from_utf8(file).unwrap().lines().count()), (0, 1));
    audit.stop_and_expect_an_empty_queue().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_file_is_for_its_owner_alone_and_is_whole_or_not_there() {
    test_support::install_crypto_provider();
    let database = TestDatabase::new("audit", migrations()).await;
    log_of(&database).record(&[parsed(&login(user()))]).await;
    let directory = tempfile::tempdir().unwrap();
    let (file, unfinished) = (directory.path().join("events.csv"), directory.path().join("events.csv.part"));
    let export = || cli::run(&database, None, &["export", "--out", &file.to_string_lossy()]);

    // Somebody else writes it, or did.
    fs::write(&unfinished, "theirs").unwrap();
    assert!(!export().status.success());
    assert_eq!(fs::read_to_string(&unfinished).unwrap(), "theirs");
    fs::remove_file(&unfinished).unwrap();

    sql::execute(&database.admin(), "ALTER TABLE events RENAME TO hidden").await.unwrap();
    assert!(!export().status.success());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left of it");
    sql::execute(&database.admin(), "ALTER TABLE hidden RENAME TO events").await.unwrap();

    let output = export();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&file).unwrap().contains("192.0.2.7") && !unfinished.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_counted_by_type_and_outcome() {
    let audit = Running::start().await;
    let mut failed = login(user());
    failed["data"]["outcome"] = "failure".into();
    let events = [login(user()), login(user()), failed, registration(user())];
    let events: Vec<_> = events.iter().map(parsed).collect();
    audit.another_log().record(&events).await;
    let stats = audit.client.clone().stats(StatsRequest::default()).await.unwrap().into_inner();
    let counts: Vec<_> =
        stats.counts.iter().map(|count| (&*count.r#type, &*count.outcome, count.events)).collect();
    let expected =
        [("auth.login", "success", 2), ("auth.login", "failure", 1), ("user.registered", "success", 1)];
    assert_eq!(counts, expected);
    assert_eq!((stats.events, stats.is_partial, stats.last_seq), (4, false, 4));
    audit.stop_and_expect_an_empty_queue().await;
}
