//! How much memory a process has.

use std::fs;

/// The resident memory of a process in MiB, as the kernel counts it.
#[must_use]
pub fn resident_mib(pid: &str) -> u64 {
    kib(pid, "VmRSS:") / 1024
}

/// The most resident memory that a process ever had, in MiB.
#[must_use]
pub fn peak_resident_mib(pid: &str) -> u64 {
    kib(pid, "VmHWM:") / 1024
}

fn kib(pid: &str, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    number.unwrap_or_else(|| panic!("process {pid} has no {name}"))
}
