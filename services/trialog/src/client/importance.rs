//! `trialog importance`.

use clap::Args;
use serde_json::Value;

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
            let names = ["parameter", "importance", "low", "high"].map(output::column);
            output::list(client, &answer, output::List::new("parameters", names.into()), &output::View::default())
        }
        _ => {
            output::describe(client, &answer, || table(&answer));
            Ok(())
        }
    }
}

fn table(answer: &Value) -> Vec<String> {
    let number = |row: &Value, name: &str| row.get(name).and_then(Value::as_f64).unwrap_or_default();
    let mut rows = vec![["PARAMETER", "SHARE", "10-90 %", ""].map(str::to_owned).to_vec()];
    for row in entries(answer, "parameters") {
        let (interval, share) =
            (format!("{:.3} to {:.3}", number(row, "low"), number(row, "high")), number(row, "importance"));
        rows.push(vec![field(row, "parameter"), format!("{share:.3}"), interval, bar(share)]);
    }
    let share = number(answer, "interactions");
    rows.push(vec!["(interactions)".to_owned(), format!("{share:.3}"), String::new(), bar(share)]);
    let mut lines = aligned(&rows);
    let (trials, clipped) = (field(answer, "trials"), field(answer, "clipped"));
    let (interval, stopped) = (field(answer, "interval"), field(answer, "stopped_early"));
    let of = match interval.as_str() {
        "" | "0" => format!("from the results of {trials} completed trials"),
        interval => format!("from what {trials} trials had at step {interval}, {stopped} of them stopped early"),
    };
    lines.push(format!("{of}; {clipped} clipped as outliers"));
    lines
}

fn bar(share: f64) -> String {
    "█".repeat((share.clamp(0.0, 1.0) * BAR as f64).round() as usize)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
            "PARAMETER       SHARE  10-90 %",
            "lr              0.500  0.400 to 0.610  ███████████████",
            "depth           0.000  0.000 to 0.000",
            "(interactions)  0.100                  ███",
            "from what 12 trials had at step 3, 5 of them stopped early; 1 clipped as outliers",
        ];
        assert_eq!(table(&answer), expected);
        let of_results = table(&json!({"parameters": [], "interactions": 0.0, "trials": 9, "clipped": 0}));
        assert_eq!(of_results.last().unwrap(), "from the results of 9 completed trials; 0 clipped as outliers");
    }
}
