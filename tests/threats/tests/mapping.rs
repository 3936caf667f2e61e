//! Every attack has a test or a reason, and `docs/THREATS.md` says which. `REGENERATE=1` writes it.

use std::{env, fs, io::Write, path::Path};

use threats::{Mapping, Tier, exceptions, page, tests_below, threats};

#[test]
fn every_attack_has_a_test_or_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
    let mapping = Mapping {
        threats: threats(&read("security/threats.csv")).unwrap(),
        exceptions: exceptions(&read("security/exceptions.csv")).unwrap(),
        tests: tests_below(&root).unwrap(),
    };
    for tier in [Tier::EveryChange, Tier::Nightly] {
        let tally = mapping.tally(tier);
        // Past the capture of the test runner: this line is for whoever reads the output of a run that passed.
        writeln!(
            std::io::stderr(),
            "threats: {} of {} mapped, {} excepted ({})",
            tally.mapped,
            tally.all,
            tally.excepted,
            tier.command()
        )
        .unwrap();
    }
    let page = page(&mapping);
    if env::var_os("REGENERATE").is_some() {
        fs::write(root.join("docs/THREATS.md"), &page).unwrap();
    }
    let contradictions = mapping.contradictions();
    assert!(contradictions.is_empty(), "\n{}", contradictions.join("\n"));
    assert_eq!(read("docs/THREATS.md"), page, "the tests of threats changed: `make generate`");
}
