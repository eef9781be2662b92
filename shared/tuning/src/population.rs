//! Population-based training (Jaderberg et al. 2017, asynchronous): who is left behind, and whom a new trial follows.
//!
//! A trial has one configuration. So a member that falls behind is not changed, as in the paper, but stopped, and a
//! child takes its place: it begins with a copy of a donor's checkpoint, and with the donor's parameters, explored
//! ([`crate::explore`]).
//!
//! Members are compared by their latest value at their last perturbation point, not by their best: what a donor hands
//! on is what its weights can do now. A value that is not finite there is behind every other one.

use std::cmp::Ordering;

use crate::curve::Curve;
use crate::judge::{Candidate, Decision, Input, count_of};
use crate::policy::PolicySpec;
use crate::ranked::{Ranked, ahead};
use crate::trials::Trials;

/// What a decision says about a trial whose value is not finite.
const HINT_NOT_FINITE: &str = "its value at this point is not finite, which is behind every other; shown is its best";

/// A member of the population as it stood at its last perturbation point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member {
    /// The trial.
    pub trial: u32,
    /// The interval of its last perturbation point.
    pub interval: u32,
    /// Its value there; may be not finite.
    pub value: f64,
    /// Where that value is in the log.
    pub position: u64,
}

impl Member {
    fn input(&self) -> Input {
        Input { trial: self.trial, position: self.position, value: self.value + 0.0 }
    }
}

/// How many members the policy needs before it stops one: as many as make a quantile of one.
pub fn population_min(quantile: f64) -> u32 {
    (1.0 / quantile).ceil() as u32
}

/// How many of the members are behind, and how many are ahead.
fn quantile_of(members: usize, quantile: f64) -> usize {
    ((members as f64 * quantile) as usize).max(1)
}

impl Trials {
    /// The members of the population, best first: trials that live and have come to a perturbation point. Empty for
    /// another policy.
    pub fn members(&self) -> Vec<Member> {
        let PolicySpec::Pbt { perturbation_interval, .. } = self.policy else { return Vec::new() };
        let living = (0_u32..).zip(&self.curves).filter(|(_, curve)| !curve.is_finished());
        let mut members: Vec<Member> =
            living.filter_map(|(trial, curve)| member(trial, curve, perturbation_interval)).collect();
        members.sort_by(|a, b| self.before(a, b));
        members
    }

    /// Those of them that a child may follow: the first quantile, as far as their values are finite.
    pub fn donors(&self) -> Vec<Member> {
        let PolicySpec::Pbt { quantile, .. } = self.policy else { return Vec::new() };
        let mut members = self.members();
        members.truncate(quantile_of(members.len(), quantile));
        members.retain(|member| member.value.is_finite());
        members
    }

    /// Which of two members is ahead; of equal ones the older.
    fn before(&self, a: &Member, b: &Member) -> Ordering {
        let finite = b.value.is_finite().cmp(&a.value.is_finite());
        let ranked = |member: &Member| {
            let value = if member.value.is_finite() { member.value + 0.0 } else { 0.0 };
            Ranked { value, trial: member.trial }
        };
        finite.then_with(|| ahead(self.goal, &ranked(a), &ranked(b)))
    }
}

/// A trial as a member; `None` before its first perturbation point.
fn member(trial: u32, curve: &Curve, every: u32) -> Option<Member> {
    let interval = curve.interval() / every.max(1) * every.max(1);
    let point = curve.points.get((interval as usize).checked_sub(1)?)?;
    Some(Member { trial, interval, value: point.value, position: point.position })
}

impl Candidate<'_> {
    /// Stop iff the trial is in the last quantile of a population that is large enough, somebody can be followed, and
    /// no trial at all has a better best.
    pub(crate) fn population(&self, quantile: f64, every: u32) -> (bool, Decision) {
        let (trials, position) = (self.trials, self.own.running.last_position);
        let own = Member { trial: self.own.trial, interval: self.interval, value: self.last, position };
        let others = (0_u32..).zip(&trials.curves);
        let living = others.filter(|(trial, curve)| *trial != own.trial && !curve.is_finished());
        let mut members: Vec<Member> = living.filter_map(|(trial, curve)| member(trial, curve, every)).collect();
        let rank = members.iter().filter(|other| trials.before(other, &own) == Ordering::Less).count();
        members.sort_by(|a, b| trials.before(a, b));
        members.insert(rank, own);
        let (count, cut) = (members.len(), quantile_of(members.len(), quantile));
        let survivors = count.saturating_sub(cut);
        let enough = count_of(count) >= population_min(quantile);
        let survivor = survivors.checked_sub(1).and_then(|last| members.get(last)).filter(|_| enough);
        let survivor = survivor.filter(|member| member.value.is_finite());
        let threshold = survivor.map(|member| member.value + 0.0);
        let best = members.first().filter(|best| best.value.is_finite());
        let behind_best = survivor.filter(|survivor| best.is_none_or(|best| best.trial != survivor.trial));
        let inputs = best.into_iter().chain(behind_best).map(Member::input).collect();
        let mut decision = self.decision(threshold, count_of(count), inputs);
        decision.best = best.map(|best| best.value + 0.0);
        decision.rank = Some(count_of(rank));
        decision.cut = Some(if enough { count_of(cut) } else { 0 });
        if own.value.is_finite() {
            decision.value = own.value + 0.0;
        } else {
            decision.hint = Some(HINT_NOT_FINITE.to_owned());
        }
        let followed = best.is_some_and(|best| best.trial != own.trial);
        let is_behind = enough && rank >= survivors;
        (is_behind && followed && !self.leads(), decision)
    }

    /// Whether no other trial, whatever became of it, has a better best.
    fn leads(&self) -> bool {
        let (goal, own) = (self.trials.goal, self.own.trial);
        let others = (0_u32..).zip(&self.trials.curves).filter(|(trial, _)| *trial != own);
        let mut bests = others.filter_map(|(_, curve)| curve.running(u32::MAX).best(goal));
        !bests.any(|best| goal.worse(self.value, best))
    }
}
