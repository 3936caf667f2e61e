//! What the log could not take is seen, and finds its way back.

use std::process::Output;

use audit_service::startup::migrations;
use auth_events::routing::{AUDIT_DEAD_QUEUE, AUDIT_QUEUE};
use secrecy::ExposeSecret;
use serde_json::json;
use test_support::TestDatabase;

use crate::{
    cli,
    facts::{id, login, message, raw_message, user},
    running::Running,
    sql,
};

/// Runs `dead-letters` beside the service.
fn dead_letters(audit: &Running, arguments: &[&str]) -> Output {
    let mut command = cli::command(&audit.database);
    command.env("AMQP_URL", audit.broker.amqp_url().expose_secret());
    command.arg("dead-letters").args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_that_was_refused_is_listed_and_after_its_redrive_in_the_log() {
    let audit = Running::start().await;
    let refuse = "ALTER TABLE events ADD CONSTRAINT no_poison CHECK (reason <> 'poison')";
    sql::execute(&audit.admin, refuse).await.unwrap();
    let mut fact = login(user());
    fact["data"]["reason"] = json!("poison");
    audit.publish(vec![message(&fact), raw_message("not JSON")]).await;
    audit.wait_for_dead_letters(2).await;
    audit.wait_for_queue_length(AUDIT_DEAD_QUEUE, 2).await;
    audit.wait_for_queue_length(AUDIT_QUEUE, 0).await;

    let listed = dead_letters(&audit, &["list"]);
    assert!(listed.status.success(), "{listed:?}");
    let listed = said(&listed);
    let line_of = |id: &str| listed.lines().find(|line| line.starts_with(id)).unwrap();
    assert!(line_of(&id(&fact)).ends_with("bytes: refused_by_database: the database refuses the row"));
    let other = line_of("unknown");
    assert!(
        other.starts_with("unknown auth.auth.login.v1 from audit.events, 8 bytes: malformed: "),
        "{other}"
    );
    assert_eq!(listed.lines().count(), 2, "{listed}");

    sql::execute(&audit.admin, "ALTER TABLE events DROP CONSTRAINT no_poison").await.unwrap();
    // The broker has given back what was looked at.
    audit.wait_for_dead_letters(2).await;
    let redriven = dead_letters(&audit, &["redrive", &id(&fact)]);
    assert!(redriven.status.success(), "{redriven:?}");
    assert_eq!(said(&redriven), "1 redriven\n");
    audit.wait_for_rows(1).await;
    audit.wait_for_dead_letters(1).await;
    let logged = format!("(SELECT count(*) FROM events WHERE id = '{}')", id(&fact));
    assert_eq!(sql::number(&audit.admin, &logged).await, 1);

    let again = dead_letters(&audit, &["redrive", &id(&fact)]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(said(&again).starts_with(&format!("0 redriven\n{} is not among", id(&fact))), "{again:?}");
    audit.wait_for_dead_letters(1).await;

    // What is not understood is not understood the second time either.
    let refusals = audit.counter("audit_rejected_total");
    assert_eq!(said(&dead_letters(&audit, &["redrive", "--all"])), "1 redriven\n");
    audit.wait_for_dead_letters(1).await;
    audit.stop_and_expect_an_empty_queue().await;
    assert_eq!(audit.counter("audit_rejected_total"), refusals + 1);
    assert_eq!(sql::rows(&audit.admin).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_to_redrive_is_said_by_ids_or_by_all() {
    test_support::install_crypto_provider();
    let database = TestDatabase::new("audit", migrations()).await;
    for wrong in [&["dead-letters", "redrive"][..], &["dead-letters", "redrive", "--all", "unknown"]] {
        let output = cli::run(&database, None, wrong);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}
