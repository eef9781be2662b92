//! What follows from a command is decided on the state that has it, in the same append, and never again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trialog_eventlog::{Error, EventLog, ExecuteError, Recorded};
use vocabulary::{Decider, SETTLE_ROUNDS_MAX, stored_events};

use crate::account::{Home, context};
use crate::on_every_store;

on_every_store! {
    consequences_without_end_fail_their_command_alone,
    ;
    what_follows_is_in_the_same_append_and_not_decided_on_a_replay,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    pub left: usize,
}

stored_events! {
    /// What happens to a countdown.
    pub enum CountdownEvent { Counted: 1 }
}

/// Counts down to nothing, one round each; 13 breaks it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Countdown {
    pub counts: Vec<usize>,
}

impl Decider for Countdown {
    type Command = usize;
    type Event = CountdownEvent;
    type Rejection = ();

    fn decide(&self, from: &usize) -> Result<Vec<CountdownEvent>, ()> {
        Ok(vec![Counted { left: *from }.into()])
    }

    fn evolve(&mut self, event: &CountdownEvent) {
        let CountdownEvent::Counted(counted) = event;
        self.counts.push(counted.left);
    }

    fn settle(&self, from: &usize, events: &[CountdownEvent]) -> Vec<CountdownEvent> {
        assert_ne!(*from, 13, "it breaks");
        let last = self.counts.last().copied().unwrap_or_default();
        assert_eq!(events.last(), Some(&Counted { left: last }.into()), "the state has all events so far");
        assert_eq!(events.len(), from + 1 - last);
        if last == 0 { Vec::new() } else { vec![Counted { left: last - 1 }.into()] }
    }
}

async fn counts(log: &EventLog, stream: &str) -> (Vec<usize>, i64) {
    log.inspect::<Countdown, _>(stream, |state, version| (state.counts.clone(), version)).await.unwrap()
}

async fn what_follows_is_in_the_same_append_and_not_decided_on_a_replay(home: Home) {
    let log = home.plain().await;
    let committed = log.execute::<Countdown>("a", 3, context(1)).await.unwrap();
    assert_eq!((committed.events, committed.version, committed.position), (4, 4, 4));
    let reply_of = |state: &Countdown, events: &[CountdownEvent]| vec![state.counts.len() as u8, events.len() as u8];
    let answered = log.execute_answering::<Countdown>("b", 2, context(2), reply_of).await.unwrap();
    assert_eq!((answered.events, answered.reply), (3, vec![3, 3]), "the answer sees all of it");
    let from = Arc::new(1);
    let recorded = log.record::<Countdown, _>("c", Some(Arc::clone(&from)), context(3), move |state, _| {
        let events = state.decide(&from).unwrap();
        Box::pin(async move { Ok(Recorded { events, reply: Vec::new() }) })
    });
    let recorded = recorded.await.unwrap();
    assert_eq!((recorded.events, recorded.version), (2, 2));
    log.close().await;
    let again = home.plain().await;
    assert_eq!(counts(&again, "a").await, (vec![3, 2, 1, 0], 4));
    assert_eq!(counts(&again, "b").await, (vec![2, 1, 0], 3));
    assert_eq!(counts(&again, "c").await, (vec![1, 0], 2));
}

async fn consequences_without_end_fail_their_command_alone(home: Home) {
    let log = home.plain().await;
    log.execute::<Countdown>("a", SETTLE_ROUNDS_MAX, context(1)).await.unwrap();
    let all = counts(&log, "a").await;
    let endless = log.execute::<Countdown>("a", SETTLE_ROUNDS_MAX + 1, context(2));
    let broken = log.execute::<Countdown>("a", 13, context(3));
    let (endless, broken, good) = tokio::join!(endless, broken, log.execute::<Countdown>("b", 1, context(4)));
    assert!(matches!(endless, Err(ExecuteError::Storage(Error::Unsettled(_)))), "{endless:?}");
    assert!(matches!(broken, Err(ExecuteError::Storage(Error::Panicked(_)))), "{broken:?}");
    assert_eq!(good.unwrap().events, 2);
    assert_eq!(counts(&log, "a").await, all, "nothing of it is left in memory");
    assert_eq!(log.read_stream("a", 0, 100).await.unwrap().len(), SETTLE_ROUNDS_MAX + 1, "nor in the log");
}
