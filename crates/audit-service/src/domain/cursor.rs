use base64::prelude::*;
use chrono::{DateTime, TimeDelta, Utc};
use clock::CryptoRng;
use sealing::KeyRing;

use super::{Criteria, FilterInvalid};

const DEFAULT_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 100;
/// How far pages can be counted: the events before the page are read each time.
const DEEPEST: u32 = 10_000;
/// Separates these sealed values from any others of the same key.
const DOMAIN: &[u8] = b"audit-service cursor v2|";
/// Long enough to read a page, and short enough that a token that got out is soon worth nothing.
const LIFETIME: TimeDelta = TimeDelta::hours(1);

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

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The newest events.
    First,
    /// That many events are before it.
    Skip(u32),
    /// After the page with this token.
    Token(String),
}

impl Place {
    /// `page` counts from 1, and 0 is none.
    pub fn parse(page: u32, size: PageSize, token: Option<&str>) -> Result<Self, PlaceInvalid> {
        let both = FilterInvalid { field: "page", why: "is given together with page_token" };
        match (page, token) {
            (0, None) => Ok(Self::First),
            (0, Some(token)) => Ok(Self::Token(token.to_owned())),
            (_, Some(_)) => Err(both.into()),
            (page, None) => {
                let end = page.checked_mul(size.0).filter(|end| *end <= DEEPEST);
                end.map(|end| Self::Skip(end - size.0)).ok_or(PlaceInvalid::TooDeep)
            }
        }
    }
}

/// Why there is no such page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaceInvalid {
    #[error(transparent)]
    Invalid(#[from] FilterInvalid),
    #[error("the page is deeper than pages are counted")]
    TooDeep,
}

/// Who gets and gives back a page token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader(String);

impl Reader {
    /// A service is its role, since the next page may be asked for by another of its replicas; a person is themselves.
    #[must_use]
    pub fn of(role: Option<&str>, name: String) -> Self {
        match role {
            Some(role) if role != "operator" => Self(role.to_owned()),
            _ => Self(name),
        }
    }
}

/// Where the next page begins: below the last `seq` of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub before: i64,
}

impl Cursor {
    /// The page token for the one who gets it back: opaque, and of use only to the same reader, with the same criteria, for an
    /// hour.
    pub fn seal(
        self,
        criteria: &Criteria,
        reader: &Reader,
        keys: &KeyRing,
        now: DateTime<Utc>,
        rng: &mut impl CryptoRng,
    ) -> String {
        let expires = (now + LIFETIME).timestamp();
        let content = [self.before.to_be_bytes(), expires.to_be_bytes()].concat();
        BASE64_URL_SAFE_NO_PAD.encode(keys.seal(&content, &binding(criteria, reader), rng))
    }

    /// Fails for a page token that is not ours, was changed, has expired, or belongs to another search or reader.
    pub fn open(
        token: &str,
        criteria: &Criteria,
        reader: &Reader,
        keys: &KeyRing,
        now: DateTime<Utc>,
    ) -> Result<Self, PageTokenInvalid> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| PageTokenInvalid)?;
        let opened = keys.open(&sealed, &binding(criteria, reader)).map_err(|_| PageTokenInvalid)?;
        let (before, expires) = opened.split_first_chunk::<8>().ok_or(PageTokenInvalid)?;
        let expires = i64::from_be_bytes(expires.try_into().map_err(|_| PageTokenInvalid)?);
        if now.timestamp() >= expires {
            return Err(PageTokenInvalid);
        }
        Ok(Self { before: i64::from_be_bytes(*before) })
    }
}

/// A page token that is not ours, was changed, has expired, or belongs to another search or reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the page token is not one for this search")]
pub struct PageTokenInvalid;

fn binding(criteria: &Criteria, reader: &Reader) -> Vec<u8> {
    // The digest has a length of its own, so that nothing runs into the reader's name.
    [DOMAIN, &criteria.digest(), reader.0.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Filter, Scope, TypeFilter};

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn keys() -> KeyRing {
        KeyRing::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap()
    }

    fn reader(role: &str, name: &str) -> Reader {
        Reader::of(Some(role), name.to_owned())
    }

    fn criteria(filter: Filter, scope: Scope) -> Criteria {
        Criteria::new(filter, scope).unwrap()
    }

    #[test]
    fn a_page_has_1_to_100_events_and_50_by_default() {
        let rows = |requested| PageSize::parse(requested).map(PageSize::rows);
        assert_eq!((rows(0), rows(1), rows(100)), (Ok(50), Ok(1), Ok(100)));
        assert_eq!(rows(101).unwrap_err().field, "page_size");
    }

    #[test]
    fn pages_are_counted_to_a_depth_and_never_together_with_a_token() {
        let size = PageSize::parse(100).unwrap();
        assert_eq!(Place::parse(0, size, None), Ok(Place::First));
        assert_eq!(Place::parse(1, size, None), Ok(Place::Skip(0)));
        assert_eq!(Place::parse(100, size, None), Ok(Place::Skip(9_900)));
        for page in [101, u32::MAX] {
            assert_eq!(Place::parse(page, size, None), Err(PlaceInvalid::TooDeep));
        }
        assert!(matches!(Place::parse(1, size, Some("t")), Err(PlaceInvalid::Invalid(_))));
    }

    #[test]
    fn aud_06_a_cursor_opens_only_unchanged_and_in_its_own_search() {
        let keys = keys();
        let domain = Filter { r#type: Some(TypeFilter::parse("auth.").unwrap()), ..Filter::default() };
        let own = criteria(domain.clone(), Scope::default());
        let auth_api = reader("auth-api", "auth-api/1");
        let token = Cursor { before: 7 }.seal(&own, &auth_api, &keys, NOW, &mut clock::secure_rng());
        let open = |token: &str, criteria: &Criteria| Cursor::open(token, criteria, &auth_api, &keys, NOW);
        assert_eq!(open(&token, &own), Ok(Cursor { before: 7 }));
        let viewer = Scope { viewer: Some("bob".to_owned()), ..Scope::default() };
        let hidden = Scope { omit_personal_data: true, ..Scope::default() };
        for other in [
            criteria(Filter::default(), Scope::default()),
            criteria(domain.clone(), viewer),
            criteria(domain, hidden),
        ] {
            assert_eq!(open(&token, &other), Err(PageTokenInvalid));
        }
        for index in 0..token.len() {
            let other = if token.as_bytes()[index] == b'A' { "B" } else { "A" };
            let mut edited = token.clone();
            edited.replace_range(index..=index, other);
            assert_eq!(open(&edited, &own), Err(PageTokenInvalid), "character {index}");
            assert_eq!(open(&token[..index], &own), Err(PageTokenInvalid), "cut at {index}");
        }
        for foreign in ["7", "=", "ü", " "] {
            assert_eq!(open(foreign, &own), Err(PageTokenInvalid));
        }
    }

    #[test]
    fn aud_06_a_cursor_is_good_for_an_hour_and_for_its_reader() {
        let (keys, own) = (keys(), Criteria::default());
        let alice = reader("operator", "operator/alice");
        let token = Cursor { before: 7 }.seal(&own, &alice, &keys, NOW, &mut clock::secure_rng());
        let open = |reader: &Reader, after| Cursor::open(&token, &own, reader, &keys, NOW + after);
        assert!(open(&alice, TimeDelta::minutes(59)).is_ok());
        assert_eq!(open(&alice, LIFETIME), Err(PageTokenInvalid));
        for other in [
            reader("operator", "operator/bob"),
            reader("auth-api", "auth-api"),
            Reader::of(None, "unverified".to_owned()),
        ] {
            assert_eq!(open(&other, TimeDelta::zero()), Err(PageTokenInvalid));
        }
        assert_eq!(reader("auth-api", "auth-api/1"), reader("auth-api", "auth-api/2"));
    }
}
