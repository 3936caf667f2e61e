const MAX_CHARS: usize = 100;
/// The shortest telephone numbers that a mail program makes something to tap on have seven digits.
const DIGITS_OF_A_TELEPHONE_NUMBER: usize = 7;

/// The name that somebody chose for themselves or for a device, or `None` where repeating it in a mail would be unwise.
///
/// Anybody can register a stranger's address with a name of their choice, or log in from a device with one, and we deliver
/// that name to the stranger. A name that reads like an advertisement with a link or a telephone number, or that brings its
/// own paragraphs, is therefore left out.
#[must_use]
pub fn chosen_name(name: Option<&str>) -> Option<&str> {
    let name = name?.trim();
    let plain = !name.is_empty()
        && name.chars().count() <= MAX_CHARS
        && !name.chars().any(|c| c.is_control() || is_invisible(c) || is_part_of_links(c))
        && !has_dotted_word(name)
        && !has_telephone_number(name);
    plain.then_some(name)
}

fn is_part_of_links(c: char) -> bool {
    matches!(c, '/' | '\\' | ':' | '@' | '／' | '：' | '＠')
}

/// Whether a mail program would make a link of a part of `name`: a dot between letters, as in `example.com` but not as in
/// `J. R. R.` or `J.R.R.`
fn has_dotted_word(name: &str) -> bool {
    name.split_whitespace().any(|word| {
        let is_name = |label: &str| label.chars().count() > 1 && label.chars().any(char::is_alphabetic);
        let labels = word.split(is_dot);
        labels.clone().zip(labels.skip(1)).any(|(before, label)| !before.is_empty() && is_name(label))
    })
}

/// The dots that IDNA takes for one, and one that looks like it.
fn is_dot(c: char) -> bool {
    matches!(c, '.' | '\u{3002}' | '\u{FF0E}' | '\u{FF61}' | '\u{2024}')
}

fn has_telephone_number(name: &str) -> bool {
    name.split(|c: char| !c.is_numeric() && !matches!(c, ' ' | '+' | '-' | '(' | ')' | '.'))
        .any(|run| run.chars().filter(|c| c.is_numeric()).count() >= DIGITS_OF_A_TELEPHONE_NUMBER)
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_and_devices_are_repeated() {
        for name in [
            "Ada",
            "Zoë Müller",
            "J. R. R. Tolkien",
            "J.R.R. Tolkien",
            "O'Brien-Smith",
            "{{7*7}}",
            "<script>",
            "李小龍",
            "Ada's iPhone 15 Pro Max",
            "ThinkPad (work), Windows 11",
            "macOS 14.5",
        ] {
            assert_eq!(chosen_name(Some(name)), Some(name));
        }
        assert_eq!(chosen_name(Some("  Ada ")), Some("Ada"));
    }

    #[test]
    fn advertisements_and_layout_tricks_are_not() {
        for name in [
            "",
            "   ",
            "Win at evil.example",
            "www.evil.example",
            ".evil.example",
            "(evil.example)",
            "t.co",
            "evil。example",
            "evil．example",
            "https://evil.example",
            "a@evil.example",
            "Support: +49 30 123456",
            "Call 0900 1234567",
            "Call (0900) 123-45.67",
            "Ada\r\nBcc: x",
            "Ada\n\nYour account is locked",
            "a\u{202E}b",
            "a\u{2028}b",
            &"x".repeat(101),
        ] {
            assert_eq!(chosen_name(Some(name)), None, "{name:?}");
        }
        assert_eq!(chosen_name(None), None);
    }
}
