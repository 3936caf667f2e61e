//! The process from outside: exit codes, output and signals, on the example service.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use serde_json::Value;

/// Enough for everything. Nothing listens on the ports: no test here needs a dependency.
const VALID: [(&str, &str); 9] = [
    ("ENVIRONMENT", "development"),
    ("DATABASE_URL", "postgres://app:s3cr3t@127.0.0.1:1/demo"),
    ("AMQP_URL", "amqp://app:s3cr3t@127.0.0.1:1"),
    ("GRPC_PLAINTEXT", "true"),
    ("MANAGEMENT_LISTEN", "127.0.0.1:0"),
    ("LOG_FORMAT", "json"),
    ("GREETING_RATE", "7"),
    ("GREETING_KEY", "s3cr3t"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
];

fn demo(variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    // Cargo builds examples next to the directory of this test.
    let mut binary: PathBuf = std::env::current_exe().unwrap();
    binary.pop();
    binary.pop();
    let mut command = Command::new(binary.join("examples").join("demo"));
    command.env_clear().envs(variables.iter().copied()).args(arguments);
    command
}

fn run(variables: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = demo(variables, arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn with(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    VALID.iter().chain(changes).copied().collect()
}

#[test]
fn every_mistake_is_reported_at_once() {
    let (code, _, stderr) = run(
        &[
            ("ENVIRONMENT", "staging"),
            ("DATABASE_URL", "mysql://app:s3cr3t@db/demo"),
            ("AMQP_URL", "s3cr3t"),
            ("DATABASE_MAX_CONNECTIONS", "many"),
            ("MANAGEMENT_LISTEN", "here"),
            ("LOG_FILTER", "auth=loud"),
            ("LOG_FORMAT", "xml"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://collector"),
            ("TRACE_SAMPLE_RATIO", "2"),
            ("SHUTDOWN_DELAY", "5"),
            ("SHUTDOWN_DRAIN", "soon"),
            ("GRPC_PLAINTEXT", "true"),
            ("GREETING_RATE", "-1"),
            ("GREETING_KEY_FILE", "/nonexistent/key"),
        ],
        &["config", "check"],
    );
    assert_eq!(code, 78, "{stderr}");
    for variable in [
        "ENVIRONMENT",
        "DATABASE_URL",
        "AMQP_URL",
        "DATABASE_MAX_CONNECTIONS",
        "MANAGEMENT_LISTEN",
        "LOG_FILTER",
        "LOG_FORMAT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "TRACE_SAMPLE_RATIO",
        "SHUTDOWN_DELAY",
        "SHUTDOWN_DRAIN",
        "GRPC_PLAINTEXT",
        "GREETING_RATE",
        "GREETING_KEY_FILE",
    ] {
        assert!(stderr.contains(&format!("\n  {variable} ")), "{variable} is missing in {stderr}");
    }
    assert!(stderr.contains("has 14 mistakes"), "{stderr}");
    assert!(!stderr.contains("s3cr3t"), "{stderr}");
}

#[test]
fn nothing_at_all_is_refused_by_every_command() {
    for command in ["serve", "doctor", "greet"] {
        let (code, stdout, stderr) = run(&[], &[command]);
        assert_eq!((code, stdout.as_str()), (78, ""), "{stderr}");
        for variable in ["DATABASE_URL", "AMQP_URL", "TLS_CA", "TLS_CERT", "TLS_KEY", "GREETING_KEY"] {
            assert!(stderr.contains(&format!("\n  {variable} is required")), "{stderr}");
        }
    }
}

#[test]
fn production_refuses_what_would_travel_unencrypted() {
    let exposed = with(&[
        ("ENVIRONMENT", "production"),
        ("DATABASE_URL", "postgres://app:s3cr3t@db/demo"),
        ("MIGRATIONS_DATABASE_URL", "postgres://owner:s3cr3t@db/demo?sslmode=prefer"),
        ("AMQP_URL", "amqp://app:s3cr3t@broker"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
    ]);
    let (code, _, stderr) = run(&exposed, &["config", "check"]);
    assert_eq!(code, 78, "{stderr}");
    assert!(stderr.contains("has 5 mistakes"), "{stderr}");
    for variable in [
        "DATABASE_URL",
        "MIGRATIONS_DATABASE_URL",
        "AMQP_URL",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "GRPC_PLAINTEXT",
    ] {
        assert!(stderr.contains(&format!("\n  {variable} ")), "{variable} is missing in {stderr}");
    }
    assert!(!stderr.contains("s3cr3t"), "{stderr}");
    assert_eq!(run(&exposed, &["migrate", "status"]).0, 78);

    for excuse in [("SERVICE_MESH_TLS", "true"), ("ENVIRONMENT", "development")] {
        let excused: Vec<_> = exposed.iter().copied().chain([excuse]).collect();
        let (code, _, stderr) = run(&excused, &["config", "check"]);
        assert_eq!(code, 0, "{stderr}");
    }
}

#[test]
fn most_of_migrate_needs_the_database_only() {
    let database = [("DATABASE_URL", "postgres://app:s3cr3t@127.0.0.1:1/demo")];
    let (code, _, stderr) = run(&database, &["migrate", "bootstrap"]);
    assert_eq!(code, 78);
    assert!(stderr.contains("has 1 mistake:\n  BOOTSTRAP_DATABASE_URL is required"), "{stderr}");
    let (code, _, stderr) = run(&database, &["migrate", "status"]);
    assert_eq!(code, 1, "nothing listens there");
    assert!(stderr.starts_with("demo: ") && !stderr.contains("s3cr3t"), "{stderr}");
    assert_eq!(run(&database, &["migrate", "up"]).0, 78);
}

#[test]
fn help_is_a_reference() {
    let (code, stdout, _) = run(&[("GREETED", "jane")], &["--help"]);
    assert_eq!(code, 0);
    for variable in
        ["DATABASE_URL", "AMQP_URL_FILE", "TLS_KEY", "SHUTDOWN_DRAIN", "LOG_FILTER", "GREETING_KEY"]
    {
        assert!(stdout.contains(&format!("[env: {variable}]")), "{variable} is missing in {stdout}");
    }
    for text in
        ["Service:", "Database:", "Between services:", "[default: 20s]", "migrate", "doctor", "greet", "78"]
    {
        assert!(stdout.contains(text), "{text} is missing in {stdout}");
    }
    assert!(!stdout.contains("jane"), "{stdout}");
}

#[test]
fn the_configuration_is_printed_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    fs::write(&file, "s3cr3t\n").unwrap();
    let file = file.to_str().unwrap().to_owned();
    let mut variables =
        with(&[("GREETING_KEY", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:s3cr3t@collector:4317")]);
    variables.push(("GREETING_KEY_FILE", &file));
    let (code, stdout, stderr) = run(&variables, &["config", "print", "--greeted", "jane"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for line in [
        "DATABASE_URL=[set]",
        "AMQP_URL=[set]",
        "MIGRATIONS_DATABASE_URL=[as DATABASE_URL]  # default",
        "GREETED=jane  # command line",
        "SHUTDOWN_DELAY=0s  # default",
        "SHUTDOWN_DRAIN=20s  # default",
        "GREETING_RATE=7",
        &format!("GREETING_KEY_FILE={file}"),
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://[redacted]@collector:4317",
    ] {
        assert!(stdout.lines().any(|other| other == line), "{line} is missing in {stdout}");
    }
    assert!(!stdout.contains("s3cr3t"), "{stdout}");
}

#[test]
fn own_commands_and_doctor_write_to_stdout() {
    assert_eq!(run(&VALID, &["greet"]), (0, "hello world\n".to_owned(), String::new()));
    assert_eq!(run(&VALID, &["greet", "--unknown"]).0, 2);

    let (code, stdout, _) = run(&VALID, &["doctor"]);
    assert_eq!(code, 1, "nothing listens there");
    for line in
        ["FAIL  postgres:", "FAIL  migrations:", "FAIL  rabbitmq:", "ok    tls:", "ok    rate: 7 an hour"]
    {
        assert!(stdout.contains(line), "{line} is missing in {stdout}");
    }
}

/// A `serve` that runs.
struct Serving {
    child: Child,
    log: std::io::Lines<BufReader<ChildStdout>>,
    /// Lines that were read and not waited for yet.
    passed: Vec<Value>,
}

impl Serving {
    fn start(changes: &[(&'static str, &'static str)]) -> Self {
        let mut child = demo(&with(changes), &[]).stdout(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, log, passed: Vec::new() }
    }

    /// The first line with this message that no other call has had; tasks log side by side, so that lines come in any order.
    fn wait_for(&mut self, message: &str) -> Value {
        if let Some(at) = self.passed.iter().position(|line| line["message"] == message) {
            return self.passed.remove(at);
        }
        loop {
            let line =
                self.log.next().unwrap_or_else(|| panic!("the log ended without {message:?}")).unwrap();
            assert!(!line.contains("s3cr3t"), "{line}");
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"] == message {
                return line;
            }
            self.passed.push(line);
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn exit_code(mut self) -> Option<i32> {
        self.log.by_ref().for_each(drop);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn sigterm_is_announced_before_the_process_stops() {
    rustls::crypto::ring::default_provider().install_default().ok();
    // Long enough that the test asks before it is over; the second signal ends it.
    let mut serving = Serving::start(&[("SHUTDOWN_DELAY", "1h")]);
    let base = format!("http://{}", serving.wait_for("Management is listening")["address"].as_str().unwrap());
    assert_eq!(serving.wait_for("Hello world")["signing_key"], "[redacted]");
    serving.wait_for("Ready");
    let get = async |path: &str| {
        let answer = reqwest::get(format!("{base}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("/livez").await.0, 200);
    let (status, body) = get("/readyz").await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains(r#""name":"postgres","required":false,"ok":false"#), "{body}");
    assert!(get("/metrics").await.1.contains(r#"build_info{service="demo""#));

    serving.signal("-TERM");
    serving.wait_for("Stopping because of SIGTERM");
    let body = loop {
        let (status, body) = get("/readyz").await;
        if status == 503 {
            break body;
        }
    };
    assert!(body.contains(r#""status":"stopping""#), "{body}");
    assert_eq!(get("/livez").await.0, 200);
    serving.signal("-INT");
    assert_eq!(serving.exit_code(), Some(0));
}

#[test]
fn sigterm_lets_work_end() {
    let mut serving = Serving::start(&[]);
    serving.wait_for("Ready");
    serving.signal("-TERM");
    serving.wait_for("The last greeting was sent");
    serving.wait_for("Stopped");
    assert_eq!(serving.exit_code(), Some(0));
}

#[test]
fn a_panic_in_the_background_is_logged_and_ends_the_process() {
    let mut serving = Serving::start(&[("GREETED", "nobody")]);
    let line = serving.wait_for("The task greeter panicked, so the process stops");
    assert_eq!(line["level"], "ERROR");
    assert_eq!(serving.exit_code(), Some(70));
}

#[test]
fn an_address_in_use_is_said_and_ends_the_process() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().unwrap().to_string();
    let mut variables = with(&[]);
    variables.push(("MANAGEMENT_LISTEN", &address));
    let (code, stdout, _) = run(&variables, &["serve"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("(MANAGEMENT_LISTEN)"), "{stdout}");
}
