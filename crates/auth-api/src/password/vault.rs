use auth_ids::UserId;
use sealing::KeyRing;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    kernel::KernelError,
    phc::{HashParameters, StoredHash},
    pool::{HashPool, Overloaded},
};
use crate::domain::plain_password::PlainPassword;

/// Hashes and compares passwords, and seals the hashes: the key ring is a pepper that can rotate.
#[derive(Clone)]
pub struct PasswordVault {
    pool: HashPool,
    keys: KeyRing,
    parameters: HashParameters,
}

/// A password hash, not sealed to an account yet.
pub struct FreshHash(Zeroizing<String>);

/// Why a password could be neither hashed nor compared.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// See [`Overloaded`].
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The kernel failed: not enough memory, most likely.
    #[error("the password could not be hashed")]
    Kernel(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<KernelError> for VaultError {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error.into())
    }
}

impl PasswordVault {
    /// A vault that hashes with `parameters` and seals with `keys`.
    #[must_use]
    pub fn new(pool: HashPool, keys: KeyRing, parameters: HashParameters) -> Self {
        Self { pool, keys, parameters }
    }

    /// Hashes a chosen password.
    pub async fn hash(&self, password: &PlainPassword) -> Result<FreshHash, VaultError> {
        let fresh = StoredHash::dummy(self.parameters, &mut clock::secure_rng());
        let (parameters, salt, password) = (self.parameters, fresh.salt, password.clone());
        let tag = self.pool.run(move |kernel| kernel.tag(password.as_bytes(), &salt, parameters)).await??;
        Ok(FreshHash(StoredHash { tag, ..fresh }.to_phc()))
    }

    /// Seals a hash to the account `user`; it opens for no other one.
    #[must_use]
    pub fn seal(&self, hash: &FreshHash, user: UserId) -> Vec<u8> {
        self.keys.seal(hash.0.as_bytes(), &binding(user), &mut clock::secure_rng())
    }

    /// Whether `password` is the one whose sealed hash is `stored`. Without an account to compare with the work is the same and the answer is no.
    pub async fn verify(
        &self,
        password: &PlainPassword,
        stored: Option<(UserId, &[u8])>,
    ) -> Result<bool, VaultError> {
        let known = stored.and_then(|(user, sealed)| self.open(user, sealed));
        let is_known = known.is_some();
        let compared = known.unwrap_or_else(|| StoredHash::dummy(self.parameters, &mut clock::secure_rng()));
        let password = password.clone();
        let equal = self
            .pool
            .run(move |kernel| {
                let tag = kernel.tag(password.as_bytes(), &compared.salt, compared.parameters)?;
                Ok::<_, KernelError>(bool::from(tag.ct_eq(&*compared.tag)))
            })
            .await??;
        Ok(equal && is_known)
    }

    fn open(&self, user: UserId, sealed: &[u8]) -> Option<StoredHash> {
        let phc = self.keys.open(sealed, &binding(user)).ok();
        let hash = phc.as_deref().and_then(|phc| StoredHash::parse(std::str::from_utf8(phc).ok()?));
        if hash.is_none() {
            tracing::error!(user.id = %user, "The stored password of user {user} cannot be opened");
        }
        hash
    }
}

fn binding(user: UserId) -> Vec<u8> {
    format!("users/{user}/password").into_bytes()
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::password::{Kernel, KernelChoice};

    #[tokio::test]
    async fn a_hash_is_good_for_its_password_and_its_account_only() {
        let mut rng = clock::secure_rng();
        let kernel = Kernel::choose(KernelChoice::Auto, &mut rng);
        let pool = HashPool::new(kernel, 2, &Registry::new()).unwrap();
        let keys = KeyRing::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap();
        let vault = PasswordVault::new(pool, keys, HashParameters::FLOOR);
        let user = auth_ids::generate(&clock::SystemClock, &mut rng);
        let other = auth_ids::generate(&clock::SystemClock, &mut rng);
        let right = PlainPassword::presented("correct horse battery").unwrap();
        let wrong = PlainPassword::presented("correct horse batterz").unwrap();

        let sealed = vault.seal(&vault.hash(&right).await.unwrap(), user);
        assert!(vault.verify(&right, Some((user, &sealed))).await.unwrap());
        assert!(!vault.verify(&wrong, Some((user, &sealed))).await.unwrap());
        assert!(!vault.verify(&right, Some((other, &sealed))).await.unwrap());
        assert!(!vault.verify(&right, None).await.unwrap());
    }
}
