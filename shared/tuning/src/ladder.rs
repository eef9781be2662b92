//! The intervals at which rung policies judge, and which trials go up which ladder.

use std::collections::BTreeSet;

use crate::policy::PolicySpec;

/// One series of rungs. Successive halving and the learning-curve rule have one, Hyperband has several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bracket {
    /// Intervals, ascending, all below the policy's maximum.
    pub rungs: Vec<u32>,
    /// Its share of the trials, relative to the others'.
    weight: u128,
    /// The number that Hyperband gives it: how many halvings it begins with.
    pub number: u32,
}

/// The brackets of a policy and the trials in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ladder {
    pub brackets: Vec<Bracket>,
    /// Trials assigned so far, by bracket.
    assigned: Vec<u128>,
    /// The place in `brackets` of each trial.
    of_trial: Vec<u8>,
}

impl Ladder {
    /// The ladder of a policy; without brackets for a policy that has no rungs.
    pub(crate) fn of(policy: &PolicySpec) -> Self {
        let brackets = match *policy {
            PolicySpec::Asha { reduction_factor, min_resource, max_resource, .. } => {
                vec![Bracket { rungs: powers(min_resource, reduction_factor, max_resource), weight: 1, number: 0 }]
            }
            PolicySpec::Hyperband { reduction_factor, min_resource, max_resource, .. } => {
                hyperband(reduction_factor, min_resource, max_resource)
            }
            PolicySpec::LearningCurve { min_resource, max_resource, .. } => {
                vec![Bracket { rungs: widening(min_resource, max_resource), weight: 1, number: 0 }]
            }
            PolicySpec::None
            | PolicySpec::Bandit { .. }
            | PolicySpec::MedianStopping { .. }
            | PolicySpec::TruncationSelection { .. }
            | PolicySpec::Pbt { .. } => Vec::new(),
        };
        Self { assigned: vec![0; brackets.len()], of_trial: Vec::new(), brackets }
    }

    /// The bracket of a trial, by its place in `brackets`.
    pub(crate) fn bracket_of(&self, trial: u32) -> Option<usize> {
        if self.brackets.len() < 2 {
            return (!self.brackets.is_empty()).then_some(0);
        }
        if let Some(bracket) = self.of_trial.get(trial as usize) {
            return Some(usize::from(*bracket));
        }
        let mut ahead = self.clone();
        ahead.assign(trial);
        ahead.of_trial.last().map(|bracket| usize::from(*bracket))
    }

    /// Assigns the trials up to this one, in order of their index: the next goes to the bracket with the least
    /// (assigned + 1) / weight, and of equals to the larger.
    pub(crate) fn assign(&mut self, trial: u32) {
        if self.brackets.len() < 2 {
            return;
        }
        while self.of_trial.len() <= trial as usize {
            let mut next = 0;
            for place in 1..self.brackets.len() {
                let (a, b) = (&self.brackets[next], &self.brackets[place]);
                // a/b < c/d without a division; brackets are in descending order of their number.
                if (self.assigned[place] + 1) * a.weight < (self.assigned[next] + 1) * b.weight {
                    next = place;
                }
            }
            self.assigned[next] += 1;
            self.of_trial.push(u8::try_from(next).unwrap_or(u8::MAX));
        }
    }

    /// The number of the rung at an interval of a bracket, from 0.
    pub(crate) fn rung_at(&self, bracket: usize, interval: u32) -> Option<usize> {
        self.brackets.get(bracket)?.rungs.binary_search(&interval).ok()
    }
}

/// The intervals at which a policy with rungs decides, over all of its brackets.
pub fn rung_intervals(policy: &PolicySpec) -> Vec<u32> {
    let all: BTreeSet<u32> =
        Ladder::of(policy).brackets.iter().flat_map(|bracket| bracket.rungs.iter().copied()).collect();
    all.into_iter().collect()
}

/// first, first * factor, first * factor^2, .. below `end`.
fn powers(first: u32, factor: u32, end: u32) -> Vec<u32> {
    let next = |rung: &u32| rung.checked_mul(factor.max(2));
    std::iter::successors(Some(first.max(1)), next).take_while(|rung| *rung < end).collect()
}

/// 1, 4, 12, 32, 80, .. times `first`, below `end`: the k-th is k 2^(k - 1), so that the step from one to the next
/// shrinks from 4 to 2.
fn widening(first: u32, end: u32) -> Vec<u32> {
    let rung = |k: u32| (k.checked_mul(1_u32.checked_shl(k - 1)?)?).checked_mul(first.max(1));
    (1..=32).map_while(rung).take_while(|rung| *rung < end).collect()
}

fn hyperband(factor: u32, min: u32, max: u32) -> Vec<Bracket> {
    let (factor, min) = (factor.max(2), min.max(1));
    let firsts: Vec<u32> = {
        let next = |rung: &u32| rung.checked_mul(factor);
        std::iter::successors(Some(min), next).take_while(|rung| *rung <= max).collect()
    };
    let count = u32::try_from(firsts.len()).unwrap_or(u32::MAX);
    let mut brackets = Vec::with_capacity(firsts.len());
    for (begun, first) in (0..).zip(firsts) {
        let number = count - 1 - begun;
        let halvings = u128::from(factor).pow(number);
        let weight = (u128::from(count) * halvings).div_ceil(u128::from(number) + 1);
        brackets.push(Bracket { rungs: powers(first, factor, max), weight, number });
    }
    brackets
}

#[cfg(test)]
mod tests {
    use super::{Ladder, powers, widening};
    use crate::policy::PolicySpec;

    fn hyperband(min_resource: u32, max_resource: u32) -> Ladder {
        Ladder::of(&PolicySpec::Hyperband { reduction_factor: 3, min_resource, max_resource, finish_seconds: 600.0 })
    }

    #[test]
    fn rungs_end_below_the_maximum() {
        assert_eq!(powers(1, 4, 52), [1, 4, 16]);
        assert_eq!(powers(1, 4, 64), [1, 4, 16]);
        assert_eq!(powers(3, 3, 28), [3, 9, 27]);
        assert_eq!(powers(1, 2, u32::MAX).len(), 32);
        assert_eq!(widening(1, 52), [1, 4, 12, 32]);
        assert_eq!(widening(2, 25), [2, 8, 24]);
        assert_eq!(widening(1, u32::MAX).last(), Some(&(28 << 27)));
    }

    #[test]
    fn hyperband_is_that_of_its_paper() {
        // Li et al. with R = 81 and eta = 3: 81, 34, 15, 8, 5 trials begin with 1, 3, 9, 27, 81 intervals.
        let ladder = hyperband(1, 81);
        let weights: Vec<u128> = ladder.brackets.iter().map(|bracket| bracket.weight).collect();
        assert_eq!(weights, [81, 34, 15, 8, 5]);
        let rungs: Vec<&[u32]> = ladder.brackets.iter().map(|bracket| bracket.rungs.as_slice()).collect();
        assert_eq!(rungs, [&[1, 3, 9, 27][..], &[3, 9, 27], &[9, 27], &[27], &[]]);
    }

    #[test]
    fn shares_are_exact_after_each_round_and_the_bracket_is_a_function_of_the_index() {
        let mut ladder = hyperband(1, 81);
        let ahead: Vec<Option<usize>> = (0..286).map(|trial| ladder.bracket_of(trial)).collect();
        for round in 1..=2_u128 {
            ladder.assign(u32::try_from(143 * round).unwrap() - 1);
            assert_eq!(ladder.assigned, [81, 34, 15, 8, 5].map(|share| share * round));
        }
        assert_eq!(ahead, (0..286).map(|trial| ladder.bracket_of(trial)).collect::<Vec<_>>());
        // Least (assigned + 1) / weight: 1/81, 2/81, then 1/34 before 3/81.
        assert_eq!(&ahead[..4], [Some(0), Some(0), Some(1), Some(0)]);
    }
}
