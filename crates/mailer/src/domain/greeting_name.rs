const MAX_CHARS: usize = 100;

/// The name to greet somebody by, or `None` where greeting by it would be unwise.
///
/// Anybody can register a stranger's address with a name of their choice, and we deliver that name to the stranger. A name
/// that reads like an advertisement with a link, or that brings its own paragraphs, is therefore left out.
#[must_use]
pub fn greeting_name(display_name: Option<&str>) -> Option<&str> {
    let name = display_name?.trim();
    let plain = !name.is_empty()
        && name.chars().count() <= MAX_CHARS
        && !name.chars().any(|c| c.is_control() || is_invisible(c) || matches!(c, '/' | '\\' | ':' | '@'))
        && !has_dotted_word(name);
    plain.then_some(name)
}

/// Whether a mail program would make a link of a part of `name`: a dot between letters, as in `example.com` but not as in
/// `J. R. R.` or `J.R.R.`
fn has_dotted_word(name: &str) -> bool {
    name.split_whitespace().any(|word| {
        let is_name = |label: &str| label.chars().count() > 1 && label.chars().any(char::is_alphabetic);
        let mut labels = word.split('.');
        labels.next().is_some_and(|first| !first.is_empty()) && labels.any(is_name)
    })
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_greet() {
        for name in [
            "Ada",
            "Zoë Müller",
            "J. R. R. Tolkien",
            "J.R.R. Tolkien",
            "O'Brien-Smith",
            "{{7*7}}",
            "<script>",
            "李小龍",
        ] {
            assert_eq!(greeting_name(Some(name)), Some(name));
        }
        assert_eq!(greeting_name(Some("  Ada ")), Some("Ada"));
    }

    #[test]
    fn advertisements_and_layout_tricks_do_not() {
        for name in [
            "",
            "   ",
            "Win at evil.example",
            "www.evil.example",
            "https://evil.example",
            "a@evil.example",
            "Ada\r\nBcc: x",
            "Ada\n\nYour account is locked",
            "a\u{202E}b",
            "a\u{2028}b",
            &"x".repeat(101),
        ] {
            assert_eq!(greeting_name(Some(name)), None, "{name:?}");
        }
        assert_eq!(greeting_name(None), None);
    }
}
