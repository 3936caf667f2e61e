use tonic::{Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use crate::{
    Client, Outcome,
    ceiling::echo::{PATH, Payload},
};

/// Calls the bare echo.
pub struct EchoClient {
    grpc: Grpc<Channel>,
    payload: Payload,
}

impl EchoClient {
    /// A client on `channel` whose requests are `bytes` long.
    #[must_use]
    pub fn new(channel: Channel, bytes: usize) -> Self {
        Self { grpc: Grpc::new(channel), payload: Payload::of_length(bytes) }
    }

    async fn ask(&mut self) -> Result<Payload, Status> {
        self.grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = http::uri::PathAndQuery::from_static(PATH);
        let codec = ProstCodec::<Payload, Payload>::default();
        let answer = self.grpc.unary(tonic::Request::new(self.payload.clone()), path, codec).await?;
        Ok(answer.into_inner())
    }
}

impl Client for EchoClient {
    async fn request(&mut self) -> Outcome {
        Outcome::of_call(&self.ask().await)
    }
}
