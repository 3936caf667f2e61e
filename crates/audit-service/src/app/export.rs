use async_stream::try_stream;
use futures::Stream;
use sha2::{Digest, Sha256};

use super::{AuditLog, SearchError};
use crate::domain::{Criteria, ExportFormat};

/// So much of a file travels at once: below what any gRPC client takes by default.
const CHUNK_BYTES: usize = 64 * 1024;

/// A piece of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportPart {
    /// The next bytes of the file.
    Chunk(Vec<u8>),
    /// It was whole.
    End(ExportSummary),
}

/// What an export had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportSummary {
    pub events: u64,
    /// Everything up to here was looked at.
    pub up_to_seq: i64,
    /// Of the whole file.
    pub sha256: [u8; 32],
}

impl AuditLog {
    /// Everything that matches and is recorded already, from old to new, as a file. Only what is taken is read.
    pub async fn export(
        &self,
        criteria: &Criteria,
        format: ExportFormat,
    ) -> Result<impl Stream<Item = Result<ExportPart, SearchError>> + use<>, SearchError> {
        let up_to_seq = self.last_seq().await?;
        let mut reading = self.read(criteria, 0, up_to_seq).await?;
        Ok(try_stream! {
            let (mut digest, mut events) = (Sha256::new(), 0_u64);
            let mut file = format.begin();
            loop {
                digest.update(&file);
                for chunk in file.chunks(CHUNK_BYTES) {
                    yield ExportPart::Chunk(chunk.to_vec());
                }
                let Some(batch) = reading.next().await? else { break };
                events += batch.len() as u64;
                file = format.write(&batch);
            }
            yield ExportPart::End(ExportSummary { events, up_to_seq, sha256: digest.finalize().into() });
        })
    }
}
