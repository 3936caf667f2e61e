use std::sync::Arc;

use anyhow::ensure;
use auth_proto::session::v1::ValidateRequest;
use prost::Message;
use tonic::transport::Channel;

use crate::{
    bench::{Bench, Findings, ceiling_process::CeilingProcess, good_rate},
    client::{EchoClient, ValidateClient, channel},
    closed_loop,
};

const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 8;
const SESSIONS: usize = 64;

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Findings> {
    let (request_bytes, answer_bytes) = message_sizes(bench).await?;
    let ceiling = CeilingProcess::new("echo")?
        .option("--answer-bytes", answer_bytes.to_string())
        .identity(&bench.platform.identity("session-service")?)
        .listening()
        .await?;
    let identity = bench.platform.identity("internal")?;
    let (mut own_share, mut count) = (0.0, 0.0);
    let ours = async || {
        let requests = requests(bench).await?;
        let mut clients = Vec::new();
        for (number, channel) in each(|| bench.platform.session_channel("internal"))?.into_iter().enumerate()
        {
            clients.push(ValidateClient::new(channel, &requests, number)?);
        }
        let load = closed_loop(clients, bench.timing()).await;
        own_share += load.own_share();
        count += 1.0;
        good_rate(&load)
    };
    let bare = async || {
        let channels = each(|| channel(&ceiling.address, &identity))?;
        let clients = channels.into_iter().map(|channel| EchoClient::new(channel, request_bytes)).collect();
        good_rate(&closed_loop(clients, bench.timing()).await)
    };
    let pairs = bench.interleaved(ours, bare).await?;
    let notes = vec![
        format!("Requests are {request_bytes} bytes long, answers {answer_bytes}."),
        format!("The load generator took {:.0} % of a core.", own_share / count * 100.0),
    ];
    Ok(Findings { pairs, notes })
}

/// A channel for each call in flight, over a few connections.
fn each(connect: impl Fn() -> anyhow::Result<Channel>) -> anyhow::Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        let channel = connect()?;
        channels.extend(std::iter::repeat_n(channel, IN_FLIGHT));
    }
    Ok(channels)
}

async fn requests(bench: &Bench) -> anyhow::Result<Arc<[ValidateRequest]>> {
    let tokens = bench.sessions(SESSIONS).await?.into_iter();
    Ok(tokens
        .map(|it| ValidateRequest { access_token: it.access_token, ..ValidateRequest::default() })
        .collect())
}

async fn message_sizes(bench: &Bench) -> anyhow::Result<(usize, usize)> {
    let requests = requests(bench).await?;
    let mut client = ValidateClient::new(bench.platform.session_channel("internal")?, &requests, 0)?;
    let answer = client.ask().await?;
    ensure!(answer.active, "a new token is not good");
    Ok((requests.first().map_or(0, Message::encoded_len), answer.encoded_len()))
}
