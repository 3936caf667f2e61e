use actix_web::http::header::HeaderMap;
use uuid::Uuid;

/// The header in which the id travels, both ways.
pub const HEADER: &str = "x-request-id";
const MAX_BYTES: usize = 128;

/// The client's own id, if it is 1 to 128 unreserved characters (RFC 3986), else a new one.
pub fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(HEADER).and_then(|value| value.to_str().ok()).filter(|id| is_well_formed(id));
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

fn is_well_formed(id: &str) -> bool {
    (1..=MAX_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_ids_are_taken_over() {
        assert!(is_well_formed("01J-abc_9.~"));
        for id in ["", "a b", "a\"b", "a{b}", "ä", &"x".repeat(129)] {
            assert!(!is_well_formed(id), "{id:?}");
        }
    }
}
