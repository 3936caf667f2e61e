use unicode_normalization::UnicodeNormalization;

const MAX_CHARS: usize = 100;

/// The name that a user wants to be greeted by: 1 to 100 characters, NFC, without control or directional formatting characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(String);

/// The text cannot be a display name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a display name")]
pub struct NotADisplayName;

impl DisplayName {
    /// Reads a name; white space around it is dropped.
    pub fn parse(text: &str) -> Result<Self, NotADisplayName> {
        let name: String = text.trim().nfc().collect();
        let length = name.chars().count();
        let plain = !name.chars().any(|c| c.is_control() || is_formatting(c));
        if plain && (1..=MAX_CHARS).contains(&length) { Ok(Self(name)) } else { Err(NotADisplayName) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that change how the text around them is shown: line separators, directional overrides, invisible ones.
fn is_formatting(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_text() {
        assert_eq!(DisplayName::parse("  Zoë Müller ").unwrap().as_str(), "Zoë Müller");
        for text in ["", "   ", "a\0b", "a\nb", "a\u{202E}b", "a\u{2028}b", &"x".repeat(101)] {
            assert_eq!(DisplayName::parse(text), Err(NotADisplayName), "{text:?}");
        }
    }
}
