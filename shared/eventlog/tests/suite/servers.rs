//! What only a log on a server meets: connections that break, and writers that stop in the middle.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use trialog_eventlog::{Error, EventLog, ExecuteError, Recorded, Store, Stores, sql};

use crate::account::*;
use crate::frozen::Frozen;

/// A server between the log and its own.
struct Between {
    folder: tempfile::TempDir,
    /// The answer to the next statement that writes events is swallowed, and the connection cut.
    swallows: Arc<AtomicBool>,
}

impl Between {
    /// In front of the socket in `folder`.
    fn new(folder: &Path) -> Self {
        let own = tempfile::tempdir().unwrap();
        let socket = |folder: &Path| folder.join(".s.PGSQL.5432");
        let (listener, behind) = (UnixListener::bind(socket(own.path())).unwrap(), socket(folder));
        let swallows = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&swallows);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&behind).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&flag)));
            }
        });
        Self { folder: own, swallows }
    }
}

async fn pass(client: UnixStream, server: UnixStream, swallows: Arc<AtomicBool>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut cuts = false;
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                // The values of an append: the kind of its event stands among them.
                let writes = asked[..count].windows(9).any(|bytes| bytes == b"Deposited");
                cuts |= writes && swallows.swap(false, Ordering::SeqCst);
                to_server.write_all(&asked[..count]).await.unwrap();
            }
            read = from_server.read(&mut answered) => {
                let Ok(count @ 1..) = read else { return };
                // It has answered, so that it has committed.
                if cuts && answered[..count].contains(&b'C') {
                    return;
                }
                if to_client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn count(log: &EventLog) -> usize {
    everything(log).await.len()
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_out() {
    // Told that it failed, the client would do it again, or believe what is not so.
    let Some(Home::Postgres(url, schema)) = Home::postgres() else { return };
    let (_, folder) = url.split_once("host=").expect("the server of tests has a socket");
    let between = Between::new(Path::new(folder));
    let through = url.replace(folder, between.folder.path().to_str().unwrap());
    let home = Home::Postgres(through, schema);
    let log = home.plain().await;
    log.execute::<Account>("a", Ask::Deposit(vec![1]), context(1)).await.unwrap();
    between.swallows.store(true, Ordering::SeqCst);
    let committed = log.execute::<Account>("a", Ask::Deposit(vec![2]), context(2)).await.unwrap();
    assert!(!between.swallows.load(Ordering::SeqCst), "the connection was cut");
    assert_eq!((committed.position, committed.repeated), (2, false));
    let again = log.execute::<Account>("a", Ask::Deposit(vec![2]), context(2)).await.unwrap();
    assert_eq!((again.position, again.repeated), (2, true));
    assert_eq!(log.execute::<Account>("a", Ask::Deposit(vec![3]), context(3)).await.unwrap().position, 3);
    assert_eq!(count(&log).await, 3);
}

/// The server ends the writer's connection, which has just committed.
async fn end_connection(home: &Home, log: &EventLog) {
    let Home::Postgres(_, schema) = home else { unreachable!("a file has no connections") };
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE application_name = $1 AND query = 'COMMIT' AND pid <> pg_backend_pid()";
    let ended: i64 = sql(end).bind(format!("trialog {schema}")).fetch_one(log.reader()).await.unwrap();
    assert_eq!(ended, 1);
}

#[tokio::test]
async fn a_connection_that_was_ended_costs_one_refusal_at_most() {
    let Some(home) = Home::postgres() else { return };
    let log = home.viewed().await;
    log.execute::<Account>("a", Ask::Deposit(vec![1]), context(1)).await.unwrap();
    end_connection(&home, &log).await;
    let first = log.execute::<Account>("a", Ask::Deposit(vec![2]), context(2)).await;
    if let Err(error) = first {
        let problem = error.into_problem(|_| unreachable!("it is not refused"));
        assert!(problem.passes_by_itself(), "{problem:?}");
    }
    assert_eq!(log.execute::<Account>("a", Ask::Deposit(vec![2]), context(2)).await.unwrap().position, 2);
    assert_eq!(count(&log).await, 2);
}

#[tokio::test]
async fn a_log_whose_connection_was_ended_meanwhile_closes_in_order() {
    // A process that had nothing to write since its database was started again ended with a failure.
    let Some(home) = Home::postgres() else { return };
    let log = home.viewed().await;
    log.execute::<Account>("a", Ask::Deposit(vec![1]), context(1)).await.unwrap();
    end_connection(&home, &log).await;
    let handle = log.clone();
    log.close().await;
    handle.ended().await.expect("all that was acknowledged is committed");
}

#[tokio::test]
async fn a_writer_that_stops_inside_a_transaction_is_deposed_in_seconds_and_writes_nothing() {
    let Some(home) = Home::postgres() else { return };
    let frozen = Frozen::inside_a_transaction(&home, "");
    // It waits for nobody: the server ends the one that holds a transaction open and says nothing.
    let second = tokio::time::timeout(Duration::from_secs(10), home.viewed()).await.expect("it takes over");
    second.execute::<Account>("b", Ask::Deposit(vec![1]), context(3)).await.unwrap();
    let [current, late, next, ended] = frozen.go_on().await;
    assert_eq!(current, "current: Ok(())", "without a lease nobody knows better");
    assert!(late.contains("Err(Storage("), "{late}");
    assert!(next.contains("Err(Storage(Deposed))") || next.contains("Err(Storage(Closed))"), "{next}");
    assert_eq!(ended, "ended: Err(Deposed)");
    let notes: i64 = sql("SELECT count(*) FROM notes").fetch_one(second.reader()).await.unwrap();
    assert_eq!((notes, count(&second).await), (0, 1));
}

#[tokio::test]
async fn a_server_that_is_away_is_said_to_be_away_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgres://trialog@localhost/trialog?host={}", folder.path().display());
    let options = trialog_eventlog::Options {
        store: Store::postgres(&url, "accounts").unwrap(),
        ..options(folder.path(), clock(), Vec::new())
    };
    let opened = tokio::time::timeout(Duration::from_secs(3), EventLog::open(options)).await.expect("at once");
    assert!(opened.is_err_and(|error| error.problem().passes_by_itself()));
    let place = "postgres://h/d";
    // The server would cut the long one off, and two services could share a schema.
    let long = "a".repeat(64);
    let wrong = [("nonsense", "a"), (place, ""), (place, "a b"), (place, "A;--"), (place, "1a"), (place, &long)];
    for (url, schema) in wrong {
        assert!(matches!(Store::postgres(url, schema).map(drop), Err(Error::Address(_))), "{url} {schema}");
    }
    assert!(Store::postgres(place, &long[1..]).is_ok());
    assert!(matches!(Stores::in_postgres(place, &long[..41]).map(drop), Err(Error::Address(_))));
    let shown = format!("{:?}", Stores::in_postgres("postgres://ann:secret@h/d", "ours").unwrap());
    assert!(shown.contains("ours") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn a_text_that_the_server_has_no_form_for_is_the_askers_fault() {
    // A NUL in a query was "internal", and the log said that what is stored cannot be read.
    let Some(home) = Home::postgres() else { return };
    let log = home.viewed().await;
    let asked = sql("SELECT balance FROM balances WHERE stream = $1").bind("a\0b");
    let refused = asked.fetch_optional::<i64>(log.reader()).await.unwrap_err().problem();
    assert_eq!((refused.status, refused.code.as_str()), (422, "BadText"));
    assert!(refused.detail.contains("a\\0b"), "{}", refused.detail);
    let work = log.record::<Account, _>("a", None, context(1), move |_, tx| {
        Box::pin(async move {
            sql("INSERT INTO notes(text) VALUES ($1)").bind("\0").execute(tx).await?;
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    assert!(matches!(work.await, Err(ExecuteError::Storage(Error::Nul(_)))));
    log.execute::<Account>("a", Ask::Deposit(vec![1]), context(2)).await.unwrap();
}
