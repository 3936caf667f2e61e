//! The log files of what the stack runs.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe,
};

use crate::progress::Progress;

const TAIL_LINES: usize = 15;

/// A directory of log files.
#[derive(Debug, Clone)]
pub(crate) struct Logs(PathBuf);

/// One log file.
#[derive(Debug, Clone)]
pub(crate) struct Log(PathBuf);

impl Logs {
    pub(crate) fn in_directory(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Self(directory.to_owned()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.log"))
    }

    /// An empty log. What an earlier stack wrote stays readable as `<name>.previous.log`.
    pub(crate) fn begin(&self, name: &str) -> anyhow::Result<Log> {
        let path = self.path(name);
        if path.exists() {
            fs::rename(&path, self.0.join(format!("{name}.previous.log")))?;
        }
        let log = Log(path);
        log.file()?;
        Ok(log)
    }

    /// The last lines of a log, for an error message.
    pub(crate) fn tail(&self, name: &str) -> String {
        let path = self.path(name);
        let content = fs::read(&path).unwrap_or_default();
        let content = String::from_utf8_lossy(&content);
        let lines: Vec<&str> = content.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
        format!("The end of {}:\n    {}", path.display(), tail.join("\n    "))
    }
}

impl Log {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The file, opened to append.
    pub(crate) fn file(&self) -> anyhow::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.0)
            .with_context(|| format!("cannot write {}", self.0.display()))
    }

    /// Copies a service's output into the file, and its warnings to the terminal.
    pub(crate) async fn copy(self, output: pipe::Receiver, name: &'static str, progress: Progress) {
        let Ok(mut file) = self.file() else { return };
        let mut lines = BufReader::new(output).split(b'\n');
        while let Ok(Some(mut line)) = lines.next_segment().await {
            line.push(b'\n');
            // A full disk must not stop the service.
            let _ = file.write_all(&line);
            if let Some(warning) = warning(&String::from_utf8_lossy(&line)) {
                progress.note(&format!("{name}: {warning}"));
            }
        }
    }
}

/// What a line says, when people should see it: warnings, errors and whatever is no log line, such as a panic.
fn warning(line: &str) -> Option<String> {
    let line = line.trim_end();
    let Ok(entry) = serde_json::from_str::<serde_json::Value>(line) else {
        // `LOG_FORMAT=pretty`: a level stands in each line.
        let quiet = [" INFO ", " DEBUG ", " TRACE "].iter().any(|level| line.contains(level));
        return (!quiet && !line.is_empty()).then(|| line.to_owned());
    };
    let text = |key: &str| entry.get(key).and_then(serde_json::Value::as_str);
    let level = text("level").filter(|level| matches!(*level, "WARN" | "ERROR"))?;
    let message = text("message").or_else(|| entry.pointer("/fields/message")?.as_str()).unwrap_or(line);
    let error = text("error").or_else(|| entry.pointer("/fields/error")?.as_str());
    Some(error.map_or_else(|| format!("{level} {message}"), |error| format!("{level} {message}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_errors_and_panics_are_shown() {
        let warn = r#"{"level":"WARN","message":"The broker is away","error":"refused"}"#;
        assert_eq!(warning(warn).as_deref(), Some("WARN The broker is away: refused"));
        assert_eq!(warning(r#"{"level":"INFO","message":"Ready"}"#), None);
        assert_eq!(warning("2026-01-01  INFO ready"), None);
        assert_eq!(warning("thread 'main' panicked").as_deref(), Some("thread 'main' panicked"));
    }
}
