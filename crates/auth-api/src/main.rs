//! The public REST gateway.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_runtime::main::<auth_api::service::AuthApi>()
}
