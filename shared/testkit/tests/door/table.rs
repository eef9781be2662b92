//! The rows that are data.

use serde_json::{Value, json};
use trialog_testkit::{Answer, Client};

const REQUESTS: &str = include_str!("transport.toml");
const DOCUMENTS: [&str; 4] =
    [include_str!("compat.toml"), include_str!("space.toml"), include_str!("sweep.toml"), include_str!("trial.toml")];

/// The sound document, section by section; a row replaces some.
const SOUND: [(&str, &str); 6] = [
    ("cluster", "spot"),
    ("objective", "{goal: maximize, primary_metric: val_acc}"),
    ("search_space", "{lr: {type: uniform, min_value: 0.1, max_value: 1}}"),
    ("sampling_algorithm", "random"),
    ("limits", "{max_total_trials: 40, max_concurrent_trials: 4}"),
    ("trial", "{command: [/bin/true]}"),
];

fn rows(text: &str) -> Vec<Value> {
    let table: Value = toml::from_str(text).expect("the table is TOML");
    table["row"].as_array().expect("rows").clone()
}

fn text<'a>(row: &'a Value, name: &str, default: &'a str) -> &'a str {
    row[name].as_str().unwrap_or(default)
}

fn pairs(row: &Value, name: &str) -> Option<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some(row.get(name)?.as_array()?.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect())
}

/// What is wrong with an answer, by the row's expectation.
fn fault(row: &Value, answer: &Answer) -> Option<String> {
    let status = row["status"].as_u64().unwrap_or_default();
    let errors = pairs(row, "errors");
    let code = row["code"].as_str().map(str::to_owned).or_else(|| Some(errors.as_ref()?.first()?.0.clone()));
    let body = answer.text();
    let is_problem = answer.header("content-type").starts_with("application/problem+json");
    let good = u64::from(answer.status) == status
        && code.is_none_or(|code| answer.code() == code)
        && errors.is_none_or(|errors| answer.errors() == errors)
        && body.contains(text(row, "says", ""))
        && is_problem == (status >= 400)
        && (!is_problem || has_all_members(&answer.json()));
    (!good).then(|| format!("row {}: {row}\n  answered {} {}", row["row"], answer.status, shortened(&body)))
}

fn has_all_members(problem: &Value) -> bool {
    ["type", "title", "code", "detail", "request_id"]
        .iter()
        .all(|name| problem[name].as_str().is_some_and(|s| !s.is_empty()))
        && problem["status"].is_u64()
        && problem["errors"].is_array()
}

fn shortened(text: &str) -> String {
    text.chars().take(1500).collect()
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} rows are answered otherwise:\n{}", faults.len(), faults.join("\n"));
}

/// Whole requests.
pub fn requests(client: &Client) {
    let mut faults = Vec::new();
    for row in rows(REQUESTS) {
        let client = row["token"].as_str().map_or_else(|| client.clone(), |token| client.with_token(token));
        let padding = usize::try_from(row["padding"].as_u64().unwrap_or_default()).unwrap_or_default();
        let body = format!("{}{}", text(&row, "body", ""), "x".repeat(padding));
        let request = client.request(text(&row, "method", "GET"), text(&row, "path", ""));
        faults.extend(fault(&row, &request.body(text(&row, "type", ""), body).once().send()));
    }
    report(&faults);
}

fn document(row: &Value) -> String {
    let mut sections: Vec<(&str, &str)> = SOUND.to_vec();
    for (name, text) in row["set"].as_object().into_iter().flatten() {
        let text = text.as_str().unwrap_or_default();
        match sections.iter().position(|(known, _)| known == name) {
            Some(place) => sections[place].1 = text,
            None => sections.push((name, text)),
        }
    }
    let kept = sections.iter().filter(|(_, text)| !text.is_empty());
    kept.map(|(name, text)| format!("{name}: {text}\n")).collect()
}

/// Documents of sweeps: for real, as a dry run and strictly.
pub fn documents(client: &Client) {
    let mut faults = Vec::new();
    for row in DOCUMENTS.iter().flat_map(|text| rows(text)) {
        let yaml = document(&row);
        let send = |path: &str| client.request("POST", path).body("application/yaml", yaml.clone()).once().send();
        let dry = send("sweeps?dry_run=true");
        if row["status"] != json!(201) {
            faults.extend(fault(&row, &send("sweeps")));
            faults.extend(fault(&row, &dry).map(|fault| format!("as a dry run: {fault}")));
            continue;
        }
        let warnings = pairs(&row, "warnings").unwrap_or_default();
        if dry.status != 200 || dry.warnings() != warnings || !dry.json()["plan"]["trials"].is_u64() {
            faults.push(format!("row {}: {yaml}  dry run: {} {}", row["row"], dry.status, shortened(&dry.text())));
        }
        let strict = send("sweeps?dry_run=true&strict=true");
        let refused = (strict.status, strict.errors()) == (422, warnings.clone());
        if !(if warnings.is_empty() { strict.status == 200 } else { refused }) {
            faults.push(format!("row {}: {yaml}  strict: {} {}", row["row"], strict.status, shortened(&strict.text())));
        }
        let real = send("sweeps");
        if real.status != 201 || real.warnings() != warnings {
            faults.push(format!("row {}: {yaml}  answered {} {}", row["row"], real.status, shortened(&real.text())));
        } else {
            let id = real.json()["id"].as_str().unwrap_or_default().to_owned();
            client.post(&format!("sweeps/{id}:cancel"), &json!({}));
        }
    }
    report(&faults);
}
