//! What a model sees of the trials: the results of those that have ended, and of those under way what they had at their
//! last rung.
//!
//! Values from different numbers of reports have no common scale. As long as there is no model over the reports, a
//! value from few of them is moved by what the others have gained since: the median, over the trials that were noted at
//! so many reports and have gone further, of the difference between what they have now and what they had then. Where
//! nobody has gone further it stays as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dims::Row;
use super::model::Observed;
use super::tuner::{Outcome, Tuner};

/// What a trial under way had at a rung.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note {
    /// Its place among the endings.
    at: u32,
    trial: u32,
    /// Smaller is better.
    value: f64,
    reports: u32,
}

/// The observations after some number of endings.
#[derive(Debug)]
pub(super) struct Seen {
    /// Those that count are the first; on one scale.
    pub observed: Arc<Observed>,
    pub count: usize,
    /// By observation the value as it was reported and from how many reports it is; none while no trial was noted on
    /// its way, and the observations are all that the tuner has.
    pub raw: Option<Vec<(f64, u32)>>,
}

impl Tuner {
    /// Notes what a trial under way had at a rung.
    pub(super) fn note(&mut self, trial: u32, value: f64, reports: u32) {
        let usable = self.setup.version.counts_early() && self.tracks.is_empty() && value.is_finite();
        if usable && (trial as usize) < self.rows.len() {
            let value = self.sign() * value;
            self.notes.push(Note { at: self.known(), trial, value, reports });
        }
    }

    fn noted(&self, known: u32) -> &[Note] {
        &self.notes[..self.notes.partition_point(|note| note.at < known)]
    }

    fn has_ended(&self, trial: u32, known: u32) -> bool {
        self.ended_at.get(trial as usize).copied().flatten().is_some_and(|at| at < known)
    }

    /// The last note of each trial under way.
    pub(super) fn on_their_way(&self, known: u32) -> BTreeMap<u32, Note> {
        let under_way = self.noted(known).iter().filter(|note| !self.has_ended(note.trial, known));
        under_way.map(|note| (note.trial, *note)).collect()
    }

    /// What has not ended among the first `number` trials and is not seen either.
    pub(super) fn pending(&self, number: u32, known: u32) -> Vec<&Row> {
        let noted = self.on_their_way(known);
        let below = (0..number).zip(&self.rows);
        below
            .filter(|(trial, _)| !self.has_ended(*trial, known) && !noted.contains_key(trial))
            .map(|(_, r)| r)
            .collect()
    }

    /// How many of the first `number` trials have not ended.
    pub fn under_way(&self, number: u32, known: u32) -> u32 {
        let count = (0..number).filter(|trial| !self.has_ended(*trial, known)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// What the model sees after the first `known` endings.
    pub(super) fn seen(&self, known: u32) -> Seen {
        let count = self.count(known);
        if self.noted(known).is_empty() {
            return Seen { observed: Arc::clone(&self.observed), count, raw: None };
        }
        let mut observed = self.observed.first(count);
        let mut raw: Vec<(f64, u32)> =
            observed.values.iter().copied().zip(self.reports[..count].iter().copied()).collect();
        for note in self.on_their_way(known).values() {
            observed.push(Some(note.trial), self.rows[note.trial as usize].clone(), note.value, 1.0);
            raw.push((note.value, note.reports));
        }
        let gains = self.gains(known, &observed, &raw);
        for (value, (_, reports)) in observed.values.iter_mut().zip(&raw) {
            if let Some((_, gain)) = gains.range(..=*reports).next_back().filter(|_| *reports < u32::MAX) {
                *value += gain;
            }
        }
        Seen { count: observed.len(), observed: Arc::new(observed), raw: Some(raw) }
    }

    /// By a number of reports: what the trials that were noted there have gained since, by median.
    fn gains(&self, known: u32, observed: &Observed, raw: &[(f64, u32)]) -> BTreeMap<u32, f64> {
        let now: BTreeMap<u32, (f64, u32)> =
            observed.trials.iter().zip(raw).filter_map(|(trial, raw)| Some(((*trial)?, *raw))).collect();
        let mut at_rungs: BTreeMap<u32, BTreeMap<u32, f64>> = BTreeMap::new();
        for note in self.noted(known) {
            if let Some((value, reports)) = now.get(&note.trial)
                && *reports > note.reports
            {
                at_rungs.entry(note.reports).or_default().insert(note.trial, value - note.value);
            }
        }
        let median = |gains: BTreeMap<u32, f64>| {
            let mut gains: Vec<f64> = gains.into_values().collect();
            gains.sort_unstable_by(f64::total_cmp);
            gains[gains.len() / 2]
        };
        at_rungs.into_iter().map(|(reports, gains)| (reports, median(gains))).collect()
    }

    /// How much is known: every value, and every failure, which says something as well.
    pub(super) fn evidence(&self, known: u32) -> usize {
        if !self.setup.version.counts_early() {
            return self.count(known);
        }
        self.count(known) + self.on_their_way(known).len() + self.failed_count(known)
    }

    pub(super) fn failed_count(&self, known: u32) -> usize {
        let ended = self.ended[..known as usize].iter().filter(|(_, outcome)| outcome.is_failure());
        ended.count() + self.base_failures.len()
    }

    /// What the model waits for, with numbers; or why it has made nothing although it waits for nothing.
    pub(super) fn idle(&self, known: u32, seen: &Seen) -> String {
        let has = self.evidence(known);
        let (after, values_min) = self.begins_after();
        if has >= after && seen.count < values_min {
            return format!("the model starts after {values_min} values; of {has} trials {} gave one", seen.count);
        }
        if has < after {
            let parts = self.parts(known);
            let which = if parts.is_empty() { String::new() } else { format!(", of which {}", parts.join(", ")) };
            return format!("the model starts after {after} observations; it has {has}{which}");
        }
        if !self.varied(known, seen) {
            return format!("the model learns nothing from {} values that are all the same", seen.count);
        }
        if self.fit.is_none() && self.wants_fit(seen.count) {
            return format!("the model's first fit, to {has} observations, is being made");
        }
        "every configuration that the model looked at was tried before".to_owned()
    }

    /// What the observations are that are not results of trials of this sweep.
    fn parts(&self, known: u32) -> Vec<String> {
        let mut cut: BTreeMap<u32, usize> = BTreeMap::new();
        for (_, outcome) in &self.ended[..known as usize] {
            if let Outcome::Censored { reports, .. } = outcome {
                *cut.entry(*reports).or_default() += 1;
            }
        }
        let mut reached: BTreeMap<u32, usize> = BTreeMap::new();
        self.on_their_way(known).values().for_each(|note| *reached.entry(note.reports).or_default() += 1);
        let were = |count: usize| if count == 1 { "was" } else { "were" };
        let are = |count: usize| if count == 1 { "is" } else { "are" };
        let cut = cut.into_iter().map(|(step, count)| match step {
            0 => format!("{count} {} cut", were(count)),
            step => format!("{count} {} cut at step {step}", were(count)),
        });
        let reached = reached.into_iter().map(|(step, count)| format!("{count} {} at step {step} yet", are(count)));
        let failed = Some(self.failed_count(known)).filter(|failed| *failed > 0 && self.setup.version.counts_early());
        let failed = failed.map(|failed| format!("{failed} gave no value"));
        let inherited = Some(self.base).filter(|base| *base > 0);
        let inherited = inherited.map(|base| format!("{base} {} inherited", are(base)));
        cut.chain(reached).chain(failed).chain(inherited).collect()
    }
}
