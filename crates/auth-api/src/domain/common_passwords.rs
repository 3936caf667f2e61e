//! The passwords that attackers try first, compiled in; `data/common-passwords/README.md` says where they come from.

use std::cmp::Ordering;

/// One a line, folded, in the order of their bytes.
const LONG: &[u8] = include_bytes!("../../data/common-passwords/long.txt");
const WORDS: &[u8] = include_bytes!("../../data/common-passwords/words.txt");

/// Whether a password, in NFKC and lower case, is one of those that are long enough to be chosen.
pub fn is_listed(folded: &str) -> bool {
    contains(LONG, folded)
}

/// Whether a part of a password, in NFKC and lower case, is a common password of eight code points or more.
pub fn is_common_word(folded: &str) -> bool {
    contains(WORDS, folded) || contains(LONG, folded)
}

/// Binary search by the line in the middle, so that the list needs no index.
fn contains(list: &[u8], entry: &str) -> bool {
    let is_newline = |byte: &u8| *byte == b'\n';
    let mut rest = list;
    while !rest.is_empty() {
        let (first_half, _) = rest.split_at(rest.len() / 2);
        let begins = first_half.iter().rposition(is_newline).map_or(0, |newline| newline + 1);
        let (before, from_line) = rest.split_at(begins);
        let ends = from_line.iter().position(is_newline).unwrap_or(from_line.len());
        let (line, after) = from_line.split_at(ends);
        rest = match line.cmp(entry.as_bytes()) {
            Ordering::Equal => return true,
            Ordering::Less => after.get(1..).unwrap_or_default(),
            Ordering::Greater => before,
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    #[test]
    fn every_entry_is_found_and_nothing_between_them() {
        for list in [LONG, WORDS] {
            let text = std::str::from_utf8(list).unwrap();
            for entry in text.lines().step_by(997).chain(text.lines().next()).chain(text.lines().last()) {
                assert!(contains(list, entry), "{entry}");
                assert!(!contains(list, &format!("{entry}\u{1}")), "{entry}");
            }
            assert!(!contains(list, "") && !contains(list, "\u{10FFFF}"));
        }
        assert!(!contains(b"", "a"));
    }

    #[test]
    fn the_lists_are_as_the_search_needs_them() {
        for (list, lengths) in [(LONG, 15..=64), (WORDS, 8..=14)] {
            let lines: Vec<&str> = std::str::from_utf8(list).unwrap().lines().collect();
            assert!(lines.is_sorted());
            for line in lines {
                assert!(lengths.contains(&line.chars().count()), "{line}");
                // Another final sigma, say, could never be found.
                assert_eq!(line.nfkc().collect::<String>().to_lowercase(), line);
            }
        }
    }

    #[test]
    fn well_known_passphrases_are_listed_and_the_guides_example_is_not() {
        assert!(is_listed("correcthorsebatterystaple") && is_listed("1q2w3e4r5t6y7u8i9o0p"));
        assert!(!is_listed("securepassword123") && !is_listed("correct horse battery staple"));
        assert!(is_common_word("password1") && !is_common_word("k9$qz!w7"));
    }
}
