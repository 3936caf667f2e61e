//! What tonic-prost-build would make of this, written by hand so that the example needs no build script:
//!
//! ```proto
//! package example.reports.v1;
//! service Reports { rpc ListReports(ListReportsRequest) returns (ListReportsResponse); }
//! message ListReportsRequest {}
//! message ListReportsResponse { repeated string titles = 1; }
//! ```

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;
use tower::Service;

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ListReportsRequest {}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ListReportsResponse {
    #[prost(string, repeated, tag = "1")]
    pub titles: Vec<String>,
}

pub trait Reports: Send + Sync + 'static {
    fn list_reports(
        &self,
        request: Request<ListReportsRequest>,
    ) -> impl Future<Output = Result<Response<ListReportsResponse>, Status>> + Send;
}

pub struct ReportsServer<T>(Arc<T>);

impl<T> ReportsServer<T> {
    pub fn new(reports: T) -> Self {
        Self(Arc::new(reports))
    }
}

impl<T> Clone for ReportsServer<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> NamedService for ReportsServer<T> {
    const NAME: &'static str = "example.reports.v1.Reports";
}

impl<T: Reports> UnaryService<ListReportsRequest> for ReportsServer<T> {
    type Response = ListReportsResponse;
    type Future = BoxFuture<'static, Result<Response<ListReportsResponse>, Status>>;

    fn call(&mut self, request: Request<ListReportsRequest>) -> Self::Future {
        let reports = Arc::clone(&self.0);
        Box::pin(async move { reports.list_reports(request).await })
    }
}

impl<T: Reports> Service<http::Request<Body>> for ReportsServer<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move {
            if request.uri().path() != "/example.reports.v1.Reports/ListReports" {
                return Ok(Status::unimplemented("there is no such method").into_http());
            }
            Ok(Grpc::new(ProstCodec::default()).unary(method, request).await)
        })
    }
}
