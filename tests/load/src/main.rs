//! The `load` command: see the library.

fn main() -> anyhow::Result<()> {
    load::cli::main()
}
