use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::bail;
use rustix::process::Signal;
use tokio::process::Command;

use super::{stack_env::StackEnv, wiring::Wiring};
use crate::{
    daemon::Daemon,
    guard::{Account, DeathSignal, guarded, run_to_end},
};

/// One of the four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServiceName {
    AuthApi,
    SessionService,
    Mailer,
    AuditService,
}

impl ServiceName {
    pub(super) const ALL: [Self; 4] = [Self::AuthApi, Self::SessionService, Self::Mailer, Self::AuditService];

    /// Its program and its certificate.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AuthApi => "auth-api",
            Self::SessionService => "session-service",
            Self::Mailer => "mailer",
            Self::AuditService => "audit-service",
        }
    }

    /// Its schema, and the beginning of its roles' names.
    pub(super) fn schema(self) -> &'static str {
        match self {
            Self::AuthApi => "auth",
            Self::SessionService => "session",
            Self::Mailer => "mailer",
            Self::AuditService => "audit",
        }
    }
}

/// One process of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replica {
    First(ServiceName),
    SecondAuthApi,
    SecondSessionService,
}

impl Replica {
    /// Those that serve beside the first ones.
    pub(super) const SECOND: [Self; 2] = [Self::SecondSessionService, Self::SecondAuthApi];

    pub(super) fn service(self) -> ServiceName {
        match self {
            Self::First(service) => service,
            Self::SecondAuthApi => ServiceName::AuthApi,
            Self::SecondSessionService => ServiceName::SessionService,
        }
    }

    /// What people call it, and its log.
    fn name(self) -> &'static str {
        match self {
            Self::First(service) => service.name(),
            Self::SecondAuthApi => "auth-api-2",
            Self::SecondSessionService => "session-service-2",
        }
    }

    /// Its pid's variable in `stack.env`.
    fn pid_variable(self) -> &'static str {
        match self {
            Self::First(ServiceName::AuthApi) => "AUTH_API_PID",
            Self::First(ServiceName::SessionService) => "SESSION_SERVICE_PID",
            Self::First(ServiceName::Mailer) => "MAILER_PID",
            Self::First(ServiceName::AuditService) => "AUDIT_SERVICE_PID",
            Self::SecondAuthApi => "AUTH_API_PID_2",
            Self::SecondSessionService => "SESSION_SERVICE_PID_2",
        }
    }
}

/// A service's program with its configuration.
pub(super) struct Service {
    replica: Replica,
    program: PathBuf,
    wiring: Arc<Wiring>,
    stack_env: Arc<StackEnv>,
}

/// A service that is asked whether it is ready.
pub(super) struct ProbedService {
    service: Service,
    client: reqwest::Client,
}

impl Service {
    pub(super) fn new(
        replica: Replica,
        programs: &Path,
        wiring: Arc<Wiring>,
        stack_env: Arc<StackEnv>,
    ) -> Self {
        Self { replica, program: programs.join(replica.service().name()), wiring, stack_env }
    }

    /// Whether requests come in here: stopped first, it finishes them with the others still there.
    pub(super) fn is_edge(&self) -> bool {
        self.replica.service() == ServiceName::AuthApi
    }

    pub(super) fn probed_by(self, client: reqwest::Client) -> ProbedService {
        ProbedService { service: self, client }
    }

    /// Makes roles, database and schema, and brings the schema up to date.
    pub(super) async fn migrate(&self) -> anyhow::Result<()> {
        self.run(&["migrate", "bootstrap"]).await?;
        self.run(&["migrate", "up"]).await
    }

    /// Runs one of the program's commands to its end.
    pub(super) async fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command();
        let output = run_to_end(command.args(arguments)).await?;
        if !output.status.success() {
            bail!(
                "`{} {}` failed: {}\n{}{}",
                self.replica.service().name(),
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = guarded(Account::Ours, &self.program, DeathSignal::Kill);
        self.wiring.environment(self.replica).apply(&mut command);
        command
    }
}

impl Daemon for ProbedService {
    fn name(&self) -> &'static str {
        self.service.replica.name()
    }

    fn command(&self) -> Command {
        self.service.wiring.release_ports(self.service.replica);
        self.service.command()
    }

    fn shows_warnings(&self) -> bool {
        true
    }

    fn started(&self, pid: u32) {
        // It is written when the stack is ready, so an error here is about a full disk, and the next write tells.
        let _ = self.service.stack_env.set(self.service.replica.pid_variable(), pid.to_string());
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let url = format!("{}/readyz", self.service.wiring.management_url(self.service.replica));
        let answer = self.client.get(url).send().await?;
        if answer.status().is_success() {
            return Ok(());
        }
        let (status, why) = (answer.status(), answer.text().await?);
        bail!("/readyz answers {status}: {why}")
    }

    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }

    fn stop_patience(&self) -> Duration {
        Duration::from_secs(8)
    }
}
