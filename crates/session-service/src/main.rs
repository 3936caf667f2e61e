//! `session-service serve | migrate | config | doctor | keys list`

use std::process::ExitCode;

fn main() -> ExitCode {
    service_runtime::main::<session_service::SessionService>()
}
