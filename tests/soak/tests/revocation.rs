//! How long a revoked session is still accepted anywhere, measured in numbers.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use auth_proto::session::v1::{
    CreateSessionRequest, RevokeSessionRequest, Subject, revoke_session_request::Target,
    session_service_client::SessionServiceClient,
};
use e2e::Stack;
use futures::{StreamExt, stream};
use secrecy::{ExposeSecret, SecretString};
use session_verifier::{TlsIdentity, Verifier, VerifierConfig, VerifyError};
use soak::timing::percentile;
use test_support::{Proxy, eventually, redis_url};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

const SESSIONS: usize = 20_000;
const REVOKED: usize = 1_000;
/// How long a verifier believes itself without having heard anything.
const LEASE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(30);

/// A live session, and a token of it.
struct Live {
    session: String,
    token: String,
}

fn identity(stack: &Stack, name: &str) -> [Vec<u8>; 3] {
    ["ca.pem".to_owned(), format!("{name}.pem"), format!("{name}.key")]
        .map(|file| std::fs::read(stack.state().join("tls").join(file)).unwrap())
}

/// Session-service as auth-api calls it.
fn sessions(stack: &Stack, address: &str) -> SessionServiceClient<Channel> {
    let [ca, certificate, key] = identity(stack, "auth-api");
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca))
        .identity(Identity::from_pem(certificate, key))
        .domain_name("localhost");
    let endpoint = Channel::from_shared(format!("https://{address}")).unwrap();
    SessionServiceClient::new(endpoint.tls_config(tls).unwrap().connect_lazy())
}

async fn verifier(stack: &Stack, address: &str) -> Verifier {
    let [ca, certificate, key] = identity(stack, "internal");
    let issuer = stack.variable("TOKEN_ISSUER");
    let mut config = VerifierConfig::new(address, issuer, stack.variable("TOKEN_AUDIENCE"));
    "development".clone_into(&mut config.environment);
    config.identity = Some(TlsIdentity::from_pem(ca, certificate, key));
    Verifier::connect(config).await.unwrap()
}

fn new_session() -> CreateSessionRequest {
    let user: auth_ids::UserId = auth_ids::generate(&clock::SystemClock, &mut clock::secure_rng());
    CreateSessionRequest {
        subject: Some(Subject {
            user_id: user.to_string(),
            roles: vec!["user".to_owned()],
            ..Subject::default()
        }),
        amr: vec!["pwd".to_owned()],
        aal: 1,
        remember_me: true,
        ..CreateSessionRequest::default()
    }
}

async fn live_sessions(client: &SessionServiceClient<Channel>, count: usize) -> Vec<Live> {
    let created = stream::iter(0..count).map(|_| {
        let mut client = client.clone();
        async move {
            loop {
                // Refused for a moment where the machine does much else.
                if let Ok(answer) = client.create_session(new_session()).await {
                    let answer = answer.into_inner();
                    return Live {
                        session: answer.session.unwrap().id,
                        token: answer.tokens.unwrap().access_token,
                    };
                }
            }
        }
    });
    created.buffer_unordered(16).collect().await
}

async fn revoke(client: &SessionServiceClient<Channel>, session: &str) {
    let request = RevokeSessionRequest {
        target: Some(Target::SessionId(session.to_owned())),
        reason: "drill".to_owned(),
        ..RevokeSessionRequest::default()
    };
    client.clone().revoke_session(request).await.unwrap();
}

/// Until `verifier` refuses `token` because it was revoked.
async fn refused(verifier: &Verifier, token: &str) {
    while !matches!(verifier.verify(token), Err(VerifyError::Revoked)) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_sessions_and_three_verifiers_know_of_a_revocation_at_once() {
    let stack = Stack::start(&[("RATE_LIMITS", "off".to_owned())]).await;
    let address = stack.variable("SESSION_GRPC");
    let client = sessions(&stack, &address);
    let live = Arc::new(live_sessions(&client, SESSIONS).await);
    let mut verifiers = Vec::new();
    for _ in 0..3 {
        verifiers.push(verifier(&stack, &format!("https://{address}")).await);
    }
    for verifier in &verifiers {
        assert!(live.iter().all(|live| verifier.verify(&live.token).is_ok()), "all are good at first");
    }

    // Traffic on all three, by the sessions that stay.
    let (stop, verified) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
    let mut load = JoinSet::new();
    for busy in verifiers.clone() {
        let (live, stop, verified) = (Arc::clone(&live), stop.clone(), Arc::clone(&verified));
        load.spawn(async move {
            let mut staying = live.iter().skip(REVOKED).cycle();
            while !stop.is_cancelled() {
                for target in staying.by_ref().take(200) {
                    assert!(busy.verify(&target.token).is_ok());
                }
                verified.fetch_add(200, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }

    let began = Instant::now();
    let delays = stream::iter(live.iter().take(REVOKED)).map(|target| {
        let (client, verifiers) = (&client, &verifiers);
        async move {
            revoke(client, &target.session).await;
            let acknowledged = Instant::now();
            for verifier in verifiers {
                refused(verifier, &target.token).await;
            }
            acknowledged.elapsed()
        }
    });
    let delays: Vec<Duration> = delays.buffer_unordered(8).collect().await;
    let seconds = began.elapsed().as_secs_f64();
    stop.cancel();
    load.join_all().await;
    let (median, p99) = (percentile(&delays, 50), percentile(&delays, 99));
    println!(
        "{REVOKED} revocations in {seconds:.1} s beside {:.0} verifications/s: refused by all after {median:.1?} (median), {p99:.1?} (p99), {:.1?} (most)",
        f64::from(u32::try_from(verified.load(Ordering::Relaxed)).unwrap()) / seconds,
        percentile(&delays, 100),
    );
    assert!(median <= Duration::from_millis(250) && p99 <= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_stream_cut_nothing_is_accepted_longer_than_the_lease() {
    let stack = Stack::start(&[]).await;
    let address = stack.variable("SESSION_GRPC");
    let client = sessions(&stack, &address);
    let live = live_sessions(&client, 200).await;
    let upstream = SecretString::from(format!("https://{address}"));
    let proxy = Proxy::present(&upstream).await;
    let port = proxy.url().expose_secret().trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let verifier = verifier(&stack, &format!("https://localhost:{port}")).await;
    eventually("the verifier to be sure", PATIENCE, || async {
        verifier.verify(&live[0].token).is_ok().then_some(())
    })
    .await;

    proxy.fall_silent();
    let mut latest = Duration::ZERO;
    for target in &live {
        revoke(&client, &target.session).await;
    }
    let revoked = Instant::now();
    while revoked.elapsed() < LEASE * 3 {
        if live.iter().any(|live| verifier.verify(&live.token).is_ok()) {
            latest = revoked.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("cut off, the last of 200 revoked sessions was accepted {latest:.1?} after it was revoked");
    assert!(latest <= LEASE, "{latest:?}");

    proxy.talk_again();
    for target in &live {
        tokio::time::timeout(PATIENCE, refused(&verifier, &target.token)).await.expect("the news came");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_another_replica_knows_within_five_seconds() {
    // Not the stack's own Redis: that would be back in a moment.
    let mut proxy = Proxy::present(&redis_url()).await;
    let stack = Stack::start_replicas(&[("REDIS_URL", proxy.url().expose_secret().to_owned())]).await;
    let (one, other) = (stack.variable("SESSION_GRPC"), stack.variable("SESSION_GRPC_2"));
    let client = sessions(&stack, &one);
    let live = live_sessions(&client, 40).await;
    let verifier = verifier(&stack, &format!("https://{other}")).await;
    eventually("the verifier to be sure", PATIENCE, || async {
        verifier.verify(&live[0].token).is_ok().then_some(())
    })
    .await;
    let measure = async |targets: &[Live]| {
        let mut delays = Vec::new();
        for target in targets {
            assert!(verifier.verify(&target.token).is_ok());
            revoke(&client, &target.session).await;
            let acknowledged = Instant::now();
            refused(&verifier, &target.token).await;
            delays.push(acknowledged.elapsed());
        }
        percentile(&delays, 100)
    };
    let with_redis = measure(&live[..20]).await;
    proxy.vanish().await;
    let without = measure(&live[20..]).await;
    println!("at another replica at most {with_redis:.1?} later with Redis, {without:.1?} without");
    assert!(with_redis <= Duration::from_secs(1) && without <= Duration::from_secs(5));
}
