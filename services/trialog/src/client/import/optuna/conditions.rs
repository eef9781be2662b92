//! Which parameters belong to values of others: a study does not say it, but its trials show it.
//!
//! A parameter that finished trials lack is put under one that was suggested before it, or under two: all trials that
//! have the parameter have one of the listed values there, and no finished trial without it has.

/// Most parameters that are looked at as one of two parents.
const PAIRED_MAX: usize = 16;

/// What a trial says about conditions.
pub(super) struct Seen {
    /// Whether it came to its end: one that failed may have stopped before it came to the parameter.
    pub finished: bool,
    /// Places and values of its parameters, as they were suggested.
    pub values: Vec<(usize, f64)>,
}

/// Parents by their places, each with the values with which the parameter is there.
pub(super) type When = Vec<(usize, Vec<f64>)>;

/// What the trials show about one parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shown {
    /// Every finished trial has it.
    Always,
    /// It goes with values of others.
    When(When),
    /// So many finished trials lack it, and nothing tells which.
    Unexplained(usize),
}

/// What the trials show about each parameter; `parents` says which of them have values that can be listed.
pub(super) fn infer(parents: &[bool], trials: &[Seen]) -> Vec<Shown> {
    (0..parents.len()).map(|place| of(place, parents, trials)).collect()
}

fn of(child: usize, parents: &[bool], trials: &[Seen]) -> Shown {
    let (with, without): (Vec<&Seen>, Vec<&Seen>) = trials.iter().partition(|trial| trial.value(child).is_some());
    let without: Vec<&Seen> = without.into_iter().filter(|trial| trial.finished).collect();
    if with.is_empty() || without.is_empty() {
        return Shown::Always;
    }
    let places = (0..parents.len()).filter(|place| parents[*place] && *place != child);
    let mut candidates: When = places.filter_map(|place| Some((place, values_with(place, child, &with)?))).collect();
    // The fewer values a parameter takes the less likely it is to tell the trials apart by chance.
    candidates.sort_by_key(|(place, _)| distinct(trials.iter().filter_map(|trial| trial.value(*place))).len());
    let holds = |(place, values): &(usize, Vec<f64>), trial: &Seen| {
        trial.value(*place).is_some_and(|value| values.contains(&value))
    };
    let explains = |chosen: &[&(usize, Vec<f64>)]| {
        without.iter().all(|trial| chosen.iter().any(|candidate| !holds(candidate, trial)))
    };
    if let Some(one) = candidates.iter().find(|one| explains(&[one])) {
        return Shown::When(vec![one.clone()]);
    }
    let few = &candidates[..candidates.len().min(PAIRED_MAX)];
    let mut pairs = few.iter().enumerate().flat_map(|(at, one)| few[at + 1..].iter().map(move |other| (one, other)));
    match pairs.find(|(one, other)| explains(&[one, other])) {
        Some((one, other)) => Shown::When(vec![one.clone(), other.clone()]),
        None => Shown::Unexplained(without.len()),
    }
}

/// The values that a parameter has in the trials with the child; `None` when one lacks it, or suggested it later.
fn values_with(place: usize, child: usize, with: &[&Seen]) -> Option<Vec<f64>> {
    let value = |trial: &&Seen| {
        let before = trial.values.iter().take_while(|(other, _)| *other != child);
        before.filter(|(other, _)| *other == place).map(|(_, value)| *value).next()
    };
    let values: Option<Vec<f64>> = with.iter().map(value).collect();
    Some(distinct(values?.into_iter()))
}

fn distinct(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

impl Seen {
    fn value(&self, place: usize) -> Option<f64> {
        self.values.iter().find(|(other, _)| *other == place).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(finished: bool, values: &[(usize, f64)]) -> Seen {
        Seen { finished, values: values.to_vec() }
    }

    /// 0 is a choice of three, 1 a flag under 0 = 2, 2 a number under 1 = 1, 3 a number under 0 = 0 or 1.
    #[test]
    fn nested_branches_are_found() {
        let trials = [
            trial(true, &[(0, 0.0), (3, 0.1)]),
            trial(true, &[(0, 1.0), (3, 0.2)]),
            trial(true, &[(0, 2.0), (1, 0.0)]),
            trial(true, &[(0, 2.0), (1, 1.0), (2, 0.5)]),
            // It failed before it came to its number.
            trial(false, &[(0, 2.0), (1, 1.0)]),
        ];
        let when = |place, values: &[f64]| Shown::When(vec![(place, values.to_vec())]);
        let found = infer(&[true, true, false, false], &trials);
        assert_eq!(found, [Shown::Always, when(0, &[2.0]), when(1, &[1.0]), when(0, &[0.0, 1.0])]);
    }

    #[test]
    fn two_parents_are_found_and_what_nothing_tells_is_said() {
        let mut trials: Vec<Seen> =
            [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)].iter().map(|(a, b)| trial(true, &[(0, *a), (1, *b)])).collect();
        trials.push(trial(true, &[(0, 1.0), (1, 1.0), (2, 0.5)]));
        let both = Shown::When(vec![(0, vec![1.0]), (1, vec![1.0])]);
        assert_eq!(infer(&[true, true, false], &trials)[2], both);
        // A parameter that is suggested afterwards is no reason.
        let later = [trial(true, &[(1, 0.5), (0, 1.0)]), trial(true, &[(0, 0.0)])];
        assert_eq!(infer(&[true, false], &later)[1], Shown::Unexplained(1));
    }
}
