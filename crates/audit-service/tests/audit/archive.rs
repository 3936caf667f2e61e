//! Copies of the log outside of the database.

use std::{io::Read, sync::Arc};

use audit_service::{
    app::AuditLog,
    archive::{Archive, ArchiveError, Archived, Manifest, S3Settings, Upkeep},
    startup::migrations,
};
use chrono::TimeDelta;
use clock::{Clock, ManualClock, SystemClock};
use diesel_async::SimpleAsyncConnection;
use flate2::read::GzDecoder;
use sealing::KeyRing;
use tempfile::TempDir;
use test_support::TestDatabase;

use crate::{
    facts::{login, parsed, user},
    running::{CURSOR_KEYS, PERSONAL_KEYS},
    sql,
};

struct Archiving {
    database: TestDatabase,
    directory: TempDir,
    log: AuditLog,
    clock: Arc<ManualClock>,
}

impl Archiving {
    async fn start() -> Self {
        test_support::install_crypto_provider();
        let database = TestDatabase::new("audit", migrations()).await;
        let keys = |text| KeyRing::parse(text).unwrap();
        let log = AuditLog::new(database.database("test"), keys(CURSOR_KEYS), keys(PERSONAL_KEYS));
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        Self { database, directory: tempfile::tempdir().unwrap(), log, clock }
    }

    async fn record(&self, events: usize) {
        for _ in 0..events.div_ceil(100) {
            let events: Vec<_> = (0..events.min(100)).map(|_| parsed(&login(user()))).collect();
            self.log.record(&events).await;
        }
    }

    fn upkeep(&self) -> Upkeep {
        let url = format!("file://{}", self.directory.path().display());
        let archive = Archive::new(&url, &S3Settings::default()).unwrap();
        Upkeep::new(self.database.database("archive"), archive, self.clock.clone(), TimeDelta::hours(1))
    }

    fn files(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.directory.path().join("events")) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn lines(&self, manifest: &Manifest) -> Vec<String> {
        let object = std::fs::read(self.directory.path().join(&manifest.object)).unwrap();
        let mut text = String::new();
        GzDecoder::new(object.as_slice()).read_to_string(&mut text).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn segments(archived: Archived) -> Vec<Manifest> {
    match archived {
        Archived::Here { segments, .. } => segments,
        Archived::Elsewhere => panic!("nobody else archives"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_archived_when_they_are_due_and_each_once() {
    let archiving = Archiving::start().await;
    let upkeep = archiving.upkeep();
    assert_eq!(segments(upkeep.archive_due().await.unwrap()), []);
    archiving.record(300).await;
    assert_eq!(segments(upkeep.archive_due().await.unwrap()), [], "they are new");
    archiving.clock.advance(TimeDelta::hours(2));
    let [first] = segments(upkeep.archive_due().await.unwrap()).try_into().unwrap();
    assert_eq!((first.from_seq, first.to_seq, first.events), (1, 300, 300));
    assert_eq!(segments(upkeep.archive_due().await.unwrap()), []);

    archiving.record(100).await;
    // By another replica, which knows of the first segment by the archive only.
    let [second] = segments(archiving.upkeep().archive_all().await.unwrap()).try_into().unwrap();
    assert_eq!((second.from_seq, second.to_seq), (301, 400));
    assert_eq!(upkeep.archived_up_to().await.unwrap(), 400);
    assert_eq!(archiving.files().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_can_be_made_of_the_archive_again_and_nothing_personal_can_be_read_in_it() {
    let archiving = Archiving::start().await;
    archiving.record(100).await;
    let [manifest] = segments(archiving.upkeep().archive_all().await.unwrap()).try_into().unwrap();
    let lines = archiving.lines(&manifest);
    assert_eq!(lines.len(), 100);
    assert!(!lines.concat().contains("192.0.2.7") && !lines.concat().contains("curl/8"));
    let admin = archiving.database.admin();
    sql::execute(&admin, "CREATE TABLE restored (LIKE events)").await.unwrap();
    let mut conn = admin.connection().await.unwrap();
    for line in &lines {
        let line = line.replace('\'', "''");
        let insert =
            format!("INSERT INTO restored SELECT * FROM json_populate_record(NULL::events, '{line}')");
        conn.batch_execute(&insert).await.unwrap();
    }
    drop(conn);
    // Compared as text, which json has a comparison for.
    let difference = "(SELECT count(*) FROM (SELECT events::text FROM events EXCEPT SELECT restored::text FROM restored) AS missing)";
    assert_eq!(sql::number(&admin, difference).await, 0);
    assert_eq!(sql::number(&admin, "(SELECT count(*) FROM restored)").await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_ended_in_between_is_taken_up_again() {
    let archiving = Archiving::start().await;
    archiving.record(200).await;
    let upkeep = archiving.upkeep();
    let [manifest] = segments(upkeep.archive_all().await.unwrap()).try_into().unwrap();
    // As if it had been ended before the manifest was written; meanwhile there are more events.
    std::fs::remove_file(archiving.directory.path().join(manifest.name())).unwrap();
    archiving.record(100).await;
    let [manifest] = segments(upkeep.archive_all().await.unwrap()).try_into().unwrap();
    assert_eq!((manifest.from_seq, manifest.to_seq), (1, 300));
    assert_eq!(archiving.files().len(), 2, "what was left over is gone");
    assert_eq!(archiving.lines(&manifest).len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_archives_at_a_time_and_an_older_log_is_noticed() {
    let archiving = Archiving::start().await;
    archiving.record(100).await;
    let admin = archiving.database.admin();
    let mut other = admin.connection().await.unwrap();
    other.batch_execute("SELECT pg_advisory_lock(x'617263686976'::bigint)").await.unwrap();
    let upkeep = archiving.upkeep();
    assert_eq!(upkeep.archive_all().await.unwrap(), Archived::Elsewhere);
    other.batch_execute("SELECT pg_advisory_unlock(x'617263686976'::bigint)").await.unwrap();
    assert_eq!(segments(upkeep.archive_all().await.unwrap()).len(), 1);
    assert_eq!(segments(upkeep.archive_all().await.unwrap()), [], "the lock was given back");

    // The archive ends with another row than the log has there.
    let exchange = "ALTER TABLE events DISABLE TRIGGER append_only; UPDATE events SET hash = sha256(hash) WHERE seq = 100";
    sql::execute(&admin, exchange).await.unwrap();
    archiving.record(1).await;
    assert!(matches!(upkeep.archive_all().await, Err(ArchiveError::Foreign { seq: 100 })));
    sql::execute(&admin, "UPDATE chain_heads SET seq = 50").await.unwrap();
    assert!(matches!(upkeep.archive_all().await, Err(ArchiveError::Ahead { archived: 100, log: 50 })));
}
