//! Trials that are judged no more: they have come as far as their policy lets any trial come, or have reached the
//! target. Such a trial writes its model now, and ends by itself.

use jiff::Timestamp;
use tuning::{PolicySpec, Report, Verdict};

use super::events::{SweepCompleting, SweepEvent, TrialFinishing};
use super::held::TrialReleased;
use super::state::{Submitted, Sweep};
use super::status::{CompletedReason, Outcome};
use super::trial::{Finishing, Trial};
use super::trial_end::{StopBy, TrialEnd};

/// Microseconds of a second.
const US: f64 = 1e6;

impl Trial {
    pub(super) fn finish_soon(&mut self, event: &TrialFinishing) {
        let limit_us = self.running_us(event.at).saturating_add((event.seconds * US) as i64);
        self.finishing = Some(Finishing { by: event.by, limit_us, attempt_us: limit_us });
    }

    /// Time that a node took away is not the trial's.
    pub(super) fn finish_later(&mut self, at: Timestamp) {
        let ran_us = self.running_us(at);
        if let Some(finishing) = self.finishing.as_mut() {
            finishing.limit_us = ran_us.saturating_add(finishing.attempt_us);
        }
    }

    /// Whether it has reached the target: whatever it reports on its way to the end, it is judged no more.
    pub fn has_reached_target(&self) -> bool {
        self.finishing.is_some_and(|finishing| finishing.by == StopBy::TargetReached)
    }

    /// When it will have run for too long since it had to end, in microseconds since 1970.
    fn unfinished_at_us(&self) -> Option<i64> {
        self.runs_out_at_us(self.finishing.filter(|_| self.stop.is_none())?.limit_us)
    }
}

/// As what a trial ends that had to end by itself and was ended.
pub(super) fn end_of_finished(trial: &Trial, no_objective: bool) -> TrialEnd {
    let target_reached = trial.has_reached_target();
    TrialEnd::Completed { no_objective, max_resource: !target_reached, target_reached }
}

/// Where a report puts a trial under a policy that lets no trial go further than so many intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It goes on.
    Below,
    /// It has come to the last one.
    Last,
    /// It should have ended.
    Beyond,
}

impl Reach {
    pub(super) fn of(policy: &PolicySpec, verdict: &Verdict) -> Self {
        let (Some(max), Verdict::Skip { interval: Some(interval), .. }) = (policy.max_resource(), verdict) else {
            return Self::Below;
        };
        match interval.cmp(&max) {
            std::cmp::Ordering::Less => Self::Below,
            std::cmp::Ordering::Equal => Self::Last,
            std::cmp::Ordering::Greater => Self::Beyond,
        }
    }
}

impl Sweep {
    /// Whether a report comes after the last one that a trial may give.
    pub(super) fn is_beyond(&self, submitted: &Submitted, report: &Report) -> bool {
        let policy = &submitted.spec.policy;
        policy.max_resource().is_some() && Reach::of(policy, &self.curves.preview(report)) == Reach::Beyond
    }

    pub(super) fn finishing(submitted: &Submitted, trial: u32, by: StopBy, at: Timestamp) -> SweepEvent {
        let (workspace, seconds) = (submitted.workspace.clone(), submitted.spec.policy.finish_seconds());
        TrialFinishing { workspace, trial, by, seconds, at }.into()
    }

    /// What follows when a trial has reached the target: it ends by itself, and the sweep with it; the others end now.
    pub(super) fn found_by(&self, submitted: &Submitted, trial: u32, at: Timestamp) -> Vec<SweepEvent> {
        let outcome = Outcome::Completed { reason: CompletedReason::TargetReached };
        let workspace = submitted.workspace.clone();
        let mut events: Vec<SweepEvent> = vec![SweepCompleting { workspace, outcome, at }.into()];
        events.push(Self::finishing(submitted, trial, StopBy::TargetReached, at));
        // A sweep that ends is resumed by nobody.
        if let Some(held) = self.trials.get(trial as usize).filter(|_| self.held.contains(&trial)) {
            let (workspace, run_id) = (submitted.workspace.clone(), held.run_id);
            events.push(TrialReleased { workspace, trial, run_id, at }.into());
        }
        let others = self.live.iter().chain(&self.paused).copied().filter(|other| *other != trial);
        events.extend(self.end_early(others.collect(), StopBy::TargetReached, at));
        events
    }

    pub(super) fn take_finishing(&mut self, event: &TrialFinishing) {
        if let Some(trial) = self.trials.get_mut(event.trial as usize) {
            trial.finish_soon(event);
            self.finishing.insert(event.trial);
        }
    }

    /// When the first of the trials that had to end by themselves has taken too long, in microseconds since 1970.
    pub(super) fn next_unfinished_us(&self) -> Option<i64> {
        self.finishing.iter().filter_map(|index| self.trials.get(*index as usize)?.unfinished_at_us()).min()
    }

    /// Ends those that have taken too long.
    pub(super) fn end_unfinished(&self, at: Timestamp) -> Vec<SweepEvent> {
        let Some(submitted) = &self.submitted else { return Vec::new() };
        let due = |trial: &Trial| trial.unfinished_at_us().is_some_and(|due| due <= at.as_microsecond());
        let late: Vec<u32> =
            self.finishing.iter().copied().filter(|index| self.trials.get(*index as usize).is_some_and(due)).collect();
        if !submitted.spec.is_external() {
            return self.stops(late.into_iter(), StopBy::MaxResource, at);
        }
        let ended = late.into_iter().filter_map(|index| {
            let end = end_of_finished(self.trials.get(index as usize)?, self.curves.standing(index).is_none());
            Some(self.withdrawn(submitted, vec![index], &end, at))
        });
        ended.flatten().collect()
    }
}
