//! The recorded curves of a sweep: what a policy may know, kept so that a report and its verdict are cheap.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::curve::{Curve, End, Latest, Running};
use crate::ladder::Ladder;
use crate::policy::{Goal, PolicySpec};
use crate::ranked::Ranking;

/// Most trials of one sweep; a report with a higher index is refused, so that no index can make the table grow further.
pub const TRIALS_MAX: u32 = 2_000_000;

/// One accepted report of the primary metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The trial's index, in order of proposal.
    pub trial: u32,
    /// The attempt that reports, from 1.
    pub attempt: u32,
    /// The name of the point.
    pub step: i64,
    /// The value; one that is not finite moves the clock and has no value.
    #[serde(with = "vocabulary::number")]
    pub value: f64,
    /// Where the report is in the log.
    pub position: u64,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// It is an interval of the trial.
    Counted {
        /// The trial's clock with this report.
        interval: u32,
        /// How many points of earlier attempts it took out of the count.
        superseded: u32,
    },
    /// The trial is being stopped, or is paused at a rung: the report is stored as such and counts for nothing.
    AfterStop,
    /// An older attempt than the one that reports now.
    StaleAttempt,
    /// The trial's index is beyond [`TRIALS_MAX`].
    UnknownTrial,
}

/// A trial's result: its best value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The trial.
    pub trial: u32,
    /// Its best counted value.
    pub value: f64,
    /// Where that value was first reported.
    pub position: u64,
}

/// All trials of a sweep, as the policy and the ranking see them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "crate::snapshot::StoredTrials", into = "crate::snapshot::StoredTrials")]
pub struct Trials {
    pub(crate) policy: PolicySpec,
    pub(crate) goal: Goal,
    /// Shared, so that a copy to look ahead with copies only the curves that it changes.
    pub(crate) curves: Vec<Arc<Curve>>,
    pub(crate) leader: Option<Standing>,
    /// A decision with the hint about a best of zero was recorded.
    pub(crate) hinted: bool,
    /// Of a policy with rungs: where they are, and which trials are in which bracket.
    pub(crate) ladder: Ladder,
    /// The table of each rung, by bracket. It follows from the curves and is kept up to date with them.
    pub(crate) rungs: Vec<Vec<Ranking>>,
    /// Of promotion: the trials that wait at each rung.
    pub(crate) waiting: Vec<Ranking>,
}

impl Trials {
    /// No trials yet.
    pub fn new(policy: PolicySpec, goal: Goal) -> Self {
        let ladder = Ladder::of(&policy);
        let rungs = ladder.brackets.iter().map(|bracket| vec![Ranking::default(); bracket.rungs.len()]).collect();
        let waiting = match ladder.brackets.first() {
            Some(bracket) if policy.promotes() => vec![Ranking::default(); bracket.rungs.len()],
            _ => Vec::new(),
        };
        Self { policy, goal, ladder, rungs, waiting, ..Self::default() }
    }

    /// The policy that judges.
    pub fn policy(&self) -> &PolicySpec {
        &self.policy
    }

    /// Whether larger or smaller is better.
    pub fn goal(&self) -> Goal {
        self.goal
    }

    /// Counts an accepted report. Repeated and conflicting points are the caller's to find, since what makes two
    /// reports the same depends on the door that they came through.
    ///
    /// A report takes the points of earlier attempts with the same or a higher step out of the count. When the policy
    /// is asked at the new interval, the interval is marked as decided: [`Trials::judge`] gives the verdict until the
    /// next report.
    pub fn report(&mut self, report: &Report) -> Reported {
        if report.trial >= TRIALS_MAX {
            return Reported::UnknownTrial;
        }
        let goal = self.goal;
        let place = report.trial as usize;
        self.make_room(place);
        let curve = &self.curves[place];
        if curve.stopping || curve.paused.is_some() {
            return Reported::AfterStop;
        }
        if report.attempt < curve.attempt {
            return Reported::StaleAttempt;
        }
        let entries = self.entries(report.trial, curve);
        let superseded = Arc::make_mut(&mut self.curves[place]).push(report, goal);
        self.update_rungs(report.trial, &entries);
        let curve = &self.curves[place];
        let interval = curve.interval();
        let has_value = curve.running(interval).best(goal).is_some();
        let latest = self.ask(report.trial, curve, interval, has_value);
        let curve = Arc::make_mut(&mut self.curves[place]);
        curve.latest = latest;
        if latest == Latest::Asked {
            curve.mark_decided(interval);
        }
        if superseded == 0 {
            self.lead(report.trial);
        } else {
            self.find_leader();
        }
        Reported::Counted { interval, superseded }
    }

    /// The trial has ended, in whatever way. What it reported goes on to count.
    pub fn end(&mut self, trial: u32, end: End) {
        self.wait_no_more(trial);
        if let Some(curve) = self.curve_mut(trial) {
            curve.ended = Some(end);
        }
    }

    /// A decision to stop the trial is in the log: from here on it counts as finished, and what its job still sends
    /// does not count. `hinted`: whether the decision carried a hint, which is then not given again.
    pub fn stop(&mut self, trial: u32, hinted: bool) {
        self.hinted |= hinted;
        self.wait_no_more(trial);
        if let Some(curve) = self.curve_mut(trial) {
            curve.stopping = true;
        }
    }

    /// The clock of a trial: how many of its reports count.
    pub fn interval(&self, trial: u32) -> u32 {
        self.curve(trial).map_or(0, Curve::interval)
    }

    /// The best value of a trial through its first `interval` intervals; `None` for one that has not come so far, or
    /// has no finite value there.
    pub fn best_through(&self, trial: u32, interval: u32) -> Option<f64> {
        let curve = self.curve(trial).filter(|curve| curve.interval() >= interval)?;
        curve.running(interval).best(self.goal)
    }

    /// Whether the policy has a rung at that interval, in whichever bracket.
    pub fn is_rung(&self, interval: u32) -> bool {
        (0..self.ladder.brackets.len()).any(|bracket| self.ladder.rung_at(bracket, interval).is_some())
    }

    /// Whether a policy has decided to stop the trial.
    pub fn is_stopping(&self, trial: u32) -> bool {
        self.curve(trial).is_some_and(|curve| curve.stopping)
    }

    /// The step of a report that gives none: one more than the last counted one, 0 for the first.
    pub fn next_step(&self, trial: u32) -> i64 {
        let last = self.curve(trial).and_then(|curve| curve.points.last());
        last.map_or(0, |point| point.step.saturating_add(1))
    }

    /// The counted value that a trial's attempt has reported for a step, the latest if there are several.
    pub fn value_at(&self, trial: u32, attempt: u32, step: i64) -> Option<f64> {
        let points = &self.curve(trial)?.points;
        points.iter().rev().find(|point| point.step == step && point.attempt == attempt).map(|point| point.value)
    }

    /// How many reports of all trials count.
    pub fn observations(&self) -> u64 {
        self.curves.iter().map(|curve| curve.points.len() as u64).sum()
    }

    /// The result of one trial; `None` without a finite value.
    pub fn standing(&self, trial: u32) -> Option<Standing> {
        let curve = self.curve(trial)?;
        let (value, position) = curve.running(curve.interval()).best_at(self.goal)?;
        Some(Standing { trial, value, position })
    }

    /// The result that the report's trial would have with the report. Cheap: nothing is changed.
    pub fn standing_after(&self, report: &Report) -> Option<Standing> {
        let goal = self.goal;
        let running = match self.curve(report.trial) {
            Some(curve) if curve.supersedes(report) => {
                let mut curve = curve.clone();
                curve.push(report, goal);
                curve.running(u32::MAX)
            }
            Some(curve) => curve.running(u32::MAX).with(report.value, report.position, goal),
            None => Running::EMPTY.with(report.value, report.position, goal),
        };
        let (value, position) = running.best_at(goal)?;
        Some(Standing { trial: report.trial, value, position })
    }

    /// The trial that leads the ranking, whatever became of it. Ties: the lower index.
    pub fn leader(&self) -> Option<Standing> {
        self.leader
    }

    /// The best trial: the leader, but a failed or canceled one only if none with a value has completed, since its
    /// model is not finished.
    pub fn best(&self) -> Option<Standing> {
        self.best_among(|_| true)
    }

    /// The best of some trials, by the same rule.
    pub fn best_among(&self, counts: impl Fn(u32) -> bool) -> Option<Standing> {
        let standings = || self.standings().filter(|standing| counts(standing.trial));
        let completed = |curve: &Curve| curve.ended == Some(End::Completed);
        let any_completed = standings().any(|standing| self.curve(standing.trial).is_some_and(completed));
        let unfinished = |curve: &Curve| matches!(curve.ended, Some(End::Failed | End::Canceled));
        let counted =
            standings().filter(|standing| !any_completed || !self.curve(standing.trial).is_some_and(unfinished));
        counted.reduce(|best, other| if self.goal.worse(best.value, other.value) { other } else { best })
    }

    /// The results of all trials with a finite value, best first; ties: the lower index first.
    pub fn ranking(&self) -> Vec<Standing> {
        let mut standings: Vec<Standing> = self.standings().collect();
        standings.sort_by(|a, b| {
            let by_value = match self.goal {
                Goal::Maximize => b.value.total_cmp(&a.value),
                Goal::Minimize => a.value.total_cmp(&b.value),
            };
            by_value.then(a.trial.cmp(&b.trial))
        });
        standings
    }

    fn standings(&self) -> impl Iterator<Item = Standing> {
        (0_u32..).take(self.curves.len()).filter_map(|trial| self.standing(trial))
    }

    pub(crate) fn curve(&self, trial: u32) -> Option<&Curve> {
        self.curves.get(trial as usize).map(Arc::as_ref)
    }

    pub(crate) fn curve_mut(&mut self, trial: u32) -> Option<&mut Curve> {
        if trial >= TRIALS_MAX {
            return None;
        }
        self.make_room(trial as usize);
        self.curves.get_mut(trial as usize).map(Arc::make_mut)
    }

    fn make_room(&mut self, place: usize) {
        if self.curves.len() <= place {
            self.curves.resize_with(place + 1, Arc::default);
            self.ladder.assign(u32::try_from(place).unwrap_or(TRIALS_MAX));
        }
    }

    /// Makes the trial the leader if it is ahead now.
    fn lead(&mut self, trial: u32) {
        let Some(standing) = self.standing(trial) else {
            return;
        };
        let ahead = self.leader.is_none_or(|leader| {
            self.goal.worse(leader.value, standing.value) || (leader.value == standing.value && trial < leader.trial)
        });
        if ahead {
            self.leader = Some(standing);
        }
    }

    /// Looks for the leader among all, after points were taken out.
    pub(crate) fn find_leader(&mut self) {
        let goal = self.goal;
        self.leader =
            self.standings().reduce(|best, other| if goal.worse(best.value, other.value) { other } else { best });
    }

    /// Whether the policy is asked about a trial at an interval of its clock.
    pub(crate) fn ask(&self, trial: u32, curve: &Curve, interval: u32, has_value: bool) -> Latest {
        if !self.policy.is_due(interval) && self.rung(trial, interval).is_none() {
            Latest::NotDue
        } else if curve.is_decided(interval) {
            Latest::AlreadyDecided
        } else if !has_value {
            Latest::NoValue
        } else {
            Latest::Asked
        }
    }
}
