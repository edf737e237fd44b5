//! The live tail: every accepted batch, offered to every reader that follows.
//!
//! The store's commit hook calls [`Hub::publish`] on the writer's own thread, so all that happens
//! there is a push of one shared pointer into each reader's bounded queue; without readers it is
//! one atomic load. What a reader's query thinks of the records is asked on the reader's side, so
//! that a costly query slows its own reader and nobody else. Where a queue is full the batch is
//! left out and a [`Offer::Gap`] stands in its place, with the ids that it spans: the reader can
//! say exactly how many of *its* records are in there by asking the store.
//!
//! Waking is tokio's `Notify`: a reader is a task of the runtime, sleeps without polling, and a
//! notification before it sleeps is not lost. The queue itself is behind a plain mutex, held for a
//! push or a pop only, since `publish` is called where no runtime is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::base::error::{Error, Refusal, Result};
use crate::base::limits::{TAIL_QUEUE_BYTES_MAX, TAIL_QUEUE_RECORDS_MAX, TAILS_MAX};
use crate::base::record::Record;

/// Records that became durable together, ids rising; shared by all readers.
pub type Batch = Arc<[Arc<Record>]>;

/// Where batches go in and readers sign up.
#[derive(Debug, Default)]
pub struct Hub {
    readers: Mutex<Vec<Arc<Queue>>>,
    /// Length of `readers`, to be read without the lock.
    count: AtomicUsize,
}

/// What a reader gets next.
#[derive(Clone, Debug, PartialEq)]
pub enum Offer {
    /// Records, ids above all before.
    Batch(Batch),
    /// Records that were left out because the reader was too slow.
    Gap(Gap),
}

/// A stretch of records that a reader did not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Id of the first.
    pub first_id: u64,
    /// Id of the last.
    pub last_id: u64,
    /// How many there were, whatever the reader's query thinks of them.
    pub records: u64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    offers: VecDeque<Offer>,
    records: usize,
    weight: usize,
}

/// A reader's place; gives it up when dropped.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    queue: Arc<Queue>,
}

impl Hub {
    /// Offers a batch, ids rising from one call to the next; never blocks on a reader. Called by
    /// the store's commit hook.
    pub fn publish(&self, batch: &[Arc<Record>]) {
        if self.count.load(Ordering::Acquire) == 0 || batch.is_empty() {
            return;
        }
        let weight = batch.iter().map(|r| r.weight()).sum();
        let batch: Batch = batch.into();
        for queue in lock(&self.readers).iter() {
            lock(&queue.waiting).push(&batch, weight);
            queue.wake.notify_one();
        }
    }

    /// Signs up for everything that is published from now on.
    ///
    /// [`Error::Busy`] where there are [`TAILS_MAX`] readers already.
    pub fn subscribe(self: &Arc<Self>) -> Result<Subscription> {
        let queue = Arc::new(Queue::default());
        let mut readers = lock(&self.readers);
        if readers.len() >= TAILS_MAX {
            return Err(Error::Busy(Refusal::TooManyReaders));
        }
        readers.push(Arc::clone(&queue));
        self.count.store(readers.len(), Ordering::Release);
        Ok(Subscription { hub: Arc::clone(self), queue })
    }

    /// Readers at the moment.
    pub fn readers(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

impl Subscription {
    /// The next batch or gap; waits for it. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Offer {
        loop {
            if let Some(offer) = lock(&self.queue.waiting).pop() {
                return offer;
            }
            self.queue.wake.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut readers = lock(&self.hub.readers);
        readers.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        self.hub.count.store(readers.len(), Ordering::Release);
    }
}

impl Waiting {
    fn push(&mut self, batch: &Batch, weight: usize) {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return };
        let room = self.records + batch.len() <= TAIL_QUEUE_RECORDS_MAX
            && self.weight + weight <= TAIL_QUEUE_BYTES_MAX;
        // A batch that is larger than the queue still goes into an empty one: else it would be
        // skipped however quick the reader is.
        if room || self.offers.is_empty() {
            self.records += batch.len();
            self.weight += weight;
            self.offers.push_back(Offer::Batch(Arc::clone(batch)));
        } else if let Some(Offer::Gap(gap)) = self.offers.back_mut() {
            gap.last_id = last.id;
            gap.records += batch.len() as u64;
        } else {
            self.offers.push_back(Offer::Gap(Gap {
                first_id: first.id,
                last_id: last.id,
                records: batch.len() as u64,
            }));
        }
    }

    fn pop(&mut self) -> Option<Offer> {
        let offer = self.offers.pop_front()?;
        if let Offer::Batch(batch) = &offer {
            self.records -= batch.len();
            self.weight -= batch.iter().map(|r| r.weight()).sum::<usize>();
        }
        Some(offer)
    }
}

/// A queue is as good after a panic elsewhere as before it: every change is one push or pop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::base::record::{Defects, Line, Via};
    use crate::base::time::Timestamp;

    fn record(id: u64) -> Arc<Record> {
        let name: Arc<str> = "x".into();
        let via = Via {
            format: Arc::clone(&name),
            listener: Arc::clone(&name),
            transport: Arc::clone(&name),
            peer: Arc::clone(&name),
        };
        Arc::new(Record {
            id,
            time: Timestamp(0),
            received: Timestamp(0),
            host: Arc::clone(&name),
            app: name,
            severity: None,
            facility: None,
            pid: None,
            line: Line::text("line"),
            fields: Vec::new(),
            format: None,
            via: Arc::new(via),
            tag: None,
            defects: Defects::default(),
        })
    }

    fn batch(ids: std::ops::Range<u64>) -> Vec<Arc<Record>> {
        ids.map(record).collect()
    }

    /// What is there now, without waiting.
    fn ready(reader: &mut Subscription) -> Option<Offer> {
        let mut next = pin!(reader.next());
        match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(offer) => Some(offer),
            Poll::Pending => None,
        }
    }

    fn ids(offer: Option<Offer>) -> Vec<u64> {
        match offer {
            Some(Offer::Batch(batch)) => batch.iter().map(|r| r.id).collect(),
            other => panic!("not a batch: {other:?}"),
        }
    }

    #[test]
    fn readers_get_what_comes_after_they_signed_up_until_they_go() {
        let hub = Arc::new(Hub::default());
        hub.publish(&batch(1..3));
        let mut first = hub.subscribe().expect("a place");
        hub.publish(&batch(3..5));
        let mut second = hub.subscribe().expect("a place");
        hub.publish(&batch(5..6));
        assert_eq!(ids(ready(&mut first)), [3, 4]);
        assert_eq!(ids(ready(&mut first)), [5]);
        assert_eq!(ready(&mut first), None);
        assert_eq!(ids(ready(&mut second)), [5]);
        drop(first);
        assert_eq!(hub.readers(), 1);
        drop(second);
        assert_eq!(hub.readers(), 0);
    }

    #[test]
    fn a_slow_reader_has_a_gap_where_records_are_missing() {
        let hub = Arc::new(Hub::default());
        let mut reader = hub.subscribe().expect("a place");
        let full = TAIL_QUEUE_RECORDS_MAX as u64;
        hub.publish(&batch(0..full));
        hub.publish(&batch(full..full + 2));
        hub.publish(&batch(full + 2..full + 5));
        assert_eq!(ids(ready(&mut reader)).len() as u64, full);
        hub.publish(&batch(full + 5..full + 6));
        let gap = Gap { first_id: full, last_id: full + 4, records: 5 };
        assert_eq!(ready(&mut reader), Some(Offer::Gap(gap)));
        assert_eq!(ids(ready(&mut reader)), [full + 5]);
        assert_eq!(ready(&mut reader), None);
    }

    #[test]
    fn a_batch_larger_than_the_queue_reaches_a_reader_that_waits() {
        let hub = Arc::new(Hub::default());
        let mut reader = hub.subscribe().expect("a place");
        let larger = TAIL_QUEUE_RECORDS_MAX as u64 + 1;
        hub.publish(&batch(0..larger));
        assert_eq!(ids(ready(&mut reader)).len() as u64, larger);
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let hub = Arc::new(Hub::default());
        let mut places: Vec<_> =
            (0..TAILS_MAX).map(|_| hub.subscribe().expect("a place")).collect();
        assert!(hub.subscribe().is_err());
        places.pop();
        assert!(hub.subscribe().is_ok());
    }
}
