//! Rungs: tables of what the trials had reached at fixed intervals. Successive halving, Hyperband and the
//! learning-curve rule decide by a trial's place in one.
//!
//! A table is a function of the counted reports. Each report moves the reporting trial in a few tables, at the cost of
//! a search; no report looks at all trials.

use serde::Serialize;

use crate::curve::Curve;
use crate::judge::{Candidate, Decision, Input, count_of};
use crate::policy::{Goal, PolicySpec};
use crate::ranked::{Ranked, Ranking};
use crate::trials::Trials;

/// The learning-curve rule keeps at least so many: a share of the first few trials says little.
const KEPT_MIN: usize = 2;
/// From this interval on it looks at what may be hoped for: before, a trial has not doubled often enough to show how it
/// gains.
const HOPE_FROM: u32 = 8;

/// A trial in a rung.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// The trial.
    pub trial: u32,
    /// Its best value through the rung's interval.
    pub value: f64,
    /// Whether it has been promoted from this rung (promotion), or has gone on beyond it (stopping).
    pub passed: bool,
}

/// A rung as it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RungTable {
    /// Hyperband: the number of the bracket; 0 elsewhere.
    pub bracket: u32,
    /// The number of the rung in its bracket, from 0.
    pub rung: u32,
    /// Its interval.
    pub interval: u32,
    /// How many trials are in it.
    pub entries: u32,
    /// How many of them the rule lets go on now.
    pub kept: u32,
    /// The first entries, best first.
    pub best: Vec<Entry>,
}

/// A trial that is to go on from the rung at which it waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Promotion {
    /// The trial.
    pub trial: u32,
    /// The number of the rung.
    pub rung: u32,
    /// Why it is this one.
    pub decision: Decision,
}

/// What a trial has in the tables of its bracket, by rung.
pub(crate) type Entries = Vec<Option<f64>>;

impl Trials {
    /// The bracket and the rung of a trial at an interval, as places in the ladder.
    pub(crate) fn rung(&self, trial: u32, interval: u32) -> Option<(usize, usize)> {
        let bracket = self.ladder.bracket_of(trial)?;
        Some((bracket, self.ladder.rung_at(bracket, interval)?))
    }

    /// The number of a trial's Hyperband bracket; `None` for other policies.
    pub fn bracket(&self, trial: u32) -> Option<u32> {
        let place = self.ladder.bracket_of(trial)?;
        matches!(self.policy, PolicySpec::Hyperband { .. }).then(|| self.ladder.brackets[place].number)
    }

    /// What a trial with this curve has in each rung of its bracket. The learning-curve rule counts everybody who has a
    /// value, those behind the rung with what they have; successive halving those who have reached it.
    pub(crate) fn entries(&self, trial: u32, curve: &Curve) -> Entries {
        let Some(bracket) = self.ladder.bracket_of(trial) else { return Vec::new() };
        let everybody = matches!(self.policy, PolicySpec::LearningCurve { .. });
        let entry = |n: &u32| {
            let counted = everybody || curve.interval() >= *n;
            counted.then(|| curve.running(*n).best(self.goal)).flatten()
        };
        self.ladder.brackets[bracket].rungs.iter().map(entry).collect()
    }

    /// Brings the tables up to date after a trial's report; `before` is what it had in them.
    pub(crate) fn update_rungs(&mut self, trial: u32, before: &Entries) {
        let Some(bracket) = self.ladder.bracket_of(trial) else { return };
        let Some(curve) = self.curves.get(trial as usize) else { return };
        let after = self.entries(trial, curve);
        for ((before, after), table) in before.iter().zip(after).zip(&mut self.rungs[bracket]) {
            if before.map(f64::to_bits) == after.map(f64::to_bits) {
                continue;
            }
            if let Some(value) = *before {
                table.remove(self.goal, &Ranked { value, trial });
            }
            if let Some(value) = after {
                table.insert(self.goal, Ranked { value, trial });
            }
        }
    }

    /// Makes the tables from the curves alone.
    pub(crate) fn fill_rungs(&mut self) {
        let count = u32::try_from(self.curves.len()).unwrap_or(u32::MAX);
        if let Some(last) = count.checked_sub(1) {
            self.ladder.assign(last);
        }
        for trial in 0..count {
            let nothing = self.entries(trial, &Curve::default());
            self.update_rungs(trial, &nothing);
            let curve = &self.curves[trial as usize];
            if let Some(rung) = curve.paused.filter(|_| !curve.is_finished()) {
                self.wait_at(trial, rung);
            }
        }
    }

    /// The entry of a trial in a rung of the first bracket, which is the only one of promotion.
    fn entry_at(&self, trial: u32, rung: u32) -> Option<Ranked> {
        let interval = *self.ladder.brackets.first()?.rungs.get(rung as usize)?;
        Some(Ranked { value: self.curve(trial)?.running(interval).best(self.goal)?, trial })
    }

    fn wait_at(&mut self, trial: u32, rung: u32) {
        if let Some(entry) = self.entry_at(trial, rung)
            && let Some(table) = self.waiting.get_mut(rung as usize)
        {
            table.insert(self.goal, entry);
        }
    }

    /// Takes a trial that waits out of those that may be promoted.
    pub(crate) fn wait_no_more(&mut self, trial: u32) {
        let Some(rung) = self.curve(trial).and_then(|curve| curve.paused) else { return };
        if let Some(entry) = self.entry_at(trial, rung)
            && let Some(table) = self.waiting.get_mut(rung as usize)
        {
            table.remove(self.goal, &entry);
        }
    }

    /// Every rung with its first `most` entries, from the first bracket and its lowest rung on.
    pub fn rung_tables(&self, most: usize) -> Vec<RungTable> {
        let mut tables = Vec::new();
        for (bracket, rankings) in self.ladder.brackets.iter().zip(&self.rungs) {
            for (rung, (interval, ranking)) in (0_u32..).zip(bracket.rungs.iter().zip(rankings)) {
                let entry = |entry: Ranked| {
                    let curve = self.curve(entry.trial);
                    let beyond = curve.is_some_and(|curve| {
                        if self.policy.promotes() { curve.promoted > rung } else { curve.interval() > *interval }
                    });
                    Entry { trial: entry.trial, value: entry.value, passed: beyond }
                };
                tables.push(RungTable {
                    bracket: bracket.number,
                    rung,
                    interval: *interval,
                    entries: count_of(ranking.len()),
                    kept: count_of(self.kept(ranking.len(), *interval).min(ranking.len())),
                    best: ranking.iter().take(most).map(entry).collect(),
                });
            }
        }
        tables
    }

    /// The place of a trial in a rung of its bracket, 0 is the best; `None` while it is not in it.
    pub fn place_in_rung(&self, trial: u32, rung: u32) -> Option<u32> {
        let bracket = self.ladder.bracket_of(trial)?;
        let value = (*self.entries(trial, self.curve(trial)?).get(rung as usize)?)?;
        Some(count_of(self.rungs[bracket].get(rung as usize)?.place(self.goal, &Ranked { value, trial })))
    }

    /// How many of a rung's entries go on.
    fn kept(&self, entries: usize, interval: u32) -> usize {
        match self.policy {
            PolicySpec::Asha { reduction_factor, .. } if self.policy.promotes() => {
                entries / reduction_factor.max(2) as usize
            }
            PolicySpec::Asha { reduction_factor, .. } | PolicySpec::Hyperband { reduction_factor, .. } => {
                (entries / reduction_factor.max(2) as usize).max(1)
            }
            PolicySpec::LearningCurve { share, min_resource, .. } => {
                let share = share * f64::from(min_resource) / f64::from(interval.max(1));
                ((entries as f64 * share) as usize).max(KEPT_MIN)
            }
            _ => entries,
        }
    }

    /// The trial waits at a rung from here on.
    pub fn pause(&mut self, trial: u32, rung: u32) {
        if let Some(curve) = self.curve_mut(trial) {
            curve.paused = Some(rung);
            self.wait_at(trial, rung);
        }
    }

    /// The trial goes on from the rung at which it waits.
    pub fn promote(&mut self, trial: u32) {
        self.wait_no_more(trial);
        if let Some(curve) = self.curve_mut(trial)
            && let Some(rung) = curve.paused.take()
        {
            curve.promoted = rung + 1;
        }
    }

    /// The number of the rung at which a trial waits.
    pub fn paused_at(&self, trial: u32) -> Option<u32> {
        self.curve(trial)?.paused
    }

    /// The trial that goes on when there is room: at the highest rung that has one, the best of the first
    /// floor(entries / reduction_factor) that has not gone on yet.
    pub fn promotable(&self) -> Option<Promotion> {
        self.promotables().next()
    }

    /// The trials that go on, in this order, as there is room. That one goes on changes nothing for the others.
    pub fn promotables(&self) -> impl Iterator<Item = Promotion> {
        let bracket = self.ladder.brackets.first().filter(|_| self.policy.promotes());
        let intervals = bracket.map_or(&[][..], |bracket| &bracket.rungs);
        let rungs = self.waiting.iter().zip(intervals).enumerate().rev();
        rungs.flat_map(move |(rung, (waiting, interval))| {
            let table = &self.rungs[0][rung];
            let kept = self.kept(table.len(), *interval);
            let ahead = waiting.iter().take_while(move |entry| table.place(self.goal, entry) < kept);
            ahead.map(move |entry| self.promotion(entry, count_of(rung), *interval))
        })
    }

    /// How many rungs a trial was promoted from.
    pub fn promotions(&self, trial: u32) -> u32 {
        self.curve(trial).map_or(0, |curve| curve.promoted)
    }

    /// The leader, or one that equals it, if it waits at a rung. When nothing else is left to do it goes on, since no
    /// policy stops it.
    pub fn waiting_leader(&self) -> Option<Promotion> {
        let leader = self.leader?.value;
        let intervals = &self.ladder.brackets.first()?.rungs;
        let firsts = self.waiting.iter().zip(intervals).enumerate().rev();
        let mut waiting = firsts.filter_map(|(rung, (table, interval))| Some((rung, table.at(0)?, *interval)));
        let (rung, entry, interval) = waiting.find(|(_, entry, _)| entry.value == leader)?;
        Some(self.promotion(entry, count_of(rung), interval))
    }

    fn promotion(&self, entry: Ranked, rung: u32, interval: u32) -> Promotion {
        let table = &self.rungs[0][rung as usize];
        let kept = self.kept(table.len(), interval);
        let threshold = kept.checked_sub(1).and_then(|last| table.at(last));
        let decision = Decision {
            policy: self.policy.kind().to_owned(),
            interval,
            value: entry.value,
            threshold: threshold.map(|last| last.value),
            population: count_of(table.len()),
            rank: Some(count_of(table.place(self.goal, &entry))),
            rung: Some(rung),
            kept: Some(count_of(kept)),
            inputs: threshold.map(|last| self.input(last, interval)).into_iter().collect(),
            ..Decision::default()
        };
        Promotion { trial: entry.trial, rung, decision }
    }

    fn input(&self, entry: Ranked, interval: u32) -> Input {
        let running = self.curve(entry.trial).map(|curve| curve.running(interval));
        let position = running.and_then(|running| running.best_at(self.goal)).map_or(0, |(_, position)| position);
        Input { trial: entry.trial, position, value: entry.value }
    }
}

/// A trial's place among the others of its rung.
struct Placed<'a> {
    table: &'a Ranking,
    own: Ranked,
    /// What the table has of the trial itself: what it had before the report that is judged, or what is judged.
    known: Option<Ranked>,
    /// How many others are ahead.
    rank: usize,
    /// How many others have a strictly better value.
    better: usize,
    /// How many there are with the trial.
    count: usize,
}

impl Placed<'_> {
    /// The entry at a place of the table in which the trial stands with its judged value.
    fn at(&self, goal: Goal, place: usize) -> Option<Ranked> {
        if place == self.rank {
            return Some(self.own);
        }
        let place = if place > self.rank { place - 1 } else { place };
        let skipped = self.known.is_some_and(|known| self.table.place(goal, &known) <= place);
        self.table.at(place + usize::from(skipped))
    }
}

impl Candidate<'_> {
    /// Where the trial stands in the rung at its interval.
    fn placed(&self) -> Option<(Placed<'_>, usize, usize)> {
        let (trials, trial, goal) = (self.trials, self.own.trial, self.goal());
        let (bracket, rung) = trials.rung(trial, self.interval)?;
        let table = &trials.rungs[bracket][rung];
        let own = Ranked { value: self.value, trial };
        let known = trials.curve(trial).and_then(|curve| *trials.entries(trial, curve).get(rung)?);
        let known = known.map(|value| Ranked { value, trial });
        let was = |ahead: bool| usize::from(ahead);
        let rank =
            table.place(goal, &own) - was(known.is_some_and(|known| crate::ranked::ahead(goal, &known, &own).is_lt()));
        let better =
            table.better(goal, self.value) - was(known.is_some_and(|known| goal.worse(self.value, known.value)));
        let count = table.len() + was(known.is_none());
        Some((Placed { table, own, known, rank, better, count }, bracket, rung))
    }

    fn rung_decision(&self, placed: &Placed<'_>, bracket: usize, rung: usize) -> (usize, Decision) {
        let goal = self.goal();
        let kept = self.trials.kept(placed.count, self.interval);
        let last = kept.checked_sub(1).and_then(|place| placed.at(goal, place.min(placed.count - 1)));
        let own_position = self.own.running.best_at(goal).map_or(0, |(_, position)| position);
        let input = last.map(|last| match last.trial == self.own.trial {
            true => Input { trial: last.trial, position: own_position, value: last.value },
            false => self.trials.input(last, self.interval),
        });
        let mut decision =
            self.decision(last.map(|last| last.value), count_of(placed.count), input.into_iter().collect());
        decision.rank = Some(count_of(placed.rank));
        decision.rung = Some(count_of(rung));
        decision.kept = Some(count_of(kept));
        decision.bracket = matches!(self.trials.policy, PolicySpec::Hyperband { .. })
            .then(|| self.trials.ladder.brackets[bracket].number);
        (kept, decision)
    }

    /// Keep iff the trial is among the best of the rung, one in `factor`, or equals its best.
    pub(crate) fn halving(&self) -> (bool, Decision) {
        let Some((placed, bracket, rung)) = self.placed() else { return (false, self.decision(None, 0, Vec::new())) };
        let (kept, decision) = self.rung_decision(&placed, bracket, rung);
        (placed.rank >= kept && placed.better > 0, decision)
    }

    /// Keep iff the trial is among a share of all trials that shrinks with the interval and, from some interval on, may
    /// still reach the leader. Whoever leads at the interval is kept.
    pub(crate) fn learning_curve(&self, max_resource: u32, hope: f64) -> (bool, Decision) {
        let Some((placed, bracket, rung)) = self.placed() else { return (false, self.decision(None, 0, Vec::new())) };
        let (kept, mut decision) = self.rung_decision(&placed, bracket, rung);
        let (goal, leader) = (self.goal(), self.leading_value());
        decision.best = Some(leader);
        let mut stop = placed.better >= kept;
        if self.interval >= HOPE_FROM {
            let optimistic = self.optimistic(max_resource, hope);
            decision.optimistic = optimistic.is_finite().then_some(optimistic);
            stop |= goal.worse(optimistic, leader);
        }
        (stop && placed.better > 0, decision)
    }

    /// The best value of any trial through all of its intervals.
    fn leading_value(&self) -> f64 {
        let (goal, own) = (self.goal(), self.own.trial);
        let better = |a: f64, b: f64| if goal.worse(a, b) { b } else { a };
        match self.trials.leader {
            // Its recorded best may just have been superseded.
            Some(leader) if leader.trial == own => {
                let others = (0_u32..).take(self.trials.curves.len()).filter(|trial| *trial != own);
                let bests = others.filter_map(|trial| self.trials.standing(trial)).map(|standing| standing.value);
                bests.fold(self.value, better)
            }
            Some(leader) => better(self.value, leader.value),
            None => self.value,
        }
    }

    /// Where the trial may end: as if each doubling of its intervals brought `hope` times the larger of its last two.
    fn optimistic(&self, max_resource: u32, hope: f64) -> f64 {
        let goal = self.goal();
        let [half, quarter] = self.earlier.map(|earlier| earlier.best(goal));
        // Without a value that early nothing is known about its gains: anything may be hoped for.
        let (Some(half), Some(quarter)) = (half, quarter) else {
            return if goal == Goal::Maximize { f64::INFINITY } else { f64::NEG_INFINITY };
        };
        let gain = (self.value - half).abs().max((half - quarter).abs());
        let doublings = libm::log2(f64::from(max_resource) / f64::from(self.interval)).max(0.0);
        let hoped = hope * gain * doublings;
        match goal {
            Goal::Maximize => self.value + hoped,
            Goal::Minimize => self.value - hoped,
        }
    }
}
