//! `session-service keys …`, as an operator runs it.

use std::{
    process::{Command, Output, Stdio},
    sync::Arc,
};

use clock::{Clock, ManualClock, SystemClock};
use diesel_async::SimpleAsyncConnection;
use secrecy::ExposeSecret;
use test_support::{TestDatabase, eventually};

use crate::{
    harness::{DEADLINE, KEYS, OTHER_KEYS, Setup, facts, new_database, new_user, query},
    keys::{HEARD, kid_of, kids},
};

/// Both keys; the other one seals.
const BOTH_KEYS: &str =
    "k2:_wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8,k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// `session-service keys …` on the database.
fn keys_command(database: &TestDatabase, keys: &str, arguments: &[&str]) -> Command {
    let mut command = command(database, keys);
    command.arg("keys").args(arguments);
    command
}

/// `session-service` on the database.
fn command(database: &TestDatabase, keys: &str) -> Command {
    let url = database.app_url();
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-service"));
    command
        .env_clear()
        .env("ENVIRONMENT", "development")
        .env("GRPC_PLAINTEXT", "true")
        .env("DATABASE_URL", url.expose_secret())
        .env("AMQP_URL", "amqp://127.0.0.1:1")
        .env("SESSION_KEYS", keys)
        .env("TOKEN_ISSUER", "https://auth.example")
        .env("TOKEN_AUDIENCE", "feature-auth");
    command
}

fn text_of(output: Output) -> (bool, String) {
    let Output { status, stdout, stderr } = output;
    (status.success(), String::from_utf8(stdout).unwrap() + &String::from_utf8_lossy(&stderr))
}

/// Which keys of the ring seal the secrets of a table, in the order of its ids.
async fn sealed_by(database: &TestDatabase, table: &str, column: &str) -> Vec<String> {
    let id = if table == "sessions" { "id" } else { "kid" };
    query(
        database,
        &format!(
            "SELECT convert_from(substring({column} FROM 3 FOR 2), 'UTF8') AS text FROM {table} ORDER BY {id}"
        ),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lists_and_rotates_the_keys() {
    let database = new_database().await;
    // The command knows only the real time.
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let service = Setup { clock, ..Setup::on(&database) }.start_ready().await;
    let run = |arguments: &[&str]| text_of(keys_command(&database, KEYS, arguments).output().unwrap());
    let line_of = |kid: &str| {
        let (good, text) = run(&["list"]);
        assert!(good, "{text}");
        text.lines().find(|line| line.contains(kid)).unwrap_or_default().to_owned()
    };
    let old = kids(&service).await.remove(0);
    let line = line_of(&old);
    assert!(line.contains("signs") && line.contains(" - ") && line.contains("current key"), "{line}");

    let (good, text) = run(&["rotate", "--reason", "calendar"]);
    assert!(good && text.contains("signs from"), "{text}");
    let (good, text) = run(&["rotate"]);
    assert!(!good && text.contains("has not begun to sign"), "{text}");
    let next = eventually("the service to hear of it", HEARD, || async {
        kids(&service).await.into_iter().find(|kid| *kid != old)
    })
    .await;
    assert!(line_of(&next).contains("published"));
    assert!(!line_of(&old).contains(" - "));

    let token = service.create(&new_user()).await.access_token;
    assert_eq!(kid_of(&token), old);
    let (good, text) = run(&["rotate", "--drop-current", "--reason", "stolen"]);
    assert!(good, "{text}");
    eventually("the token to be dead", HEARD, || async {
        (!service.validate(&token).await.active).then_some(())
    })
    .await;
    assert!(line_of(&old).contains("retired") && line_of(&next).contains("retired"));
    let told = facts(&database, "auth.system.key_rotated").await;
    let data = &told.last().unwrap()["data"];
    assert_eq!((&data["actor"]["kind"], &data["reason"]), (&"operator".into(), &"stolen".into()));
    let (good, text) = run(&["rotate", "--reason", "Not a code"]);
    assert!(!good && text.contains("snake_case"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_tells_no_key_from_none_that_opens() {
    let database = new_database().await;
    let found = |keys: &str| {
        let (_, text) = text_of(command(&database, keys).arg("doctor").output().unwrap());
        text.lines().find(|line| line.contains("signing keys")).unwrap_or_default().to_owned()
    };
    assert_eq!(found(KEYS), "ok    signing keys: there is none yet");
    // The command knows only the real time.
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let service = Setup { clock, ..Setup::on(&database) }.start_ready().await;
    let kid = kids(&service).await.remove(0);
    assert_eq!(found(KEYS), format!("ok    signing keys: {kid} signs"));
    let none = "FAIL  signing keys: none of the 1 signing keys opens with SESSION_KEYS";
    assert_eq!(found(OTHER_KEYS), none);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_key_sealed_opens_and_is_sealed_anew_while_the_service_runs() {
    let database = new_database().await;
    let before = Setup::on(&database).start_ready().await;
    let tokens = before.create(&new_user()).await;
    let busy = before.create(&new_user()).await.access_token;
    let busy = before.validate(&busy).await.claims.unwrap().session_id;
    before.create(&new_user()).await;

    let with_both = Setup { keys: BOTH_KEYS, ..Setup::on(&database) }.start_ready().await;
    assert!(with_both.validate(&tokens.access_token).await.active);
    let refreshed = with_both.refresh(&tokens.refresh_token).await.unwrap();
    assert_eq!(kid_of(&refreshed.access_token), kid_of(&tokens.access_token));
    let listed = text_of(keys_command(&database, BOTH_KEYS, &["list"]).output().unwrap());
    assert!(listed.0 && listed.1.contains("older key"), "{listed:?}");

    // Somebody holds a session; it is passed over and comes last.
    let mut holder = database.admin().connection().await.unwrap();
    let hold = format!("BEGIN; SELECT FROM sessions WHERE id = '{busy}' FOR UPDATE");
    holder.batch_execute(&hold).await.unwrap();
    let child = keys_command(&database, BOTH_KEYS, &["reseal", "--batch", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the others to be sealed anew", DEADLINE, || async {
        let sealed = sealed_by(&database, "sessions", "refresh_key").await;
        (sealed.iter().filter(|name| *name == "k2").count() == 2).then_some(())
    })
    .await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    let (good, text) = text_of(child.wait_with_output().unwrap());
    assert!(good && text.contains("signing keys: 1 sealed anew"), "{text}");
    assert!(text.contains("refresh keys: 3 sealed anew, 0 current, 0 unreadable"), "{text}");
    assert_eq!(sealed_by(&database, "signing_keys", "secret").await, ["k2"]);
    let (good, text) = text_of(keys_command(&database, BOTH_KEYS, &["reseal"]).output().unwrap());
    assert!(good && text.contains("refresh keys: 0 sealed anew, 3 current"), "{text}");

    // Whoever does not know the old key any more needs nothing of it; and whoever knows only the old one is told.
    let with_new = Setup { keys: OTHER_KEYS, ..Setup::on(&database) }.start_ready().await;
    let refreshed = with_new.refresh(&refreshed.refresh_token).await.unwrap();
    assert!(with_new.validate(&refreshed.access_token).await.active);
    let (good, text) = text_of(keys_command(&database, KEYS, &["reseal"]).output().unwrap());
    assert!(!good && text.contains("signing keys: 0 sealed anew, 0 current, 1 unreadable"), "{text}");
}
