//! The passwords that attackers try first, compiled in; `data/common-passwords/README.md` says where they come from.

mod key;

use xorf::{BinaryFuse32Ref, Filter, FilterRef};

/// Whether a password, in NFKC and lower case, is one of those that are long enough to be chosen.
pub fn is_listed(folded: &str) -> bool {
    LONG.contains(folded)
}

/// Whether a part of a password, in NFKC and lower case, is a common password of eight code points or more.
pub fn is_common_word(folded: &str) -> bool {
    WORDS.contains(folded) || LONG.contains(folded)
}

/// A folded list as a binary fuse filter of 32 bits, which `build.rs` makes: 4.5 bytes an entry instead of 18. It misses none, and takes one in four
/// billions of others for one of them. It is asked as it lies in the program.
struct List {
    descriptor: &'static [u8],
    fingerprints: &'static Aligned<[u8]>,
}

/// Fingerprints are read as numbers of 32 bits.
#[repr(C, align(4))]
struct Aligned<Bytes: ?Sized>(Bytes);

static LONG: List = List {
    descriptor: include_bytes!(concat!(env!("OUT_DIR"), "/long.descriptor")),
    fingerprints: &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/long.fingerprints"))),
};
static WORDS: List = List {
    descriptor: include_bytes!(concat!(env!("OUT_DIR"), "/words.descriptor")),
    fingerprints: &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/words.fingerprints"))),
};

impl List {
    fn contains(&self, folded: &str) -> bool {
        BinaryFuse32Ref::from_dma(self.descriptor, &self.fingerprints.0).contains(&key::of(folded))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use unicode_normalization::UnicodeNormalization;

    use super::*;

    const LISTS: [(&List, &str, RangeInclusive<usize>); 2] = [
        (&LONG, include_str!("../../data/common-passwords/long.txt"), 15..=64),
        (&WORDS, include_str!("../../data/common-passwords/words.txt"), 8..=14),
    ];

    #[test]
    fn every_entry_is_found_and_nothing_between_them() {
        for (list, text, _) in LISTS {
            for entry in text.lines() {
                assert!(list.contains(entry), "{entry}");
            }
            for entry in text.lines().step_by(97) {
                assert!(!list.contains(&format!("{entry}\u{1}")), "{entry}");
            }
            assert!(!list.contains("") && !list.contains("\u{10FFFF}"));
        }
    }

    #[test]
    fn the_lists_are_as_passwords_are_compared() {
        for (_, text, lengths) in LISTS {
            for line in text.lines() {
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
