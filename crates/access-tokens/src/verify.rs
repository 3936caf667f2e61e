use chrono::{DateTime, Utc};
use pasetors::{
    token::{Public, UntrustedToken},
    version4::{PublicToken, V4},
};
use serde::Deserialize;

use crate::{AccessClaims, KeyId, PublicKey, PublicKeys, TokenScope};

/// Longer texts are refused before anything is decoded.
pub const MAX_TOKEN_BYTES: usize = 4096;
const MAX_FOOTER_BYTES: usize = 256;

/// Why a text is not a good access token. Whoever presented it learns only whether it is expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRejection {
    /// Another kind of text.
    #[error("not a v4.public token with a key id in its footer")]
    Malformed,
    /// It was signed by nobody we know of, or too long ago.
    #[error("its key is not known or retired")]
    UnknownKey,
    /// It was changed, or belongs to another environment or issuer.
    #[error("its signature is wrong")]
    Forged,
    /// It is signed, and means something else.
    #[error("its claims are not those of an access token of ours")]
    WrongClaims,
    /// Our clock or the signer's is wrong by more than the leeway.
    #[error("it is not valid yet")]
    NotYetValid,
    /// Its time is over.
    #[error("it is expired")]
    Expired,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Footer {
    kid: String,
}

/// The claims of a token of `scope` that one of `keys` signed (PASETO v4.public), expired or not, and the key. Most callers also ask
/// [`AccessClaims::check_time`].
pub fn verify<'a>(
    token: &str,
    keys: &'a PublicKeys,
    scope: &TokenScope,
    now: DateTime<Utc>,
) -> Result<(AccessClaims, &'a PublicKey), TokenRejection> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenRejection::Malformed);
    }
    let untrusted = UntrustedToken::<Public, V4>::try_from(token).map_err(|_| TokenRejection::Malformed)?;
    let kid = key_id_in(untrusted.untrusted_footer()).ok_or(TokenRejection::Malformed)?;
    let key = keys.find(&kid, now).ok_or(TokenRejection::UnknownKey)?;
    let trusted = PublicToken::verify(&key.key, &untrusted, None, Some(scope.implicit_assertion()))
        .map_err(|_| TokenRejection::Forged)?;
    let claims = AccessClaims::parse(trusted.payload())?;
    claims.check_scope(scope)?;
    Ok((claims, key))
}

/// The footer of tokens that the key `id` signs.
#[must_use]
pub fn footer_for(id: &KeyId) -> String {
    format!(r#"{{"kid":"{id}"}}"#)
}

/// Reads a footer that nobody has vouched for yet: only the one spelling of [`footer_for`].
fn key_id_in(footer: &[u8]) -> Option<KeyId> {
    if footer.len() > MAX_FOOTER_BYTES {
        return None;
    }
    let Footer { kid } = serde_json::from_slice(footer).ok()?;
    let id = KeyId::parse(&kid)?;
    (footer_for(&id).as_bytes() == footer).then_some(id)
}
