//! The whole way through the command line and the endpoint: a code folder becomes a sweep, the sweep a model, the model
//! an answer, and the answer leads back to the code. In the middle the server is killed.

mod command_line;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Home, Options, Server, Watchdog, await_that, processes_of};

use command_line::CommandLine;

/// For everything: a debug build on a busy machine needs a fraction of it.
const LIMIT: Duration = Duration::from_secs(300);
/// How long the endpoint may need to answer again after the server was killed.
const AGAIN: Duration = Duration::from_secs(30);
/// Requests that are sent over both deployments: the chance that 30 % see none of them is 1e-6.
const REQUESTS: u32 = 40;

const TRAIN: &str = r#"
import json, os, pathlib, sys
slope = float(sys.argv[1])
for step in range(3):
    print(json.dumps({"trialog": "metric", "name": "score", "value": slope + step / 10, "step": step}), flush=True)
print("trained with slope", slope)
folder = pathlib.Path(os.environ["TRIALOG_OUTPUT_MODEL"])
(folder / "slope.txt").write_text(str(slope))
(folder / "score.py").write_text(pathlib.Path("served.py").read_text())
"#;

const SERVED: &str = r#"
import json, os, pathlib
slope = None
def init():
    global slope
    slope = float((pathlib.Path(os.environ["TRIALOG_MODEL_DIR"]) / "slope.txt").read_text())
def run(raw):
    return {"slope": slope, "answer": [slope * x for x in json.loads(raw)]}
"#;

const SWEEP: &str = r#"
name: slopes
experiment: lines
cluster: lively
objective: {goal: maximize, primary_metric: score}
search_space: {slope: {type: choice, values: [1, 2, 3, 4]}}
sampling_algorithm: grid
limits: {max_total_trials: 4, max_concurrent_trials: 2}
trial:
  command: [python3, train.py, "${{search_space.slope}}"]
  code: ./
  outputs: {model: {}}
  resources: {cpu_count: 1, memory_bytes: 67108864}
"#;

/// The Python of the tests; its folder comes first on the jobs' PATH.
fn python() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|folder| folder.join("python3")).find(|path| path.exists());
    found.expect("python3 on PATH")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

#[test]
fn from_a_code_folder_to_an_answer_and_back() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the journey");
    let mut server = Server::start(Options::up(&home));
    let client = server.client();
    for (name, content) in [("train.py", TRAIN), ("served.py", SERVED), ("sweep.yaml", SWEEP)] {
        home.write(&format!("code/{name}"), content);
    }
    let cli = CommandLine::new(&home, &server);
    cli.refuses_as_promised();
    let lively = [
        "cluster",
        "create",
        "lively",
        "--vm-size",
        "D8",
        "--max",
        "1",
        "--boot-seconds",
        "0",
        "--idle-seconds",
        "600",
    ];
    cli.run(&lively);
    client.await_version("clusters/lively", LIMIT, |cluster| cluster["provisioning_state"] == "Succeeded");

    let sweep = submitted_and_followed(&cli, &home);
    let runs = explained(&cli, &client, &sweep);
    models_registered(&cli, &client, &runs);
    deployed(&cli, &client);
    let seen = scored(&client);
    assert_eq!(seen.keys().map(String::as_str).collect::<Vec<_>>(), ["blue", "green"], "both deployments answer");
    lineage_leads_back(&cli, &sweep, &seen["blue"]);

    server.restart();
    answers_again(&client);
    let cli = CommandLine::new(&home, &server);
    lineage_leads_back(&cli, &sweep, &seen["green"]);
    assert_eq!(cli.json(&["sweep", "show", "slopes"])["state"], "Completed");
    taken_down(&home, &cli, &client, &mut server);
}

fn submitted_and_followed(cli: &CommandLine, home: &Home) -> String {
    let file = home.join("code/sweep.yaml").display().to_string();
    let python = format!("trial.environment.python={}", python().display());
    let dry = cli.json(&["sweep", "submit", &file, "--set", &python, "--dry-run"]);
    assert_eq!(dry["plan"]["trials"], json!(4), "{dry}");
    let sweep = cli.json(&["sweep", "submit", &file, "--set", &python]);
    let id = text(&sweep, "id").to_owned();
    let followed = cli.run(&["sweep", "follow", &id]);
    assert!(followed.contains("Completed"), "{followed}");
    let shown = cli.json(&["sweep", "show", "slopes"]);
    assert_eq!((&shown["best"]["value"], &shown["best"]["parameters"]["slope"]), (&json!(4.2), &json!(4)), "{shown}");
    id
}

/// The runs by slope, after everything that can be asked about them was asked.
fn explained(cli: &CommandLine, client: &Client, sweep: &str) -> BTreeMap<u64, String> {
    let trials = cli.json(&["trial", "list", sweep]);
    let trials = trials["trials"].as_array().expect("trials");
    assert_eq!(trials.len(), 4, "{trials:?}");
    let verified = cli.json(&["verify", sweep]);
    assert_eq!((&verified["differences"], &verified["checked"]["proposals"]), (&json!([]), &json!(4)), "{verified}");
    let mut runs = BTreeMap::new();
    for trial in trials {
        let (run, slope) = (text(trial, "run_id"), trial["parameters"]["slope"].as_f64().expect("a slope"));
        let why = cli.json(&["why", &format!("{sweep}/{}", trial["index"])]);
        assert_eq!(why["proposal"]["algorithm"], "grid", "{why}");
        assert!(why["placements"].as_array().is_some_and(|placements| !placements.is_empty()), "{why}");
        assert_eq!(why["attempts"].as_array().map(Vec::len), Some(1), "{why}");
        assert_eq!(cli.json(&["why", run])["trial"], why["trial"]);
        let log = cli.run(&["run", "logs", run]);
        assert!(log.contains("trained with slope"), "{log}");
        let artifacts = cli.json(&["run", "artifacts", run]);
        let paths: Vec<_> =
            artifacts["artifacts"].as_array().into_iter().flatten().map(|artifact| text(artifact, "path")).collect();
        assert_eq!(paths, ["outputs/model/score.py", "outputs/model/slope.txt"], "{artifacts}");
        let read = client.get(&format!("runs/{run}/artifacts/outputs/model/slope.txt"));
        assert_eq!((read.status, read.text().parse()), (200, Ok(slope)));
        runs.insert(slope as u64, run.to_owned());
    }
    runs
}

fn models_registered(cli: &CommandLine, client: &Client, runs: &BTreeMap<u64, String>) {
    for (slope, version) in [(4, 1), (3, 2)] {
        let registered = cli.json(&["model", "register", "lines", "--run", &runs[&slope], "--path", "outputs/model"]);
        assert_eq!(
            (&registered["version"], &registered["run_id"]),
            (&json!(version), &json!(runs[&slope])),
            "{registered}"
        );
    }
    cli.run(&["model", "alias", "lines", "champion", "1", "--reason", "the steepest"]);
    let history = cli.json(&["model", "history", "lines"]);
    assert_eq!(history["changes"][0]["reason"], "the steepest", "{history}");
    assert_eq!(client.get("models/lines").expect(200)["aliases"], json!({"champion": 1}));
}

fn deployed(cli: &CommandLine, client: &Client) {
    cli.run(&["endpoint", "create", "lines"]);
    let python = python().display().to_string();
    for (name, model) in [("blue", "lines@champion"), ("green", "lines/versions/2")] {
        let create =
            ["deployment", "create", "lines", name, "--model", model, "--cluster", "lively", "--python", &python];
        let made = cli.json(&[&create[..], &["--cpu-count", "1", "--wait", "60"]].concat());
        assert_eq!(made["provisioning_state"], "Succeeded", "{made}");
    }
    cli.run(&["endpoint", "traffic", "lines", "blue=70", "green=30"]);
    let both = |endpoint: &Value| endpoint["effective_traffic"] == json!({"blue": 70.0, "green": 30.0});
    client.await_version("endpoints/lines", LIMIT, both);
    let logs = cli.run(&["deployment", "logs", "lines", "blue"]);
    assert!(logs.is_empty() || !logs.contains("Traceback"), "{logs}");
}

/// A request id by deployment; each answer is checked.
fn scored(client: &Client) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    for _ in 0..REQUESTS {
        let answer = client.post("/endpoints/default/lines/score", &json!([1, 2]));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let deployment = answer.header("trialog-deployment").to_owned();
        let slope = if deployment == "blue" { 4.0 } else { 3.0 };
        assert_eq!(answer.json(), json!({"slope": slope, "answer": [slope, 2.0 * slope]}));
        assert_eq!(answer.header("trialog-endpoint"), "lines");
        assert!(!answer.header("trialog-model-version").is_empty(), "{:?}", answer.headers);
        seen.insert(deployment, answer.header("x-request-id").to_owned());
    }
    let named = client.request("POST", "/endpoints/default/lines/score").header("trialog-deployment", "green");
    assert_eq!(named.json(&json!([1])).send().header("trialog-deployment"), "green");
    seen
}

fn lineage_leads_back(cli: &CommandLine, sweep: &str, request: &str) {
    let lineage = cli.json(&["lineage", request]);
    let chain = lineage["chain"].as_array().expect("a chain");
    let kinds: Vec<_> = chain.iter().map(|link| text(link, "kind")).collect();
    let wanted = ["answer", "deployment", "model_version", "run", "sweep", "trial", "decision", "code"];
    assert_eq!(kinds, wanted, "{lineage}");
    let id_of =
        |kind: &str| chain.iter().find(|link| link["kind"] == kind).map(|link| text(link, "id")).expect("a link");
    assert_eq!((id_of("answer"), id_of("sweep")), (request, sweep));
    assert!(id_of("code").starts_with("sha256:") && id_of("decision").starts_with(&format!("{sweep}@")), "{lineage}");
}

fn answers_again(client: &Client) {
    let watch = runtime::Stopwatch::start();
    let score = || client.request("POST", "/endpoints/default/lines/score").json(&json!([1])).once().send();
    await_that(AGAIN, || match score() {
        answer if answer.status == 200 => Ok(()),
        answer => Err(format!("the endpoint does not answer again: {} {}", answer.status, answer.text())),
    });
    eprintln!("journey: the endpoint answered again {} ms after the server was ready", watch.elapsed().as_millis());
}

fn taken_down(home: &Home, cli: &CommandLine, client: &Client, server: &mut Server) {
    cli.run(&["endpoint", "delete", "lines"]);
    await_that(LIMIT, || match client.get("endpoints/lines") {
        answer if answer.status == 404 => Ok(()),
        answer => Err(format!("the endpoint is not gone: {}", answer.text())),
    });
    cli.run(&["cluster", "delete", "lively", "--wait", "60"]);
    server.stop();
    let left = processes_of(home.path());
    assert!(left.is_empty(), "left over: {left:#?}");
    assert!(Path::new(&home.join("d/db/sweeps.sqlite")).exists());
}
