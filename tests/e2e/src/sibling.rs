//! More processes of a service than the stack keeps, with the configuration of the one that it does.

use std::{
    ffi::OsStr,
    fs,
    net::TcpListener,
    os::unix::ffi::OsStrExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use test_support::eventually;

use crate::{
    Stack,
    stack::{program, signal_process},
};

const PATIENCE: Duration = Duration::from_mins(1);

/// A service whose program may be run more than once on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Mailer,
    AuditService,
}

impl Service {
    fn program(self) -> &'static str {
        match self {
            Self::Mailer => "mailer",
            Self::AuditService => "audit-service",
        }
    }

    fn pid_variable(self) -> &'static str {
        match self {
            Self::Mailer => "MAILER_PID",
            Self::AuditService => "AUDIT_SERVICE_PID",
        }
    }
}

/// A process of ours; killed when dropped.
pub struct Sibling {
    process: Child,
}

impl Sibling {
    /// Starts another process of a service, and waits until it is ready.
    pub async fn start(stack: &Stack, service: Service) -> Self {
        let name = service.program();
        let (management, grpc) = (free_address(), free_address());
        let log = stack.state().join("log").join(format!("{name}-{management}.log"));
        let log = fs::File::create(log).unwrap();
        let process = command(stack, service)
            .env("MANAGEMENT_LISTEN", &management)
            .env("GRPC_LISTEN", grpc)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let sibling = Self { process };
        let url = format!("http://{management}/readyz");
        let http = reqwest::Client::new();
        eventually(&format!("a second {name} is ready"), PATIENCE, || async {
            http.get(&url).send().await.ok().filter(|answer| answer.status().is_success())
        })
        .await;
        sibling
    }

    /// Ends it with a signal, and waits until it is gone.
    pub fn end(mut self, signal: Signal) {
        signal_process(i32::try_from(self.process.id()).unwrap(), signal);
        self.process.wait().unwrap();
    }
}

impl Drop for Sibling {
    fn drop(&mut self) {
        // One that ended has nothing to kill.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// What an operator's command prints, which succeeds.
#[must_use]
pub fn says(stack: &Stack, service: Service, arguments: &[&str]) -> String {
    let output = command(stack, service).args(arguments).output().unwrap();
    let [text, errors] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{service:?} {arguments:?}: {text}{errors}");
    text
}

/// The program of a service, with the environment of its process in the stack.
#[must_use]
pub fn command(stack: &Stack, service: Service) -> Command {
    let environment = format!("/proc/{}/environ", stack.variable(service.pid_variable()));
    let environment = fs::read(environment).unwrap();
    let variables = environment.split(|byte| *byte == 0).filter_map(|variable| {
        let at = variable.iter().position(|byte| *byte == b'=')?;
        let (name, value) = variable.split_at(at);
        Some((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value.get(1..)?).to_owned()))
    });
    let mut command = Command::new(program(service.program()));
    command.env_clear().envs(variables);
    command
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
