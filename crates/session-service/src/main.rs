//! `session-service serve | migrate | config | doctor | keys list`

use std::process::ExitCode;

/// A tenth of the time of a warm request goes into the heap, and half of that with this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    without_huge_pages();
    service_runtime::main::<session_service::SessionService>()
}

/// The heap is small and spread wide; in pages of 2 MiB each it would take three times the memory.
#[cfg(target_os = "linux")]
fn without_huge_pages() {
    // Where the kernel has none there is nothing to switch off.
    rustix::thread::disable_transparent_huge_pages(true).ok();
}

#[cfg(not(target_os = "linux"))]
fn without_huge_pages() {}
