//! Services that embed `session-verifier` (its examples) know who calls, and hear of the end of a session at once.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use auth_proto::session::v1::{CreateSessionRequest, Subject, Tokens};
use e2e::{
    Stack,
    grpc::{self, As},
    journey::{self, text},
    stack::program,
};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};
use test_support::eventually;
use tonic::{Code, Request, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

/// Within this a service has heard of a logout.
const SOON: Duration = Duration::from_secs(1);

/// A running example, killed when dropped.
struct InternalService {
    process: Child,
    url: String,
}

impl InternalService {
    /// Starts an example, which is built together with the services, and waits until it says where it listens.
    fn start(name: &str, stack: &Stack) -> Self {
        let mut process = Command::new(program("examples").join(name))
            .env("SESSION_SERVICE", format!("https://{}", stack.variable("SESSION_GRPC")))
            .env("TLS_CA", stack.variable("TLS_CA"))
            .env("TLS_CERT", stack.variable("TLS_CLIENT_CERT"))
            .env("TLS_KEY", stack.variable("TLS_CLIENT_KEY"))
            .env("TOKEN_ISSUER", stack.variable("API_URL"))
            .env("TOKEN_AUDIENCE", "feature-auth")
            .env("ENVIRONMENT", "development")
            .env("LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the examples of session-verifier must be built: use `make test`");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = lines.next().expect("the service says where it listens").unwrap();
        Self { process, url }
    }
}

impl Drop for InternalService {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A user with a session as every user has it, and one that may read reports.
struct Caller {
    id: String,
    plain: String,
    reader: Tokens,
}

impl Caller {
    async fn new(stack: &Stack) -> Self {
        let tokens = journey::logged_in(stack, "ada@example.com").await;
        let plain = text(&tokens, "accessToken").to_owned();
        let me: Value = journey::me(stack, &plain).await.json().await.unwrap();
        let id = text(&me, "id").to_owned();
        let request = CreateSessionRequest {
            subject: Some(Subject {
                user_id: id.clone(),
                roles: vec!["user".to_owned()],
                permissions: vec!["reports.read".to_owned()],
            }),
            amr: vec!["pwd".to_owned()],
            aal: 1,
            ..CreateSessionRequest::default()
        };
        let created = grpc::sessions(stack, As::AuthApi).create_session(request).await.unwrap();
        Self { id, plain, reader: created.into_inner().tokens.unwrap() }
    }

    async fn log_out(&self, stack: &Stack) {
        let body = json!({"refreshToken": self.reader.refresh_token});
        assert_eq!(stack.post("/v1/auth/logout", &body).await.status(), StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_actix_knows_its_callers() {
    let stack = Stack::start(&[]).await;
    let service = InternalService::start("actix_service", &stack);
    let caller = Caller::new(&stack).await;
    let client = reqwest::Client::new();
    let get = async |path: &str, token: Option<&str>| {
        let mut request = client.get(format!("{}{path}", service.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        let challenge = answer.headers().get(header::WWW_AUTHENTICATE);
        let challenge = challenge.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        (answer.status(), challenge, answer.text().await.unwrap())
    };

    for token in [&caller.plain, &caller.reader.access_token] {
        let (status, _, body) = get("/whoami", Some(token)).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, caller.id.as_str()));
    }
    let (status, _, body) = get("/reports", Some(&caller.reader.access_token)).await;
    assert_eq!((status, body), (StatusCode::OK, format!("The reports that user {} may read.", caller.id)));
    for path in ["/whoami", "/reports"] {
        let (status, challenge, _) = get(path, None).await;
        assert_eq!((status, challenge.as_str()), (StatusCode::UNAUTHORIZED, "Bearer"), "{path}");
    }
    let (status, challenge, _) = get("/reports", Some(&caller.plain)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"reports.read\"");

    caller.log_out(&stack).await;
    eventually("the service hears of the logout", SOON, || async {
        let (status, ..) = get("/reports", Some(&caller.reader.access_token)).await;
        (status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    let (status, ..) = get("/whoami", Some(&caller.plain)).await;
    assert_eq!(status, StatusCode::OK, "the other session goes on");
}

/// `example.reports.v1.ListReportsResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ListReportsResponse {
    #[prost(string, repeated, tag = "1")]
    titles: Vec<String>,
}

async fn list_reports(channel: &Channel, token: Option<&str>) -> Result<Vec<String>, Code> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let mut request = Request::new(());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let path = "/example.reports.v1.Reports/ListReports".parse().unwrap();
    let codec = ProstCodec::<(), ListReportsResponse>::default();
    let answer = client.unary(request, path, codec).await.map_err(|status| status.code())?;
    Ok(answer.into_inner().titles)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_tonic_knows_its_callers() {
    let stack = Stack::start(&[]).await;
    let service = InternalService::start("tonic_service", &stack);
    let caller = Caller::new(&stack).await;
    let channel = Channel::from_shared(service.url.clone()).unwrap().connect_lazy();

    let reports = list_reports(&channel, Some(&caller.reader.access_token)).await;
    assert_eq!(reports, Ok(vec![format!("The reports that user {} may read.", caller.id)]));
    assert_eq!(list_reports(&channel, None).await, Err(Code::Unauthenticated));
    assert_eq!(list_reports(&channel, Some("v4.public.forged")).await, Err(Code::Unauthenticated));
    assert_eq!(list_reports(&channel, Some(&caller.plain)).await, Err(Code::PermissionDenied));

    caller.log_out(&stack).await;
    eventually("the service hears of the logout", SOON, || async {
        let refused = list_reports(&channel, Some(&caller.reader.access_token)).await;
        (refused == Err(Code::Unauthenticated)).then_some(())
    })
    .await;
}
