use std::path::{Path, PathBuf};

use tokio::process::Command;

/// The variables of one service.
#[derive(Debug, Default)]
pub(super) struct Environment(Vec<(&'static str, Value)>);

#[derive(Debug)]
enum Value {
    Text(String),
    /// The variable's `_FILE` form.
    File(PathBuf),
    /// Only where the developer has not chosen.
    UnlessSet(String),
}

impl Environment {
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<String>) -> &mut Self {
        self.0.push((name, Value::Text(value.into())));
        self
    }

    pub(super) fn file(&mut self, name: &'static str, path: &Path) -> &mut Self {
        self.0.push((name, Value::File(path.to_owned())));
        self
    }

    pub(super) fn unless_set(&mut self, name: &'static str, value: impl Into<String>) -> &mut Self {
        self.0.push((name, Value::UnlessSet(value.into())));
        self
    }

    /// A service refuses a variable that is there in both forms, so the other one goes.
    pub(super) fn apply(&self, command: &mut Command) {
        for (name, value) in &self.0 {
            let file_name = format!("{name}_FILE");
            match value {
                Value::Text(text) => command.env(name, text).env_remove(file_name),
                Value::File(path) => command.env(file_name, path).env_remove(name),
                Value::UnlessSet(_) if given(name).is_some() || given(&file_name).is_some() => command,
                Value::UnlessSet(text) => command.env(name, text),
            };
        }
    }
}

/// What the developer has chosen.
pub(super) fn given(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty())
}
