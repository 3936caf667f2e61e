use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use service_runtime::Problems;

use crate::{
    mail::{brand::Brand, gallery, renderer::Renderer, templates},
    presentation::PresentationSettings,
};

/// The exit code for mistakes in the configuration, as everywhere.
const EXIT_CONFIG: u8 = 78;

/// What can be done with templates.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum TemplatesCommand {
    /// Proves the templates in `TEMPLATES_DIR` with samples of every mail; exits 78 when one cannot be used.
    Check {
        /// What mails look like.
        #[command(flatten)]
        presentation: PresentationSettings,
    },
    /// Writes a gallery of every mail in every language, to open in a browser.
    Render {
        /// Where to: `index.html` is the page.
        #[arg(long, value_name = "DIRECTORY")]
        out: PathBuf,
        /// What mails look like.
        #[command(flatten)]
        presentation: PresentationSettings,
    },
    /// Writes the built-in templates, to begin one's own with. Files that are there already stay as they are.
    Export {
        /// Where to.
        #[arg(long, value_name = "DIRECTORY")]
        out: PathBuf,
    },
}

/// Does what `command` says, and says what came of it.
#[must_use]
pub fn run(command: TemplatesCommand) -> ExitCode {
    let done = match command {
        TemplatesCommand::Check { presentation } => {
            with_brand(presentation, |_| Ok("the templates can be used".to_owned()))
        }
        TemplatesCommand::Render { out, presentation } => with_brand(presentation, |brand| {
            gallery::write(&Renderer::new(brand)?, &out)?;
            Ok(format!("see {}", out.join("index.html").display()))
        }),
        TemplatesCommand::Export { out } => export(&out).map(Ok),
    };
    match done {
        Ok(Ok(said)) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Ok(Err(problems)) => {
            eprintln!("the configuration has mistakes:\n{problems}");
            ExitCode::from(EXIT_CONFIG)
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn with_brand(
    presentation: PresentationSettings,
    action: impl FnOnce(Brand) -> anyhow::Result<String>,
) -> anyhow::Result<Result<String, Problems>> {
    let mut problems = Problems::new();
    // Whether the logo may come over plain http is the service's question.
    match presentation.configure(false, &mut problems) {
        Some(brand) => action(brand).map(Ok),
        None => Ok(Err(problems)),
    }
}

fn export(out: &std::path::Path) -> anyhow::Result<String> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut written = 0;
    for (name, content) in templates::all_built_in() {
        let file = out.join(name);
        match fs::File::create_new(&file) {
            Ok(mut created) => {
                std::io::Write::write_all(&mut created, content.as_bytes())
                    .with_context(|| format!("cannot write {}", file.display()))?;
                written += 1;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot write {}", file.display())),
        }
    }
    Ok(format!("wrote {written} templates to {}", out.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::overrides::Overrides;

    #[test]
    fn exported_templates_can_be_used_and_changed_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        let changed = directory.path().join("footer.en.txt");
        fs::write(&changed, "Bye\n").unwrap();
        export(directory.path()).unwrap();
        assert_eq!(fs::read_to_string(changed).unwrap(), "Bye\n");
        let templates = Overrides::read(directory.path()).unwrap();
        assert_eq!(templates.names().count(), templates::all_built_in().count());
        assert_eq!(Renderer::mistakes(&Brand { templates, ..Brand::named("Acme") }), []);
    }
}
