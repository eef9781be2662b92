//! `trialog why`, `verify` and `lineage`.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Body, encoded};
use super::{Client, Failure, expectation, show, sweeps};

/// Longer facts of a lineage are for `-o json`: a chain is to be read at a glance.
const LINEAGE_FACT_MAX: usize = 100;

/// Arguments of `trialog why`.
#[derive(Args)]
pub struct Why {
    /// SWEEP/INDEX, or the id of a run with a job.
    trial: String,
}

/// Arguments of `trialog verify`.
#[derive(Args)]
pub struct Verify {
    /// The sweep's id or name.
    sweep: String,
}

/// Arguments of `trialog lineage`.
#[derive(Args)]
pub struct Lineage {
    /// A request id, a run id, or MODEL/versions/N.
    id: String,
}

/// Prints why a trial is what it is.
pub async fn why(client: &Client, arguments: Why) -> Result<(), Failure> {
    let path = if arguments.trial.contains('/') {
        let (sweep, index) = sweeps::split(&arguments.trial)?;
        format!("sweeps/{}/trials/{index}/why", encoded(sweep))
    } else {
        format!("runs/{}/why", encoded(&arguments.trial))
    };
    let why = client.get(&path).await?;
    if client.is_json() {
        println!("{why}");
    } else {
        print_why(&why);
    }
    Ok(())
}

/// The trial or the run, why it waits, and what a trial has in the place of a result.
fn print_subject(why: &Value) {
    match why.get("trial") {
        Some(trial) => print_trial(trial, why.get("measured").is_some()),
        None => println!("run {} {}", show::field(why, "run_id"), show::field(why, "state")),
    }
    let reason = show::field(why, "reason");
    if !reason.is_empty() {
        println!("{reason}");
    }
}

fn print_trial(trial: &Value, several: bool) {
    println!("trial {}", show::text(trial));
    if let Some(words) = show::no_value(trial).filter(|_| !several) {
        println!("{words}");
    }
    if show::field(trial, "state") == "Failed" {
        println!("failed: {}", show::failure(trial));
    }
}

fn print_why(why: &Value) {
    print_subject(why);
    if let Some(proposal) = why.get("proposal") {
        let (algorithm, rule) = (show::field(proposal, "algorithm"), show::field(proposal, "rule"));
        let (seed, index) = (show::field(proposal, "seed"), show::field(proposal, "index"));
        let sampler = if rule.is_empty() { algorithm } else { format!("{algorithm} {rule}") };
        println!(
            "proposed by {sampler}, seed {seed}, index {index}, at position {}",
            show::field(proposal, "position")
        );
        for (name, draw) in proposal.get("parameters").and_then(Value::as_object).into_iter().flatten() {
            println!("  {name} = {}  (u = {})", show::field(draw, "value"), show::field(draw, "u"));
        }
    }
    if let Some(explained) = why.get("proposal").and_then(|proposal| proposal.get("explained")) {
        expectation::lines(explained).iter().for_each(|line| println!("  {line}"));
    }
    if let Some(exploit) = why.get("proposal").and_then(|proposal| proposal.get("exploit")) {
        print_exploit(exploit);
    }
    if let Some(measured) = why.get("measured") {
        print_measured(measured);
    }
    for decision in show::entries(why, "decisions") {
        println!(
            "{} by {} at interval {}: value {}, threshold {}, best {}, population {} (position {})",
            show::field(decision, "verdict"),
            show::field(decision, "policy"),
            show::field(decision, "interval"),
            show::field(decision, "value"),
            show::field(decision, "threshold"),
            show::field(decision, "best"),
            show::field(decision, "population"),
            show::field(decision, "position"),
        );
        for input in show::entries(decision, "inputs") {
            let (trial, value) = (show::field(input, "trial"), show::field(input, "value"));
            println!("  made by trial {trial}: {value} at position {}", show::field(input, "position"));
        }
        if let Some(hint) = decision.get("hint").filter(|hint| !hint.is_null()) {
            println!("  hint: {}", show::text(hint));
        }
    }
    for rung in show::entries(why, "rungs") {
        let (number, interval) = (show::field(rung, "rung"), show::field(rung, "interval"));
        let (entries, kept, place) =
            (show::field(rung, "entries"), show::field(rung, "kept"), show::field(rung, "place"));
        let place = if place.is_empty() { "not in it".to_owned() } else { format!("place {place}") };
        println!("rung {number} at interval {interval}: {entries} entries, {kept} go on, {place}");
    }
    for placement in show::entries(why, "placements") {
        println!("placed on {}: {}", show::field(placement, "node"), show::field(placement, "reason"));
    }
    for attempt in show::entries(why, "attempts") {
        let (number, node) = (show::field(attempt, "number"), show::field(attempt, "node"));
        let (started, ended, end) =
            (show::field(attempt, "started"), show::field(attempt, "ended"), show::field(attempt, "end"));
        println!("attempt {number} on {node}: {started} to {ended}, {}", if end.is_empty() { "lives" } else { &end });
    }
}

/// What a trial gave where several metrics are watched, and what it must not have given.
fn print_measured(measured: &Value) {
    println!("measured {}, feasible: {}", show::field(measured, "values"), show::field(measured, "feasible"));
    for constraint in show::entries(measured, "constraints").filter(|constraint| constraint["holds"] != true) {
        let (metric, op) = (show::field(constraint, "metric"), show::field(constraint, "op"));
        let (bound, value) = (show::field(constraint, "bound"), show::field(constraint, "value"));
        let value = if value.is_empty() { "not measured".to_owned() } else { value };
        println!("  {metric} must be {op} {bound}: {value}");
    }
}

/// Whom a child in a population follows.
fn print_exploit(exploit: &Value) {
    println!(
        "follows trial {} from its interval {} (resource {}), in the place of trial {} (stopped at position {})",
        show::field(exploit, "donor"),
        show::field(exploit, "donor_interval"),
        show::field(exploit, "resource"),
        show::field(exploit, "stopped"),
        show::field(exploit, "decision"),
    );
    for changed in show::entries(exploit, "changes") {
        let (name, change) = (show::field(changed, "parameter"), show::field(changed, "change"));
        println!("  {name} {change}: {} to {}", show::field(changed, "from"), show::field(changed, "to"));
    }
}

/// Recomputes a sweep; what differs and what cannot be recomputed are bad news (exit code 1).
pub async fn verify(client: &Client, arguments: Verify) -> Result<(), Failure> {
    let path = format!("sweeps/{}:verify", encoded(&arguments.sweep));
    let answer = client.send(Method::POST, &path, &Body::Json(json!({}))).await?;
    if client.is_json() {
        println!("{answer}");
    } else {
        println!("checked {}; log {}", show::field(&answer, "checked"), show::field(&answer, "log"));
        if let Some(imported) = answer.get("imported") {
            println!("{imported} proposals were imported and cannot be recomputed");
        }
        show::entries(&answer, "differences").for_each(|difference| println!("differs: {difference}"));
        for unverifiable in show::entries(&answer, "unverifiable") {
            let (proposals, made_by) = (show::field(unverifiable, "proposals"), show::field(unverifiable, "made_by"));
            println!(
                "not recomputed: {proposals} proposals by version {made_by} of the samplers; use a build that has it"
            );
        }
    }
    judged(&answer)
}

/// What the answer of a verification means. Imported trials were never proposed here: they are no bad news.
fn judged(answer: &Value) -> Result<(), Failure> {
    let differences = show::entries(answer, "differences").count();
    let unverifiable: u64 = show::entries(answer, "unverifiable").filter_map(|entry| entry["proposals"].as_u64()).sum();
    let log = answer.get("log").and_then(Value::as_object).into_iter().flatten();
    let broken = log.filter(|(_, law)| *law != "ok" && *law != true).count();
    if (differences, unverifiable, broken) == (0, 0, 0) {
        return Ok(());
    }
    Err(Failure::BadNews(format!(
        "{differences} differences between the log and its recomputation, {unverifiable} proposals that cannot be \
         recomputed, {broken} laws of the log broken"
    )))
}

/// Prints the chain behind an id.
pub async fn lineage(client: &Client, arguments: Lineage) -> Result<(), Failure> {
    let answer = client.get(&format!("lineage/{}", encoded(&arguments.id))).await?;
    if client.is_json() {
        println!("{answer}");
        return Ok(());
    }
    for (depth, link) in show::entries(&answer, "chain").enumerate() {
        let facts: Vec<String> = link
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| !["kind", "id"].contains(&name.as_str()))
            .map(|(name, value)| (name, show::text(value)))
            .filter(|(_, text)| !text.is_empty() && text.len() <= LINEAGE_FACT_MAX)
            .map(|(name, text)| format!("{name} {text}"))
            .collect();
        let arrow = if depth == 0 { String::new() } else { format!("{}<- ", "  ".repeat(depth - 1)) };
        println!("{arrow}{} {}  {}", show::field(link, "kind"), show::field(link, "id"), facts.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_proposed_here_and_is_the_same_again_is_good_news() {
        // A script asks the exit code alone: "nothing could be checked" must not look like "all is well".
        let good = json!({"differences": [], "log": {"L3": "ok"}, "imported": 8});
        assert!(judged(&good).is_ok());
        for bad in [
            json!({"differences": [{}], "log": {"L3": "ok"}}),
            json!({"differences": [], "log": {"L3": "versions are not dense at position 3"}}),
            json!({"differences": [], "log": {"L3": "ok"}, "unverifiable": [{"made_by": 9, "proposals": 2}]}),
        ] {
            assert!(matches!(judged(&bad), Err(Failure::BadNews(_))), "{bad}");
        }
    }
}
