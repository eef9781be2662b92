//! What may be asked of a run. To add a command: a variant here, its events in events.rs, one file in api/ or
//! reactions/.

use std::collections::BTreeMap;

use vocabulary::Decider;
use vocabulary::job::{JobEnd, Outcome, StopBy};

use super::RunState;
use super::events::{RunCreated, RunEnded, RunEvent, RunRelabelled, RunReleased, RunStopRequested, RunUpdated};
use super::job::{self, JobNews};
use super::rejection::Rejection;
use super::state::Run;

/// What users may change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// A new name.
    pub name: Option<String>,
    /// Parameters to add.
    pub params: BTreeMap<String, String>,
    /// Tags to add or replace.
    pub tags: BTreeMap<String, String>,
    /// Tags to take away.
    pub remove_tags: Vec<String>,
    /// Terminal: ends a run without a job.
    pub state: Option<RunState>,
}

/// A wish.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant says what it is; the fields are those of the events")]
pub enum Command {
    /// The run must exist. The same id for the same trial again is nothing new.
    Create(Box<RunCreated>),
    /// A user changes it.
    Update { workspace: String, run: String, update: Update, at_us: i64 },
    /// A user wants its end.
    Cancel { workspace: String, run: String, at_us: i64 },
    /// Its sweep wants its end.
    Stop { decision: String, by: StopBy, at_us: i64 },
    /// Its sweep lets it go on from where it waits.
    Release { at_us: i64 },
    /// Its sweep has ended the trial: the end of a run without a job.
    EndTrial { state: RunState, decision: String, reason: String, at_us: i64 },
    /// Compute has news of its job.
    Job(JobNews),
}

/// The events that a command leads to.
fn decide(run: &Run, command: &Command) -> Result<Vec<RunEvent>, Rejection> {
    match command {
        Command::Create(created) => create(run, created),
        Command::Update { workspace, run: name, update, at_us } => {
            run.in_workspace(workspace, name)?;
            change(run, update, *at_us)
        }
        Command::Cancel { workspace, run: name, at_us } => {
            run.in_workspace(workspace, name)?;
            Ok(stop(run, "", StopBy::User, *at_us))
        }
        Command::Stop { decision, by, at_us } => {
            there(run)?;
            Ok(stop(run, decision, *by, *at_us))
        }
        Command::Release { at_us } => {
            there(run)?;
            let is_held = run.ended().is_none() && run.stop.as_ref().is_some_and(|stop| stop.by.holds());
            Ok(is_held
                .then(|| RunReleased { subject: run.subject.clone(), at_us: *at_us }.into())
                .into_iter()
                .collect())
        }
        Command::EndTrial { state, decision, reason, at_us } => {
            there(run)?;
            if run.has_job() || run.ended().is_some() {
                return Ok(Vec::new());
            }
            let end = JobEnd { decision: decision.clone(), reason: reason.clone(), ..end_of(*state) };
            Ok(vec![end_now(run, *state, end, true, *at_us)])
        }
        Command::Job(news) => {
            there(run)?;
            Ok(job::decide(run, news))
        }
    }
}

impl Decider for Run {
    type Command = Command;
    type Event = RunEvent;
    type Rejection = Rejection;

    fn decide(&self, command: &Command) -> Result<Vec<RunEvent>, Rejection> {
        decide(self, command)
    }

    fn evolve(&mut self, event: &RunEvent) {
        self.take(event);
    }
}

fn there(run: &Run) -> Result<(), Rejection> {
    if run.state.is_some() {
        return Ok(());
    }
    Err(Rejection::NotFound { run: "this run".to_owned(), workspace: run.subject.workspace.clone() })
}

fn create(run: &Run, created: &RunCreated) -> Result<Vec<RunEvent>, Rejection> {
    match run.state {
        None => Ok(vec![created.clone().into()]),
        // A second proposal of the same trial, e.g. read again from a restored feed.
        Some(_) if run.subject == created.subject && !run.subject.sweep_id.is_empty() => Ok(Vec::new()),
        Some(_) => Err(Rejection::Exists { run: created.run_id.to_string() }),
    }
}

fn change(run: &Run, update: &Update, at_us: i64) -> Result<Vec<RunEvent>, Rejection> {
    let mut events = Vec::new();
    let shown = &run.details;
    let mut params = update.params.clone();
    for (name, value) in &update.params {
        match shown.params.get(name) {
            Some(recorded) if recorded == value => {
                params.remove(name);
            }
            Some(recorded) => {
                return Err(Rejection::ImmutableParam { name: name.clone(), recorded: recorded.clone() });
            }
            None => {}
        }
    }
    let is_new = |(key, value): &(&String, &String)| shown.tags.get(*key) != Some(value);
    let tags: BTreeMap<_, _> =
        update.tags.iter().filter(is_new).map(|(key, value)| (key.clone(), value.clone())).collect();
    let is_there = |key: &&String| shown.tags.contains_key(*key) && !update.tags.contains_key(*key);
    let remove_tags: Vec<_> = update.remove_tags.iter().filter(is_there).cloned().collect();
    let name = update.name.clone().filter(|name| *name != shown.name);
    let updated = RunUpdated { name, params, tags, remove_tags };
    fits(run, &updated)?;
    if updated != (RunUpdated { name: None, params: BTreeMap::new(), tags: BTreeMap::new(), remove_tags: Vec::new() }) {
        events.push(updated.into());
    }
    if let Some(state) = update.state {
        match run.ended() {
            Some(ended) if ended == state => {}
            _ if run.has_job() => return Err(Rejection::HasJob),
            Some(ended) => return Err(Rejection::Terminal { state: ended }),
            None => events.push(end_now(run, state, end_of(state), false, at_us)),
        }
    }
    Ok(events)
}

/// Refuses what would make a run too large to be shown, however little each update adds.
fn fits(run: &Run, updated: &RunUpdated) -> Result<(), Rejection> {
    if updated.params.is_empty() && updated.tags.is_empty() {
        return Ok(());
    }
    let mut after = run.clone();
    after.take(&updated.clone().into());
    for (field, added, texts) in
        [("params", &updated.params, &after.details.params), ("tags", &updated.tags, &after.details.tags)]
    {
        if let Some(surplus) = documents::texts::surplus(texts).filter(|_| !added.is_empty()) {
            return Err(Rejection::TooManyTexts { field, surplus });
        }
    }
    Ok(())
}

fn stop(run: &Run, decision: &str, by: StopBy, at_us: i64) -> Vec<RunEvent> {
    let subject = run.subject.clone();
    let by_policy = by == StopBy::Policy;
    match run.ended() {
        Some(RunState::Completed | RunState::Failed) if by_policy => {
            vec![RunRelabelled { subject, state: RunState::EarlyStopped, decision: decision.to_owned() }.into()]
        }
        Some(_) => Vec::new(),
        // A wish that it ends goes before the wish that it waits.
        None if run.stop.as_ref().is_some_and(|stop| !stop.by.holds() || by.holds()) => Vec::new(),
        None if run.has_job() => {
            vec![RunStopRequested { subject, decision: decision.to_owned(), by, at_us }.into()]
        }
        // Whoever evaluates it without a job asks for it again when it is promoted.
        None if by.holds() => Vec::new(),
        None => {
            let state = if by_policy { RunState::EarlyStopped } else { RunState::Canceled };
            let end = JobEnd { by: Some(by), decision: decision.to_owned(), ..end_of(state) };
            // Its user is the only one to end it without its sweep.
            vec![end_now(run, state, end, by != StopBy::User, at_us)]
        }
    }
}

fn end_of(state: RunState) -> JobEnd {
    JobEnd::new(match state {
        RunState::Completed => Outcome::Completed,
        RunState::Failed => Outcome::Failed,
        _ => Outcome::Canceled,
    })
}

fn end_now(run: &Run, state: RunState, end: JobEnd, with_trial: bool, at_us: i64) -> RunEvent {
    RunEnded {
        subject: run.subject.clone(),
        attempt: run.attempt,
        state,
        end,
        metric_names: run.metric_names(),
        outputs: run.outputs.iter().cloned().collect(),
        with_trial,
        at_us,
    }
    .into()
}
