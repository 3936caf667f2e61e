//! Replicas stop in turn under 200 requests a second, and nobody notices.

use e2e::rolling::{stop_auth_apis, stop_session_services};

const PER_SECOND: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn session_services_that_stop_in_turn_fail_no_request() {
    stop_session_services(PER_SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auth_apis_that_stop_in_turn_fail_no_request_of_who_follows_readiness() {
    stop_auth_apis(PER_SECOND).await;
}
