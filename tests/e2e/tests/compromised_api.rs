//! Whoever has taken auth-api over has what auth-api has, and that makes no token.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeMap, fs};

use e2e::{Stack, journey};
use tokio_postgres::{NoTls, error::SqlState};

/// Every variable of a running service; where it names a file, what is in the file.
fn environment(stack: &Stack, pid: &str) -> BTreeMap<String, String> {
    let environ = fs::read_to_string(format!("/proc/{}/environ", stack.variable(pid))).unwrap();
    let variables = environ.split('\0').filter_map(|variable| variable.split_once('='));
    variables
        .map(|(name, value)| {
            let file = name.strip_suffix("_FILE").map(|name| (name, fs::read_to_string(value)));
            match file {
                Some((name, Ok(text))) => (name.to_owned(), text.trim().to_owned()),
                _ => (name.to_owned(), value.to_owned()),
            }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tok_09_nothing_that_auth_api_has_mints_a_token() {
    let stack = Stack::start(&[("CAPTCHA", "off".to_owned())]).await;
    journey::logged_in(&stack, "ada@example.com").await;
    let (of_api, of_sessions) =
        (environment(&stack, "AUTH_API_PID"), environment(&stack, "SESSION_SERVICE_PID"));
    let sealing = of_sessions.get("SESSION_KEYS").unwrap();
    let sealing = sealing.split(':').next_back().unwrap();
    assert!(sealing.len() >= 43, "the key that seals the signing keys is known to this test");
    for (name, value) in &of_api {
        assert!(!name.starts_with("SESSION_KEYS") && !value.contains(sealing), "auth-api has it in {name}");
    }

    // The sealed keys are not within its reach either.
    let (database, connection) =
        tokio_postgres::connect(of_api.get("DATABASE_URL").unwrap(), NoTls).await.unwrap();
    let attempts = async move {
        assert!(
            database.simple_query("SELECT id FROM auth.users").await.is_ok(),
            "it is auth-api's own login"
        );
        for query in [
            "SELECT secret FROM session.signing_keys",
            "SELECT * FROM session.sessions",
            "INSERT INTO session.revocations SELECT * FROM session.revocations",
            "SET ROLE session_app",
            "SET ROLE session_owner",
        ] {
            let refused = database.simple_query(query).await.unwrap_err();
            assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{query}");
        }
    };
    tokio::join!(attempts, async { connection.await.ok() });
}
