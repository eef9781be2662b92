//! An aggregate, a view and a folder to test with.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trialog_eventlog::{
    BoxFuture, Context, Error, EventLog, MemoryStore, Options, RecordedEvent, Store, Transaction, View, ViewTable, sql,
};
use uuid::Uuid;
use vocabulary::{Clock, Decider, ManualClock, SeededEntropy, stored_events};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deposited {
    pub amount: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Withdrawn {
    pub amount: i64,
}

stored_events! {
    /// What happens to an account.
    pub enum AccountEvent { Deposited: 1, Withdrawn: 1 }
}

#[derive(Clone, Debug)]
pub enum Ask {
    /// One event for each amount.
    Deposit(Vec<i64>),
    /// Refused when there is less.
    Withdraw(i64),
    Panic,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TooLittle {
    pub balance: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    pub balance: i64,
}

impl Decider for Account {
    type Command = Ask;
    type Event = AccountEvent;
    type Rejection = TooLittle;
    const SNAPSHOT: Option<i16> = Some(1);

    fn snapshot(&self) -> Option<Vec<u8>> {
        Some(self.balance.to_le_bytes().to_vec())
    }

    fn restore(bytes: &[u8]) -> Option<Self> {
        Some(Self { balance: i64::from_le_bytes(bytes.try_into().ok()?) })
    }

    fn decide(&self, command: &Ask) -> Result<Vec<AccountEvent>, TooLittle> {
        match command {
            Ask::Deposit(amounts) => Ok(amounts.iter().map(|&amount| Deposited { amount }.into()).collect()),
            Ask::Withdraw(amount) if *amount > self.balance => Err(TooLittle { balance: self.balance }),
            Ask::Withdraw(amount) => Ok(vec![Withdrawn { amount: *amount }.into()]),
            Ask::Panic => panic!("a decider that panics"),
        }
    }

    fn evolve(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deposited(event) => self.balance += event.amount,
            AccountEvent::Withdrawn(event) => self.balance -= event.amount,
        }
    }
}

/// An amount that the view's table refuses by a constraint.
pub const REFUSED_BY_THE_TABLE: i64 = 666;
/// An amount at which the view panics.
pub const PANICS_IN_THE_VIEW: i64 = 667;

pub const MIGRATIONS: &[(&str, &str)] = &[
    (
        "balances",
        "CREATE TABLE balances(stream TEXT PRIMARY KEY, balance INTEGER NOT NULL, last BIGINT CHECK (last <> 666))",
    ),
    ("withdrawals", "CREATE TABLE withdrawals(position INTEGER PRIMARY KEY)"),
    ("notes", "CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT NOT NULL)"),
];

/// Balances by stream.
pub struct Balances;

impl View for Balances {
    fn name(&self) -> &'static str {
        "balances"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("balances")]
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events {
                let change = match event.decode::<AccountEvent>()? {
                    AccountEvent::Deposited(event) => event.amount,
                    AccountEvent::Withdrawn(event) => -event.amount,
                };
                assert_ne!(change, PANICS_IN_THE_VIEW, "a view that panics");
                sql("INSERT INTO balances VALUES ($1, $2, $2)
                     ON CONFLICT(stream) DO UPDATE SET balance = balances.balance + $2, last = $2")
                .bind(event.stream.as_str())
                .bind(change)
                .execute(&mut *tx)
                .await?;
            }
            Ok(())
        })
    }
}

pub const START: i64 = 1_700_000_000_000_000;

pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_microsecond(START).expect("a valid instant")))
}

/// Where a log of a test is kept.
pub enum Home {
    Sqlite(tempfile::TempDir),
    Memory(MemoryStore),
    /// The server's URL and a schema of its own.
    #[cfg(feature = "postgres")]
    Postgres(String, String),
}

impl Home {
    pub fn sqlite() -> Option<Self> {
        Some(Self::Sqlite(tempfile::tempdir().unwrap()))
    }

    pub fn memory() -> Option<Self> {
        Some(Self::Memory(MemoryStore::default()))
    }

    /// A schema of its own on the server that tests are given, if there is one.
    #[cfg(feature = "postgres")]
    pub fn postgres() -> Option<Self> {
        testkit::postgres().map(|url| Self::Postgres(url, testkit::new_schema()))
    }

    /// Whether there are tables for views and records.
    pub fn has_tables(&self) -> bool {
        !matches!(self, Self::Memory(_))
    }

    pub fn store(&self) -> Store {
        match self {
            Self::Sqlite(folder) => Store::sqlite(folder.path().join("accounts.db")),
            Self::Memory(store) => Store::memory(store),
            #[cfg(feature = "postgres")]
            Self::Postgres(url, schema) => Store::postgres(url, schema).unwrap(),
        }
    }

    pub fn options(&self, clock: Arc<dyn Clock>, views: Vec<Arc<dyn View>>) -> Options {
        Options { store: self.store(), ..options(Path::new("unused"), clock, views) }
    }

    /// A log without views.
    pub async fn plain(&self) -> EventLog {
        EventLog::open(self.options(clock(), Vec::new())).await.unwrap()
    }

    /// A log with the view.
    pub async fn viewed(&self) -> EventLog {
        EventLog::open(self.options(clock(), vec![Arc::new(Balances)])).await.unwrap()
    }
}

/// Runs tests on one store: each is a function of a [`Home`].
#[macro_export]
macro_rules! on_store {
    ($store:ident, $($name:ident),* $(,)?) => {
        mod $store {
            $(#[tokio::test] async fn $name() {
                if let Some(home) = $crate::account::Home::$store() {
                    super::$name(home).await;
                }
            })*
        }
    };
}

/// Runs tests on every store; those behind the semicolon only where there are tables of others.
#[macro_export]
macro_rules! on_every_store {
    ($($name:ident),* $(,)?; $($tabled:ident),* $(,)?) => {
        $crate::on_store!(memory, $($name),*);
        $crate::on_store!(sqlite, $($name,)* $($tabled,)*);
        #[cfg(feature = "postgres")]
        $crate::on_store!(postgres, $($name,)* $($tabled,)*);
    };
}

pub fn options(folder: &Path, clock: Arc<dyn Clock>, views: Vec<Arc<dyn View>>) -> Options {
    Options {
        service: "accounts",
        store: Store::sqlite(folder.join("accounts.db")),
        migrations: MIGRATIONS,
        views,
        clock,
        entropy: Arc::new(SeededEntropy::new(7)),
    }
}

/// A log without views.
pub async fn plain(folder: &Path) -> EventLog {
    EventLog::open(options(folder, clock(), Vec::new())).await.unwrap()
}

/// The positions of one kind of event; the others are no concern of it.
pub struct Withdrawals;

impl View for Withdrawals {
    fn name(&self) -> &'static str {
        "withdrawals"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("withdrawals")]
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        event.kind == "Withdrawn"
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events.iter().filter(|event| self.wants(event)) {
                sql("INSERT INTO withdrawals VALUES ($1)").bind(event.position).execute(&mut *tx).await?;
            }
            Ok(())
        })
    }
}

/// The positions of withdrawals, as the view has them.
pub async fn withdrawals(log: &EventLog) -> Vec<i64> {
    sql("SELECT position FROM withdrawals ORDER BY position").fetch_all(log.reader()).await.unwrap()
}

/// A log with the view.
pub async fn viewed(folder: &Path) -> EventLog {
    EventLog::open(options(folder, clock(), vec![Arc::new(Balances)])).await.unwrap()
}

pub fn context(id: u128) -> Context {
    Context::new(Uuid::from_u128(id), "tester", "request")
}

pub async fn balances(log: &EventLog) -> Vec<(String, i64)> {
    sql("SELECT stream, balance FROM balances ORDER BY stream").fetch_all(log.reader()).await.unwrap()
}

pub async fn everything(log: &EventLog) -> Vec<RecordedEvent> {
    let mut events: Vec<RecordedEvent> = Vec::new();
    loop {
        let page = log.read(events.last().map_or(0, |event| event.position), 7).await.unwrap();
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}
