//! The log as a few plain collections: what it should answer, decided one command after another.

use std::collections::{BTreeMap, HashMap};

use trialog_eventlog::{Committed, Error, ExecuteError, RecordedEvent};
use vocabulary::Decider;

use crate::account::{Account, AccountEvent, Ask, TooLittle};

/// A command of a random history.
#[derive(Clone, Debug)]
pub struct Wish {
    pub stream: u8,
    pub id: u8,
    pub hash: Option<u8>,
    pub expected: Option<i64>,
    pub ask: Ask,
    pub reply: Vec<u8>,
    /// Whether it goes through `record` and leaves a note.
    pub noted: bool,
}

impl Wish {
    pub fn stream_name(&self) -> String {
        format!("account-{}", self.stream)
    }
}

/// What a wish should be answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    Committed(Committed),
    Rejected(TooLittle),
    WrongVersion {
        expected: i64,
        actual: i64,
    },
    KeyReuse,
    /// By the view, or a panic in it or in the decider.
    Failed,
}

/// How the log's answer looks in the model.
pub fn seen(answer: Result<Committed, ExecuteError<TooLittle>>) -> Expected {
    match answer {
        Ok(committed) => Expected::Committed(committed),
        Err(ExecuteError::Rejected(rejection)) => Expected::Rejected(rejection),
        Err(ExecuteError::WrongVersion { expected, actual }) => Expected::WrongVersion { expected, actual },
        Err(ExecuteError::KeyReuse) => Expected::KeyReuse,
        Err(ExecuteError::Storage(Error::View { .. } | Error::Panicked(_))) => Expected::Failed,
        Err(other) => panic!("the log failed: {other}"),
    }
}

/// A stored event as the model has it: stream, version, event, and the wish's id.
type Stored = (String, i64, AccountEvent, u8);

#[derive(Default)]
pub struct Model {
    pub events: Vec<Stored>,
    pub accounts: BTreeMap<String, (Account, i64)>,
    pub notes: i64,
    pub cursor: i64,
    commands: HashMap<u8, (String, Option<u8>, Committed)>,
}

impl Model {
    /// Whether a view with the table of balances would refuse this event.
    fn refused_by_view(event: &AccountEvent) -> bool {
        matches!(event, AccountEvent::Deposited(event)
            if [crate::account::REFUSED_BY_THE_TABLE, crate::account::PANICS_IN_THE_VIEW].contains(&event.amount))
    }

    pub fn take(&mut self, wish: &Wish, viewed: bool) -> Expected {
        let stream = wish.stream_name();
        if let Some((known_stream, hash, committed)) = self.commands.get(&wish.id) {
            if (known_stream, *hash) != (&stream, wish.hash) {
                return Expected::KeyReuse;
            }
            let first = committed.clone();
            return Expected::Committed(Committed { repeated: true, ..first });
        }
        let (mut account, version) = self.accounts.get(&stream).cloned().unwrap_or_default();
        if let Some(expected) = wish.expected.filter(|&expected| expected != version) {
            return Expected::WrongVersion { expected, actual: version };
        }
        if matches!(wish.ask, Ask::Panic) {
            return Expected::Failed;
        }
        let events = match account.decide(&wish.ask) {
            Ok(events) => events,
            Err(rejection) => return Expected::Rejected(rejection),
        };
        if viewed && events.iter().any(Self::refused_by_view) {
            return Expected::Failed;
        }
        self.notes += i64::from(wish.noted);
        for (index, event) in events.iter().enumerate() {
            account.evolve(event);
            self.events.push((stream.clone(), version + 1 + index as i64, event.clone(), wish.id));
        }
        let committed = Committed {
            position: self.events.len() as i64,
            version: version + events.len() as i64,
            events: events.len(),
            repeated: false,
            reply: wish.reply.clone(),
        };
        if !events.is_empty() {
            self.accounts.insert(stream.clone(), (account, committed.version));
        }
        if !events.is_empty() || !wish.reply.is_empty() || wish.hash.is_some() || wish.noted {
            self.commands.insert(wish.id, (stream, wish.hash, committed.clone()));
        }
        Expected::Committed(committed)
    }
}

/// L2, L3, L4, L13: what must hold in every log, whatever was asked of it.
pub fn assert_well_formed(events: &[RecordedEvent]) {
    let mut versions: HashMap<&str, i64> = HashMap::new();
    let mut ids = std::collections::HashSet::new();
    let mut ended = std::collections::HashSet::new();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.position, index as i64 + 1, "L2: positions are dense");
        let version = versions.entry(&event.stream).or_default();
        *version += 1;
        assert_eq!(event.version, *version, "L3: versions are dense per stream");
        assert!(ids.insert(event.event_id), "event ids are unique");
        if let Some(before) = index.checked_sub(1).map(|before| &events[before]) {
            assert!(event.recorded_at_us >= before.recorded_at_us, "L13: recorded_at never decreases");
            if before.command_id != event.command_id {
                assert!(ended.insert(before.command_id), "L4: an append is contiguous");
                assert!(!ended.contains(&event.command_id), "L4: an append is contiguous");
            } else {
                assert_eq!(before.stream, event.stream, "L4: an append is of one stream");
            }
        }
    }
}
