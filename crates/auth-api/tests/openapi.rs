//! The committed OpenAPI document is that of the code. `REGENERATE=1` writes it.

use std::{fs, path::Path};

#[test]
fn the_committed_document_is_that_of_the_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let text = auth_api::http::openapi::document().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("REGENERATE").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(committed, text, "the interface changed: `make generate`");
}
