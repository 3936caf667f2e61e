//! A small internal service in actix-web: anybody who is logged in may ask who they are, and some may read reports.

mod settings;

use actix_web::{App, HttpServer, web};
use clap::Parser;
use session_verifier::{
    Verifier,
    actix::{Authenticated, RequirePermission},
};
use settings::Settings;

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let settings = Settings::parse();
    let verifier = Verifier::connect(settings.verifier()?).await?;
    let server = HttpServer::new(move || {
        App::new().app_data(web::Data::new(verifier.clone())).route("/whoami", web::get().to(whoami)).service(
            web::resource("/reports")
                .wrap(RequirePermission::new("reports.read"))
                .route(web::get().to(reports)),
        )
    });
    let server = server.workers(2).bind(&settings.listen)?;
    for address in server.addrs() {
        println!("http://{address}");
    }
    Ok(server.run().await?)
}

async fn whoami(Authenticated(session): Authenticated) -> String {
    session.user_id().to_string()
}

async fn reports(Authenticated(session): Authenticated) -> String {
    format!("The reports that user {} may read.", session.user_id())
}
