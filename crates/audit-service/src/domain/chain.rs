//! The hash of a row: what it is made of, to the byte. ADR 0029 says it for those who verify without this code.

use std::io::Write;

use auth_ids::Uuid;
use base64::prelude::*;
use sha2::{Digest, Sha256};

/// Separates these hashes from any others, and this form of them from later ones.
const DOMAIN: &[u8] = b"feature-auth audit row v1\0";

/// A SHA-256.
pub type Hash = [u8; 32];

/// What the first row of a chain follows.
pub const GENESIS: Hash = [0; 32];

/// What a row says, as the table holds it. Times are microseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct RowContent<'a> {
    pub class: &'a str,
    pub position: i64,
    pub id: Uuid,
    pub name: &'a str,
    pub version: i32,
    pub source: &'a str,
    pub occurred_at: i64,
    pub recorded_at: i64,
    pub subject_id: Option<Uuid>,
    pub actor_kind: &'a str,
    pub actor_id: Option<Uuid>,
    pub actor_name: Option<&'a str>,
    pub outcome: &'a str,
    pub severity: &'a str,
    pub reason: Option<&'a str>,
    pub target_kind: Option<&'a str>,
    pub target_id: Option<&'a str>,
    pub request_id: Option<&'a str>,
    pub trace_id: Option<&'a str>,
    /// Canonical JSON.
    pub detail: &'a str,
    pub sealed_client: Option<&'a [u8]>,
    pub sealed_detail: Option<&'a [u8]>,
}

/// The hash of the row with that number and that content after the row with the hash `previous`.
#[must_use]
pub fn hash(seq: i64, previous: &Hash, canonical: &[u8]) -> Hash {
    let mut digest = Sha256::new();
    digest.update(DOMAIN);
    digest.update(seq.to_be_bytes());
    digest.update(previous);
    digest.update(canonical);
    digest.finalize().into()
}

impl RowContent<'_> {
    /// The hash of the row with that number after the row with the hash `previous`. `buffer` is room to work in, so that
    /// thousands of rows need no memory of their own.
    #[must_use]
    pub fn hash(&self, seq: i64, previous: &Hash, buffer: &mut Vec<u8>) -> Hash {
        buffer.clear();
        self.write_canonical(buffer);
        hash(seq, previous, buffer)
    }

    /// RFC 8785: names in order, no white space, absent members left out. `detail` is in that form already.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        let mut object = Object { out, first: true };
        object.uuid("actorId", self.actor_id);
        object.text("actorKind", Some(self.actor_kind));
        object.text("actorName", self.actor_name);
        object.text("class", Some(self.class));
        object.raw("detail", self.detail.as_bytes());
        object.uuid("id", Some(self.id));
        object.digits("occurredAt", self.occurred_at);
        object.text("outcome", Some(self.outcome));
        object.integer("position", self.position);
        object.text("reason", self.reason);
        object.digits("recordedAt", self.recorded_at);
        object.text("requestId", self.request_id);
        object.bytes("sealedClient", self.sealed_client);
        object.bytes("sealedDetail", self.sealed_detail);
        object.text("severity", Some(self.severity));
        object.text("source", Some(self.source));
        object.uuid("subjectId", self.subject_id);
        object.text("targetId", self.target_id);
        object.text("targetKind", self.target_kind);
        object.text("traceId", self.trace_id);
        object.text("type", Some(self.name));
        object.integer("version", self.version.into());
        object.end();
    }
}

/// Writes the members of an object in the order in which it is told of them. Writing into memory never fails.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Object<'_> {
    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(if self.first { b"{\"" } else { b",\"" });
        self.first = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn raw(&mut self, name: &str, json: &[u8]) {
        self.name(name);
        self.out.extend_from_slice(json);
    }

    fn text(&mut self, name: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        self.name(name);
        // It escapes what RFC 8785 escapes, the same way.
        let _ = serde_json::to_writer(&mut *self.out, text);
    }

    fn integer(&mut self, name: &str, integer: i64) {
        self.name(name);
        let _ = write!(self.out, "{integer}");
    }

    /// An integer as text: microseconds of far years are more than a double holds.
    fn digits(&mut self, name: &str, integer: i64) {
        self.name(name);
        let _ = write!(self.out, "\"{integer}\"");
    }

    fn uuid(&mut self, name: &str, uuid: Option<Uuid>) {
        let Some(uuid) = uuid else { return };
        self.name(name);
        let mut text = [0; 36];
        uuid.hyphenated().encode_lower(&mut text);
        self.out.push(b'"');
        self.out.extend_from_slice(&text);
        self.out.push(b'"');
    }

    fn bytes(&mut self, name: &str, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return };
        self.name(name);
        self.out.push(b'"');
        let start = self.out.len();
        self.out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        let room = self.out.get_mut(start..).unwrap_or_default();
        let written = BASE64_URL_SAFE_NO_PAD.encode_slice(bytes, room).unwrap_or_default();
        self.out.truncate(start + written);
        self.out.push(b'"');
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn content() -> RowContent<'static> {
        RowContent {
            class: "security",
            position: 7,
            id: Uuid::from_u128(1),
            name: "auth.login",
            version: 1,
            source: "auth-api",
            occurred_at: 1_893_456_000_123_456,
            recorded_at: 1_893_456_000_223_456,
            subject_id: Some(Uuid::from_u128(2)),
            actor_kind: "user",
            actor_id: Some(Uuid::from_u128(3)),
            actor_name: Some("quoted \" \u{1} \u{7f} \u{2028} ü 😀"),
            outcome: "failure",
            severity: "warning",
            reason: Some("wrong_password"),
            target_kind: Some("session"),
            target_id: Some("7"),
            request_id: Some("r-1"),
            trace_id: Some("0af7651916cd43dd8448eb211c80319c"),
            detail: r#"{"methods":["pwd"]}"#,
            sealed_client: Some(&[1, 2, 3, 4]),
            sealed_detail: Some(&[255]),
        }
    }

    #[test]
    fn the_written_form_is_canonical_json() {
        for content in [
            content(),
            RowContent { subject_id: None, reason: None, sealed_client: None, ..content() },
            RowContent { actor_id: None, detail: "{}", ..content() },
        ] {
            let mut written = Vec::new();
            content.write_canonical(&mut written);
            let parsed: Value = serde_json::from_slice(&written).unwrap();
            let canonical = serde_json_canonicalizer::to_vec(&parsed).unwrap();
            assert_eq!(String::from_utf8(written).unwrap(), String::from_utf8(canonical).unwrap());
        }
    }

    #[test]
    fn the_form_never_changes() {
        let hash = content().hash(42, &GENESIS, &mut Vec::new());
        assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(hash), "HsBN--65NYLN531L4a7B1pl5-aP0HYb_mvwzuIHiC2Q");
    }

    #[test]
    fn everything_a_row_says_is_in_its_hash() {
        let hash = |content: RowContent<'_>| content.hash(42, &GENESIS, &mut Vec::new());
        let original = hash(content());
        let other = Some(Uuid::from_u128(9));
        let changed = [
            RowContent { class: "routine", ..content() },
            RowContent { position: 8, ..content() },
            RowContent { id: Uuid::from_u128(9), ..content() },
            RowContent { name: "auth.logout", ..content() },
            RowContent { version: 2, ..content() },
            RowContent { source: "mailer", ..content() },
            RowContent { occurred_at: 0, ..content() },
            RowContent { recorded_at: 0, ..content() },
            RowContent { subject_id: other, ..content() },
            RowContent { actor_kind: "operator", ..content() },
            RowContent { actor_id: other, ..content() },
            RowContent { actor_name: None, ..content() },
            RowContent { outcome: "success", ..content() },
            RowContent { severity: "info", ..content() },
            RowContent { reason: None, ..content() },
            RowContent { target_kind: None, ..content() },
            RowContent { target_id: Some("8"), ..content() },
            RowContent { request_id: None, ..content() },
            RowContent { trace_id: None, ..content() },
            RowContent { detail: "{}", ..content() },
            RowContent { sealed_client: None, ..content() },
            RowContent { sealed_detail: Some(&[254]), ..content() },
        ];
        for content in changed {
            assert_ne!(hash(content), original, "{content:?}");
        }
        assert_ne!(content().hash(43, &GENESIS, &mut Vec::new()), original);
        assert_ne!(content().hash(42, &[1; 32], &mut Vec::new()), original);
    }
}
