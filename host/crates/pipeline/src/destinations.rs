//! Where rows can go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::buffer_pool::BufferPool;
use crate::dead_letter::DeadLetterWriter;
use crate::deliver::SinkQueue;
use crate::refusals::{RejectLimit, RejectWatch};
use crate::route::{RouteTable, Routes};

/// Where rows can go: the table, the sinks in its order, and the dead letters.
pub(crate) struct Destinations {
    pub(crate) routes: Routes,
    pub(crate) sinks: Vec<SinkQueue>,
    pub(crate) dead_letters: Arc<DeadLetterWriter>,
    pub(crate) plugins: PluginWatches,
    pub(crate) pool: Arc<BufferPool>,
}

impl Destinations {
    pub(crate) fn new(
        routes: RouteTable,
        sinks: Vec<SinkQueue>,
        dead_letters: Arc<DeadLetterWriter>,
        plugins: PluginWatches,
    ) -> Self {
        let routes = Routes::new(sinks.len(), routes);
        Self { routes, sinks, dead_letters, plugins, pool: Arc::default() }
    }
}

/// The refusals of each plugin, over all shards.
pub(crate) struct PluginWatches {
    limit: RejectLimit,
    by_name: Mutex<HashMap<Arc<str>, Arc<RejectWatch>>>,
}

impl PluginWatches {
    pub(crate) fn new(limit: RejectLimit) -> Self {
        Self { limit, by_name: Mutex::default() }
    }

    pub(crate) fn of(&self, plugin: &Arc<str>) -> Arc<RejectWatch> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = || Arc::new(RejectWatch::new(self.limit));
        Arc::clone(by_name.entry(Arc::clone(plugin)).or_insert_with(watch))
    }
}
