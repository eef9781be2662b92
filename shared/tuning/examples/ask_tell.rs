//! A tuner on standard input and output, one JSON document a line, for measurements beside other tuners.
use std::io::{BufRead, Write};
use trialog_tuning as tuning;
use trialog_tuning::bayes::{Method, Outcome, Recipe, Tuner, TunerSetup};

fn main() {
    let stdin = std::io::stdin();
    let mut lines = stdin.lock().lines().map(|line| line.expect("input"));
    let setup: serde_json::Value = serde_json::from_str(&lines.next().expect("setup")).expect("json");
    let recipe =
        std::env::var("RECIPE").map_or_else(|_| Recipe::default(), |text| serde_json::from_str(&text).expect("recipe"));
    let tuner_setup = TunerSetup {
        space: serde_json::from_value(setup["space"].clone()).expect("space"),
        method: serde_json::from_value::<Method>(setup["method"].clone()).expect("method"),
        goal: tuning::Goal::Minimize,
        seed: setup["seed"].as_u64().expect("seed"),
        noisy: false,
        max_total_trials: setup["budget"].as_u64().expect("budget"),
        max_concurrent_trials: setup["batch"].as_u64().unwrap_or(1),
    };
    let mut tuner = Tuner::with_recipe(tuner_setup, recipe);
    let mut number = 0;
    let mut out = std::io::stdout().lock();
    for line in lines {
        let call: serde_json::Value = serde_json::from_str(&line).expect("json");
        if call["ask"].is_u64() {
            if let Some(task) = tuner.fit_due() {
                let fit = task.run();
                if std::env::var("SHOW").is_ok() {
                    eprintln!("{:.2?}", fit.parameters);
                }
                tuner.use_fit(fit);
            }
            let suggestion = tuner.suggest(number, tuner.known()).expect("used up");
            tuner.proposed(number, &suggestion.proposal.draws);
            let answer = serde_json::json!({"index": number, "parameters": suggestion.proposal.configuration(), "explained": suggestion.explained});
            writeln!(out, "{answer}").expect("output");
            out.flush().expect("output");
            number += 1;
        } else {
            let index = call["tell"].as_u64().expect("tell") as u32;
            let outcome = call["value"].as_f64().filter(|v| v.is_finite()).map_or(Outcome::Failed, Outcome::Value);
            tuner.ended(index, outcome);
        }
    }
}
