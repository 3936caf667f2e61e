//! What a superuser does to the log is found, and the first row that is wrong is named.

use audit_service::{
    app::{AuditLog, Notary, SignError, Signed},
    archive::{Archive, S3Settings},
    domain::CheckpointKeys,
    startup::migrations,
    store,
};
use base64::prelude::*;
use diesel::{
    sql_query,
    sql_types::{BigInt, Binary},
};
use diesel_async::RunQueryDsl;
use tempfile::TempDir;
use test_support::TestDatabase;

use crate::{
    cli,
    facts::{login, parsed, refresh, user},
    retention::retention,
    running::{CHECKPOINT_KEY, log_of},
    sql,
};

/// A log of thirty rows in both classes, with checkpoints at 10, 20 and 30.
struct Log {
    database: TestDatabase,
    archive: TempDir,
    recorder: AuditLog,
    notary: Notary,
}

impl Log {
    async fn of_thirty_rows() -> Self {
        test_support::install_crypto_provider();
        let database = TestDatabase::new("audit", migrations()).await;
        let archive = TempDir::new().unwrap();
        let this = Self {
            recorder: log_of(&database),
            notary: notary(&database, Some(&archive)),
            database,
            archive,
        };
        for _ in 0..3 {
            this.record_ten().await;
            assert!(matches!(this.notary.sign_now().await, Ok(Signed::Checkpoint { .. })));
        }
        sql::execute(&this.database.admin(), BACK_UP).await.unwrap();
        this
    }

    /// Every third is of the class `routine`.
    async fn record_ten(&self) {
        let events: Vec<_> = (0..10)
            .map(|index| parsed(&if index % 3 == 2 { refresh(user()) } else { login(user()) }))
            .collect();
        let recording = self.recorder.record(&events).await;
        assert_eq!(recording.new_types.len(), 10);
    }

    /// Does what only a superuser can, trigger or not.
    async fn tamper(&self, statements: &str) {
        let statements = format!("BEGIN; {UNLOCK} {statements}; {LOCK} COMMIT;");
        sql::execute(&self.database.admin(), &statements).await.unwrap();
    }

    async fn restore(&self) {
        self.tamper(RESTORE).await;
    }

    fn expect_damage(&self, archive: bool, kind: &str, seq: i64) {
        let (said, code) = cli::verify(&self.database, archive.then_some(&self.archive));
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(&format!("DAMAGED: {kind} at seq {seq}")), "expected {kind} at {seq}: {said}");
    }

    fn expect_health(&self, archive: bool) {
        let (said, code) = cli::verify(&self.database, archive.then_some(&self.archive));
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said.contains("the archive agrees"), archive, "{said}");
    }

    /// Hashes every row anew, as somebody does who knows how, and moves the ends of the chains there.
    async fn hash_anew(&self) {
        let mut conn = self.database.admin().connection().await.unwrap();
        let mut ends = std::collections::BTreeMap::new();
        for mut row in store::verification::rows(&mut conn, 0, i64::MAX).await.unwrap() {
            row.prev_hash = ends.get(&row.class).cloned().unwrap_or_else(|| vec![0; 32]);
            let hash = row.expected_hash().unwrap().to_vec();
            sql_query("UPDATE events SET prev_hash = $2, hash = $3 WHERE seq = $1")
                .bind::<BigInt, _>(row.seq)
                .bind::<Binary, _>(&row.prev_hash)
                .bind::<Binary, _>(&hash)
                .execute(&mut conn)
                .await
                .unwrap();
            ends.insert(row.class, hash);
        }
    }
}

fn notary(database: &TestDatabase, archive: Option<&TempDir>) -> Notary {
    let archive = archive.map(|archive| {
        let url = format!("file://{}", archive.path().display());
        Archive::new(&url, &S3Settings::default()).unwrap()
    });
    let keys = CheckpointKeys::parse(Some(CHECKPOINT_KEY), &[]).unwrap();
    Notary::new(database.database("notary"), keys, archive, retention())
}

const BACK_UP: &str = "\
    CREATE TABLE kept_events AS TABLE events; \
    CREATE TABLE kept_heads AS TABLE chain_heads; \
    CREATE TABLE kept_checkpoints AS TABLE checkpoints;";
const UNLOCK: &str = "\
    ALTER TABLE events DISABLE TRIGGER append_only; \
    ALTER TABLE checkpoints DISABLE TRIGGER append_only;";
const LOCK: &str = "\
    ALTER TABLE events ENABLE ALWAYS TRIGGER append_only; \
    ALTER TABLE checkpoints ENABLE ALWAYS TRIGGER append_only;";
const RESTORE: &str = "\
    DELETE FROM events; INSERT INTO events SELECT * FROM kept_events; \
    DELETE FROM chain_heads; INSERT INTO chain_heads SELECT * FROM kept_heads; \
    DELETE FROM checkpoints; INSERT INTO checkpoints SELECT * FROM kept_checkpoints";
/// What a careful thief of the last rows leaves behind.
const HEADS_AFTER_25: &str = "\
    UPDATE chain_heads SET (seq, position, hash) = (last.seq, last.position, last.hash) \
    FROM (SELECT DISTINCT ON (class) class, seq, position, hash FROM events ORDER BY class, seq DESC) AS last \
    WHERE last.class = chain_heads.class";

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_deleted_inserted_or_swapped_row_is_named() {
    let log = Log::of_thirty_rows().await;
    log.expect_health(true);
    let copy = "INSERT INTO events SELECT class, 31, position + 1, gen_random_uuid(), type, version, source, occurred_at, recorded_at, \
                subject_id, actor_kind, actor_id, actor_name, outcome, severity, reason, target_kind, target_id, request_id, trace_id, \
                detail, sealed_client, sealed_detail, hash, sha256(hash) FROM events WHERE seq = 30";
    let again = copy
        .replace("class, 31, position + 1, gen_random_uuid()", "class, seq, position, id")
        .replace("occurred_at, recorded_at", "occurred_at, recorded_at + interval '1 microsecond'")
        .replace(
            "hash, sha256(hash) FROM events WHERE seq = 30",
            "sha256(prev_hash), hash FROM events WHERE seq = 12",
        );
    let cases = [
        ("UPDATE events SET reason = 'edited' WHERE seq = 12", "hash_mismatch", 12),
        ("UPDATE events SET outcome = 'failure' WHERE seq = 1", "hash_mismatch", 1),
        (
            "UPDATE events SET occurred_at = occurred_at + interval '1 microsecond' WHERE seq = 30",
            "hash_mismatch",
            30,
        ),
        ("UPDATE events SET sealed_client = NULL WHERE seq = 7", "hash_mismatch", 7),
        ("UPDATE events SET detail = '{\"methods\": [\"pwd\"]}' WHERE seq = 4", "hash_mismatch", 4),
        ("UPDATE events SET hash = sha256(hash) WHERE seq = 9", "hash_mismatch", 9),
        ("DELETE FROM events WHERE seq = 12", "missing", 12),
        ("DELETE FROM events WHERE seq BETWEEN 13 AND 17", "missing", 13),
        ("DELETE FROM events WHERE seq = 1", "missing", 1),
        ("DELETE FROM events WHERE class = 'routine'", "missing", 3),
        (
            "UPDATE events SET seq = -1 WHERE seq = 14; UPDATE events SET seq = 14 WHERE seq = 15; \
          UPDATE events SET seq = 15 WHERE seq = -1",
            "hash_mismatch",
            14,
        ),
        (copy, "chain_broken", 31),
        (&again, "hash_mismatch", 12),
        ("UPDATE checkpoints SET seq = 19 WHERE seq = 20", "signature_invalid", 19),
        ("UPDATE checkpoints SET seq = 99 WHERE seq = 20", "signature_invalid", 99),
        ("UPDATE checkpoints SET seq = 99 WHERE seq = 30", "signature_invalid", 99),
        (
            "UPDATE checkpoints SET seq = 99 WHERE seq = 20; UPDATE events SET reason = 'edited' WHERE seq = 25",
            "hash_mismatch",
            25,
        ),
        ("DELETE FROM checkpoints WHERE seq = 20", "checkpoint_missing", 30),
        ("UPDATE chain_heads SET hash = sha256(hash) WHERE class = 'security'", "chain_broken", 30),
    ];
    for (change, kind, seq) in cases {
        log.tamper(change).await;
        log.expect_damage(false, kind, seq);
        log.restore().await;
    }
    log.expect_health(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_hashed_anew_is_told_from_the_one_that_follows() {
    let log = Log::of_thirty_rows().await;
    // The row itself and its hash fit together; the next row tells that it was another one.
    log.tamper("UPDATE events SET reason = 'edited' WHERE seq = 12").await;
    let mut conn = log.database.admin().connection().await.unwrap();
    let rows = store::verification::rows(&mut conn, 11, 12).await.unwrap();
    let hash = rows[0].expected_hash().unwrap();
    let hash = BASE64_STANDARD.encode(hash);
    log.tamper(&format!("UPDATE events SET hash = decode('{hash}', 'base64') WHERE seq = 12")).await;
    let (said, code) = cli::verify(&log.database, None);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("DAMAGED: chain_broken at seq 12, event"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_03_a_log_whose_end_was_cut_off_or_rolled_back_is_found() {
    let log = Log::of_thirty_rows().await;
    log.tamper("DELETE FROM events WHERE seq > 25").await;
    log.expect_damage(false, "truncated", 26);
    // The ends of the chains are moved, too.
    log.tamper(HEADS_AFTER_25).await;
    log.expect_damage(false, "truncated", 26);
    // And the checkpoint goes: that is a backup of an earlier time, and only the archive knows better.
    log.tamper("DELETE FROM checkpoints WHERE seq > 25").await;
    log.expect_health(false);
    log.expect_damage(true, "truncated", 26);
    // A service that goes on with it does not sign that away, not even when the log is longer than it was.
    log.record_ten().await;
    let refusal = log.notary.sign_now().await.unwrap_err();
    assert!(matches!(refusal, SignError::RolledBack { archived: 3 }), "{refusal:?}");
    log.expect_damage(true, "archive_mismatch", 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_04_a_log_that_was_written_anew_is_found() {
    let log = Log::of_thirty_rows().await;
    log.tamper("UPDATE events SET reason = 'edited' WHERE seq = 12").await;
    sql::execute(&log.database.admin(), "ALTER TABLE events DISABLE TRIGGER append_only").await.unwrap();
    log.hash_anew().await;
    log.tamper(HEADS_AFTER_25).await;
    // Rows 1 to 11 are what they were, and so is what was signed of them.
    log.expect_damage(false, "checkpoint_mismatch", 20);
    log.tamper("DELETE FROM checkpoints").await;
    log.expect_health(false);
    log.expect_damage(true, "archive_mismatch", 30);
    // Nor does it help to make one of them speak of rows that are still to come.
    log.tamper("INSERT INTO checkpoints SELECT * FROM kept_checkpoints").await;
    log.tamper("UPDATE checkpoints SET seq = 1000 WHERE seq = 20").await;
    for archive in [false, true] {
        log.expect_damage(archive, "signature_invalid", 1000);
    }
    log.tamper("DELETE FROM checkpoints").await;
    // Checkpoints of another key are no better than none.
    let forger = Notary::new(log.database.database("forger"), CheckpointKeys::generate(), None, retention());
    forger.sign_now().await.unwrap();
    log.expect_damage(false, "signature_invalid", 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_in_a_chain_of_its_own_is_found() {
    let log = Log::of_thirty_rows().await;
    let mut conn = log.database.admin().connection().await.unwrap();
    for seq in [12, 31] {
        let partition = "CREATE TABLE IF NOT EXISTS events_other PARTITION OF events FOR VALUES IN ('other')";
        let copy = format!(
            "INSERT INTO events SELECT 'other', {seq}, 1, gen_random_uuid(), type, version, source, occurred_at, recorded_at, subject_id, \
             actor_kind, actor_id, actor_name, outcome, severity, reason, target_kind, target_id, request_id, trace_id, detail, \
             sealed_client, sealed_detail, decode(repeat('00', 32), 'hex'), sha256(hash) FROM events WHERE seq = 12"
        );
        log.tamper(&format!("{partition}; {copy}")).await;
        // It is hashed as the first row of its class would be.
        let rows = store::verification::rows(&mut conn, seq - 1, seq).await.unwrap();
        let forged = rows.iter().find(|row| row.class == "other").unwrap();
        let hash = BASE64_STANDARD.encode(forged.expected_hash().unwrap());
        let change = format!("UPDATE events SET hash = decode('{hash}', 'base64') WHERE class = 'other'");
        log.tamper(&change).await;
        log.expect_damage(false, "chain_broken", seq);
        log.restore().await;
    }
    log.expect_health(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_log_is_verified_as_well_as_all_of_it() {
    let log = Log::of_thirty_rows().await;
    let part = |from, to| cli::run(&log.database, None, &["verify", "--from", from, "--to", to]);
    for (from, to) in [("1", "30"), ("11", "20"), ("12", "12"), ("30", "0"), ("0", "7")] {
        let output = part(from, to);
        assert_eq!(output.status.code(), Some(0), "{from} to {to}: {output:?}");
    }
    log.tamper("UPDATE events SET reason = 'edited' WHERE seq = 12").await;
    for (from, to, code) in [("1", "11", 0), ("13", "30", 0), ("12", "12", 3), ("5", "15", 3)] {
        assert_eq!(part(from, to).status.code(), Some(code), "{from} to {to}");
    }
    assert_eq!(part("7", "3").status.code(), Some(1));
    assert_eq!(part("first", "last").status.code(), Some(2), "a wrong command line is no damage");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_gets_what_it_missed() {
    let log = Log::of_thirty_rows().await;
    let kept = log.archive.path().join("checkpoints/000000000");
    for number in [2, 3] {
        std::fs::remove_file(kept.join(format!("{number:012}.json"))).unwrap();
    }
    log.notary.bring_to_archive().await.unwrap();
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 3);
    log.expect_health(true);
    // What else is there hides nothing.
    let empty = log.archive.path().join("checkpoints/000000001");
    std::fs::create_dir(&empty).unwrap();
    std::fs::write(empty.join("000000000999.json"), "{}").unwrap();
    log.tamper("DELETE FROM checkpoints WHERE seq > 25; DELETE FROM events WHERE seq > 25").await;
    log.tamper(HEADS_AFTER_25).await;
    log.expect_damage(true, "truncated", 26);
    log.restore().await;
    // An archive that is empty although the log was signed long ago is not the one that it was.
    std::fs::remove_dir_all(log.archive.path().join("checkpoints")).unwrap();
    log.expect_health(true);
    sql::execute(&log.database.admin(), "UPDATE chain_heads SET recorded_at = now() + interval '6 minutes'")
        .await
        .unwrap();
    log.expect_damage(true, "archive_mismatch", 30);
}
