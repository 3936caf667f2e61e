use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use super::templates;

/// Ours have at most three kilobytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Templates of the operator's, by the name of the built-in file that each replaces.
#[derive(Debug, Clone, Default)]
pub struct Overrides(Arc<BTreeMap<String, String>>);

/// Why a directory of templates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OverridesError {
    /// It is not there, or not ours to read.
    #[error("cannot be read: {0}")]
    Directory(#[source] io::Error),
    /// A file in it is not there, or not ours to read.
    #[error("cannot be used: {file}: {why}")]
    File {
        /// Its name.
        file: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Overrides {
    /// Reads `directory`. Every file in it must have the name of a built-in one; those that begin with a dot are ignored.
    pub fn read(directory: &Path) -> Result<Self, OverridesError> {
        let root = directory.canonicalize().map_err(OverridesError::Directory)?;
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&root).map_err(OverridesError::Directory)? {
            let name = entry.map_err(OverridesError::Directory)?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            let failed = |why| OverridesError::File { file: name.escape_debug().to_string(), why };
            let content = read(&root, &name).map_err(failed)?;
            files.insert(name.into_owned(), content);
        }
        Ok(Self(Arc::new(files)))
    }

    /// The content of a file, if it is there.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of all files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn read(root: &Path, name: &str) -> Result<String, String> {
    if templates::built_in(name).is_none() {
        return Err("there is no built-in template of this name (`mailer templates export` writes them all)"
            .to_owned());
    }
    // Orchestrators mount files as symbolic links into a hidden directory beside them; out of the directory none may lead.
    let path = root.join(name).canonicalize().map_err(|error| error.to_string())?;
    if !path.starts_with(root) {
        return Err("leads out of the directory".to_owned());
    }
    if !path.is_file() {
        return Err("is not a file".to_owned());
    }
    let mut content = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut content).map_err(|error| error.to_string())?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("is longer than {MAX_FILE_BYTES} bytes"));
    }
    // Written on Windows, it would have no subject line.
    Ok(content.replace("\r\n", "\n"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn refusal(directory: &Path) -> String {
        Overrides::read(directory).unwrap_err().to_string()
    }

    #[test]
    fn files_replace_built_in_ones_by_their_name() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("footer.en.txt"), "Bye\r\n").unwrap();
        fs::write(directory.path().join(".DS_Store"), "x").unwrap();
        let overrides = Overrides::read(directory.path()).unwrap();
        assert_eq!(overrides.get("footer.en.txt"), Some("Bye\n"));
        assert_eq!(overrides.names().count(), 1);
    }

    #[test]
    fn a_mounted_directory_of_links_is_read() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("..2026")).unwrap();
        fs::write(directory.path().join("..2026/footer.en.txt"), "Bye\n").unwrap();
        symlink("..2026", directory.path().join("..data")).unwrap();
        symlink("..data/footer.en.txt", directory.path().join("footer.en.txt")).unwrap();
        assert_eq!(Overrides::read(directory.path()).unwrap().get("footer.en.txt"), Some("Bye\n"));
    }

    #[test]
    fn what_is_not_a_template_of_this_directory_is_refused() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "hush").unwrap();
        let file = "footer.en.txt";
        for (make, why) in [
            (
                (|at: &Path, out: &Path| symlink(out.join("secret"), at).unwrap()) as fn(&Path, &Path),
                "leads out of the directory",
            ),
            (|at, _| symlink("/proc/self/environ", at).unwrap(), "leads out of the directory"),
            (|at, _| symlink("missing", at).unwrap(), "No such file"),
            (|at, _| fs::create_dir(at).unwrap(), "is not a file"),
            (|at, _| fs::write(at, [0xff]).unwrap(), "valid UTF-8"),
            (|at, _| fs::write(at, vec![b'x'; 65 * 1024]).unwrap(), "is longer than"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            make(&directory.path().join(file), outside.path());
            let refusal = refusal(directory.path());
            assert!(
                refusal.starts_with("cannot be used: footer.en.txt: ") && refusal.contains(why),
                "{refusal}"
            );
        }
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("fotter.en.txt"), "Bye").unwrap();
        assert!(refusal(directory.path()).contains("fotter.en.txt: there is no built-in template"));
        assert!(refusal(&directory.path().join("missing")).starts_with("cannot be read: "));
    }
}
