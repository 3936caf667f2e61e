use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::ValueEnum;
use futures::StreamExt;

use crate::{
    app::{AuditLog, ExportPart, ExportSummary},
    domain::{Criteria, ExportFormat, Filter, FreeText, Scope, TypeFilter},
};

/// Filters narrow it down; without any it is the whole log.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// CSV is for spreadsheets: a cell that would be a formula begins with an apostrophe. NDJSON is for programs.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Occurred not before, such as 2026-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<DateTime<Utc>>,
    /// Occurred before.
    #[arg(long, value_name = "TIME")]
    to: Option<DateTime<Utc>>,
    /// `auth.login`, or `auth.` for all of a domain.
    #[arg(long)]
    r#type: Option<String>,
    /// success, failure or denied.
    #[arg(long)]
    outcome: Option<String>,
    /// info, warning or critical.
    #[arg(long)]
    severity: Option<String>,
    /// Who did it.
    #[arg(long, value_name = "UUID")]
    actor_id: Option<String>,
    /// Whom it is about.
    #[arg(long, value_name = "UUID")]
    subject_id: Option<String>,
    /// From which address.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// Of which request.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// A part of a type, or the whole of an id, a reason or an address.
    #[arg(short, long, value_name = "TEXT")]
    q: Option<String>,
    /// Leave out addresses, user agents, names and details.
    #[arg(long)]
    without_personal_data: bool,
    /// The file to write; it is there only when it is whole, and never in place of another. Only its owner may read it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Ndjson,
}

impl Export {
    pub async fn run(self, log: &AuditLog) -> anyhow::Result<ExitCode> {
        let format = match self.format {
            Format::Csv => ExportFormat::Csv,
            Format::Ndjson => ExportFormat::Ndjson,
        };
        let criteria = self.criteria()?;
        let summary = match &self.out {
            Some(file) => to_file(log, &criteria, format, file).await?,
            None => write(log, &criteria, format, &mut std::io::stdout()).await?,
        };
        let sha256 = hex::encode(summary.sha256);
        eprintln!("{} events up to seq {}, SHA-256 {sha256}", summary.events, summary.up_to_seq);
        Ok(ExitCode::SUCCESS)
    }

    fn criteria(&self) -> anyhow::Result<Criteria> {
        let uuid = |field, text: &Option<String>| {
            text.as_deref().map(|text| Filter::parse_uuid(field, text)).transpose()
        };
        let filter = Filter {
            r#type: self.r#type.as_deref().map(TypeFilter::parse).transpose()?,
            outcome: self.outcome.as_deref().map(Filter::parse_outcome).transpose()?,
            severity: self.severity.as_deref().map(Filter::parse_severity).transpose()?,
            actor_id: uuid("actor-id", &self.actor_id)?,
            subject_id: uuid("subject-id", &self.subject_id)?,
            ip: self.ip.as_deref().map(Filter::parse_ip).transpose()?,
            request_id: self.request_id.as_deref().map(Filter::parse_request_id).transpose()?,
            q: self.q.as_deref().map(FreeText::parse).transpose()?,
            from: None,
            to: None,
        };
        let scope = Scope { omit_personal_data: self.without_personal_data, ..Scope::default() };
        Ok(Criteria::new(filter.with_times(self.from, self.to)?, scope)?)
    }
}

/// Under another name until it is whole, and for its owner alone: what is sealed in the log is open in it. Nothing is left of one that was not finished.
async fn to_file(
    log: &AuditLog,
    criteria: &Criteria,
    format: ExportFormat,
    file: &Path,
) -> anyhow::Result<ExportSummary> {
    let name = file.display();
    anyhow::ensure!(!file.exists(), "{name} is there already");
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".part");
    let unfinished = PathBuf::from(unfinished);
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .with_context(|| format!("cannot write {}", unfinished.display()))?;
    let finished = async {
        let summary = write(log, criteria, format, &mut target).await?;
        target.sync_all()?;
        fs::rename(&unfinished, file).with_context(|| format!("cannot write {name}"))?;
        anyhow::Ok(summary)
    }
    .await;
    if finished.is_err() {
        // The failure that is told is the first one.
        let _ = fs::remove_file(&unfinished);
    }
    finished
}

async fn write(
    log: &AuditLog,
    criteria: &Criteria,
    format: ExportFormat,
    target: &mut impl Write,
) -> anyhow::Result<ExportSummary> {
    let mut parts = Box::pin(log.export(criteria, format).await?);
    while let Some(part) = parts.next().await {
        match part? {
            ExportPart::Chunk(bytes) => target.write_all(&bytes)?,
            ExportPart::End(summary) => {
                target.flush()?;
                return Ok(summary);
            }
        }
    }
    anyhow::bail!("the export ended before its end")
}
