//! The `audit-service` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_runtime::main::<audit_service::AuditService>()
}
