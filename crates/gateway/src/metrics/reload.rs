use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How reloads went; clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReloadMetrics {
    generation: Gauge,
    successful: Gauge,
    failures: Counter,
}

impl ReloadMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "config_generation",
            "The configuration in force, counted from 1 at the start",
            self.generation.clone(),
        );
        registry.register(
            "config_last_reload_successful",
            "Whether the last reload of the configuration went well",
            self.successful.clone(),
        );
        registry.register(
            "config_reload_failures",
            "Configurations that were refused while the gateway ran",
            self.failures.clone(),
        );
    }

    pub(crate) fn succeeded(&self, generation: u64) {
        self.generation
            .set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.successful.set(1);
    }

    pub(crate) fn failed(&self) {
        self.failures.inc();
        self.successful.set(0);
    }
}
