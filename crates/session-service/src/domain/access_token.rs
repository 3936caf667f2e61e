//! PASETO v4.public access tokens: minted here only, verified by everyone (crate `access-tokens`).

use access_tokens::{AccessClaims, MAX_TOKEN_BYTES, TokenScope, footer_for};
use pasetors::version4::PublicToken;

use super::key_set::SigningKey;

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

/// Signs `claims`; the same claims and key give the same token.
pub fn mint(claims: &AccessClaims, key: &SigningKey, scope: &TokenScope) -> Result<String, MintError> {
    let secret = key.secret.as_ref().ok_or(MintError::Key)?;
    let payload = serde_json::to_vec(claims)?;
    let footer = footer_for(&key.id);
    let token =
        PublicToken::sign(secret, &payload, Some(footer.as_bytes()), Some(scope.implicit_assertion()))
            .map_err(|_| MintError::Key)?;
    if token.len() > MAX_TOKEN_BYTES { Err(MintError::TooLong(token.len())) } else { Ok(token) }
}

#[cfg(test)]
mod tests;
