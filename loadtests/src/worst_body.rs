//! `worst_body`: the longest that the door takes to answer a body that is made to break readers, over all routes of the
//! published document that take one, each as long as the route allows; and `worst_body_memory`, by how much the most
//! expensive of them lets the server grow.

use std::fs;

use anyhow::Context;
use runtime::Stopwatch;
use serde_json::{Value, json};
use testkit::{Client, Options, Server};

use crate::figure::Figure;

/// Longest bodies: of a document, of a batch of points, of a table.
const DOCUMENT_BYTES: usize = 1 << 20;
const METRICS_BYTES: usize = 4 << 20;
const IMPORT_BYTES: usize = 7 << 20;
/// What stands where the bad part comes.
const HOLE: &str = "\u{1}hole";
const KIB_A_MIB: f64 = 1024.0;
const MS_A_SECOND: f64 = 1000.0;

/// A bad part: its beginning, what is repeated (with its number), its end.
type Part = (&'static str, fn(usize) -> String, &'static str);

const PARTS: [Part; 10] = [
    ("[", |_| "[]".to_owned(), "]"),
    ("[", |_| "{\"a\":0}".to_owned(), "]"),
    ("[", |_| "1".to_owned(), "]"),
    ("[", |_| "\"x\"".to_owned(), "]"),
    ("{", |number| format!("\"k{number}\":{number}"), "}"),
    ("{", |number| format!("\"k{number}\":{{}}"), "}"),
    ("{", |number| format!("\"k{number}\":\"${{{{search_space.z{number}}}}}\""), "}"),
    ("{", |number| format!("\"k{number}\":{{\"type\":\"choice\",\"values\":[1,2]}}"), "}"),
    ("{", |_| "\"a\":{}".to_owned(), "}"),
    ("[[[[[[[[", |_| "null".to_owned(), "]]]]]]]]"),
];

/// Fills a document up to so many bytes.
fn filled(document: &Value, part: &Part, bytes: usize) -> String {
    let text = document.to_string();
    let hole = json!(HOLE).to_string();
    let (before, after) = text.split_once(&hole).unwrap_or((&text, ""));
    let (open, piece, close) = part;
    let mut filled = String::with_capacity(bytes);
    filled.push_str(before);
    filled.push_str(open);
    for number in 0.. {
        let piece = piece(number);
        if filled.len() + piece.len() + 1 + close.len() + after.len() > bytes {
            break;
        }
        if number > 0 {
            filled.push(',');
        }
        filled.push_str(&piece);
    }
    filled.push_str(close);
    filled.push_str(after);
    filled
}

/// The bad bodies of a route, made of a good one: unknown fields, a long name with a long list below it, and each
/// member in each bad form.
fn bad(good: &Value, bytes: usize) -> Vec<String> {
    let with = |name: &str| {
        let mut document = good.clone();
        document[name] = json!(HOLE);
        document
    };
    let unknown = {
        let text = good.to_string();
        let inner = text.trim_end_matches('}').to_owned();
        let joint = if inner == "{" { "" } else { "," };
        let fields = (0..).map(|number| format!("\"unknown_{number}\":0"));
        let mut text = format!("{inner}{joint}");
        for (number, field) in fields.enumerate() {
            if text.len() + field.len() + 2 > bytes {
                break;
            }
            text.push_str(if number > 0 { "," } else { "" });
            text.push_str(&field);
        }
        text + "}"
    };
    let mut all = vec![unknown];
    let long = "n".repeat(bytes / 2);
    for name in good.as_object().into_iter().flatten().map(|(name, _)| name) {
        all.extend(PARTS.iter().map(|part| filled(&with(name), part, bytes)));
        let mut below = good.clone();
        below[name] = json!({ &long: {"type": "choice", "values": HOLE} });
        all.push(filled(&below, &PARTS[0], bytes));
    }
    all
}

/// A message of a schema.
fn sample(document: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return sample(document, &document["components"]["schemas"][name]);
    }
    let members = schema["properties"].as_object().into_iter().flatten();
    Value::Object(members.map(|(name, _)| (name.clone(), json!("x"))).collect())
}

/// Documents whose form no schema says.
fn document_of(operation: &str) -> Option<Value> {
    Some(match operation {
        "submit_sweep" => json!({
            "name": "s", "cluster": "c", "tags": {}, "objective": {"goal": "maximize", "primary_metric": "m"},
            "search_space": {"lr": {"type": "uniform", "min_value": 0.1, "max_value": 1}},
            "sampling_algorithm": "random", "early_termination": {"type": "bandit"}, "resume_from": [],
            "resume_trials": [], "limits": {"max_total_trials": 1},
            "trial": {"command": ["true", "${{search_space.lr}}"]},
        }),
        "update_sweep" => json!({"limits": {}, "description": "d", "tags": {}}),
        "fork_sweep" => json!({"at": 1, "name": "n", "search_space": {}, "limits": {}, "early_termination": {}}),
        "what_if" => json!({"policies": [], "workers": 1}),
        "import_sweep" => json!({
            "name": "t", "objective": {"goal": "minimize", "primary_metric": "m"}, "tags": {},
            "search_space": {"lr": {"type": "uniform", "min_value": 0.1, "max_value": 1}}, "trials": [],
        }),
        "put_deployment" => json!({"model": "m", "cluster": "c", "environment_variables": {}, "resources": {}}),
        _ => return None,
    })
}

fn memory_mib(pid: u32, name: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("a line of the status")?;
    let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / KIB_A_MIB)
}

/// The worst of one route: seconds and MiB, each with the body's place in the list.
fn worst_of(
    server: &Server,
    client: &Client,
    (method, path): (&str, &str),
    bodies: &[String],
) -> anyhow::Result<(f64, f64)> {
    let pid = server.pid().context("the server lives")?;
    let (mut seconds, mut mib) = (0.0f64, 0.0f64);
    for body in bodies {
        // The highest mark is forgotten, so that it is this body's.
        fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
        let before = memory_mib(pid, "VmRSS")?;
        let request = client.request(method, path).body("application/json", body.clone()).once();
        let watch = Stopwatch::start();
        let answer = request.send();
        seconds = seconds.max(watch.elapsed().as_secs_f64());
        mib = mib.max(memory_mib(pid, "VmHWM")? - before);
        anyhow::ensure!(answer.status < 500, "{method} {path}: {} {}", answer.status, answer.text());
    }
    Ok((seconds, mib))
}

/// Measures.
pub fn measure(options: Options) -> anyhow::Result<Vec<Figure>> {
    let server = Server::start(options);
    let client = server.client();
    let document = client.get("/openapi.json").expect(200);
    let run = client.post("runs", &json!({})).expect(201)["run_id"].as_str().context("an id")?.to_owned();
    let sweep = json!({
        "name": "s1", "mode": "external", "objective": {"goal": "minimize", "primary_metric": "m"},
        "search_space": {"lr": {"type": "uniform", "min_value": 0.1, "max_value": 1}}, "sampling_algorithm": "random",
        "limits": {"max_total_trials": 1},
    });
    client.post("sweeps", &sweep).expect(201);
    client.put("endpoints/endpoint", &json!({})).expect(201);
    let (mut seconds, mut mib) = (0.0f64, 0.0f64);
    for (template, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let name = operation["operationId"].as_str().unwrap_or_default();
            if schema.is_null() {
                continue;
            }
            let bytes = match name {
                "record_metrics" => METRICS_BYTES,
                "import_sweep" => IMPORT_BYTES,
                _ => DOCUMENT_BYTES,
            };
            let good = document_of(name).unwrap_or_else(|| sample(&document, schema));
            let path = template.replace("{workspace}", "default").replace("{run}", &run).replace("{sweep}", "s1");
            let path = path.replace("{endpoint}", "endpoint").replace("{index}", "0").replace(['{', '}'], "");
            let (slow, large) = worst_of(&server, &client, (&method.to_uppercase(), &path), &bad(&good, bytes))?;
            eprintln!("{name}: {:.0} ms, {large:.0} MiB", slow * MS_A_SECOND);
            (seconds, mib) = (seconds.max(slow), mib.max(large));
        }
    }
    Ok(vec![
        Figure { what: "worst_body", value: seconds * MS_A_SECOND, unit: "ms", floor: None },
        Figure { what: "worst_body_memory", value: mib, unit: "MiB", floor: None },
    ])
}
