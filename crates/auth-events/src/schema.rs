//! The JSON Schemas of every message, as they are committed under `schemas/`.

use crate::{Envelope, commands::MailSend, facts};

/// File name (without `.json`) and schema of every `(type, version)`.
#[must_use]
pub fn all() -> Vec<(String, schemars::Schema)> {
    let mut schemas = facts::schemas();
    schemas.push((format!("mail.send.v{}", MailSend::VERSION), schemars::schema_for!(Envelope<MailSend>)));
    schemas
}
