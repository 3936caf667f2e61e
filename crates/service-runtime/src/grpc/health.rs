use std::time::Duration;

use futures::{StreamExt, stream, stream::BoxStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server,
};

use crate::{Readiness, ReadinessStatus};

const WATCH_EVERY: Duration = Duration::from_secs(1);

/// `grpc.health.v1` out of the readiness, which is one for all of the process's services.
#[derive(Clone)]
pub(super) struct Health {
    pub readiness: Readiness,
    pub services: Vec<&'static str>,
    pub stopping: CancellationToken,
}

impl Health {
    async fn status(&self) -> ServingStatus {
        match self.readiness.report().await.status {
            ReadinessStatus::Ready => ServingStatus::Serving,
            ReadinessStatus::Unready | ReadinessStatus::Stopping => ServingStatus::NotServing,
        }
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(&service)
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::not_found("There is no such service."));
        }
        Ok(Response::new(answer(self.status().await)))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.knows(&request.get_ref().service);
        let health = self.clone();
        let stopping = self.stopping.clone();
        let changes = stream::unfold((health, None), move |(health, last)| async move {
            loop {
                let status = if known { health.status().await } else { ServingStatus::ServiceUnknown };
                if last != Some(status) {
                    return Some((Ok(answer(status)), (health, Some(status))));
                }
                sleep(WATCH_EVERY).await;
            }
        });
        // A stream without an end would hold up the drain.
        Ok(Response::new(changes.take_until(async move { stopping.cancelled().await }).boxed()))
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
