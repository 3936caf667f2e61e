use std::fmt::Write;

use crate::{Mapping, Threat, Tier};

const HEAD: &str = "\
# Threats

Which attack or fault (`FX-…`) is answered how, and which test shows it. `make generate` writes this file from [security/threats.csv](../security/threats.csv),
[security/exceptions.csv](../security/exceptions.csv) and the names of the tests; a test in `tests/threats` fails when it is out of date.
";

/// `docs/THREATS.md`.
#[must_use]
pub fn page(mapping: &Mapping) -> String {
    let mut page = HEAD.to_owned();
    for (tier, title) in
        [(Tier::EveryChange, "Tested for every change"), (Tier::Nightly, "Tested every night")]
    {
        let tally = mapping.tally(tier);
        let command = tier.command();
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "\n## {title} (`{command}`)\n\n{} rows: {} with a test, {} without.\n\n\
             | id | attack or fault | what we do | tests |\n|---|---|---|---|\n",
            tally.all, tally.mapped, tally.excepted
        );
        for threat in mapping.threats.iter().filter(|threat| threat.tier == tier) {
            let Threat { id, attack, expected, .. } = threat;
            let tests = tests(mapping, id);
            let _ = writeln!(page, "| {id} | {} | {} | {tests} |", cell(attack), cell(expected));
        }
    }
    page
}

fn tests(mapping: &Mapping, id: &str) -> String {
    let links = mapping.tests_of(id).map(|test| format!("[{}](../{})", test.name, test.file));
    let links = links.collect::<Vec<_>>().join("<br>");
    mapping.reason_for(id).map_or(links, |reason| format!("none: {}", cell(reason)))
}

/// Text that ends no cell and begins no markup.
fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*").replace('\n', " ")
}
