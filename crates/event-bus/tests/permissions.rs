//! With the permissions of a service one can do its work and nobody else's.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and plays the intruder"
)]

use std::time::Duration;

use async_rs::Runtime;
use auth_events::{
    commands::Lane,
    routing::{
        AUDIT_DEAD_QUEUE, AUDIT_QUEUE, COMMANDS_EXCHANGE, DEAD_EXCHANGE, EVENTS_EXCHANGE, MAILER_DEAD_QUEUE,
        RETRY_EXCHANGE, Route, mailer_queue,
    },
};
use event_bus::{ConsumerSettings, Delivery, EventBus, Handler, OutgoingMessage, PERMISSIONS, Verdict};
use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions},
};
use prometheus::Registry;
use secrecy::{ExposeSecret, SecretString};
use test_support::{TestBroker, eventually};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(20);

async fn user(broker: &TestBroker, service: &str) -> SecretString {
    let it = PERMISSIONS.iter().find(|it| it.service == service).unwrap();
    broker.user(it.configure, it.write, it.read).await
}

fn message(route: Route) -> OutgoingMessage {
    OutgoingMessage {
        route,
        message_id: "1".to_owned(),
        message_type: "test.v1".to_owned(),
        traceparent: None,
        payload: b"{}".to_vec(),
    }
}

async fn connect(url: &SecretString) -> Connection {
    let runtime = Runtime::tokio_current();
    Connection::connect_with_runtime(url.expose_secret(), ConnectionProperties::default(), runtime)
        .await
        .unwrap()
}

/// Whether the broker takes a message for `exchange` from `connection`.
async fn may_publish(connection: &Connection, exchange: &str, key: &str) -> bool {
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let options = BasicPublishOptions::default();
    let sent =
        channel.basic_publish(exchange.into(), key.into(), options, b"{}", BasicProperties::default()).await;
    match sent {
        Ok(confirm) => confirm.await.is_ok_and(|it| it.is_ack()),
        Err(_) => false,
    }
}

async fn may_read(connection: &Connection, queue: &str) -> bool {
    let channel = connection.create_channel().await.unwrap();
    channel.basic_get(queue.into(), BasicGetOptions::default()).await.is_ok()
}

async fn may_delete(connection: &Connection, queue: &str) -> bool {
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeleteOptions { if_unused: true, ..QueueDeleteOptions::default() };
    channel.queue_delete(queue.into(), options).await.is_ok()
}

#[tokio::test]
async fn amq_08_nobody_reads_anothers_queue_or_speaks_in_anothers_name() {
    let broker = TestBroker::new().await;
    // Everything is there.
    let everything = EventBus::new(&broker.amqp_url(), "test", &Registry::new()).unwrap();
    everything.publisher().ready().await.unwrap();
    let security = mailer_queue(Lane::Security);
    for (service, publishes, reads) in [
        ("auth-api", vec![EVENTS_EXCHANGE, COMMANDS_EXCHANGE], vec![]),
        ("session-service", vec![EVENTS_EXCHANGE], vec![]),
        ("mailer", vec![COMMANDS_EXCHANGE, RETRY_EXCHANGE, DEAD_EXCHANGE], vec![security, MAILER_DEAD_QUEUE]),
        ("audit-service", vec![RETRY_EXCHANGE, DEAD_EXCHANGE], vec![AUDIT_QUEUE, AUDIT_DEAD_QUEUE]),
    ] {
        let connection = connect(&user(&broker, service).await).await;
        for exchange in [EVENTS_EXCHANGE, COMMANDS_EXCHANGE, RETRY_EXCHANGE, DEAD_EXCHANGE, ""] {
            let may = may_publish(&connection, exchange, "nowhere").await;
            assert_eq!(may, publishes.contains(&exchange), "{service} to {exchange:?}");
        }
        for queue in [AUDIT_QUEUE, AUDIT_DEAD_QUEUE, security, MAILER_DEAD_QUEUE] {
            assert_eq!(may_read(&connection, queue).await, reads.contains(&queue), "{service} from {queue}");
            if !reads.contains(&queue) {
                assert!(!may_delete(&connection, queue).await, "{service} deletes {queue}");
            }
        }
    }
}

struct OnceMore;

impl Handler for OnceMore {
    async fn handle(&self, delivery: Delivery) -> Verdict {
        match delivery.payload.as_slice() {
            b"{}" => Verdict::Reject("no".to_owned()),
            _ => Verdict::RetryAfter(Duration::from_secs(10)),
        }
    }
}

#[tokio::test]
async fn amq_08_with_its_permissions_each_service_does_its_work_whoever_comes_first() {
    let broker = TestBroker::new().await;
    // Before anybody else is there: it declares what it may.
    let api = EventBus::new(&user(&broker, "auth-api").await, "auth-api", &Registry::new()).unwrap();
    let mail = || message(Route::mail(Lane::Security));
    assert!(
        api.publisher().publish(vec![mail()]).await[0].is_err(),
        "no queue yet, so it stays in the outbox"
    );
    let mailer = EventBus::new(&user(&broker, "mailer").await, "mailer", &Registry::new()).unwrap();
    let stop = CancellationToken::new();
    let settings = ConsumerSettings::one_at_a_time(mailer_queue(Lane::Security), MAILER_DEAD_QUEUE, 1);
    let (consumer, stopped) = (mailer.clone(), stop.clone());
    let consuming = tokio::spawn(async move { consumer.consume(settings, OnceMore, stopped).await });
    eventually("the mailer's queue", SOON, || async {
        api.publisher().publish(vec![mail()]).await[0].is_ok().then_some(())
    })
    .await;
    eventually("the dead letter", SOON, || async {
        (mailer.dead_letters(MAILER_DEAD_QUEUE, 9).await.ok()?.letters.first()?.reason == "no").then_some(())
    })
    .await;
    let later = OutgoingMessage { payload: b"later".to_vec(), ..mail() };
    assert!(api.publisher().publish(vec![later]).await[0].is_ok());
    let delayed = format!("{}.retry.10s", mailer_queue(Lane::Security));
    eventually("the delayed message", SOON, || async {
        (broker.queue_length(&delayed).await == 1).then_some(())
    })
    .await;
    let back = mailer.redrive(MAILER_DEAD_QUEUE, 9, |letter| letter.reason == "no").await.unwrap();
    assert_eq!(back, ["1"]);
    stop.cancel();
    consuming.await.unwrap();

    let audit =
        EventBus::new(&user(&broker, "audit-service").await, "audit-service", &Registry::new()).unwrap();
    audit.publisher().ready().await.unwrap();
    let fact = message(Route::fact("auth.user.registered"));
    assert!(api.publisher().publish(vec![fact.clone()]).await[0].is_ok());
    assert_eq!(audit.queue_length(AUDIT_QUEUE).await.unwrap(), 1);
    assert!(audit.publisher().publish(vec![fact.clone()]).await[0].is_err(), "it states no facts");

    let settings = ConsumerSettings::one_at_a_time(AUDIT_QUEUE, AUDIT_DEAD_QUEUE, 1);
    let (consumer, stop) = (audit.clone(), CancellationToken::new());
    let stopped = stop.clone();
    let consuming = tokio::spawn(async move { consumer.consume(settings, OnceMore, stopped).await });
    let later = OutgoingMessage { payload: b"later".to_vec(), ..fact };
    assert!(api.publisher().publish(vec![later]).await[0].is_ok());
    for queue in [AUDIT_DEAD_QUEUE, &format!("{AUDIT_QUEUE}.retry.10s")] {
        eventually(&format!("a message in {queue}"), SOON, || async {
            (broker.queue_length(queue).await == 1).then_some(())
        })
        .await;
    }
    stop.cancel();
    consuming.await.unwrap();
    assert_eq!(audit.redrive(AUDIT_DEAD_QUEUE, 9, |_| true).await.unwrap(), ["1"]);
    eventually("the fact to be back", SOON, || async {
        (broker.queue_length(AUDIT_QUEUE).await >= 1).then_some(())
    })
    .await;
}
