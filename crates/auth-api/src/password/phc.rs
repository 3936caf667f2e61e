use argon2::PasswordHash;
use base64::prelude::*;
use clock::{CryptoRng, random_bytes};
use zeroize::Zeroizing;

/// Bytes of salt (RFC 9106, section 3.1).
pub(super) const SALT_BYTES: usize = 16;
/// Bytes of tag.
pub(super) const TAG_BYTES: usize = 32;

/// The cost of one Argon2id version 19 hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashParameters {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl HashParameters {
    /// The least that is accepted, and the default: OWASP's recommendation for Argon2id.
    pub const FLOOR: Self = Self { memory_kib: 19_456, passes: 2, lanes: 1 };
    /// The most that a stored hash may cost; a larger one did not come from here.
    pub(crate) const CEILING: Self = Self { memory_kib: 262_144, passes: 10, lanes: 4 };

    /// Whether each of the parameters is between the floor and the ceiling.
    #[must_use]
    pub fn is_acceptable(self) -> bool {
        (Self::FLOOR.memory_kib..=Self::CEILING.memory_kib).contains(&self.memory_kib)
            && (Self::FLOOR.passes..=Self::CEILING.passes).contains(&self.passes)
            && (Self::FLOOR.lanes..=Self::CEILING.lanes).contains(&self.lanes)
    }
}

/// A hash as it is stored: a PHC string, taken apart.
pub(super) struct StoredHash {
    pub(super) parameters: HashParameters,
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) tag: Zeroizing<[u8; TAG_BYTES]>,
}

impl StoredHash {
    /// Reads a PHC string of ours; `None` for any other algorithm, version, size or cost.
    pub(super) fn parse(phc: &str) -> Option<Self> {
        let hash = PasswordHash::new(phc).ok()?;
        if hash.algorithm != argon2::ARGON2ID_IDENT || hash.version != Some(19) {
            return None;
        }
        let parameters = HashParameters {
            memory_kib: hash.params.get_decimal("m")?,
            passes: hash.params.get_decimal("t")?,
            lanes: hash.params.get_decimal("p")?,
        };
        let salt = hash.salt.as_ref()?.as_ref().try_into().ok()?;
        let tag = hash.hash.as_ref()?.as_bytes().try_into().ok()?;
        parameters.is_acceptable().then_some(Self { parameters, salt, tag: Zeroizing::new(tag) })
    }

    /// A hash that no password has, so that a comparison costs what it costs for a real account.
    pub(super) fn dummy(parameters: HashParameters, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self { parameters, salt: random_bytes(rng), tag: Zeroizing::new(random_bytes(rng)) }
    }

    /// The PHC string.
    pub(super) fn to_phc(&self) -> Zeroizing<String> {
        let HashParameters { memory_kib, passes, lanes } = self.parameters;
        let (salt, tag) =
            (BASE64_STANDARD_NO_PAD.encode(self.salt), BASE64_STANDARD_NO_PAD.encode(*self.tag));
        Zeroizing::new(format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_survives_being_written_and_read() {
        let hash = StoredHash::dummy(HashParameters::FLOOR, &mut clock::secure_rng());
        let read = StoredHash::parse(&hash.to_phc()).unwrap();
        assert_eq!((read.parameters, read.salt, *read.tag), (hash.parameters, hash.salt, *hash.tag));
    }

    #[test]
    fn hashes_that_did_not_come_from_here_are_refused() {
        let ours = StoredHash::dummy(HashParameters::FLOOR, &mut clock::secure_rng()).to_phc();
        for phc in [
            "",
            "$2b$12$abcdefghijklmnopqrstuv",
            &ours.replace("argon2id", "argon2i"),
            &ours.replace("v=19", "v=16"),
            &ours.replace("m=19456", "m=8"),
            &ours.replace("m=19456", "m=4000000"),
            &ours.replace("t=2", "t=1000"),
        ] {
            assert!(StoredHash::parse(phc).is_none(), "{phc}");
        }
    }
}
