//! Events as a file: for spreadsheets and for programs.

use chrono::{DateTime, SecondsFormat, Utc};
use csv::{QuoteStyle, Terminator, WriterBuilder};
use serde::Serialize;
use serde_json::Value;

use super::RecordedEvent;

/// What kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// RFC 4180 with a header, every cell in quotes.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

const HEADER: [&str; 23] = [
    "seq",
    "id",
    "type",
    "version",
    "source",
    "occurred_at",
    "recorded_at",
    "subject_id",
    "actor_kind",
    "actor_id",
    "actor_name",
    "outcome",
    "severity",
    "reason",
    "target_kind",
    "target_id",
    "ip",
    "user_agent",
    "request_id",
    "trace_id",
    "detail",
    "erased",
    "hash",
];

impl ExportFormat {
    /// What the file begins with.
    #[must_use]
    pub fn begin(self) -> Vec<u8> {
        match self {
            Self::Csv => records([HEADER.map(str::to_owned)]),
            Self::Ndjson => Vec::new(),
        }
    }

    /// The next events of the file.
    #[must_use]
    pub fn write(self, events: &[RecordedEvent]) -> Vec<u8> {
        match self {
            Self::Csv => records(events.iter().map(|event| cells(event).map(harmless))),
            Self::Ndjson => lines(events),
        }
    }
}

/// Writing into memory fails for a record of another length only, and these all have the same.
fn records(records: impl IntoIterator<Item = [String; HEADER.len()]>) -> Vec<u8> {
    let mut writer = WriterBuilder::new()
        .quote_style(QuoteStyle::Always)
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    for record in records {
        let _ = writer.write_record(record);
    }
    writer.into_inner().unwrap_or_default()
}

fn cells(event: &RecordedEvent) -> [String; HEADER.len()] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let id = |id: Option<auth_ids::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let target = event.target.as_ref();
    [
        event.seq.to_string(),
        event.id.to_string(),
        event.name.clone(),
        event.version.to_string(),
        event.source.clone(),
        time(event.occurred_at),
        time(event.recorded_at),
        id(event.subject_id),
        event.actor_kind.clone(),
        id(event.actor_id),
        text(&event.actor_name),
        event.outcome.clone(),
        event.severity.clone(),
        text(&event.reason),
        target.map(|target| target.kind.clone()).unwrap_or_default(),
        target.map(|target| target.id.clone()).unwrap_or_default(),
        event.client.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        text(&event.client.user_agent),
        text(&event.client.request_id),
        text(&event.trace_id),
        event.detail.to_string(),
        event.erased.to_string(),
        hex::encode(&event.hash),
    ]
}

/// Spreadsheets run a cell that begins like a formula. An apostrophe in front makes it text; the full-width forms are the same
/// to some of them, and so is what follows blanks.
fn harmless(cell: String) -> String {
    let first = cell.chars().find(|character| *character != ' ');
    let is_formula = first.is_some_and(|first| {
        matches!(first, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠')
    });
    if is_formula { format!("'{cell}") } else { cell }
}

/// An event as a line of the file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    seq: i64,
    id: auth_ids::Uuid,
    r#type: &'a str,
    version: i32,
    source: &'a str,
    occurred_at: String,
    recorded_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_id: Option<auth_ids::Uuid>,
    actor: LineActor<'a>,
    outcome: &'a str,
    severity: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a auth_events::Target>,
    client: &'a auth_events::Client,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    detail: &'a Value,
    erased: bool,
    hash: String,
}

#[derive(Serialize)]
struct LineActor<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<auth_ids::Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

fn lines(events: &[RecordedEvent]) -> Vec<u8> {
    let mut file = Vec::new();
    for event in events {
        let line = Line {
            seq: event.seq,
            id: event.id,
            r#type: &event.name,
            version: event.version,
            source: &event.source,
            occurred_at: time(event.occurred_at),
            recorded_at: time(event.recorded_at),
            subject_id: event.subject_id,
            actor: LineActor {
                kind: &event.actor_kind,
                id: event.actor_id,
                name: event.actor_name.as_deref(),
            },
            outcome: &event.outcome,
            severity: &event.severity,
            reason: event.reason.as_deref(),
            target: event.target.as_ref(),
            client: &event.client,
            trace_id: event.trace_id.as_deref(),
            detail: &event.detail,
            erased: event.erased,
            hash: hex::encode(&event.hash),
        };
        // Text, numbers and what was JSON before: nothing here has no JSON form.
        let _ = serde_json::to_writer(&mut file, &line);
        file.push(b'\n');
    }
    file
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use auth_events::{Client, Target};
    use serde_json::json;

    use super::*;

    fn event(text: &str) -> RecordedEvent {
        RecordedEvent {
            seq: 7,
            class: "security".to_owned(),
            id: auth_ids::Uuid::from_u128(1),
            name: "auth.login".to_owned(),
            version: 1,
            source: "auth-api".to_owned(),
            occurred_at: DateTime::UNIX_EPOCH,
            recorded_at: DateTime::UNIX_EPOCH,
            subject_id: None,
            actor_kind: "user".to_owned(),
            actor_id: None,
            actor_name: Some(text.to_owned()),
            outcome: "failure".to_owned(),
            severity: "warning".to_owned(),
            reason: Some(text.to_owned()),
            target: Some(Target { kind: text.to_owned(), id: text.to_owned() }),
            client: Client { ip: None, user_agent: Some(text.to_owned()), request_id: Some(text.to_owned()) },
            trace_id: None,
            detail: json!({"address": text}),
            erased: false,
            prev_hash: vec![0; 32],
            hash: vec![0xab; 32],
        }
    }

    fn hostile() -> Vec<&'static str> {
        vec![
            "=cmd|' /C calc'!A0@x.test",
            "+1+1",
            "-2+3",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "  =1",
            "＝1",
            "a\",=1\r\n\"=2",
            "\"\"\"",
            "one,two;three",
            "line\nbreak",
            "\u{feff}=1 \u{202e}",
        ]
    }

    #[test]
    fn aud_08_no_cell_is_a_formula_and_none_breaks_out() {
        for text in hostile() {
            let mut file = ExportFormat::Csv.begin();
            file.extend(ExportFormat::Csv.write(&[event(text), event("plain")]));
            let mut reader = csv::ReaderBuilder::new().from_reader(file.as_slice());
            assert_eq!(reader.headers().unwrap(), &HEADER[..]);
            let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
            assert_eq!(rows.len(), 2, "{text:?}");
            for row in &rows {
                for cell in row {
                    let first = cell.trim_start_matches(' ').chars().next();
                    assert!(!first.is_some_and(|first| "=+-@\t\r\n＝＋－＠".contains(first)), "{cell:?}");
                }
            }
            let column = |name| HEADER.iter().position(|header| *header == name).unwrap();
            let agent = &rows[0][column("user_agent")];
            assert_eq!(agent.strip_prefix('\'').unwrap_or(agent), text);
            let detail: Value = serde_json::from_str(&rows[0][column("detail")]).unwrap();
            assert_eq!(detail, json!({"address": text}));
        }
    }

    #[test]
    fn aud_08_a_csv_file_is_rfc_4180() {
        let mut file = ExportFormat::Csv.begin();
        file.extend(ExportFormat::Csv.write(&[event("a \"quoted\", cell")]));
        let file = String::from_utf8(file).unwrap();
        assert!(file.starts_with("\"seq\",\"id\",\"type\",") && file.ends_with("\"\r\n"));
        assert!(file.contains("\"a \"\"quoted\"\", cell\""));
        assert_eq!(file.matches("\r\n").count(), 2);
    }

    #[test]
    fn a_line_of_json_is_an_event() {
        for text in hostile() {
            let file = ExportFormat::Ndjson.write(&[event(text), event("plain")]);
            let lines: Vec<Value> = file
                .split_inclusive(|byte| *byte == b'\n')
                .map(|line| serde_json::from_slice(line).unwrap())
                .collect();
            assert_eq!(lines.len(), 2);
            assert_eq!(lines[0]["client"]["userAgent"], json!(text));
            assert_eq!((&lines[1]["seq"], &lines[1]["type"]), (&json!(7), &json!("auth.login")));
        }
        assert!(ExportFormat::Ndjson.begin().is_empty());
    }
}
