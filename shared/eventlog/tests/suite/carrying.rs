//! A log that is carried from a file into a server goes on there as the same log, or is not there at all.

use std::path::Path;
use std::sync::Arc;

use sqlx::Connection;
use trialog_eventlog::{
    Content, CursorMove, Error, EventLog, Options, Recorded, Store, Stores, Transfer, contents, sql,
};
use uuid::Uuid;
use vocabulary::SeededEntropy;

use crate::account::*;

/// A file, and the server that it is carried into.
struct Both {
    folder: tempfile::TempDir,
    url: String,
    prefix: String,
}

impl Both {
    fn new() -> Option<Self> {
        let url = testkit::postgres()?;
        Some(Self { folder: tempfile::tempdir().unwrap(), url, prefix: testkit::new_schema() })
    }

    fn file(&self) -> Store {
        Store::sqlite(self.folder.path().join("accounts.db"))
    }

    fn there(&self) -> Options {
        let stores = Stores::in_postgres(&self.url, &self.prefix).unwrap();
        let options = options(Path::new("unused"), clock(), vec![Arc::new(Balances), Arc::new(Withdrawals)]);
        Options { store: stores.of("accounts"), ..options }
    }

    async fn open(&self, store: Store) -> EventLog {
        // Two logs that begin apart are two logs.
        let entropy = Arc::new(SeededEntropy::new(if store.file().is_some() { 1 } else { 2 }));
        EventLog::open(Options { store, entropy, ..self.there() }).await.unwrap()
    }

    async fn carry(&self) -> Result<Vec<Content>, Error> {
        let there = self.there();
        let mut transfer = Transfer::begin(&there.store).await?;
        match transfer.carry(&self.file(), &there).await {
            Ok(contents) => transfer.commit().await.map(|()| contents),
            Err(error) => {
                transfer.abandon().await;
                Err(error)
            }
        }
    }

    /// Runs SQL in the server's schema.
    async fn change(&self, text: &str) {
        let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
        let text = format!("SET search_path = {}_accounts; {text}", self.prefix);
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

async fn change(log: &EventLog, text: &str) {
    let text = text.to_owned();
    let id = Uuid::from_u128(text.bytes().fold(1 << 64, |sum, byte| sum * 31 % (1 << 100) + u128::from(byte)));
    let done = log.record::<Account, _>("changes", None, trialog_eventlog::Context::new(id, "", ""), move |_, tx| {
        let text = text.clone();
        Box::pin(async move {
            sql(text).execute(tx).await?;
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    done.await.unwrap();
}

/// A log with everything that a log has: events of several streams, commands, a cursor, a snapshot, rows of records
/// whose numbers the store gives, texts and absent values.
async fn filled(both: &Both) -> (String, Vec<trialog_eventlog::RecordedEvent>) {
    let log = both.open(both.file()).await;
    for id in 1..=700_u128 {
        let stream = format!("ä{}", id % 7);
        log.execute::<Account>(&stream, Ask::Deposit(vec![2, 3]), context(id)).await.unwrap();
    }
    log.execute::<Account>("ä1", Ask::Withdraw(4), context(1_000)).await.unwrap();
    for text in ["first", "second"] {
        change(&log, &format!("INSERT INTO notes(text) VALUES ('{text}')")).await;
    }
    change(&log, "INSERT INTO balances(stream, balance, last) VALUES ('zero', 0, NULL)").await;
    let at = CursorMove {
        projection: "p".to_owned(),
        source: "s@1".to_owned(),
        partition: 3,
        position: 7,
        event_id: Some(Uuid::from_u128(9)),
        resume: 11,
    };
    log.move_to(at).await.unwrap();
    assert!(log.snapshot("ä1").await.unwrap());
    let (source, events) = (log.source().to_owned(), everything(&log).await);
    log.close().await;
    (source, events)
}

#[tokio::test]
async fn a_carried_log_goes_on_as_the_same_log() {
    let Some(both) = Both::new() else { return };
    let (source, events) = filled(&both).await;
    let carried = both.carry().await.unwrap();
    assert_eq!(carried, contents(&both.file()).await.unwrap());
    let rows = |table: &str| carried.iter().find(|found| found.table == table).map(|found| found.rows);
    assert_eq!((rows("events"), rows("notes"), rows("snapshots")), (Some(1_401), Some(2), Some(1)));
    // Whoever did not see how it ended does it again.
    assert_eq!(both.carry().await.unwrap(), carried);
    let log = both.open(both.there().store).await;
    assert_eq!((log.source(), everything(&log).await), (source.as_str(), events));
    assert_eq!(both.there().store.faults().await.unwrap(), [""; 0]);
    let again = log.execute::<Account>("ä1", Ask::Withdraw(4), context(1_000)).await.unwrap();
    assert_eq!((again.position, again.repeated), (1_401, true));
    let cursors = log.cursors("p").await.unwrap();
    assert_eq!((cursors[0].partition, cursors[0].position, cursors[0].resume), (3, 7, 11));
    assert_eq!(cursors[0].event_id, Some(Uuid::from_u128(9)));
    let restored = log.inspect::<Account, _>("ä1", |state, version| (state.balance, version)).await.unwrap();
    assert_eq!(restored, (496, 201));
    let next = log.execute::<Account>("ä2", Ask::Withdraw(1), context(1_001)).await.unwrap();
    assert_eq!(next.position, 1_402);
    assert_eq!(withdrawals(&log).await, [1_401, 1_402]);
    change(&log, "INSERT INTO notes(text) VALUES ('third')").await;
    let notes: Vec<i64> = sql("SELECT id FROM notes ORDER BY id").fetch_all(log.reader()).await.unwrap();
    assert_eq!(notes, [1, 2, 3]);
    log.close().await;
    // What has gone on is not overwritten by what it was.
    let refused = both.carry().await.unwrap_err();
    assert!(matches!(&refused, Error::NotMoved(why) if why.contains("gone on since")), "{refused}");
}

#[tokio::test]
async fn a_server_that_writes_other_rows_or_has_some_gets_nothing() {
    let Some(both) = Both::new() else { return };
    let (source, events) = filled(&both).await;
    // Another log is there already: empty, it is replaced; with rows, it is in use.
    both.open(both.there().store).await.close().await;
    both.change("INSERT INTO notes(text) VALUES ('theirs')").await;
    let refused = both.carry().await.unwrap_err();
    assert!(matches!(&refused, Error::NotMoved(why) if why.contains("in use")), "{refused}");
    both.change("DELETE FROM notes").await;
    for (body, table) in [
        ("IF NEW.id = 2 THEN RETURN NULL; END IF", "notes"),
        ("NEW.text = upper(NEW.text)", "notes"),
        ("IF NEW.version = 200 THEN NEW.recorded_at = NEW.recorded_at + 1; END IF", "events"),
    ] {
        both.change(&format!(
            "CREATE OR REPLACE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {body}; RETURN NEW; END';
             CREATE TRIGGER other BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION other()"
        ))
        .await;
        let refused = both.carry().await.unwrap_err();
        let is_told = matches!(&refused, Error::NotMoved(why) if why.contains(&format!("table {table} has")));
        assert!(is_told, "{body}: {refused}");
        both.change(&format!("DROP TRIGGER other ON {table}")).await;
    }
    let there = both.open(both.there().store).await;
    assert!(everything(&there).await.is_empty() && there.source() != source, "nothing of it is there");
    there.close().await;
    // The file is as it was, and the server takes it when nothing is in its way.
    let log = both.open(both.file()).await;
    assert_eq!((log.source(), everything(&log).await), (source.as_str(), events));
    log.close().await;
    both.carry().await.unwrap();
}

#[tokio::test]
async fn a_log_that_somebody_holds_is_not_written_over() {
    let Some(both) = Both::new() else { return };
    filled(&both).await;
    let holder = trialog_eventlog::Holder { name: "a".to_owned(), address: String::new(), keeps_files_of: &[] };
    let held = EventLog::open(Options { store: both.there().store.held_by(holder), ..both.there() }).await.unwrap();
    let refused = both.carry().await.unwrap_err();
    assert!(matches!(refused, Error::Held(_)), "{refused}");
    held.close().await;
}
