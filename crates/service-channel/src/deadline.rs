//! The `grpc-timeout` header.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

const HEADER: &str = "grpc-timeout";
/// What a client that did not say gets.
const CLIENT_DEFAULT: Duration = Duration::from_millis(800);

/// How long a client will wait for the answer; written to the headers when it is the default.
pub(crate) fn of_client(headers: &mut HeaderMap) -> Duration {
    timeout_of(headers).unwrap_or_else(|| {
        headers.insert(HEADER, HeaderValue::from_static("800m"));
        CLIENT_DEFAULT
    })
}

/// What is left of a client's deadline, in its next attempt.
pub(crate) fn write(headers: &mut HeaderMap, left: Duration) {
    // Rounded up: a millisecond that is left is not none.
    let milliseconds = left.as_micros().div_ceil(1000).min(99_999_999);
    if let Ok(value) = HeaderValue::try_from(format!("{milliseconds}m")) {
        headers.insert(HEADER, value);
    }
}

/// What a caller says in `grpc-timeout`; `None` if that is nothing, or nonsense.
#[must_use]
pub fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // The specification allows eight digits.
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 60 * 60),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(timeout: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HEADER.parse().unwrap(), HeaderValue::from_static(timeout))])
    }

    #[test]
    fn nonsense_is_no_deadline() {
        for nonsense in ["", "m", "5", "-5m", "123456789S", "5 m", "5µ"] {
            let value = HeaderValue::from_bytes(nonsense.as_bytes()).unwrap();
            assert_eq!(
                timeout_of(&HeaderMap::from_iter([(HEADER.parse().unwrap(), value)])),
                None,
                "{nonsense}"
            );
        }
    }

    #[test]
    fn a_client_without_a_deadline_sends_the_default() {
        let mut sent = HeaderMap::new();
        assert_eq!(of_client(&mut sent), CLIENT_DEFAULT);
        assert_eq!(timeout_of(&sent), Some(CLIENT_DEFAULT));
        assert_eq!(of_client(&mut headers("3S")), Duration::from_secs(3));
    }
}
