use std::{fs::File, path::PathBuf};

use clap::Args;
use service_runtime::Problems;

use crate::password::{BreachFilter, BreachMode, PasswordPolicy};

/// Which passwords may be chosen.
#[expect(clippy::doc_markdown, reason = "the text of --help")]
#[derive(Args, Clone)]
pub struct PasswordSettings {
    /// What happens to chosen passwords that PASSWORD_BREACH_FILTER knows: `off`, `warn` (count and log them) or `enforce` (refuse them).
    #[arg(long, env = "PASSWORD_BREACH_MODE", default_value = "off")]
    password_breach_mode: String,
    /// A file of breached passwords that `auth-api breach-filter build` made; it is kept in memory.
    #[arg(long, env = "PASSWORD_BREACH_FILTER")]
    password_breach_filter: Option<PathBuf>,
}

/// Reads the filter, unless it is off.
pub(super) fn parse(settings: PasswordSettings, problems: &mut Problems) -> Option<PasswordPolicy> {
    let mode: BreachMode = problems.parse("PASSWORD_BREACH_MODE", &settings.password_breach_mode)?;
    if mode == BreachMode::Off {
        return Some(PasswordPolicy::default());
    }
    let Some(path) = settings.password_breach_filter else {
        problems.add("PASSWORD_BREACH_FILTER", "is required unless PASSWORD_BREACH_MODE is off");
        return None;
    };
    let loaded = File::open(path).map_err(Into::into).and_then(BreachFilter::read);
    let filter = super::understood("PASSWORD_BREACH_FILTER", loaded, problems)?;
    Some(PasswordPolicy::with_breach_filter(filter, mode))
}
