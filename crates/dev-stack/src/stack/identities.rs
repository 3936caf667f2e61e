use std::path::Path;

use crate::{certificates::DevelopmentCa, private_file};

/// Who gets a certificate: the roles, and their files' names.
const IDENTITIES: [(&str, &str); 6] = [
    ("auth-api", "auth-api"),
    ("session-service", "session-service"),
    ("mailer", "mailer"),
    ("audit-service", "audit-service"),
    ("internal/demo", "internal"),
    ("operator/dev", "operator"),
];

/// Writes `ca.pem`, and `<name>.pem` and `<name>.key` of each identity, anew at each start; the CA stays.
pub(super) fn write(directory: &Path) -> anyhow::Result<()> {
    private_file::directory(directory)?;
    let ca = DevelopmentCa::load_or_generate(directory)?;
    for (role, name) in IDENTITIES {
        let leaf = ca.issue(role)?;
        private_file::write(&directory.join(format!("{name}.key")), &leaf.key_pem)?;
        private_file::write(&directory.join(format!("{name}.pem")), &leaf.cert_pem)?;
    }
    Ok(())
}
