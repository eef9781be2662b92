//! Commands that were accepted before: the idempotency.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

use crate::identity::FINGERPRINT_BYTES;
use crate::{Committed, Error, Transaction, sql};

const HOUR_US: i64 = 60 * 60 * 1_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// For how long a repeated command is answered with the first result: 30 days.
const KEPT_US: i64 = 30 * DAY_US;
/// What a restart may add to the shelf's time.
const RESTART_MAX_US: i64 = DAY_US;
/// How often the shelf's time is written down: a crash costs that much of it, for which commands are kept longer.
const WRITTEN_EVERY_US: i64 = HOUR_US;
/// Where it is written down.
const SHELF_KEY: &str = "command_time";

/// The time by which commands are forgotten. It goes on with the clock of the process, which never jumps, and over a
/// restart by a day at most, whatever the machine's clock says then. So a clock that is set a month ahead does not make
/// the log forget what came yesterday, and one that was a month ahead does not make it keep for ever what came then.
pub(crate) struct Shelf {
    /// How much the clock of this process is ahead of it.
    ahead_us: i64,
    written_us: i64,
}

impl Shelf {
    /// Goes on where it stood when the log was used last.
    pub async fn open(tx: &mut Transaction, recorded_at_us: i64, now_us: i64) -> Result<Self, Error> {
        let get = sql("SELECT value FROM log_meta WHERE key = $1").bind(SHELF_KEY);
        let left: Option<String> = if tx.has_tables() { get.fetch_optional(&mut *tx).await? } else { None };
        let mut shelf = Self::resumed(left.as_deref(), recorded_at_us, now_us);
        shelf.write(tx, now_us).await?;
        Ok(shelf)
    }

    fn resumed(left: Option<&str>, recorded_at_us: i64, now_us: i64) -> Self {
        let left = left.and_then(|text| text.split_once(' '));
        let left = left.and_then(|(shelf, clock)| Some((shelf.parse::<i64>().ok()?, clock.parse::<i64>().ok()?)));
        let at_us = match left {
            Some((shelf_us, clock_us)) => shelf_us + now_us.saturating_sub(clock_us).clamp(0, RESTART_MAX_US),
            None if recorded_at_us == 0 => now_us,
            // An older build has written down the clock's time with each command.
            None => now_us.min(recorded_at_us.saturating_add(RESTART_MAX_US)),
        };
        Self { ahead_us: now_us - at_us, written_us: i64::MIN }
    }

    /// What it shows when the clock shows `now_us`.
    pub fn at(&self, now_us: i64) -> i64 {
        now_us - self.ahead_us
    }

    /// Forgets some of the commands that are old enough.
    pub async fn clear(&mut self, tx: &mut Transaction, now_us: i64) -> Result<(), Error> {
        tx.forget(self.at(now_us) - KEPT_US).await?;
        self.write(tx, now_us).await
    }

    async fn write(&mut self, tx: &mut Transaction, now_us: i64) -> Result<(), Error> {
        let at_us = self.at(now_us);
        if !tx.has_tables() || at_us < self.written_us.saturating_add(WRITTEN_EVERY_US) {
            return Ok(());
        }
        let put = "INSERT INTO log_meta(key, value) VALUES ($1, $2)
                   ON CONFLICT(key) DO UPDATE SET value = excluded.value";
        sql(put).bind(SHELF_KEY).bind(format!("{at_us} {now_us}")).execute(tx).await?;
        self.written_us = at_us;
        Ok(())
    }
}

/// An accepted command.
#[derive(Clone)]
pub(crate) struct Known {
    pub fingerprint: [u8; FINGERPRINT_BYTES],
    pub committed: Committed,
}

/// Ids of the last commands that are remembered: some minutes of a busy log, within which nearly all repeats come.
pub(crate) const RECENT_MAX: usize = 65_536;

/// The last commands: a batch with one of them is not taken for new. That it would be found out is no help: the
/// aggregates of the batch would have to be read anew.
#[derive(Default)]
pub(crate) struct Recent {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Recent {
    /// As they were put before a restart: those whose answers were lost come again right after it.
    pub fn of(ids: Vec<Uuid>) -> Self {
        let mut recent = Self::default();
        ids.into_iter().for_each(|id| recent.put(id));
        recent
    }

    pub fn has(&self, id: Uuid) -> bool {
        self.ids.contains(&id)
    }

    pub fn put(&mut self, id: Uuid) {
        if !self.ids.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > RECENT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use vocabulary::{ManualClock, SeededEntropy};

    use super::*;
    use crate::open::{Opened, open};
    use crate::store::{CommandRow, Fence, Rows};
    use crate::{Options, Stores};

    async fn open_at(stores: &Stores, day: i64) -> Opened {
        let start = Timestamp::from_microsecond(day * DAY_US).unwrap();
        let options = Options {
            service: "test",
            store: stores.of("test"),
            migrations: &[],
            views: Vec::new(),
            clock: Arc::new(ManualClock::new(start)),
            entropy: Arc::new(SeededEntropy::new(1)),
        };
        open(options).await.unwrap()
    }

    async fn put(log: &mut Opened, day: i64, id: u128) {
        let (command_id, at_us) = (Uuid::from_u128(id), log.start.shelf.at(day * DAY_US));
        let (fingerprint, reply) = ([0; FINGERPRINT_BYTES], Vec::new());
        let row = CommandRow { command_id, fingerprint, first_position: 1, last_position: 0, version: 0, reply, at_us };
        let rows = Rows { commands: vec![row], ..Rows::default() };
        let fence = Fence { epoch: log.start.epoch, from: 0, to: 0 };
        log.connection.write_alone(fence, rows).await.unwrap();
    }

    async fn left(log: &mut Opened, day: i64) -> Vec<u128> {
        for _ in 0..3 {
            log.start.shelf.clear(&mut log.connection, day * DAY_US).await.unwrap();
        }
        let known = log.connection.known(&[1, 2, 3].map(Uuid::from_u128)).await.unwrap();
        let mut ids: Vec<u128> = known.into_keys().map(|id| id.as_u128()).collect();
        ids.sort_unstable();
        ids
    }

    #[tokio::test]
    async fn a_clock_that_is_wrong_after_a_restart_neither_forgets_nor_keeps() {
        // A repeat of yesterday's command must be known though the clock was set; and no table may grow for ever.
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::in_folder(folder.path().to_owned());
        let mut log = open_at(&stores, 1000).await;
        put(&mut log, 1000, 1).await;
        assert_eq!(left(&mut log, 1029).await, [1]);
        drop(log);
        // 400 days ahead: at most a day more has gone by.
        let mut log = open_at(&stores, 1429).await;
        assert_eq!(left(&mut log, 1429).await, [1]);
        put(&mut log, 1429, 2).await;
        assert_eq!(left(&mut log, 1431).await, [2], "31 days have gone by, however they are counted");
        drop(log);
        // It is right again.
        let mut log = open_at(&stores, 1031).await;
        put(&mut log, 1031, 3).await;
        assert_eq!(left(&mut log, 1031).await, [2, 3]);
        assert_eq!(left(&mut log, 1031 + 29).await, [3], "what came under the wrong clock goes like the rest");
        assert_eq!(left(&mut log, 1031 + 31).await, [0_u128; 0]);
    }

    #[test]
    fn a_log_of_an_older_build_loses_nothing_to_a_clock_that_jumped() {
        let shelf = |recorded_day: i64, day: i64| {
            Shelf::resumed(None, recorded_day * DAY_US, day * DAY_US).at(day * DAY_US) / DAY_US
        };
        assert_eq!([shelf(0, 1000), shelf(1000, 1000), shelf(1000, 1400), shelf(1400, 1000)], [1000, 1000, 1001, 1000]);
        let unreadable = Shelf::resumed(Some("x"), 1000 * DAY_US, 1000 * DAY_US);
        assert_eq!(unreadable.at(0), 0);
    }

    #[test]
    fn as_many_recent_commands_are_kept_as_there_is_room_for() {
        let mut recent = Recent::default();
        (0..RECENT_MAX as u128 + 2).for_each(|id| recent.put(Uuid::from_u128(id)));
        recent.put(Uuid::from_u128(5));
        let has = |id: usize| recent.has(Uuid::from_u128(id as u128));
        assert_eq!([has(1), has(2), has(RECENT_MAX + 1)], [false, true, true]);
        assert_eq!((recent.ids.len(), recent.order.len()), (RECENT_MAX, RECENT_MAX));
    }
}
