//! Runs a command with throw-away servers.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::IsTerminal,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::Context;
use tokio::process::Command;

use crate::{
    checkout::programs,
    guard::Child,
    interrupt::Interrupts,
    keeper::Group,
    logs::Logs,
    packages::{self, Purpose},
    ports::Port,
    progress::Progress,
    servers::{Durability, Epmd, Postgres, RabbitMq, RabbitMqPorts, Redis, START_PATIENCE, http_client},
};

const VARIABLES: [&str; 4] =
    ["TEST_POSTGRES_URL", "TEST_REDIS_URL", "TEST_AMQP_URL", "TEST_AMQP_MANAGEMENT_URL"];
/// How long the command may take to end after it was told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `command` and returns its exit code.
pub(crate) async fn run(command: &[OsString]) -> anyhow::Result<ExitCode> {
    let mut interrupts = Interrupts::catch()?;
    let progress = Progress::quiet_to_stderr();
    let scratch = Scratch::new(&programs()?.join("with-servers"))?;
    let logs = Logs::in_directory(&scratch.path.join("log"))?;
    packages::ensure_installed(Purpose::Servers, &logs, &progress, &mut interrupts).await?;
    let group = Group::new(progress, logs, false);
    let started = tokio::select! {
        urls = start(&scratch.path, &group) => Some(urls),
        _ = interrupts.next() => None,
    };
    let result = match started {
        None => Ok(ExitCode::from(130)),
        Some(Err(error)) => Err(error),
        Some(Ok(urls)) => {
            progress.line(&format!(
                "PostgreSQL, Redis and RabbitMQ are ready in {:.1} s, for this command only",
                progress.total().as_secs_f32()
            ));
            execute(command, &urls, &mut interrupts).await
        }
    };
    group.stop().await;
    result
}

/// Starts the servers and returns the values of [`VARIABLES`].
async fn start(directory: &Path, group: &Group) -> anyhow::Result<[String; 4]> {
    let thrown_away = Durability::ThrownAway;
    let epmd = Epmd::new(directory, Port::random()?);
    let ports =
        RabbitMqPorts { amqp: Port::random()?, management: Port::random()?, distribution: Port::random()? };
    let rabbitmq =
        RabbitMq::new(&directory.join("rabbitmq"), ports, epmd.port(), thrown_away, http_client()?)?;
    let postgres = Postgres::new(&directory.join("postgres"), Port::random()?, thrown_away).await?;
    let redis = Redis::new(&directory.join("redis"), Port::random()?, thrown_away)?;
    let urls = [postgres.url("postgres"), redis.url(), rabbitmq.amqp_url(), rabbitmq.management_url()];

    let (epmd, postgres, redis) = (group.keep(epmd)?, group.keep(postgres)?, group.keep(redis)?);
    epmd.ready(START_PATIENCE).await?;
    let rabbitmq = group.keep(rabbitmq)?;
    tokio::try_join!(
        postgres.ready(START_PATIENCE),
        redis.ready(START_PATIENCE),
        rabbitmq.ready(START_PATIENCE)
    )?;
    Ok(urls)
}

async fn execute(
    command: &[OsString],
    urls: &[String; 4],
    interrupts: &mut Interrupts,
) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("there is no command")?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program).args(arguments);
    command.envs(VARIABLES.iter().zip(urls));
    // At a terminal it stays in our process group: it may read, and Ctrl-C reaches both of us. Elsewhere it gets one of its own, and
    // our signals reach all that it started.
    let (mut child, _group) = if std::io::stdin().is_terminal() {
        (Child::spawn(&mut command)?, None)
    } else {
        let child = Child::spawn_group(&mut command)?;
        let group = child.bind_group()?;
        (child, Some(group))
    };
    let signal = tokio::select! {
        status = child.exited() => return Ok(exit_code(status?)),
        signal = interrupts.next() => signal,
    };
    child.signal(signal);
    tokio::select! {
        // Asking twice does no harm.
        () = child.stop(signal, PATIENCE) => {}
        // Dropped, it is killed.
        _ = interrupts.next() => {}
    }
    Ok(ExitCode::from(130))
}

/// As a shell would say it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// A directory that goes away with the value. What a killed process left is removed by the next one.
struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    fn new(parent: &Path) -> anyhow::Result<Self> {
        for left in fs::read_dir(parent).into_iter().flatten().flatten() {
            let abandoned = File::open(left.path().join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
            if abandoned {
                let _ = fs::remove_dir_all(left.path());
            }
        }
        let path = parent.join(std::process::id().to_string());
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let lock = File::create(path.join("lock"))?;
        lock.lock()?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next one tries again.
        let _ = fs::remove_dir_all(&self.path);
    }
}
