//! What operators type, on a platform that runs.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, path::Path};

use e2e::{
    Stack, journey,
    sibling::{
        Service::{AuditService, Mailer},
        command, says,
    },
    stack::PATIENCE,
};
use secrecy::ExposeSecret;
use test_support::{
    eventually,
    smtp::{Answered, Behaviour, SmtpServer},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_a_server_refused_is_found_and_sent_again_from_the_command_line() {
    let smtp = SmtpServer::plain().await;
    let stack = Stack::start(&[("SMTP_URL", smtp.url().expose_secret().to_owned())]).await;
    let mailer = |arguments: &[&str]| says(&stack, Mailer, arguments);
    let to = "operator@example.com";
    smtp.queue([Behaviour::SPAM]);
    let printed = mailer(&["send-test", to, "--locale", "de"]);
    let id = printed.trim();

    let listed = eventually("the mail is a dead letter", PATIENCE, async || {
        let listed = mailer(&["dead-letters", "list"]);
        listed.contains(id).then_some(listed)
    })
    .await;
    assert!(listed.contains("refused") && listed.contains("test"), "{listed}");
    let status = mailer(&["queue", "status"]);
    assert!(status.contains("mailer.send.security") && status.contains("mailer.dead"), "{status}");

    assert_eq!(mailer(&["dead-letters", "redrive", id]), "1 redriven\n");
    let sent = eventually("the mail arrives", PATIENCE, async || {
        smtp.mails_to(to).into_iter().find(|mail| mail.answered == Answered::Accepted)
    })
    .await;
    let message_id = sent.message_id.unwrap();
    assert!(message_id.starts_with(id), "{message_id} is not of {id}");
    eventually("it is a dead letter no longer", PATIENCE, async || {
        mailer(&["dead-letters", "list"]).is_empty().then_some(())
    })
    .await;
    let again = command(&stack, Mailer).args(["dead-letters", "redrive", id]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_leaves_for_files_and_the_archive_and_is_proved_from_the_command_line() {
    let stack = Stack::start(&[]).await;
    journey::logged_in(&stack, "ada@example.com").await;
    eventually("the login is recorded", PATIENCE, async || {
        let count = stack.sql("SELECT count(*) FROM audit.events WHERE type = 'auth.login'").await;
        (count != ["0"]).then_some(())
    })
    .await;
    let audit = |arguments: &[&str]| says(&stack, AuditService, arguments);

    let lines = audit(&["export", "--format", "ndjson", "--type", "auth.login"]);
    let logins: Vec<serde_json::Value> =
        lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(logins.iter().any(|it| it["type"] == "auth.login" && it["outcome"] == "success"), "{lines}");
    let file = stack.state().join("events.csv");
    let out = ["export", "--without-personal-data", "--out", &file.to_string_lossy()];
    audit(&out);
    let table = fs::read_to_string(&file).unwrap();
    assert!(table.contains("auth.login") && !table.contains("127.0.0.1"), "{table}");
    let again = command(&stack, AuditService).args(out).output().unwrap();
    assert!(!again.status.success(), "it took the place of another file");

    let archived = audit(&["archive", "run"]);
    assert!(archived.contains("archived up to seq"), "{archived}");
    assert!(files(&stack.state().join("audit-archive")) > 0);
    assert!(audit(&["archive", "status"]).starts_with("archived up to seq"));
    let partitions = audit(&["partitions", "list"]);
    let month = stack.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')").await.concat();
    assert!(partitions.lines().filter(|line| line.contains(&month)).count() >= 2, "{partitions}");
    assert!(audit(&["keys", "list"]).contains('*'));
    let proved = audit(&["verify"]);
    assert!(
        proved.contains("the log is what was recorded") && proved.contains("the archive agrees"),
        "{proved}"
    );
}

/// How many files there are, at any depth.
fn files(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}
