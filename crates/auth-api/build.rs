//! Turns the lists of common passwords into filters that are asked where they lie. And a new migration is a reason to compile again: `embed_migrations!`
//! reads a folder, which Cargo does not see.

use std::{env, error::Error, fs, path::Path};

use xorf::{BinaryFuse32, DmaSerializable};

#[path = "src/domain/common_passwords/key.rs"]
mod key;

const LISTS: &str = "data/common-passwords";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../../migrations/auth-api");
    println!("cargo::rerun-if-changed={LISTS}");
    println!("cargo::rerun-if-changed=src/domain/common_passwords/key.rs");
    let target_is = |variable: &str, value: &str| env::var_os(variable).is_some_and(|it| it == value);
    if target_is("CARGO_CFG_TARGET_OS", "linux") && target_is("CARGO_CFG_TARGET_ENV", "gnu") {
        // A megabyte of relocations becomes some kilobytes. It takes binutils 2.38 and glibc 2.36, which Debian 12 has.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    let out = env::var_os("OUT_DIR").ok_or("Cargo says where files go")?;
    for list in ["long", "words"] {
        let text = fs::read_to_string(Path::new(LISTS).join(list).with_extension("txt"))?;
        let keys: Vec<u64> = text.lines().map(key::of).collect();
        let filter = BinaryFuse32::try_from(&keys)?;
        let mut descriptor = [0; BinaryFuse32::DESCRIPTOR_LEN];
        filter.dma_copy_descriptor_to(&mut descriptor);
        let file = Path::new(&out).join(list);
        fs::write(file.with_extension("descriptor"), descriptor)?;
        fs::write(file.with_extension("fingerprints"), filter.dma_fingerprints())?;
    }
    Ok(())
}
