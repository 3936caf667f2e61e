//! Mail commands from the broker to the mail catcher.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::support::{DEADLINE, Keys, Order, database, mailbox, postman, sender, stopped_clock, unconnected};
use auth_events::{
    commands::Lane,
    routing::{MAILER_DEAD_QUEUE, Route, mailer_queue},
};
use clock::{SharedClock, SystemClock};
use dev_stack::mailbox::Mailbox;
use event_bus::{self, EventBus, Handler, OutgoingMessage, Verdict};
use mailer::{
    config::Config, consumer::MailCommands, delivery_settings::Delivery, mail::renderer::Brand,
    metrics::Metrics, startup::Application,
};
use prometheus::Registry;
use service_runtime::{CommonConfig, Environment, Lifecycle, ReadinessStatus, ShutdownSettings, Transport};
use test_support::{TestBroker, TestDatabase, eventually};

/// A mailer's database, broker and mail server, and the other end of its queues.
pub struct Surroundings {
    pub database: TestDatabase,
    pub broker: TestBroker,
    pub mailbox: Mailbox,
    pub keys: Keys,
    pub bus: EventBus,
}

impl Surroundings {
    pub async fn new() -> Self {
        let (database, broker, mailbox) = (database().await, TestBroker::new().await, mailbox().await);
        let bus = EventBus::new(&broker.amqp_url(), "test", &Registry::new()).unwrap();
        Self { database, broker, mailbox, keys: Keys::new(), bus }
    }

    /// Starts a mailer and waits until it is ready.
    pub async fn start_mailer(&self) -> Lifecycle {
        self.start(Arc::new(SystemClock)).await.0
    }

    /// Like [`Surroundings::start_mailer`], by `clock`; and where its gRPC is.
    pub async fn start(&self, clock: SharedClock) -> (Lifecycle, SocketAddr) {
        self.start_with(clock, Transport::Plaintext).await
    }

    /// Like [`Surroundings::start`], with a transport for gRPC.
    pub async fn start_with(&self, clock: SharedClock, transport: Transport) -> (Lifecycle, SocketAddr) {
        let lifecycle = Lifecycle::new(ShutdownSettings { delay: Duration::ZERO, drain: DEADLINE });
        let config = Config {
            grpc_listen: "127.0.0.1:0".parse().unwrap(),
            private_key: self.keys.private.clone(),
            delivery: Delivery::to(format!("smtp://{}", self.mailbox.smtp_addr()).parse().unwrap()),
            sender: sender(),
            mail_domain: "auth.example".to_owned(),
            brand: Brand::named("Acme"),
        };
        let registry = Registry::new();
        let common = CommonConfig { transport, ..self.common() };
        let application = Application::build(config, &common, clock, &registry).await.unwrap();
        let address = application.grpc_addr();
        let running = lifecycle.clone();
        lifecycle.spawn("test.mailer", async move { application.run(running).await.unwrap() });
        lifecycle.readiness().wait_until_ready().await;
        (lifecycle, address)
    }

    fn common(&self) -> CommonConfig {
        CommonConfig {
            database_url: self.database.app_url(),
            database_max_connections: 8,
            amqp_url: self.broker.amqp_url(),
            ..unconnected(Environment::Development)
        }
    }

    pub async fn publish(&self, messages: Vec<OutgoingMessage>) {
        let publisher = self.bus.publisher();
        eventually("the broker's confirmation", DEADLINE, || async {
            publisher.publish(messages.clone()).await.into_iter().all(|result| result.is_ok()).then_some(())
        })
        .await;
    }

    pub async fn stop(lifecycle: Lifecycle) {
        lifecycle.request_shutdown();
        lifecycle.wait_for_tasks().await;
    }
}

pub fn poison(lane: Lane, payload: &[u8]) -> OutgoingMessage {
    OutgoingMessage {
        route: Route::mail(lane),
        message_id: "poison".to_owned(),
        message_type: "mail.send.v1".to_owned(),
        traceparent: None,
        payload: payload.to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lane_is_served_and_a_command_that_comes_twenty_times_is_one_mail() {
    let it = Surroundings::new().await;
    let mailers = [it.start_mailer().await, it.start_mailer().await];
    let order = Order::verify_email("ada@example.test");
    it.publish(vec![order.message(&it.keys.public); 20]).await;
    for (lane, to) in
        [(Lane::Security, "s@example.test"), (Lane::Notice, "n@example.test"), (Lane::Bulk, "b@example.test")]
    {
        let order = Order { lane, ..Order::verify_email(to) };
        it.publish(vec![order.message(&it.keys.public)]).await;
        it.mailbox.wait_for(to, DEADLINE).await.unwrap();
    }
    let queue = mailer_queue(Lane::Security);
    eventually("an empty queue", DEADLINE, || async {
        (it.broker.queue_length(queue).await == 0).then_some(())
    })
    .await;
    for mailer in mailers {
        Surroundings::stop(mailer).await;
    }
    assert_eq!(it.mailbox.messages_to("ada@example.test").len(), 1);
    assert_eq!(it.broker.queue_length(MAILER_DEAD_QUEUE).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_parked_at_first_sight_and_delays_nobody() {
    let it = Surroundings::new().await;
    let mailer = it.start_mailer().await;
    let sealed_to_somebody_else = Order::verify_email("eve@example.test").message(&Keys::new().public);
    let mut messages = vec![sealed_to_somebody_else, poison(Lane::Security, b"{\"specversion\":\"1.0\"}")];
    messages.extend(vec![poison(Lane::Security, b"{}"); 30]);
    let count = u64::try_from(messages.len()).unwrap();
    messages.push(Order::verify_email("ada@example.test").message(&it.keys.public));
    it.publish(messages).await;
    it.mailbox.wait_for("ada@example.test", Duration::from_secs(5)).await.unwrap();
    eventually("the dead letters", DEADLINE, || async {
        (it.broker.queue_length(MAILER_DEAD_QUEUE).await == count).then_some(())
    })
    .await;
    let report = mailer.readiness().report().await;
    assert_eq!(report.status, ReadinessStatus::Ready);
    Surroundings::stop(mailer).await;
    assert!(it.mailbox.messages_to("eve@example.test").is_empty());
    assert_eq!(it.broker.take(MAILER_DEAD_QUEUE).await.len(), usize::try_from(count).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailer_that_loses_the_broker_comes_back_by_itself() {
    let it = Surroundings::new().await;
    let mailer = it.start_mailer().await;
    it.publish(vec![Order::verify_email("before@example.test").message(&it.keys.public)]).await;
    it.mailbox.wait_for("before@example.test", DEADLINE).await.unwrap();
    eventually("connections to close", DEADLINE, || async {
        (it.broker.close_all_connections().await > 0).then_some(())
    })
    .await;
    it.publish(vec![Order::verify_email("after@example.test").message(&it.keys.public)]).await;
    it.mailbox.wait_for("after@example.test", DEADLINE).await.unwrap();
    Surroundings::stop(mailer).await;
    assert_eq!(it.mailbox.messages_to("before@example.test").len(), 1);
}

#[tokio::test]
async fn while_postgres_is_away_commands_go_back_to_the_queue() {
    test_support::install_crypto_provider();
    let (mailbox, keys, clock) = (mailbox().await, Keys::new(), stopped_clock());
    let nowhere = "postgres://nobody:x@127.0.0.1:9/none".to_owned().into();
    let database = pg::Database::new(&pg::DatabaseSettings::new(nowhere, "test")).unwrap();
    let commands = MailCommands {
        key: keys.private.clone(),
        postman: Arc::new(postman(database, mailbox.smtp_addr(), clock.clone())),
        metrics: Metrics::register(&Registry::new()).unwrap(),
        clock,
    };
    let message = Order::verify_email("ada@example.test").message(&keys.public);
    let delivery = event_bus::Delivery {
        content_type: None,
        message_id: Some(message.message_id),
        message_type: Some(message.message_type),
        traceparent: None,
        sequence: None,
        redelivered: false,
        payload: message.payload,
    };
    assert_eq!(commands.handle(delivery).await, Verdict::Requeue);
    assert!(mailbox.messages_to("ada@example.test").is_empty());
}
