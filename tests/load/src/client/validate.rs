use std::sync::Arc;

use anyhow::ensure;
use auth_proto::session::v1::{
    ValidateRequest, ValidateResponse, session_service_client::SessionServiceClient,
};
use tonic::transport::Channel;

use crate::{Client, Outcome};

/// Asks session-service whether access tokens are good, one token after the other.
pub struct ValidateClient {
    sessions: SessionServiceClient<Channel>,
    requests: Arc<[ValidateRequest]>,
    next: usize,
}

impl ValidateClient {
    /// A client on `channel` that begins with the token number `first`.
    pub fn new(channel: Channel, requests: &Arc<[ValidateRequest]>, first: usize) -> anyhow::Result<Self> {
        ensure!(!requests.is_empty(), "there is no token to validate");
        let (sessions, requests) = (SessionServiceClient::new(channel), Arc::clone(requests));
        Ok(Self { sessions, next: first % requests.len(), requests })
    }

    /// One answer.
    pub async fn ask(&mut self) -> Result<ValidateResponse, tonic::Status> {
        let request = self.requests.get(self.next).cloned().unwrap_or_default();
        self.next = (self.next + 1) % self.requests.len();
        self.sessions.validate(request).await.map(tonic::Response::into_inner)
    }
}

impl Client for ValidateClient {
    /// An answer that a token is not good counts as "permission denied": good ones are measured here.
    async fn request(&mut self) -> Outcome {
        match self.ask().await {
            Ok(answer) if !answer.active => Outcome::Grpc(tonic::Code::PermissionDenied.into()),
            result => Outcome::of_call(&result),
        }
    }
}
