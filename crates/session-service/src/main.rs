//! `session-service serve | migrate | config | doctor | keys list`

use std::process::ExitCode;

/// A tenth of the time of a warm request goes into the heap, and half of that with this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    service_runtime::main::<session_service::SessionService>()
}
