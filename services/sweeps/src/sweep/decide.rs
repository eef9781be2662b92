//! The aggregate as a decider. The rules are in `propose`, `observe`, `end`, `life` and their neighbours; what follows
//! from an outcome is in `settle`.

use vocabulary::Decider;

use super::command::Command;
use super::events::SweepEvent;
use super::rejection::{Decided, Rejection};
use super::snapshot;
use super::state::{Submitted, Sweep};
use super::trial::Trial;

impl Decider for Sweep {
    type Command = Command;
    type Event = SweepEvent;
    type Rejection = Rejection;
    const SNAPSHOT: Option<i16> = Some(snapshot::SCHEMA);

    fn snapshot(&self) -> Option<Vec<u8>> {
        snapshot::write(self)
    }

    fn restore(bytes: &[u8]) -> Option<Self> {
        snapshot::read(bytes)
    }

    fn decide(&self, command: &Command) -> Decided {
        match command {
            Command::Submit(event) => match self.submitted {
                None => Ok(vec![SweepEvent::SweepSubmitted((**event).clone())]),
                Some(_) => Err(Rejection::Exists),
            },
            Command::SubmitWithHistory { submitted, history } => self.submit_with_history(submitted, history),
            Command::Import { submitted, trials } => self.import(submitted, trials),
            Command::Propose { from, trials, at } => self.propose(*from, trials, *at),
            Command::Exhaust { from, at } => self.exhaust(*from, *at),
            Command::Promote { at } => self.promote(*at),
            Command::Observe(observation) => self.observe(observation),
            Command::Move(run) => self.follow(run),
            Command::End(run) => self.end(run),
            Command::NoteMetric { trial, name, at } => self.note_metric(*trial, name, *at),
            Command::NoteFault { code, message, at } => self.note_fault(code, message, *at),
            Command::CheckDeadlines { at } => self.check_deadlines(*at),
            Command::Pause { mode, at } => self.pause(*mode, *at),
            Command::Resume { at } => self.resume(*at),
            Command::Cancel { by, at } => self.cancel(by, *at),
            Command::Change { changes, at } => self.change_to(changes, *at),
            Command::NoteFit { previous, fit, at } => self.note_fit(*previous, fit, *at),
            Command::Ask(ask) => self.ask(ask),
            Command::Tell(tell) => self.tell(tell),
            Command::Heartbeat(heartbeat) => self.heartbeat(heartbeat),
            Command::Extend { max_total_trials, timeout_seconds, at } => {
                self.extend(*max_total_trials, *timeout_seconds, *at)
            }
        }
    }

    fn evolve(&mut self, event: &SweepEvent) {
        self.take(event);
    }

    fn settle(&self, command: &Command, events: &[SweepEvent]) -> Vec<SweepEvent> {
        self.consequences(command, events)
    }
}

impl Sweep {
    /// What was submitted, if anything was.
    pub(super) fn known(&self) -> Result<&Submitted, Rejection> {
        self.submitted.as_ref().ok_or(Rejection::Absent)
    }

    /// A trial by its index.
    pub(super) fn trial(&self, index: u32) -> Result<&Trial, Rejection> {
        self.known()?;
        self.trials.get(index as usize).ok_or(Rejection::NoSuchTrial(index))
    }
}
