//! One running stack.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use reqwest::{RequestBuilder, Response};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use test_support::eventually;
use url::Url;

const START_PATIENCE: Duration = Duration::from_mins(2);
/// How long a mail or an audit row may take, on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A stack, stopped when dropped.
pub struct Stack {
    process: Child,
    directory: TempDir,
    http: reqwest::Client,
    api_url: String,
    mailbox_url: String,
}

/// A mail, as the mail catcher shows it.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    pub subject: String,
    pub text: String,
    pub html: String,
    pub links: Vec<String>,
    pub message_id: String,
}

impl Stack {
    /// Starts a stack with `variables` for all of its services and waits until it is ready.
    pub async fn start(variables: &[(&str, String)]) -> Self {
        Self::run(&["run"], variables).await
    }

    /// Like [`Stack::start`], with two auth-apis and two session-services.
    pub async fn start_replicas(variables: &[(&str, String)]) -> Self {
        Self::run(&["run", "--replicas", "2"], variables).await
    }

    async fn run(arguments: &[&str], variables: &[(&str, String)]) -> Self {
        test_support::install_crypto_provider();
        let directory = scratch_directory();
        fs::write(directory.path().join("Cargo.toml"), "[workspace]\n").unwrap();
        let output = fs::File::create(directory.path().join("output")).unwrap();
        let process = Command::new(program("dev-stack"))
            .args(arguments)
            .current_dir(directory.path())
            // The stack's own servers, not those of the tests.
            .env_remove("DATABASE_URL")
            .env_remove("REDIS_URL")
            .env_remove("AMQP_URL")
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .expect("dev-stack must be built: use `make test`");
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let (api_url, mailbox_url) = (String::new(), String::new());
        let mut stack = Self { process, directory, http, api_url, mailbox_url };
        stack.wait_until_ready().await;
        stack.api_url = stack.variable("API_URL");
        stack.mailbox_url = stack.variable("MAILBOX_URL");
        stack
    }

    async fn wait_until_ready(&mut self) {
        let file = self.state().join("stack.env");
        let deadline = std::time::Instant::now() + START_PATIENCE;
        while !file.exists() {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none() && std::time::Instant::now() < deadline, "no stack: {}", self.output());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the stack printed.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read_to_string(self.directory.path().join("output")).unwrap_or_default()
    }

    /// Where the stack keeps its files.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.directory.path().join(".dev")
    }

    /// The log of a service.
    #[must_use]
    pub fn log(&self, service: &str) -> String {
        fs::read_to_string(self.state().join("log").join(format!("{service}.log"))).unwrap()
    }

    /// Everything in `stack.env`, as it is now.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.state().join("stack.env")).unwrap();
        let pairs = text.lines().filter_map(|line| line.trim_start_matches("export ").split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.trim_matches(['\'', '"']).to_owned())).collect()
    }

    /// One variable of `stack.env`.
    #[must_use]
    pub fn variable(&self, name: &str) -> String {
        self.variables().remove(name).unwrap_or_else(|| panic!("stack.env has no {name}"))
    }

    /// The process that keeps the services running, and is the mail catcher and the captcha provider.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).unwrap()
    }

    /// The broker's process, where the stack has one of its own that runs.
    #[must_use]
    pub fn broker_pid(&self) -> Option<i32> {
        fs::read_to_string(self.state().join("rabbitmq/pid")).ok()?.trim().parse().ok()
    }

    /// What the broker's own tool says, where the stack has a broker of its own. Like whoever keeps one, it finds the node by the
    /// environment in which that was started.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> String {
        const TOOL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
        let environment = format!("/proc/{}/environ", self.broker_pid().unwrap());
        let environment = fs::read_to_string(environment).unwrap();
        let variables = environment.split_terminator('\0').filter_map(|pair| pair.split_once('='));
        let mut tool = tokio::process::Command::new(TOOL);
        let output = tool.arg("--quiet").args(arguments).env_clear().envs(variables).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Replaces an address that services read when they start, such as `audit_app-database-url`.
    pub fn rewire(&self, secret: &str, address: &str) {
        fs::write(self.state().join("secrets").join(secret), address).unwrap();
    }

    /// Sends a signal to the process whose pid is `variable`'s value.
    pub fn signal(&self, variable: &str, signal: Signal) {
        signal_process(self.variable(variable).parse().unwrap(), signal);
    }

    /// Ends the process whose pid is `variable`'s value with a signal, and waits until its successor is ready, as the management listener
    /// that `management` names says.
    pub async fn replace(&self, variable: &str, management: &str, signal: Signal) {
        let before = self.variable(variable);
        self.signal(variable, signal);
        eventually("there is a ready successor", PATIENCE, || async {
            let is_new = self.variables().get(variable).is_some_and(|pid| *pid != before);
            (is_new && self.is_ready(management).await).then_some(())
        })
        .await;
    }

    /// Whether the management listener that a variable names says that its service is ready.
    pub async fn is_ready(&self, management: &str) -> bool {
        let answer = self.http.get(format!("{}/readyz", self.variable(management))).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// A request to the public interface.
    pub fn api(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.api_url))
    }

    /// Posts JSON to the public interface.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.try_post(path, body).await.unwrap()
    }

    /// Like [`Stack::post`], where the service may be away.
    pub async fn try_post(&self, path: &str, body: &Value) -> reqwest::Result<Response> {
        self.api(reqwest::Method::POST, path).json(body).send().await
    }

    /// A page of a management listener or of the mail catcher.
    pub async fn get(&self, url: &str) -> Response {
        self.http.get(url).send().await.unwrap()
    }

    /// The mails to `address`, newest first.
    pub async fn mails(&self, address: &str) -> Vec<Mail> {
        let url = format!("{}/api/messages", self.mailbox_url);
        let url = Url::parse_with_params(&url, &[("to", address)]).unwrap();
        self.get(url.as_str()).await.json().await.unwrap()
    }

    /// The newest mail to `address`, as soon as there is one.
    pub async fn mail(&self, address: &str) -> Mail {
        eventually("a mail arrives", PATIENCE, || async { self.mails(address).await.into_iter().next() })
            .await
    }

    /// Runs a query as superuser; the first column of each row, as text.
    pub async fn sql(&self, query: &str) -> Vec<String> {
        let (client, connection) =
            tokio_postgres::connect(&self.variable("DATABASE_URL"), tokio_postgres::NoTls).await.unwrap();
        let run = async move {
            let messages = client.simple_query(query).await.unwrap();
            let rows = messages.into_iter().filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => {
                    Some(row.get(0).unwrap_or_default().to_owned())
                }
                _ => None,
            });
            rows.collect()
        };
        let (rows, _) = tokio::join!(run, connection);
        rows
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.process.id()) {
            signal_process(pid, Signal::TERM);
        }
        // Until it has ended its servers may write below the directory that is about to go.
        self.process.wait().ok();
        if std::thread::panicking() {
            eprintln!("{}", self.output());
        }
    }
}

/// A process that does not move until this is dropped.
pub struct Stopped(i32);

impl Stopped {
    #[must_use]
    pub fn new(pid: i32) -> Self {
        signal_process(pid, Signal::STOP);
        Self(pid)
    }

    /// The service whose pid is a variable's value.
    #[must_use]
    pub fn service(stack: &Stack, variable: &str) -> Self {
        Self::new(stack.variable(variable).parse().unwrap())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal_process(self.0, Signal::CONT);
    }
}

/// Sends a signal to one process.
pub fn signal_process(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).ok();
}

/// A program of this build.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    build_directory().join(name)
}

/// `target/debug`: a test program is in its `deps`.
fn build_directory() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(2).map(Path::to_owned).unwrap()
}

/// Below `target/`, and open to the user that PostgreSQL runs as.
fn scratch_directory() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let parent = build_directory();
    let mut builder = tempfile::Builder::new();
    builder.prefix("e2e-").permissions(fs::Permissions::from_mode(0o755)).tempdir_in(parent).unwrap()
}
