//! The live tail: every accepted batch, offered to every reader that follows.

use std::sync::Arc;

use crate::base::record::Record;

/// Where batches go in and readers sign up.
#[derive(Debug, Default)]
pub struct Hub {}

impl Hub {
    /// Offers a batch; never blocks. Called by the store's commit hook.
    pub fn publish(&self, batch: &[Arc<Record>]) {
        let _ = batch;
    }
}
