//! What a service takes before it does anything: time, memory, space.

use std::{
    collections::BTreeMap,
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use http::{Request, StatusCode};
use http_body_util::Full;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::timeout,
};

use crate::{
    bench::{Bench, Findings, Row, figures::shown, median},
    client::{HttpConnection, HttpTarget},
};

/// The programs, and the variables of the stack with their pids.
const SERVICES: [(&str, &str); 4] = [
    ("auth-api", "AUTH_API_PID"),
    ("session-service", "SESSION_SERVICE_PID"),
    ("mailer", "MAILER_PID"),
    ("audit-service", "AUDIT_SERVICE_PID"),
];

const READY_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(2);
const IDLE_FOR: Duration = Duration::from_secs(2);

/// Figures by service, over the runs.
#[derive(Default)]
struct EachService(BTreeMap<&'static str, Vec<f64>>);

impl EachService {
    fn add(&mut self, service: &'static str, figure: f64) -> f64 {
        self.0.entry(service).or_default().push(figure);
        figure
    }

    fn note(self, unit: &str) -> String {
        let each = self.0.into_iter().map(|(service, figures)| {
            format!("{service} {} {unit}", shown(median(figures).unwrap_or_default()))
        });
        format!("{}.", each.collect::<Vec<_>>().join(", "))
    }
}

pub(super) async fn start(bench: &Bench) -> anyhow::Result<Findings> {
    let mut each = EachService::default();
    let slowest = async || {
        let mut slowest = 0.0_f64;
        for (name, pid) in SERVICES {
            let replica = Replica::start(bench, name, pid).await?;
            slowest = slowest.max(each.add(name, replica.ready_after.as_secs_f64()));
            replica.stop().await?;
        }
        Ok(slowest)
    };
    let pairs = bench.against_budget(Row::Start, slowest).await?;
    Ok(Findings { pairs, notes: vec![each.note("s")] })
}

pub(super) async fn idle_memory(bench: &Bench) -> anyhow::Result<Findings> {
    let mut each = EachService::default();
    let largest = async || {
        let mut largest = 0.0_f64;
        for (name, pid) in SERVICES {
            let replica = Replica::start(bench, name, pid).await?;
            tokio::time::sleep(IDLE_FOR).await;
            largest = largest.max(each.add(name, replica.resident_mib()?));
            replica.stop().await?;
        }
        Ok(largest)
    };
    let pairs = bench.against_budget(Row::RssIdle, largest).await?;
    Ok(Findings { pairs, notes: vec![each.note("MiB")] })
}

#[expect(clippy::cast_precision_loss, reason = "a program has no 2^52 bytes")]
pub(super) fn binary_size(bench: &Bench) -> anyhow::Result<Findings> {
    let mut each = EachService::default();
    let mut largest = 0.0_f64;
    for (name, _) in SERVICES {
        let size = fs::metadata(bench.platform.program(name))?.len() as f64 / 1024.0 / 1024.0;
        largest = largest.max(each.add(name, size));
    }
    let ceiling = Row::BinarySize.absolute_budget().context("the row has no budget of its own")?;
    let pair = crate::bench::Pair { ours: largest, ceiling };
    crate::bench::report(pair);
    Ok(Findings { pairs: vec![pair], notes: vec![each.note("MiB")] })
}

/// One more process of a service, configured as the one that runs but with ports of its own.
struct Replica {
    process: Child,
    ready_after: Duration,
}

impl Replica {
    async fn start(bench: &Bench, name: &str, pid_variable: &str) -> anyhow::Result<Self> {
        let environment = bench.platform.environment_of(pid_variable)?;
        let management = free_port().await?;
        let mut command = Command::new(bench.platform.program(name));
        command.env_clear().envs(environment);
        command.env("MANAGEMENT_LISTEN", format!("127.0.0.1:{management}"));
        for listener in ["HTTP_LISTEN", "GRPC_LISTEN"] {
            command.env(listener, "127.0.0.1:0");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let target = HttpTarget::parse(&format!("http://127.0.0.1:{management}"), None)?;
        let started = Instant::now();
        let mut process = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut connection = HttpConnection::new(target);
        loop {
            let answer = connection.exchange(Request::get("/readyz").body(Full::default())?).await;
            if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return Ok(Self { process, ready_after: started.elapsed() });
            }
            if let Some(status) = process.try_wait()? {
                bail!("{name} ended: {status}");
            }
            ensure!(started.elapsed() < READY_PATIENCE, "{name} is not ready after {READY_PATIENCE:?}");
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn resident_mib(&self) -> anyhow::Result<f64> {
        let pid = self.process.id().context("a replica has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        Ok(kib.context("a process has no VmRSS")?.trim().parse::<f64>()? / 1024.0)
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.context("a replica has ended")?, Signal::TERM)?;
        timeout(STOP_PATIENCE, self.process.wait()).await.context("a replica does not stop")??;
        Ok(())
    }
}

async fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?.port())
}
