//! A trial as it stands.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tuning::bayes::Explained;
use tuning::{Decision, Draw};
use vocabulary::RunId;

use super::TrialState;
use super::events::{Basis, TrialEnded, TrialLeased, TrialPaused, TrialPromoted, TrialProposed, TrialStateChanged};
use super::inheritance::AdoptedTrial;
use super::lease::Lease;
use super::point::Point;
use super::trial_end::{AttemptEnd, StopBy, TrialEnd};

/// That a trial has to end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finishing {
    /// What it has come to.
    pub by: StopBy,
    /// How long its command may run, attempts before the current one included, in microseconds.
    pub limit_us: i64,
    /// The same of one attempt: a new one may have to begin anew.
    pub(super) attempt_us: i64,
}

/// One attempt to run a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Where it ran; empty while it waits.
    pub node: String,
    /// When it came to a node.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How.
    pub end: Option<AttemptEnd>,
}

impl Attempt {
    /// Of an external trial: it begins when it is asked for.
    fn held(number: u32, lease: &Lease, at: Timestamp) -> Self {
        Self { number, node: lease.worker.clone(), started_at: Some(at), ended_at: None, end: None }
    }
}

/// How many points are NaN or infinite.
pub(super) fn non_finite(points: &[Point]) -> u32 {
    u32::try_from(points.iter().filter(|point| !point.value.is_finite()).count()).unwrap_or(u32::MAX)
}

/// Where a trial failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// prepare | run | finalize.
    pub phase: String,
    /// The last line that it wrote to stderr.
    pub error: String,
}

/// That a trial is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Who or what wants it.
    pub by: StopBy,
    /// The version of the event that says so.
    pub version: i64,
}

/// A trial as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its run.
    pub run_id: RunId,
    /// The version of the event that proposed it.
    pub version: i64,
    /// Its active parameters.
    pub draws: Vec<Draw>,
    /// What they were proposed from.
    pub basis: Basis,
    /// What the model said about them.
    pub explained: Option<Explained>,
    /// Where it is in its life.
    pub state: TrialState,
    /// Oldest first; the last one is the current one. Empty until its run has moved.
    pub attempts: Vec<Attempt>,
    /// How often it lost its node.
    pub preemptions: u32,
    /// The same, since it last got somewhere.
    pub preemptions_in_a_row: u32,
    /// That it is to end.
    pub stop: Option<Stop>,
    /// That it is judged no more and has to end by itself.
    pub finishing: Option<Finishing>,
    /// Why it waits at a rung, if it does.
    pub paused: Option<Decision>,
    /// How it ended.
    pub end: Option<TrialEnd>,
    /// Its latest counted report, finite or not.
    pub last_value: Option<f64>,
    /// How many of the reports that count were NaN or infinite.
    pub non_finite: u32,
    /// Outputs that the document names and that it did not leave.
    pub missing_outputs: Vec<String>,
    /// It has reported the watched metric, be it NaN.
    pub reported: bool,
    /// The last finite value of each watched metric, in the order of `SweepSpec::watched`; empty before the first one
    /// and where one objective is all that is watched.
    pub values: Vec<Option<f64>>,
    /// Who holds it, when it is external and has not ended.
    pub lease: Option<Lease>,
    /// When it was proposed.
    pub proposed_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Time for which its command has run before `running_since`, in microseconds.
    ran_us: i64,
    /// Since when its command runs.
    running_since: Option<Timestamp>,
}

impl Trial {
    pub(super) fn new(event: &TrialProposed, version: i64) -> Self {
        let lease = event.external.as_ref().map(|external| external.lease.clone());
        let state = if lease.is_some() { TrialState::Running } else { TrialState::Proposed };
        let attempts = lease.iter().map(|lease| Attempt::held(1, lease, event.at)).collect();
        Self {
            run_id: event.run_id,
            version,
            draws: event.draws.clone(),
            basis: event.basis.clone(),
            explained: event.explained.clone(),
            state,
            attempts,
            preemptions: 0,
            preemptions_in_a_row: 0,
            stop: None,
            finishing: None,
            paused: None,
            end: None,
            last_value: None,
            non_finite: 0,
            missing_outputs: Vec::new(),
            reported: false,
            values: Vec::new(),
            running_since: lease.is_some().then_some(event.at),
            lease,
            proposed_at: event.at,
            ended_at: None,
            ran_us: 0,
        }
    }

    /// A trial that had ended elsewhere.
    pub(super) fn adopted(adopted: &AdoptedTrial, version: i64, at: Timestamp) -> Self {
        Self {
            run_id: adopted.run_id,
            version,
            draws: adopted.draws.clone(),
            basis: Basis { imported: true, ..Basis::default() },
            explained: None,
            state: adopted.end.state(),
            attempts: Vec::new(),
            preemptions: 0,
            preemptions_in_a_row: 0,
            stop: None,
            finishing: None,
            paused: None,
            end: Some(adopted.end.clone()),
            last_value: adopted.points.last().map(|point| point.value),
            non_finite: non_finite(&adopted.points),
            missing_outputs: Vec::new(),
            reported: !adopted.points.is_empty(),
            values: adopted.values.clone(),
            lease: None,
            proposed_at: at,
            ended_at: Some(at),
            ran_us: 0,
            running_since: None,
        }
    }

    /// The number of the current attempt; 1 before the run has moved.
    pub fn attempt(&self) -> u32 {
        self.attempts.last().map_or(1, |attempt| attempt.number)
    }

    /// For how long its command has run over all attempts, in microseconds.
    pub fn running_us(&self, now: Timestamp) -> i64 {
        let current = self.running_since.map_or(0, |since| now.as_microsecond() - since.as_microsecond());
        self.ran_us.saturating_add(current.max(0))
    }

    /// When its command will have run for `limit_us`, if it goes on; `None` while it does not run.
    pub fn runs_out_at_us(&self, limit_us: i64) -> Option<i64> {
        let since = self.running_since?.as_microsecond();
        Some(since.saturating_add(limit_us.saturating_sub(self.ran_us)))
    }

    /// How its last attempt ended, if that one has.
    pub fn last_end(&self) -> Option<&AttemptEnd> {
        self.attempts.last()?.end.as_ref()
    }

    /// Why what belongs to its best value was not kept, in words; empty where it was, or nobody wished for it.
    pub fn unkept(&self) -> &str {
        self.last_end().map_or("", |end| end.unkept.as_str())
    }

    /// Where and with what last words it failed, if it did.
    pub fn failure(&self) -> Option<Failure> {
        let Some(TrialEnd::Failed { phase, .. }) = &self.end else { return None };
        let tail = self.last_end().map_or("", |end| end.stderr_tail.as_str());
        Some(Failure { phase: phase.clone(), error: last_words(phase, tail).to_owned() })
    }

    /// Whether it began where another trial of the sweep was. It may then have nothing left to do or to report.
    pub fn follows(&self) -> bool {
        self.basis.exploit.is_some()
    }

    pub(super) fn move_on(&mut self, event: &TrialStateChanged) {
        self.count_time(event.state.runs(), event.at);
        self.state = event.state;
        let current = self.attempts.last().is_some_and(|attempt| attempt.number >= event.attempt);
        if !current {
            if let Some(before) = self.attempts.last_mut() {
                before.ended_at.get_or_insert(event.at);
            }
            let (number, node) = (event.attempt, String::new());
            self.attempts.push(Attempt { number, node, started_at: None, ended_at: None, end: None });
            self.finish_later(event.at);
        }
        let Some(attempt) = self.attempts.last_mut() else { return };
        if !event.node.is_empty() {
            attempt.node.clone_from(&event.node);
        }
        if matches!(event.state, TrialState::Starting | TrialState::Preparing | TrialState::Running) {
            attempt.started_at.get_or_insert(event.at);
        }
        if event.end.is_some() {
            attempt.end.clone_from(&event.end);
            attempt.ended_at = Some(event.at);
        }
        if event.state == TrialState::Preempted {
            self.preemptions = self.preemptions.saturating_add(1);
            self.preemptions_in_a_row = self.preemptions_in_a_row.saturating_add(1);
        }
    }

    pub(super) fn pause(&mut self, event: &TrialPaused) {
        self.count_time(false, event.at);
        self.state = TrialState::Paused;
        self.paused = Some(event.decision.clone());
        self.lease = None;
    }

    /// It is queued again, as a new attempt.
    pub(super) fn promote(&mut self, event: &TrialPromoted) {
        self.paused = None;
        self.state = TrialState::Queued;
        if let Some(before) = self.attempts.last_mut() {
            before.ended_at.get_or_insert(event.at);
        }
        let (number, node) = (event.attempt, String::new());
        self.attempts.push(Attempt { number, node, started_at: None, ended_at: None, end: None });
    }

    /// Somebody else holds it from here on; whoever did has fallen silent.
    pub(super) fn lease_again(&mut self, event: &TrialLeased) {
        self.state = TrialState::Running;
        // The attempt of a promoted trial is there already.
        if self.attempt() == event.attempt {
            self.attempts.pop();
            self.count_time(true, event.at);
        } else if let Some(before) = self.attempts.last_mut() {
            before.ended_at = Some(event.at);
            before.end = Some(AttemptEnd { outcome: "lost".to_owned(), ..AttemptEnd::default() });
        }
        self.finish_later(event.at);
        self.attempts.push(Attempt::held(event.attempt, &event.lease, event.at));
        self.lease = Some(event.lease.clone());
    }

    pub(super) fn finish(&mut self, event: &TrialEnded) {
        self.count_time(false, event.at);
        self.state = event.end.state();
        self.end = Some(event.end.clone());
        self.ended_at = Some(event.at);
        self.missing_outputs.clone_from(&event.missing_outputs);
        self.lease = None;
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.ended_at = Some(event.at);
            attempt.end = Some(event.attempt_end.clone());
        }
    }

    fn count_time(&mut self, runs: bool, at: Timestamp) {
        self.ran_us = self.running_us(at);
        self.running_since = runs.then_some(at);
    }
}

/// The line of the standard error that says why. What could not be installed is said by pip above lines of ours.
fn last_words<'a>(phase: &str, tail: &'a str) -> &'a str {
    let lines = || tail.lines().map(str::trim).filter(|line| !line.is_empty());
    let installer = lines().rfind(|line| phase == "prepare" && line.starts_with("ERROR:"));
    installer.or_else(|| lines().next_back()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::last_words;

    #[test]
    fn a_failed_preparation_says_what_could_not_be_installed() {
        let tail = "ERROR: Could not find a version that satisfies the requirement nosuch (from versions: none)\n\
            ERROR: No matching distribution found for nosuch\n\n\
            trialog: the Python environment cannot be made (exit code 1); nothing of it is kept, its log says why\n";
        assert_eq!(last_words("prepare", tail), "ERROR: No matching distribution found for nosuch");
        assert_eq!(last_words("run", "ERROR: a log line\nValueError: no\n\n"), "ValueError: no");
        assert_eq!(last_words("prepare", "no such file\n"), "no such file");
    }
}
