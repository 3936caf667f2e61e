const HIDDEN: &str = "•••";

/// A mail address as somebody recognises it who knows it already: `a•••@e•••.com`.
///
/// Whoever took over an account chooses the address, and its domain may be one that invites to visit it. So it is masked
/// here, however much of it the command hides already, and what is left is nothing that a mail program makes a link of.
#[must_use]
pub fn masked_address(address: &str) -> String {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    let top_level = domain.rsplit_once('.').map(|(_, label)| label).filter(|label| is_top_level(label));
    let dot = if top_level.is_some() { "." } else { "" };
    format!("{}@{}{dot}{}", masked(local), masked(domain), top_level.unwrap_or_default())
}

fn masked(text: &str) -> String {
    let first = text.chars().next().filter(char::is_ascii_alphanumeric);
    first.map(String::from).unwrap_or_default() + HIDDEN
}

fn is_top_level(label: &str) -> bool {
    (2..=24).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_recognisable_and_no_link() {
        for (address, masked) in [
            ("ada@mail.example.com", "a•••@m•••.com"),
            ("a***@example.com", "a•••@e•••.com"),
            ("a•••@e•••.com", "a•••@e•••.com"),
            ("•••@xn--bcher-kva.xn--p1ai", "•••@x•••.xn--p1ai"),
            ("ada@localhost", "a•••@l•••"),
            ("visit evil.example", "v•••@•••"),
            ("a@evil.example/login", "a•••@e•••"),
            ("a@b.c\r\nd", "a•••@b•••"),
            ("", "•••@•••"),
        ] {
            assert_eq!(masked_address(address), masked);
        }
    }
}
