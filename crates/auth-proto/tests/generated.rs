//! The checked-in code is what the protos generate. `REGENERATE=1` writes it.

use std::{fs, path::Path};

use protox::prost::Message as _;

const PROTOS: &[&str] = &[
    "feature_auth/session/v1/session.proto",
    "feature_auth/mailer/v1/mailer.proto",
    "feature_auth/audit/v1/audit.proto",
];

#[test]
fn the_checked_in_code_is_what_the_protos_generate() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = tempfile::tempdir().unwrap();
    let descriptors = protox::compile(PROTOS, [manifest.join("../../proto")]).unwrap();
    fs::write(fresh.path().join("descriptors.bin"), descriptors.encode_to_vec()).unwrap();
    tonic_prost_build::configure()
        .out_dir(fresh.path())
        .build_transport(true)
        .compile_fds(descriptors)
        .unwrap();

    let checked_in = manifest.join("src/generated");
    for entry in fs::read_dir(fresh.path()).unwrap() {
        let file = entry.unwrap();
        let generated = fs::read(file.path()).unwrap();
        let target = checked_in.join(file.file_name());
        if std::env::var_os("REGENERATE").is_some() {
            fs::write(&target, &generated).unwrap();
        }
        let same = fs::read(&target).is_ok_and(|present| present == generated);
        assert!(same, "{} drifted from proto/: run `make generate`", target.display());
    }
}
