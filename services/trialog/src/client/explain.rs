//! `trialog why`, `verify` and `lineage`.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Body, encoded};
use super::output::{self, entries, field, text};
use super::{Client, Failure, resolve, why};

/// Longer facts of a lineage are for `-o json`: a chain is to be read at a glance.
const LINEAGE_FACT_MAX: usize = 100;

/// Arguments of `trialog why`.
#[derive(Args)]
pub struct Why {
    /// SWEEP/INDEX, SWEEP/best, or the id of a run with a job, or the beginning of it.
    trial: String,
}

/// Arguments of `trialog verify`.
#[derive(Args)]
pub struct Verify {
    /// The sweep: its name, its id, or the beginning of that.
    sweep: String,
}

/// Arguments of `trialog lineage`.
#[derive(Args)]
pub struct Lineage {
    /// A request id, a run id or the beginning of it, SWEEP/INDEX, SWEEP/best, or MODEL/versions/N.
    id: String,
}

/// Prints why a trial or a run is as it is.
pub async fn why(client: &Client, arguments: Why) -> Result<(), Failure> {
    let path = if arguments.trial.contains('/') {
        let (sweep, index) = resolve::placed(client, &arguments.trial).await?;
        format!("sweeps/{}/trials/{index}/why", encoded(&sweep))
    } else {
        format!("runs/{}/why", encoded(&resolve::run(client, &arguments.trial).await?))
    };
    let answer = client.get(&path).await?;
    output::describe(client, &answer, || why::lines(&answer))
}

/// Recomputes a sweep; what differs and what cannot be recomputed are bad news (exit code 1).
pub async fn verify(client: &Client, arguments: Verify) -> Result<(), Failure> {
    let path = format!("sweeps/{}:verify", encoded(&arguments.sweep));
    let answer = client.send(Method::POST, &path, &Body::Json(json!({}))).await?;
    output::describe(client, &answer, || verified(&answer))?;
    judged(&answer)
}

fn verified(answer: &Value) -> Vec<String> {
    let mut lines = vec![format!("checked {}; log {}", field(answer, "checked"), field(answer, "log"))];
    if let Some(imported) = answer.get("imported").filter(|imported| **imported != 0) {
        lines.push(format!("{} proposals were imported and cannot be recomputed", text(imported)));
    }
    lines.extend(entries(answer, "differences").map(|difference| format!("differs: {}", text(difference))));
    lines.extend(entries(answer, "unverifiable").map(|unverifiable| {
        let (proposals, made_by) = (field(unverifiable, "proposals"), field(unverifiable, "made_by"));
        format!("not recomputed: {proposals} proposals by version {made_by} of the samplers; use a build that has it")
    }));
    lines
}

/// What the answer of a verification means. Imported trials were never proposed here: they are no bad news.
fn judged(answer: &Value) -> Result<(), Failure> {
    let differences = entries(answer, "differences").count();
    let unverifiable: u64 = entries(answer, "unverifiable").filter_map(|entry| entry["proposals"].as_u64()).sum();
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
    let id = match arguments.id {
        id if id.starts_with("req_") || id.contains("/versions/") => id,
        called => resolve::run(client, &called).await?,
    };
    let answer = client.get(&format!("lineage/{}", encoded(&id))).await?;
    output::describe(client, &answer, || {
        entries(&answer, "chain").enumerate().map(|(depth, link)| fact(depth, link)).collect()
    })
}

fn fact(depth: usize, link: &Value) -> String {
    let facts: Vec<String> = link
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !["kind", "id"].contains(&name.as_str()))
        .map(|(name, value)| (name, text(value)))
        .filter(|(_, text)| !text.is_empty() && text.len() <= LINEAGE_FACT_MAX)
        .map(|(name, text)| format!("{name} {text}"))
        .collect();
    let arrow = if depth == 0 { String::new() } else { format!("{}<- ", "  ".repeat(depth - 1)) };
    format!("{arrow}{} {}  {}", field(link, "kind"), field(link, "id"), facts.join(", "))
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
