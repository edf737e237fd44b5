//! From sockets to the store.
//!
//! Floor 5. [`Intake`] is the only door to [`crate::store::Store::append`]: backpressure,
//! accounting and the durable ack are here and nowhere else.

use std::sync::Arc;

use crate::base::error::Result;
use crate::base::metrics::Metrics;
use crate::base::record::Record;
use crate::refine::Refiner;
use crate::store::Store;

/// The door to the store; cheap to clone.
#[derive(Clone)]
pub struct Intake {
    store: Arc<Store>,
    refiner: Arc<Refiner>,
    metrics: Arc<Metrics>,
}

impl Intake {
    /// The one door of a store.
    pub fn new(store: Arc<Store>, refiner: Arc<Refiner>, metrics: Arc<Metrics>) -> Self {
        Self { store, refiner, metrics }
    }

    /// Refines and appends, waiting while the queue is full; returns once the batch is durable.
    pub async fn accept(&self, records: Vec<Record>) -> Result<()> {
        drop((&self.store, &self.refiner, &self.metrics, records));
        unimplemented!("lead: ingest")
    }
}
