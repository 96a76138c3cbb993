// SPDX-License-Identifier: Apache-2.0
//! A configuration's judging without a node: for replays and questions. Nothing was seen before, and models that are
//! installed are the node's: here judge those of the configuration, else those that are compiled in.

use std::net::IpAddr;

use sunbeam_config::Loaded;
use sunbeam_metrics::Registry;
use sunbeam_pipeline::{DetectionMetrics, Models, Pipeline};
use sunbeam_routing::host_of;
use sunbeam_tables::Moment;

use crate::config::Config;
use crate::judging::Additions;
use crate::metrics::ProxyMetrics;
use crate::snapshot::{Judging, Snapshot};

/// See the module.
#[derive(Debug)]
pub struct Offline {
    pub(crate) snapshot: Snapshot,
    registry: Registry,
    detection: DetectionMetrics,
}

impl Offline {
    /// Makes a configuration ready to judge by.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(loaded: &Loaded<Config>) -> Result<Self, String> {
        Self::of(loaded.config.clone(), loaded)
    }

    /// The same without the WAF's rules, for logs: they hold neither bodies nor most headers.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn without_rules(loaded: &Loaded<Config>) -> Result<Self, String> {
        let mut config = loaded.config.clone();
        config.waf.enabled = false;
        Self::of(config, loaded)
    }

    fn of(config: Config, loaded: &Loaded<Config>) -> Result<Self, String> {
        let registry = Registry::new();
        let (memory, detection) = crate::judging::for_measuring(&config, &registry);
        let metrics = ProxyMetrics::register(&Registry::new());
        let judging = Judging { memory: &memory, metrics: &detection, additions: Additions::default() };
        let snapshot = Snapshot::compile(config, loaded.sources.clone(), 1, &metrics, &judging, None)
            .map_err(|error| error.to_string())?;
        Ok(Self { snapshot, registry, detection })
    }

    /// Judges by another configuration from now on, as a node does after a reload: what was seen stays known.
    ///
    /// # Errors
    /// What is wrong with the configuration; the one before stays.
    pub fn reload(&mut self, loaded: &Loaded<Config>) -> Result<(), String> {
        let mut config = loaded.config.clone();
        config.waf.enabled &= self.snapshot.config.waf.enabled;
        let metrics = ProxyMetrics::register(&Registry::new());
        let memory = self.snapshot.pipeline.memory();
        let judging = Judging { memory, metrics: &self.detection, additions: Additions::default() };
        let (sources, generation) = (loaded.sources.clone(), self.snapshot.generation + 1);
        self.snapshot =
            Snapshot::compile(config, sources, generation, &metrics, &judging, Some(&self.snapshot))
                .map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Works out whether layers may act on what they doubt, as a node does every ten seconds; says in the log and in
    /// the metrics what turned.
    pub fn prove(&self, now: Moment) {
        crate::judging::prove(self.pipeline(), &self.detection, now);
    }

    /// The metrics of its judging.
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// With other models of either detector than the configuration names.
    #[must_use]
    pub fn with_models(self, change: impl FnOnce(&mut Models)) -> Self {
        let Self { mut snapshot, registry, detection } = self;
        let mut models = snapshot.pipeline.rules().models().clone();
        change(&mut models);
        snapshot.pipeline = snapshot.pipeline.with_models(models);
        Self { snapshot, registry, detection }
    }

    /// What judges.
    pub const fn pipeline(&self) -> &Pipeline {
        &self.snapshot.pipeline
    }

    /// The place of the route that answers to a host; one past the last where none does.
    pub fn route_of(&self, host: &str) -> usize {
        let route = self.snapshot.table.find(&host_of(host));
        route.map_or(self.snapshot.config.routes.len(), |route| route.index)
    }

    /// Whether an address is a proxy that may say whom it speaks for.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        self.snapshot.is_trusted(address)
    }
}
