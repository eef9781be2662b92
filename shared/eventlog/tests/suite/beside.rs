//! A log that is read beside the process that writes it: what was acknowledged is seen at once, nothing is written.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use trialog_eventlog::{CursorMove, Error, EventLog, ExecuteError, Options, Recorded};
use uuid::Uuid;

use crate::account::*;

/// Longer than anything here takes, for what must not hang.
const PATIENCE: Duration = Duration::from_secs(20);

fn beside(home: &Home) -> Options {
    let options = home.options(clock(), vec![Arc::new(Balances)]);
    Options { store: options.store.clone().read_only(), ..options }
}

async fn balance(log: &EventLog, stream: &str) -> (i64, i64) {
    log.inspect::<Account, _>(stream, |account, version| (account.balance, version)).await.unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_is_seen_at_once() {
    let Some(home) = Home::postgres() else { return };
    let writer = home.viewed().await;
    writer.execute::<Account>("a", Ask::Deposit(vec![1, 1]), context(1)).await.unwrap();
    let reader = EventLog::open(beside(&home)).await.unwrap();
    assert!(reader.is_read_only() && !writer.is_read_only());
    assert_eq!((reader.source(), *reader.head().borrow()), (writer.source(), 2));
    assert_eq!(balance(&reader, "nobody").await, (0, 0));
    for round in 0..50_u128 {
        let amounts = if round % 7 == 0 { vec![1; 1_300] } else { vec![1] };
        let written = writer.execute::<Account>("a", Ask::Deposit(amounts), context(10 + round)).await.unwrap();
        reader.catch_up().await.unwrap();
        assert_eq!(balance(&reader, "a").await, balance(&writer, "a").await);
        assert_eq!(balances(&reader).await, balances(&writer).await);
        reader.wait_for(written.position, Duration::ZERO).await.unwrap();
        let last = reader.read(written.position - 1, 9).await.unwrap();
        assert_eq!(last.iter().map(|event| event.position).collect::<Vec<_>>(), [written.position]);
    }
    // Many who ask at once share a look, and each sees what was acknowledged before it asked.
    for round in 0..20_u128 {
        writer.execute::<Account>("a", Ask::Deposit(vec![1]), context(100 + round)).await.unwrap();
        let wanted = balance(&writer, "a").await;
        let looks = (0..8).map(|_| async {
            reader.catch_up().await.unwrap();
            balance(&reader, "a").await
        });
        let looked = futures_util::future::join_all(looks).await;
        assert!(looked.iter().all(|seen| *seen == wanted), "{wanted:?}: {looked:?}");
    }
    let far = reader.wait_for(1_000_000, Duration::from_millis(1)).await.unwrap_err();
    assert!(matches!(far, Error::Behind { wanted: 1_000_000, .. }), "{far}");
}

#[tokio::test]
async fn who_waits_for_the_log_to_grow_is_told() {
    let Some(home) = Home::postgres() else { return };
    let writer = home.viewed().await;
    let reader = EventLog::open(beside(&home)).await.unwrap();
    let mut head = reader.head();
    assert!(!head.has_changed().unwrap());
    let position = writer.execute::<Account>("a", Ask::Deposit(vec![1]), context(1)).await.unwrap().position;
    let grown = tokio::time::timeout(PATIENCE, head.wait_for(|head| *head >= position)).await;
    grown.expect("it is looked for").unwrap();
    let next = tokio::spawn({
        let reader = reader.clone();
        async move { reader.wait_for(position + 1, PATIENCE).await }
    });
    writer.execute::<Account>("a", Ask::Deposit(vec![1]), context(2)).await.unwrap();
    next.await.unwrap().unwrap();
}

#[tokio::test]
async fn nothing_is_written_beside_the_writer() {
    let Some(home) = Home::postgres() else { return };
    let writer = home.viewed().await;
    writer.execute::<Account>("a", Ask::Deposit(vec![1]), context(1)).await.unwrap();
    let reader = EventLog::open(beside(&home)).await.unwrap();
    let refused = reader.execute::<Account>("a", Ask::Deposit(vec![1]), context(2)).await.unwrap_err();
    assert!(matches!(refused, ExecuteError::Storage(Error::ReadOnly)), "{refused}");
    let record = reader.record::<Account, _>("a", None, context(3), |_, _| {
        Box::pin(async { Ok(Recorded { events: Vec::new(), reply: Vec::new() }) })
    });
    assert!(matches!(record.await.unwrap_err(), ExecuteError::Storage(Error::ReadOnly)));
    let (projection, source) = ("p".to_owned(), "s@1".to_owned());
    let cursor = CursorMove { projection, source, partition: 0, position: 7, event_id: Some(Uuid::nil()), resume: 0 };
    assert!(matches!(reader.move_to(cursor).await.unwrap_err(), Error::ReadOnly));
    assert!(Error::ReadOnly.problem().passes_by_itself(), "another process takes it");
    // The writer goes on under its own epoch, and is there when the reader has gone.
    tokio::time::timeout(PATIENCE, reader.close()).await.expect("it ends");
    assert_eq!(writer.execute::<Account>("a", Ask::Deposit(vec![1]), context(4)).await.unwrap().position, 2);
}

#[tokio::test]
async fn a_log_that_its_writer_has_not_made_is_not_read_yet() {
    let Some(home) = Home::postgres() else { return };
    let not_yet = async |options: Options| match EventLog::open(options).await.map(drop).unwrap_err() {
        Error::NotYet { what, .. } => what,
        other => panic!("{other}"),
    };
    assert!(not_yet(beside(&home)).await.contains("no tables"));
    // An older build has made it.
    let options = home.options(clock(), Vec::new());
    EventLog::open(Options { migrations: &MIGRATIONS[..2], ..options }).await.unwrap().close().await;
    assert!(not_yet(beside(&home)).await.contains("notes"));
    home.plain().await.close().await;
    assert!(not_yet(beside(&home)).await.contains("the view balances"));
    home.viewed().await.close().await;
    EventLog::open(beside(&home)).await.unwrap();
    let other = EventLog::open(Options { service: "others", ..beside(&home) }).await.map(drop).unwrap_err();
    assert!(matches!(other, Error::OtherService { .. }), "{other}");
}

#[tokio::test]
async fn a_log_that_somebody_else_has_begun_to_write_is_opened_anew() {
    // The next writer may be of another build: its tables and events are not for this one to guess.
    let Some(home) = Home::postgres() else { return };
    let writer = home.viewed().await;
    let reader = EventLog::open(beside(&home)).await.unwrap();
    reader.catch_up().await.unwrap();
    writer.close().await;
    reader.catch_up().await.expect("nobody else has begun");
    let writer = home.viewed().await;
    let refused = reader.catch_up().await.unwrap_err();
    assert!(matches!(&refused, Error::NotYet { what, .. } if what.contains("another process")), "{refused}");
    let reader = EventLog::open(beside(&home)).await.unwrap();
    writer.execute::<Account>("a", Ask::Deposit(vec![1]), context(1)).await.unwrap();
    reader.catch_up().await.unwrap();
    assert_eq!(balance(&reader, "a").await, (1, 1));
}

#[tokio::test]
async fn what_a_log_has_lost_that_was_set_back_is_not_answered_any_more() {
    // A state was answered, and added to, that no log had: the streams had grown again to the same length.
    let Some(home) = Home::postgres() else { return };
    let Home::Postgres(url, schema) = &home else { unreachable!() };
    let writer = home.viewed().await;
    writer.execute::<Account>("a", Ask::Deposit(vec![1, 1, 1]), context(1)).await.unwrap();
    let reader = EventLog::open(beside(&home)).await.unwrap();
    assert_eq!(balance(&reader, "a").await, (3, 3));
    writer.close().await;
    let mut server = PgConnection::connect(url).await.unwrap();
    let back = format!(
        "DELETE FROM {schema}.events WHERE position > 1; UPDATE {schema}.log_head SET last_position = 1 WHERE id = 1"
    );
    sqlx::raw_sql(AssertSqlSafe(back)).execute(&mut server).await.unwrap();
    reader.catch_up().await.unwrap();
    assert_eq!((balance(&reader, "a").await, *reader.head().borrow()), ((1, 1), 1));
}
