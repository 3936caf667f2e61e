use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

use crate::private_file;

/// The file that tells others where everything is: there while the stack is ready, and whole.
#[derive(Debug)]
pub(super) struct StackEnv {
    path: PathBuf,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    variables: Vec<(&'static str, String)>,
    published: bool,
}

impl StackEnv {
    /// Removes what a killed stack left.
    pub(super) fn withdrawn(path: &Path) -> anyhow::Result<Self> {
        private_file::remove(path)?;
        Ok(Self { path: path.to_owned(), content: Mutex::default() })
    }

    /// Adds or changes a variable.
    pub(super) fn set(&self, name: &'static str, value: String) -> anyhow::Result<()> {
        let mut content = self.content.lock();
        content.variables.retain(|(other, _)| *other != name);
        content.variables.push((name, value));
        self.write(&content)
    }

    /// Writes the file, from now on at each change.
    pub(super) fn publish(&self, variables: Vec<(&'static str, String)>) -> anyhow::Result<()> {
        let mut content = self.content.lock();
        content.variables.splice(..0, variables);
        content.published = true;
        self.write(&content)
    }

    pub(super) fn withdraw(&self) -> anyhow::Result<()> {
        self.content.lock().published = false;
        private_file::remove(&self.path)
    }

    fn write(&self, content: &Content) -> anyhow::Result<()> {
        if !content.published {
            return Ok(());
        }
        let lines = content.variables.iter().fold(String::new(), |mut lines, (name, value)| {
            let _ = writeln!(lines, "{name}={}", quoted(value));
            lines
        });
        private_file::write(&self.path, &lines)
    }
}

/// As a shell reads it; bare where that is the same, for readers that know no quotes.
fn quoted(value: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || "@%+=:,./_-".contains(character);
    if !value.is_empty() && value.chars().all(bare) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_a_shell() {
        for (value, expected) in [
            ("http://127.0.0.1:18000/x_y-z", "http://127.0.0.1:18000/x_y-z"),
            ("", "''"),
            ("it's $HOME", r"'it'\''s $HOME'"),
            ("a;b", "'a;b'"),
        ] {
            assert_eq!(quoted(value), expected);
        }
    }
}
