use std::collections::BTreeSet;

use crate::{Exception, Test, Threat, Tier};

/// The attacks, with what tests them or why nothing does.
#[derive(Debug)]
pub struct Mapping {
    /// The attacks.
    pub threats: Vec<Threat>,
    /// Those without a test.
    pub exceptions: Vec<Exception>,
    /// The tests.
    pub tests: Vec<Test>,
}

/// How many attacks of a tier there are, and what becomes of them.
#[derive(Debug, Clone, Copy)]
pub struct Tally {
    /// All.
    pub all: usize,
    /// Those with a test.
    pub mapped: usize,
    /// Those without one, for a reason.
    pub excepted: usize,
}

impl Mapping {
    /// The tests of an attack.
    pub fn tests_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Test> {
        self.tests.iter().filter(move |test| test.id == id)
    }

    /// Why an attack has no test.
    #[must_use]
    pub fn reason_for(&self, id: &str) -> Option<&str> {
        let exception = self.exceptions.iter().find(|exception| exception.id == id)?;
        Some(&exception.reason)
    }

    /// The numbers of a tier.
    #[must_use]
    pub fn tally(&self, tier: Tier) -> Tally {
        let rows = || self.threats.iter().filter(move |threat| threat.tier == tier);
        Tally {
            all: rows().count(),
            mapped: rows().filter(|threat| self.tests_of(&threat.id).next().is_some()).count(),
            excepted: rows().filter(|threat| self.reason_for(&threat.id).is_some()).count(),
        }
    }

    /// Everything that does not fit together.
    #[must_use]
    pub fn contradictions(&self) -> Vec<String> {
        let ids: BTreeSet<&str> = self.threats.iter().map(|threat| threat.id.as_str()).collect();
        let mut found = Vec::new();
        if ids.len() != self.threats.len() {
            found.push("an id is there twice".to_owned());
        }
        for threat in &self.threats {
            let Threat { id, tier, .. } = threat;
            let command = tier.command();
            let has_test = self.tests_of(id).any(|test| test.tier == *tier);
            match (has_test, self.reason_for(id).is_some()) {
                (false, false) => {
                    found.push(format!("{id} has neither a test in `{command}` nor an exception"));
                }
                (true, true) => found.push(format!("{id} has a test; its exception must go")),
                _ => {}
            }
        }
        let excepted = self.exceptions.iter().map(|exception| exception.id.as_str());
        found.extend(
            excepted.filter(|id| !ids.contains(id)).map(|id| format!("the exception {id} has no row")),
        );
        let families: BTreeSet<&str> = ids.iter().filter_map(|id| id.get(..3)).collect();
        let strays = self.tests.iter().filter(|test| {
            !ids.contains(test.id.as_str())
                && test.id.get(..3).is_some_and(|family| families.contains(family))
        });
        found.extend(strays.map(|test| format!("{} in {} is named after no row", test.name, test.file)));
        found
    }
}
