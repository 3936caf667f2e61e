use std::fmt;

use pasetors::{keys::AsymmetricPublicKey, paserk::Id, version4::V4};

use crate::public_keys::paserk;

/// The PASERK id of a public key, `k4.pid.…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyId(String);

impl KeyId {
    const PREFIX: &str = "k4.pid.";
    /// The prefix and 33 bytes in base64.
    const LENGTH: usize = Self::PREFIX.len() + 44;

    /// The id spelt by `text`; `None` unless it is exactly one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digest = text.strip_prefix(Self::PREFIX)?;
        let well_formed = text.len() == Self::LENGTH
            && digest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        well_formed.then(|| Self(text.to_owned()))
    }

    /// The id of `public`.
    #[must_use]
    pub fn of(public: &AsymmetricPublicKey<V4>) -> Self {
        Self(paserk(&Id::from(public)))
    }

    /// The id as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use pasetors::keys::{AsymmetricKeyPair, Generate};

    use super::*;

    #[test]
    fn a_key_id_is_read_strictly() {
        let id = KeyId::of(&AsymmetricKeyPair::<V4>::generate().unwrap().public);
        assert_eq!(KeyId::parse(id.as_str()), Some(id.clone()));
        let text = id.as_str();
        for wrong in [
            "",
            "k4.pid.",
            &text[..50],
            &format!("{text}A"),
            &text.replace("k4", "k2"),
            &format!("{}=", &text[..50]),
        ] {
            assert_eq!(KeyId::parse(wrong), None, "{wrong}");
        }
    }
}
