use std::fmt;

use clock::{CryptoRng, random_bytes};
use zeroize::Zeroizing;

/// Crockford's base 32: without I, L, O and U, which are read as something else.
const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHARACTERS: usize = 24;
const GROUP: usize = 6;

/// How many codes an account gets.
pub const COUNT: usize = 10;

/// Stands for the authenticator app once, when that is lost. 120 random bits.
pub struct RecoveryCode(Zeroizing<String>);

impl RecoveryCode {
    /// A new code.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let bytes = Zeroizing::new(random_bytes::<CHARACTERS>(rng));
        let alphabet = ALPHABET.as_bytes();
        let characters = bytes.iter().filter_map(|byte| alphabet.get(usize::from(byte & 31)));
        Self(Zeroizing::new(characters.copied().map(char::from).collect()))
    }

    /// Reads a code as people type it: in any case, grouped or not, with letters in place of the digits that they look like.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut canonical = Zeroizing::new(String::with_capacity(CHARACTERS));
        for character in text.chars().filter(|character| *character != '-' && !character.is_whitespace()) {
            let character = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            if canonical.len() == CHARACTERS || !ALPHABET.contains(character) {
                return None;
            }
            canonical.push(character);
        }
        (canonical.len() == CHARACTERS).then_some(Self(canonical))
    }

    /// The code without groups, to be hashed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The code as it is shown.
    #[must_use]
    pub fn grouped(&self) -> String {
        let groups = self.0.as_bytes().chunks(GROUP).map(String::from_utf8_lossy);
        groups.collect::<Vec<_>>().join("-")
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = RecoveryCode::generate(&mut clock::secure_rng());
        let shown = code.grouped();
        assert_eq!((shown.len(), shown.matches('-').count()), (27, 3));
        for typed in [
            shown.clone(),
            shown.to_lowercase(),
            shown.replace('-', ""),
            format!(" {} ", shown.replace('-', " ")),
        ] {
            assert_eq!(RecoveryCode::parse(&typed).unwrap().expose(), code.expose());
        }
        let alike = RecoveryCode::parse("oOiIlL-ABCDEF-GHJKMN-PQRSTV").unwrap();
        assert_eq!(alike.grouped(), "001111-ABCDEF-GHJKMN-PQRSTV");
        assert!(!format!("{code:?}").contains(code.expose()));
    }

    #[test]
    fn what_is_no_code_is_not_taken_for_one() {
        let code = RecoveryCode::generate(&mut clock::secure_rng());
        for wrong in [
            "",
            "123456",
            "-",
            &code.expose()[1..],
            &format!("{}0", code.expose()),
            &"U".repeat(24),
            &"ß".repeat(24),
        ] {
            assert!(RecoveryCode::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
