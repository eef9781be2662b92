//! The live view of a sweep: trials by state, the best so far, nodes. Plain lines when the output is not a terminal.

use std::collections::BTreeSet;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::http::encoded;
use super::{Client, Failure, show};

/// How long the server holds an unchanged answer back.
const WAIT: &str = "20s";
const ENDED: [&str; 3] = ["Completed", "Failed", "Canceled"];

/// Follows a sweep until its end. One that failed, was canceled or has no value is bad news (exit code 1).
pub async fn follow(client: &Client, sweep: &str) -> Result<(), Failure> {
    let path = format!("sweeps/{}", encoded(sweep));
    let mut state = client.get(&path).await?;
    let bar = bar(&state);
    let mut last_line = String::new();
    let mut said = BTreeSet::new();
    loop {
        let nodes = nodes(client, &state).await;
        let line = line(&state, &nodes);
        match &bar {
            Some(bar) => {
                bar.set_length(number(&state, "max_total_trials"));
                bar.set_position(ended_trials(&state));
                bar.set_message(line);
            }
            None if client.is_json() => {}
            None if line != last_line => {
                println!("{}/{} ended  {line}", ended_trials(&state), number(&state, "max_total_trials"));
                last_line = line;
            }
            None => {}
        }
        if !client.is_json() {
            for failure in failures(client, &path, &state, &mut said).await {
                match &bar {
                    Some(bar) => bar.println(failure),
                    None => println!("{failure}"),
                }
            }
        }
        if ENDED.contains(&show::field(&state, "state").as_str()) {
            break;
        }
        let version = number(&state, "version");
        state = client.get(&format!("{path}?wait={WAIT}&after_version={version}")).await?;
    }
    if let Some(bar) = &bar {
        bar.finish();
    }
    finish(client, &state)
}

fn bar(state: &Value) -> Option<ProgressBar> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {elapsed} {msg}").ok()?;
    let bar = ProgressBar::new(number(state, "max_total_trials")).with_style(style);
    bar.set_prefix(show::field(state, "name"));
    bar.enable_steady_tick(std::time::Duration::from_millis(250));
    Some(bar)
}

fn number(state: &Value, name: &str) -> u64 {
    state.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn counts(state: &Value) -> Vec<(String, u64)> {
    let counts = state.get("trial_counts").and_then(Value::as_object);
    let pairs = counts.into_iter().flatten().map(|(name, count)| (name.clone(), count.as_u64().unwrap_or_default()));
    pairs.filter(|(_, count)| *count > 0).collect()
}

fn ended_trials(state: &Value) -> u64 {
    let ended = ["Completed", "Failed", "Canceled", "EarlyStopped"];
    counts(state).iter().filter(|(name, _)| ended.contains(&name.as_str())).map(|(_, count)| count).sum()
}

/// What became of the trials that have failed since this was last asked.
async fn failures(client: &Client, path: &str, state: &Value, said: &mut BTreeSet<u64>) -> Vec<String> {
    let failed = counts(state).iter().find(|(name, _)| name == "Failed").map_or(0, |(_, count)| *count);
    if failed <= said.len() as u64 {
        return Vec::new();
    }
    // Without an answer it is asked again with the next line.
    let Ok(trials) = client.get_all(&format!("{path}/trials?state=Failed"), "trials").await else { return Vec::new() };
    let new = show::entries(&trials, "trials").filter(|trial| said.insert(number(trial, "index")));
    new.map(|trial| format!("trial {} failed: {}", number(trial, "index"), show::failure(trial))).collect()
}

/// The nodes by state; nothing when the cluster cannot be read.
async fn nodes(client: &Client, state: &Value) -> String {
    let cluster = show::field(state, "cluster");
    let Ok(cluster) = client.get(&format!("clusters/{}", encoded(&cluster))).await else { return String::new() };
    let by_state = cluster.get("node_state_counts").and_then(Value::as_object).cloned().unwrap_or_default();
    let words: Vec<String> = by_state
        .iter()
        .filter(|(_, count)| count.as_u64() != Some(0))
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if words.is_empty() { "no nodes".to_owned() } else { words.join(", ") }
}

fn line(state: &Value, nodes: &str) -> String {
    let without = number(state, "trials_without_value");
    let with_value = |name: &str, count: u64| if name == "Completed" { count.saturating_sub(without) } else { count };
    let mut trials: Vec<String> = counts(state)
        .iter()
        .map(|(name, count)| (with_value(name, *count), name))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    if without > 0 {
        trials.push(format!("{without} without a value"));
    }
    let best = match state.get("best").and_then(|best| Some((best.get("value")?.as_f64()?, best.get("trial_index")?))) {
        Some((value, trial)) => format!("best {value:.4} (trial {trial}{})", lost(&state["best"])),
        None => without_best(state),
    };
    let conditions = state.get("conditions").and_then(Value::as_array).map_or(0, Vec::len);
    let stalled = if conditions > 0 { format!(" · {}", state["conditions"]) } else { String::new() };
    format!("{} · {} · {best} · nodes: {nodes}{stalled}", show::field(state, "state"), trials.join(", "))
}

/// What the best trial should have left.
fn lost(best: &Value) -> String {
    let missing: Vec<String> =
        show::entries(best, "missing_outputs").map(|id| format!("outputs/{}", show::text(id))).collect();
    if missing.is_empty() { String::new() } else { format!(", left no {}", missing.join(", ")) }
}

/// Why a sweep that has completed has nothing to show; `None` when it has.
fn without_result(state: &Value) -> Option<&'static str> {
    let has_best = state.get("best").is_some_and(|best| best.get("value").is_some());
    if has_best || number(state, "pareto_count") > 0 {
        return None;
    }
    let constrained = show::entries(state, "constraints").next().is_some();
    Some(if constrained { "no trial meets all constraints" } else { "no trial has a value" })
}

/// What is said where no trial is the best one.
fn without_best(state: &Value) -> String {
    let some = |name: &str| state.get(name).and_then(Value::as_array).is_some_and(|items| !items.is_empty());
    match number(state, "pareto_count") {
        0 if some("constraints") => "no feasible trial yet".to_owned(),
        0 => "no value yet".to_owned(),
        1 => "1 trial on the front".to_owned(),
        count => format!("{count} trials on the front"),
    }
}

fn finish(client: &Client, state: &Value) -> Result<(), Failure> {
    if client.is_json() {
        println!("{state}");
    }
    let (name, reason) = (show::field(state, "state"), show::field(state, "reason"));
    if name == "Completed" {
        if let Some(without) = without_result(state) {
            return Err(Failure::BadNews(format!("{without}: the sweep is Completed ({reason})")));
        }
        if !client.is_json() {
            println!("Completed ({reason})");
        }
        return Ok(());
    }
    Err(Failure::BadNews(format!("the sweep is {name}: {reason}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn without_a_best_trial_the_line_says_why() {
        let line = |state: Value| line(&state, "no nodes");
        assert_eq!(line(json!({"state": "Running"})), "Running ·  · no value yet · nodes: no nodes");
        let constrained = json!({"state": "Running", "constraints": [{"metric": "memory"}], "pareto_count": 0});
        assert!(line(constrained).contains("no feasible trial yet"));
        assert!(line(json!({"state": "Running", "pareto_count": 3})).contains("3 trials on the front"));
        let best = json!({"state": "Running", "best": {"value": 0.5, "trial_index": 2}, "pareto_count": 0});
        assert!(line(best).contains("best 0.5000 (trial 2)"));
    }

    #[test]
    fn trials_without_a_value_are_counted_apart_and_are_no_result() {
        let state = json!({"state": "Completed", "trial_counts": {"Completed": 3, "Failed": 1},
            "trials_without_value": 2, "best": null});
        let line = line(&state, "no nodes");
        assert!(line.contains("1 Completed, 1 Failed, 2 without a value · no value yet"), "{line}");
        assert_eq!(without_result(&state), Some("no trial has a value"));
        let best = json!({"best": {"value": 0.5, "trial_index": 2, "missing_outputs": ["model"]}});
        assert_eq!(without_result(&best), None);
        assert!(super::line(&best, "").contains("best 0.5000 (trial 2, left no outputs/model)"));
        assert_eq!(without_result(&json!({"pareto_count": 1})), None);
    }
}
