//! A tuner on standard input and output, one JSON document a line, for measurements beside other tuners.
//!
//! First `{"space", "method", "seed", "budget", "batch", "rules"}`, then `{"ask": 1}`, answered by `{"index",
//! "parameters", "explained"}`, and `{"tell": index, "value": number or null}`. The environment's RECIPE may hold other
//! constants.

use std::io::{BufRead, Write};

use serde_json::{Value, json};
use trialog_tuning::bayes::{Outcome, Recipe, Tuner, TunerSetup};
use trialog_tuning::{Goal, TunerVersion};

fn setup(line: &str) -> Result<Tuner, serde_json::Error> {
    let setup: Value = serde_json::from_str(line)?;
    let recipe = match std::env::var("RECIPE") {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Recipe::default(),
    };
    let version = setup["rules"].as_u64().and_then(|rules| TunerVersion::recorded(u32::try_from(rules).ok()?));
    let version = version.unwrap_or_default();
    let tuner_setup = TunerSetup {
        space: serde_json::from_value(setup["space"].clone())?,
        method: serde_json::from_value(setup["method"].clone())?,
        goal: Goal::Minimize,
        outputs: Vec::new(),
        seed: setup["seed"].as_u64().unwrap_or_default(),
        noisy: false,
        max_total_trials: setup["budget"].as_u64().unwrap_or(100),
        max_concurrent_trials: setup["batch"].as_u64().unwrap_or(1),
        version,
    };
    Ok(Tuner::with_recipe(tuner_setup, recipe))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut lines = std::io::stdin().lock().lines();
    let mut tuner = setup(&lines.next().ok_or("the first line is the setup")??)?;
    let mut out = std::io::stdout().lock();
    let mut number = 0;
    for line in lines {
        let call: Value = serde_json::from_str(&line?)?;
        if call.get("ask").is_some() {
            if let Some(task) = tuner.fit_due() {
                tuner.use_fit(task.run());
            }
            let known = tuner.known();
            let suggestion = tuner.suggest(number, known).ok_or("the space is used up")?;
            tuner.proposed(number, &suggestion.proposal.draws, Some(known));
            let parameters = suggestion.proposal.configuration();
            let answer = json!({"index": number, "parameters": parameters, "explained": suggestion.explained});
            writeln!(out, "{answer}")?;
            out.flush()?;
            number += 1;
        } else if let Some(index) = call["tell"].as_u64() {
            let value = call["value"].as_f64().filter(|value| value.is_finite());
            tuner.ended(u32::try_from(index)?, value.map_or(Outcome::Failed, Outcome::Value));
        }
    }
    Ok(())
}
