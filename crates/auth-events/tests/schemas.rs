//! The committed schemas are those of the code. `REGENERATE=1` writes them.

use std::{collections::BTreeSet, fs, path::Path};

use auth_events::{facts, schema};

#[test]
fn the_committed_schemas_are_those_of_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let regenerate = std::env::var_os("REGENERATE").is_some();
    let mut expected = BTreeSet::new();
    for (name, schema) in schema::all() {
        let file = folder.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if regenerate {
            fs::write(&file, &text).unwrap();
        }
        let committed = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(
            committed, text,
            "{name} drifted: `make generate`, and a new version if a field changed its meaning"
        );
        expected.insert(file.file_name().unwrap().to_owned());
    }
    let present: BTreeSet<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(present, expected, "a schema without a type");
}

#[test]
fn a_consumer_knows_its_neighbours_versions_and_nothing_else() {
    assert!(facts::is_known("user.registered", 1));
    assert!(facts::is_known("user.registered", 2));
    assert!(!facts::is_known("user.registered", 0));
    assert!(!facts::is_known("user.registered", 3));
    assert!(!facts::is_known("user.invented", 1));
}
