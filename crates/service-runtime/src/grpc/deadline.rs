//! How long a call may take.

use std::time::Duration;

use http::HeaderMap;
use service_channel::timeout_of;

/// No call is worth more of the server's time.
const SERVER_LIMIT: Duration = Duration::from_secs(2);
/// tonic answers CANCELLED when a caller's deadline has passed. Ours fires this much earlier and answers `DEADLINE_EXCEEDED`.
const HEAD_START: Duration = Duration::from_millis(5);

/// How long a server may work on the call.
pub(super) fn of_server(headers: &HeaderMap) -> Duration {
    timeout_of(headers)
        .map_or(SERVER_LIMIT, |wanted| wanted.saturating_sub(HEAD_START).max(wanted / 2).min(SERVER_LIMIT))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(timeout: &'static str) -> HeaderMap {
        HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), HeaderValue::from_static(timeout))])
    }

    #[test]
    fn the_shorter_of_the_two_counts() {
        assert_eq!(of_server(&HeaderMap::new()), SERVER_LIMIT);
        assert_eq!(of_server(&headers("1H")), SERVER_LIMIT);
        assert_eq!(of_server(&headers("800m")), Duration::from_millis(795));
        assert_eq!(of_server(&headers("2m")), Duration::from_millis(1));
    }
}
