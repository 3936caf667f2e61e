//! A new migration is a reason to compile again: `embed_migrations!` reads a folder, which Cargo does not see.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations/mailer");
}
