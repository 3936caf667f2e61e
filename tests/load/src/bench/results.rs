//! What was measured, as files.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{Pair, Row, Summary};

/// Every figure of one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// One for each run.
    pub pairs: Vec<Pair>,
    /// What else was seen.
    pub notes: Vec<String>,
    /// The commit that was measured.
    pub commit: String,
}

/// The rows that were measured, now or earlier.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Results(pub BTreeMap<Row, Measured>);

/// One row of `results.json`.
#[derive(Debug, PartialEq, Serialize)]
struct ResultRow {
    name: &'static str,
    unit: &'static str,
    ours: f64,
    ceiling: f64,
    ratio: f64,
    runs: usize,
}

impl Results {
    /// What earlier calls left in `directory`; nothing where there is nothing that we understand.
    #[must_use]
    pub fn read(directory: &Path) -> Self {
        let text = fs::read_to_string(directory.join("runs.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Writes `runs.json`, with every figure, and `results.json`, with one line for each row.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        fs::write(directory.join("runs.json"), serde_json::to_string_pretty(self)? + "\n")?;
        let rows = self.0.iter().filter_map(|(row, measured)| result_row(*row, measured));
        let lines = rows.map(|row| serde_json::to_string(&row)).collect::<Result<Vec<_>, _>>()?;
        fs::write(directory.join("results.json"), format!("[\n  {}\n]\n", lines.join(",\n  ")))?;
        Ok(())
    }

    /// Each row with its summary, in their order.
    pub fn summaries(&self) -> impl Iterator<Item = (Row, Summary, &Measured)> {
        self.0.iter().filter_map(|(row, measured)| Some((*row, Summary::of(&measured.pairs)?, measured)))
    }
}

fn result_row(row: Row, measured: &Measured) -> Option<ResultRow> {
    let Summary { ours, ceiling, ratio, .. } = Summary::of(&measured.pairs)?;
    let [ours, ceiling, ratio] = [ours, ceiling, ratio].map(four_digits);
    Some(ResultRow {
        name: row.name(),
        unit: row.budget().unit,
        ours,
        ceiling,
        ratio,
        runs: measured.pairs.len(),
    })
}

/// No figure here is known more closely.
fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_survive_being_written_and_are_one_line_a_row() {
        let directory = tempfile::tempdir().unwrap();
        let pairs =
            vec![Pair { ours: 8_123.456, ceiling: 10_000.0 }, Pair { ours: 9_000.0, ceiling: 10_000.0 }];
        let measured = Measured { pairs, notes: vec!["A note.".to_owned()], commit: "abc".to_owned() };
        let results = Results(BTreeMap::from([(Row::Me, measured)]));
        results.write(directory.path()).unwrap();
        assert_eq!(Results::read(directory.path()), results);
        let text = fs::read_to_string(directory.path().join("results.json")).unwrap();
        let expected =
            r#"{"name":"me","unit":"requests/s","ours":8562.0,"ceiling":10000.0,"ratio":0.8562,"runs":2}"#;
        assert_eq!(text, format!("[\n  {expected}\n]\n"));
    }

    #[test]
    fn where_there_are_no_results_there_are_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Results::read(directory.path()), Results::default());
        fs::write(directory.path().join("runs.json"), "{\"something\": \"else\"}").unwrap();
        assert_eq!(Results::read(directory.path()), Results::default());
    }
}
