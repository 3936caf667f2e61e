//! PASETO v4.public access tokens: minted here only, verified by everyone.

use chrono::{DateTime, Utc};
use pasetors::{
    token::{Public, UntrustedToken},
    version4::{PublicToken, V4},
};
use serde::Deserialize;

use super::{
    claims::AccessClaims,
    key_set::{KeyId, KeySet, SigningKey},
};

/// Longer texts are refused before anything is decoded.
pub const MAX_TOKEN_BYTES: usize = 4096;
const MAX_FOOTER_BYTES: usize = 256;

/// For whom and where tokens are good. A token of another environment or issuer does not verify, even under the same key.
#[derive(Debug, Clone)]
pub struct TokenScope {
    pub issuer: String,
    pub audience: String,
    implicit_assertion: String,
}

impl TokenScope {
    pub fn new(environment: &str, issuer: &str, audience: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            implicit_assertion: format!("{environment}|{issuer}|access"),
        }
    }
}

/// Why a text is not a good access token. Callers learn only whether it is expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRejection {
    #[error("not a v4.public token with a key id in its footer")]
    Malformed,
    #[error("its key is not known or retired")]
    UnknownKey,
    #[error("its signature is wrong")]
    Forged,
    #[error("its claims are not those of an access token of ours")]
    WrongClaims,
    #[error("it is not valid yet")]
    NotYetValid,
    #[error("it is expired")]
    Expired,
}

/// The token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    #[error("the key cannot sign")]
    Key,
    #[error("the token would have {0} bytes")]
    TooLong(usize),
    #[error("the claims are not JSON")]
    Claims(#[from] serde_json::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Footer {
    kid: String,
}

/// Signs `claims`; the same claims and key give the same token.
pub fn mint(claims: &AccessClaims, key: &SigningKey, scope: &TokenScope) -> Result<String, MintError> {
    let secret = key.secret.as_ref().ok_or(MintError::Key)?;
    let payload = serde_json::to_vec(claims)?;
    let footer = footer_for(&key.id);
    let assertion = scope.implicit_assertion.as_bytes();
    let token = PublicToken::sign(secret, &payload, Some(footer.as_bytes()), Some(assertion))
        .map_err(|_| MintError::Key)?;
    if token.len() > MAX_TOKEN_BYTES { Err(MintError::TooLong(token.len())) } else { Ok(token) }
}

/// The claims of a token of `scope` that one of `keys` signed, expired or not. Most callers also ask [`AccessClaims::check_time`].
pub fn authenticate(
    token: &str,
    keys: &KeySet,
    scope: &TokenScope,
    now: DateTime<Utc>,
) -> Result<AccessClaims, TokenRejection> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenRejection::Malformed);
    }
    let untrusted = UntrustedToken::<Public, V4>::try_from(token).map_err(|_| TokenRejection::Malformed)?;
    let kid = key_id_in(untrusted.untrusted_footer()).ok_or(TokenRejection::Malformed)?;
    let key = keys.verifier(&kid, now).ok_or(TokenRejection::UnknownKey)?;
    let assertion = scope.implicit_assertion.as_bytes();
    let trusted = PublicToken::verify(&key.public, &untrusted, None, Some(assertion))
        .map_err(|_| TokenRejection::Forged)?;
    let claims = AccessClaims::parse(trusted.payload())?;
    claims.check_scope(scope)?;
    Ok(claims)
}

fn footer_for(id: &KeyId) -> String {
    format!(r#"{{"kid":"{id}"}}"#)
}

/// Reads a footer that nobody has vouched for yet: only the one spelling that [`mint`] writes.
fn key_id_in(footer: &[u8]) -> Option<KeyId> {
    if footer.len() > MAX_FOOTER_BYTES {
        return None;
    }
    let Footer { kid } = serde_json::from_slice(footer).ok()?;
    let id = KeyId::parse(&kid)?;
    (footer_for(&id).as_bytes() == footer).then_some(id)
}

#[cfg(test)]
mod tests;
