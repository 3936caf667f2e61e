use http::{Request, header::AUTHORIZATION};
use http_body_util::Full;
use hyper::body::Bytes;

use crate::{
    bench::{Bench, Findings, ceiling_process::CeilingProcess, good_rate},
    ceiling::select::ACCOUNT,
    client::{HttpClient, HttpTarget},
    closed_loop,
};

const CONNECTIONS: u32 = 16;

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Findings> {
    let database = bench.platform.variable("DATABASE_URL")?;
    let ceiling = CeilingProcess::new("select")?.database(&database).listening().await?;
    let bare = HttpTarget::parse(&format!("http://{}", ceiling.address), None)?;
    let path = format!("/accounts/{ACCOUNT}");
    let mut own_share = Vec::new();
    let ours = async || {
        let clients = clients(bench, &bench.platform.api()?, "/v1/auth/me").await?;
        let load = closed_loop(clients, bench.timing()).await;
        own_share.push(load.own_share());
        good_rate(&load)
    };
    // The same headers, of the same length.
    let bare = async || good_rate(&closed_loop(clients(bench, &bare, &path).await?, bench.timing()).await);
    let pairs = bench.interleaved(ours, bare).await?;
    let own_share = crate::bench::median(own_share).unwrap_or_default() * 100.0;
    Ok(Findings { pairs, notes: vec![format!("The load generator took {own_share:.0} % of a core.")] })
}

/// Clients that ask for `path` over 16 connections, each with a session of its own.
pub(super) async fn clients(
    bench: &Bench,
    target: &HttpTarget,
    path: &str,
) -> anyhow::Result<Vec<HttpClient<impl Fn() -> Request<Full<Bytes>> + Send + use<>>>> {
    let mut clients = Vec::new();
    for user in bench.logged_in(CONNECTIONS).await? {
        let request = authorised(path, &user.access_token)?;
        clients.push(HttpClient::new(target.clone(), move || request.clone()));
    }
    Ok(clients)
}

fn authorised(path: &str, access_token: &str) -> anyhow::Result<Request<Full<Bytes>>> {
    Ok(Request::get(path).header(AUTHORIZATION, format!("Bearer {access_token}")).body(Full::default())?)
}
