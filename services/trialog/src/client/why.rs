//! Why a trial is as it is, in sentences; the numbers are those that the decisions were made with.

use serde_json::Value;

use super::output::{entries, field, text};
use super::{expectation, reasons};

/// What is to be read, the outcome first.
pub fn lines(why: &Value) -> Vec<String> {
    let mut lines = vec![subject(why)];
    lines.extend(outcome(why));
    lines.extend(waits_or_ended(why));
    lines.extend(why.get("end").and_then(unkept));
    lines.extend(why.get("measured").map(measured).into_iter().flatten());
    if let Some(proposal) = why.get("proposal") {
        lines.extend(proposed(proposal));
    }
    let decisions: Vec<String> = entries(why, "decisions").flat_map(|decision| judgement(why, decision)).collect();
    if !decisions.is_empty() {
        lines.push("Decisions:".to_owned());
        lines.extend(decisions.into_iter().map(|line| format!("  {line}")));
    }
    let rungs: Vec<String> = entries(why, "rungs").map(rung).collect();
    if !rungs.is_empty() {
        lines.push("The rungs as they are now:".to_owned());
        lines.extend(rungs.into_iter().map(|line| format!("  {line}")));
    }
    for placement in entries(why, "placements") {
        lines.push(format!("Placed on {}: {}.", field(placement, "node"), field(placement, "reason")));
    }
    lines.extend(entries(why, "attempts").map(attempt));
    lines
}

/// What it waits for, or how a run that is no trial has ended.
fn waits_or_ended(why: &Value) -> Option<String> {
    let reason = field(why, "reason");
    let Some(end) = why.get("end").filter(|end| end.is_object()) else {
        return (!reason.is_empty()).then(|| format!("It waits: {reason}."));
    };
    match field(end, "outcome").as_str() {
        "failed" => {
            let how = ["exit_code", "signal"].into_iter().find(|how| end.get(how).is_some_and(Value::is_number));
            let cause = how.map_or_else(|| field(end, "reason"), |how| format!("{} {}", spaced(how), field(end, how)));
            let tail = field(end, "stderr_tail");
            let last = tail.lines().rev().map(str::trim).find(|line| !line.is_empty());
            let last = last.map(|last| format!(": {last}")).unwrap_or_default();
            Some(format!("It failed: {}: {cause}{last}.", field(end, "phase")))
        }
        "canceled" => Some(format!("It was canceled by {}.", field(end, "by"))),
        // The state says it.
        _ => None,
    }
}

/// A field's name in words.
fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

fn subject(why: &Value) -> String {
    let Some(trial) = why.get("trial") else {
        return format!("Run {}: {}.", field(why, "run_id"), field(why, "state"));
    };
    let run = match field(trial, "run_id") {
        run if run.is_empty() => String::new(),
        run => format!(" ({run})"),
    };
    format!("Trial {} of {}{run}: {}.", field(trial, "index"), field(trial, "sweep"), field(trial, "state"))
}

/// How it ended, and what it has in the place of a result.
fn outcome(why: &Value) -> Vec<String> {
    let Some(trial) = why.get("trial") else { return Vec::new() };
    let mut lines = Vec::new();
    let stop = entries(why, "decisions").filter(|decision| field(decision, "verdict") == "stop").last();
    if let Some(stop) = stop.filter(|_| field(trial, "state") == "EarlyStopped") {
        lines.push(sentence("Stopped", why, stop));
    }
    if let Some(words) = reasons::no_value(trial).filter(|_| why.get("measured").is_none()) {
        lines.push(format!("It has {words}."));
    }
    match field(trial, "state").as_str() {
        "Failed" => lines.push(format!("It failed: {}.", reasons::failure(trial))),
        "EarlyStopped" => {}
        _ => {
            let reason = reasons::reported_instead(why).unwrap_or_else(|| reasons::of_trial(trial));
            lines.extend((!reason.is_empty()).then(|| format!("Because: {reason}.")));
        }
    }
    let lost = reasons::lost(trial);
    if !lost.is_empty() {
        lines.push(format!("It left no {}.", lost.join(", ")));
    }
    lines.extend(unkept(trial));
    lines
}

/// That what belongs to the best value was not kept, as a sentence.
fn unkept(of: &Value) -> Option<String> {
    let why = field(of, "unkept");
    (!why.is_empty()).then(|| format!("Its best was not kept: {why}."))
}

/// `Stopped at step 3: rmse 4.73, needed <= 1.84, the best third of 3 trials then.`
fn sentence(verdict: &str, why: &Value, decision: &Value) -> String {
    let trial = why.get("trial").unwrap_or(&Value::Null);
    let (metric, value, step) = (field(trial, "metric"), field(decision, "value"), field(decision, "interval"));
    let at_least = if field(trial, "goal") == "minimize" { "<=" } else { ">=" };
    let needed = match field(decision, "threshold") {
        threshold if threshold.is_empty() => String::new(),
        threshold => format!(", needed {at_least} {threshold}"),
    };
    format!("{verdict} at step {step}: {metric} {value}{needed}{}.", standard(decision))
}

/// What the threshold was, in the words of its policy.
fn standard(decision: &Value) -> String {
    let count = |name: &str| decision.get(name).and_then(Value::as_u64);
    let population = count("population").unwrap_or_default();
    let best = field(decision, "best");
    match field(decision, "policy").as_str() {
        "bandit" => format!(", the slack behind the best, which had {best} then"),
        "median_stopping" => format!(", the median of {population} trials then"),
        "learning_curve" => match field(decision, "optimistic") {
            hoped if hoped.is_empty() => format!(", the best of {population} trials then"),
            hoped => format!(", and could be hoped to end with {hoped}"),
        },
        _ => match (count("kept"), count("cut")) {
            (Some(kept), _) => format!(", the best {} of {population} trials then", part(kept, population)),
            (None, Some(cut)) => format!(", better than the last {cut} of {population} trials then"),
            (None, None) => format!(", among {population} trials then"),
        },
    }
}

/// A part of a whole as people say it.
fn part(part: u64, whole: u64) -> String {
    let named = [(2, "half"), (3, "third"), (4, "quarter"), (5, "fifth")];
    let name = named.iter().find(|(parts, _)| part > 0 && part * parts == whole).map(|(_, name)| (*name).to_owned());
    name.unwrap_or_else(|| part.to_string())
}

/// A decision with whose values it was made of.
fn judgement(why: &Value, decision: &Value) -> Vec<String> {
    let verdict = match field(decision, "verdict").as_str() {
        "stop" => "Stopped".to_owned(),
        "keep" => "Kept".to_owned(),
        "pause" => "Made to wait".to_owned(),
        "promote" => "Promoted".to_owned(),
        other => other.to_owned(),
    };
    let policy = field(decision, "policy");
    let mut lines = vec![format!(
        "{} ({policy}, position {})",
        sentence(&verdict, why, decision).trim_end_matches('.'),
        field(decision, "position")
    )];
    lines.extend(entries(decision, "inputs").map(|input| {
        let (trial, value) = (field(input, "trial"), field(input, "value"));
        format!("  made by trial {trial}: {value} at position {}", field(input, "position"))
    }));
    if let Some(hint) = decision.get("hint").filter(|hint| !hint.is_null()) {
        lines.push(format!("  hint: {}", text(hint)));
    }
    lines
}

fn rung(rung: &Value) -> String {
    let (number, step) = (field(rung, "rung"), field(rung, "interval"));
    let (entries, kept, place) = (field(rung, "entries"), field(rung, "kept"), field(rung, "place"));
    let place = if place.is_empty() { "not in it".to_owned() } else { format!("place {place}") };
    format!("rung {number} at step {step}: {entries} entries, {kept} go on, {place}")
}

fn proposed(proposal: &Value) -> Vec<String> {
    let (algorithm, rule) = (field(proposal, "algorithm"), field(proposal, "rule"));
    let sampler = if rule.is_empty() || rule == algorithm { algorithm } else { format!("{algorithm} ({rule})") };
    let (seed, index) = (field(proposal, "seed"), field(proposal, "index"));
    let mut lines = vec![format!(
        "Proposed by {sampler}, seed {seed}, index {index}, at position {}:",
        field(proposal, "position")
    )];
    let drawn = proposal.get("parameters").and_then(Value::as_object).into_iter().flatten();
    lines.extend(drawn.map(|(name, draw)| format!("  {name} = {}  (u = {})", field(draw, "value"), field(draw, "u"))));
    if let Some(explained) = proposal.get("explained") {
        lines.extend(expectation::lines(explained).into_iter().map(|line| format!("  {line}")));
    }
    lines.extend(proposal.get("exploit").map(exploit).into_iter().flatten());
    lines
}

/// What is said of an attempt that has not ended.
const LIVES: &str = "it lives";

fn attempt(attempt: &Value) -> String {
    let (number, node) = (field(attempt, "number"), field(attempt, "node"));
    let started = field(attempt, "started");
    let end = match (field(attempt, "end"), field(attempt, "ended")) {
        (end, _) if end.is_empty() => LIVES.to_owned(),
        (end, ended) => format!("{end} {ended}"),
    };
    if started.is_empty() && end == LIVES && node.is_empty() && attempt["external"] != true {
        return format!("Attempt {number}: no node has it yet.");
    }
    let place = match node {
        node if !node.is_empty() => format!(" on {node}"),
        // Of an external trial: whoever asked for it runs it.
        _ if attempt["external"] == true => " elsewhere".to_owned(),
        _ if end == LIVES => " on no node yet".to_owned(),
        _ => String::new(),
    };
    format!("Attempt {number}{place}: from {started}, {end}.")
}

/// What a trial gave where several metrics are watched, and what it must not have given.
fn measured(measured: &Value) -> Vec<String> {
    let mut lines =
        vec![format!("It measured {}; feasible: {}.", field(measured, "values"), field(measured, "feasible"))];
    for constraint in entries(measured, "constraints").filter(|constraint| constraint["holds"] != true) {
        let (metric, op) = (field(constraint, "metric"), field(constraint, "op"));
        let (bound, value) = (field(constraint, "bound"), field(constraint, "value"));
        let value = if value.is_empty() { "not measured".to_owned() } else { value };
        lines.push(format!("  {metric} must be {op} {bound}: {value}"));
    }
    lines
}

/// Whom a child in a population follows.
fn exploit(exploit: &Value) -> Vec<String> {
    let mut lines = vec![format!(
        "It follows trial {} from its step {} (resource {}), in the place of trial {} (stopped at position {}).",
        field(exploit, "donor"),
        field(exploit, "donor_interval"),
        field(exploit, "resource"),
        field(exploit, "stopped"),
        field(exploit, "decision"),
    )];
    lines.extend(entries(exploit, "changes").map(|changed| {
        let (name, change) = (field(changed, "parameter"), field(changed, "change"));
        format!("  {name} {change}: {} to {}", field(changed, "from"), field(changed, "to"))
    }));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_outcome_is_a_sentence_and_comes_first() {
        let why = json!({
            "trial": {"index": 3, "sweep": "digits", "state": "EarlyStopped", "metric": "rmse", "goal": "minimize",
                "best_value": 4.70, "reason": "policy"},
            "decisions": [
                {"verdict": "keep", "policy": "asha", "interval": 1, "value": 5.5, "threshold": 6.0, "population": 2,
                    "kept": 1, "position": 7, "inputs": []},
                {"verdict": "stop", "policy": "asha", "interval": 3, "value": 4.73, "threshold": 1.84, "population": 3,
                    "kept": 1, "position": 9, "inputs": [{"trial": 0, "value": 1.84, "position": 8}]},
            ],
            "rungs": [{"rung": 1, "interval": 3, "entries": 9, "kept": 3, "place": 5}],
        });
        let expected = [
            "Trial 3 of digits: EarlyStopped.",
            "Stopped at step 3: rmse 4.73, needed <= 1.84, the best third of 3 trials then.",
            "Decisions:",
            "  Kept at step 1: rmse 5.5, needed <= 6, the best half of 2 trials then (asha, position 7)",
            "  Stopped at step 3: rmse 4.73, needed <= 1.84, the best third of 3 trials then (asha, position 9)",
            "    made by trial 0: 1.84 at position 8",
            "The rungs as they are now:",
            "  rung 1 at step 3: 9 entries, 3 go on, place 5",
        ];
        assert_eq!(lines(&why), expected);
    }

    #[test]
    fn each_policy_says_what_its_threshold_was() {
        let of = |decision: Value| standard(&decision);
        assert_eq!(of(json!({"policy": "median_stopping", "population": 5})), ", the median of 5 trials then");
        let bandit = json!({"policy": "bandit", "population": 5, "best": 0.9});
        assert_eq!(of(bandit), ", the slack behind the best, which had 0.9 then");
        let truncation = json!({"policy": "truncation_selection", "population": 10, "cut": 2});
        assert_eq!(of(truncation), ", better than the last 2 of 10 trials then");
        let hyperband = json!({"policy": "hyperband", "population": 7, "kept": 2});
        assert_eq!(of(hyperband), ", the best 2 of 7 trials then");
    }

    #[test]
    fn a_failure_and_a_missing_value_are_said_first() {
        let failed = json!({"trial": {"index": 1, "sweep": "a", "state": "Failed", "reason": "run: exit code 3",
            "error": "ValueError: no", "non_finite_reports": 2}});
        let expected = [
            "Trial 1 of a: Failed.",
            "It has no value (2 x not finite).",
            "It failed: run: exit code 3: ValueError: no.",
        ];
        assert_eq!(lines(&failed), expected);
        let waits = json!({"run_id": "run_1", "state": "Queued", "reason": "no node has room"});
        assert_eq!(lines(&waits), ["Run run_1: Queued.", "It waits: no node has room."]);
        let tail = "Collecting x\nERROR: No matching distribution found for x\n";
        let end = json!({"outcome": "failed", "phase": "prepare", "reason": "exit_code", "exit_code": 1,
            "stderr_tail": tail});
        let failed = json!({"run_id": "run_1", "state": "Failed", "reason": "failed in phase prepare", "end": end});
        let expected = "It failed: prepare: exit code 1: ERROR: No matching distribution found for x.";
        assert_eq!(lines(&failed), ["Run run_1: Failed.", expected], "it was said to wait");
        let done =
            json!({"run_id": "run_1", "state": "Completed", "reason": "completed", "end": {"outcome": "completed"}});
        assert_eq!(lines(&done), ["Run run_1: Completed."]);
        let never = json!({"trial": {"index": 0, "sweep": "a", "state": "Completed", "metric": "val_loss",
            "reason": "no_objective", "non_finite_reports": 0}, "reported": ["val loss"]});
        assert_eq!(lines(&never)[2], "Because: it reported 'val loss' and no 'val_loss'.");
    }

    #[test]
    fn an_attempt_that_no_node_has_is_not_said_to_live_there() {
        // "Attempt 1 on no node yet: from , it lives."
        let said = |seen: Value| attempt(&seen);
        assert_eq!(said(json!({"number": 1, "started": ""})), "Attempt 1: no node has it yet.");
        let runs = json!({"number": 2, "node": "node_1", "started": "10:00"});
        assert_eq!(said(runs), "Attempt 2 on node_1: from 10:00, it lives.");
    }
}
