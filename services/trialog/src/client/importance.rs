//! `trialog importance`.

use clap::Args;
use serde_json::Value;

use super::http::encoded;
use super::{Client, Failure, show};

/// Columns of the longest bar.
const BAR: usize = 30;

/// Arguments of `trialog importance`.
#[derive(Args)]
pub struct Importance {
    /// The sweep's id or name.
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
    if client.is_json() {
        println!("{answer}");
    } else {
        print!("{}", table(&answer));
    }
    Ok(())
}

fn table(answer: &Value) -> String {
    let number = |row: &Value, name: &str| row.get(name).and_then(Value::as_f64).unwrap_or_default();
    let mut rows: Vec<(String, f64, String)> = Vec::new();
    for row in answer.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        let interval = format!("{:.3} to {:.3}", number(row, "low"), number(row, "high"));
        rows.push((show::field(row, "parameter"), number(row, "importance"), interval));
    }
    rows.push(("(interactions)".to_owned(), number(answer, "interactions"), String::new()));
    let width = rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or_default();
    let mut text = format!("{:width$}  SHARE  10-90 %\n", "PARAMETER");
    for (name, share, interval) in rows {
        let line = format!("{name:width$}  {share:.3}  {interval:14}  {}", bar(share));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let (trials, clipped) = (show::field(answer, "trials"), show::field(answer, "clipped"));
    text.push_str(&format!("from {trials} completed trials, {clipped} of them clipped as outliers\n"));
    text
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
            "interactions": 0.1, "trials": 12, "clipped": 1,
        });
        let expected = [
            "PARAMETER       SHARE  10-90 %",
            "lr              0.500  0.400 to 0.610  ███████████████",
            "depth           0.000  0.000 to 0.000",
            "(interactions)  0.100                  ███",
            "from 12 completed trials, 1 of them clipped as outliers",
            "",
        ];
        assert_eq!(table(&answer), expected.join("\n"));
    }
}
