use auth_ids::{GenericUuid, UserId, Uuid};
use sealing::KeyRing;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    kernel::{KernelError, Workspace},
    phc::{HashParameters, StoredHash},
    pool::{Admission, HashPool, Overloaded},
};
use crate::domain::plain_password::PlainPassword;

/// Hashes and compares passwords, and seals the hashes: the key ring is a pepper that can rotate.
#[derive(Clone)]
pub struct PasswordVault {
    pool: HashPool,
    keys: KeyRing,
    parameters: HashParameters,
    /// A sealed hash that no password has, for accounts that do not exist: it costs what a real one costs to open and to compare with.
    decoy: Vec<u8>,
}

/// Nobody: the account of the decoy.
const NOBODY: Uuid = Uuid::nil();

/// A password hash, not sealed to an account yet.
pub struct FreshHash(Zeroizing<String>);

impl FreshHash {
    /// The hash that [`FreshHash::into_phc`] gave.
    #[must_use]
    pub fn from_phc(phc: Zeroizing<String>) -> Self {
        Self(phc)
    }

    /// The PHC string, for whoever seals it until its account is known.
    #[must_use]
    pub fn into_phc(self) -> Zeroizing<String> {
        self.0
    }
}

/// How a password compares with a stored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// It is another one, or there is none to compare with.
    Different,
    /// It is the same.
    Same,
    /// It is the same, and its hash should be made anew: the cost or the sealing key is not today's.
    SameButStale,
}

impl Comparison {
    /// Whether the password is the right one.
    #[must_use]
    pub fn is_same(self) -> bool {
        self != Self::Different
    }
}

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
        let mut rng = clock::secure_rng();
        let phc = StoredHash::dummy(parameters, &mut rng).to_phc();
        let decoy = keys.seal(phc.as_bytes(), &Self::binding(UserId::from_untyped_uuid(NOBODY)), &mut rng);
        Self { pool, keys, parameters, decoy }
    }

    /// Lets a request begin that will hash; asked before other work is spent on it. Waits for at most half a second.
    pub async fn admit(&self) -> Result<Admission, VaultError> {
        Ok(self.pool.admit().await?)
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
        self.keys.seal(hash.0.as_bytes(), &Self::binding(user), &mut clock::secure_rng())
    }

    /// What a sealed hash is bound to, so that it opens for no other account.
    #[must_use]
    pub fn binding(user: UserId) -> Vec<u8> {
        format!("users/{user}/password").into_bytes()
    }

    /// Whether `password` is the one whose sealed hash is `stored`. Without an account to compare with the work is the same and the answer is
    /// [`Comparison::Different`].
    pub async fn verify(
        &self,
        password: &PlainPassword,
        stored: Option<(UserId, &[u8])>,
    ) -> Result<Comparison, VaultError> {
        let (user, sealed) = stored.unwrap_or((UserId::from_untyped_uuid(NOBODY), &self.decoy));
        let opened = self.open(user, sealed);
        let is_known = stored.is_some() && opened.is_some();
        let is_current = self.keys.is_current(sealed)
            && opened.as_ref().is_some_and(|hash| hash.parameters == self.parameters);
        let compared = opened.unwrap_or_else(|| StoredHash::dummy(self.parameters, &mut clock::secure_rng()));
        let password = password.clone();
        let equal = self
            .pool
            .run(move |kernel| {
                let tag = kernel.tag(password.as_bytes(), &compared.salt, compared.parameters)?;
                Ok::<_, KernelError>(bool::from(tag.ct_eq(&*compared.tag)))
            })
            .await??;
        Ok(match (equal && is_known, is_current) {
            (false, _) => Comparison::Different,
            (true, true) => Comparison::Same,
            (true, false) => Comparison::SameButStale,
        })
    }

    /// A stale hash of `password` made anew: hashed again if it costs something else than today, and sealed with today's key. `None` when it
    /// cannot be opened. Fails as overloaded rather than wait for others.
    pub async fn renew(
        &self,
        password: &PlainPassword,
        user: UserId,
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, VaultError> {
        let Some(stored) = self.open(user, sealed) else { return Ok(None) };
        if stored.parameters == self.parameters {
            return Ok(Some(self.seal(&FreshHash(stored.to_phc()), user)));
        }
        let fresh = StoredHash::dummy(self.parameters, &mut clock::secure_rng());
        let (parameters, salt, password) = (self.parameters, fresh.salt, password.clone());
        let work = move |kernel: &mut Workspace| kernel.tag(password.as_bytes(), &salt, parameters);
        let tag = self.pool.run_if_idle(work).await??;
        Ok(Some(self.seal(&FreshHash(StoredHash { tag, ..fresh }.to_phc()), user)))
    }

    fn open(&self, user: UserId, sealed: &[u8]) -> Option<StoredHash> {
        let phc = self.keys.open(sealed, &Self::binding(user)).ok();
        let hash = phc.as_deref().and_then(|phc| StoredHash::parse(std::str::from_utf8(phc).ok()?));
        if hash.is_none() {
            tracing::error!(user.id = %user, "The stored password of user {user} cannot be opened");
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::password::{Kernel, KernelChoice};

    const OLD: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const NEW: &str = "k2:_wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn vault(keys: &str, parameters: HashParameters) -> PasswordVault {
        let kernel = Kernel::choose(KernelChoice::Auto, &mut clock::secure_rng());
        let pool = HashPool::new(kernel, 2, &Registry::new()).unwrap();
        PasswordVault::new(pool, KeyRing::parse(keys).unwrap(), parameters)
    }

    #[tokio::test]
    async fn a_hash_is_good_for_its_password_and_its_account_only() {
        let vault = vault(OLD, HashParameters::FLOOR);
        let user = auth_ids::generate(&clock::SystemClock, &mut clock::secure_rng());
        let other = auth_ids::generate(&clock::SystemClock, &mut clock::secure_rng());
        let right = PlainPassword::presented("correct horse battery").unwrap();
        let wrong = PlainPassword::presented("correct horse batterz").unwrap();

        let sealed = vault.seal(&vault.hash(&right).await.unwrap(), user);
        assert_eq!(vault.verify(&right, Some((user, &sealed))).await.unwrap(), Comparison::Same);
        assert_eq!(vault.verify(&wrong, Some((user, &sealed))).await.unwrap(), Comparison::Different);
        assert_eq!(vault.verify(&right, Some((other, &sealed))).await.unwrap(), Comparison::Different);
        assert_eq!(vault.verify(&right, None).await.unwrap(), Comparison::Different);
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_or_key_is_stale_until_it_is_renewed() {
        let (old, rotated) = (vault(OLD, HashParameters::FLOOR), format!("{NEW},{OLD}"));
        let dearer = HashParameters { passes: 3, ..HashParameters::FLOOR };
        let user = auth_ids::generate(&clock::SystemClock, &mut clock::secure_rng());
        let right = PlainPassword::presented("correct horse battery").unwrap();
        let wrong = PlainPassword::presented("correct horse batterz").unwrap();
        let sealed = old.seal(&old.hash(&right).await.unwrap(), user);

        for (vault, hashes) in [
            (vault(&rotated, HashParameters::FLOOR), 0),
            (vault(OLD, dearer), 1),
            (vault(&rotated, dearer), 1),
        ] {
            assert_eq!(vault.verify(&right, Some((user, &sealed))).await.unwrap(), Comparison::SameButStale);
            assert_eq!(vault.verify(&wrong, Some((user, &sealed))).await.unwrap(), Comparison::Different);
            let before = vault.pool.hashes();
            let renewed = vault.renew(&right, user, &sealed).await.unwrap().unwrap();
            assert_eq!(vault.pool.hashes() - before, hashes);
            assert_eq!(vault.verify(&right, Some((user, &renewed))).await.unwrap(), Comparison::Same);
            assert_eq!(vault.verify(&wrong, Some((user, &renewed))).await.unwrap(), Comparison::Different);
        }
        assert_eq!(vault(NEW, dearer).renew(&right, user, &sealed).await.unwrap(), None);
    }
}
