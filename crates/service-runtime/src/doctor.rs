use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use pg::Database;
use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use url::Url;

use crate::{CommonConfig, Finding, Service, Transport, database_checks::pending, transport};

const LIMIT: Duration = Duration::from_secs(3);

/// Looks at everything that the service depends on; exits 1 when something is wrong.
pub(crate) async fn run<S: Service>(config: S::Config, common: CommonConfig) -> ExitCode {
    let mut findings = database::<S>(&common).await;
    findings.push(finding(
        "rabbitmq",
        timeout(LIMIT, rabbitmq(&common)).await.unwrap_or_else(|_| bail!("no answer")),
    ));
    findings.push(finding("tls", tls(&common.transport)));
    findings.extend(S::doctor(config, common).await);
    for found in &findings {
        let (verdict, text) = match &found.outcome {
            Ok(text) => ("ok  ", text),
            Err(text) => ("FAIL", text),
        };
        println!("{verdict}  {}: {}", found.name, telemetry::redact(text));
    }
    if findings.iter().all(|found| found.outcome.is_ok()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn database<S: Service>(common: &CommonConfig) -> Vec<Finding> {
    let database = match Database::new(&common.database_settings(S::NAME)) {
        Ok(database) => database,
        Err(error) => return vec![finding("postgres", Err(error))],
    };
    let ping = database.ping().await.map(|()| "answers".to_owned()).map_err(anyhow::Error::from);
    let migrations = match pending(&database, S::migrations).await {
        Ok(pending) if pending.is_empty() => Ok("all are applied".to_owned()),
        Ok(pending) => Err(anyhow::anyhow!("`migrate up` has yet to apply {}", pending.join(", "))),
        Err(error) => Err(error),
    };
    vec![finding("postgres", ping), finding("migrations", migrations)]
}

/// Whether something that speaks AMQP 0-9-1 answers. The credentials are not tried: the service itself reports those.
async fn rabbitmq(common: &CommonConfig) -> anyhow::Result<String> {
    let url = Url::parse(common.amqp_url.expose_secret()).context("AMQP_URL is not a URL")?;
    let host = url.host_str().context("AMQP_URL has no host")?;
    let tls = url.scheme() == "amqps";
    let port = url.port().unwrap_or(if tls { 5671 } else { 5672 });
    let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port))
        .await
        .with_context(|| format!("cannot connect to {host}:{port}"))?;
    if tls {
        return Ok(format!("{host}:{port} accepts connections"));
    }
    stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
    // The broker begins with a method frame (type 1), Connection.Start; another version answers with a header.
    match stream.read_u8().await? {
        1 => Ok(format!("{host}:{port} speaks AMQP 0-9-1")),
        _ => bail!("{host}:{port} does not speak AMQP 0-9-1"),
    }
}

fn tls(transport: &Transport) -> anyhow::Result<String> {
    match transport {
        Transport::Plaintext => Ok("off: gRPC is plaintext".to_owned()),
        Transport::MutualTls(identity) => Ok(format!("this is {}", transport::check(identity)?.name())),
    }
}

fn finding(name: &str, outcome: anyhow::Result<String>) -> Finding {
    Finding { name: name.to_owned(), outcome: outcome.map_err(|error| format!("{error:#}")) }
}
