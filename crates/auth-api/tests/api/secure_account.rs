use std::sync::Arc;

use auth_events::commands::{MailParameters, MailTemplate};
use chrono::TimeDelta;
use clock::ManualClock;
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    authenticator::{EMAIL, ProtectedAccount, RECOVERY_CODES, anywhere, by, set_up, start, token},
    harness::{PASSWORD, TestApi, body, problem},
    mail_links::{
        CHANGE_EMAIL, CONFIRM, NEW_PASSWORD, SECURE, UNDO, follow, mails_to, newest_token, reset,
        reset_token, tokens_to,
    },
};

/// An account whose owner was told of a login that was not theirs; the access token of that login.
async fn intruded(api: &TestApi) -> String {
    api.verified_account(EMAIL).await;
    api.login_tokens(EMAIL).await;
    token(&api.login_tokens(EMAIL).await, "accessToken")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_throws_an_intruder_out() {
    let (api, _) = start().await;
    let intruder = intruded(&api).await;
    let change = json!({"newEmail": "eve@example.test", "password": PASSWORD});
    assert_eq!(by(&api, &intruder, CHANGE_EMAIL, Some(&change)).await.status(), StatusCode::ACCEPTED);
    let confirm = newest_token(&api, "eve@example.test", MailTemplate::EmailChangeConfirm).await;
    let secure = newest_token(&api, EMAIL, MailTemplate::NewDevice).await;

    let answers = join_all((0..10).map(|_| follow(&api, SECURE, &secure))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status() == StatusCode::OK).count(), 1);
    assert!(answers.iter().all(|answer| [200, 400].contains(&answer.status().as_u16())));
    assert_eq!(api.sessions.live(), 0);
    problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;
    problem(follow(&api, CONFIRM, &confirm).await, 400, "token_invalid").await;
    assert_eq!(api.sql("SELECT count(*) FROM auth.known_devices").await, "0");
    let links = tokens_to(&api, EMAIL, MailTemplate::ResetPassword).await;
    assert_eq!(links.len(), 1);
    assert_eq!(reset(&api, &links[0], NEW_PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(api.login(EMAIL, NEW_PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(api.facts("security.account_secured").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_for_three_days_and_is_not_replaced_by_a_later_one() {
    let (api, clock) = start().await;
    intruded(&api).await;
    let first = newest_token(&api, EMAIL, MailTemplate::NewDevice).await;
    api.login_tokens(EMAIL).await;
    clock.advance(TimeDelta::hours(71));
    assert_eq!(follow(&api, SECURE, &first).await.status(), StatusCode::OK);
    let second = newest_token(&api, EMAIL, MailTemplate::NewDevice).await;
    assert_ne!(first, second);
    clock.advance(TimeDelta::hours(1));
    problem(follow(&api, SECURE, &second).await, 400, "token_invalid").await;
    for wrong in ["", "null", &second[4..]] {
        problem(follow(&api, SECURE, wrong).await, 400, "token_invalid").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_sessions_cannot_end_the_link_stays_good() {
    let (api, clock) = start().await;
    intruded(&api).await;
    let secure = newest_token(&api, EMAIL, MailTemplate::NewDevice).await;
    api.sessions.set_unavailable(true);
    problem(follow(&api, SECURE, &secure).await, 503, "unavailable").await;
    api.sessions.set_unavailable(false);
    assert_eq!(api.login(EMAIL, PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(follow(&api, SECURE, &secure).await.status(), StatusCode::OK);
    // A link that was lost can be asked for again.
    let link = reset_token(&api, &clock, EMAIL).await;
    assert_eq!(reset(&api, &link, NEW_PASSWORD).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_is_secured_and_not_opened() {
    let (api, _) = start().await;
    let intruder = intruded(&api).await;
    let secure = newest_token(&api, EMAIL, MailTemplate::NewDevice).await;
    let deletion = api.request(Method::DELETE, "/v1/auth/me").bearer_auth(&intruder).send().await.unwrap();
    assert_eq!(deletion.status(), StatusCode::ACCEPTED);
    assert_eq!(follow(&api, SECURE, &secure).await.status(), StatusCode::OK);
    assert!(mails_to(&api, EMAIL, MailTemplate::ResetPassword).await.is_empty());
    let restore = newest_token(&api, EMAIL, MailTemplate::AccountDeletion).await;
    let restored =
        anywhere(&api, "/v1/auth/me/restore").json(&json!({"token": restore})).send().await.unwrap();
    assert_eq!(restored.status(), StatusCode::OK);
    problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;
}

/// Moves the account to `new_email`.
async fn change(api: &TestApi, access: &str, new_email: &str) {
    let request = json!({"newEmail": new_email, "password": PASSWORD});
    assert_eq!(by(api, access, CHANGE_EMAIL, Some(&request)).await.status(), StatusCode::ACCEPTED);
    let confirm = newest_token(api, new_email, MailTemplate::EmailChangeConfirm).await;
    assert_eq!(follow(api, CONFIRM, &confirm).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_gets_the_account_back_from_a_thief_who_moved_it() {
    let (api, clock) = start().await;
    let intruder = intruded(&api).await;
    let secure = newest_token(&api, EMAIL, MailTemplate::NewDevice).await;
    for eve in ["eve1@example.test", "eve2@example.test"] {
        clock.advance(TimeDelta::minutes(1));
        change(&api, &intruder, eve).await;
    }
    let (_, _, intruder) = set_up(&api, &clock, &intruder).await;
    let thiefs = newest_token(&api, "eve2@example.test", MailTemplate::TotpEnabled).await;
    let deletion = api.request(Method::DELETE, "/v1/auth/me").bearer_auth(&intruder).send().await.unwrap();
    assert_eq!(deletion.status(), StatusCode::ACCEPTED);

    assert_eq!(follow(&api, SECURE, &secure).await.status(), StatusCode::OK);
    assert_eq!(api.sessions.live(), 0);
    assert_eq!(api.sql("SELECT email || ' ' || status FROM auth.users").await, format!("{EMAIL} active"));
    let undo = newest_token(&api, "eve1@example.test", MailTemplate::EmailChangeNotice).await;
    problem(follow(&api, UNDO, &undo).await, 400, "token_invalid").await;
    problem(follow(&api, SECURE, &thiefs).await, 400, "token_invalid").await;
    for eve in ["eve1@example.test", "eve2@example.test"] {
        assert!(mails_to(&api, eve, MailTemplate::ResetPassword).await.is_empty());
    }
    assert_eq!(mails_to(&api, EMAIL, MailTemplate::TotpDisabled).await.len(), 1);
    let link = newest_token(&api, EMAIL, MailTemplate::ResetPassword).await;
    assert_eq!(reset(&api, &link, NEW_PASSWORD).await.status(), StatusCode::OK);
    let login = api.login(EMAIL, NEW_PASSWORD).await;
    assert_eq!(login.status(), StatusCode::OK);
    assert_eq!(body(login).await["requires2fa"], false);
    assert_eq!(api.facts("user.email_change_undone").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_goes_to_a_thief_whose_victims_address_is_taken() {
    let (api, clock) = start().await;
    let intruder = intruded(&api).await;
    let secure = newest_token(&api, EMAIL, MailTemplate::NewDevice).await;
    change(&api, &intruder, "eve@example.test").await;
    set_up(&api, &clock, &intruder).await;
    api.verified_account("bob@example.test").await;
    api.execute(&format!("UPDATE auth.users SET email = '{EMAIL}' WHERE email = 'bob@example.test'")).await;
    assert_eq!(follow(&api, SECURE, &secure).await.status(), StatusCode::OK);
    assert_eq!(api.sessions.live(), 0);
    problem(api.login("eve@example.test", PASSWORD).await, 401, "invalid_credentials").await;
    for email in [EMAIL, "eve@example.test"] {
        assert!(mails_to(&api, email, MailTemplate::ResetPassword).await.is_empty());
        assert!(mails_to(&api, email, MailTemplate::TotpDisabled).await.is_empty());
    }
    assert_eq!(api.sql("SELECT count(*) FROM auth.totp_factors").await, "0");
    assert_eq!(api.login(EMAIL, PASSWORD).await.status(), StatusCode::OK, "whoever has the address keeps it");
}

/// On the clock of the machine, so that the link is not as old as what it takes away by chance.
#[tokio::test(flavor = "multi_thread")]
async fn the_link_that_tells_of_a_second_factor_takes_it_away() {
    let api = TestApi::start().await;
    let intruder = intruded(&api).await;
    let now = Arc::new(ManualClock::new(api.state.clock.now()));
    set_up(&api, &now, &intruder).await;
    let secure = newest_token(&api, EMAIL, MailTemplate::TotpEnabled).await;
    assert_eq!(follow(&api, SECURE, &secure).await.status(), StatusCode::OK);
    assert_eq!(api.sql("SELECT count(*) FROM auth.totp_factors").await, "0");
    assert_eq!(api.sql("SELECT count(*) FROM auth.recovery_codes").await, "0");
    assert_eq!(api.facts("mfa.totp_disabled").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_second_factor_stays() {
    let account = ProtectedAccount::new().await;
    let api = &account.api;
    account.log_in().await;
    let secure = newest_token(api, EMAIL, MailTemplate::NewDevice).await;
    assert_eq!(follow(api, SECURE, &secure).await.status(), StatusCode::OK);
    let link = newest_token(api, EMAIL, MailTemplate::ResetPassword).await;
    assert_eq!(reset(api, &link, NEW_PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(body(api.login(EMAIL, NEW_PASSWORD).await).await["requires2fa"], true);
    assert!(mails_to(api, EMAIL, MailTemplate::TotpDisabled).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_codes_that_were_made_since_are_worth_nothing() {
    let account = ProtectedAccount::new().await;
    let api = &account.api;
    account.clock.advance(TimeDelta::minutes(2));
    let intruder = account.log_in().await;
    let secure = newest_token(api, EMAIL, MailTemplate::NewDevice).await;
    account.clock.advance(TimeDelta::minutes(2));
    let proof = json!({"password": PASSWORD, "otp": account.app.code()});
    let made = by(api, &api.sessions.renewed(&intruder), RECOVERY_CODES, Some(&proof)).await;
    assert_eq!(made.status(), StatusCode::OK);
    assert_ne!(api.sql("SELECT count(*) FROM auth.recovery_codes").await, "0");
    assert_eq!(codes_told_of(api).await, [10]);

    assert_eq!(follow(api, SECURE, &secure).await.status(), StatusCode::OK);
    assert_eq!(codes_told_of(api).await, [10, 0]);
    assert_eq!(api.sql("SELECT count(*) FROM auth.recovery_codes").await, "0");
    assert_eq!(api.sql("SELECT count(*) FROM auth.totp_factors").await, "1", "it is older");
}

/// On the clock of the machine, as above.
#[tokio::test(flavor = "multi_thread")]
async fn the_link_that_tells_of_new_recovery_codes_takes_them_away() {
    let api = TestApi::start().await;
    let intruder = intruded(&api).await;
    let now = Arc::new(ManualClock::new(api.state.clock.now()));
    let (app, ..) = set_up(&api, &now, &intruder).await;
    let proof = json!({"password": PASSWORD, "otp": app.code()});
    let made = by(&api, &api.sessions.renewed(&intruder), RECOVERY_CODES, Some(&proof)).await;
    assert_eq!(made.status(), StatusCode::OK);
    let secure = newest_token(&api, EMAIL, MailTemplate::RecoveryCodesChanged).await;
    assert_eq!(follow(&api, SECURE, &secure).await.status(), StatusCode::OK);
    assert_eq!(api.sql("SELECT count(*) FROM auth.recovery_codes").await, "0");
    assert_eq!(api.sql("SELECT count(*) FROM auth.totp_factors").await, "1", "it is older than the mail");
}

/// How many recovery codes there are, as the owner heard each time that they changed.
async fn codes_told_of(api: &TestApi) -> Vec<u32> {
    let mails = mails_to(api, EMAIL, MailTemplate::RecoveryCodesChanged).await;
    let told = mails.iter().map(|mail| match mail {
        MailParameters::RecoveryCodesChanged { remaining, .. } => *remaining,
        other => panic!("{other:?}"),
    });
    told.collect()
}
