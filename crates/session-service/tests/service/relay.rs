use diesel_async::SimpleAsyncConnection;
use test_support::{TestBroker, eventually};

use crate::harness::{DEADLINE, Setup, new_database, new_user, query};

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
    let mut blocker = database.admin().connection().await.unwrap();
    blocker.batch_execute("BEGIN; LOCK TABLE sessions").await.unwrap();
    let stop = async {
        let waiting = "SELECT mode AS text FROM pg_locks WHERE NOT granted AND relation = 'sessions'::regclass \
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually("the call to wait", DEADLINE, || async {
            (!query(&database, waiting).await.is_empty()).then_some(())
        })
        .await;
        service.lifecycle.request_shutdown();
        blocker.batch_execute("ROLLBACK").await.unwrap();
    };
    let (refreshed, ()) = tokio::join!(service.refresh(&tokens.refresh_token), stop);
    refreshed.unwrap();
    service.lifecycle.wait_for_tasks().await;
    assert_eq!(query(&database, "SELECT count(*)::text AS text FROM outbox").await, ["0"]);
    let messages = broker.take("audit.events").await;
    assert!(messages.iter().any(|message| message["type"] == "auth.session.refreshed"));
}
