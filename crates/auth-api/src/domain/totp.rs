use std::fmt;

use chrono::{DateTime, Utc};
use clock::{CryptoRng, random_bytes};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use totp_rs::{Algorithm, Builder, Secret, Totp, TotpError};
use zeroize::Zeroizing;

/// As long as the output of SHA-1 (RFC 4226, section 4, R6).
const SECRET_BYTES: usize = 20;
const STEP_SECONDS: i64 = 30;
/// Clocks of telephones are not exact: the code before and the code after the current one do as well (RFC 6238, section 5.2).
const NEIGHBOURS: i64 = 1;

/// What an authenticator app and we share.
pub struct TotpSecret(Zeroizing<Vec<u8>>);

impl TotpSecret {
    /// A new secret.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let bytes = Zeroizing::new(random_bytes::<SECRET_BYTES>(rng));
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// A stored secret; `None` when it has another length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == SECRET_BYTES).then(|| Self(Zeroizing::new(bytes.to_vec())))
    }

    /// The secret itself, to be sealed.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The time step whose code `presented` is, if that is the one of `now` or next to it. The time that this takes depends neither on where
    /// codes differ nor on which one it is.
    #[must_use]
    pub fn matching_step(&self, presented: &str, now: DateTime<Utc>) -> Option<i64> {
        // Apps show the code in two groups.
        let presented: Zeroizing<String> = Zeroizing::new(presented.split_whitespace().collect());
        let totp = self.with_names(None, "");
        let current = now.timestamp().div_euclid(STEP_SECONDS);
        let (mut found, mut is_found) = (0, Choice::from(0));
        for step in current - NEIGHBOURS..=current + NEIGHBOURS {
            let is_it = code(&totp, step).as_bytes().ct_eq(presented.as_bytes());
            // Where two steps have the same code the later one counts: it is used up with all before.
            found.conditional_assign(&step, is_it);
            is_found |= is_it;
        }
        bool::from(is_found).then_some(found)
    }

    /// The secret as people type it.
    #[must_use]
    pub fn base32(&self) -> Zeroizing<String> {
        Zeroizing::new(self.with_names(None, "").secret().to_base32())
    }

    /// What an authenticator app reads from a QR code.
    pub fn otpauth_url(&self, issuer: &str, account: &str) -> Result<Zeroizing<String>, TotpError> {
        // A colon separates the names, and apps read it as such however it is encoded.
        let plain = |name: &str| name.replace(':', " ");
        self.with_names(Some(plain(issuer)), &plain(account)).to_url().map(Zeroizing::new)
    }

    fn with_names(&self, issuer: Option<String>, account: &str) -> Totp {
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(6)
            .with_step_duration(STEP_SECONDS.unsigned_abs())
            .with_secret(Secret::from(self.0.to_vec()))
            .with_issuer(issuer)
            .with_account_name(account)
            .build_noncompliant()
    }
}

fn code(totp: &Totp, step: i64) -> Zeroizing<String> {
    let time = u64::try_from(step.saturating_mul(STEP_SECONDS)).unwrap_or(0);
    Zeroizing::new(totp.generate(time).to_string())
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        let secret = TotpSecret::from_bytes(b"12345678901234567890").unwrap();
        for (seconds, eight_digits) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(secret.matching_step(&eight_digits[2..], at(seconds)), Some(seconds / 30));
        }
    }

    #[test]
    fn a_code_is_good_for_its_step_and_the_ones_beside_it() {
        let secret = TotpSecret::from_bytes(b"12345678901234567890").unwrap();
        for (seconds, is_good) in [(29, false), (30, true), (60, true), (90, true), (119, true), (120, false)]
        {
            // "359152" is the code of step 2.
            assert_eq!(secret.matching_step("359152", at(seconds)).is_some(), is_good, "{seconds}");
        }
        assert_eq!(secret.matching_step(" 359 152", at(60)), Some(2));
    }

    #[test]
    fn mfa_07_only_the_whole_code_is_equal() {
        let secret = TotpSecret::from_bytes(b"12345678901234567890").unwrap();
        for wrong in ["", "3", "35915", "3591522", "359153", "459152", "+35915", "٣٥٩١٥٢", "359152\0"] {
            assert_eq!(secret.matching_step(wrong, at(60)), None, "{wrong:?}");
        }
    }

    /// The chance that the second of two kinds of comparison takes longer: a half when they cannot be told apart.
    fn auc(pairs: usize, mut left: impl FnMut(), mut right: impl FnMut()) -> f64 {
        fn time(comparison: &mut impl FnMut()) -> std::time::Duration {
            let started = std::time::Instant::now();
            comparison();
            started.elapsed()
        }
        // Which of them begins alternates, so that whatever else happens on the machine happens to both.
        let mut samples = Vec::new();
        for pair in 0..pairs {
            samples.push(if pair % 2 == 0 {
                (time(&mut left), time(&mut right))
            } else {
                let right = time(&mut right);
                (time(&mut left), right)
            });
        }
        let wins = samples.iter().flat_map(|(left, _)| {
            samples.iter().map(move |(_, right)| match right.cmp(left) {
                std::cmp::Ordering::Less => 0.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Greater => 1.0,
            })
        });
        wins.sum::<f64>() / f64::from(u32::try_from(pairs * pairs).unwrap())
    }

    #[test]
    fn mfa_07_comparisons_take_as_long_wherever_codes_differ() {
        let secret = TotpSecret::from_bytes(b"12345678901234567890").unwrap();
        let compare = |presented: &'static str| {
            let secret = &secret;
            move || {
                std::hint::black_box(secret.matching_step(std::hint::black_box(presented), at(60)));
            }
        };
        for (left, right) in [("459152", "359153"), ("000000", "359152"), ("287082", "000000")] {
            // What else the machine does moves single measurements. What the code does moves all of them.
            let mut measured = (0..10).map(|_| auc(2000, compare(left), compare(right)));
            let alike = measured.find(|auc| (0.45..=0.55).contains(auc));
            assert!(alike.is_some(), "{left} and {right} can be told apart each time");
        }
    }

    #[test]
    fn the_url_survives_every_name() {
        let secret = TotpSecret::from_bytes(b"12345678901234567890").unwrap();
        let url = secret.otpauth_url("auth.example.com", "a&b:c+d@example.com").unwrap();
        let expected = "otpauth://totp/auth.example.com:a%26b%20c%2Bd%40example.com\
                        ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=auth.example.com";
        assert_eq!(url.replace("%2E", "."), expected);
        assert!(!format!("{secret:?}").contains("1234"));
    }
}
