//! What is told once while a sweep is followed: warnings, trials that failed, and why it stands still.

use std::collections::BTreeSet;

use runtime::Stopwatch;
use serde_json::Value;

use super::output::{entries, field};
use super::stdout::shown;
use super::{Client, reasons};

/// For so long a sweep that does nothing but wait is no news: a node boots, a place becomes free.
const PATIENCE_SECONDS: u64 = 10;
/// States of trials that neither run nor have ended, but for those that wait for a node.
const STANDING: [&str; 2] = ["Queued", "Paused"];
/// Warnings that say why no trial has a value, the most exact first.
const WITHOUT_VALUE: [&str; 2] = ["OtherMetric", "NoObjective"];

/// What was told already. Its lines are for a terminal, whoever prints them.
#[derive(Default)]
pub struct News {
    warned: BTreeSet<String>,
    failed: BTreeSet<u64>,
    waits: Waits,
}

impl News {
    /// The warnings of this answer were told before.
    pub fn after(answer: &Value) -> Self {
        let warned = entries(answer, "warnings").map(|warning| field(warning, "message")).collect();
        Self { warned, ..Self::default() }
    }

    /// The warnings that have come since this was last asked.
    pub fn warnings(&mut self, state: &Value) -> Vec<String> {
        let new = entries(state, "warnings").filter(|warning| self.warned.insert(field(warning, "message")));
        let lines = new.map(|warning| format!("warning: {} ({})", field(warning, "message"), field(warning, "code")));
        lines.map(|line| shown(&line).into_owned()).collect()
    }

    /// What became of the trials that have failed since this was last asked.
    pub async fn failures(&mut self, client: &Client, path: &str, state: &Value) -> Vec<String> {
        if count(state, "Failed") <= self.failed.len() as u64 {
            return Vec::new();
        }
        // Without an answer it is asked again with the next line.
        let Ok(trials) = client.get_all(&format!("{path}/trials?state=Failed"), "trials").await else {
            return Vec::new();
        };
        let new = entries(&trials, "trials").filter(|trial| self.failed.insert(index(trial)));
        let lines = new.map(|trial| format!("trial {} failed: {}", index(trial), reasons::failure(trial)));
        lines.map(|line| shown(&line).into_owned()).collect()
    }

    /// Why the first queued trial waits, when it has done nothing but that for a while; again when that has changed.
    pub async fn waiting(&mut self, client: &Client, path: &str, state: &Value) -> Option<String> {
        if !self.waits.look(only_waits(state)) {
            return None;
        }
        let trials = client.get(&format!("{path}/trials?state=Queued&page_size=1")).await.ok()?;
        self.waits.line_of(entries(&trials, "trials").next()?)
    }

    /// How long the sweep may be waited for before it is to be looked at whether it still waits.
    pub fn wait_seconds(&self, at_most: u64) -> u64 {
        self.waits
            .since
            .map_or(at_most, |since| (PATIENCE_SECONDS + 1).saturating_sub(since.elapsed().as_secs()).clamp(1, at_most))
    }
}

/// Whether a sweep stands still, since when, and what was said of it.
#[derive(Default)]
struct Waits {
    since: Option<Stopwatch>,
    printed: String,
}

impl Waits {
    /// Whether it has waited for long enough to say so.
    fn look(&mut self, waits: bool) -> bool {
        if !waits {
            self.since = None;
            return false;
        }
        let is_due = self.since.is_some_and(|since| since.elapsed().as_secs() >= PATIENCE_SECONDS);
        if is_due || self.since.is_none() {
            self.since = Some(Stopwatch::start());
        }
        is_due
    }

    /// The line about the trial, when it says something new.
    fn line_of(&mut self, trial: &Value) -> Option<String> {
        let reason = field(trial, "reason");
        if reason.is_empty() || reason == self.printed {
            return None;
        }
        self.printed.clone_from(&reason);
        Some(shown(&format!("trial {} waits: {reason}", index(trial))).into_owned())
    }
}

/// Whether trials are queued and no trial does anything.
fn only_waits(state: &Value) -> bool {
    let live = entries_of(state).filter(|(name, _)| !reasons::RUN_ENDED.contains(name));
    let (standing, going): (Vec<_>, Vec<_>) = live.partition(|(name, _)| STANDING.contains(name));
    going.is_empty() && standing.iter().any(|(name, _)| *name == "Queued")
}

/// States with how many trials are in them; those that some are in.
fn entries_of(state: &Value) -> impl Iterator<Item = (&str, u64)> {
    let counts = state.get("trial_counts").and_then(Value::as_object).into_iter().flatten();
    counts.map(|(name, count)| (name.as_str(), count.as_u64().unwrap_or_default())).filter(|(_, count)| *count > 0)
}

fn count(state: &Value, name: &str) -> u64 {
    entries_of(state).find(|(known, _)| *known == name).map_or(0, |(_, count)| count)
}

fn index(trial: &Value) -> u64 {
    trial.get("index").and_then(Value::as_u64).unwrap_or_default()
}

/// The warning that says most of why no trial has a value.
pub fn of_no_value(state: &Value) -> Option<String> {
    let with = |code: &&str| entries(state, "warnings").find(|warning| field(warning, "code") == **code);
    WITHOUT_VALUE.iter().find_map(with).map(|warning| field(warning, "message"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_warning_is_told_once_and_the_one_that_explains_is_told_at_the_end() {
        // The script said "val loss", the sweep knew it, and who followed it never learned.
        let known = json!({"code": "NoOutputs", "message": "an old one"});
        let no_objective = json!({"code": "NoObjective", "message": "trial 0 ended without the primary metric"});
        let other = json!({"code": "OtherMetric", "message": "val loss is not the primary metric val_loss"});
        let mut news = News::after(&json!({"warnings": [known]}));
        let state = json!({"warnings": [known, no_objective, other]});
        let lines = news.warnings(&state);
        assert_eq!(lines[1], "warning: val loss is not the primary metric val_loss (OtherMetric)");
        assert_eq!((lines.len(), news.warnings(&state)), (2, Vec::new()));
        assert_eq!(of_no_value(&state).as_deref(), Some("val loss is not the primary metric val_loss"));
        assert_eq!(of_no_value(&json!({"warnings": [known]})), None);
    }

    #[test]
    fn only_a_sweep_that_does_nothing_but_wait_is_asked_why() {
        assert!(only_waits(&json!({"trial_counts": {"Queued": 2, "Completed": 3, "Running": 0}})));
        assert!(!only_waits(&json!({"trial_counts": {"Queued": 2, "Running": 1}})));
        assert!(!only_waits(&json!({"trial_counts": {"Completed": 2}})));
        let mut waits = Waits::default();
        assert!(!waits.look(true), "it has just begun");
        assert!(waits.since.is_some());
        assert!(!waits.look(false) && waits.since.is_none(), "and has ended");
    }

    #[test]
    fn why_it_waits_is_told_again_only_when_it_is_another_reason() {
        let mut waits = Waits::default();
        let trial = |reason: &str| json!({"index": 4, "reason": reason});
        assert_eq!(waits.line_of(&trial("")), None, "nothing is known");
        assert_eq!(waits.line_of(&trial("busy: run a")).as_deref(), Some("trial 4 waits: busy: run a"));
        assert_eq!(waits.line_of(&trial("busy: run a")), None);
        assert_eq!(waits.line_of(&trial("busy: run b")).as_deref(), Some("trial 4 waits: busy: run b"));
        assert_eq!(waits.line_of(&trial("\u{1b}[2J")).as_deref(), Some("trial 4 waits: \\u{1b}[2J"));
    }
}
