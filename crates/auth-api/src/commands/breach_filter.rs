//! `auth-api breach-filter …`

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Subcommand;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::password::BreachFilter;

/// `auth-api breach-filter …`
#[expect(clippy::doc_markdown, reason = "the text of --help")]
#[derive(Subcommand)]
pub enum BreachFilterCommand {
    /// Makes the file for PASSWORD_BREACH_FILTER of a list of hashes, such as the one that haveibeenpwned.com publishes. It takes 2.25 bytes a
    /// password, about 50 while it is made, and mistakes one good password in 65536 for a breached one.
    Build {
        /// The list: a SHA-1 in hexadecimal a line, perhaps with a colon and how often the password was seen; `-` reads it from standard input.
        #[arg(long)]
        from: PathBuf,
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
        /// Leaves out passwords that were seen less often.
        #[arg(long, default_value_t = 1)]
        min_count: u64,
    },
    /// Says whether a filter knows the password on standard input. Exits with 1 if it does.
    Check {
        /// The filter.
        #[arg(long)]
        filter: PathBuf,
    },
}

impl BreachFilterCommand {
    /// Runs it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Build { from, out, min_count } => build(&from, &out, min_count),
            Self::Check { filter } => check(&filter),
        }
    }
}

fn build(from: &Path, out: &Path, min_count: u64) -> anyhow::Result<ExitCode> {
    let list: Box<dyn BufRead> = if from.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(from).with_context(|| format!("cannot open {}", from.display()))?;
        Box::new(BufReader::with_capacity(1 << 20, file))
    };
    let filter = BreachFilter::build(list, min_count)?;
    replace_file(out, &filter).with_context(|| format!("cannot write {}", out.display()))?;
    let (passwords, size) = (filter.passwords(), fs::metadata(out)?.len());
    println!("{passwords} passwords that were seen at least {min_count} times, {size} bytes");
    Ok(ExitCode::SUCCESS)
}

/// A service that reads the file at this moment sees the old one or the new one.
fn replace_file(path: &Path, filter: &BreachFilter) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    let mut file = BufWriter::new(File::create(&name)?);
    filter.write(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    fs::rename(name, path)
}

fn check(path: &Path) -> anyhow::Result<ExitCode> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let filter = BreachFilter::read(file).map_err(|error| anyhow::anyhow!("{} {error}", path.display()))?;
    let text = Zeroizing::new(io::read_to_string(io::stdin()).context("standard input is not text")?);
    let typed = text.trim_end_matches(['\r', '\n']);
    let normalized = Zeroizing::new(typed.nfkc().collect::<String>());
    let is_known = filter.contains(typed.as_bytes()) || filter.contains(normalized.as_bytes());
    let (passwords, min_count) = (filter.passwords(), filter.min_count());
    let verdict = if is_known { "breached" } else { "not known" };
    println!("{verdict}: asked of {passwords} passwords that were seen at least {min_count} times");
    Ok(if is_known { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
