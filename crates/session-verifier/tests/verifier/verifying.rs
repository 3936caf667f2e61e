//! What is believed and what is not, while session-service is there.

use std::sync::atomic::Ordering;

use access_tokens::RevocationTarget;
use auth_proto::session::v1::{InactiveReason, RevocationBatch, watch_revocations_response::Event};
use chrono::TimeDelta;
use futures::future::join_all;
use prometheus::Registry;
use session_verifier::{Demands, Verifier, VerifyError};
use test_support::eventually;

use crate::fake::{Answer, Fake, Key, SOON, active, claims, config, revocation, verdict};

#[tokio::test]
async fn a_good_token_is_believed_without_asking() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    let claims = claims();
    let session = verifier.verify(&fake.mint(&claims)).unwrap();
    assert_eq!(session.user_id(), claims.sub);
    assert_eq!(session.session_id(), claims.sid);
    assert_eq!(session.token_id(), claims.jti);
    assert_eq!((session.roles(), session.permissions()), (&*claims.roles, &*claims.permissions));
    assert_eq!((session.amr(), session.aal(), session.epoch()), (&*claims.amr, 1, 3));
    assert_eq!((session.authenticated_at(), session.expires_at()), (claims.auth_time, claims.exp));
    assert_eq!(fake.asked(), 0);
}

#[tokio::test]
async fn what_is_not_a_token_of_ours_is_refused_without_asking() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    let good = claims();
    let mut forged = fake.mint(&good);
    forged.replace_range(20..21, if &forged[20..21] == "A" { "B" } else { "A" });
    let foreign = fake.state.keys.lock()[0].mint_in("production", &good);
    let mut for_others = good.clone();
    for_others.aud = "others".to_owned();
    for token in [String::new(), "v4.public.e30".to_owned(), forged, foreign, fake.mint(&for_others)] {
        assert_eq!(verifier.authenticate(&token).await.unwrap_err(), VerifyError::Invalid, "{token}");
    }
    let mut old = good;
    (old.iat, old.nbf) = (old.iat - TimeDelta::minutes(5), old.nbf - TimeDelta::minutes(5));
    old.exp = old.iat + TimeDelta::minutes(5) - TimeDelta::seconds(1);
    assert_eq!(verifier.authenticate(&fake.mint(&old)).await.unwrap_err(), VerifyError::Expired);
    assert_eq!(fake.asked(), 0);
}

#[tokio::test]
async fn tokens_of_a_revoked_session_die_and_no_others() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    let (revoked, other) = (claims(), claims());
    let (dead, alive) = (fake.mint(&revoked), fake.mint(&other));
    verifier.verify(&dead).unwrap();
    fake.revoke(RevocationTarget::Session(revoked.sid));
    verdict(&verifier, &dead, Some(VerifyError::Revoked)).await;
    assert_eq!(verifier.authenticate(&dead).await.unwrap_err(), VerifyError::Revoked);
    assert_eq!(verifier.verify_unconfirmed(&dead).unwrap_err(), VerifyError::Revoked);
    verifier.verify(&alive).unwrap();
    assert_eq!(fake.asked(), 0);
}

#[tokio::test]
async fn a_new_epoch_kills_the_tokens_of_earlier_ones() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    let before = claims();
    let mut after = claims();
    (after.sub, after.epoch) = (before.sub, 4);
    fake.revoke(RevocationTarget::UserBefore(before.sub, 4));
    verdict(&verifier, &fake.mint(&before), Some(VerifyError::Revoked)).await;
    verifier.verify(&fake.mint(&after)).unwrap();
}

#[tokio::test]
async fn nothing_is_believed_before_the_whole_snapshot_is_there() {
    let fake = Fake::start().await;
    let (first, second, third) = (claims(), claims(), claims());
    let part = |sid| vec![revocation(RevocationTarget::Session(sid))];
    *fake.state.snapshot.lock() = vec![part(first.sid), part(second.sid)];
    fake.state.completes.store(false, Ordering::SeqCst);
    let mut config = fake.config();
    config.first_contact = std::time::Duration::from_millis(100);
    let verifier = Verifier::connect(config).await.unwrap();
    // What is known already is believed.
    verdict(&verifier, &fake.mint(&first), Some(VerifyError::Revoked)).await;
    assert!(!verifier.is_current());
    assert_eq!(verifier.verify(&fake.mint(&third)).unwrap_err(), VerifyError::Unsure);
    fake.state.completes.store(true, Ordering::SeqCst);
    fake.end_streams();
    verdict(&verifier, &fake.mint(&third), None).await;
    assert_eq!(verifier.verify(&fake.mint(&second)).unwrap_err(), VerifyError::Revoked);
}

#[tokio::test]
async fn a_replica_that_has_not_heard_of_a_revocation_does_not_undo_it() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    let revoked = claims();
    let token = fake.mint(&revoked);
    fake.revoke(RevocationTarget::Session(revoked.sid));
    verdict(&verifier, &token, Some(VerifyError::Revoked)).await;
    // The next snapshot is empty.
    fake.end_streams();
    eventually("another stream", SOON, async || (fake.opened() == 2).then_some(())).await;
    let other = claims();
    fake.revoke(RevocationTarget::Session(other.sid));
    verdict(&verifier, &fake.mint(&other), Some(VerifyError::Revoked)).await;
    assert_eq!(verifier.verify(&token).unwrap_err(), VerifyError::Revoked);
}

#[tokio::test]
async fn a_token_from_before_the_snapshot_needs_a_question() {
    let fake = Fake::start().await;
    *fake.state.covers.lock() = TimeDelta::seconds(60);
    let verifier = fake.verifier().await;
    let mut claims = claims();
    verifier.verify(&fake.mint(&claims)).unwrap();
    (claims.iat, claims.nbf) = (claims.iat - TimeDelta::seconds(45), claims.nbf - TimeDelta::seconds(45));
    let token = fake.mint(&claims);
    assert_eq!(verifier.verify(&token).unwrap_err(), VerifyError::Unsure);
    fake.answer_active(&claims);
    assert_eq!(verifier.authenticate(&token).await.unwrap().session_id(), claims.sid);
    assert!(!fake.state.asked.lock()[0].authoritative);
}

#[tokio::test]
async fn an_unknown_key_needs_a_question_until_it_is_told() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    let (key, claims) = (Key::new(), claims());
    let (token, earlier) = (key.mint(&claims), fake.mint(&claims));
    verifier.verify(&earlier).unwrap();
    fake.answer_active(&claims);
    assert_eq!(verifier.verify(&token).unwrap_err(), VerifyError::Unsure);
    assert_eq!(verifier.authenticate(&token).await.unwrap().user_id(), claims.sub);
    // An emergency: the new key alone is trusted from now on.
    fake.rotate(vec![key]);
    verdict(&verifier, &token, None).await;
    fake.answer(Answer::Inactive(InactiveReason::Invalid));
    assert_eq!(verifier.authenticate(&earlier).await.unwrap_err(), VerifyError::Invalid);
    assert_eq!(fake.asked(), 2);
}

#[tokio::test]
async fn invented_keys_cause_few_questions_at_once() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    fake.answer(Answer::Silence);
    let tokens: Vec<_> = (0..100).map(|_| Key::new().mint(&claims())).collect();
    let verdicts = join_all(tokens.iter().map(|token| verifier.authenticate(token))).await;
    assert!(verdicts.into_iter().all(|verdict| verdict.unwrap_err() == VerifyError::Unavailable));
    assert_eq!(fake.asked(), 64);
}

#[tokio::test]
async fn asking_reaches_the_database_and_says_what_is_demanded() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    let claims = claims();
    let token = fake.mint(&claims);
    let demands = Demands {
        min_aal: 2,
        max_auth_age: Some(TimeDelta::minutes(5)),
        permissions: vec!["users.delete".to_owned()],
    };
    fake.answer_active(&claims);
    verifier.ask(&token, &demands).await.unwrap();
    let request = fake.state.asked.lock()[0].clone();
    assert_eq!((request.access_token, request.authoritative, request.min_aal), (token.clone(), true, 2));
    assert_eq!(request.required_permissions, demands.permissions);
    assert_eq!(request.max_auth_age.unwrap().seconds, 300);
    for (reason, error) in [
        (InactiveReason::Revoked, "the access token was revoked"),
        (InactiveReason::Expired, "the access token is expired"),
        (InactiveReason::Invalid, "the access token is not one of ours"),
        (InactiveReason::InsufficientAal, "the assurance level is too low"),
        (InactiveReason::AuthenticationTooOld, "the authentication is older than 300 s"),
        (InactiveReason::MissingPermission, "the permission users.delete is missing"),
    ] {
        fake.answer(Answer::Inactive(reason));
        assert_eq!(verifier.ask(&token, &demands).await.unwrap_err().to_string(), error);
    }
    let questions = fake.asked();
    assert_eq!(verifier.ask("v4.public.", &demands).await.unwrap_err(), VerifyError::Invalid);
    assert_eq!(fake.asked(), questions);
}

#[tokio::test]
async fn a_question_is_put_to_another_replica_when_one_stops() {
    let (stops, stays) = (Fake::start().await, Fake::start().await);
    let verifier = Verifier::connect(config(&format!("{},{}", stops.url(), stays.url()))).await.unwrap();
    let claims = claims();
    let token = stays.mint(&claims);
    stops.answer(Answer::After(usize::MAX, Box::new(active(&claims))));
    stays.answer_active(&claims);
    eventually("a question to the replica that stops", SOON, async || {
        verifier.ask(&token, &Demands::default()).await.unwrap();
        (stops.asked() > 0).then_some(())
    })
    .await;
    stays.answer(Answer::After(usize::MAX, Box::new(active(&claims))));
    let before = stops.asked() + stays.asked();
    let error = verifier.ask(&token, &Demands::default()).await.unwrap_err();
    assert_eq!(error, VerifyError::Unavailable);
    assert_eq!(stops.asked() + stays.asked(), before + 2);
}

#[tokio::test]
async fn a_revocation_of_a_later_version_ends_the_trust_in_the_stream() {
    let fake = Fake::start().await;
    let verifier = fake.verifier().await;
    let known = claims();
    let mut strange = revocation(RevocationTarget::Session(claims().sid));
    strange.target = None;
    let revocations = vec![strange, revocation(RevocationTarget::Session(known.sid))];
    fake.tell(Event::Revoked(RevocationBatch { revocations }));
    verdict(&verifier, &fake.mint(&known), Some(VerifyError::Revoked)).await;
    eventually("another stream", SOON, async || (fake.opened() == 2).then_some(())).await;
}

#[tokio::test]
async fn uses_of_tokens_are_reported_once_a_minute_in_batches() {
    let fake = Fake::start().await;
    fake.state.touches_to_refuse.store(1, Ordering::SeqCst);
    let verifier = fake.verifier().await;
    let all: Vec<_> = (0..600).map(|_| claims()).collect();
    let tokens: Vec<_> = all.iter().map(|claims| fake.mint(claims)).collect();
    for token in tokens.iter().chain(&tokens) {
        verifier.verify(token).unwrap();
    }
    eventually("the reports", SOON, async || {
        (fake.state.touched.lock().iter().map(Vec::len).sum::<usize>() >= 600).then_some(())
    })
    .await;
    let batches = fake.state.touched.lock().clone();
    assert!(batches.iter().all(|batch| batch.len() <= 500));
    let mut reported: Vec<_> = batches.into_iter().flatten().map(|sighting| sighting.token_id).collect();
    let mut used: Vec<_> = all.iter().map(|claims| claims.jti.to_string()).collect();
    reported.sort_unstable();
    used.sort_unstable();
    assert_eq!(reported, used);
}

#[tokio::test]
async fn the_last_verifier_takes_its_stream_and_its_metrics_with_it() {
    let fake = Fake::start().await;
    let mut config = fake.config();
    let registry = Registry::new();
    config.registry = Some(registry.clone());
    let verifier = Verifier::connect(config.clone()).await.unwrap();
    // There is one verifier in a registry.
    Verifier::connect(config.clone()).await.unwrap_err();
    let clone = verifier.clone();
    drop(verifier);
    clone.verify(&fake.mint(&claims())).unwrap();
    assert_eq!(fake.streams(), 1);
    drop(clone);
    eventually("the end of the stream", SOON, async || (fake.streams() == 0).then_some(())).await;
    eventually("the end of the metrics", SOON, async || registry.gather().is_empty().then_some(())).await;
    Verifier::connect(config).await.unwrap();
}
