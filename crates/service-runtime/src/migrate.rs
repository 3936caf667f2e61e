use std::process::ExitCode;

use pg::{bootstrap::Bootstrap, migrate};

use crate::{Problems, Service, command_line::MigrateAction, config::DatabaseUrls};

/// Runs everything of `migrate`; `up` is followed by the service's own hook, which the caller runs.
pub(crate) async fn run<S: Service>(action: MigrateAction, urls: &DatabaseUrls) -> anyhow::Result<ExitCode> {
    match action {
        MigrateAction::Bootstrap => return bootstrap::<S>(urls).await,
        MigrateAction::Up => list("applied", &migrate::up(&urls.migrations, S::migrations()).await?),
        MigrateAction::Down { count } => {
            list("reverted", &migrate::down(&urls.migrations, S::migrations(), count).await?);
        }
        MigrateAction::Status => {
            for migration in migrate::status(&urls.migrations, S::migrations()).await? {
                println!("{:<8} {}", if migration.applied { "applied" } else { "pending" }, migration.name);
            }
        }
        MigrateAction::History => {
            for migration in migrate::history(&urls.migrations, S::migrations()).await? {
                let name =
                    migration.name.unwrap_or_else(|| format!("{} (of another release)", migration.version));
                println!("{}  {name}", migration.applied_at.format("%Y-%m-%dT%H:%M:%SZ"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds what `action` needs beyond what every command needs.
pub(crate) fn require(action: MigrateAction, urls: &DatabaseUrls, problems: &mut Problems) {
    if matches!(action, MigrateAction::Bootstrap) && urls.bootstrap.is_none() && problems.is_empty() {
        problems.add("BOOTSTRAP_DATABASE_URL", "is required by `migrate bootstrap`");
    }
}

async fn bootstrap<S: Service>(urls: &DatabaseUrls) -> anyhow::Result<ExitCode> {
    let Some(admin_url) = &urls.bootstrap else { return Ok(ExitCode::FAILURE) };
    let left_undone = pg::bootstrap::run(&Bootstrap {
        admin_url,
        owner_url: &urls.migrations,
        app_url: &urls.serving,
        schema: S::SCHEMA,
        default_search_path: S::DEFAULT_SEARCH_PATH,
    })
    .await?;
    if let Some(left_undone) = left_undone {
        eprintln!("{}: {}", S::NAME, telemetry::redact(&left_undone));
    }
    println!("the schema {} and its roles are ready", S::SCHEMA);
    Ok(ExitCode::SUCCESS)
}

fn list(verb: &str, names: &[String]) {
    for name in names {
        println!("{verb} {name}");
    }
    if names.is_empty() {
        println!("nothing to do");
    }
}
