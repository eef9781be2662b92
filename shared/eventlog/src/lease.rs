//! Who may write a log that several processes can reach: the holder of a lease, which it renews.
//!
//! The lease says who should write, and where it is found; what is safe does not depend on it: each write is fenced by
//! the log's epoch, which only goes up, in the transaction of its rows (Kleppmann, "How to do distributed locking",
//! 2016, on fencing tokens). The time is the database's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use vocabulary::Clock;

use crate::{BoxFuture, Error};

/// How long a lease is good for without being renewed. A holder that was killed is replaced after it.
#[cfg(any(feature = "postgres", test))]
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// How often it is renewed: two renewals may fail before it is over.
const RENEWED_EVERY: Duration = Duration::from_secs(1);
/// A holder that could not renew for so long answers nothing any more: two thirds of the lease, so that its clock may
/// run much slower than the database's before another one answers at the same time.
const GOOD_FOR: Duration = Duration::from_secs(2);

/// How long a batch may keep the writer while the lease is renewed beside it: the server lets no statement take longer
/// than half of it. What takes longer never ends, and a process in which that happens is to be replaced.
const BATCH_MAX: Duration = Duration::from_secs(120);

/// A process that writes logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name, which no other process has: a start under the same name goes on with its leases.
    pub name: String,
    /// Where its services are reached, for those that forward to it; empty when it is for itself.
    pub address: String,
    /// The services that keep files with it: nobody else can go on with their logs.
    pub keeps_files_of: &'static [&'static str],
}

/// When a lease was renewed last, for those that answer on its ground.
pub(crate) struct Renewed {
    clock: Arc<dyn Clock>,
    /// Microseconds of the clock; [`NEVER_OVER`] where nobody else can write, [`TAKEN`] when somebody else has it.
    at_us: AtomicI64,
    /// Told when it was renewed.
    again: Notify,
}

/// In the place of a time: the log needs no lease.
const NEVER_OVER: i64 = i64::MAX;
/// In the place of a time: it is somebody else's, for ever.
const TAKEN: i64 = i64::MIN;

impl Renewed {
    /// A lease that was asked for at a time of a clock that never jumps; `None` where there is none.
    pub fn new(clock: Arc<dyn Clock>, held_since: Option<i64>) -> Self {
        Self { clock, at_us: AtomicI64::new(held_since.unwrap_or(NEVER_OVER)), again: Notify::new() }
    }

    /// It was renewed by a request that was sent then.
    pub fn put(&self, sent_us: i64) {
        let renew = |at_us: i64| (at_us != TAKEN).then_some(at_us.max(sent_us));
        if self.at_us.fetch_update(Ordering::AcqRel, Ordering::Acquire, renew).is_ok() {
            self.again.notify_waiters();
        }
    }

    /// Somebody else has it: it is over for good.
    pub fn take_away(&self) {
        self.at_us.store(TAKEN, Ordering::Release);
    }

    /// How long ago that was; `None` where it does not matter.
    fn age(&self) -> Option<Duration> {
        let at_us = self.at_us.load(Ordering::Acquire);
        let age = self.clock.now_us().saturating_sub(at_us);
        (at_us != NEVER_OVER).then(|| Duration::from_micros(u64::try_from(age).unwrap_or_default()))
    }

    /// Why no answer may rest upon it.
    pub fn over(&self) -> Option<Error> {
        if self.at_us.load(Ordering::Acquire) == TAKEN {
            return Some(Error::Deposed);
        }
        self.age().filter(|age| *age > GOOD_FOR).map(Error::Lapsed)
    }

    /// Waits until no answer may rest upon it any more; why.
    pub async fn is_over(&self) -> Error {
        loop {
            if let Some(error) = self.over() {
                return error;
            }
            match self.age() {
                None => std::future::pending().await,
                // A moment later, so that it is over then.
                Some(age) => tokio::time::sleep(GOOD_FOR.saturating_sub(age) + Duration::from_millis(1)).await,
            }
        }
    }

    /// Waits until answers may rest upon it.
    pub async fn is_good(&self) {
        loop {
            let again = self.again.notified();
            if self.over().is_none() {
                return;
            }
            again.await;
        }
    }
}

/// The lease of a log, as its store has it, on a connection of its own.
pub(crate) trait Lease: Send {
    /// Renews it.
    ///
    /// # Errors
    /// When it is somebody else's, or the store does not answer.
    fn renew(&mut self) -> BoxFuture<'_, Result<(), Error>>;
}

/// Since when a batch keeps the writer.
pub(crate) struct Busy {
    clock: Arc<dyn Clock>,
    /// Microseconds of the clock; [`IDLE`] when none does.
    since_us: AtomicI64,
}

/// In the place of a time: the writer waits for work.
const IDLE: i64 = i64::MAX;

impl Busy {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, since_us: AtomicI64::new(IDLE) }
    }

    /// A batch begins.
    pub fn begin(&self) {
        self.since_us.store(self.clock.now_us(), Ordering::Release);
    }

    /// It has come to its end.
    pub fn end(&self) {
        self.since_us.store(IDLE, Ordering::Release);
    }

    /// Whether a batch does not end.
    fn is_stuck(&self) -> bool {
        let age = self.clock.now_us().saturating_sub(self.since_us.load(Ordering::Acquire));
        Duration::from_micros(u64::try_from(age).unwrap_or_default()) > BATCH_MAX
    }
}

/// The task that renews a lease beside the writer, whose batches may take longer than it lasts: a large one, or a slow
/// disk. It goes on only while the process does, and nothing that is written rests upon it.
pub(crate) struct Renewal {
    task: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
    lost: watch::Receiver<Option<Error>>,
}

impl Renewal {
    /// Renews `lease` from now on.
    pub fn begin(lease: Box<dyn Lease>, renewed: Arc<Renewed>, busy: Arc<Busy>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (lose, lost) = watch::channel(None);
        Self { task: tokio::spawn(renew(lease, renewed, busy, stopped, lose)), stop: Some(stop), lost }
    }

    /// Waits until somebody else has the lease.
    pub async fn lost(&mut self) -> Error {
        let lost = self.lost.wait_for(Option::is_some).await.ok().and_then(|lost| lost.clone());
        match lost {
            Some(error) => error,
            // It was stopped.
            None => std::future::pending().await,
        }
    }

    /// Renews no more, from when this is over.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        let _ = (&mut self.task).await;
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What cannot be renewed now may be a second later. Until then nothing is answered, and what is written is fenced.
async fn renew(
    mut lease: Box<dyn Lease>,
    renewed: Arc<Renewed>,
    busy: Arc<Busy>,
    mut stopped: oneshot::Receiver<()>,
    lost: watch::Sender<Option<Error>>,
) {
    let mut turn = tokio::time::interval(RENEWED_EVERY);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            _ = turn.tick() => {}
        }
        if busy.is_stuck() {
            tracing::warn!(seconds = BATCH_MAX.as_secs(), "a batch does not end: the lease of the event log runs out");
            continue;
        }
        let sent_us = renewed.clock.now_us();
        match lease.renew().await {
            Ok(()) => renewed.put(sent_us),
            Err(error) if error.is_fatal() => {
                renewed.take_away();
                lost.send_replace(Some(error));
                return;
            }
            Err(error) => tracing::warn!(%error, "the lease of the event log could not be renewed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use vocabulary::ManualClock;

    use super::*;

    #[test]
    fn a_lease_is_over_for_its_holder_before_it_is_for_others_and_a_log_without_one_never() {
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        let (leased, alone) = (Renewed::new(clock.clone(), Some(0)), Renewed::new(clock.clone(), None));
        clock.advance_us(2_000_000);
        assert!(leased.over().is_none());
        clock.advance_us(500_000);
        assert!(matches!(leased.over(), Some(Error::Lapsed(age)) if age > GOOD_FOR && age < LEASE));
        leased.put(2_400_000);
        assert!(leased.over().is_none());
        leased.put(0);
        assert!(leased.over().is_none(), "an older answer that comes late changes nothing");
        assert!(alone.over().is_none());
        leased.take_away();
        leased.put(2_500_000);
        assert!(matches!(leased.over(), Some(Error::Deposed)), "it comes back with no late answer");
    }

    #[test]
    fn a_batch_that_does_not_end_keeps_the_lease_no_longer_than_one_can_take() {
        // A process whose writer hangs would keep all others away for ever.
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        let busy = Busy::new(clock.clone());
        clock.advance_us(1_000_000_000);
        assert!(!busy.is_stuck(), "it waits for work");
        busy.begin();
        clock.advance_us(110_000_000);
        assert!(!busy.is_stuck(), "a slow one");
        clock.advance_us(11_000_000);
        assert!(busy.is_stuck());
        busy.end();
        assert!(!busy.is_stuck());
    }
}
