use super::chosen_name::chosen_name;

/// What browsers put into their user agent, and what they are called; a browser also names those that it descends from, so
/// the first one that is found is the one.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
];
const SYSTEMS: &[(&str, &str)] = &[
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// How a mail names a device: by the name that its user chose, or by the browser and the system that its user agent tells of.
///
/// Whoever logs in chooses both, so of a user agent only words of ours are repeated.
#[must_use]
pub fn device_label(device: Option<&str>) -> Option<String> {
    let device = device?;
    if !device.starts_with("Mozilla/") {
        return chosen_name(Some(device)).map(ToOwned::to_owned);
    }
    let known = |names: &[(&str, &'static str)]| {
        names.iter().find(|(mark, _)| device.contains(mark)).map(|(_, name)| *name)
    };
    match (known(BROWSERS), known(SYSTEMS)) {
        (Some(browser), Some(system)) => Some(format!("{browser}, {system}")),
        (one, other) => one.or(other).map(ToOwned::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(device: &str) -> Option<String> {
        device_label(Some(device))
    }

    #[test]
    fn a_chosen_name_is_used_if_it_is_harmless() {
        assert_eq!(label("Ada's laptop").as_deref(), Some("Ada's laptop"));
        assert_eq!(label("Log in at evil.example"), None);
        assert_eq!(label("curl/8.5.0"), None);
        assert_eq!(device_label(None), None);
    }

    #[test]
    fn user_agents_are_put_into_words() {
        for (agent, words) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox, Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0",
                "Edge, Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36",
                "Chrome, Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                "Safari, iPhone",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
                "Safari, macOS",
            ),
            ("Mozilla/5.0 (Windows; see evil.example)", "Windows"),
        ] {
            assert_eq!(label(agent).as_deref(), Some(words));
        }
        assert_eq!(label("Mozilla/5.0 https://evil.example"), None);
    }
}
