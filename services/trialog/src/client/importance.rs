//! `trialog importance`.

use clap::Args;
use serde_json::{Value, json};

use super::http::encoded;
use super::output::{self, Format, aligned, entries, field};
use super::{Client, Failure};

/// Columns of the longest bar.
const BAR: usize = 30;

/// Arguments of `trialog importance`.
#[derive(Args)]
pub struct Importance {
    /// The sweep: its name, its id, or the beginning of that.
    sweep: String,
    /// To which watched metric, when there are several; else to the first objective.
    #[arg(long, default_value = "")]
    metric: String,
}

/// Prints how much each parameter matters.
pub async fn importance(client: &Client, arguments: Importance) -> Result<(), Failure> {
    let answer = client
        .get(&format!("sweeps/{}:importance?metric={}", encoded(&arguments.sweep), encoded(&arguments.metric)))
        .await?;
    match client.format() {
        Format::Csv | Format::Name => {
            let names = ["parameter", "importance", "low", "high", "reason"].map(output::column);
            let all = json!({"parameters": all(&answer)});
            output::list(client, &all, output::List::new("parameters", names.into()), &output::View::default())
        }
        _ => {
            output::describe(client, &answer, || table(&answer));
            Ok(())
        }
    }
}

/// A row each parameter: of one that cannot be judged it has the reason in the place of numbers.
fn all(answer: &Value) -> Vec<&Value> {
    entries(answer, "parameters").chain(entries(answer, "unjudged")).collect()
}

fn table(answer: &Value) -> Vec<String> {
    let number = |row: &Value, name: &str| row.get(name).and_then(Value::as_f64).unwrap_or_default();
    let mut rows = vec![["PARAMETER", "SHARE", "LOW TO HIGH", ""].map(str::to_owned).to_vec()];
    for row in entries(answer, "parameters") {
        let (interval, share) =
            (format!("{:.3} to {:.3}", number(row, "low"), number(row, "high")), number(row, "importance"));
        rows.push(vec![field(row, "parameter"), format!("{share:.3}"), interval, bar(share)]);
    }
    let share = number(answer, "interactions");
    rows.push(vec!["(interactions)".to_owned(), format!("{share:.3}"), String::new(), bar(share)]);
    let mut lines = if rows.len() > 2 { aligned(&rows) } else { vec![none_judged(answer)] };
    let apart = |row: &Value| format!("{}: not judged, {}", field(row, "parameter"), field(row, "reason"));
    if field(answer, "trials") == "0" {
        return lines;
    }
    lines.extend(entries(answer, "unjudged").map(apart));
    let (trials, clipped) = (field(answer, "trials"), field(answer, "clipped"));
    let (interval, stopped) = (field(answer, "interval"), field(answer, "stopped_early"));
    let of = match interval.as_str() {
        "" | "0" => format!("from the results of {trials} completed trials"),
        interval => format!("from what {trials} trials had at step {interval}, {stopped} of them stopped early"),
    };
    lines.push(format!("{of}; {clipped} clipped as outliers"));
    lines
}

/// What stands in the place of a table that would say nothing.
fn none_judged(answer: &Value) -> String {
    match field(answer, "trials").as_str() {
        "0" => "no trial has a value that could be compared, so no parameter can be judged".to_owned(),
        "1" => "only one trial has a value that could be compared, so no parameter can be judged".to_owned(),
        _ => "the trials that count do not differ in any parameter, so none can be judged".to_owned(),
    }
}

fn bar(share: f64) -> String {
    "█".repeat((share.clamp(0.0, 1.0) * BAR as f64).round() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let answer = json!({
            "parameters": [
                {"parameter": "lr", "importance": 0.5, "low": 0.4, "high": 0.61},
                {"parameter": "depth", "importance": 0.0, "low": 0.0, "high": 0.0},
            ],
            "interactions": 0.1, "trials": 12, "clipped": 1, "interval": 3, "stopped_early": 5,
        });
        let expected = [
            "PARAMETER       SHARE  LOW TO HIGH",
            "lr              0.500  0.400 to 0.610  ███████████████",
            "depth           0.000  0.000 to 0.000",
            "(interactions)  0.100                  ███",
            "from what 12 trials had at step 3, 5 of them stopped early; 1 clipped as outliers",
        ];
        assert_eq!(table(&answer), expected);
        let of_results = table(&json!({"parameters": [{"parameter": "lr"}], "trials": 9, "clipped": 0}));
        assert_eq!(of_results.last().unwrap(), "from the results of 9 completed trials; 0 clipped as outliers");
    }

    #[test]
    fn what_cannot_be_judged_is_listed_apart_with_the_reason() {
        let apart = json!([{"parameter": "depth", "reason": "no counted trial has it"}]);
        let some = json!({"parameters": [{"parameter": "lr", "importance": 1.0, "low": 1.0, "high": 1.0}],
            "interactions": 0.0, "trials": 8, "clipped": 0, "unjudged": apart});
        let lines = table(&some);
        assert_eq!((lines.len(), lines[3].as_str()), (5, "depth: not judged, no counted trial has it"), "{lines:?}");
        let none = json!({"parameters": [], "interactions": 0.0, "trials": 0, "clipped": 0, "unjudged": apart});
        let sentence = "no trial has a value that could be compared, so no parameter can be judged";
        assert_eq!(table(&none), [sentence]);
        let alike = table(&json!({"parameters": [], "trials": 3, "clipped": 0, "unjudged": apart}));
        assert_eq!(alike.len(), 3, "{alike:?}");
        assert_eq!(all(&some).len(), 2, "a row each in a list");
    }
}
