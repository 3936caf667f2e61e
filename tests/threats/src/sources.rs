use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::Tier;

/// A test function named after an attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// The id in its name, for example `REG-04`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its file, from the top of the checkout.
    pub file: String,
    /// What runs it.
    pub tier: Tier,
}

/// Every test named after an attack in the crates and test crates below `root`, in the order of their files.
pub fn tests_below(root: &Path) -> io::Result<Vec<Test>> {
    let mut files = Vec::new();
    for folder in ["crates", "tests"] {
        collect(&root.join(folder), &mut files)?;
    }
    // The examples in here are texts, not tests.
    files.retain(|file| !file.starts_with(root.join("tests/threats")));
    files.sort();
    let mut tests = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let file = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        let tier = if file.starts_with("tests/soak/") { Tier::Nightly } else { Tier::EveryChange };
        tests.extend(test_functions(&text).filter_map(|name| {
            Some(Test { id: id_of(name)?, name: name.to_owned(), file: file.clone(), tier })
        }));
    }
    Ok(tests)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The names of the functions that the test runner runs; not of those that it ignores.
fn test_functions(source: &str) -> impl Iterator<Item = &str> {
    let (mut is_test, mut is_ignored) = (false, false);
    source.lines().map(str::trim).filter_map(move |line| {
        if let Some(attribute) = line.strip_prefix("#[") {
            let path = attribute.split(['(', ']']).next().unwrap_or_default();
            is_test |= path == "test" || path.ends_with("::test");
            is_ignored |= path.starts_with("ignore");
            return None;
        }
        let declaration = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
        let runs = std::mem::take(&mut is_test) && !std::mem::take(&mut is_ignored);
        runs.then(|| declaration.split('(').next()).flatten()
    })
}

/// `REG-04` for `reg_04_…` and `FX-SS-04` for `fx_ss_04_…`: three letters, or two after those of the faults, and two digits, so that a name that only
/// looks alike is no test of a row.
fn id_of(name: &str) -> Option<String> {
    let (family, letters, name) = match name.strip_prefix("fx_") {
        Some(rest) => ("FX-", 2, rest),
        None => ("", 3, name),
    };
    let mut parts = name.splitn(3, '_');
    let (prefix, number, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let is_id = prefix.len() == letters
        && prefix.bytes().all(|byte| byte.is_ascii_lowercase())
        && number.len() == 2
        && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_id && !rest.is_empty()).then(|| format!("{family}{}-{number}", prefix.to_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_functions_that_run_are_tests() {
        let source = "
            #[test]
            fn reg_01_first() {}
            fn reg_02_no_test() {}
            #[tokio::test(flavor = \"multi_thread\")]
            #[ignore = \"slow\"]
            async fn reg_03_ignored() {}
            #[tokio::test(flavor = \"multi_thread\")]
            async fn reg_04_last() {}
        ";
        assert_eq!(test_functions(source).collect::<Vec<_>>(), ["reg_01_first", "reg_04_last"]);
    }

    #[test]
    fn an_id_is_three_letters_and_two_digits() {
        assert_eq!(id_of("reg_04_pre_hijacking").as_deref(), Some("REG-04"));
        assert_eq!(id_of("fx_ss_04_a_black_hole").as_deref(), Some("FX-SS-04"));
        for other in [
            "fx_ss_04",
            "fx_sss_04_x",
            "reg_04",
            "reg_4_x",
            "regs_04_x",
            "the_04_",
            "Reg_04_x",
            "a_well_formed_id_is_kept",
        ] {
            assert_eq!(id_of(other), None, "{other}");
        }
    }
}
