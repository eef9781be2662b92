//! The live view of a sweep: trials by state, the best so far, nodes. Plain lines when the output is not a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use runtime::Stopwatch;
use serde_json::Value;

use super::http::encoded;
use super::news::{self, News};
use super::output::{self, Format, entries, field, on_one_line, rounded};
use super::stdout::shown;
use super::{Client, Failure, reasons};

/// How long the server holds an unchanged answer back.
const WAIT_SECONDS: u64 = 20;
/// Lines that are not for a terminal come no more often: a log of them is to be read.
const LINE_SECONDS: u64 = 10;
const SWEEP_ENDED: [&str; 3] = ["Completed", "Failed", "Canceled"];

/// Follows a sweep until its end, over restarts of the server too. One that failed, was canceled or has no value is bad
/// news (exit code 1).
pub async fn follow(client: &Client, sweep: &str, mut news: News) -> Result<(), Failure> {
    let path = format!("sweeps/{}", encoded(sweep));
    let mut state = client.get(&path).await?;
    let is_quiet = !matches!(client.format(), Format::Table | Format::Wide);
    let bar = if is_quiet { None } else { bar(&state) };
    let mut paced = Paced::default();
    loop {
        let has_ended = SWEEP_ENDED.contains(&field(&state, "state").as_str());
        let warnings = news.warnings(&state);
        let warn = || warnings.iter().for_each(|warning| eprintln!("{warning}"));
        bar.as_ref().map_or_else(warn, |bar| bar.suspend(warn));
        if !is_quiet {
            let line = line(&state, &nodes(client, &state).await);
            let failures = news.failures(client, &path, &state).await;
            let waiting = news.waiting(client, &path, &state).await;
            match &bar {
                Some(bar) => {
                    failures.into_iter().chain(waiting).for_each(|line| bar.println(line));
                    bar.set_length(reasons::trial_limit(&state));
                    bar.set_position(ended_trials(&state));
                    bar.set_message(one_line(&line));
                }
                None => {
                    let line = format!("{}/{} ended  {line}", ended_trials(&state), reasons::trial_limit(&state));
                    let line = paced.take(line, has_ended);
                    output::lines(&failures.into_iter().chain(line).chain(waiting).collect::<Vec<_>>());
                }
            }
        }
        if has_ended {
            break;
        }
        let (version, wait) = (number(&state, "version"), news.wait_seconds(paced.wait_seconds()));
        state = client.get_patiently(&format!("{path}?wait={wait}s&after_version={version}")).await?;
    }
    if let Some(bar) = &bar {
        bar.finish();
    }
    finish(client, &state)
}

/// Lets a line through when it says something new, and not too soon after the last one.
#[derive(Default)]
struct Paced {
    printed: String,
    since: Option<Stopwatch>,
    is_late: bool,
}

impl Paced {
    /// The line, when it is to be printed now.
    fn take(&mut self, line: String, is_last: bool) -> Option<String> {
        let passed = self.since.is_none_or(|since| since.elapsed().as_secs() >= LINE_SECONDS);
        self.is_late = line != self.printed && !passed && !is_last;
        if line == self.printed || self.is_late {
            return None;
        }
        self.printed.clone_from(&line);
        self.since = Some(Stopwatch::start());
        Some(line)
    }

    /// How long to wait for something new: no longer than until a held line may be printed.
    fn wait_seconds(&self) -> u64 {
        match self.since {
            Some(since) if self.is_late => (LINE_SECONDS + 1).saturating_sub(since.elapsed().as_secs()).max(1),
            _ => WAIT_SECONDS,
        }
    }
}

fn bar(state: &Value) -> Option<ProgressBar> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {elapsed} {msg}").ok()?;
    let bar = ProgressBar::new(reasons::trial_limit(state)).with_style(style);
    bar.set_prefix(one_line(&field(state, "name")));
    bar.enable_steady_tick(std::time::Duration::from_millis(250));
    Some(bar)
}

/// A text as a cell of a table is: what stands beside a bar steers no terminal and breaks no line.
fn one_line(text: &str) -> String {
    shown(&on_one_line(text)).into_owned()
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

/// The nodes by state; nothing when the cluster cannot be read.
async fn nodes(client: &Client, state: &Value) -> String {
    let cluster = field(state, "cluster");
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
        Some((value, trial)) => format!("best {} (trial {trial}{})", rounded(value), lost(&state["best"])),
        None => without_best(state),
    };
    let conditions = field(state, "conditions");
    let stalled = if conditions.is_empty() { String::new() } else { format!(" · {conditions}") };
    let parts = [field(state, "state"), trials.join(", "), best, format!("nodes: {nodes}{stalled}")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// What the best trial should have left, and whether that is of its best value.
fn lost(best: &Value) -> String {
    let missing = reasons::lost(best);
    let lost = if missing.is_empty() { String::new() } else { format!(", left no {}", missing.join(", ")) };
    let unkept = if field(best, "unkept").is_empty() { String::new() } else { format!(", {}", reasons::UNKEPT) };
    lost + &unkept
}

/// Why a sweep that has completed has nothing to show; `None` when it has.
fn without_result(state: &Value) -> Option<&'static str> {
    let has_best = state.get("best").is_some_and(|best| best.get("value").is_some());
    if has_best || number(state, "pareto_count") > 0 {
        return None;
    }
    let constrained = entries(state, "constraints").next().is_some();
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
    let (name, reason) = (field(state, "state"), reasons::of_sweep(state));
    let is_text = matches!(client.format(), Format::Table | Format::Wide);
    if !is_text {
        output::thing(client, state);
    }
    if name != "Completed" {
        return Err(Failure::BadNews(format!("the sweep is {name}: {reason}")));
    }
    if let Some(without) = without_result(state) {
        let hint = news::of_no_value(state).map(|hint| format!("; {hint}")).unwrap_or_default();
        return Err(Failure::BadNews(format!("{without}: the sweep is Completed ({reason}){hint}")));
    }
    if is_text {
        output::line(&format!("Completed ({reason})"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn without_a_best_trial_the_line_says_why() {
        let line = |state: Value| line(&state, "no nodes");
        assert_eq!(line(json!({"state": "Running"})), "Running · no value yet · nodes: no nodes");
        let constrained = json!({"state": "Running", "constraints": [{"metric": "memory"}], "pareto_count": 0});
        assert!(line(constrained).contains("no feasible trial yet"));
        assert!(line(json!({"state": "Running", "pareto_count": 3})).contains("3 trials on the front"));
        let best = json!({"state": "Running", "best": {"value": 0.5, "trial_index": 2}, "pareto_count": 0});
        assert!(line(best).contains("best 0.5 (trial 2)"));
    }

    #[test]
    fn the_name_of_a_sweep_steers_no_terminal_beside_its_bar() {
        // Whoever named a sweep set the title of the window in which another one followed it.
        assert_eq!(one_line("a\u{1b}]0;pwn\u{7}\nb\u{202e}c"), "a ]0;pwn b\\u{202e}c");
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
        assert!(super::line(&best, "").contains("best 0.5 (trial 2, left no outputs/model)"));
        assert_eq!(without_result(&json!({"pareto_count": 1})), None);
        let unkept = json!({"best": {"value": 0.5, "trial_index": 2, "unkept": "it had changed"}});
        assert!(super::line(&unkept, "").contains("best 0.5 (trial 2, its best was not kept)"));
    }

    #[test]
    fn a_log_of_lines_has_what_changed_and_not_every_report() {
        // Four hundred trials a minute would be four hundred lines in the output of a batch job.
        let mut paced = Paced::default();
        let line = |text: &str| text.to_owned();
        assert_eq!(paced.take(line("a"), false), Some(line("a")));
        assert_eq!(paced.take(line("a"), false), None);
        assert_eq!(paced.wait_seconds(), WAIT_SECONDS);
        assert_eq!(paced.take(line("b"), false), None, "too soon");
        assert!(paced.wait_seconds() <= LINE_SECONDS + 1, "it is printed once it may be");
        assert_eq!(paced.take(line("c"), true), Some(line("c")), "the end is told at once");
    }
}
