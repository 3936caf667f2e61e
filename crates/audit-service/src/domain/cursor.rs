use base64::prelude::*;
use clock::CryptoRng;
use sealing::KeyRing;

use super::{Filter, FilterInvalid};

const DEFAULT_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 100;
/// Separates these sealed values from any others of the same key.
const DOMAIN: &[u8] = b"audit-service cursor v1|";

/// How many events a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// 1 to 100; 0 stands for 50.
    pub fn parse(requested: u32) -> Result<Self, FilterInvalid> {
        match requested {
            0 => Ok(Self(DEFAULT_PAGE)),
            1..=LARGEST_PAGE => Ok(Self(requested)),
            _ => Err(FilterInvalid { field: "page_size", why: "is more than 100" }),
        }
    }

    #[must_use]
    pub fn rows(self) -> usize {
        self.0 as usize
    }
}

/// Where the next page begins: below the last `seq` of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub before: i64,
}

impl Cursor {
    /// The page token for the one who gets it back: opaque, and of use only with the same filter.
    pub fn seal(self, filter: &Filter, keys: &KeyRing, rng: &mut impl CryptoRng) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(keys.seal(&self.before.to_be_bytes(), &binding(filter), rng))
    }

    /// Fails for a page token that is not ours, was changed, or belongs to another filter.
    pub fn open(token: &str, filter: &Filter, keys: &KeyRing) -> Result<Self, PageTokenInvalid> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| PageTokenInvalid)?;
        let opened = keys.open(&sealed, &binding(filter)).map_err(|_| PageTokenInvalid)?;
        let before = opened.as_slice().try_into().map_err(|_| PageTokenInvalid)?;
        Ok(Self { before: i64::from_be_bytes(before) })
    }
}

/// A page token that is not ours, was changed, or belongs to another filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the page token is not one for this filter")]
pub struct PageTokenInvalid;

fn binding(filter: &Filter) -> Vec<u8> {
    [DOMAIN, &filter.digest()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TypeFilter;

    #[test]
    fn a_page_has_1_to_100_events_and_50_by_default() {
        let rows = |requested| PageSize::parse(requested).map(PageSize::rows);
        assert_eq!((rows(0), rows(1), rows(100)), (Ok(50), Ok(1), Ok(100)));
        assert_eq!(rows(101).unwrap_err().field, "page_size");
    }

    #[test]
    fn a_cursor_opens_only_unchanged_and_with_its_own_filter() {
        let keys = KeyRing::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap();
        let filter = Filter { r#type: Some(TypeFilter::parse("auth.").unwrap()), ..Filter::default() };
        let token = Cursor { before: 7 }.seal(&filter, &keys, &mut clock::secure_rng());
        assert_eq!(Cursor::open(&token, &filter, &keys), Ok(Cursor { before: 7 }));
        assert_eq!(Cursor::open(&token, &Filter::default(), &keys), Err(PageTokenInvalid));
        for index in 0..token.len() {
            let other = if token.as_bytes()[index] == b'A' { "B" } else { "A" };
            let mut edited = token.clone();
            edited.replace_range(index..=index, other);
            assert_eq!(Cursor::open(&edited, &filter, &keys), Err(PageTokenInvalid), "character {index}");
            assert_eq!(
                Cursor::open(&token[..index], &filter, &keys),
                Err(PageTokenInvalid),
                "cut at {index}"
            );
        }
        for foreign in ["7", "=", "ü", " "] {
            assert_eq!(Cursor::open(foreign, &filter, &keys), Err(PageTokenInvalid));
        }
    }
}
