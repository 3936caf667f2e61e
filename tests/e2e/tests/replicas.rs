//! A replica that is told to stop does so without anybody noticing. `make soak` does it again at twice the rate, in a release build.

use e2e::rolling::{stop_auth_apis, stop_session_services};
use tokio::sync::Mutex;

const PER_SECOND: u32 = 100;

/// Both at once would measure how much the machine can carry.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn session_services_that_stop_in_turn_fail_no_request() {
    let _alone = ONE_AT_A_TIME.lock().await;
    stop_session_services(PER_SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auth_apis_that_stop_in_turn_fail_no_request_of_who_follows_readiness() {
    let _alone = ONE_AT_A_TIME.lock().await;
    stop_auth_apis(PER_SECOND).await;
}
