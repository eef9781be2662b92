//! Facts that could not be handled, and those behind them in their lanes: rows in the follower's own database.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use contracts::feed::Fact;
use eventlog::{
    BoxFuture, Context, Error, EventLog, ExecuteError, Reader, Recorded, Row, Transaction, insert, row, sql,
};
use prost::Message;
use runtime::{MachineClock, MachineEntropy};
use vocabulary::{Clock, Decider, Entropy, StoredEvent};

use super::lanes::Cause;
use crate::source::Cursor;

/// Facts that one consumer may have parked: beyond it no more are taken in until some are settled, since nothing may
/// be lost.
pub(super) const PARKED_MAX: i64 = 100_000;
/// The stream under which rows are written. It has no events: the rows are what is decided.
const STREAM: &str = "feed-parked";

/// A fact's place in a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub source: String,
    pub partition: i32,
    pub position: i64,
}

impl Key {
    pub fn of(fact: &Fact) -> Self {
        Self { source: fact.source.clone(), partition: fact.partition, position: fact.position }
    }
}

/// A parked fact.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parked {
    pub projection: String,
    pub lane: String,
    /// Why; absent in a fact that only waits behind its lane's first.
    pub why: Option<(Cause, String)>,
    pub parked_at_us: i64,
    pub fact: Arc<Fact>,
}

/// Who settles something.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub name: String,
    pub request_id: String,
}

impl Actor {
    /// A follower, when nobody asked it.
    pub fn itself(reaction: &str) -> Self {
        Self { name: format!("reaction:{reaction}"), request_id: String::new() }
    }
}

/// One consumer's parked facts.
#[derive(Clone)]
pub(crate) struct Park {
    log: EventLog,
    pub projection: &'static str,
}

impl Park {
    pub fn new(log: EventLog, projection: &'static str) -> Self {
        Self { log, projection }
    }

    /// How many facts are parked.
    pub async fn count(&self) -> Result<i64, Error> {
        let get = "SELECT count(*) FROM feed_parked WHERE projection = $1";
        sql(get).bind(self.projection).fetch_one(self.log.reader()).await
    }

    /// The parked lanes, and why: what is said of the fact that is tried first.
    pub async fn lanes(&self) -> Result<Vec<(String, Cause)>, Error> {
        let get = "SELECT lane, cause FROM (
                SELECT lane, cause, row_number() OVER (PARTITION BY lane ORDER BY place) AS turn
                FROM feed_parked WHERE projection = $1) AS placed
            WHERE turn = 1";
        let rows: Vec<(String, String)> = sql(get).bind(self.projection).fetch_all(self.log.reader()).await?;
        Ok(rows.into_iter().map(|(lane, cause)| (lane, Cause::read(&cause))).collect())
    }

    /// The oldest facts of a lane, in the order in which they are to be handled.
    pub async fn of_lane(&self, lane: &str, limit: u32) -> Result<Vec<Arc<Fact>>, Error> {
        let get = "SELECT source, partition, position, fact FROM feed_parked WHERE projection = $1 AND lane = $2
            ORDER BY place LIMIT $3";
        let query = sql(get).bind(self.projection).bind(lane).bind(limit);
        let rows: Vec<Stored> = query.fetch_all(self.log.reader()).await?;
        Ok(rows.into_iter().map(|stored| Arc::new(read(stored))).collect())
    }

    /// The lane of a parked fact.
    pub async fn lane_of(&self, key: &Key) -> Result<Option<String>, Error> {
        let get =
            "SELECT lane FROM feed_parked WHERE projection = $1 AND source = $2 AND partition = $3 AND position = $4";
        let query = sql(get).bind(self.projection).bind(&key.source).bind(key.partition).bind(key.position);
        query.fetch_optional(self.log.reader()).await
    }

    /// Positions after a cursor that were skipped: a re-send of one is not handled again, whatever carries it.
    pub async fn skipped(&self, source: &str, after: i64) -> Result<BTreeSet<i64>, Error> {
        let get = "SELECT position FROM feed_actions
            WHERE projection = $1 AND source = $2 AND position > $3 AND action = 'skip'";
        let query = sql(get).bind(self.projection).bind(source).bind(after);
        Ok(query.fetch_all::<i64>(self.log.reader()).await?.into_iter().collect())
    }

    /// Parks facts, behind those that are parked; what is parked already stays as and where it is, whatever partition
    /// another carrier had it in.
    pub async fn put(&self, parked: Vec<Parked>) -> Result<(), Error> {
        let (parked, projection) = (Arc::new(parked), self.projection);
        self.write("feed", "", move |tx| {
            let parked = Arc::clone(&parked);
            Box::pin(async move {
                let into = "INSERT INTO feed_parked
                    (projection, source, partition, position, lane, cause, error, parked_at, fact, place)";
                let mut rows = insert(into, "ON CONFLICT(projection, source, position) DO NOTHING");
                let last = "SELECT coalesce(max(place), 0) FROM feed_parked WHERE projection = $1";
                let last: i64 = sql(last).bind(projection).fetch_one(&mut *tx).await?;
                for (parked, place) in parked.iter().zip(last + 1..) {
                    let (cause, error) = match &parked.why {
                        Some((cause, error)) => (cause.name(), error.as_str()),
                        None => ("", ""),
                    };
                    let fact = &parked.fact;
                    rows.row(row![
                        projection,
                        &fact.source,
                        fact.partition,
                        fact.position,
                        &parked.lane,
                        cause,
                        error,
                        parked.parked_at_us,
                        fact.encode_to_vec(),
                        place,
                    ]);
                }
                rows.execute(tx).await
            })
        })
        .await
    }

    /// Says why a parked fact still does not go through.
    pub async fn put_why(&self, key: &Key, cause: Cause, error: &str) -> Result<(), Error> {
        let (key, error, projection) = (key.clone(), error.to_owned(), self.projection);
        self.write("feed", "", move |tx| {
            let (key, error) = (key.clone(), error.clone());
            Box::pin(async move {
                let put = "UPDATE feed_parked SET cause = $1, error = $2
                    WHERE projection = $3 AND source = $4 AND partition = $5 AND position = $6";
                let put = sql(put).bind(cause.name()).bind(error).bind(projection);
                put.bind(key.source).bind(key.partition).bind(key.position).execute(tx).await.map(drop)
            })
        })
        .await
    }

    /// Takes a fact out: it went through (`retry`), or is given up (`skip`). Who did it is remembered with it.
    pub async fn remove(&self, key: &Key, action: &'static str, by: &Actor) -> Result<(), Error> {
        let (key, by, projection) = (key.clone(), by.clone(), self.projection);
        let action_id = MachineEntropy::default().uuid();
        let at_us = MachineClock.now_us();
        let actor = (by.name.clone(), by.request_id.clone());
        self.write(&actor.0, &actor.1, move |tx| {
            let (key, by) = (key.clone(), by.clone());
            Box::pin(async move {
                let remove = "DELETE FROM feed_parked
                    WHERE projection = $1 AND source = $2 AND partition = $3 AND position = $4";
                let remove = sql(remove).bind(projection).bind(&key.source).bind(key.partition).bind(key.position);
                remove.execute(&mut *tx).await?;
                act(
                    tx,
                    row![
                        action_id,
                        at_us,
                        by.name,
                        by.request_id,
                        action,
                        projection,
                        key.source,
                        key.partition,
                        key.position,
                        ""
                    ],
                )
                .await
            })
        })
        .await
    }

    /// From now on a source of a service is followed from a cursor on: what was known of that service's other
    /// incarnations, or under its bare name, is kept in the record of who did it only.
    pub async fn follow_from(&self, cursor: &Cursor, action: &'static str, by: &Actor) -> Result<(), Error> {
        let (cursor, by) = (cursor.clone(), by.clone());
        let (projection, action_id, at_us) = (self.projection, MachineEntropy::default().uuid(), MachineClock.now_us());
        let actor = (by.name.clone(), by.request_id.clone());
        self.write(&actor.0, &actor.1, move |tx| {
            let (cursor, by) = (cursor.clone(), by.clone());
            Box::pin(async move {
                let service = |source: &str| source.split('@').next().unwrap_or_default().to_owned();
                let get = "SELECT source, partition, last_position FROM projection_cursor WHERE projection = $1";
                let before: Vec<(String, i64, i64)> = sql(get).bind(projection).fetch_all(&mut *tx).await?;
                let mut left = Vec::new();
                for (source, partition, position) in before {
                    if service(&source) == service(&cursor.source) {
                        let remove = "DELETE FROM projection_cursor
                            WHERE projection = $1 AND source = $2 AND partition = $3";
                        sql(remove).bind(projection).bind(&source).bind(partition).execute(&mut *tx).await?;
                        left.push(format!("{source}/{partition}:{position}"));
                    }
                }
                let into = "INSERT INTO projection_cursor(projection, source, partition, last_position)";
                let mut rows = insert(into, "");
                for (partition, position) in &cursor.positions {
                    rows.row(row![projection, &cursor.source, *partition, *position]);
                }
                rows.execute(&mut *tx).await?;
                let (detail, from) = (format!("left {}", left.join(", ")), cursor.reached());
                let source = cursor.source;
                act(tx, row![action_id, at_us, by.name, by.request_id, action, projection, source, 0, from, detail])
                    .await
            })
        })
        .await
    }

    /// Writes rows in a transaction of their own.
    async fn write<F>(&self, actor: &str, request_id: &str, work: F) -> Result<(), Error>
    where
        F: for<'a> Fn(&'a mut Transaction) -> BoxFuture<'a, Result<(), Error>> + Send + Sync + 'static,
    {
        let context = Context::new(MachineEntropy::default().uuid(), actor, request_id);
        let work = Arc::new(work);
        let written = self.log.record::<Rows, _>(STREAM, None, context, move |_, tx| {
            let work = Arc::clone(&work);
            Box::pin(async move {
                work(tx).await?;
                Ok(Recorded { events: Vec::new(), reply: Vec::new() })
            })
        });
        match written.await {
            Ok(_) => Ok(()),
            Err(ExecuteError::Rejected(never)) => match never {},
            Err(ExecuteError::Storage(error)) => Err(error),
            Err(ExecuteError::Overloaded) => Err(Error::Overloaded),
            // Without a condition, under a new id.
            Err(other) => Err(Error::Encode(other.to_string())),
        }
    }
}

async fn act(tx: &mut Transaction, values: [eventlog::Value; 10]) -> Result<(), Error> {
    let into = "INSERT INTO feed_actions
        (action_id, at, actor, request_id, action, projection, source, partition, position, detail)";
    let mut rows = insert(into, "");
    rows.row(values);
    rows.execute(tx).await
}

/// Source, partition, position and the encoded fact.
type Stored = (String, i64, i64, Vec<u8>);

/// A page of the parked facts of all consumers in a database, by consumer, lane and order, each with its place there:
/// at most so many, and those that have so many bytes together, or one that is larger; and whether there are more.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn page(
    log: &EventLog,
    consumer: &str,
    after: (&str, &str, i64),
    (limit, bytes_max): (usize, usize),
) -> Result<(Vec<(i64, Parked)>, bool), Error> {
    let get = "SELECT place, projection, lane, cause, error, parked_at, source, partition, position, fact
        FROM feed_parked
        WHERE (projection, lane, place) > ($1, $2, $3) AND ($4 = '' OR projection = $4)
        ORDER BY projection, lane, place LIMIT $5";
    let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let query = sql(get).bind(after.0).bind(after.1).bind(after.2).bind(consumer).bind(one_more);
    let (mut page, mut bytes, mut more) = (Vec::new(), 0, false);
    let take = |row: Row| {
        let fact: Vec<u8> = row.get(9)?;
        bytes += fact.len();
        more = page.len() >= limit || (bytes > bytes_max && !page.is_empty());
        if !more {
            let (cause, error): (String, String) = (row.get(3)?, row.get(4)?);
            let why = (!cause.is_empty()).then(|| (Cause::read(&cause), error));
            let fact = Arc::new(read((row.get(6)?, row.get(7)?, row.get(8)?, fact)));
            let (projection, lane, parked_at_us) = (row.get(1)?, row.get(2)?, row.get(5)?);
            page.push((row.get(0)?, Parked { projection, lane, why, parked_at_us, fact }));
        }
        Ok(!more)
    };
    query.fetch_while(log.reader(), take).await?;
    Ok((page, more))
}

/// What of the parked facts in a service's database waits for a person, in words, by follower.
///
/// # Errors
/// When the database cannot be read.
pub async fn parked_for_good(reader: &Reader) -> Result<Vec<String>, Error> {
    if !reader.has_table("feed_parked").await? {
        return Ok(Vec::new());
    }
    let get = "SELECT projection, count(*), min(error) FROM feed_parked WHERE cause NOT IN ('', 'waiting')
        GROUP BY projection ORDER BY projection";
    let rows: Vec<(String, i64, String)> = sql(get).fetch_all(reader).await?;
    let as_text = |(projection, count, error): (String, i64, String)| {
        let lanes = if count == 1 { "a lane".to_owned() } else { format!("{count} lanes") };
        format!("{projection} has parked {lanes} until somebody settles it (`trialog feed parked`): {error}")
    };
    Ok(rows.into_iter().map(as_text).collect())
}

/// A parked fact, or what can be read of it: one that is damaged must not hide the others, nor stand in their way.
fn read((source, partition, position, bytes): Stored) -> Fact {
    Fact::decode(bytes.as_slice()).unwrap_or_else(|error| Fact {
        source,
        partition: i32::try_from(partition).unwrap_or_default(),
        position,
        payload: bytes,
        unreadable: format!("what was parked cannot be read: {error}"),
        ..Fact::default()
    })
}

/// The aggregate of no events under which rows are written.
#[derive(Clone, Default)]
struct Rows;

/// An event that does not happen.
#[derive(Clone)]
enum Never {}

impl StoredEvent for Never {
    fn kind(&self) -> &'static str {
        match *self {}
    }

    fn schema(&self) -> i16 {
        match *self {}
    }

    fn encode(&self) -> Result<String, serde_json::Error> {
        match *self {}
    }

    fn decode(kind: &str, _: i16, _: &str) -> Result<Self, String> {
        Err(format!("{kind}: parked facts have no events"))
    }
}

impl Decider for Rows {
    type Command = ();
    type Event = Never;
    type Rejection = Infallible;

    fn decide(&self, (): &()) -> Result<Vec<Never>, Infallible> {
        Ok(Vec::new())
    }

    fn evolve(&mut self, event: &Never) {
        match *event {}
    }
}

#[cfg(test)]
mod tests {
    use eventlog::{Options, Store};

    use super::*;

    async fn park(folder: &std::path::Path) -> Park {
        let options = Options {
            service: "ear",
            store: Store::sqlite(folder.join("ear.sqlite")),
            migrations: &[],
            views: Vec::new(),
            clock: Arc::new(MachineClock),
            entropy: Arc::new(MachineEntropy::default()),
        };
        Park::new(EventLog::open(options).await.unwrap(), "listen")
    }

    #[tokio::test]
    async fn a_fact_that_another_carrier_brings_again_is_parked_once() {
        // It was handled twice, and the second time after what came behind it.
        let folder = tempfile::tempdir().unwrap();
        let park = park(folder.path()).await;
        let row = |partition, position, why: Option<&str>| {
            let fact = Arc::new(Fact { source: "talk@1".to_owned(), partition, position, ..Fact::default() });
            let why = why.map(|why| (Cause::Poison, why.to_owned()));
            Parked { projection: "listen".into(), lane: "a".into(), why, parked_at_us: 1, fact }
        };
        park.put(vec![row(0, 8, Some("broken")), row(0, 9, None)]).await.unwrap();
        park.put(vec![row(2, 8, None), row(2, 9, None), row(2, 11, None)]).await.unwrap();
        let places = |facts: Vec<Arc<Fact>>| facts.iter().map(|f| (f.partition, f.position)).collect::<Vec<_>>();
        assert_eq!(places(park.of_lane("a", 9).await.unwrap()), [(0, 8), (0, 9), (2, 11)]);
        assert_eq!(park.lanes().await.unwrap(), [("a".to_owned(), Cause::Poison)], "and why is known still");
        assert_eq!(park.count().await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_lane_is_handled_in_the_order_in_which_it_was_parked_whatever_the_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let park = park(folder.path()).await;
        let row = |source: &str, position, parked_at_us| {
            let fact = Arc::new(Fact { source: source.to_owned(), position, ..Fact::default() });
            Parked { projection: "listen".into(), lane: "a".into(), why: None, parked_at_us, fact }
        };
        // The clock goes back; and positions of two logs do not compare.
        park.put(vec![row("talk@1", 8, 20), row("talk@2", 3, 20)]).await.unwrap();
        park.put(vec![row("talk@2", 4, 10), row("talk@1", 8, 10)]).await.unwrap();
        let places = |facts: Vec<Arc<Fact>>| facts.iter().map(|fact| fact.position).collect::<Vec<_>>();
        assert_eq!(places(park.of_lane("a", 9).await.unwrap()), [8, 3, 4]);
        let (first, more) = page(&park.log, "", ("", "", 0), (2, usize::MAX)).await.unwrap();
        assert!(more);
        let (place, last) = first.last().unwrap();
        let (rest, _) = page(&park.log, "", (&last.projection, &last.lane, *place), (9, usize::MAX)).await.unwrap();
        let (alone, more) = page(&park.log, "", ("", "", 0), (9, 1)).await.unwrap();
        assert_eq!((alone.len(), more), (1, true), "one that is too large comes alone");
        let all = first.iter().chain(&rest).map(|(_, row)| Arc::clone(&row.fact));
        assert_eq!(places(all.collect()), [8, 3, 4], "as they are shown");
        // One that is damaged hides no other and stands in nobody's way: what can be read of it is shown.
        let damage = async |tx: &mut Transaction| {
            let damage = sql("UPDATE feed_parked SET fact = $1 WHERE source = 'talk@2' AND position = 3");
            damage.bind(b"\xff\xff".to_vec()).execute(tx).await.map(drop)
        };
        park.write("test", "", move |tx| Box::pin(damage(tx))).await.unwrap();
        let (all, _) = page(&park.log, "", ("", "", 0), (9, usize::MAX)).await.unwrap();
        let damaged = &all[1].1.fact;
        assert_eq!(
            (damaged.source.as_str(), damaged.position, damaged.payload.as_slice()),
            ("talk@2", 3, &[255, 255][..])
        );
        assert!(damaged.unreadable.contains("cannot be read"), "{damaged:?}");
        assert_eq!(places(all.into_iter().map(|(_, row)| row.fact).collect()), [8, 3, 4]);
        assert_eq!(places(park.of_lane("a", 9).await.unwrap()), [8, 3, 4]);
    }
}
