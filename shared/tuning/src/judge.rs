//! The verdict of a policy about the trial that has just reported.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::curve::{Curve, Latest, Running};
use crate::policy::{Goal, PolicySpec, Variant};
use crate::trials::{Report, Trials};

/// What a bandit with a factor says when the best is zero.
const HINT_ZERO_BEST: &str = "the best value is 0, so a factor leaves no slack; use slack_amount";

/// Why a policy was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The clock is not at a multiple of the evaluation interval, or before the delay; or there is no policy.
    NotDue,
    /// The trial has no finite value yet.
    NoValue,
    /// The trial is being stopped, or is paused; its report comes late.
    Stopping,
    /// The interval was decided before a new attempt set the clock back.
    AlreadyDecided,
}

/// A trial that made the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// The trial.
    pub trial: u32,
    /// The log position of its value: of its best, or of the last report in its mean.
    pub position: u64,
    /// What it contributed: its best, or its mean (median stopping).
    pub value: f64,
}

/// A decision with everything that it followed from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The policy's name.
    pub policy: String,
    /// The trial's clock.
    pub interval: u32,
    /// The trial's best value; in a population its latest.
    pub value: f64,
    /// What the value was compared with; absent when a truncation cuts nobody. May be an infinity, which stops nobody.
    #[serde(with = "vocabulary::number::option", default)]
    pub threshold: Option<f64>,
    /// How many trials were compared.
    pub population: u32,
    /// Bandit, population: the best value of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<f64>,
    /// Truncation, population: how many are cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<u32>,
    /// The trial's place: truncation from the worst, which is 0; at a rung and in a population from the best, which is
    /// 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// Hyperband: the number of the trial's bracket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bracket: Option<u32>,
    /// The number of the rung, from 0; its interval is `interval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<u32>,
    /// How many of the rung's entries go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<u32>,
    /// Learning curve: the best value that the trial can be hoped to end with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimistic: Option<f64>,
    /// The trials whose values are the threshold: the best one (bandit), the one or two in the middle (median), the
    /// worst survivor (truncation, rungs); in a population the best one and the worst survivor.
    pub inputs: Vec<Input>,
    /// Advice about the policy itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The verdict about one report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The policy was not asked.
    Skip {
        /// Why.
        reason: SkipReason,
        /// The trial's clock; absent for a report that does not count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval: Option<u32>,
    },
    /// The trial goes on.
    Keep(Decision),
    /// The trial is stopped.
    Stop(Decision),
    /// The trial waits at a rung until it is promoted.
    Pause(Decision),
}

/// A trial as a policy sees it at interval n.
pub(crate) struct Seen {
    pub trial: u32,
    pub running: Running,
    /// It has itself come as far as n.
    reached: bool,
    finished: bool,
}

/// The reporting trial, and everybody as seen at its interval.
pub(crate) struct Candidate<'a> {
    pub trials: &'a Trials,
    pub own: Seen,
    pub interval: u32,
    pub value: f64,
    /// The trial's latest value; may be not finite.
    pub last: f64,
    /// The trial through half and through a quarter of its intervals.
    pub earlier: [Running; 2],
}

/// Through half and through a quarter of n intervals; at least through one.
fn earlier(curve: &Curve, n: u32) -> [Running; 2] {
    [curve.running((n / 2).max(1)), curve.running((n / 4).max(1))]
}

impl Trials {
    /// The verdict about the latest counted report of a trial. The same until the trial reports again, except that it
    /// sees what others have reported, and what has ended, since.
    pub fn judge(&self, trial: u32) -> Verdict {
        let Some(curve) = self.curve(trial) else {
            return Verdict::Skip { reason: SkipReason::NotDue, interval: Some(0) };
        };
        if curve.stopping || curve.paused.is_some() {
            return Verdict::Skip { reason: SkipReason::Stopping, interval: None };
        }
        let interval = curve.interval();
        let own = Seen { trial, running: curve.running(interval), reached: true, finished: curve.is_finished() };
        let last = curve.points.last().map_or(f64::NAN, |point| point.value);
        self.verdict(curve.latest, own, interval, earlier(curve, interval), last)
    }

    /// The verdict that [`Trials::judge`] would give once the report is counted. Changes nothing.
    /// A report of a stale attempt, which [`Trials::report`] refuses, reads as one that comes after a stop.
    pub fn preview(&self, report: &Report) -> Verdict {
        let empty = Curve::default();
        let curve = self.curve(report.trial).unwrap_or(&empty);
        if curve.stopping || curve.paused.is_some() || report.attempt < curve.attempt {
            return Verdict::Skip { reason: SkipReason::Stopping, interval: None };
        }
        let (goal, finished) = (self.goal, curve.is_finished());
        let (interval, running, latest, earlier) = if curve.supersedes(report) {
            let mut curve = curve.clone();
            curve.push(report, goal);
            let (interval, running) = (curve.interval(), curve.running(u32::MAX));
            let latest = self.ask(report.trial, &curve, interval, running.best(goal).is_some());
            (interval, running, latest, earlier(&curve, interval))
        } else {
            let interval = curve.interval() + 1;
            let running = curve.running(u32::MAX).with(report.value, report.position, goal);
            let latest = self.ask(report.trial, curve, interval, running.best(goal).is_some());
            (interval, running, latest, earlier(curve, interval))
        };
        let own = Seen { trial: report.trial, running, reached: true, finished };
        self.verdict(latest, own, interval, earlier, report.value)
    }

    fn verdict(&self, latest: Latest, own: Seen, interval: u32, earlier: [Running; 2], last: f64) -> Verdict {
        let skip = |reason| Verdict::Skip { reason, interval: Some(interval) };
        let value = own.running.best(self.goal);
        match (latest, value) {
            (Latest::NotDue, _) => skip(SkipReason::NotDue),
            (Latest::AlreadyDecided, _) => skip(SkipReason::AlreadyDecided),
            (Latest::NoValue, _) | (Latest::Asked, None) => skip(SkipReason::NoValue),
            (Latest::Asked, Some(value)) => {
                let candidate = Candidate { trials: self, own, interval, value, last, earlier };
                let decided = match self.policy {
                    PolicySpec::None => return skip(SkipReason::NotDue),
                    PolicySpec::Bandit { slack_factor, slack_amount, .. } => {
                        candidate.bandit(slack_factor, slack_amount)
                    }
                    PolicySpec::MedianStopping { .. } => candidate.median_stopping(),
                    PolicySpec::TruncationSelection { truncation_percentage, exclude_finished_jobs, .. } => {
                        candidate.truncation(truncation_percentage, exclude_finished_jobs)
                    }
                    PolicySpec::Asha { variant: Variant::Promotion, .. } => {
                        return Verdict::Pause(candidate.halving().1);
                    }
                    PolicySpec::Asha { .. } | PolicySpec::Hyperband { .. } => candidate.halving(),
                    PolicySpec::LearningCurve { max_resource, hope, .. } => {
                        candidate.learning_curve(max_resource, hope)
                    }
                    PolicySpec::Pbt { quantile, perturbation_interval, .. } => {
                        candidate.population(quantile, perturbation_interval)
                    }
                };
                if decided.0 { Verdict::Stop(decided.1) } else { Verdict::Keep(decided.1) }
            }
        }
    }
}

impl Candidate<'_> {
    pub(crate) fn goal(&self) -> Goal {
        self.trials.goal
    }

    /// Everybody in order of the index, through their first n intervals; the reporting trial as it is with its report.
    fn everybody(&self) -> impl Iterator<Item = Seen> {
        let (own, interval) = (&self.own, self.interval);
        let recorded = (0_u32..).zip(&self.trials.curves).filter(move |(trial, _)| *trial != own.trial);
        let others = recorded.map(move |(trial, curve)| Seen {
            trial,
            running: curve.running(interval),
            reached: curve.interval() >= interval,
            finished: curve.is_finished(),
        });
        others.chain(std::iter::once(Seen { ..*own }))
    }

    pub(crate) fn decision(&self, threshold: Option<f64>, population: u32, inputs: Vec<Input>) -> Decision {
        Decision {
            policy: self.trials.policy.kind().to_owned(),
            interval: self.interval,
            value: self.value,
            threshold,
            population,
            inputs,
            ..Decision::default()
        }
    }

    /// Stop iff the trial's best is strictly beyond the slack of the best of all.
    fn bandit(&self, factor: Option<f64>, amount: Option<f64>) -> (bool, Decision) {
        let goal = self.goal();
        let mut population = 0;
        let mut leader: Option<Input> = None;
        for seen in self.everybody() {
            let Some((value, position)) = seen.running.best_at(goal) else { continue };
            population += 1;
            let ahead = leader.is_none_or(|leader| {
                goal.worse(leader.value, value) || (leader.value == value && seen.trial < leader.trial)
            });
            if ahead {
                leader = Some(Input { trial: seen.trial, position, value });
            }
        }
        let best = leader.map_or(self.value, |leader| leader.value);
        let threshold = match (amount, factor, goal) {
            (Some(amount), _, Goal::Maximize) => best - amount,
            (Some(amount), _, Goal::Minimize) => best + amount,
            (None, Some(factor), Goal::Minimize) => best + best.abs() * factor,
            // The published quotient; below zero the same margin on the other side.
            (None, Some(factor), Goal::Maximize) if best >= 0.0 => best / (1.0 + factor),
            (None, Some(factor), Goal::Maximize) => best - (best.abs() * factor) / (1.0 + factor),
            (None, None, _) => best,
        };
        let mut decision = self.decision(Some(threshold), population, leader.into_iter().collect());
        decision.best = Some(best);
        decision.hint = (best == 0.0 && amount.is_none() && !self.trials.hinted).then(|| HINT_ZERO_BEST.to_owned());
        // Neither slack is refused by the check; should it come here all the same, nobody is stopped.
        let slack_given = amount.is_some() || factor.is_some();
        (slack_given && goal.worse(self.value, threshold), decision)
    }

    /// Stop iff the trial's best is strictly worse than the median of the means of those that reached n or have ended.
    fn median_stopping(&self) -> (bool, Decision) {
        let counted = self.everybody().filter(|seen| seen.reached || seen.finished);
        let mut means: Vec<Input> = counted
            .filter_map(|seen| {
                let value = seen.running.mean()?;
                Some(Input { trial: seen.trial, position: seen.running.last_position, value })
            })
            .collect();
        let order = |a: &Input, b: &Input| a.value.total_cmp(&b.value).then(a.trial.cmp(&b.trial));
        let (count, half) = (means.len(), means.len() / 2);
        let (below, middle, _) = means.select_nth_unstable_by(half, order);
        let upper = *middle;
        let lower = below.iter().copied().max_by(order).filter(|_| count % 2 == 0);
        let threshold = lower.map_or(upper.value, |lower| middle_of(lower.value, upper.value));
        let inputs = lower.into_iter().chain([upper]).collect();
        let decision = self.decision(Some(threshold), count_of(count), inputs);
        (self.goal().worse(self.value, threshold), decision)
    }

    /// Stop iff the trial is among the lowest p percent of those that reached n, and does not equal the best of them.
    fn truncation(&self, percentage: u8, exclude_finished: bool) -> (bool, Decision) {
        let goal = self.goal();
        let own = self.own.trial;
        let counted =
            self.everybody().filter(|seen| seen.trial == own || (seen.reached && !(exclude_finished && seen.finished)));
        let mut population: Vec<Input> = counted
            .filter_map(|seen| {
                let (value, position) = seen.running.best_at(goal)?;
                Some(Input { trial: seen.trial, position, value })
            })
            .collect();
        let worst_first = |a: &Input, b: &Input| {
            let by_value = match goal {
                Goal::Maximize => a.value.total_cmp(&b.value),
                Goal::Minimize => b.value.total_cmp(&a.value),
            };
            by_value.then(b.trial.cmp(&a.trial))
        };
        let count = population.len();
        let cut = count * usize::from(percentage) / 100;
        let this = Input { trial: own, position: 0, value: self.value };
        let rank = population.iter().filter(|other| worst_first(other, &this) == Ordering::Less).count();
        let leads = !population.iter().any(|other| goal.worse(self.value, other.value));
        let survivor = (0 < cut && cut < count).then(|| *population.select_nth_unstable_by(cut, worst_first).1);
        let mut decision =
            self.decision(survivor.map(|survivor| survivor.value), count_of(count), survivor.into_iter().collect());
        decision.cut = Some(count_of(cut));
        decision.rank = Some(count_of(rank));
        (rank < cut && !leads, decision)
    }
}

/// Half the sum, or the sum of the halves when that overflows.
fn middle_of(a: f64, b: f64) -> f64 {
    let sum = a + b;
    if sum.is_finite() { sum / 2.0 } else { a / 2.0 + b / 2.0 }
}

pub(crate) fn count_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
