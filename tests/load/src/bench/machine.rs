//! What the figures were measured on.

use std::{fs, num::NonZero, process::Command, thread};

use anyhow::Context;
use base64::prelude::*;
use http::{Request, header::AUTHORIZATION};
use url::Url;

use super::platform::Platform;
use crate::client::{HttpConnection, HttpTarget};

/// The machine and what else takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// How many cores we may use.
    pub cores: usize,
    /// The processor's name.
    pub model: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The kernel's version.
    pub kernel: String,
    /// The database's version.
    pub postgres: String,
    /// The cache's version.
    pub redis: String,
    /// The broker's version.
    pub rabbitmq: String,
    /// The commit in the working directory.
    pub commit: String,
}

impl Machine {
    /// Asks the system and the servers of `platform`.
    pub async fn describe(platform: &Platform) -> anyhow::Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory_kib: Option<u64> =
            field(&memory, "MemTotal").and_then(|value| value.trim_end_matches(" kB").parse().ok());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            cores: thread::available_parallelism().map_or(1, NonZero::get),
            model: field(&processors, "model name").unwrap_or("unknown").to_owned(),
            memory_mib: memory_kib.unwrap_or_default() / 1024,
            kernel: kernel.trim().to_owned(),
            postgres: postgres_version(platform).await?,
            redis: redis_version(&platform.variable("REDIS_URL")?).await?,
            rabbitmq: rabbitmq_version(&platform.variable("AMQP_MGMT_URL")?).await?,
            commit: commit(),
        })
    }
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim())
}

/// The commit, marked where the working directory differs from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    // The pages that a benchmark writes do not change what is measured.
    let changes = git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"]);
    if changes.is_some_and(|changes| changes.is_empty()) { commit } else { format!("{commit} with changes") }
}

/// Without what the distribution adds.
async fn postgres_version(platform: &Platform) -> anyhow::Result<String> {
    let version = platform.sql("SHOW server_version").await?.concat();
    Ok(version.split_whitespace().next().unwrap_or("unknown").to_owned())
}

async fn redis_version(url: &str) -> anyhow::Result<String> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    Ok(field(&info, "redis_version").unwrap_or("unknown").to_owned())
}

async fn rabbitmq_version(management_url: &str) -> anyhow::Result<String> {
    let url = Url::parse(management_url)?;
    let credentials = format!("{}:{}", url.username(), url.password().unwrap_or_default());
    let request = Request::get("/api/overview")
        .header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(credentials)))
        .body(http_body_util::Full::default())?;
    let target = HttpTarget::parse(management_url, None)?;
    let answer = HttpConnection::new(target).exchange(request).await?;
    let overview: serde_json::Value = serde_json::from_slice(answer.body())?;
    let version = overview.get("rabbitmq_version").and_then(serde_json::Value::as_str);
    version.map(ToOwned::to_owned).context("the broker does not say its version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "processor\t: 0\nmodel name\t: A: b\nmodel name\t: C\r\nredis_version:7.0.15\r\n";
        assert_eq!(field(text, "model name"), Some("A: b"));
        assert_eq!(field(text, "redis_version"), Some("7.0.15"));
        assert_eq!(field(text, "flags"), None);
    }
}
