//! A small internal service in tonic: some may read reports.

mod reports;
mod settings;

use clap::Parser;
use reports::{ListReportsRequest, ListReportsResponse, Reports, ReportsServer};
use session_verifier::{Session, Verifier, tower::VerifierLayer};
use settings::Settings;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};
use tower::Layer;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let settings = Settings::parse();
    let verifier = Verifier::connect(settings.verifier()?).await?;
    let listener = TcpListener::bind(&settings.listen).await?;
    println!("http://{}", listener.local_addr()?);
    // Around this service only: health checks, if there were any, would stay open.
    let protected = VerifierLayer::new(verifier).require_permission("reports.read");
    let server = Server::builder().add_service(protected.layer(ReportsServer::new(Archive)));
    let interrupted = async {
        // If that cannot be waited for, the service runs until it is killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), interrupted).await?;
    Ok(())
}

struct Archive;

impl Reports for Archive {
    async fn list_reports(
        &self,
        request: Request<ListReportsRequest>,
    ) -> Result<Response<ListReportsResponse>, Status> {
        let session = request.extensions().get::<Session>();
        let session = session.ok_or_else(|| Status::internal("the layer is missing"))?;
        let title = format!("The reports that user {} may read.", session.user_id());
        Ok(Response::new(ListReportsResponse { titles: vec![title] }))
    }
}
