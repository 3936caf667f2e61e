//! Only what the broker took responsibility for counts as published.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use auth_events::routing::{AUDIT_QUEUE, COMMANDS_EXCHANGE, Route};
use event_bus::{EventBus, OutgoingMessage, PublishError};
use prometheus::Registry;
use test_support::{TestBroker, eventually};

const SOON: Duration = Duration::from_secs(20);

fn bus(broker: &TestBroker) -> EventBus {
    EventBus::new(&broker.amqp_url(), "test", &Registry::new()).unwrap()
}

fn message(route: Route, id: usize) -> OutgoingMessage {
    OutgoingMessage {
        route,
        message_id: id.to_string(),
        message_type: "auth.test.happened.v1".to_owned(),
        traceparent: None,
        payload: id.to_string().into_bytes(),
    }
}

fn fact(id: usize) -> OutgoingMessage {
    message(Route::fact("auth.test.happened"), id)
}

#[tokio::test]
async fn a_fact_reaches_the_audit_queue() {
    let broker = TestBroker::new().await;
    let bus = bus(&broker);
    assert!(!bus.is_connected());
    let results = bus.publisher().publish((0..100).map(fact).collect()).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(bus.is_connected());
    assert_eq!(bus.queue_length(AUDIT_QUEUE).await.unwrap(), 100);
    assert_eq!(broker.take(AUDIT_QUEUE).await.len(), 100);
}

#[tokio::test]
async fn amq_09_what_no_queue_receives_is_told_apart_from_its_neighbours() {
    let broker = TestBroker::new().await;
    let is_lost = |id: usize| id % 7 == 3;
    let messages = (0..200).map(|id| {
        let nowhere = Route { exchange: COMMANDS_EXCHANGE, routing_key: "nowhere".to_owned() };
        if is_lost(id) { message(nowhere, id) } else { fact(id) }
    });
    let results = bus(&broker).publisher().publish(messages.collect()).await;
    for (id, result) in results.iter().enumerate() {
        assert_eq!(matches!(result, Err(PublishError::Unroutable)), is_lost(id), "{id}: {result:?}");
        assert_eq!(result.is_ok(), !is_lost(id), "{id}: {result:?}");
    }
    let arrived = broker.take(AUDIT_QUEUE).await;
    assert_eq!(arrived.len(), (0..200).filter(|id| !is_lost(*id)).count());
}

#[tokio::test]
async fn an_unknown_exchange_or_a_key_that_is_too_long_harms_nobody_else() {
    let broker = TestBroker::new().await;
    let unknown = Route { exchange: "auth.unknown", routing_key: "x".to_owned() };
    let too_long = Route::fact(&"x".repeat(300));
    let results =
        bus(&broker).publisher().publish(vec![message(unknown, 1), fact(2), message(too_long, 3)]).await;
    assert!(
        matches!(&results[..], [Err(PublishError::Unroutable), Ok(()), Err(PublishError::Unroutable)]),
        "{results:?}"
    );
}

#[tokio::test]
async fn a_broker_that_is_away_is_reported_at_once() {
    let bus = EventBus::new(&"amqp://u:p@127.0.0.1:1/x".into(), "test", &Registry::new()).unwrap();
    for _ in 0..3 {
        let begin = Instant::now();
        let results = bus.publisher().publish(vec![fact(1), fact(2)]).await;
        assert!(matches!(
            &results[..],
            [Err(PublishError::Unavailable(_)), Err(PublishError::Unavailable(_))]
        ));
        assert!(begin.elapsed() < Duration::from_secs(1));
    }
    assert!(!bus.is_connected());
}

#[tokio::test]
async fn a_closed_connection_is_replaced() {
    let broker = TestBroker::new().await;
    let bus = bus(&broker);
    bus.publisher().ready().await.unwrap();
    eventually("the connection to be closed", SOON, async || {
        (broker.close_all_connections().await > 0).then_some(())
    })
    .await;
    eventually("the loss to be noticed", SOON, async || (!bus.is_connected()).then_some(())).await;
    eventually("the message to be published", SOON, async || {
        bus.publisher().publish(vec![fact(1)]).await.pop()?.ok()
    })
    .await;
    assert_eq!(broker.queue_length(AUDIT_QUEUE).await, 1);
}

#[tokio::test]
async fn the_metrics_tell_outcomes_apart() {
    let broker = TestBroker::new().await;
    let registry = Registry::new();
    let bus = EventBus::new(&broker.amqp_url(), "test", &registry).unwrap();
    let nowhere = Route { exchange: COMMANDS_EXCHANGE, routing_key: "nowhere".to_owned() };
    bus.publisher().publish(vec![fact(1), message(nowhere, 2)]).await;
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for line in [
        "amqp_connected 1",
        "amqp_blocked 0",
        "amqp_published_total{outcome=\"confirmed\"} 1",
        "amqp_published_total{outcome=\"unroutable\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
