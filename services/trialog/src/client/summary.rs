//! A sweep as people read it.

use serde_json::{Value, json};

use super::output::{self, Format, List, View, column, entries, field, is_empty, text};
use super::{Client, Failure, reasons};

/// Prints a sweep; with `spec` the document in force alone. The trials of its front are a table below it.
pub fn show(client: &Client, sweep: &Value, spec: bool) -> Result<(), Failure> {
    if spec {
        let document = sweep.get("spec").cloned().unwrap_or_default();
        output::specification(client, &document);
        return Ok(());
    }
    if !matches!(client.format(), Format::Table | Format::Wide) {
        output::thing(client, sweep);
        return Ok(());
    }
    output::lines(&lines(sweep));
    if entries(sweep, "pareto").next().is_none() {
        return Ok(());
    }
    output::line("");
    let columns =
        vec![column("trial").at("trial_index"), column("values"), column("parameters"), column("run_id").wide()];
    output::list(client, sweep, List::new("pareto", columns), &View::default())
}

/// Prints what a command has made of a sweep.
pub fn changed(client: &Client, sweep: &Value) {
    match client.format() {
        Format::Table | Format::Wide => {
            output::line(&format!("{}  {}", field(sweep, "name"), standing(sweep)));
        }
        _ => output::thing(client, sweep),
    }
}

/// The state, with its reason in words.
fn standing(sweep: &Value) -> String {
    let (state, reason) = (field(sweep, "state"), reasons::of_sweep(sweep));
    if reason.is_empty() { state } else { format!("{state}: {reason}") }
}

fn lines(sweep: &Value) -> Vec<String> {
    let spec = sweep.get("spec").unwrap_or(&Value::Null);
    let at = |path: &str| spec.pointer(path).filter(|value| !value.is_null());
    let rows = [
        ("name", field(sweep, "name")),
        ("id", field(sweep, "sweep_id")),
        ("state", standing(sweep)),
        ("conditions", field(sweep, "conditions")),
        ("objective", objective(sweep)),
        ("constraints", constraints(sweep)),
        ("best", best(sweep)),
        ("trials", trials(sweep)),
        ("search space", space(at("/search_space"))),
        ("sampling", typed(at("/sampling_algorithm"), &field(sweep, "seed"))),
        ("early termination", typed(at("/early_termination"), "")),
        ("limits", typed(at("/limits"), "")),
        ("experiment", field(sweep, "experiment")),
        ("cluster", field(sweep, "cluster")),
        ("description", field(sweep, "description")),
        ("tags", field(sweep, "tags")),
        ("forked from", parent(sweep)),
        ("created", output::moment(&field(sweep, "created_at"))),
        ("started", output::moment(&field(sweep, "started_at"))),
        ("ended", output::moment(&field(sweep, "ended_at"))),
        ("archived", output::moment(&field(sweep, "archived_at"))),
    ];
    let shown: Vec<(String, String)> = rows
        .into_iter()
        .filter(|(_, cell)| !cell.trim().is_empty())
        .map(|(name, cell)| (name.to_owned(), cell))
        .collect();
    let mut lines = output::pairs(&shown);
    let warned = entries(sweep, "warnings");
    lines.extend(warned.map(|warning| format!("warning: {} ({})", field(warning, "message"), field(warning, "code"))));
    lines
}

/// A section of the document, its type first; with the seed in force where it has one.
fn typed(section: Option<&Value>, seed: &str) -> String {
    let mut rest = section.cloned().unwrap_or_default();
    let fields = rest.as_object_mut();
    let kind = fields.and_then(|fields| fields.remove("type")).map(|kind| text(&kind)).unwrap_or_default();
    if !seed.is_empty() && rest.is_object() {
        rest["seed"] = seed.into();
    }
    format!("{kind} {}", text(&rest)).trim().to_owned()
}

fn objective(sweep: &Value) -> String {
    let several: Vec<String> = entries(sweep, "objectives")
        .map(|one| format!("{} {}", field(one, "goal"), field(one, "primary_metric")))
        .collect();
    if several.is_empty() {
        format!("{} {}", field(sweep, "goal"), field(sweep, "primary_metric"))
    } else {
        several.join(", ")
    }
}

fn constraints(sweep: &Value) -> String {
    let all = entries(sweep, "constraints");
    let texts = all.map(|one| format!("{} {} {}", field(one, "metric"), field(one, "op"), field(one, "value")));
    texts.collect::<Vec<_>>().join(", ")
}

fn best(sweep: &Value) -> String {
    let Some(best) = sweep.get("best").filter(|best| best.get("value").is_some()) else {
        return match sweep.get("pareto_count").and_then(Value::as_u64) {
            Some(count) if count > 0 => format!("{count} trials on the front"),
            _ => "no value yet".to_owned(),
        };
    };
    let lost = reasons::lost(best);
    let lost = if lost.is_empty() { String::new() } else { format!("; it left no {}", lost.join(", ")) };
    let unkept = field(best, "unkept");
    let unkept = if unkept.is_empty() { unkept } else { format!("; {}: {unkept}", reasons::UNKEPT) };
    let (value, trial) = (field(best, "value"), field(best, "trial_index"));
    format!("{value} by trial {trial} ({}){lost}{unkept}", field(best, "parameters"))
}

fn trials(sweep: &Value) -> String {
    let mut counts: Vec<String> = sweep
        .get("trial_counts")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, count)| count.as_u64() != Some(0))
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let without = sweep.get("trials_without_value").and_then(Value::as_u64).unwrap_or_default();
    if without > 0 {
        counts.push(format!("{without} of them without a value"));
    }
    let preemptions = sweep.get("preemptions").and_then(Value::as_u64).unwrap_or_default();
    if preemptions > 0 {
        counts.push(format!("{preemptions} preemptions"));
    }
    let (made, limit) = (field(sweep, "proposals"), reasons::trial_limit(sweep));
    let at_once = field(sweep, "max_concurrent_trials");
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let inherited = sweep.get("inherited_trials").and_then(Value::as_u64).unwrap_or_default();
    let inherited = if inherited > 0 { format!(" and {inherited} inherited") } else { String::new() };
    format!("{made} of {limit}{inherited}, {at_once} at once{counts}")
}

/// `lr uniform, net.depth choice`.
fn space(space: Option<&Value>) -> String {
    let parameters = space.and_then(Value::as_object).into_iter().flatten();
    parameters.map(|(name, drawn)| format!("{name} {}", field(drawn, "type"))).collect::<Vec<_>>().join(", ")
}

fn parent(sweep: &Value) -> String {
    let parent = field(sweep, "parent_sweep_id");
    if parent.is_empty() { parent } else { format!("{parent} at position {}", field(sweep, "parent_position")) }
}

/// Prints what a dry run has found.
pub fn plan(client: &Client, answer: &Value) {
    output::describe(client, answer, || {
        let mut lines = vec!["the document is good; nothing was written".to_owned()];
        let plan = answer.get("plan").cloned().unwrap_or_default();
        let planned = json!({"python": answer.get("python"), "plan": plan});
        let (proposals, rest) = split(planned);
        lines.extend(output::fields_of(&rest));
        lines.extend(proposals.iter().map(|proposal| format!("would propose  {}", text(proposal))));
        let warned = entries(answer, "warnings");
        lines.extend(
            warned.map(|warning| format!("warning: {} ({})", field(warning, "message"), field(warning, "code"))),
        );
        lines
    });
}

/// The first proposals, and the plan without them.
fn split(mut planned: Value) -> (Vec<Value>, Value) {
    let proposals = planned["plan"].as_object_mut().and_then(|plan| plan.remove("first_proposals"));
    let proposals = match proposals {
        Some(Value::Array(proposals)) => proposals.into_iter().filter(|proposal| !is_empty(proposal)).collect(),
        _ => Vec::new(),
    };
    (proposals, planned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_shown_without_its_document() {
        let sweep = json!({
            "name": "digits", "sweep_id": "sweep_1", "state": "Completed", "reason": "max_total_trials",
            "goal": "minimize", "primary_metric": "rmse", "proposals": 4, "max_total_trials": 4,
            "max_concurrent_trials": 2, "trial_counts": {"Completed": 3, "Failed": 1}, "trials_without_value": 1,
            "best": {"trial_index": 2, "value": 1.25, "parameters": {"lr": 0.1}, "missing_outputs": ["model"]},
            "spec": {"sampling_algorithm": {"type": "grid"}, "search_space": {"lr": {"type": "uniform"}}},
            "seed": "7", "warnings": [{"code": "NoOutputs", "message": "trial 2 left nothing"}],
        });
        let expected = [
            "name          digits",
            "id            sweep_1",
            "state         Completed: all its trials were made",
            "objective     minimize rmse",
            "best          1.25 by trial 2 (lr=0.1); it left no outputs/model",
            "trials        4 of 4, 2 at once: 3 Completed, 1 Failed, 1 of them without a value",
            "search space  lr uniform",
            "sampling      grid seed=7",
            "warning: trial 2 left nothing (NoOutputs)",
        ];
        assert_eq!(lines(&sweep), expected);
    }
}
