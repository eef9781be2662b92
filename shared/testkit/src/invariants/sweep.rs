//! What holds of sweeps, by a fold of their events that is not the service's own.

use std::collections::BTreeMap;

use eventlog::RecordedEvent;
use serde_json::Value;

use super::Checked;
use super::observed::Installation;

/// A sweep, as far as the checks need it.
#[derive(Default)]
struct Folded {
    total: u64,
    concurrency: u64,
    is_maximized: bool,
    proposals: u64,
    ended: BTreeMap<String, u64>,
    /// The best finite value of each trial.
    best: BTreeMap<u64, f64>,
}

impl Folded {
    fn live(&self) -> u64 {
        self.proposals - self.ended.values().sum::<u64>().min(self.proposals)
    }

    fn limit(&mut self, limits: &Value) {
        self.total = limits["max_total_trials"].as_u64().unwrap_or(u64::MAX);
        self.concurrency = limits["max_concurrent_trials"].as_u64().unwrap_or(u64::MAX);
    }

    fn take(&mut self, event: &RecordedEvent, data: &Value) {
        match event.kind.as_str() {
            "SweepSubmitted" => {
                self.is_maximized = data["spec"]["objective"]["goal"] == "maximize";
                self.limit(&data["spec"]["limits"]);
            }
            "LimitsChanged" | "SweepExtended" => self.limit(&data["limits"]),
            "TrialProposed" => self.proposals += 1,
            "TrialEnded" => {
                *self.ended.entry(data["end"]["state"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
            "ObservationRecorded" => {
                let trial = data["trial"].as_u64().unwrap_or(u64::MAX);
                let values = data["points"].as_array().into_iter().flatten();
                for value in values.filter_map(|point| point["value"].as_f64()) {
                    let best = self.best.entry(trial).or_insert(value);
                    *best = if self.is_maximized { best.max(value) } else { best.min(value) };
                }
            }
            _ => {}
        }
    }

    /// The one trial that is better than all others.
    fn leader(&self) -> Option<u64> {
        let sign = if self.is_maximized { 1.0 } else { -1.0 };
        let best = self.best.values().map(|value| value * sign).max_by(f64::total_cmp)?;
        let mut leaders = self.best.iter().filter(|(_, value)| **value * sign == best).map(|(trial, _)| *trial);
        leaders.next().filter(|_| leaders.next().is_none())
    }
}

/// Looks at each event of each sweep with the fold of those before it.
fn walk(
    installation: &Installation,
    mut look: impl FnMut(&Folded, &RecordedEvent, &Value) -> Checked,
) -> Result<BTreeMap<String, Folded>, String> {
    let mut sweeps: BTreeMap<String, Folded> = BTreeMap::new();
    for event in installation.events("sweeps") {
        let folded = sweeps.entry(event.stream.clone()).or_default();
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        look(folded, event, &data).map_err(|why| format!("{} at {}: {why}", event.stream, event.position))?;
        folded.take(event, &data);
    }
    Ok(sweeps)
}

pub(super) fn views_are_the_folds_of_their_events(installation: &Installation) -> Checked {
    let sweeps = walk(installation, |_, _, _| Ok(()))?;
    for shown in &installation.sweeps {
        let Some(folded) = sweeps.get(&shown.stream) else {
            return Err(format!("{} is listed and has no events", shown.stream));
        };
        let ended: BTreeMap<_, _> = shown.ended.iter().filter(|(_, count)| **count > 0).collect();
        if shown.proposals != folded.proposals || ended != folded.ended.iter().collect() {
            let (proposals, ends) = (folded.proposals, &folded.ended);
            return Err(format!("{shown:?}, and its events say {proposals} proposals, ended {ends:?}"));
        }
    }
    Ok(())
}

pub(super) fn proposals_keep_the_limits(installation: &Installation) -> Checked {
    let checked = walk(installation, |folded, event, _| {
        let (proposals, live) = (folded.proposals, folded.live());
        let is_beyond = proposals >= folded.total || live >= folded.concurrency;
        if event.kind == "TrialProposed" && is_beyond {
            let limits = (folded.total, folded.concurrency);
            return Err(format!("a proposal after {proposals}, {live} of them live; the limits are {limits:?}"));
        }
        Ok(())
    });
    checked.map(drop)
}

pub(super) fn leaders_are_not_stopped(installation: &Installation) -> Checked {
    let checked = walk(installation, |folded, event, data| {
        let is_stop = event.kind == "TrialStopRequested" && data["by"] == "policy";
        match folded.leader() {
            Some(leader) if is_stop && data["trial"].as_u64() == Some(leader) => {
                Err(format!("trial {leader} is stopped, which leads with {:?}", folded.best.get(&leader)))
            }
            _ => Ok(()),
        }
    });
    checked.map(drop)
}

/// Numbers that are none have texts in events.
fn is_not_finite(value: &Value) -> bool {
    match value {
        Value::String(text) => ["NaN", "Infinity", "-Infinity"].contains(&text.as_str()),
        Value::Array(values) => values.iter().any(is_not_finite),
        Value::Object(fields) => fields.values().any(is_not_finite),
        _ => false,
    }
}

pub(super) fn nan_is_not_proposed(installation: &Installation) -> Checked {
    let checked = walk(installation, |_, event, data| match event.kind.as_str() {
        "TrialProposed" if is_not_finite(&data["draws"]) => Err(format!("a proposal of {}", data["draws"])),
        "TrialStopRequested" | "DecisionMade" if is_not_finite(&data["decision"]) => {
            Err(format!("a decision on {}", data["decision"]))
        }
        _ => Ok(()),
    });
    checked.map(drop)
}
