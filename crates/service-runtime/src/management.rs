use std::net::SocketAddr;

use anyhow::Context;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::Registry;
use tokio::net::TcpListener;

use crate::{Readiness, ReadinessStatus};

/// `/livez`, `/readyz` and `/metrics`. It makes no spans: probes would drown the traces.
pub(crate) struct ManagementListener {
    listener: TcpListener,
    router: Router,
}

#[derive(Clone)]
struct Management {
    readiness: Readiness,
    registry: Registry,
}

impl ManagementListener {
    pub(crate) async fn bind(
        address: SocketAddr,
        readiness: Readiness,
        registry: Registry,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} (MANAGEMENT_LISTEN)"))?;
        let router = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(Management { readiness, registry });
        Ok(Self { listener, router })
    }

    pub(crate) fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    pub(crate) async fn serve(self) {
        // It retries what accepting a connection can fail with, and never returns.
        axum::serve(self.listener, self.router).await.ok();
    }
}

async fn readyz(State(management): State<Management>) -> Response {
    let report = management.readiness.report().await;
    let status = match report.status {
        ReadinessStatus::Ready => StatusCode::OK,
        ReadinessStatus::Unready | ReadinessStatus::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    match serde_json::to_string(&report) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn metrics(State(management): State<Management>) -> Response {
    match telemetry::metrics::encode(&management.registry) {
        Ok(body) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn it_answers_from_before_anything_is_up_until_after_the_stop() {
        let readiness = Readiness::new();
        let registry = telemetry::metrics::registry("demo", "1.0.0").unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = ManagementListener::bind(address, readiness.clone(), registry).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(listener.serve());
        rustls::crypto::ring::default_provider().install_default().ok();
        let get = async |path: &str| {
            let answer = reqwest::get(format!("{base}{path}")).await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };

        assert_eq!(get("/livez").await, (200, "ok\n".to_owned()));
        assert_eq!(get("/readyz").await, (503, r#"{"status":"unready","checks":[]}"#.to_owned()));
        assert!(get("/metrics").await.1.contains("process_resident_memory_bytes"));
        assert_eq!(get("/").await.0, 404);

        readiness.require("always", || Box::pin(async { Ok(()) }));
        assert_eq!(get("/readyz").await.0, 200);
        readiness.stop();
        let (status, body) = get("/readyz").await;
        assert_eq!(status, 503);
        assert!(body.starts_with(r#"{"status":"stopping""#), "{body}");
        assert_eq!(get("/livez").await.0, 200);
    }
}
