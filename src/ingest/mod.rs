//! From sockets to the store.
//!
//! Floor 5. [`Intake`] is the only door to [`crate::store::Store::append`]: backpressure,
//! accounting and the durable ack are here and nowhere else.
//!
//! | file | noun |
//! |---|---|
//! | `socket` | what is bound: datagrams, connections, their bounds |
//! | `stream` | one connection: syslog, forward |
//! | `tls` | certificates |
//! | `http` | `POST /api/v1/ingest` |
//!
//! *Invariant:* what is not kept is counted: as refused where the sender knows and can send again,
//! as dropped where it cannot.

pub mod http;
pub mod socket;
pub mod stream;
pub mod tls;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::base::error::{Error, Refusal, Result};
use crate::base::limits;
use crate::base::metrics::{Counter, Metrics};
use crate::base::record::{Defect, Record};
use crate::base::time::{Timestamp, Zone};
use crate::refine::Refiner;
use crate::store::Store;

/// The door to the store; cheap to clone.
#[derive(Clone)]
pub struct Intake {
    store: Arc<Store>,
    refiner: Arc<Refiner>,
    metrics: Arc<Metrics>,
    room: Arc<Semaphore>,
    /// All of `room`, in its unit.
    room_max: u32,
    /// A part of the room: all that those have who can wait, so that they do not fill memory while
    /// they do, and what cannot wait has room where they are many.
    waiters: Arc<Semaphore>,
    waiters_max: u32,
}

/// A batch's place in the queue.
struct Place {
    #[expect(dead_code, reason = "held until the batch is written")]
    room: OwnedSemaphorePermit,
    #[expect(dead_code, reason = "held until the batch is written")]
    waiter: Option<OwnedSemaphorePermit>,
    /// What the batch weighs, bytes.
    weight: usize,
}

/// What those who can wait have of the room: a quarter.
const WAITERS_SHARE: u32 = 4;

/// `Intake::room` is counted in these, so that it fits a semaphore's 32 bits.
const UNIT_BYTES: usize = 1 << 10;

/// What a batch is to the counters, kept while it is written.
struct Account {
    listener: Arc<str>,
    records: u64,
    defects: Vec<(Defect, u64)>,
}

/// What the sender of a batch says about all of it.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Zone of times that carry none, instead of the configured one.
    pub zone: Option<Zone>,
    /// Host of records that say none, instead of the peer's address.
    pub host: Option<Arc<str>>,
    /// App of records that say none, instead of `-`.
    pub app: Option<Arc<str>>,
    /// When they came, where they were read as if it had been at another time.
    pub received: Option<Timestamp>,
}

/// Records that may be kept: what was to be masked is.
#[derive(Debug)]
pub struct Refined(Vec<Record>);

impl Refined {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A batch on its way; says when it is durable.
#[must_use = "a sender is answered only when the receipt says so"]
pub struct Receipt(oneshot::Receiver<Result<()>>);

impl Receipt {
    /// Waits until the batch is durable, or will never be.
    pub async fn durable(self) -> Result<()> {
        self.0.await.unwrap_or(Err(Error::Closed))
    }
}

impl Intake {
    /// The one door of a store; at most `queue_bytes` wait behind it.
    pub fn new(
        store: Arc<Store>,
        refiner: Arc<Refiner>,
        metrics: Arc<Metrics>,
        queue_bytes: usize,
    ) -> Self {
        let room_max = u32::try_from(queue_bytes.min(limits::QUEUE_BYTES_MAX) / UNIT_BYTES);
        let room_max = room_max.unwrap_or(u32::MAX).max(1);
        let waiters_max = (room_max / WAITERS_SHARE).max(1);
        let room = Arc::new(Semaphore::new(room_max as usize));
        let waiters = Arc::new(Semaphore::new(waiters_max as usize));
        Self { store, refiner, metrics, room, room_max, waiters, waiters_max }
    }

    /// Where everything that comes in is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Refines and appends, waiting while the queue is full; returns once the batch is durable.
    /// For senders that can send again: an error is counted as refused.
    pub async fn accept(&self, records: Vec<Record>) -> Result<()> {
        self.hand_in(self.refine(records, &Said::default())).await?.durable().await
    }

    /// Adds what the texts say. May take a while for many records: not for an async thread then.
    pub fn refine(&self, mut records: Vec<Record>, said: &Said) -> Refined {
        let own = said.zone.as_ref().map(|zone| self.refiner.in_zone(zone.clone()));
        let refiner = own.as_ref().unwrap_or(&self.refiner);
        refiner.refine(&mut records);
        for record in &mut records {
            if let Some(host) = said.host.as_ref().filter(|_| record.host == record.via.peer) {
                record.host = Arc::clone(host);
            }
            if let Some(app) = said.app.as_ref().filter(|_| &*record.app == "-") {
                record.app = Arc::clone(app);
            }
            if let Some(received) = said.received {
                record.received = received;
                if record.defects.has(Defect::NoTimestamp) {
                    record.time = received;
                }
            }
        }
        Refined(records)
    }

    /// As [`Self::accept`], but returns once the batch is queued, so that a connection can read on
    /// while it is written.
    pub async fn hand_in(&self, records: Refined) -> Result<Receipt> {
        let place = self.wait_for_room(&records.0).await?;
        let (tell, told) = oneshot::channel();
        let metrics = Arc::clone(&self.metrics);
        self.append(records, place, move |account, result| {
            match &result {
                Ok(()) => account.count(&metrics),
                Err(e) => metrics.add(Counter::Refused, &[&account.listener, reason(e)], 1),
            }
            // Nobody waits any more where the connection ended meanwhile.
            drop(tell.send(result));
        });
        Ok(Receipt(told))
    }

    /// For senders that can wait but are never answered (plain TCP): waits while the queue is
    /// full, returns once the batch is queued. A loss after that is counted as dropped.
    pub async fn pass(&self, records: Vec<Record>) -> Result<()> {
        let records = self.refine(records, &Said::default());
        let place = self.wait_for_room(&records.0).await?;
        self.append_or_drop(records, place);
        Ok(())
    }

    /// For senders that can neither wait nor send again (datagrams, the own log): queued at once
    /// or dropped; a loss is counted.
    pub fn offer(&self, records: Vec<Record>) {
        let (_, cost) = Self::cost(&records);
        let cost = cost.min(self.room_max);
        if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(cost) {
            let records = self.refine(records, &Said::default());
            // Refining added fields.
            let (weight, _) = Self::cost(&records.0);
            self.append_or_drop(records, Place { room, waiter: None, weight });
        } else {
            let account = Account::of(&records);
            account.count_dropped(&self.metrics, &Error::Busy(Refusal::QueueFull));
        }
    }

    async fn wait_for_room(&self, records: &[Record]) -> Result<Place> {
        let (weight, cost) = Self::cost(records);
        let (room, waiters) = (Arc::clone(&self.room), Arc::clone(&self.waiters));
        let waiter = waiters.acquire_many_owned(cost.min(self.waiters_max)).await;
        let waiter = Some(waiter.map_err(|_| Error::Closed)?);
        let room = room.acquire_many_owned(cost.min(self.room_max)).await;
        Ok(Place { room: room.map_err(|_| Error::Closed)?, waiter, weight })
    }

    /// What a batch weighs, and what it takes of the room. A batch that is larger than all of it
    /// waits until it is alone; many small records cost what the bound on their number says.
    fn cost(records: &[Record]) -> (usize, u32) {
        const RECORD_BYTES: usize = limits::QUEUE_BYTES_MAX / limits::QUEUE_RECORDS_MAX;
        let (mut weight, mut bytes) = (0, 0);
        for record in records {
            let own = record.weight();
            weight += own;
            bytes += own.max(RECORD_BYTES);
        }
        (weight, u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX))
    }

    fn append_or_drop(&self, records: Refined, place: Place) {
        let metrics = Arc::clone(&self.metrics);
        self.append(records, place, move |account, result| match result {
            Ok(()) => account.count(&metrics),
            Err(e) => account.count_dropped(&metrics, &e),
        });
    }

    fn append(
        &self,
        Refined(records): Refined,
        place: Place,
        done: impl FnOnce(Account, Result<()>) + Send + 'static,
    ) {
        let account = Account::of(&records);
        if records.is_empty() {
            return done(account, Ok(()));
        }
        self.store.append_weighed(
            records,
            place.weight,
            Box::new(move |result| {
                drop(place);
                done(account, result);
            }),
        );
    }
}

impl Account {
    /// All records of a batch come from one listener.
    fn of(records: &[Record]) -> Self {
        let listener = records.first().map_or("-".into(), |r| Arc::clone(&r.via.listener));
        let mut defects = vec![0; Defect::ALL.len()];
        for defect in records.iter().flat_map(|r| r.defects.iter()) {
            if let Some(n) = defects.get_mut(defect as usize) {
                *n += 1;
            }
        }
        let defects = Defect::ALL.iter().copied().zip(defects).filter(|(_, n)| *n > 0).collect();
        Self { listener, records: records.len() as u64, defects }
    }

    fn count(&self, metrics: &Metrics) {
        if self.records == 0 {
            return;
        }
        metrics.add(Counter::Records, &[&self.listener], self.records);
        for (defect, n) in &self.defects {
            metrics.add(Counter::Defects, &[defect.code()], *n);
        }
    }

    fn count_dropped(&self, metrics: &Metrics, error: &Error) {
        metrics.add(Counter::Dropped, &[&self.listener, reason(error)], self.records);
    }
}

/// The label of a counter for why a batch was not kept.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::Busy(Refusal::QueueFull) => "queue-full",
        Error::Busy(Refusal::DiskFull) => "disk-full",
        Error::Busy(Refusal::BelowFloor { .. }) => "min-free",
        Error::Busy(Refusal::TooManyReaders) => "too-many-readers",
        Error::Poisoned => "sync-failed",
        Error::Closed => "stopping",
        Error::Io { .. }
        | Error::Corrupt { .. }
        | Error::Version { .. }
        | Error::Limit { .. }
        | Error::InUse { .. }
        | Error::Query(_)
        | Error::NotFound { .. } => "error",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::machine::{Clock, Disk};
    use crate::base::sim::{Faults, ManualClock, SimDisk};
    use crate::decode::{Origin, syslog};
    use crate::store::Options;

    /// An intake of a simulated disk, that disk, and its clock.
    pub(crate) fn intake(queue_bytes: usize) -> (Intake, SimDisk, Arc<ManualClock>) {
        let disk = SimDisk::new(Faults::default());
        let clock = ManualClock::new(Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap());
        let metrics = Arc::new(Metrics::default());
        let options = Options {
            data_dir: "data".into(),
            live_bytes_max: 1 << 20,
            storage: crate::config::Storage { min_free_bytes: 0, ..Default::default() },
            retention: Vec::new(),
            on_commit: Box::new(|_| ()),
            metrics: Arc::clone(&metrics),
        };
        let (a_disk, a_clock): (Arc<dyn Disk>, Arc<dyn Clock>) =
            (Arc::new(disk.clone()), Arc::<ManualClock>::clone(&clock));
        let store = Store::open(options, a_disk, a_clock).unwrap();
        let refiner = Arc::new(Refiner::default());
        (Intake::new(store, refiner, metrics, queue_bytes), disk, clock)
    }

    fn records(n: usize) -> Vec<Record> {
        let origin = Origin::new("syslog", "udp", "10.0.0.1");
        let line = b"<13>1 - h a - - - some text";
        (0..n)
            .map(|_| syslog::read(line, Timestamp::from_parts(1_790_000_000, 0), &origin).unwrap())
            .collect()
    }

    fn counted(intake: &Intake, counter: Counter) -> Vec<(String, u64)> {
        let each = intake.metrics().each(counter);
        each.into_iter().map(|(labels, n)| (labels.join(" "), n)).collect()
    }

    #[tokio::test]
    async fn what_is_durable_is_counted() {
        let (intake, ..) = intake(1 << 20);
        intake.accept(records(3)).await.unwrap();
        intake.accept(Vec::new()).await.unwrap();
        assert_eq!(counted(&intake, Counter::Records), [("syslog".to_owned(), 3)]);
        assert_eq!(counted(&intake, Counter::Defects), [("no-timestamp".to_owned(), 3)]);
        assert_eq!(intake.store.status().records, 3);
    }

    #[tokio::test]
    async fn a_full_disk_refuses_or_drops_and_heals() {
        let (intake, disk, clock) = intake(1 << 20);
        intake.accept(records(1)).await.unwrap();
        disk.set_capacity(Some(0));
        let refused = intake.accept(records(10)).await;
        assert!(matches!(refused, Err(Error::Busy(Refusal::DiskFull))), "{refused:?}");
        assert_eq!(counted(&intake, Counter::Refused), [("syslog disk-full".to_owned(), 1)]);
        intake.offer(records(2));
        intake.pass(records(3)).await.unwrap();
        // One that is answered comes after those that are not.
        drop(intake.accept(records(1)).await);
        assert_eq!(counted(&intake, Counter::Dropped), [("syslog disk-full".to_owned(), 5)]);
        disk.set_capacity(None);
        clock.advance(std::time::Duration::from_secs(5));
        intake.accept(records(1)).await.unwrap();
        assert_eq!(intake.store.status().records, 2);
    }

    #[tokio::test]
    async fn a_full_queue_drops_what_cannot_wait() {
        let (intake, ..) = intake(8 << 10);
        let all = Arc::clone(&intake.room).acquire_many_owned(intake.room_max).await.unwrap();
        intake.offer(records(7));
        assert_eq!(counted(&intake, Counter::Dropped), [("syslog queue-full".to_owned(), 7)]);
        let waiting = tokio::spawn({
            let intake = intake.clone();
            async move { intake.accept(records(1_000)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(all);
        // It is larger than the queue, so it goes alone.
        waiting.await.unwrap().unwrap();
        assert_eq!(intake.store.status().records, 1_000);
    }

    #[tokio::test]
    async fn a_stopped_store_is_told() {
        let (intake, ..) = intake(1 << 20);
        intake.store.close().unwrap();
        assert!(matches!(intake.accept(records(1)).await, Err(Error::Closed)));
        assert_eq!(counted(&intake, Counter::Refused), [("syslog stopping".to_owned(), 1)]);
    }
}
