//! The log of this process, as far as it could betray a token.

use std::{
    io::Write,
    sync::{Arc, Mutex, OnceLock},
};

use tracing_subscriber::fmt::{MakeWriter, format::FmtSpan};

/// What a line must have to be kept: there are tests enough to fill a disk.
const KEPT: [&str; 4] = ["fat_", "v4.public", "/v1/auth/reset-password", "/v1/auth/me"];

/// Kept lines; there is one log, whichever test asks for it.
#[derive(Clone, Default)]
pub struct LogLines(Arc<Mutex<String>>);

impl LogLines {
    /// Everything that is logged from the first call on.
    pub fn capture() -> &'static Self {
        static LINES: OnceLock<LogLines> = OnceLock::new();
        LINES.get_or_init(|| {
            let lines = Self::default();
            let subscriber =
                tracing_subscriber::fmt().with_writer(lines.clone()).with_max_level(tracing::Level::DEBUG);
            subscriber.with_span_events(FmtSpan::CLOSE).init();
            lines
        })
    }

    pub fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if KEPT.iter().any(|kept| text.contains(kept)) {
            self.0.lock().unwrap().push_str(&text);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
