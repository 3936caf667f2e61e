use std::{process::ExitCode, time::Duration};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::JoinSet,
    time::sleep,
};
use tracing::{error, info, warn};

use crate::{
    CommonConfig, Lifecycle, ReadinessStatus, Service, management::ManagementListener, run::log_panics,
};

/// `EX_SOFTWARE` of sysexits.h.
const EXIT_SOFTWARE: u8 = 70;
/// How often readiness is looked at for the log, before and after it was reached.
const WATCH: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// Serves until the process is told to stop and everything has ended.
pub(crate) async fn run<S: Service>(config: S::Config, common: CommonConfig) -> anyhow::Result<ExitCode> {
    let telemetry = telemetry::init(&common.telemetry)?;
    log_panics();
    info!(version = S::VERSION, environment = common.telemetry.environment, "Starting");
    let outcome = until_stopped::<S>(config, common).await;
    match &outcome {
        Ok(_) => info!("Stopped"),
        Err(error) => error!(error = format!("{error:#}"), "Cannot serve"),
    }
    telemetry.shutdown().await;
    Ok(outcome.unwrap_or(ExitCode::FAILURE))
}

async fn until_stopped<S: Service>(config: S::Config, common: CommonConfig) -> anyhow::Result<ExitCode> {
    let registry = telemetry::metrics::registry(S::NAME, S::VERSION)?;
    let lifecycle = Lifecycle::new(common.shutdown);
    let mut signals = Signals::listen()?;
    let management =
        ManagementListener::bind(common.management_listen, lifecycle.readiness(), registry.clone()).await?;
    info!(address = %management.local_addr()?, "Management is listening");
    // Not among the tracked tasks: it answers until the last one of them has ended.
    let mut outside = JoinSet::new();
    outside.spawn(management.serve());

    let (end, mut ended) = oneshot::channel();
    let service = lifecycle.clone();
    lifecycle.spawn("serve", async move {
        end.send(S::serve(config, common, service, registry).await).ok();
    });
    lifecycle.spawn("readiness watch", watch_readiness(lifecycle.clone()));

    let stopping = lifecycle.stopping();
    let mut outcome = None;
    let mut asked = false;
    while !stopping.is_cancelled() {
        select! {
            () = stopping.cancelled() => {}
            // Without the service there is nothing to delay for.
            end = &mut ended, if outcome.is_none() => {
                outcome = Some(end);
                lifecycle.stop_now();
            }
            signal = signals.next() => {
                info!(signal, "Stopping because of {signal}");
                if asked {
                    return Ok(ExitCode::SUCCESS);
                }
                asked = true;
                lifecycle.request_shutdown();
            }
        }
    }
    select! {
        () = lifecycle.wait_for_tasks() => {}
        signal = signals.next() => warn!(signal, "Not waiting any longer because of {signal}"),
    }
    // An end without a result is a panic, which the lifecycle knows about.
    if let Some(result) = outcome.map_or_else(|| ended.try_recv().ok(), Result::ok) {
        result?;
    }
    Ok(if lifecycle.panicked() { ExitCode::from(EXIT_SOFTWARE) } else { ExitCode::SUCCESS })
}

/// Logs when the process becomes ready, and why it is not.
async fn watch_readiness(lifecycle: Lifecycle) {
    let stopping = lifecycle.stopping();
    let mut last = String::from("starting");
    loop {
        let report = lifecycle.readiness().report().await;
        let unmet = report.unmet();
        if report.status != ReadinessStatus::Stopping && unmet != last {
            if unmet.is_empty() {
                info!("Ready");
            } else {
                warn!(unmet, "Not ready: {unmet}");
            }
            last = unmet;
        }
        let [before, after] = WATCH;
        let pause = if report.status == ReadinessStatus::Ready { after } else { before };
        if stopping.run_until_cancelled(sleep(pause)).await.is_none() {
            return;
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
