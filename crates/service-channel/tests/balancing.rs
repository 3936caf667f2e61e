//! One channel, several replicas that come and go. `GetMessage` stands for a method that changes something, `ListMessages` for one that reads.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{
    future,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use auth_proto::mailer::v1::{
    self as proto, GetMessageRequest, GetMessageResponse, ListMessagesRequest, ListMessagesResponse,
    mailer_service_client::MailerServiceClient,
    mailer_service_server::{MailerService, MailerServiceServer},
};
use secrecy::{ExposeSecret, SecretString};
use service_channel::{AnsweredBy, Channel, connect_lazy};
use test_support::{Proxy, eventually};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_health::{
    pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
    server::{HealthReporter, health_reporter},
};

const LIST: &str = "/feature_auth.mailer.v1.MailerService/ListMessages";
/// Long enough that some calls are always in flight.
const WORK: Duration = Duration::from_millis(10);

#[derive(Clone, Default)]
struct Mailer {
    changes: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
    hangs: Arc<AtomicBool>,
}

impl Mailer {
    async fn work(&self) {
        if self.hangs.load(Ordering::Relaxed) {
            future::pending::<()>().await;
        }
        sleep(WORK).await;
    }
}

#[tonic::async_trait]
impl MailerService for Mailer {
    async fn get_message(
        &self,
        _request: Request<GetMessageRequest>,
    ) -> Result<Response<GetMessageResponse>, Status> {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.work().await;
        Ok(Response::new(GetMessageResponse::default()))
    }

    async fn list_messages(
        &self,
        _request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.work().await;
        Ok(Response::new(ListMessagesResponse::default()))
    }

    async fn retry(
        &self,
        _request: Request<proto::RetryRequest>,
    ) -> Result<Response<proto::RetryResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }

    async fn cancel(
        &self,
        _request: Request<proto::CancelRequest>,
    ) -> Result<Response<proto::CancelResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }

    async fn list_dead_letters(
        &self,
        _request: Request<proto::ListDeadLettersRequest>,
    ) -> Result<Response<proto::ListDeadLettersResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }

    async fn redrive(
        &self,
        _request: Request<proto::RedriveRequest>,
    ) -> Result<Response<proto::RedriveResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }

    async fn render_preview(
        &self,
        _request: Request<proto::RenderPreviewRequest>,
    ) -> Result<Response<proto::RenderPreviewResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }

    async fn send_test(
        &self,
        _request: Request<proto::SendTestRequest>,
    ) -> Result<Response<proto::SendTestResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }

    async fn provider_status(
        &self,
        _request: Request<proto::ProviderStatusRequest>,
    ) -> Result<Response<proto::ProviderStatusResponse>, Status> {
        Err(Status::unimplemented("It is not part of this test."))
    }
}

struct Replica {
    address: SocketAddr,
    mailer: Mailer,
    health: HealthReporter,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinSet<()>,
}

impl Replica {
    async fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    async fn start_at(listen: SocketAddr) -> Self {
        let listener = TcpListener::bind(listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mailer = Mailer::default();
        let (health, health_service) = health_reporter();
        let server = Server::builder()
            .add_service(MailerServiceServer::new(mailer.clone()))
            .add_service(health_service);
        let (stop, stopping) = oneshot::channel();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let stopped = server.serve_with_incoming_shutdown(incoming, async { drop(stopping.await) });
            stopped.await.expect("the server serves");
        });
        Self { address, mailer, health, stop: Some(stop), serving }
    }

    /// Accepts nothing more, and ends when what was accepted is answered.
    async fn stop(&mut self) {
        self.stop.take();
        while self.serving.join_next().await.is_some() {}
    }

    async fn restart(&mut self) {
        self.stop().await;
        *self = Self::start_at(self.address).await;
    }

    fn url(&self) -> SecretString {
        format!("http://{}", self.address).into()
    }

    fn changes(&self) -> usize {
        self.mailer.changes.load(Ordering::Relaxed)
    }

    fn reads(&self) -> usize {
        self.mailer.reads.load(Ordering::Relaxed)
    }

    /// Waits until the replica gets calls, or gets them again.
    async fn is_called(&self, deadline: Duration) {
        let before = self.changes();
        eventually("a call of the replica", deadline, async || (self.changes() > before).then_some(())).await;
    }

    /// Calls until the replica takes part.
    async fn is_called_by(&self, channel: &Channel) {
        let before = self.changes();
        eventually("a call of the replica", Duration::from_secs(5), async || {
            change(channel).await.unwrap();
            (self.changes() > before).then_some(())
        })
        .await;
    }
}

fn channel(urls: &[SecretString]) -> Channel {
    let urls: Vec<&str> = urls.iter().map(ExposeSecret::expose_secret).collect();
    connect_lazy(&urls.join(",").parse().unwrap(), None).unwrap().repeating(&[LIST])
}

async fn change(channel: &Channel) -> Result<(), Status> {
    MailerServiceClient::new(channel.clone()).get_message(GetMessageRequest::default()).await.map(drop)
}

async fn read(channel: &Channel) -> Result<(), Status> {
    MailerServiceClient::new(channel.clone()).list_messages(ListMessagesRequest::default()).await.map(drop)
}

/// 200 calls of a method in a second, until it is stopped.
struct Load {
    stopping: Arc<AtomicBool>,
    in_flight: Arc<AtomicUsize>,
    failures: Arc<parking_lot::Mutex<Vec<Status>>>,
    tasks: JoinSet<()>,
}

impl Load {
    fn of<F: Future<Output = Result<(), Status>> + Send>(
        channel: &Channel,
        call: impl Fn(Channel) -> F + Clone + Send + Sync + 'static,
    ) -> Self {
        let (stopping, in_flight, failures) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::default());
        let mut tasks = JoinSet::new();
        let (stop, flying, failed, channel) =
            (Arc::clone(&stopping), Arc::clone(&in_flight), Arc::clone(&failures), channel.clone());
        tasks.spawn(async move {
            let mut calls = JoinSet::new();
            let mut ticks = interval(Duration::from_millis(5));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while !stop.load(Ordering::Relaxed) {
                ticks.tick().await;
                let (flying, failed, channel, call) =
                    (Arc::clone(&flying), Arc::clone(&failed), channel.clone(), call.clone());
                calls.spawn(async move {
                    flying.fetch_add(1, Ordering::Relaxed);
                    let answer = call(channel).await;
                    flying.fetch_sub(1, Ordering::Relaxed);
                    let failed: &parking_lot::Mutex<Vec<Status>> = &failed;
                    failed.lock().extend(answer.err());
                });
            }
            calls.join_all().await;
        });
        Self { stopping, in_flight, failures, tasks }
    }

    fn of_changes(channel: &Channel) -> Self {
        Self::of(channel, async |channel: Channel| change(&channel).await)
    }

    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn failures(&self) -> usize {
        self.failures.lock().len()
    }

    /// What failed, once all calls have ended.
    async fn stop(self) -> Vec<Status> {
        self.stopping.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        self.failures.lock().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_take_calls_in_turn() {
    let replicas = [Replica::start().await, Replica::start().await, Replica::start().await];
    let channel = channel(&replicas.each_ref().map(Replica::url));
    // Until all are connected, those that are take the calls.
    eventually("calls of all replicas", Duration::from_secs(5), async || {
        change(&channel).await.unwrap();
        replicas.iter().all(|replica| replica.changes() > 0).then_some(())
    })
    .await;
    let before = replicas.each_ref().map(Replica::changes);
    for _ in 0..30 {
        change(&channel).await.unwrap();
    }
    let after = replicas.each_ref().map(Replica::changes);
    assert_eq!(after, before.map(|calls| calls + 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_restart_in_good_order_fail_no_call() {
    let mut replicas = [Replica::start().await, Replica::start().await];
    let channel = channel(&replicas.each_ref().map(Replica::url));
    let load = Load::of_changes(&channel);
    for _ in 0..5 {
        for replica in &mut replicas {
            replica.is_called(Duration::from_secs(6)).await;
            replica.restart().await;
        }
    }
    let failures = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_fails_what_it_was_working_on_and_nothing_else() {
    let (steady, killed) = (Replica::start().await, Replica::start().await);
    let mut way = Proxy::present(&killed.url()).await;
    let channel = channel(&[steady.url(), way.url()]);
    let load = Load::of_changes(&channel);
    killed.is_called(Duration::from_secs(5)).await;
    let in_flight = load.in_flight();
    way.vanish().await;
    let killed_at = Instant::now();
    // A second of calls, after which there would be failures if any went on going there.
    sleep(Duration::from_secs(1)).await;
    let failures = load.failures();
    // What was counted was in flight just before; a few more may have begun since.
    assert!(failures <= in_flight + 2, "{failures} of {in_flight} in flight");
    way.appear().await;
    killed.is_called(Duration::from_secs(6)).await;
    assert_eq!(load.failures(), failures, "after {:?}", killed_at.elapsed());
    let codes: Vec<Code> = load.stop().await.iter().map(Status::code).collect();
    assert!(codes.iter().all(|code| *code == Code::Unavailable), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_falls_silent_is_left_and_reads_never_fail() {
    let (steady, silent) = (Replica::start().await, Replica::start().await);
    let way = Proxy::present(&silent.url()).await;
    let channel = channel(&[steady.url(), way.url()]);
    let reads = Load::of(&channel, async |channel: Channel| read(&channel).await);
    let changes = Load::of_changes(&channel);
    silent.is_called(Duration::from_secs(5)).await;
    way.fall_silent();
    let fell = Instant::now();
    // What was sent before it was suspected is late.
    sleep(Duration::from_secs(2)).await;
    let late = changes.failures();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(changes.failures(), late, "{:?} after it fell silent", fell.elapsed());
    assert!(late < 200, "{late} changes failed");
    way.talk_again();
    silent.is_called(Duration::from_secs(6)).await;
    let failures = reads.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
    let codes: Vec<Code> = changes.stop().await.iter().map(Status::code).collect();
    assert!(codes.iter().all(|code| *code == Code::DeadlineExceeded), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_replicas_are_away_calls_end_soon_and_work_again_when_one_is_back() {
    let (one, other) = (Replica::start().await, Replica::start().await);
    let (mut way, hole) = (Proxy::absent(&one.url()).await, Proxy::present(&other.url()).await);
    hole.fall_silent();
    let channel = channel(&[way.url(), hole.url()]);
    for _ in 0..5 {
        let began = Instant::now();
        let refused = change(&channel).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        assert!(refused.message().contains("127.0.0.1"), "{refused:?}");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    way.appear().await;
    eventually("a call that works", Duration::from_secs(6), async || change(&channel).await.ok()).await;
    // And the next one at once.
    change(&channel).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_that_restarts_while_nobody_calls_is_no_failure() {
    let mut replica = Replica::start().await;
    let channel = channel(&[replica.url()]);
    change(&channel).await.unwrap();
    for _ in 0..3 {
        replica.restart().await;
        change(&channel).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_is_unavailable() {
    let channel = connect_lazy(&"http://nowhere.invalid:1".parse().unwrap(), None).unwrap();
    let refused = change(&channel).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
}

/// A channel to two replicas, connected to both, of which the second hangs from now on.
async fn quick_and_hanging() -> (Replica, Replica, Channel) {
    let (quick, hanging) = (Replica::start().await, Replica::start().await);
    let channel = channel(&[quick.url(), hanging.url()]);
    eventually("calls of both replicas", Duration::from_secs(5), async || {
        change(&channel).await.unwrap();
        (quick.changes() > 0 && hanging.changes() > 0).then_some(())
    })
    .await;
    hanging.mailer.hangs.store(true, Ordering::Relaxed);
    (quick, hanging, channel)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_takes_long_is_asked_of_another_replica_too() {
    let (quick, hanging, channel) = quick_and_hanging().await;
    for _ in 0..2 {
        read(&channel).await.unwrap();
    }
    assert_eq!((quick.reads(), hanging.reads()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_takes_long_is_sent_once() {
    let (quick, hanging, channel) = quick_and_hanging().await;
    let before = quick.changes() + hanging.changes();
    let (first, second) = (change(&channel).await, change(&channel).await);
    let late = first.and(second).unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert_eq!(quick.changes() + hanging.changes(), before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_lives_longer_than_any_deadline() {
    let replica = Replica::start().await;
    let channel = channel(&[replica.url()]);
    let mut watch =
        HealthClient::new(channel).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    // Twice the deadline of a call.
    assert!(timeout(Duration::from_millis(1600), watch.message()).await.is_err());
    replica.health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    let next = timeout(Duration::from_secs(5), watch.message()).await.expect("the stream goes on");
    assert_eq!(next.unwrap().unwrap().status(), ServingStatus::NotServing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_left_gets_the_next_calls_on_a_new_connection_only() {
    let (one, other) = (Replica::start().await, Replica::start().await);
    let channel = channel(&[one.url(), other.url()]);
    eventually("calls of both replicas", Duration::from_secs(5), async || {
        change(&channel).await.unwrap();
        (one.changes() > 0 && other.changes() > 0).then_some(())
    })
    .await;
    for _ in 0..10 {
        let before = (one.changes(), other.changes());
        let mut client = MailerServiceClient::new(channel.clone());
        let answer = client.get_message(GetMessageRequest::default()).await.unwrap();
        answer.extensions().get::<AnsweredBy>().unwrap().clone().leave();
        drop(answer);
        change(&channel).await.unwrap();
        assert_eq!((one.changes(), other.changes()), (before.0 + 1, before.1 + 1));
        // It is connected to anew, and takes its turn again.
        one.is_called_by(&channel).await;
        other.is_called_by(&channel).await;
    }
}
