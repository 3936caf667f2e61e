use auth_ids::{EventId, GenericUuid, Uuid};
use base64::prelude::*;
use chrono::DateTime;

use crate::store::messages::Position;

/// So that a later release can tell another format apart.
const FORMAT: u8 = 1;

/// A position as the opaque text that callers bring back.
pub(super) fn encode(position: Position) -> String {
    let micros = position.created_at.timestamp_micros().to_be_bytes();
    let id = position.id.into_untyped_uuid();
    BASE64_URL_SAFE_NO_PAD.encode([&[FORMAT], micros.as_slice(), id.as_bytes()].concat())
}

/// The position that [`encode`] made into `token`.
pub(super) fn decode(token: &str) -> Option<Position> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let (&[FORMAT], rest) = bytes.split_first_chunk()? else { return None };
    let (micros, id) = rest.split_first_chunk::<8>()?;
    let created_at = DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?;
    Some(Position { created_at, id: EventId::from_untyped_uuid(Uuid::from_slice(id).ok()?) })
}

#[cfg(test)]
mod tests {
    use clock::{Clock, SystemClock};

    use super::*;

    #[test]
    fn a_token_names_its_position_to_the_microsecond_and_nothing_else_is_one() {
        let created_at = DateTime::from_timestamp_micros(SystemClock.now().timestamp_micros()).unwrap();
        let id = auth_ids::generate(&SystemClock, &mut clock::secure_rng());
        let position = Position { created_at, id };
        let token = encode(position);
        assert_eq!(decode(&token), Some(position));
        for text in [
            "",
            "x",
            "AAAA",
            &token[1..],
            &token[..token.len() - 2],
            &format!("{token}AAAA"),
            &format!("{token}="),
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
