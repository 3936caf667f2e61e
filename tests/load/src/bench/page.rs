//! `docs/BENCHMARKS.md`: one half is measured, the other written by hand.

use std::fmt::Write;

use anyhow::{Context, ensure};

use super::{Ceiling, Machine, Results, Row, figures::shown};

const BEGIN: &str = "<!-- measured: begin. Written by `make bench`; changes by hand are lost. -->";
const END: &str = "<!-- measured: end -->";

/// The page where there is none yet.
const TEMPLATE: &str = include_str!("page_template.md");

/// The page with what was measured in place of what was measured before. Whatever is outside the two marks stays as it is.
pub fn with_measured(page: Option<&str>, measured: &str) -> anyhow::Result<String> {
    let page = page.unwrap_or(TEMPLATE);
    let (before, rest) = page.split_once(BEGIN).context("the page has lost the mark where figures begin")?;
    let (_, after) = rest.split_once(END).context("the page has lost the mark where figures end")?;
    ensure!(!after.contains(BEGIN) && !after.contains(END), "the page has more than one pair of marks");
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", measured.trim()))
}

/// The measured part. `command` is what was run.
#[must_use]
pub fn measured(results: &Results, machine: &Machine, command: &str) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(page, "{}\n", machine_table(machine, command));
    let _ = writeln!(page, "![How far each figure is from its budget](benchmarks.svg)\n");
    let _ = writeln!(page, "{}", figures_table(results));
    let notes = notes(results, &machine.commit);
    if !notes.is_empty() {
        let _ = writeln!(page, "{notes}");
    }
    let _ = writeln!(page, "### How each is measured\n\n{}", methods(results));
    page
}

fn machine_table(machine: &Machine, command: &str) -> String {
    let Machine { cores, model, memory_mib, kernel, postgres, redis, rabbitmq, commit } = machine;
    let plural = if *cores == 1 { "" } else { "s" };
    format!(
        "| | |\n|---|---|\n\
         | machine | {cores} core{plural} of {model}, {memory} MiB, Linux {kernel} |\n\
         | servers | PostgreSQL {postgres} (`fsync` on), Redis {redis}, RabbitMQ {rabbitmq}, on the same cores as the services and the load generator |\n\
         | commit | {commit} |\n\
         | command | `{command}` |",
        memory = shown(f64::from(u32::try_from(*memory_mib).unwrap_or(u32::MAX))),
    )
}

fn figures_table(results: &Results) -> String {
    let mut table = "| | what | ours | ceiling | ratio (least to most, runs) | wanted | reached |\n|---|---|---:|---:|---|---|---|\n".to_owned();
    for (row, summary, measured) in results.summaries() {
        let budget = row.budget();
        let spread = if measured.pairs.len() > 1 && summary.least < summary.most {
            format!(" ({} to {}, {})", shown(summary.least), shown(summary.most), measured.pairs.len())
        } else {
            format!(" ({})", measured.pairs.len())
        };
        let origin = if budget.ceiling == Ceiling::Budget { " (the budget)" } else { "" };
        let _ = writeln!(
            table,
            "| `{}` | {} | {} {unit} | {} {unit}{origin} | {}{spread} | {} | {} |",
            row.name(),
            budget.what,
            shown(summary.ours),
            shown(summary.ceiling),
            shown(summary.ratio),
            budget.demand,
            if budget.demand.is_met(summary.ratio) { "yes" } else { "**no**" },
            unit = budget.unit,
        );
    }
    table
}

fn notes(results: &Results, commit: &str) -> String {
    let mut lines = String::new();
    for (row, _, measured) in results.summaries() {
        let earlier = (measured.commit != commit).then(|| format!("Measured at commit {}.", measured.commit));
        for note in measured.notes.iter().chain(&earlier) {
            let _ = writeln!(lines, "- `{}`: {note}", row.name());
        }
    }
    lines
}

fn methods(results: &Results) -> String {
    let rows = results.summaries().map(|(row, ..)| row);
    rows.fold(String::new(), |mut lines, row: Row| {
        let _ = writeln!(lines, "- `{}`: {}", row.name(), row.budget().how);
        lines
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::{Measured, Pair};

    fn machine() -> Machine {
        let text = |text: &str| text.to_owned();
        Machine {
            cores: 2,
            model: text("A Processor"),
            memory_mib: 24_000,
            kernel: text("6.1"),
            postgres: text("15.1"),
            redis: text("7.0"),
            rabbitmq: text("3.10"),
            commit: text("abc"),
        }
    }

    fn results() -> Results {
        let pair = |ours, ceiling| Pair { ours, ceiling };
        let measured = |pairs, commit: &str| Measured { pairs, notes: vec![], commit: commit.to_owned() };
        Results(BTreeMap::from([
            (Row::Me, measured(vec![pair(7.0, 10.0), pair(9.0, 10.0), pair(7.5, 10.0)], "abc")),
            (Row::Start, measured(vec![pair(0.2, 1.0)], "older")),
        ]))
    }

    #[test]
    fn what_was_written_by_hand_stays() {
        let first = with_measured(None, "first").unwrap();
        assert!(first.contains("first") && first.contains("## Profiles"), "{first}");
        let edited = first
            .replace("## Profiles", "## Profiles\n\nBy hand.")
            .replace("# Benchmarks", "# Our benchmarks");
        let second = with_measured(Some(&edited), "second").unwrap();
        assert_eq!(second, edited.replace("first", "second"));
        assert_eq!(with_measured(Some(&second), "second").unwrap(), second);
    }

    #[test]
    fn a_page_without_its_marks_is_not_overwritten() {
        let page = with_measured(None, "x").unwrap();
        for broken in ["", "# Benchmarks", &page.replace(END, ""), &page.replace(BEGIN, ""), &page.repeat(2)]
        {
            assert!(with_measured(Some(broken), "y").is_err(), "{broken}");
        }
    }

    #[test]
    fn each_row_has_its_verdict_and_absolute_budgets_are_named() {
        let page = measured(&results(), &machine(), "load bench");
        assert!(
            page.contains("| 7.5 requests/s | 10 requests/s | 0.75 (0.7 to 0.9, 3) | ≥ 0.8 | **no** |"),
            "{page}"
        );
        assert!(page.contains("| 0.2 s | 1 s (the budget) | 0.2 (1) | ≤ 1 | yes |"), "{page}");
        assert!(page.contains("- `start`: Measured at commit older."), "{page}");
        assert!(page.contains("2 cores of A Processor, 24,000 MiB, Linux 6.1"), "{page}");
        assert!(!page.contains("`login`"), "what was not measured is not shown");
    }
}
