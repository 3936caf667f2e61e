use std::{fmt, str::FromStr};

use clock::{CryptoRng, random_bytes};
use zeroize::Zeroizing;

use super::phc::{HashParameters, SALT_BYTES, TAG_BYTES};

/// What an operator may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelChoice {
    /// The fast kernel, if it agrees with the reference on this machine.
    Auto,
    /// The reference.
    Reference,
}

impl FromStr for KernelChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "reference" => Ok(Self::Reference),
            _ => Err("expected `auto` or `reference`"),
        }
    }
}

/// Computes Argon2id tags.
///
/// `Simd` is the crate `argon2-rust`, about 2.5 times as fast and not audited; `Reference` is the crate `argon2`. Both compute the same
/// function, which [`Kernel::choose`] checks before it trusts the faster one; see the decision record on password hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// `argon2-rust`, with the widest vector instructions that the processor has.
    Simd,
    /// `argon2`.
    Reference,
}

/// A kernel with memory that is used again and again, for one thread at a time.
pub(super) enum Workspace {
    Simd(Option<(HashParameters, argon2_rust::Hasher)>),
    Reference,
}

/// The parameters are beyond what Argon2 or the machine can do.
#[derive(Debug, thiserror::Error)]
#[error("Argon2id could not be computed: {0}")]
pub(super) struct KernelError(String);

impl Kernel {
    /// The kernel for `choice`: the fast one only after it gave the reference's answers to random inputs at four costs.
    pub fn choose(choice: KernelChoice, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        match choice {
            KernelChoice::Auto if agrees_with_reference(rng) => Self::Simd,
            KernelChoice::Auto => {
                tracing::error!("The fast Argon2id kernel disagrees with the reference; using the reference");
                Self::Reference
            }
            KernelChoice::Reference => Self::Reference,
        }
    }

    pub(super) fn workspace(self) -> Workspace {
        match self {
            Self::Simd => Workspace::Simd(None),
            Self::Reference => Workspace::Reference,
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Simd => "simd",
            Self::Reference => "reference",
        })
    }
}

impl Workspace {
    pub(super) fn tag(
        &mut self,
        password: &[u8],
        salt: &[u8; SALT_BYTES],
        parameters: HashParameters,
    ) -> Result<Zeroizing<[u8; TAG_BYTES]>, KernelError> {
        let mut tag = Zeroizing::new([0; TAG_BYTES]);
        match self {
            Self::Reference => reference(password, salt, parameters, &mut tag)?,
            Self::Simd(cached) => {
                let hasher = match cached {
                    Some((of, hasher)) if *of == parameters => hasher,
                    _ => &mut cached.insert((parameters, simd(parameters)?)).1,
                };
                hasher
                    .hash_into(password, salt, &mut *tag)
                    .map_err(|error| KernelError(error.to_string()))?;
            }
        }
        Ok(tag)
    }
}

fn simd(parameters: HashParameters) -> Result<argon2_rust::Hasher, KernelError> {
    use argon2_rust::{
        Algorithm, Argon2, Params, Version,
        params::{Memory, TagLen},
    };
    let params = Params::builder()
        .memory(Memory::kib(parameters.memory_kib.into()))
        .passes(parameters.passes)
        .lanes(parameters.lanes)
        .tag_len(TagLen::bytes(TAG_BYTES as u64))
        .build()
        .map_err(|error| KernelError(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hasher())
}

fn reference(
    password: &[u8],
    salt: &[u8],
    parameters: HashParameters,
    tag: &mut [u8; TAG_BYTES],
) -> Result<(), KernelError> {
    use argon2::{Algorithm, Argon2, Params, Version};
    let HashParameters { memory_kib, passes, lanes } = parameters;
    let params = Params::new(memory_kib, passes, lanes, Some(TAG_BYTES))
        .map_err(|error| KernelError(error.to_string()))?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, tag)
        .map_err(|error| KernelError(error.to_string()))
}

/// Compares both kernels at small parameters, at the platform's own, and with more than one lane.
fn agrees_with_reference(rng: &mut (impl CryptoRng + ?Sized)) -> bool {
    let costs = [(64, 1, 1), (257, 3, 1), (1024, 2, 4), (19_456, 2, 1)];
    let mut workspace = Kernel::Simd.workspace();
    costs.into_iter().enumerate().all(|(index, (memory_kib, passes, lanes))| {
        let parameters = HashParameters { memory_kib, passes, lanes };
        let password: [u8; 64] = random_bytes(rng);
        let password = password.get(..index * 21).unwrap_or(&password);
        let salt = random_bytes(rng);
        let mut expected = [0; TAG_BYTES];
        reference(password, &salt, parameters, &mut expected).is_ok()
            && workspace.tag(password, &salt, parameters).is_ok_and(|tag| *tag == expected)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9106 has no vector without secret and associated data; this one is the reference implementation's
    /// (`test.c`: version 19, t=2, m=2^16, p=1, "password", "somesalt").
    #[test]
    fn both_kernels_give_the_published_answer() {
        let parameters = HashParameters { memory_kib: 65_536, passes: 2, lanes: 1 };
        let mut tag = [0; TAG_BYTES];
        reference(b"password", b"somesalt", parameters, &mut tag).unwrap();
        let mut fast = [0; TAG_BYTES];
        simd(parameters).unwrap().hash_into(b"password", b"somesalt", &mut fast).unwrap();
        let published = [
            0x09, 0x31, 0x61, 0x15, 0xd5, 0xcf, 0x24, 0xed, 0x5a, 0x15, 0xa3, 0x1a, 0x3b, 0xa3, 0x26, 0xe5,
            0xcf, 0x32, 0xed, 0xc2, 0x47, 0x02, 0x98, 0x7c, 0x02, 0xb6, 0x56, 0x6f, 0x61, 0x91, 0x3c, 0xf7,
        ];
        assert_eq!(tag, published);
        assert_eq!(fast, published);
    }

    #[test]
    fn the_fast_kernel_is_chosen_only_when_it_agrees() {
        let mut rng = clock::secure_rng();
        assert_eq!(Kernel::choose(KernelChoice::Auto, &mut rng), Kernel::Simd);
        assert_eq!(Kernel::choose(KernelChoice::Reference, &mut rng), Kernel::Reference);
    }
}
