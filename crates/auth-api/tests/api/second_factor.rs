use auth_events::commands::{MailParameters, MailTemplate};
use chrono::TimeDelta;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    authenticator::{
        Authenticator, DISABLE, EMAIL, ENABLE_COMPLETE, ENABLE_INIT, ProtectedAccount, RECOVERY_CODES,
        RECOVERY_LOGIN, STEP, VERIFY, anywhere, by, start, token,
    },
    harness::{PASSWORD, body, problem},
    mail_links::device_cookie,
};

const STATUS: &str = "/v1/auth/2fa";

#[tokio::test(flavor = "multi_thread")]
async fn an_authenticator_app_is_set_up_and_asked_for_from_then_on() {
    let (api, clock) = start().await;
    api.verified_account(EMAIL).await;
    let elsewhere = token(&api.login_tokens(EMAIL).await, "accessToken");
    let access = token(&api.login_tokens(EMAIL).await, "accessToken");
    let status = async |access: &str| body(api.get(STATUS).bearer_auth(access).send().await.unwrap()).await;
    let off = json!({"enabled": false, "enabledAt": null, "recoveryCodesRemaining": 0});
    assert_eq!(status(&access).await, off);

    let enrolment = body(by(&api, &access, ENABLE_INIT, None).await).await;
    let secret = enrolment["secret"].as_str().unwrap();
    assert_eq!(secret.len(), 32);
    let url =
        format!("otpauth://totp/app.example.test:ada%40example.test?secret={secret}&issuer=app.example.test");
    assert_eq!(enrolment["otpauthUrl"], url);
    assert!(enrolment["qrSvg"].as_str().unwrap().starts_with("<svg role=\"img\""));
    assert_eq!(status(&access).await, off, "not before the first code");

    let app = Authenticator::new(secret, &clock);
    let complete = async |otp: &str| {
        let request = json!({"challengeId": enrolment["challengeId"], "otp": otp});
        by(&api, &access, ENABLE_COMPLETE, Some(&request)).await
    };
    problem(complete(&app.wrong_code()).await, 400, "otp_invalid").await;
    let enabled = body(complete(&app.code()).await).await;
    let codes = enabled["recoveryCodes"].as_array().unwrap();
    assert_eq!(codes.len(), 10);
    assert!(codes.iter().all(|code| code.as_str().unwrap().len() == 27));
    assert_eq!(
        status(&access).await,
        json!({"enabled": true, "enabledAt": "2030-01-01T00:00:00Z", "recoveryCodesRemaining": 10})
    );
    problem(complete(&app.code()).await, 400, "enrolment_invalid").await;

    // This session has given the factor; others, which never did, are over.
    let me = api.get("/v1/auth/me").bearer_auth(token(&enabled, "accessToken")).send().await.unwrap();
    assert_eq!(body(me).await["aal"], 2);
    api.until_refused(&elsewhere).await;
    let Some(MailParameters::TotpEnabled { secure_link, .. }) =
        api.mail_to(EMAIL, MailTemplate::TotpEnabled).await
    else {
        panic!("the owner was not told")
    };
    assert!(secure_link.starts_with("https://app.example.test/secure-account#token=fat_"));
    for (fact, times) in
        [("mfa.totp_enroll_started", 1), ("mfa.totp_enabled", 1), ("mfa.recovery_codes_generated", 1)]
    {
        assert_eq!(api.facts(fact).await.len(), times, "{fact}");
    }

    // The code that set the app up is used, too.
    let login = body(api.login(EMAIL, PASSWORD).await).await;
    let request = json!({"challengeId": login["challengeId"], "otp": app.code()});
    problem(api.post(VERIFY, &request).await, 400, "otp_invalid").await;
    clock.advance(STEP);
    let request = json!({"challengeId": login["challengeId"], "otp": app.code()});
    let tokens = body(api.post(VERIFY, &request).await).await;
    let me = api.get("/v1/auth/me").bearer_auth(token(&tokens, "accessToken")).send().await.unwrap();
    assert_eq!(body(me).await["aal"], 2);
    let login = api.facts("auth.login").await.pop().unwrap();
    assert_eq!(login["data"]["detail"]["methods"], json!(["pwd", "otp", "mfa"]));
    let challenge = api.facts("auth.login_challenge").await.pop().unwrap();
    assert_eq!(challenge["data"]["detail"]["methods"], json!(["otp", "recovery_code"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_browser_needs_no_code_for_thirty_days() {
    let account = ProtectedAccount::new().await;
    let request =
        json!({"challengeId": account.challenge().await, "otp": account.app.code(), "trustDevice": true});
    let answer = anywhere(&account.api, VERIFY).json(&request).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let cookie = device_cookie(&answer).unwrap();
    assert_eq!(account.api.facts("mfa.device_trusted").await.len(), 1);
    let login = async |cookie: &str| {
        let request = json!({"email": EMAIL, "password": PASSWORD});
        let request = anywhere(&account.api, "/v1/auth/login").header("cookie", cookie).json(&request);
        body(request.send().await.unwrap()).await
    };
    let tokens = login(&cookie).await;
    assert_eq!(tokens["requires2fa"], false);
    let me = account.api.get("/v1/auth/me").bearer_auth(token(&tokens, "accessToken")).send().await.unwrap();
    assert_eq!(body(me).await["aal"], 1, "the code was not given this time");
    assert_eq!(login("__Host-device=fad_nonsense").await["requires2fa"], true);
    account.clock.advance(TimeDelta::days(30));
    assert_eq!(login(&cookie).await["requires2fa"], true);

    // Whoever disables and enables it again starts with no trust.
    let request =
        json!({"challengeId": account.challenge().await, "otp": account.app.code(), "trustDevice": true});
    let again = anywhere(&account.api, VERIFY).header("cookie", &cookie).json(&request).send().await.unwrap();
    assert_eq!(device_cookie(&again).as_ref(), Some(&cookie), "the browser is known");
    assert_eq!(login(&cookie).await["requires2fa"], false);
    account.clock.advance(STEP);
    let proof = json!({"password": PASSWORD, "otp": account.app.code()});
    let access = token(&body(again).await, "accessToken");
    assert_eq!(by(&account.api, &access, DISABLE, Some(&proof)).await.status(), StatusCode::OK);
    assert_eq!(
        account.api.sql("SELECT count(*) FROM auth.known_devices WHERE trusted_until IS NOT NULL").await,
        "0"
    );
    let untrusted = account.api.facts("mfa.device_untrusted").await;
    assert_eq!((untrusted.len(), &untrusted[0]["data"]["detail"]["devices"]), (1, &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_code_stands_for_the_app() {
    let account = ProtectedAccount::new().await;
    let recover =
        async |request: Value| anywhere(&account.api, RECOVERY_LOGIN).json(&request).send().await.unwrap();
    let [first, second, third] = [0, 1, 2].map(|index| account.recovery_codes[index].clone());

    // However it is typed.
    let typed = first.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
    let challenge = account.challenge().await;
    let tokens = recover(json!({"challengeId": challenge, "recoveryCode": typed})).await;
    let tokens = body(tokens).await;
    assert_eq!((&tokens["recoveryCodesRemaining"], &tokens["tokenType"]), (&json!(9), &json!("Bearer")));
    let me = account.api.get("/v1/auth/me").bearer_auth(token(&tokens, "accessToken")).send().await.unwrap();
    assert_eq!(body(me).await["aal"], 2);
    let mail = account.api.mail_to(EMAIL, MailTemplate::RecoveryCodeUsed).await;
    assert!(matches!(mail, Some(MailParameters::RecoveryCodeUsed { remaining: 9, .. })));

    // With the password in place of the challenge.
    let by_password = |code: &str| json!({"email": EMAIL, "password": PASSWORD, "recoveryCode": code});
    problem(recover(by_password(&first)).await, 400, "otp_invalid").await;
    problem(recover(by_password("no code at all")).await, 400, "otp_invalid").await;
    let wrong = json!({"email": EMAIL, "password": "not the right password", "recoveryCode": second});
    let hashes = account.api.metric("password_hash_seconds");
    let refused = problem(recover(wrong).await, 401, "invalid_credentials").await;
    assert_eq!(refused["detail"], "Email or password is incorrect.");
    let unknown = json!({"email": "nobody@example.test", "password": PASSWORD, "recoveryCode": second});
    problem(recover(unknown).await, 401, "invalid_credentials").await;
    assert!((account.api.metric("password_hash_seconds") - hashes - 2.0).abs() < 0.5, "one hash each");
    let tokens = body(recover(by_password(&second)).await).await;
    assert_eq!(tokens["recoveryCodesRemaining"], 8);

    // Either, not both.
    for request in [
        json!({"recoveryCode": third}),
        json!({"email": EMAIL, "recoveryCode": third}),
        json!({"password": PASSWORD, "recoveryCode": third}),
        json!({"challengeId": challenge, "email": EMAIL, "password": PASSWORD, "recoveryCode": third}),
    ] {
        problem(recover(request).await, 400, "invalid_request").await;
    }

    // It proves the second factor of a session, too, when the app is lost for good.
    let access = token(&tokens, "accessToken");
    let proof = json!({"password": PASSWORD, "otp": third});
    assert_eq!(by(&account.api, &access, DISABLE, Some(&proof)).await.status(), StatusCode::OK);
    problem(
        by(&account.api, &access, DISABLE, Some(&json!({"password": PASSWORD}))).await,
        409,
        "totp_not_enabled",
    )
    .await;
    let codes = by(&account.api, &access, RECOVERY_CODES, Some(&json!({"password": PASSWORD}))).await;
    problem(codes, 409, "totp_not_enabled").await;
    problem(recover(by_password(&account.recovery_codes[3])).await, 400, "otp_invalid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_session_service_is_away_no_code_is_used_up() {
    let account = ProtectedAccount::new().await;
    let (challenge, another) = (account.challenge().await, account.challenge().await);
    let code = &account.recovery_codes[0];
    let by_password = json!({"email": EMAIL, "password": PASSWORD, "recoveryCode": code});
    account.api.sessions.set_unavailable(true);
    // More often than a challenge may be tried.
    for _ in 0..6 {
        problem(account.verify(&challenge, &account.app.code()).await, 503, "unavailable").await;
        problem(account.recover(&another, code).await, 503, "unavailable").await;
        let answer = anywhere(&account.api, RECOVERY_LOGIN).json(&by_password).send().await.unwrap();
        problem(answer, 503, "unavailable").await;
    }
    account.api.sessions.set_unavailable(false);
    assert_eq!(account.verify(&challenge, &account.app.code()).await.status(), StatusCode::OK);
    let recovered = body(account.recover(&another, code).await).await;
    assert_eq!(recovered["recoveryCodesRemaining"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_recovery_codes_take_the_place_of_all_others() {
    let account = ProtectedAccount::new().await;
    let proof = json!({"password": PASSWORD, "otp": account.app.code()});
    let made = body(by(&account.api, &account.access_token, RECOVERY_CODES, Some(&proof)).await).await;
    let codes = made["recoveryCodes"].as_array().unwrap();
    assert_eq!(codes.len(), 10);
    assert_eq!(account.api.facts("mfa.recovery_codes_generated").await.len(), 2);
    let challenge = account.challenge().await;
    problem(account.recover(&challenge, &account.recovery_codes[0]).await, 400, "otp_invalid").await;
    let recovered = account.recover(&challenge, codes[0].as_str().unwrap()).await;
    assert_eq!(body(recovered).await["recoveryCodesRemaining"], 9);
    let stored =
        account.api.sql("SELECT string_agg(encode(code_hash, 'escape'), '') FROM auth.recovery_codes").await;
    assert!(codes.iter().all(|code| !stored.contains(&code.as_str().unwrap().replace('-', ""))));
}
