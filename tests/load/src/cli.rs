//! The command line.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use auth_proto::session::v1::ValidateRequest;
use clap::{Args, Parser, Subcommand};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::runtime::{Builder, Runtime};

use crate::{
    Client, Report, Timing,
    bench::{self, BenchSettings},
    ceiling::{Announcement, argon2, commits, echo, select},
    client::{EchoClient, HttpClient, HttpTarget, Identity, ValidateClient, channel},
    closed_loop, open_loop,
};

/// Makes load and measures what becomes of it.
#[derive(Parser)]
#[command(name = "load", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends one HTTP request again and again
    Http(HttpSettings),
    /// Asks session-service whether access tokens are good
    Validate(ValidateSettings),
    /// Calls `load ceiling echo`
    Echo(EchoSettings),
    /// What the machine can do at most, without the platform; runs until its standard input ends, or for some seconds
    #[command(subcommand)]
    Ceiling(Ceiling),
    /// Starts the platform and measures it against its budgets
    Bench(BenchSettings),
}

/// How much load, and for how long.
#[derive(Args, Clone)]
struct LoadSettings {
    /// Connections
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// An open loop of so many requests a second; otherwise each next request follows the last answer
    #[arg(long)]
    rate: Option<f64>,
    /// How long to count
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// How long not to count before that
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct HttpSettings {
    /// Where to, `http://…` or `https://…`
    url: String,
    /// The method
    #[arg(long, default_value_t = Method::GET)]
    method: Method,
    /// A header, as `name: value`; may be given several times
    #[arg(long = "header")]
    headers: Vec<String>,
    /// A file that holds more headers, one on a line, for what others must not read among the arguments
    #[arg(long)]
    header_file: Option<PathBuf>,
    /// A file that holds the body
    #[arg(long)]
    body_file: Option<PathBuf>,
    /// A file of authorities to trust beside the system's, in PEM form
    #[arg(long)]
    trust: Option<PathBuf>,
    #[command(flatten)]
    load: LoadSettings,
}

#[derive(Args)]
struct ValidateSettings {
    /// session-service, as `host:port`
    address: String,
    /// A file of access tokens, one on a line
    #[arg(long)]
    tokens: PathBuf,
    /// Calls in flight on each connection
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    in_flight: u16,
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    load: LoadSettings,
}

#[derive(Args)]
struct EchoSettings {
    /// The echo, as `host:port`
    address: String,
    /// The length of requests
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    /// Calls in flight on each connection
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    in_flight: u16,
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    load: LoadSettings,
}

#[derive(Subcommand)]
enum Ceiling {
    /// A tonic server that answers any message with another one
    Echo {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// The length of answers
        #[arg(long, default_value_t = 300)]
        answer_bytes: usize,
        #[command(flatten)]
        identity: Identity,
    },
    /// An actix server with one prepared select by primary key, on a table that it makes
    Select {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        #[command(flatten)]
        database: DatabaseSettings,
    },
    /// Argon2id on all cores
    Argon2 {
        /// For how long
        #[arg(long, default_value_t = 8.0)]
        seconds: f64,
    },
    /// Updates of single rows, each committed, in a table that it makes
    Commits {
        /// For how long
        #[arg(long, default_value_t = 8.0)]
        seconds: f64,
        /// Connections
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        connections: u16,
        #[command(flatten)]
        database: DatabaseSettings,
    },
}

#[derive(Args)]
struct DatabaseSettings {
    /// A PostgreSQL to make a schema `load` in
    #[arg(long = "database-url", env = "LOAD_DATABASE_URL", hide_env_values = true)]
    url: String,
}

/// The whole program.
pub fn main() -> anyhow::Result<()> {
    // There is none before us, so this cannot fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Arguments::parse().command {
        Command::Http(settings) => generator()?.block_on(http(settings)),
        Command::Validate(settings) => generator()?.block_on(validate(settings)),
        Command::Echo(settings) => generator()?.block_on(call_echo(settings)),
        Command::Bench(settings) => generator()?.block_on(until_interrupted(bench::run(settings))),
        Command::Ceiling(ceiling) => run_ceiling(ceiling),
    }
}

/// One thread: it wakes nobody, and leaves the other cores to what is measured.
fn generator() -> anyhow::Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// As the services run.
fn server() -> anyhow::Result<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}

/// Ends early by going away in good order: what was started is stopped.
async fn until_interrupted(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("told to stop"),
    }
}

fn run_ceiling(ceiling: Ceiling) -> anyhow::Result<()> {
    match ceiling {
        Ceiling::Echo { listen, answer_bytes, identity } => {
            server()?.block_on(echo::serve(listen, answer_bytes, &identity))
        }
        Ceiling::Select { listen, database } => {
            server()?.block_on(select::serve(listen, database.url.into()))
        }
        Ceiling::Argon2 { seconds } => Announcement::PerSecond(argon2::rate(duration(seconds)?)?).print(),
        Ceiling::Commits { seconds, connections, database } => {
            let rate = commits::rate(&database.url, connections.into(), duration(seconds)?);
            Announcement::PerSecond(generator()?.block_on(rate)?).print()
        }
    }
}

async fn http(settings: HttpSettings) -> anyhow::Result<()> {
    let read = |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let trusted = settings.trust.as_ref().map(read).transpose()?;
    let target = HttpTarget::parse(&settings.url, trusted.as_deref())?;
    let body = settings.body_file.as_ref().map(read).transpose()?.unwrap_or_default();
    let mut headers = settings.headers;
    if let Some(file) = &settings.header_file {
        headers.extend(String::from_utf8(read(file)?)?.lines().map(ToOwned::to_owned));
    }
    let request = request(&target, settings.method, &headers, body)?;
    let client = || {
        let request = request.clone();
        HttpClient::new(target.clone(), move || request.clone())
    };
    let clients = std::iter::repeat_with(client).take(settings.load.connections.into()).collect();
    settings.load.make(clients).await
}

fn request(
    target: &HttpTarget,
    method: Method,
    headers: &[String],
    body: Vec<u8>,
) -> anyhow::Result<Request<Full<Bytes>>> {
    let mut request = Request::builder().method(method).uri(target.path()).body(Full::from(body))?;
    for header in headers {
        let (name, value) = header.split_once(':').context("a header is not `name: value`")?;
        let (name, value) = (HeaderName::try_from(name.trim())?, HeaderValue::try_from(value.trim())?);
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

async fn validate(settings: ValidateSettings) -> anyhow::Result<()> {
    let tokens = fs::read_to_string(&settings.tokens)?;
    let requests: Arc<[_]> = tokens
        .lines()
        .filter(|token| !token.is_empty())
        .map(|token| ValidateRequest { access_token: token.to_owned(), ..ValidateRequest::default() })
        .collect();
    let mut clients = Vec::new();
    for _ in 0..settings.load.connections {
        let channel = channel(&settings.address, &settings.identity)?;
        for _ in 0..settings.in_flight {
            clients.push(ValidateClient::new(channel.clone(), &requests, clients.len())?);
        }
    }
    settings.load.make(clients).await
}

async fn call_echo(settings: EchoSettings) -> anyhow::Result<()> {
    let mut clients = Vec::new();
    for _ in 0..settings.load.connections {
        let channel = channel(&settings.address, &settings.identity)?;
        let calls = std::iter::repeat_with(|| EchoClient::new(channel.clone(), settings.bytes));
        clients.extend(calls.take(settings.in_flight.into()));
    }
    settings.load.make(clients).await
}

impl LoadSettings {
    async fn make<C: Client>(self, clients: Vec<C>) -> anyhow::Result<()> {
        let timing = Timing { warm_up: duration(self.warm_up)?, measured: duration(self.seconds)? };
        let load = match self.rate {
            Some(rate) => open_loop(clients, rate, timing).await?,
            None => closed_loop(clients, timing).await,
        };
        ensure!(load.count() > 0, "no request was answered in time");
        let report = Report::from(&load);
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print!("{report}");
        }
        Ok(())
    }
}

fn duration(seconds: f64) -> anyhow::Result<Duration> {
    let duration = Duration::try_from_secs_f64(seconds).context("that is no duration")?;
    ensure!(duration <= Duration::from_hours(24), "more than a day");
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn rows_are_named_as_in_the_results() {
        let parsed = Arguments::try_parse_from(["load", "bench", "--only", "mail_start_p95,me"]);
        assert!(matches!(parsed.unwrap().command, Command::Bench(_)));
        assert!(Arguments::try_parse_from(["load", "bench", "--only", "nothing"]).is_err());
        assert!(Arguments::try_parse_from(["load", "bench", "--runs", "0"]).is_err());
    }

    #[test]
    fn headers_are_read() {
        let target = HttpTarget::parse("http://127.0.0.1:1/a?b", None).unwrap();
        let headers = ["Accept: */*".to_owned(), "x-a:b:c".to_owned()];
        let request = request(&target, Method::POST, &headers, b"body".to_vec()).unwrap();
        assert_eq!((request.uri().path(), request.headers()["x-a"].to_str().unwrap()), ("/a", "b:c"));
        assert!(super::request(&target, Method::GET, &["nothing".to_owned()], vec![]).is_err());
    }
}
