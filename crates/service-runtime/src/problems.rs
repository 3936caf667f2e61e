use std::{
    fmt::{self, Display, Write as _},
    fs,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use secrecy::SecretString;

/// Collects every mistake of the configuration, each naming its variable. Values are never repeated: they may be secret.
#[derive(Debug, Default)]
pub struct Problems(Vec<(String, String)>);

impl Problems {
    /// No mistakes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a mistake: `why` completes the sentence "`variable` …".
    pub fn add(&mut self, variable: &str, why: impl Display) {
        self.0.push((variable.to_owned(), why.to_string()));
    }

    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value, which must be there.
    pub fn required<T>(&mut self, variable: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(variable, "is required");
        }
        value
    }

    /// The value as a `T`, whose error must not repeat a value that may be secret.
    pub fn parse<T: FromStr>(&mut self, variable: &str, value: &str) -> Option<T>
    where
        T::Err: Display,
    {
        match value.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(variable, format_args!("cannot be understood: {error}"));
                None
            }
        }
    }

    /// A comma-separated list; empty text is the empty list.
    pub fn parse_list<T: FromStr>(&mut self, variable: &str, value: &str) -> Option<Vec<T>>
    where
        T::Err: Display,
    {
        let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
        // Every item is parsed before the first failure counts, so that all mistakes are reported.
        let parsed: Vec<Option<T>> = items.map(|item| self.parse(variable, item)).collect();
        parsed.into_iter().collect()
    }

    /// `true` or `false`.
    pub fn parse_bool(&mut self, variable: &str, value: &str) -> Option<bool> {
        match value.trim() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => {
                self.add(variable, "must be true or false");
                None
            }
        }
    }

    /// A number with its unit: `500ms`, `30s`, `15m`, `12h`, `30d`. Zero may stand alone.
    pub fn parse_duration(&mut self, variable: &str, value: &str) -> Option<Duration> {
        let duration = duration(value.trim());
        if duration.is_none() {
            self.add(variable, "must be a whole number with a unit: 500ms, 30s, 15m, 12h or 30d");
        }
        duration
    }

    /// A secret from the variable itself or from the file that `<variable>_FILE` names. Trailing line ends of the file are dropped;
    /// empty text counts as not set, and giving both is a mistake.
    pub fn optional_secret(
        &mut self,
        variable: &str,
        value: Option<String>,
        file: Option<PathBuf>,
    ) -> Option<SecretString> {
        let value = value.filter(|value| !value.is_empty());
        let file = file.filter(|file| !file.as_os_str().is_empty());
        match (value, file) {
            (Some(_), Some(_)) => {
                self.add(variable, format_args!("is set twice, by {variable} and by {variable}_FILE"));
                None
            }
            (Some(value), None) => Some(SecretString::from(value)),
            (None, Some(file)) => self.secret_from_file(&format!("{variable}_FILE"), &file),
            (None, None) => None,
        }
    }

    /// Like [`Problems::optional_secret`], but it must be there.
    pub fn required_secret(
        &mut self,
        variable: &str,
        value: Option<String>,
        file: Option<PathBuf>,
    ) -> Option<SecretString> {
        let before = self.len();
        let secret = self.optional_secret(variable, value, file);
        if secret.is_none() && self.len() == before {
            self.add(variable, format_args!("is required (or {variable}_FILE, a file that holds it)"));
        }
        secret
    }

    fn secret_from_file(&mut self, variable: &str, file: &std::path::Path) -> Option<SecretString> {
        match fs::read_to_string(file) {
            Ok(content) => {
                let secret = content.trim_end_matches(['\r', '\n']);
                if secret.is_empty() {
                    self.add(variable, format_args!("names an empty file, {}", file.display()));
                    return None;
                }
                Some(SecretString::from(secret))
            }
            Err(error) => {
                self.add(variable, format_args!("cannot be read from {}: {error}", file.display()));
                None
            }
        }
    }
}

/// One indented line a mistake.
impl Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (variable, why)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            write!(f, "  {variable} {why}")?;
        }
        Ok(())
    }
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "" if number == 0 => 1,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("15m"), Some(Duration::from_mins(15)));
        assert_eq!(duration("30d"), Some(Duration::from_hours(720)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        for wrong in
            ["", "5", "s", "5 s", "-5s", "1.5s", "5w", "99999999999999999999d", "999999999999999999d"]
        {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_mistake_is_kept_and_no_value_is_repeated() {
        let mut problems = Problems::new();
        problems.required::<String>("LISTEN", None);
        problems.parse::<u16>("PORT", "hunter2");
        problems.parse_list::<u16>("PORTS", "1, two, three");
        problems.parse_bool("CAPTCHA", "perhaps");
        problems.parse_duration("TTL", "5");
        problems.required_secret("KEY", None, None);
        let text = problems.to_string();
        assert_eq!(problems.len(), 7);
        assert_eq!(text.lines().count(), 7);
        assert!(text.contains("  LISTEN is required\n"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_secret_comes_from_the_variable_or_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        fs::write(&file, "from the file \n\r\n").unwrap();

        let mut problems = Problems::new();
        let secret = problems.required_secret("KEY", None, Some(file.clone())).unwrap();
        assert_eq!(secret.expose_secret(), "from the file ");
        let secret =
            problems.required_secret("KEY", Some("direct".to_owned()), Some(PathBuf::new())).unwrap();
        assert_eq!(secret.expose_secret(), "direct");
        assert!(problems.optional_secret("KEY", Some(String::new()), None).is_none());
        assert!(problems.is_empty());

        assert!(problems.optional_secret("KEY", Some("direct".to_owned()), Some(file)).is_none());
        assert!(problems.optional_secret("KEY", None, Some(directory.path().join("missing"))).is_none());
        assert_eq!(problems.len(), 2);
        assert!(problems.to_string().contains("KEY_FILE cannot be read"), "{problems}");
    }
}
