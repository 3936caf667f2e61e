//! A rotation of the signing key while sessions are in use on two replicas, and somebody verifies tokens from a list that is as old as it may be.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use access_tokens::{PublicKeys, TokenScope, verify};
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use test_support::eventually;

use crate::{
    harness::{DEADLINE, Running, new_user, now, start_two},
    keys::{kid_of, public_keys, rotate, time},
};

/// How far the clock moves at a time; a token lives for at least 285 s.
const STEP: i64 = 20;
/// auth-api keeps the list for a minute, and what it answers may be cached for five.
const LIST_IS_GOOD_FOR: TimeDelta = TimeDelta::minutes(6);

/// What the users of the sessions saw.
#[derive(Default)]
struct Seen {
    rounds: [AtomicUsize; 2],
    validations: AtomicUsize,
    failures: Mutex<Vec<String>>,
    signers: Mutex<BTreeSet<String>>,
    stop: AtomicBool,
}

/// A service that verifies tokens itself.
struct Verifier {
    keys: Mutex<Option<(DateTime<Utc>, PublicKeys)>>,
    scope: TokenScope,
}

impl Verifier {
    async fn verify(&self, token: &str, service: &Running) -> Result<(), String> {
        let now = now(service);
        let known = self.keys.lock().clone().filter(|(read_at, _)| now - *read_at < LIST_IS_GOOD_FOR);
        let keys = if let Some((_, keys)) = known {
            keys
        } else {
            let keys = read_keys(service).await;
            *self.keys.lock() = Some((now, keys.clone()));
            keys
        };
        verify(token, &keys, &self.scope, now).map(|_| ()).map_err(|error| error.to_string())
    }
}

async fn read_keys(service: &Running) -> PublicKeys {
    let keys = public_keys(service).await.into_iter().map(|key| {
        let retire_at = key.retire_at.map(|at| time(Some(at)));
        access_tokens::PublicKey::from_paserk(&key.kid, &key.paserk, time(key.not_before), retire_at).unwrap()
    });
    PublicKeys::new(keys.collect())
}

/// Logs in and refreshes on one replica, and has the tokens validated on both and by the verifier.
async fn use_sessions(
    rounds: &AtomicUsize,
    here: &Running,
    there: &Running,
    verifier: &Verifier,
    seen: &Seen,
) {
    let mut held: Vec<(DateTime<Utc>, String)> = Vec::new();
    let mut refresh_token = here.create(&new_user()).await.refresh_token;
    while !seen.stop.load(Ordering::Relaxed) {
        let fresh = here.create(&new_user()).await.access_token;
        let refreshed = here.refresh(&refresh_token).await.unwrap();
        refresh_token = refreshed.refresh_token;
        let at = now(here);
        held.retain(|(minted_at, _)| at - *minted_at <= TimeDelta::seconds(200));
        held.extend([(at, fresh), (at, refreshed.access_token)]);
        // The two newest, and the oldest that is still good.
        let tokens = held.iter().rev().take(2).chain(held.first());
        for (minted_at, token) in tokens {
            seen.signers.lock().insert(kid_of(token));
            let mut verdicts = vec![("verifier", verifier.verify(token, there).await)];
            for (name, service) in [("here", here), ("there", there)] {
                let answer = service.validate(token).await;
                verdicts
                    .push((name, if answer.active { Ok(()) } else { Err(format!("{:?}", answer.reason())) }));
            }
            seen.validations.fetch_add(verdicts.len(), Ordering::Relaxed);
            for (who, verdict) in verdicts {
                if let Err(error) = verdict {
                    let failure = format!("{who}: {error}, minted at {minted_at}, now {}", now(here));
                    seen.failures.lock().push(failure);
                }
            }
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets everybody do a round or two between the steps of the clock.
async fn advance(service: &Running, seconds: i64, seen: &Seen) {
    for _ in 0..seconds / STEP {
        let rounds = || seen.rounds.each_ref().map(|rounds| rounds.load(Ordering::Relaxed));
        let before = rounds();
        eventually("everybody to go on", DEADLINE, || async {
            let moved = rounds().iter().zip(before).all(|(now, before)| *now > before + 1);
            (moved || !seen.failures.lock().is_empty()).then_some(())
        })
        .await;
        service.advance(STEP);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tok_07_a_rotation_under_load_fails_no_validation() {
    let (_database, one, other) = start_two().await;
    let seen = Seen::default();
    let [mine, theirs] = &seen.rounds;
    let scope = TokenScope::new("development", "https://auth.example", "feature-auth");
    let verifier = Verifier { keys: Mutex::default(), scope };
    let drill = async {
        advance(&one, 60, &seen).await;
        let old = seen.signers.lock().first().cloned().unwrap();
        let next = rotate(&one, false).await.unwrap();
        eventually("both replicas to publish it", DEADLINE, || async {
            public_keys(&other).await.contains(&next).then_some(())
        })
        .await;
        // Publish, sign, retire, and some more.
        advance(&one, (15 + 16 + 2) * 60, &seen).await;
        seen.stop.store(true, Ordering::Relaxed);
        (old, next.kid)
    };
    let ((old, next), (), ()) = tokio::join!(
        drill,
        use_sessions(mine, &one, &other, &verifier, &seen),
        use_sessions(theirs, &other, &one, &verifier, &seen)
    );
    let left: Vec<_> = public_keys(&one).await.into_iter().map(|key| key.kid).collect();
    let failures = seen.failures.into_inner();
    assert!(
        failures.is_empty(),
        "{} of {:?} failed: {:?}",
        failures.len(),
        seen.validations,
        failures.first()
    );
    assert_eq!(left, std::slice::from_ref(&next));
    assert_eq!(seen.signers.into_inner(), BTreeSet::from([old, next]));
}
