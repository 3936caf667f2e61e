use std::{io, sync::mpsc, thread, time::Duration};

use super::{kernel::Kernel, pool::Job};

/// Added to the niceness of the process. The kernel then gives a core to whatever else of us wants it first; hashes take what is left.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// How long a thread without work keeps the memory of its workspace, 19 MiB at the platform's parameters.
const KEPT_IDLE: Duration = Duration::from_secs(10);

/// Starts a thread that hashes, with a workspace of its own, until nobody can send it work any more. It yields to the threads that answer
/// requests; it is no thread of the runtime, because a thread that has lowered its priority may not raise it again.
pub(super) fn spawn(kernel: Kernel) -> io::Result<mpsc::Sender<Job>> {
    let (sender, jobs) = mpsc::channel::<Job>();
    thread::Builder::new().name("password hash".to_owned()).spawn(move || {
        yield_to_others();
        let mut workspace = kernel.workspace();
        loop {
            match jobs.recv_timeout(KEPT_IDLE) {
                Ok(job) => job(&mut workspace),
                Err(mpsc::RecvTimeoutError::Timeout) => workspace = kernel.workspace(),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
    })?;
    Ok(sender)
}

/// On Linux a priority belongs to a thread, although the interface speaks of processes (setpriority(2)).
#[cfg(target_os = "linux")]
fn yield_to_others() {
    use rustix::{process, thread};
    let this = thread::gettid();
    let lowered = process::getpriority_process(Some(this))
        .and_then(|niceness| process::setpriority_process(Some(this), niceness + NICENESS));
    if let Err(error) = lowered {
        tracing::warn!("A hashing thread keeps its priority: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn yield_to_others() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::{process, thread};

    use super::*;

    #[test]
    fn only_the_thread_that_hashes_yields() {
        let (answer, niceness) = mpsc::channel();
        let jobs = spawn(Kernel::Reference).unwrap();
        let report =
            move |_: &mut _| answer.send(process::getpriority_process(Some(thread::gettid()))).unwrap();
        jobs.send(Box::new(report)).unwrap();
        let here = process::getpriority_process(Some(thread::gettid())).unwrap();
        assert_eq!(niceness.recv().unwrap().unwrap(), (here + NICENESS).min(19));
    }
}
