//! Prometheus metrics: a registry per process and its text form.

use prometheus::{IntGauge, Opts, Registry, TextEncoder, process_collector::ProcessCollector};

/// A registry with the metrics of the process and `build_info`.
pub fn registry(service: &str, version: &str) -> anyhow::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let build_info = IntGauge::with_opts(
        Opts::new("build_info", "The service and its version; the value is always 1.")
            .const_label("service", service)
            .const_label("version", version),
    )?;
    build_info.set(1);
    registry.register(Box::new(build_info))?;
    Ok(registry)
}

/// The registry in the Prometheus text format.
pub fn encode(registry: &Registry) -> anyhow::Result<String> {
    Ok(TextEncoder::new().encode_to_string(&registry.gather())?)
}
