//! `trialog run metrics`: what a run has measured, in sum or point by point.

use clap::Args;
use serde_json::{Value, json};

use super::http::encoded;
use super::output::{self, List, View, column, entries, field};
use super::{Client, Failure, resolve};

/// Arguments of `trialog run metrics`.
#[derive(Args)]
pub struct Metrics {
    /// The run: its id, the beginning of it, SWEEP/INDEX or SWEEP/best.
    run: String,
    /// Only these metrics.
    names: Vec<String>,
    /// Every point, instead of the sum of them.
    #[arg(long)]
    history: bool,
    #[command(flatten)]
    view: View,
}

/// Prints the metrics of a run.
pub async fn metrics(client: &Client, wanted: Metrics) -> Result<(), Failure> {
    let run = resolve::run(client, &wanted.run).await?;
    let mut known = client.get_all(&format!("runs/{}/metrics", encoded(&run)), "metrics").await?;
    if !wanted.names.is_empty() {
        only(&mut known, &wanted.names)?;
    }
    if !wanted.history {
        let names = ["name", "count", "last", "last_step", "min", "max"];
        return output::list(client, &known, List::new("metrics", names.map(column).into()), &wanted.view);
    }
    let mut points = Vec::new();
    for metric in entries(&known, "metrics") {
        let name = field(metric, "name");
        let path = format!("runs/{}/metrics/{}", encoded(&run), encoded(&name));
        let Value::Array(of_one) = client.get_all(&path, "points").await?["points"].take() else { continue };
        points.extend(of_one);
    }
    let columns = vec![
        column("name"),
        column("step"),
        column("value"),
        column("timestamp_ms").wide(),
        column("attempt").wide(),
        column("superseded").wide(),
    ];
    output::list(client, &json!({ "points": points }), List::new("points", columns), &wanted.view)
}

fn only(known: &mut Value, names: &[String]) -> Result<(), Failure> {
    let there: Vec<String> = entries(known, "metrics").map(|metric| field(metric, "name")).collect();
    if let Some(absent) = names.iter().find(|name| !there.contains(name)) {
        let there = there.join(", ");
        return Err(Failure::Usage(format!("the run has no metric {absent}; it has reported {there}")));
    }
    if let Some(metrics) = known.get_mut("metrics").and_then(Value::as_array_mut) {
        metrics.retain(|metric| names.contains(&field(metric, "name")));
    }
    Ok(())
}
