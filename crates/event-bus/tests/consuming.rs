//! A message is acknowledged when it has its end, and only then.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use auth_events::{
    commands::Lane,
    routing::{MAILER_DEAD_QUEUE, Route},
};
use event_bus::{BatchHandler, ConsumerSettings, Delivery, EventBus, Handler, OutgoingMessage, Verdict};
use parking_lot::Mutex;
use prometheus::Registry;
use test_support::{TestBroker, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "mailer.send.notice";
const SOON: Duration = Duration::from_secs(30);

/// What a handler saw, in order: the payload, and whether it came again.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(String, bool)>>>);

impl Seen {
    fn note(&self, delivery: &Delivery) -> String {
        let text = String::from_utf8(delivery.payload.clone()).unwrap();
        self.0.lock().push((text.clone(), delivery.redelivered));
        text
    }

    fn payloads(&self) -> Vec<String> {
        self.0.lock().iter().map(|(text, _)| text.clone()).collect()
    }

    async fn wait_for(&self, count: usize) {
        eventually("the messages to be handled", SOON, async || (self.0.lock().len() >= count).then_some(()))
            .await;
    }
}

/// Answers by payload.
struct Scripted<F> {
    seen: Seen,
    script: F,
}

impl<F: Fn(&str, usize) -> Verdict + Send + Sync + 'static> Handler for Scripted<F> {
    async fn handle(&self, delivery: Delivery) -> Verdict {
        let text = self.seen.note(&delivery);
        let times = self.seen.payloads().iter().filter(|it| **it == text).count();
        (self.script)(&text, times)
    }
}

impl<F: Fn(&str, usize) -> Verdict + Send + Sync + 'static> BatchHandler for Scripted<F> {
    async fn handle(&self, deliveries: Vec<Delivery>) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for delivery in deliveries {
            verdicts.push(Handler::handle(self, delivery).await);
        }
        verdicts
    }
}

async fn publish(bus: &EventBus, payloads: &[&str]) {
    let messages = payloads.iter().map(|payload| OutgoingMessage {
        route: Route::mail(Lane::Notice),
        message_id: (*payload).to_owned(),
        message_type: "mail.send.v1".to_owned(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        payload: payload.as_bytes().to_vec(),
    });
    let results = bus.publisher().publish(messages.collect()).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

fn text_of(registry: &Registry) -> String {
    prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
}

fn batch_settings() -> ConsumerSettings {
    ConsumerSettings {
        queue: QUEUE,
        dead_letter_queue: MAILER_DEAD_QUEUE,
        prefetch: 50,
        batch_size: 20,
        batch_wait: Duration::from_millis(100),
    }
}

struct Running {
    broker: TestBroker,
    bus: EventBus,
    seen: Seen,
    stop: CancellationToken,
    consumer: JoinHandle<()>,
}

impl Running {
    async fn one_by_one(
        prefetch: u16,
        script: impl Fn(&str, usize) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self::start(script, move |bus, handler, stop| async move {
            let settings = ConsumerSettings::one_at_a_time(QUEUE, MAILER_DEAD_QUEUE, prefetch);
            bus.consume(settings, handler, stop).await;
        })
        .await
    }

    async fn batches(script: impl Fn(&str, usize) -> Verdict + Send + Sync + 'static) -> Self {
        Self::start(script, |bus, handler, stop| async move {
            bus.consume_batches(batch_settings(), handler, stop).await;
        })
        .await
    }

    #[expect(clippy::disallowed_methods, reason = "a test has no lifecycle")]
    async fn start<F, R>(script: F, run: impl FnOnce(EventBus, Scripted<F>, CancellationToken) -> R) -> Self
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let broker = TestBroker::new().await;
        let bus = EventBus::new(&broker.amqp_url(), "test", &Registry::new()).unwrap();
        let (seen, stop) = (Seen::default(), CancellationToken::new());
        let handler = Scripted { seen: seen.clone(), script };
        let consumer = tokio::spawn(run(bus.clone(), handler, stop.clone()));
        Self { broker, bus, seen, stop, consumer }
    }

    async fn publish(&self, payloads: &[&str]) {
        publish(&self.bus, payloads).await;
    }

    async fn dead_letters(&self, count: u64) {
        eventually("the dead letters", SOON, async || {
            (self.broker.queue_length(MAILER_DEAD_QUEUE).await == count).then_some(())
        })
        .await;
    }

    /// Stops, and fails if anything went back to the queue.
    async fn finish(self) {
        self.stop.cancel();
        self.consumer.await.unwrap();
        drop(self.bus);
        assert_eq!(self.broker.queue_length(QUEUE).await, 0);
    }
}

#[tokio::test]
async fn what_is_done_does_not_come_back() {
    let running = Running::one_by_one(4, |_, _| Verdict::Done).await;
    running.publish(&["1", "2", "3", "4", "5", "6", "7", "8", "9"]).await;
    running.seen.wait_for(9).await;
    running.finish().await;
}

#[tokio::test]
async fn a_rejected_message_is_dead_with_its_reason() {
    let running = Running::one_by_one(4, |_, _| Verdict::Reject("it is not a letter".to_owned())).await;
    running.publish(&["1"]).await;
    running.dead_letters(1).await;

    let url = running.broker.amqp_url();
    let url = secrecy::ExposeSecret::expose_secret(&url);
    let runtime = async_rs::Runtime::tokio_current();
    let connection =
        lapin::Connection::connect_with_runtime(url, lapin::ConnectionProperties::default(), runtime);
    let channel = connection.await.unwrap().create_channel().await.unwrap();
    let options = lapin::options::BasicGetOptions { no_ack: true };
    let letter = channel.basic_get(MAILER_DEAD_QUEUE.into(), options).await.unwrap().unwrap();
    let headers = letter.properties.headers().clone().unwrap();
    let header = |name| match headers.inner().get(name) {
        Some(lapin::types::AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(header("x-reason"), "it is not a letter");
    assert_eq!(header("x-rejected-by"), "test");
    assert_eq!(header("x-queue"), QUEUE);
    assert_eq!(header("traceparent").len(), 55);
    assert_eq!(letter.properties.message_id().as_ref().unwrap().as_str(), "1");
    running.finish().await;
}

#[tokio::test]
async fn a_retried_message_rests_in_a_delay_queue_and_comes_back() {
    let running = Running::one_by_one(4, |_, times| match times {
        1 => Verdict::RetryAfter(Duration::from_secs(5)),
        _ => Verdict::Done,
    })
    .await;
    running.publish(&["1"]).await;
    eventually("the message to rest", SOON, async || {
        (running.broker.queue_length("mailer.send.notice.retry.10s").await == 1).then_some(())
    })
    .await;
    running.seen.wait_for(2).await;
    running.finish().await;
}

#[tokio::test]
async fn a_message_that_has_to_wait_is_kept_and_counts_no_delivery() {
    let running = Running::one_by_one(1, |text, times| match (text, times) {
        ("1", 1..=7) => Verdict::Requeue,
        _ => Verdict::Done,
    })
    .await;
    running.publish(&["1", "2"]).await;
    running.seen.wait_for(9).await;
    let seen = running.seen.0.lock().clone();
    assert!(seen[..8].iter().all(|(text, redelivered)| text == "1" && !redelivered), "{seen:?}");
    assert_eq!(seen[8], ("2".to_owned(), false));
    running.finish().await;
}

/// Whoever may not publish to their exchange is as badly off as everybody while the broker is short of memory.
async fn a_message_that_cannot_be_moved_is_kept(batches: bool) {
    // Who consumes first makes the delay queues.
    let first = Running::one_by_one(1, |_, _| Verdict::Done).await;
    first.publish(&["0"]).await;
    first.seen.wait_for(1).await;
    first.stop.cancel();
    first.consumer.await.unwrap();
    let (own, everything) = (r"^mailer\..*$", r"^(mailer\..*|auth\.(events|commands|retry|dead))$");
    let url = first.broker.user(everything, own, everything).await;
    let registry = Registry::new();
    let second = EventBus::new(&url, "test", &registry).unwrap();
    publish(&first.bus, &["1"]).await;
    let (seen, stop) = (Seen::default(), CancellationToken::new());
    let script = |text: &str, _| match text {
        "1" => Verdict::RetryAfter(Duration::from_secs(1)),
        _ => Verdict::Done,
    };
    let handler = Scripted { seen: seen.clone(), script };
    let consuming = async {
        if batches {
            second.consume_batches(batch_settings(), handler, stop.clone()).await;
        } else {
            let settings = ConsumerSettings::one_at_a_time(QUEUE, MAILER_DEAD_QUEUE, 2);
            second.consume(settings, handler, stop.clone()).await;
        }
    };
    let watching = async {
        let again = || text_of(&registry).contains("amqp_published_total{outcome=\"unavailable\"} 2");
        eventually("a second attempt to pass it on", SOON, async || again().then_some(())).await;
        publish(&first.bus, &["2", "3"]).await;
        seen.wait_for(3).await;
        stop.cancel();
    };
    tokio::join!(consuming, watching);
    drop(second);
    let expected = ["1", "2", "3"].map(|text| (text.to_owned(), false));
    assert_eq!(seen.0.lock().clone(), expected);
    eventually("the first alone is back", SOON, async || {
        (first.broker.queue_length(QUEUE).await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_that_cannot_be_moved_is_kept_and_keeps_no_other_message_waiting() {
    a_message_that_cannot_be_moved_is_kept(false).await;
}

#[tokio::test]
async fn a_message_that_cannot_be_moved_is_kept_and_keeps_no_other_batch_waiting() {
    a_message_that_cannot_be_moved_is_kept(true).await;
}

#[tokio::test]
async fn amq_03_a_message_whose_handler_panics_dies_alone_after_five_deliveries() {
    let running = Running::one_by_one(2, |text, _| {
        assert_ne!(text, "bad", "a message that nobody expected");
        Verdict::Done
    })
    .await;
    running.publish(&["bad", "1", "2", "3"]).await;
    running.dead_letters(1).await;
    let seen = running.seen.payloads();
    assert!(seen.iter().filter(|it| *it == "bad").count() >= 5, "{seen:?}");
    assert!(["1", "2", "3"].iter().all(|it| seen.contains(&(*it).to_owned())));
    running.finish().await;
}

#[tokio::test]
async fn a_batch_is_judged_message_by_message() {
    let running = Running::batches(|text, times| match text {
        "rejected" => Verdict::Reject("no".to_owned()),
        "kept" if times < 3 => Verdict::Requeue,
        _ => Verdict::Done,
    })
    .await;
    running.publish(&["1", "rejected", "2", "kept", "3"]).await;
    running.seen.wait_for(7).await;
    running.dead_letters(1).await;
    let seen = running.seen.payloads();
    assert_eq!(seen.iter().filter(|it| *it == "kept").count(), 3);
    assert_eq!(seen.iter().filter(|it| *it == "1").count(), 1);
    running.finish().await;
}

#[tokio::test]
async fn a_panic_in_a_batch_kills_one_message_only() {
    let running = Running::batches(|text, _| {
        assert_ne!(text, "bad", "a message that nobody expected");
        Verdict::Done
    })
    .await;
    running.publish(&["1", "bad", "2"]).await;
    running.dead_letters(1).await;
    running.finish().await;
}

#[tokio::test]
async fn consuming_goes_on_after_the_connection_was_closed() {
    let running = Running::one_by_one(4, |_, _| Verdict::Done).await;
    running.publish(&["1"]).await;
    running.seen.wait_for(1).await;
    eventually("the connection to be closed", SOON, async || {
        (running.broker.close_all_connections().await > 1).then_some(())
    })
    .await;
    eventually("the next message to be published", SOON, async || {
        let message = OutgoingMessage {
            route: Route::mail(Lane::Notice),
            message_id: "2".to_owned(),
            message_type: "mail.send.v1".to_owned(),
            traceparent: None,
            payload: b"2".to_vec(),
        };
        running.bus.publisher().publish(vec![message]).await.pop()?.ok()
    })
    .await;
    eventually("the next message", SOON, async || {
        running.seen.payloads().contains(&"2".to_owned()).then_some(())
    })
    .await;
    running.finish().await;
}

/// Needs a while for each message.
struct Slow {
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    go_on: CancellationToken,
}

impl Handler for Slow {
    async fn handle(&self, _: Delivery) -> Verdict {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.go_on.cancelled().await;
        self.ended.fetch_add(1, Ordering::Relaxed);
        Verdict::Done
    }
}

#[tokio::test]
async fn a_stopped_consumer_waits_for_the_handlers_that_run_and_takes_no_more() {
    let broker = TestBroker::new().await;
    let bus = EventBus::new(&broker.amqp_url(), "test", &Registry::new()).unwrap();
    let (begun, ended) = (Arc::default(), Arc::default());
    let (stop, go_on) = (CancellationToken::new(), CancellationToken::new());
    let handler = Slow { begun: Arc::clone(&begun), ended: Arc::clone(&ended), go_on: go_on.clone() };
    let settings = ConsumerSettings::one_at_a_time(QUEUE, MAILER_DEAD_QUEUE, 2);
    let consumer = bus.consume(settings, handler, stop.clone());
    let stopping = async {
        let message = |id: usize| OutgoingMessage {
            route: Route::mail(Lane::Notice),
            message_id: id.to_string(),
            message_type: "mail.send.v1".to_owned(),
            traceparent: None,
            payload: Vec::new(),
        };
        bus.publisher().publish((0..5).map(message).collect()).await;
        eventually("two handlers to run", SOON, async || (begun.load(Ordering::Relaxed) == 2).then_some(()))
            .await;
        stop.cancel();
        go_on.cancel();
    };
    tokio::join!(consumer, stopping);
    assert_eq!((begun.load(Ordering::Relaxed), ended.load(Ordering::Relaxed)), (2, 2));
    drop(bus);
    eventually("the others to be back", SOON, async || (broker.queue_length(QUEUE).await == 3).then_some(()))
        .await;
}
