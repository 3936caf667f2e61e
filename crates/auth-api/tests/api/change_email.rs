use std::sync::Arc;

use auth_events::commands::{MailParameters, MailTemplate};
use chrono::TimeDelta;
use clock::ManualClock;
use futures::future::join_all;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    authenticator::{EMAIL, ProtectedAccount, by, set_up, start, token},
    harness::{PASSWORD, TestApi, body, problem},
    mail_links::{
        CHANGE_EMAIL, CHANGE_PASSWORD, CONFIRM, NEW_PASSWORD, REAUTHENTICATE, UNDO, follow, mails_to,
        newest_token, reset, reset_token, tokens_to,
    },
};

const NEW: &str = "ada@new.example.test";
const EVE: &str = "eve@example.test";

async fn logged_in(api: &TestApi, email: &str) -> String {
    api.verified_account(email).await;
    token(&api.login_tokens(email).await, "accessToken")
}

async fn ask(api: &TestApi, access: &str, new_email: &str) -> Response {
    by(api, access, CHANGE_EMAIL, Some(&json!({"newEmail": new_email, "password": PASSWORD}))).await
}

/// Moves the account of `access` to `new_email`.
async fn change(api: &TestApi, access: &str, new_email: &str) {
    assert_eq!(ask(api, access, new_email).await.status(), StatusCode::ACCEPTED);
    let token = newest_token(api, new_email, MailTemplate::EmailChangeConfirm).await;
    assert_eq!(follow(api, CONFIRM, &token).await.status(), StatusCode::OK);
}

async fn email_of(api: &TestApi, access: &str) -> Value {
    body(api.get("/v1/auth/me").bearer_auth(access).send().await.unwrap()).await["email"].clone()
}

/// The notices to `email`: whether each tells of a change that happened, and whether it can be undone.
async fn notices(api: &TestApi, email: &str) -> Vec<(bool, bool)> {
    let notices = mails_to(api, email, MailTemplate::EmailChangeNotice).await;
    let said = |mail: &MailParameters| match mail {
        MailParameters::EmailChangeNotice { completed, undo_link, .. } => (*completed, undo_link.is_some()),
        _ => panic!("another mail"),
    };
    notices.iter().map(said).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rst_07_a_stolen_session_moves_no_account() {
    let (api, clock) = start().await;
    let access = logged_in(&api, EMAIL).await;
    let session_only = json!({"newEmail": EVE});
    for minutes in [0, 6] {
        clock.advance(TimeDelta::minutes(minutes));
        let refused = by(&api, &api.sessions.renewed(&access), CHANGE_EMAIL, Some(&session_only)).await;
        problem(refused, 401, "reauth_required").await;
    }
    let access = api.sessions.renewed(&access);
    let wrong = json!({"newEmail": EVE, "password": "another wrong password"});
    problem(by(&api, &access, CHANGE_EMAIL, Some(&wrong)).await, 401, "invalid_credentials").await;
    assert!(notices(&api, EMAIL).await.is_empty());

    let right = json!({"newEmail": "Ada@NEW.example.test", "password": PASSWORD});
    assert_eq!(by(&api, &access, CHANGE_EMAIL, Some(&right)).await.status(), StatusCode::ACCEPTED);
    assert_eq!(notices(&api, EMAIL).await, [(false, false)]);
    assert_eq!(email_of(&api, &access).await, EMAIL, "the old one stays valid");
    problem(api.login(NEW, PASSWORD).await, 401, "invalid_credentials").await;

    let confirm = newest_token(&api, NEW, MailTemplate::EmailChangeConfirm).await;
    assert_eq!(follow(&api, CONFIRM, &confirm).await.status(), StatusCode::OK);
    problem(follow(&api, CONFIRM, &confirm).await, 400, "token_invalid").await;
    assert_eq!(email_of(&api, &access).await, NEW);
    assert_eq!(notices(&api, EMAIL).await, [(false, false), (true, true)]);
    assert_eq!(api.login(NEW, PASSWORD).await.status(), StatusCode::OK);
    problem(api.login(EMAIL, PASSWORD).await, 401, "invalid_credentials").await;

    clock.advance(TimeDelta::hours(71));
    let undo = newest_token(&api, EMAIL, MailTemplate::EmailChangeNotice).await;
    api.sessions.set_unavailable(true);
    problem(follow(&api, UNDO, &undo).await, 503, "unavailable").await;
    api.sessions.set_unavailable(false);
    assert_eq!(follow(&api, UNDO, &undo).await.status(), StatusCode::OK);
    problem(follow(&api, UNDO, &undo).await, 400, "token_invalid").await;
    assert_eq!(api.sessions.live(), 0);
    for email in [EMAIL, NEW] {
        problem(api.login(email, PASSWORD).await, 401, "invalid_credentials").await;
    }
    assert_eq!(notices(&api, NEW).await, [(true, false)], "the address that is gone hears of it");
    let link = newest_token(&api, EMAIL, MailTemplate::ResetPassword).await;
    assert_eq!(reset(&api, &link, NEW_PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(api.login(EMAIL, NEW_PASSWORD).await.status(), StatusCode::OK);
    for fact in ["user.email_change_requested", "user.email_changed", "user.email_change_undone"] {
        assert_eq!(api.facts(fact).await.len(), 1, "{fact}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rst_07_a_second_factor_is_asked_for() {
    let account = ProtectedAccount::new().await;
    let api = &account.api;
    account.clock.advance(TimeDelta::minutes(6));
    let access = &api.sessions.renewed(&account.access_token);
    problem(ask(api, access, NEW).await, 401, "otp_required").await;
    let request = json!({"newEmail": NEW, "password": PASSWORD, "otp": account.app.code()});
    assert_eq!(by(api, access, CHANGE_EMAIL, Some(&request)).await.status(), StatusCode::ACCEPTED);

    // A privileged window does not do.
    account.clock.advance(TimeDelta::minutes(1));
    let proof = json!({"password": PASSWORD, "otp": account.app.code()});
    let privileged = token(&body(by(api, access, REAUTHENTICATE, Some(&proof)).await).await, "accessToken");
    let request = json!({"newEmail": NEW});
    problem(by(api, &privileged, CHANGE_EMAIL, Some(&request)).await, 401, "reauth_required").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_the_password_lock_and_the_owner_hears_of_it() {
    let (api, _) = start().await;
    let access = logged_in(&api, EMAIL).await;
    let guess = async || {
        let wrong = json!({"newEmail": EVE, "password": "another wrong password"});
        by(&api, &access, CHANGE_EMAIL, Some(&wrong)).await
    };
    for _ in 0..5 {
        problem(guess().await, 401, "invalid_credentials").await;
    }
    problem(guess().await, 429, "too_many_attempts").await;
    let locks = api.facts("security.account_locked").await;
    assert_eq!((locks.len(), &locks[0]["data"]["detail"]["factor"]), (1, &json!("password")));
    assert!((api.metric("account_lockouts_total") - 1.0).abs() < 0.5);
    assert!(mails_to(&api, EMAIL, MailTemplate::AccountLocked).await.is_empty());

    api.execute("UPDATE auth.attempts SET consecutive = 99, blocked_until = NULL").await;
    problem(guess().await, 401, "invalid_credentials").await;
    assert_eq!(api.facts("security.account_locked").await.len(), 2);
    assert_eq!(mails_to(&api, EMAIL, MailTemplate::AccountLocked).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_link_works_for_three_days_and_a_confirmation_for_an_hour() {
    let (api, clock) = start().await;
    let access = logged_in(&api, EMAIL).await;
    assert_eq!(ask(&api, &access, NEW).await.status(), StatusCode::ACCEPTED);
    let confirm = newest_token(&api, NEW, MailTemplate::EmailChangeConfirm).await;
    clock.advance(TimeDelta::hours(1));
    problem(follow(&api, CONFIRM, &confirm).await, 400, "token_invalid").await;

    let access = token(&api.login_tokens(EMAIL).await, "accessToken");
    change(&api, &access, NEW).await;
    let undo = newest_token(&api, EMAIL, MailTemplate::EmailChangeNotice).await;
    clock.advance(TimeDelta::hours(72));
    problem(follow(&api, UNDO, &undo).await, 400, "token_invalid").await;
    assert_eq!(api.login(NEW, PASSWORD).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_request_can_be_confirmed() {
    let (api, clock) = start().await;
    let access = logged_in(&api, EMAIL).await;
    assert_eq!(ask(&api, &access, EVE).await.status(), StatusCode::ACCEPTED);
    let first = newest_token(&api, EVE, MailTemplate::EmailChangeConfirm).await;
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(ask(&api, &access, NEW).await.status(), StatusCode::ACCEPTED);
    problem(follow(&api, CONFIRM, &first).await, 400, "token_invalid").await;
    let second = newest_token(&api, NEW, MailTemplate::EmailChangeConfirm).await;
    let answers = join_all((0..10).map(|_| follow(&api, CONFIRM, &second))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status() == StatusCode::OK).count(), 1);
    assert!(answers.iter().all(|answer| [200, 400].contains(&answer.status().as_u16())));
    let unchanged = problem(ask(&api, &access, "ADA@new.example.test").await, 422, "email_unchanged").await;
    assert_eq!(unchanged["errors"][0]["field"], "newEmail");
    let malformed = problem(ask(&api, &access, "not an address").await, 400, "invalid_request").await;
    assert_eq!(malformed["errors"][0]["code"], "email_invalid");
}

/// Whoever took an account over moves it on and on, so that its owner's link is not the newest.
#[tokio::test(flavor = "multi_thread")]
async fn the_owners_link_undoes_every_later_change_too() {
    let (api, clock) = start().await;
    let access = logged_in(&api, EMAIL).await;
    change(&api, &access, "eve1@example.test").await;
    clock.advance(TimeDelta::minutes(1));
    change(&api, &access, "eve2@example.test").await;
    let deletion = api.request(Method::DELETE, "/v1/auth/me").bearer_auth(&access).send().await.unwrap();
    assert_eq!(deletion.status(), StatusCode::ACCEPTED);
    let eves = newest_token(&api, "eve1@example.test", MailTemplate::EmailChangeNotice).await;
    let owners = newest_token(&api, EMAIL, MailTemplate::EmailChangeNotice).await;
    assert_eq!(follow(&api, UNDO, &owners).await.status(), StatusCode::OK);
    assert_eq!(api.sql("SELECT email || ' ' || status FROM auth.users").await, format!("{EMAIL} active"));
    problem(follow(&api, UNDO, &eves).await, 400, "token_invalid").await;
    let secure = tokens_to(&api, "eve2@example.test", MailTemplate::NewDevice).await;
    assert!(secure.is_empty());
    let link = newest_token(&api, EMAIL, MailTemplate::ResetPassword).await;
    assert_eq!(reset(&api, &link, NEW_PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(api.login(EMAIL, NEW_PASSWORD).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn rst_08_an_address_goes_to_one_account_and_nobody_learns_whose_it_is() {
    let (api, clock) = start().await;
    let (ada, eve) = (logged_in(&api, EMAIL).await, logged_in(&api, EVE).await);
    api.verified_account("taken@example.test").await;
    clock.advance(TimeDelta::minutes(1));

    // The same answer for an address that has an account; its owner is told, and whoever asked is not.
    let free = ask(&api, &ada, "free@example.test").await;
    let taken = ask(&api, &ada, "taken@example.test").await;
    assert_eq!((free.status(), taken.status()), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(body(free).await, body(taken).await);
    assert!(mails_to(&api, "taken@example.test", MailTemplate::EmailChangeConfirm).await.is_empty());
    assert_eq!(mails_to(&api, "taken@example.test", MailTemplate::AlreadyRegistered).await.len(), 1);

    // Two accounts race for one address.
    assert_eq!(ask(&api, &ada, NEW).await.status(), StatusCode::ACCEPTED);
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(ask(&api, &eve, NEW).await.status(), StatusCode::ACCEPTED);
    let tokens = tokens_to(&api, NEW, MailTemplate::EmailChangeConfirm).await;
    assert_eq!(tokens.len(), 2);
    let answers = join_all(tokens.iter().map(|token| follow(&api, CONFIRM, token))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let lost = answers.iter().position(|answer| answer.status() == 409).unwrap();
    problem(follow(&api, CONFIRM, &tokens[lost]).await, 409, "email_taken").await;
    problem(follow(&api, CONFIRM, &format!("{}A", tokens[lost])).await, 400, "token_invalid").await;
    assert_eq!(api.sql(&format!("SELECT count(*) FROM auth.users WHERE email = '{NEW}'")).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn rst_08_a_registration_makes_way_until_it_is_proved() {
    let (api, clock) = start().await;
    let access = logged_in(&api, EMAIL).await;
    for (new, is_proved) in [("first@example.test", false), ("second@example.test", true)] {
        clock.advance(TimeDelta::minutes(1));
        assert_eq!(ask(&api, &access, new).await.status(), StatusCode::ACCEPTED);
        let confirm = newest_token(&api, new, MailTemplate::EmailChangeConfirm).await;
        clock.advance(TimeDelta::minutes(1));
        if is_proved {
            api.verified_account(new).await;
            problem(follow(&api, CONFIRM, &confirm).await, 409, "email_taken").await;
        } else {
            api.register(new).await;
            let verification = api.verification_token(new).await;
            assert_eq!(follow(&api, CONFIRM, &confirm).await.status(), StatusCode::OK);
            let verify = json!({"token": verification, "newPassword": NEW_PASSWORD});
            problem(api.post("/v1/auth/verify-email", &verify).await, 400, "token_invalid").await;
        }
    }
    assert_eq!(email_of(&api, &access).await, "first@example.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_address_that_is_taken_is_not_given_back() {
    let (api, _) = start().await;
    let access = logged_in(&api, EMAIL).await;
    change(&api, &access, NEW).await;
    let undo = newest_token(&api, EMAIL, MailTemplate::EmailChangeNotice).await;
    api.verified_account(EVE).await;
    api.execute(&format!("UPDATE auth.users SET email = '{EMAIL}' WHERE email = '{EVE}'")).await;
    problem(follow(&api, UNDO, &undo).await, 409, "email_taken").await;
    assert_eq!(api.login(NEW, PASSWORD).await.status(), StatusCode::OK, "nothing else changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_address_becomes_nobody_elses_while_it_can_take_its_account_back() {
    let (api, clock) = start().await;
    let (ada, eve) = (logged_in(&api, EMAIL).await, logged_in(&api, EVE).await);
    change(&api, &ada, NEW).await;
    api.execute("UPDATE auth.mail_allowances SET sent_at = '{}'").await;

    let sent = count(&api, EMAIL, MailTemplate::VerifyEmail).await;
    api.register(EMAIL).await;
    assert_eq!(count(&api, EMAIL, MailTemplate::VerifyEmail).await, sent);
    assert_eq!(api.sql(&format!("SELECT count(*) FROM auth.users WHERE email = '{EMAIL}'")).await, "0");
    let attempts = api.facts("user.register_attempt_existing").await;
    assert_eq!((attempts.len(), &attempts[0]["data"]["detail"]["ownerNotified"]), (1, &json!(false)));
    assert_eq!(ask(&api, &eve, EMAIL).await.status(), StatusCode::ACCEPTED);
    let confirm = newest_token(&api, EMAIL, MailTemplate::EmailChangeConfirm).await;
    problem(follow(&api, CONFIRM, &confirm).await, 409, "email_taken").await;
    assert_eq!(email_of(&api, &eve).await, EVE);

    // Its own account may move there again, and away.
    clock.advance(TimeDelta::minutes(1));
    change(&api, &ada, EMAIL).await;
    clock.advance(TimeDelta::minutes(1));
    change(&api, &ada, "third@example.test").await;
    clock.advance(TimeDelta::hours(72));
    api.verified_account(EMAIL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undoing_takes_away_the_second_factor_of_whoever_changed_the_address() {
    let (api, clock) = start().await;
    let access = logged_in(&api, EMAIL).await;
    assert_eq!(ask(&api, &access, EVE).await.status(), StatusCode::ACCEPTED);
    let confirm = newest_token(&api, EVE, MailTemplate::EmailChangeConfirm).await;
    clock.advance(TimeDelta::minutes(1));
    set_up(&api, &clock, &access).await;
    assert_eq!(follow(&api, CONFIRM, &confirm).await.status(), StatusCode::OK);
    let undo = newest_token(&api, EMAIL, MailTemplate::EmailChangeNotice).await;
    assert_eq!(follow(&api, UNDO, &undo).await.status(), StatusCode::OK);
    assert_eq!(count(&api, EMAIL, MailTemplate::TotpDisabled).await, 1);
    assert_eq!(api.facts("mfa.totp_disabled").await.len(), 1);
    let link = newest_token(&api, EMAIL, MailTemplate::ResetPassword).await;
    assert_eq!(reset(&api, &link, NEW_PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(body(api.login(EMAIL, NEW_PASSWORD).await).await["requires2fa"], false);
    assert_eq!(api.sql("SELECT count(*) FROM auth.recovery_codes").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn undoing_leaves_an_older_second_factor() {
    let account = ProtectedAccount::new().await;
    let api = &account.api;
    let request = json!({"newEmail": EVE, "password": PASSWORD, "otp": account.app.code()});
    let asked = by(api, &account.access_token, CHANGE_EMAIL, Some(&request)).await;
    assert_eq!(asked.status(), StatusCode::ACCEPTED);
    let confirm = newest_token(api, EVE, MailTemplate::EmailChangeConfirm).await;
    assert_eq!(follow(api, CONFIRM, &confirm).await.status(), StatusCode::OK);
    let undo = newest_token(api, EMAIL, MailTemplate::EmailChangeNotice).await;
    assert_eq!(follow(api, UNDO, &undo).await.status(), StatusCode::OK);
    let link = newest_token(api, EMAIL, MailTemplate::ResetPassword).await;
    assert_eq!(reset(api, &link, NEW_PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(body(api.login(EMAIL, NEW_PASSWORD).await).await["requires2fa"], true);
    assert!(api.facts("mfa.totp_disabled").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_sent_few_links() {
    let (api, _) = start().await;
    let access = logged_in(&api, EMAIL).await;
    for _ in 0..5 {
        assert_eq!(ask(&api, &access, NEW).await.status(), StatusCode::ACCEPTED);
    }
    let [link] = tokens_to(&api, NEW, MailTemplate::EmailChangeConfirm).await.try_into().unwrap();
    assert_eq!(follow(&api, CONFIRM, &link).await.status(), StatusCode::OK, "the one that was sent is good");
    assert_eq!(email_of(&api, &access).await, NEW);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_told_ends_one_to_another_address() {
    let (api, _) = start().await;
    let access = logged_in(&api, EMAIL).await;
    let mistyped = "ada@mistyped.example.test";
    ask(&api, &access, NEW).await;
    ask(&api, &access, mistyped).await;
    let link = newest_token(&api, mistyped, MailTemplate::EmailChangeConfirm).await;
    assert_eq!(ask(&api, &access, NEW).await.status(), StatusCode::ACCEPTED);
    assert_eq!(tokens_to(&api, NEW, MailTemplate::EmailChangeConfirm).await.len(), 1);
    problem(follow(&api, CONFIRM, &link).await, 400, "token_invalid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guessed_at_an_address_before_it_was_the_accounts_locks_nobody_out() {
    let (api, _) = start().await;
    let access = logged_in(&api, EMAIL).await;
    for _ in 0..5 {
        problem(api.login(NEW, "another wrong password").await, 401, "invalid_credentials").await;
    }
    assert_eq!(api.login(NEW, PASSWORD).await.status(), StatusCode::TOO_MANY_REQUESTS);
    change(&api, &access, NEW).await;
    assert_eq!(api.login(NEW, PASSWORD).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn rst_12_links_that_went_to_the_old_address_set_no_password() {
    let (api, clock) = start().await;
    let access = logged_in(&api, EMAIL).await;
    let link = reset_token(&api, &clock, EMAIL).await;
    change(&api, &access, NEW).await;
    problem(reset(&api, &link, NEW_PASSWORD).await, 400, "token_invalid").await;

    let link = reset_token(&api, &clock, NEW).await;
    let deletion = api.request(Method::DELETE, "/v1/auth/me").bearer_auth(&access).send().await.unwrap();
    assert_eq!(deletion.status(), StatusCode::ACCEPTED);
    problem(reset(&api, &link, NEW_PASSWORD).await, 400, "token_invalid").await;
}

async fn count(api: &TestApi, email: &str, template: MailTemplate) -> usize {
    mails_to(api, email, template).await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn rst_11_owners_hear_of_every_change() {
    let account = ProtectedAccount::new().await;
    let ProtectedAccount { api, clock, app, recovery_codes, access_token } = &account;
    let clock: &Arc<ManualClock> = clock;
    assert_eq!(count(api, EMAIL, MailTemplate::TotpEnabled).await, 1);

    // A login from another browser, with a recovery code.
    assert_eq!(count(api, EMAIL, MailTemplate::NewDevice).await, 0, "of the first login ever");
    let challenge = account.challenge().await;
    let recovered = body(account.recover(&challenge, &recovery_codes[0]).await).await;
    assert_eq!(count(api, EMAIL, MailTemplate::NewDevice).await, 1);
    assert_eq!(count(api, EMAIL, MailTemplate::RecoveryCodeUsed).await, 1);

    // A refresh token that two parties use; the second time the session is over already.
    let stolen = json!({"refreshToken": recovered["refreshToken"]});
    assert_eq!(api.post("/v1/auth/refresh", &stolen).await.status(), StatusCode::OK);
    problem(api.post("/v1/auth/refresh", &stolen).await, 401, "refresh_reused").await;
    problem(api.post("/v1/auth/refresh", &stolen).await, 401, "invalid_token").await;
    assert_eq!(count(api, EMAIL, MailTemplate::SessionStolen).await, 1);

    // The password, changed and reset.
    let change = json!({"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD, "otp": app.code()});
    let access =
        token(&body(by(api, access_token, CHANGE_PASSWORD, Some(&change)).await).await, "accessToken");
    assert_eq!(count(api, EMAIL, MailTemplate::PasswordChanged).await, 1);
    let link = reset_token(api, clock, EMAIL).await;

    // The address: the old one at request and completion, the new one at request.
    let change = json!({"newEmail": NEW, "password": NEW_PASSWORD, "otp": app.code()});
    assert_eq!(by(api, &access, CHANGE_EMAIL, Some(&change)).await.status(), StatusCode::ACCEPTED);
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(count(api, NEW, MailTemplate::EmailChangeConfirm).await, 1);
    assert_eq!(count(api, EMAIL, MailTemplate::EmailChangeNotice).await, 1);
    assert_eq!(reset(api, &link, PASSWORD).await.status(), StatusCode::OK);
    assert_eq!(count(api, EMAIL, MailTemplate::PasswordChanged).await, 2);
    let access = account.log_in().await;
    clock.advance(TimeDelta::minutes(1));
    let change = json!({"newEmail": NEW, "password": PASSWORD, "otp": app.code()});
    assert_eq!(by(api, &access, CHANGE_EMAIL, Some(&change)).await.status(), StatusCode::ACCEPTED);
    let confirm = newest_token(api, NEW, MailTemplate::EmailChangeConfirm).await;
    assert_eq!(follow(api, CONFIRM, &confirm).await.status(), StatusCode::OK);
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(notices(api, EMAIL).await, [(false, false), (false, false), (true, true)]);

    // The second factor, disabled: told to the address that the account has by now.
    let proof = json!({"password": PASSWORD, "otp": app.code()});
    assert_eq!(by(api, &access, "/v1/auth/2fa/disable", Some(&proof)).await.status(), StatusCode::OK);
    assert_eq!(count(api, NEW, MailTemplate::TotpDisabled).await, 1);

    // No notice takes the place of another one that waits to be sent.
    let mails = api.mails().await;
    let is_notice = |template| {
        matches!(
            template,
            MailTemplate::PasswordChanged | MailTemplate::EmailChangeNotice | MailTemplate::NewDevice
        )
    };
    assert!(
        mails.iter().filter(|(mail, _)| is_notice(mail.template)).all(|(mail, _)| mail.supersedes.is_none())
    );
}
