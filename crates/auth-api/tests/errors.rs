//! The committed list of errors is that of the code. `REGENERATE=1` writes it.

use std::{fs, path::Path};

#[test]
fn the_committed_list_is_that_of_the_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ERRORS.md");
    let text = auth_api::http::problem_codes::markdown();
    if std::env::var_os("REGENERATE").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(committed, text, "the errors changed: `make generate`");
}
