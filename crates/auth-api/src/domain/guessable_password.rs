//! Passwords that are long enough and yet guessed at once. There are no rules about which kinds of characters to use.

use std::{collections::BTreeSet, fmt};

use zeroize::Zeroizing;

use super::common_passwords;

/// A password with fewer different code points is a pattern.
const MIN_DISTINCT: usize = 5;
/// What is left of a password when every run and repetition counts once must be as long as what is left without words of the context.
const MIN_SUBSTANCE: usize = 8;
/// The shortest run: shorter ones are in ordinary words.
const MIN_RUN: usize = 3;

/// Neighbours on keyboards; a run follows one of these lines in either direction.
const KEYBOARD_LINES: [&str; 31] = [
    // US, and what other layouts change: German, French, Russian.
    "`1234567890-=",
    "~!@#$%^&*()_+",
    "qwertyuiop[]\\",
    "asdfghjkl;'",
    "zxcvbnm,./",
    "!\"§$%&/()=?",
    "qwertzuiopü+",
    "asdfghjklöä#",
    "yxcvbnm,.-",
    "azertyuiop^$",
    "qsdfghjklmù",
    "wxcvbn,;:!",
    "йцукенгшщзхъ",
    "фывапролджэ",
    "ячсмитьбю",
    // From row to row, down and up again.
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
    "qazwsxedcrfvtgbyhnujmikolp",
    "1qay2wsx3edc4rfv5tgb6zhn7ujm",
    "1aqw2zsx3edc4rfv5tgb",
    "1qazxsw23edcvfr45tgbnhy67ujm",
    "qazxswedcvfrtgbnhyujm",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "1q2w3e4r5t6z7u8i9o0p",
    "qawsedrftgyhujikolp",
    "azsxdcfvgbhnjmk",
    // The keypad.
    "147258369",
    "741852963",
    "789456123",
    "159357",
    "951753",
];

/// Why a password is guessed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guessable {
    /// It is on the list of common passwords.
    Listed,
    /// It has only a few different characters.
    FewCharacters,
    /// It is something short, or something common, said again and again.
    Repetition,
    /// It is little more than neighbours in the alphabet, among the digits or on a keyboard.
    Sequence,
}

impl Guessable {
    /// Why `normalized`, a password in NFKC, is guessed at once; `None` if it is not.
    #[must_use]
    pub fn judge(normalized: &str) -> Option<Self> {
        let folded = Zeroizing::new(normalized.to_lowercase());
        let chars: Zeroizing<Vec<char>> = Zeroizing::new(folded.chars().collect());
        if common_passwords::is_listed(&folded) {
            return Some(Self::Listed);
        }
        let pattern = Self::pattern(&chars);
        pattern.or_else(|| is_common_repetition(&chars).then_some(Self::Repetition))
    }

    fn pattern(chars: &[char]) -> Option<Self> {
        if chars.iter().collect::<BTreeSet<_>>().len() < MIN_DISTINCT {
            Some(Self::FewCharacters)
        } else if period(chars) < MIN_SUBSTANCE && chars.len() > MIN_SUBSTANCE {
            Some(Self::Repetition)
        } else if is_sequence(chars) {
            Some(Self::Sequence)
        } else {
            None
        }
    }
}

impl fmt::Display for Guessable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listed => "it is one of the passwords that attackers try first",
            Self::FewCharacters => "it has only a few different characters",
            Self::Repetition => "it repeats itself",
            Self::Sequence => "it is a sequence",
        })
    }
}

/// The shortest distance at which every character equals the one before it.
fn period(chars: &[char]) -> usize {
    let repeats_after = |distance: usize| chars.iter().zip(chars.iter().skip(distance)).all(|(a, b)| a == b);
    (1..chars.len()).find(|distance| repeats_after(*distance)).unwrap_or(chars.len())
}

/// Whether it is a common password or a pattern twice or more, perhaps with something in between: `password password`.
fn is_common_repetition(chars: &[char]) -> bool {
    let period = period(chars);
    let unit = chars.get(..period).unwrap_or(chars);
    let end = unit.iter().rposition(|c| c.is_alphanumeric()).map_or(0, |last| last + 1);
    let word = unit.get(..end).unwrap_or(unit);
    let is_repeated = chars.len() >= period + word.len() && chars.len() > period && !word.is_empty();
    let text: Zeroizing<String> = Zeroizing::new(word.iter().collect());
    is_repeated && (common_passwords::is_common_word(&text) || Guessable::pattern(word).is_some())
}

/// Whether there is little more than runs, each counted as one character; or nothing else at all.
fn is_sequence(chars: &[char]) -> bool {
    let (mut runs, mut others, mut rest) = (0, 0, chars);
    while !rest.is_empty() {
        let run = run_length(rest);
        let taken = if run >= MIN_RUN { run } else { 1 };
        if taken > 1 {
            runs += 1;
        } else {
            others += 1;
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    others == 0 || runs + others < MIN_SUBSTANCE
}

/// How long the run is that `chars` begins with.
fn run_length(chars: &[char]) -> usize {
    let steps = [-1, 0, 1].into_iter().map(|step| step_length(chars, step));
    let lines = KEYBOARD_LINES.iter().map(|line| {
        let (forward, backward) = (line.chars(), line.chars().rev());
        line_length(chars, forward).max(line_length(chars, backward))
    });
    steps.chain(lines).max().unwrap_or(0)
}

/// How many of the first characters follow each other at `step` in Unicode: `abc`, `321`, `aaa`.
fn step_length(chars: &[char], step: i64) -> usize {
    let follows = |(a, b): &(&char, &char)| {
        i64::from(u32::from(**b)) - i64::from(u32::from(**a)) == step
            && (step == 0 || (a.is_alphanumeric() && b.is_alphanumeric()))
    };
    1 + chars.iter().zip(chars.iter().skip(1)).take_while(follows).count()
}

/// How many of the first characters follow each other on `line`.
fn line_length(chars: &[char], line: impl Iterator<Item = char> + Clone) -> usize {
    let Some(first) = chars.first() else { return 0 };
    let mut longest = 0;
    let mut from_here = line;
    while let Some(key) = from_here.next() {
        if key == *first {
            let more = chars.iter().skip(1).zip(from_here.clone()).take_while(|(c, key)| *c == key).count();
            longest = longest.max(1 + more);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_named() {
        for (expected, passwords) in [
            (
                Guessable::Listed,
                &["CorrectHorseBatteryStaple", "1Q2W3E4R5T6Y7U8I9O0P", "passwordpassword"][..],
            ),
            (
                Guessable::FewCharacters,
                &[
                    "               ",
                    "123412341234123",
                    "hahahahahahahaha",
                    "121212121212121",
                    "лолололололололо",
                ],
            ),
            (
                Guessable::Repetition,
                &[
                    "abcdeabcdeabcde",
                    "HunterHunterHunter",
                    "12345 12345 12345",
                    "Superman1superman1",
                    "password password",
                    "iloveyou-iloveyou-iloveyou",
                ],
            ),
            (
                Guessable::Sequence,
                &[
                    "abcdefghijklmno",
                    "onmlkjihgfedcba",
                    "qwertyuiopasdfg",
                    "QWERTZUIOPASDFG",
                    "1qaz@WSX3edc4rfv5tgb",
                    "qwerty!123456789",
                    "123412341234123x",
                    "1234567812345678",
                    "qwertyui!qwertyui!",
                    "aaaabbbbccccddddeeee",
                    "abc123xyz789qwe456",
                    "йцукенгшщзхъфыва",
                    "azertyuiopqsdfghjklm",
                ],
            ),
        ] {
            for password in passwords {
                let judged = Guessable::judge(password);
                assert!(
                    judged == Some(expected) || judged == Some(Guessable::Listed),
                    "{password}: {judged:?}"
                );
            }
        }
    }

    #[test]
    fn passphrases_and_random_strings_of_any_kind_of_characters_are_good() {
        for password in [
            "SecurePassword123",
            "correct horse battery staple",
            "CorrectHorseBattery1",
            "another good password",
            "aller guten dinge sind drei",
            "were we there before them",
            "treehouse power tools",
            "we sold 17 old ferries",
            "3141592653589793238",
            "xkqzjwvpmtbrlgdn",
            "ZKQXJWVPMTBRLGDN",
            "мой дядя самых честных правил",
            "国破山河在城春草木深感時花濺淚",
            "🦊🐻🦁🐸🐙🦄🐝🐢🦋🐳🦀🐞🐌🦔🦩",
            "k9$Qz!w7k9$Qz!w7",
        ] {
            assert_eq!(Guessable::judge(password), None, "{password}");
        }
    }
}
