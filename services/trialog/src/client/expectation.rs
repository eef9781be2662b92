//! What a model expected of its suggestion, as lines to read.

use serde_json::Value;

use super::output::{entries, field};

/// The sampler and its reason, then what its models expected and from which tried configurations they know it.
pub fn lines(explained: &Value) -> Vec<String> {
    let mut lines = vec![format!("by {}: {}", field(explained, "by"), field(explained, "why"))];
    if let Some(mean) = expected(explained) {
        let known =
            number(explained.get("incumbent")).map(|best| format!("; the best so far is believed to be {best}"));
        lines.push(format!("expected {mean}{}", known.unwrap_or_default()));
    }
    if let Some(gain) = number(explained.get("log_expected_improvement")) {
        lines.push(format!("ln of the expected improvement {gain}"));
    }
    for output in entries(explained, "outputs") {
        let mean = expected(output).unwrap_or_default();
        lines.push(format!("expected {}: {mean}", field(output, "name")));
    }
    if let Some(feasible) = number(explained.get("feasible")) {
        lines.push(format!("chance that all constraints hold {feasible}"));
    }
    for near in entries(explained, "nearest") {
        let trial = field(near, "trial");
        let whose = if trial.is_empty() { "a trial of an earlier sweep".to_owned() } else { format!("trial {trial}") };
        let (value, correlation) = (field(near, "value"), number(near.get("correlation")).unwrap_or_default());
        lines.push(format!("near {whose} (correlation {correlation}), which had {value}"));
    }
    lines
}

/// A mean with the interval of one standard deviation to each side.
fn expected(model: &Value) -> Option<String> {
    let mean = number(model.get("mean"))?;
    let (low, high) = (number(model.pointer("/interval/0"))?, number(model.pointer("/interval/1"))?);
    Some(format!("{mean} ({low} to {high})"))
}

/// A model's own number is not known to more than a few digits.
fn number(value: Option<&Value>) -> Option<String> {
    let value = value?.as_f64()?;
    let plain = value == 0.0 || (1e-3..1e6).contains(&value.abs());
    Some(if plain { format!("{value:.4}") } else { format!("{value:.3e}") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::lines;

    #[test]
    fn a_suggestion_of_a_model_tells_what_it_expected() {
        let explained = json!({
            "by": "gp", "why": "it learns most", "mean": 0.95, "interval": [0.9, 1.0], "incumbent": 0.93,
            "log_expected_improvement": -0.839, "feasible": 0.5,
            "outputs": [{"name": "latency", "mean": 0.000012, "interval": [-0.5, 2.0]}],
            "nearest": [{"correlation": 0.77, "value": 0.96}, {"correlation": 0.75, "trial": 0, "value": 0.94}],
        });
        let expected = [
            "by gp: it learns most",
            "expected 0.9500 (0.9000 to 1.0000); the best so far is believed to be 0.9300",
            "ln of the expected improvement -0.8390",
            "expected latency: 1.200e-5 (-0.5000 to 2.0000)",
            "chance that all constraints hold 0.5000",
            "near a trial of an earlier sweep (correlation 0.7700), which had 0.96",
            "near trial 0 (correlation 0.7500), which had 0.94",
        ];
        assert_eq!(lines(&explained), expected);
        let design = json!({"by": "sobol", "why": "part of the initial design"});
        assert_eq!(lines(&design), ["by sobol: part of the initial design"]);
    }
}
