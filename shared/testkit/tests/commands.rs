//! What the command line shows of a sweep that goes badly, and of what it follows over a restart: as a user sees it.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use trialog_testkit::{CommandLine, Home, Options, Server, Watchdog, await_that};

/// For everything: a debug build on a busy machine needs a fraction of it.
const LIMIT: Duration = Duration::from_secs(240);

/// Its trials never have a value: two report NaN, one fails and says why.
const HOPELESS: &str = r#"
name: hopeless
cluster: lively
objective: {goal: minimize, primary_metric: rmse}
search_space: {corner: {type: choice, values: [one, two, three]}}
sampling_algorithm: grid
limits: {max_total_trials: 3, max_concurrent_trials: 1, max_failed_trials: 3}
trial:
  command: [/bin/sh, run.sh, "${{search_space.corner}}"]
  code: ./
  outputs: {model: {}}
  resources: {cpu_count: 1, memory_bytes: 67108864}
"#;

const RUN: &str = r#"
if [ "$1" = three ]; then echo "ValueError: a bad corner" >&2; exit 3; fi
for step in 1 2; do echo "{\"trialog\": \"metric\", \"name\": \"rmse\", \"value\": NaN, \"step\": $step}"; done
echo "model of $1" > "$TRIALOG_OUTPUT_MODEL/model.txt"
"#;

#[test]
fn what_goes_badly_is_seen_and_what_is_cut_goes_on() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the commands");
    // A port of its own: whoever follows comes back to the same place.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let mut options = Options::up(&home);
    options.words[2] = format!("127.0.0.1:{port}");
    let mut server = Server::start(options);
    home.write("code/sweep.yaml", HOPELESS);
    home.write("code/run.sh", RUN);
    let cli = CommandLine { server: &server, folder: home.path() };
    cli.run(&["cluster", "create", "lively", "--vm-size", "D8", "--max", "1", "--boot-seconds", "0"]);
    a_sweep_without_a_value_is_bad_news(&cli);
    trials_are_found_by_what_people_call_them(&cli);
    names_are_used_again(&cli);
    what_nobody_uses_can_be_deleted(&cli);
    let refused = cli.refused(&["cluster", "scale", "lively", "--min", "5"], 1);
    assert!(refused.contains("--max") && !refused.contains("scale.m"), "options are named, not fields: {refused}");
    a_log_is_followed_over_a_restart(&mut server, home.path());
    server.stop();
}

fn a_sweep_without_a_value_is_bad_news(cli: &CommandLine<'_>) {
    let output = cli.output(&["sweep", "submit", "code/sweep.yaml", "--follow"]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    assert!(err.contains("no trial has a value"), "{err}");
    assert!(out.contains("trial 2 failed: run: exit code 3: ValueError: a bad corner"), "{out}");
    assert!(out.contains("1 Failed, 2 without a value"), "{out}");
    let table = cli.run(&["trial", "list", "hopeless"]);
    assert!(table.contains("no value (2 x not finite)") && table.contains("CORNER"), "{table}");
    assert!(!table.contains(['{', '"']), "no JSON in cells: {table}");
    let why = cli.run(&["why", "hopeless/2"]);
    assert!(why.starts_with("Trial 2 of hopeless"), "{why}");
    assert!(why.contains("It failed: run: exit code 3: ValueError: a bad corner."), "{why}");
    let lines = cli.run(&[
        "trial",
        "list",
        "hopeless",
        "--sort",
        "-index",
        "--top",
        "2",
        "--columns",
        "corner,state",
        "-o",
        "csv",
    ]);
    assert_eq!(lines, "corner,state\nthree,Failed\ntwo,Completed\n");
    let shown = cli.run(&["sweep", "show", "hopeless"]);
    assert!(shown.contains("minimize rmse") && shown.contains("no value yet"), "{shown}");
    assert!(cli.run(&["sweep", "show", "hopeless", "--spec"]).contains("max_total_trials: 3"));
}

fn trials_are_found_by_what_people_call_them(cli: &CommandLine<'_>) {
    let run = cli.run(&["run", "show", "hopeless/0", "-o", "name"]).trim().to_owned();
    assert_eq!(cli.run(&["run", "show", &run[..run.len() - 1], "-o", "name"]).trim(), run);
    let several = cli.refused(&["run", "show", "run_"], 2);
    assert!(several.contains("several runs begin with run_"), "{several}");
    cli.run(&["run", "download", "hopeless/0", "--path", "outputs/model", "--to", "fetched"]);
    let model = std::fs::read_to_string(cli.folder.join("fetched/outputs/model/model.txt")).expect("the model");
    assert_eq!(model, "model of one\n");
    let points = cli.run(&["run", "metrics", &run, "--history", "--columns", "name,step", "-o", "csv"]);
    assert_eq!(points, "name,step\nrmse,1\nrmse,2\n");
    let compared = cli.run(&["trial", "compare", "hopeless/0", "hopeless/2"]);
    assert!(compared.contains("parameters.corner") && compared.contains("three"), "{compared}");
    // A reader that has seen enough is no failure, and nobody is told.
    let mut child = cli.command(&["run", "list", "-o", "json"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a child");
    drop(child.stdout.take());
    let mut complaint = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut complaint).expect("text");
    assert_eq!((child.wait().expect("an end").code(), complaint.as_str()), (Some(0), ""));
}

fn names_are_used_again(cli: &CommandLine<'_>) {
    let taken = cli.refused(&["sweep", "submit", "code/sweep.yaml"], 1);
    assert!(taken.contains("NameTaken"), "{taken}");
    let small = ["--set", "limits={max_total_trials: 1}"];
    let submit = ["sweep", "submit", "code/sweep.yaml", "-o", "name"];
    let next = cli.run(&[&submit[..], &small, &["--name-suffix", "auto"]].concat());
    assert_eq!(next.trim(), "hopeless-2");
    let replaced = cli.output(&[&submit[..], &small, &["--replace"]].concat());
    let told = String::from_utf8_lossy(&replaced.stderr);
    assert!(replaced.status.success() && told.contains("archived the earlier hopeless"), "{told}");
    let limits = cli.run(&["sweep", "show", "hopeless", "--spec"]);
    assert!(limits.contains("max_total_trials: 1") && limits.contains("max_concurrent_trials: 1"), "{limits}");
}

fn what_nobody_uses_can_be_deleted(cli: &CommandLine<'_>) {
    // Both have no value, which is what their followers are told.
    cli.refused(&["sweep", "follow", "hopeless"], 1);
    cli.refused(&["sweep", "follow", "hopeless-2"], 1);
    cli.run(&["model", "register", "kept", "--run", "hopeless-2/0", "--path", "outputs/model"]);
    let used = cli.refused(&["sweep", "delete", "hopeless-2", "--runs"], 1);
    assert!(used.contains("InUse") && used.contains("version 1 of model kept"), "{used}");
    let run = cli.run(&["run", "show", "hopeless/0", "-o", "name"]).trim().to_owned();
    cli.run(&["sweep", "delete", "hopeless", "--runs"]);
    let gone = cli.refused(&["sweep", "show", "hopeless"], 1);
    assert!(gone.contains("NotFound"), "{gone}");
    await_that(LIMIT, || {
        let output = cli.output(&["run", "show", &run]);
        if output.status.code() == Some(1) { Ok(()) } else { Err("its runs are there") }
    });
    for words in [["run", "logs", &run], ["run", "artifacts", &run]] {
        let absent = cli.refused(&words, 1);
        assert!(absent.contains("NotFound"), "{absent}");
    }
    let chain = cli.run(&["lineage", &run]);
    assert!(chain.contains("sweep sweep_") && chain.contains("name hopeless"), "{chain}");
}

fn a_log_is_followed_over_a_restart(server: &mut Server, folder: &Path) {
    let run = server.client().post("runs", &json!({})).expect(201)["run_id"].as_str().expect("an id").to_owned();
    let append = |server: &Server, offset: usize, text: &str| {
        let path = format!("runs/{run}/logs?offset={offset}");
        server.client().request("POST", &path).body("text/plain", text).send().expect(200);
    };
    append(server, 0, "before\n");
    let cli = CommandLine { server, folder };
    let follower = cli.command(&["run", "logs", "-f", &run]).stdout(Stdio::piped()).spawn();
    let mut follower = follower.expect("a follower");
    let mut lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
    let mut line = || lines.next().map(|line| line.expect("text"));
    assert_eq!(line().as_deref(), Some("before"));
    server.restart();
    append(server, 7, "after\n");
    assert_eq!(line().as_deref(), Some("after"), "neither lost nor repeated");
    server.client().patch(&format!("runs/{run}"), &json!({"state": "Completed"})).expect(200);
    assert_eq!(line(), None);
    assert!(follower.wait().expect("an end").success());
}
