//! What people see while the stack starts.

use std::{
    io::Write,
    time::{Duration, Instant},
};

/// Lines for people. They never fail: the terminal may be gone, and the stack still has to be stopped in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// The command's own output belongs to standard output.
    to_stderr: bool,
    steps: bool,
    began: Instant,
}

impl Progress {
    /// On standard output, with every step.
    pub(crate) fn to_stdout() -> Self {
        Self { to_stderr: false, steps: true, began: Instant::now() }
    }

    /// On standard error, only what is unexpected.
    pub(crate) fn quiet_to_stderr() -> Self {
        Self { to_stderr: true, steps: false, began: Instant::now() }
    }

    /// A step that is done.
    pub(crate) fn step(&self, since: Instant, what: &str) {
        if self.steps {
            self.line(&format!("{:>7.1} s  {what}", since.elapsed().as_secs_f32()));
        }
    }

    /// Something that people should know now.
    pub(crate) fn note(&self, what: &str) {
        self.line(&format!("           {what}"));
    }

    pub(crate) fn line(&self, line: &str) {
        let _ = if self.to_stderr {
            writeln!(std::io::stderr(), "{line}")
        } else {
            writeln!(std::io::stdout(), "{line}")
        };
    }

    pub(crate) fn total(&self) -> Duration {
        self.began.elapsed()
    }
}
