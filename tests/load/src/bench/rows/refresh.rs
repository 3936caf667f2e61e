use anyhow::Context;
use auth_proto::session::v1::{RefreshRequest, session_service_client::SessionServiceClient};
use serde_json::json;
use tonic::transport::Channel;

use crate::{
    Client, Outcome,
    bench::{
        Bench, Findings,
        ceiling_process::CeilingProcess,
        figures::shown,
        good_rate, median,
        users::{LoggedIn, device, post},
    },
    client::HttpConnection,
    closed_loop,
};

/// Callers, and connections to PostgreSQL: as many as the pool of a service has.
const CALLERS: usize = 16;
const CONNECTIONS: usize = 4;

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Findings> {
    let database = bench.platform.variable("DATABASE_URL")?;
    let (seconds, callers) = (bench.measured.as_secs().to_string(), CALLERS.to_string());
    let mut over_http = Vec::new();
    let ours = async || {
        over_http.push(good_rate(&closed_loop(http_callers(bench).await?, bench.timing()).await)?);
        bench.settle().await?;
        good_rate(&closed_loop(grpc_callers(bench).await?, bench.timing()).await)
    };
    let bare = async || {
        let commits = CeilingProcess::new("commits")?.database(&database);
        commits.option("--seconds", &seconds).option("--connections", &callers).rate().await
    };
    let pairs = bench.interleaved(ours, bare).await?;
    let over_http = shown(median(over_http).unwrap_or_default());
    Ok(Findings { pairs, notes: vec![format!("Over HTTP, through auth-api: {over_http} refreshes/s.")] })
}

/// A session whose refresh token is exchanged again and again, over gRPC.
struct GrpcCaller {
    sessions: SessionServiceClient<Channel>,
    refresh_token: String,
}

async fn grpc_callers(bench: &Bench) -> anyhow::Result<Vec<GrpcCaller>> {
    let channel = || bench.platform.session_channel("auth-api");
    let channels = std::iter::repeat_with(channel).take(CONNECTIONS).collect::<anyhow::Result<Vec<_>>>()?;
    let tokens = bench.sessions(CALLERS).await?;
    let callers = tokens.into_iter().zip(channels.into_iter().cycle()).map(|(tokens, channel)| GrpcCaller {
        sessions: SessionServiceClient::new(channel),
        refresh_token: tokens.refresh_token,
    });
    Ok(callers.collect())
}

impl Client for GrpcCaller {
    async fn request(&mut self) -> Outcome {
        let request = RefreshRequest {
            refresh_token: self.refresh_token.clone(),
            device: Some(device()),
            request_id: String::new(),
        };
        let result = self.sessions.refresh(request).await;
        let outcome = Outcome::of_call(&result);
        if let Some(tokens) = result.ok().and_then(|answer| answer.into_inner().tokens) {
            self.refresh_token = tokens.refresh_token;
        }
        outcome
    }
}

/// The same over HTTP.
struct HttpCaller {
    connection: HttpConnection,
    refresh_token: String,
}

async fn http_callers(bench: &Bench) -> anyhow::Result<Vec<HttpCaller>> {
    let target = bench.platform.api()?;
    let users = bench.logged_in(u32::try_from(CALLERS)?).await?;
    let caller = |user: LoggedIn| HttpCaller {
        connection: HttpConnection::new(target.clone()),
        refresh_token: user.refresh_token,
    };
    Ok(users.into_iter().map(caller).collect())
}

impl HttpCaller {
    async fn refresh(&mut self) -> anyhow::Result<u16> {
        let request = post("/v1/auth/refresh", &json!({"refreshToken": self.refresh_token}));
        let answer = self.connection.exchange(request).await?;
        if answer.status().is_success() {
            self.refresh_token =
                LoggedIn::read(answer.body()).context("a refresh has no tokens")?.refresh_token;
        }
        Ok(answer.status().as_u16())
    }
}

impl Client for HttpCaller {
    async fn request(&mut self) -> Outcome {
        self.refresh().await.map_or(Outcome::Silence, Outcome::Http)
    }
}
