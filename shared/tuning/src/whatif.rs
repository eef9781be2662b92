//! Another policy on recorded curves: who would have been stopped when, what that would have saved, and whether the
//! winner would have survived.
//!
//! A curve says nothing beyond its recorded end. A trial that was cut there (stopped, canceled, lost) and that the
//! other policy would have let go on is `unknown`: what is saved and the regret are bounds then. No trial and no value
//! is made up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use crate::curve::End;
use crate::judge::Verdict;
use crate::policy::{Goal, PolicySpec};
use crate::trials::{Report, Trials};

/// What was recorded of a trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordedTrial {
    /// What it is called in the answer.
    pub id: String,
    /// One value a report, in order of arrival; one that is not finite has no value.
    pub values: Vec<f64>,
    /// Where each report came in the recorded order of all; empty: in the order in which the trials are given.
    pub positions: Vec<u64>,
    /// Seconds for which the trial had run at each report; empty when that is not known.
    pub seconds: Vec<f64>,
    /// Whether its last value is its end. If not, it was cut there and might have gone on.
    pub completed: bool,
}

/// In which order the reports come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// As they were recorded.
    Recorded,
    /// Each of so many workers reports once a unit of time, in worker order; a freed worker starts the next trial.
    Workers {
        /// How many.
        workers: u32,
        /// The replay ends after so many reports.
        max_reports: u64,
    },
}

/// What becomes of a trial in a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It ran to its recorded end, which was its own.
    Completed,
    /// The policy stopped it.
    Stopped,
    /// The replay ended before it did.
    CutOff,
    /// It was still to go on at its recorded end.
    Unknown,
}

/// A trial in a replay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplayedTrial {
    /// Which.
    pub id: String,
    /// How many of its reports were used.
    pub last_step: u32,
    /// What became of it.
    pub outcome: Fate,
}

/// The best trial of a replay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplayedBest {
    /// Which.
    pub trial: String,
    /// Its best value.
    pub value: f64,
}

/// A replay of one policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// Reports up to its end.
    pub reports_used: u64,
    /// The best trial, by the values that were used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<ReplayedBest>,
    /// Reports used and the best value then, at each improvement.
    pub trace: Vec<(u64, f64)>,
    /// The trials that reported, in the order given.
    pub trials: Vec<ReplayedTrial>,
}

/// What is lost and won by a policy on recorded curves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhatIf {
    /// The policy.
    pub policy: PolicySpec,
    /// The replay.
    #[serde(flatten)]
    pub replay: Replay,
    /// Reports that were recorded in all.
    pub reports_recorded: u64,
    /// Recorded reports that would not have been needed.
    pub reports_saved: u64,
    /// .. less what the unknown trials could at most have reported beyond their recorded ends.
    pub reports_saved_at_least: i64,
    /// Seconds of running that would not have been needed; absent when they were not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_seconds_saved: Option<f64>,
    /// Trials that would have been stopped.
    pub stopped: u32,
    /// Trials whose future is not recorded.
    pub unknown: u32,
    /// Whether the best recorded value would have been reached.
    pub winner_survives: bool,
    /// The best recorded value less what would have been reached, as a loss. An unknown trial could only have made it
    /// smaller, so it is the most that the policy can have cost against the recorded values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regret_at_most: Option<f64>,
    /// Nothing saves more reports at no more regret, among the policies asked about.
    pub is_pareto: bool,
}

/// One report after the other, the policy asked after each.
struct Run<'a> {
    recorded: &'a [RecordedTrial],
    trials: Trials,
    goal: Goal,
    steps: Vec<usize>,
    fates: Vec<Option<Fate>>,
    replay: Replay,
}

impl<'a> Run<'a> {
    fn new(policy: &PolicySpec, goal: Goal, recorded: &'a [RecordedTrial]) -> Self {
        Self {
            recorded,
            trials: Trials::new(policy.clone(), goal),
            goal,
            steps: vec![0; recorded.len()],
            fates: vec![None; recorded.len()],
            replay: Replay::default(),
        }
    }

    /// The trial's next report. Whether the trial has ended with it.
    fn report(&mut self, place: usize) -> bool {
        let recorded = &self.recorded[place];
        let Some(&value) = recorded.values.get(self.steps[place]) else { return true };
        let (step, trial) = (self.steps[place], u32::try_from(place).unwrap_or(u32::MAX));
        self.steps[place] += 1;
        self.replay.reports_used += 1;
        let used = self.replay.reports_used;
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        self.trials.report(&Report { trial, attempt: 1, step, value, position: used });
        if value.is_finite() && self.replay.best.as_ref().is_none_or(|best| self.goal.worse(best.value, value)) {
            self.replay.best = Some(ReplayedBest { trial: recorded.id.clone(), value });
            self.replay.trace.push((used, value));
        }
        let last = self.steps[place] == recorded.values.len();
        if last && recorded.completed {
            self.trials.end(trial, End::Completed);
            self.fates[place] = Some(Fate::Completed);
            return true;
        }
        if let Verdict::Stop(decision) = self.trials.judge(trial) {
            self.trials.stop(trial, decision.hint.is_some());
            self.fates[place] = Some(Fate::Stopped);
            return true;
        }
        if last {
            // Cut here, as it was recorded: what it has goes on to count.
            self.trials.end(trial, End::Canceled);
            self.fates[place] = Some(Fate::Unknown);
        }
        last
    }

    fn in_recorded_order(&mut self) {
        let mut order: Vec<(u64, usize)> = Vec::new();
        for (place, trial) in self.recorded.iter().enumerate() {
            let at = |report: usize| trial.positions.get(report).copied().unwrap_or(place as u64);
            order.extend((0..trial.values.len()).map(|report| (at(report), place)));
        }
        // Stable, so that reports of one position stay in their order.
        order.sort_by_key(|(position, _)| *position);
        for (_, place) in order {
            if self.fates[place].is_none() {
                self.report(place);
            }
        }
    }

    fn with_workers(&mut self, workers: u32, max_reports: u64) {
        let mut waiting = 0..self.recorded.len();
        let mut queue = BinaryHeap::new();
        for worker in 0..workers {
            queue.extend(waiting.next().map(|place| Reverse((1_u64, worker, place))));
        }
        while self.replay.reports_used < max_reports {
            let Some(Reverse((now, worker, place))) = queue.pop() else { break };
            let next = if self.report(place) { waiting.next() } else { Some(place) };
            queue.extend(next.map(|place| Reverse((now + 1, worker, place))));
        }
    }

    fn finish(mut self) -> Replay {
        for (place, trial) in self.recorded.iter().enumerate().filter(|(place, _)| self.steps[*place] > 0) {
            self.replay.trials.push(ReplayedTrial {
                id: trial.id.clone(),
                last_step: u32::try_from(self.steps[place]).unwrap_or(u32::MAX),
                outcome: self.fates[place].unwrap_or(Fate::CutOff),
            });
        }
        self.replay
    }
}

/// Replays one policy.
pub fn replay(policy: &PolicySpec, goal: Goal, recorded: &[RecordedTrial], clock: Clock) -> Replay {
    let mut run = Run::new(policy, goal, recorded);
    match clock {
        Clock::Recorded => run.in_recorded_order(),
        Clock::Workers { workers, max_reports } => run.with_workers(workers, max_reports),
    }
    run.finish()
}

/// Replays several policies and compares them.
pub fn what_if(policies: &[PolicySpec], goal: Goal, recorded: &[RecordedTrial], clock: Clock) -> Vec<WhatIf> {
    let mut answers: Vec<WhatIf> =
        policies.iter().map(|policy| compare(policy, goal, recorded, replay(policy, goal, recorded, clock))).collect();
    // What saves more first, at the same less regret first: then a policy is on the front iff nothing before it has as
    // little regret, unless it is as good in both.
    let key = |answer: &WhatIf| (answer.reports_saved, answer.regret_at_most.unwrap_or(f64::INFINITY));
    let keys: Vec<(u64, f64)> = answers.iter().map(key).collect();
    for (answer, (saved, regret)) in answers.iter_mut().zip(&keys) {
        let beaten = |(other_saved, other_regret): &(u64, f64)| {
            other_saved >= saved && other_regret <= regret && (other_saved > saved || other_regret < regret)
        };
        answer.is_pareto = !keys.iter().any(beaten);
    }
    answers
}

fn compare(policy: &PolicySpec, goal: Goal, recorded: &[RecordedTrial], replay: Replay) -> WhatIf {
    let reports_recorded: u64 = recorded.iter().map(|trial| trial.values.len() as u64).sum();
    let longest = recorded.iter().map(|trial| trial.values.len()).max().unwrap_or(0);
    let longest = policy.max_resource().map_or(longest, |max| longest.max(max as usize));
    let by_id: std::collections::BTreeMap<&str, &RecordedTrial> =
        recorded.iter().map(|trial| (trial.id.as_str(), trial)).collect();
    let (mut stopped, mut unknown, mut beyond) = (0, 0, 0_usize);
    let known_seconds = recorded.iter().all(|trial| trial.seconds.len() == trial.values.len());
    let total = |trial: &RecordedTrial| trial.seconds.last().copied().unwrap_or(0.0);
    let mut seconds_used = 0.0;
    for trial in &replay.trials {
        stopped += u32::from(trial.outcome == Fate::Stopped);
        if let Some(recorded) = by_id.get(trial.id.as_str()) {
            let step = (trial.last_step as usize).checked_sub(1);
            seconds_used += step.and_then(|step| recorded.seconds.get(step)).copied().unwrap_or(0.0);
            if trial.outcome == Fate::Unknown {
                unknown += 1;
                beyond += longest - recorded.values.len().min(longest);
            }
        }
    }
    let values = recorded.iter().flat_map(|trial| trial.values.iter().copied()).filter(|value| value.is_finite());
    let top = values.reduce(|best, value| if goal.worse(best, value) { value } else { best });
    let reached = replay.best.as_ref().map(|best| best.value);
    let regret = top.zip(reached).map(|(top, reached)| (top - reached).abs());
    let reports_saved = reports_recorded.saturating_sub(replay.reports_used);
    WhatIf {
        policy: policy.clone(),
        reports_recorded,
        reports_saved,
        reports_saved_at_least: i64::try_from(reports_saved).unwrap_or(i64::MAX) - i64::try_from(beyond).unwrap_or(0),
        node_seconds_saved: known_seconds.then(|| recorded.iter().map(total).sum::<f64>() - seconds_used),
        stopped,
        unknown,
        winner_survives: top.is_some() && top == reached,
        regret_at_most: regret,
        is_pareto: false,
        replay,
    }
}
