//! `trialog why`, `verify` and `lineage`.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Body, encoded};
use super::output::{self, Format, List, View, column, entries, field, text};
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
    /// A request id, a run id or the beginning of it, SWEEP/INDEX, SWEEP/best, MODEL/versions/N or MODEL@ALIAS.
    id: String,
}

/// Prints why a trial or a run is as it is.
pub async fn why(client: &Client, arguments: Why) -> Result<(), Failure> {
    output::only_text(client)?;
    let path = if arguments.trial.contains('/') {
        let (sweep, index) = resolve::placed(client, &arguments.trial).await?;
        format!("sweeps/{}/trials/{index}/why", encoded(&sweep))
    } else {
        format!("runs/{}/why", encoded(&resolve::run(client, &arguments.trial).await?))
    };
    let answer = client.get(&path).await?;
    output::describe(client, &answer, || why::lines(&answer));
    Ok(())
}

/// Recomputes a sweep; what differs and what cannot be recomputed are bad news (exit code 1).
pub async fn verify(client: &Client, arguments: Verify) -> Result<(), Failure> {
    output::only_text(client)?;
    let path = format!("sweeps/{}:verify", encoded(&arguments.sweep));
    let answer = client.send(Method::POST, &path, &Body::Json(json!({}))).await?;
    output::describe(client, &answer, || verified(&answer));
    judged(&answer)
}

/// The laws of the log that are checked beside, in words.
const LAWS: [(&str, &str); 3] = [
    ("L3", "every event of the sweep has its number, without a gap"),
    ("L4", "what was appended together stands together"),
    ("L13", "time never goes back"),
];

/// Whether a law was found kept.
fn holds(law: &Value) -> bool {
    *law == "ok" || *law == true
}

fn verified(answer: &Value) -> Vec<String> {
    let mut lines = vec![format!("recomputed: {}", field(answer, "checked"))];
    let laws = answer.get("log").and_then(Value::as_object).into_iter().flatten();
    lines.extend(laws.map(|(law, found)| {
        let found = if holds(found) { "yes".to_owned() } else { format!("NO: {}", text(found)) };
        format!("{}: {found}", LAWS.iter().find(|(name, _)| name == law).map_or(law.as_str(), |(_, words)| words))
    }));
    if answer.get("log").is_some() && entries(answer, "differences").next().is_none() {
        lines.push("no differences".to_owned());
    }
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
    let broken = log.filter(|(_, law)| !holds(law)).count();
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
        // The server reads all of these; neither SWEEP/best nor the beginning of a run's id.
        id if id.starts_with("req_") || id.contains("/versions/") || id.contains('@') => id,
        id if id.contains('/') => {
            let (sweep, index) = resolve::placed(client, &id).await?;
            format!("{sweep}/{index}")
        }
        called => resolve::run(client, &called).await?,
    };
    let answer = client.get(&format!("lineage/{}", encoded(&id))).await?;
    if matches!(client.format(), Format::Csv | Format::Name) {
        let list = List::new("chain", vec![column("kind"), column("id")]).named(column("id"));
        return output::list(client, &answer, list, &View::default());
    }
    output::describe(client, &answer, || {
        entries(&answer, "chain").enumerate().map(|(depth, link)| fact(depth, link)).collect()
    });
    Ok(())
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
    fn a_verification_is_said_in_words() {
        // `log L13=ok` says nothing to anybody who has not read the code.
        let answer = json!({"checked": {"proposals": 8}, "differences": [], "log": {"L3": "ok", "L4": "at 9"}});
        let expected = [
            "recomputed: proposals=8",
            "every event of the sweep has its number, without a gap: yes",
            "what was appended together stands together: NO: at 9",
            "no differences",
        ];
        assert_eq!(verified(&answer), expected);
    }

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
