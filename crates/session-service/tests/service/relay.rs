use test_support::{TestBroker, eventually};

use crate::harness::{DEADLINE, Setup, new_database, new_user, query, stopped_during};

#[tokio::test(flavor = "multi_thread")]
async fn every_fact_reaches_the_audit_queue_once() {
    let (database, broker) = (new_database().await, TestBroker::new().await);
    let setup = Setup { amqp_url: broker.amqp_url(), ..Setup::on(&database) };
    let service = setup.start_ready().await;
    let tokens = service.create(&new_user()).await;
    service.refresh(&tokens.refresh_token).await.unwrap();
    eventually("the outbox to be empty", DEADLINE, || async {
        (query(&database, "SELECT count(*)::text AS text FROM outbox").await == ["0"]).then_some(())
    })
    .await;

    let messages = broker.take("audit.events").await;
    let mut types: Vec<_> = messages.iter().map(|message| message["type"].as_str().unwrap()).collect();
    types.sort_unstable();
    assert_eq!(types, ["auth.session.created", "auth.session.refreshed", "auth.system.key_rotated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_last_call_says_is_brought_before_the_end() {
    let (database, broker) = (new_database().await, TestBroker::new().await);
    let setup = Setup { amqp_url: broker.amqp_url(), ..Setup::on(&database) };
    let service = setup.start_ready().await;
    let tokens = service.create(&new_user()).await;
    stopped_during(&database, &service, service.refresh(&tokens.refresh_token)).await.unwrap();
    service.lifecycle.wait_for_tasks().await;
    assert_eq!(query(&database, "SELECT count(*)::text AS text FROM outbox").await, ["0"]);
    let messages = broker.take("audit.events").await;
    assert!(messages.iter().any(|message| message["type"] == "auth.session.refreshed"));
}
