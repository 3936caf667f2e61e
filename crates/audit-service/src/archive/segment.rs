use std::io::{Read, Write};

use chrono::{DateTime, Utc};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::store::rows::RawRow;

/// Where segments are.
pub const FOLDER: &str = "events";
pub(super) const SEGMENT_SUFFIX: &str = ".ndjson.gz";
pub(super) const MANIFEST_SUFFIX: &str = ".json";

/// A part of the log as a file: a line for each row, with everything that the table has, in gzip. What is about people is
/// sealed in it as it is there, and gone when its key is gone.
#[derive(Debug)]
pub struct Segment {
    encoder: GzEncoder<Vec<u8>>,
    /// Of the lines.
    digest: Sha256,
    from_seq: i64,
    to_seq: i64,
    events: u64,
    last_hash: String,
}

/// What there is in a segment. Only with it the segment counts: it is written when the segment was read back and found whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub format: u32,
    /// The object that has the lines.
    pub object: String,
    pub from_seq: i64,
    pub to_seq: i64,
    pub events: u64,
    /// Of the object, in hex.
    pub object_sha256: String,
    /// Of its lines, in hex.
    pub lines_sha256: String,
    /// The hash of its last row, in hex: where it is in the chain.
    pub last_hash: String,
    pub written_at: DateTime<Utc>,
}

impl Segment {
    /// A segment that begins behind `after`.
    #[must_use]
    pub fn after(after: i64) -> Self {
        Self {
            encoder: GzEncoder::new(Vec::new(), Compression::default()),
            digest: Sha256::new(),
            from_seq: after + 1,
            to_seq: after,
            events: 0,
            last_hash: String::new(),
        }
    }

    /// Adds rows, in their order.
    pub fn add(&mut self, rows: &[RawRow]) -> std::io::Result<()> {
        for row in rows {
            for part in [row.line.as_bytes(), b"\n"] {
                self.digest.update(part);
                self.encoder.write_all(part)?;
            }
            self.events += 1;
            self.to_seq = row.seq;
            self.last_hash.clone_from(&row.hash);
        }
        Ok(())
    }

    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    #[must_use]
    pub fn to_seq(&self) -> i64 {
        self.to_seq
    }

    /// The object and what its manifest will say.
    pub fn finish(self, written_at: DateTime<Utc>) -> std::io::Result<(Vec<u8>, Manifest)> {
        let object = self.encoder.finish()?;
        let manifest = Manifest {
            format: 1,
            object: format!("{FOLDER}/{:020}-{:020}{SEGMENT_SUFFIX}", self.from_seq, self.to_seq),
            from_seq: self.from_seq,
            to_seq: self.to_seq,
            events: self.events,
            object_sha256: hex::encode(Sha256::digest(&object)),
            lines_sha256: hex::encode(self.digest.finalize()),
            last_hash: self.last_hash,
            written_at,
        };
        Ok((object, manifest))
    }
}

impl Manifest {
    /// The manifest's own name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{FOLDER}/{:020}-{:020}{MANIFEST_SUFFIX}", self.from_seq, self.to_seq)
    }

    /// Whether `object` is what was written, to the last line.
    pub fn describes(&self, object: &[u8]) -> std::io::Result<bool> {
        let (mut lines, mut events) = (Sha256::new(), 0_u64);
        let mut decoder = GzDecoder::new(object);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = decoder.read(&mut buffer)?;
            let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else { break };
            lines.update(read);
            events += memchr::memchr_iter(b'\n', read).count() as u64;
        }
        Ok(hex::encode(Sha256::digest(object)) == self.object_sha256
            && hex::encode(lines.finalize()) == self.lines_sha256
            && events == self.events)
    }
}

/// The range in the name of an object.
pub(super) fn range(name: &str) -> Option<(i64, i64)> {
    let (from, rest) = name.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('-')?;
    let to = rest.split('.').next()?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: i64) -> RawRow {
        RawRow { seq, line: format!("{{\"seq\":{seq}}}"), hash: format!("{seq:064x}") }
    }

    #[test]
    fn a_segment_is_what_its_manifest_says_or_it_is_not() {
        let mut segment = Segment::after(6);
        segment.add(&[row(7), row(8)]).unwrap();
        segment.add(&[row(9)]).unwrap();
        let (object, manifest) = segment.finish(DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(manifest.object, "events/00000000000000000007-00000000000000000009.ndjson.gz");
        assert_eq!(range(&manifest.object), Some((7, 9)));
        assert_eq!(range(&manifest.name()), Some((7, 9)));
        assert_eq!((manifest.events, &*manifest.last_hash), (3, &*format!("{:064x}", 9)));
        assert!(manifest.describes(&object).unwrap());
        for index in 0..object.len() {
            let mut damaged = object.clone();
            damaged[index] ^= 1;
            assert!(!manifest.describes(&damaged).unwrap_or(false), "byte {index}");
            assert!(!manifest.describes(&object[..index]).unwrap_or(false), "cut at {index}");
        }
        let fewer = Manifest { events: 2, ..manifest };
        assert!(!fewer.describes(&object).unwrap());
    }

    #[test]
    fn what_is_not_a_segment_has_no_range() {
        for name in ["events/readme.txt", "checkpoints/1-2.json", "events/1.json", "events/a-b.json"] {
            assert_eq!(range(name), None);
        }
    }
}
