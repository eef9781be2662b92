//! kill -9 at a random moment: everything that was acknowledged is stored, and a retry settles the rest.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use trialog_eventlog::Context;
use uuid::Uuid;
use vocabulary::{Entropy, SeededEntropy};

use crate::account::*;
use crate::model::assert_well_formed;

/// Set for the process that appends until it is killed.
const FOLDER: &str = "TRIALOG_CRASH_FOLDER";
const LIFE: &str = "TRIALOG_CRASH_LIFE";
const LIVES: u64 = 6;
const CLIENTS: u64 = 12;

/// The id of a client's n-th command in a life.
fn id(life: u64, client: u64, count: u64) -> Uuid {
    Uuid::from_u64_pair(life + 1, client << 40 | (count + 1))
}

async fn append_for_ever(life: u64, client: u64, log: trialog_eventlog::EventLog) {
    let stream = format!("account-{}", client % 5);
    for count in 0.. {
        let context = Context::new(id(life, client, count), "crash", "request");
        let committed =
            log.execute::<Account>(&stream, Ask::Deposit(vec![1; 1 + count as usize % 3]), context).await.unwrap();
        // One write per line: a line that arrives is whole.
        let line = format!("ack {client} {count} {} {}\n", committed.position, committed.version);
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }
}

/// Not a test by itself: the body of the process that is killed.
#[test]
fn child_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let life: u64 = std::env::var(LIFE).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let log = viewed(Path::new(&folder)).await;
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| tokio::spawn(append_for_ever(life, client, log.clone()))).collect();
        for client in clients {
            client.await.unwrap();
        }
    });
}

/// An acknowledgement that reached the parent.
struct Ack {
    client: u64,
    count: u64,
    position: i64,
    version: i64,
}

/// Lets a child append until it has acknowledged so many, kills it, and reads what is left in the pipe.
fn live_and_die(folder: &Path, life: u64, acks: usize) -> Vec<Ack> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::child_that_is_killed", "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut found = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // The test harness prints to the same pipe, its first line without an end.
        let Some((_, ack)) = line.split_once("ack ") else { continue };
        let mut numbers = ack.split(' ').map(|number| number.parse::<i64>().unwrap());
        let mut next = || numbers.next().unwrap();
        found.push(Ack { client: next() as u64, count: next() as u64, position: next(), version: next() });
        if found.len() == acks {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    found
}

#[tokio::test]
async fn l1_every_acknowledged_append_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let entropy = SeededEntropy::new(u64::from(std::process::id()));
    for life in 0..LIVES {
        let wanted = 1 + (entropy.seed() % 400) as usize;
        let at = folder.path().to_owned();
        let acks = tokio::task::spawn_blocking(move || live_and_die(&at, life, wanted)).await.unwrap();
        assert!(acks.len() >= wanted, "the child appended");
        let log = viewed(folder.path()).await;
        let events = everything(&log).await;
        assert_well_formed(&events);
        for ack in &acks {
            let stored = &events[ack.position as usize - 1];
            let expected = (id(life, ack.client, ack.count), ack.version);
            assert_eq!((stored.command_id, stored.version), expected, "L1: acknowledged is stored where it was said");
        }
        settle(&log, life, &acks).await;
        let sums = events.iter().fold(std::collections::BTreeMap::new(), |mut sums, event| {
            *sums.entry(event.stream.clone()).or_insert(0_i64) += 1;
            sums
        });
        let view = balances(&log).await;
        assert!(
            sums.into_iter().all(|(stream, sum)| view.iter().any(|(name, at)| *name == stream && *at >= sum)),
            "L8"
        );
        log.close().await;
    }
}

/// A client that does not know its last command's fate asks again: it happens exactly once.
async fn settle(log: &trialog_eventlog::EventLog, life: u64, acks: &[Ack]) {
    for client in 0..CLIENTS {
        let unknown = acks.iter().filter(|ack| ack.client == client).map(|ack| ack.count + 1).max().unwrap_or(0);
        let context = Context::new(id(life, client, unknown), "crash", "request");
        let stream = format!("account-{}", client % 5);
        let ask = Ask::Deposit(vec![1; 1 + unknown as usize % 3]);
        let first = log.execute::<Account>(&stream, ask.clone(), context.clone()).await.unwrap();
        let again = log.execute::<Account>(&stream, ask, context).await.unwrap();
        assert!(again.repeated, "P4: the retry gets the first result");
        assert_eq!((first.position, first.events), (again.position, again.events));
    }
    let events = everything(log).await;
    assert_well_formed(&events);
}
