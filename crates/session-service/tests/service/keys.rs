use std::process::Command;

use auth_proto::session::v1::{GetPublicKeysRequest, PublicKey};
use secrecy::ExposeSecret;
use test_support::eventually;
use tonic::Code;

use crate::harness::{
    DEADLINE, KEYS, OTHER_KEYS, Running, Setup, execute, facts, login, new_database, new_user, reason,
};

async fn public_keys(service: &Running) -> Vec<PublicKey> {
    service.client.clone().get_public_keys(GetPublicKeysRequest {}).await.unwrap().into_inner().keys
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_start_at_once_agree_on_one_first_key() {
    let database = new_database().await;
    let (one, other) = tokio::join!(Setup::on(&database).start_ready(), Setup::on(&database).start_ready());
    let keys = public_keys(&one).await;
    assert_eq!(keys.len(), 1);
    assert_eq!(keys, public_keys(&other).await);
    assert!(keys[0].paserk.starts_with("k4.public."));

    let told = facts(&database, "auth.system.key_rotated").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["data"]["detail"]["kid"], keys[0].kid.as_str());

    let token = one.create(&new_user()).await.access_token;
    assert!(other.validate(&token).await.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_another_instance_made_is_found_when_a_token_names_it() {
    let database = new_database().await;
    let old = Setup::on(&database).start_ready().await;
    execute(&database, "DELETE FROM signing_keys").await;
    let new = Setup::on(&database).start_ready().await;
    assert_ne!(public_keys(&old).await, public_keys(&new).await);
    let token = new.create(&new_user()).await.access_token;
    assert!(old.validate(&token).await.active);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_with_other_keys_verifies_and_does_not_sign() {
    let database = new_database().await;
    let good = Setup::on(&database).start_ready().await;
    let token = good.create(&new_user()).await.access_token;

    let wrong = Setup { keys: OTHER_KEYS, ..Setup::on(&database) }.start().await;
    eventually("the key to be known", DEADLINE, || async {
        wrong.validate(&token).await.active.then_some(())
    })
    .await;
    let status = wrong.client.clone().create_session(login(&new_user())).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "signing_key_unavailable".to_owned()));
    let report = wrong.lifecycle.readiness().report().await;
    assert!(report.checks.iter().any(|check| check.name == "signing_key" && check.required && !check.ok));
    assert_eq!(public_keys(&good).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_can_list_the_keys() {
    let database = new_database().await;
    let service = Setup::on(&database).start_ready().await;
    let kid = public_keys(&service).await.remove(0).kid;
    let url = database.app_url();
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-service"));
    command
        .args(["keys", "list"])
        .env_clear()
        .env("ENVIRONMENT", "development")
        .env("GRPC_PLAINTEXT", "true")
        .env("DATABASE_URL", url.expose_secret())
        .env("AMQP_URL", "amqp://127.0.0.1:1")
        .env("SESSION_KEYS", KEYS)
        .env("TOKEN_ISSUER", "https://auth.example")
        .env("TOKEN_AUDIENCE", "feature-auth");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let line = text.lines().find(|line| line.contains(&kid)).expect("a line for the key");
    assert!(line.contains("current key"), "{line}");
}
