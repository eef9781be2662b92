//! What somebody meets who has just begun: names that lead somewhere, formats that hold, tables that can be read.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{CommandLine, Home, Options, Server, Watchdog, await_that};

/// For everything: a debug build on a busy machine needs a fraction of it.
const LIMIT: Duration = Duration::from_secs(240);

/// Nothing is run here: its trials are told.
const MINE: &str = r#"
name: mine
mode: external
objective: {goal: minimize, primary_metric: loss}
search_space:
  lr: {type: uniform, min_value: 0, max_value: 1}
  kind: {type: choice, values: [plain]}
  alpha: {type: uniform, min_value: 0, max_value: 1, when: {kind: plain}}
sampling_algorithm: {type: random, seed: 7}
limits: {max_total_trials: 3, max_failed_trials: 3}
"#;

#[test]
fn a_first_look_finds_its_way() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "a first look");
    let mut server = Server::start(Options::up(&home));
    home.write("mine.yaml", MINE);
    home.write("run.json", &json!({"experiment": "kept"}).to_string());
    let cli = CommandLine { server: &server, folder: home.path() };
    told(&cli, "mine");
    a_table_has_a_line_for_a_row(&cli);
    lists_are_of_what_they_name(&cli);
    the_beginning_can_be_named(&cli);
    what_is_archived_is_found_again(&cli);
    versions_are_named_in_one_way(&cli);
    a_format_is_known_before_the_deed(&cli);
    every_name_leads_to_what_it_names(&cli);
    server.stop();
}

/// A sweep whose trials were told: one has a value, one failed with many words, one has no finite value.
fn told(cli: &CommandLine<'_>, name: &str) {
    cli.run(&["sweep", "submit", "mine.yaml", "--set", &format!("name={name}")]);
    cli.run(&["trial", "ask", name, "--count", "3"]);
    let trial = |index: u32| format!("{name}/{index}");
    cli.run(&["trial", "tell", &trial(0), "--attempt", "1", "--value", "0.5", "--final"]);
    let words = format!("ERROR: GPU gone\n\tdriver 1\r\n{}", "and more ".repeat(30));
    cli.run(&["trial", "tell", &trial(1), "--attempt", "1", "--failed", &words]);
    cli.run(&["trial", "tell", &trial(2), "--attempt", "1", "--value", "Infinity", "--final"]);
    cli.server.client().await_version(&format!("sweeps/{name}"), LIMIT, |sweep| sweep["state"] == "Completed");
}

fn a_table_has_a_line_for_a_row(cli: &CommandLine<'_>) {
    let table = cli.run(&["trial", "list", "mine"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[2].contains("…") && !table.contains(['\t', '\r']), "{table}");
    let wide = cli.run(&["trial", "list", "mine", "-o", "wide"]);
    assert!(wide.lines().count() == 4 && wide.contains(&"and more ".repeat(30).trim_end().to_owned()), "{wide}");
}

fn lists_are_of_what_they_name(cli: &CommandLine<'_>) {
    await_that(LIMIT, || {
        let runs = cli.run(&["run", "list", "--sweep", "mine", "-o", "name"]);
        if runs.lines().count() == 3 { Ok(()) } else { Err("the runs of the trials are still to come") }
    });
    for words in [["run", "list", "--sweep", "nosuch"], ["run", "list", "--experiment", "nosuch"]] {
        let absent = cli.refused(&words, 1);
        assert!(absent.contains("NotFound") && absent.contains("nosuch"), "{absent}");
    }
}

fn the_beginning_can_be_named(cli: &CommandLine<'_>) {
    for words in [&["events"][..], &["sweep", "events", "mine"]] {
        let words = [words, &["--from", "0", "-o", "json"]].concat();
        let mut reader = cli.command(&words).stdout(Stdio::piped()).spawn().expect("a reader");
        let first = BufReader::new(reader.stdout.take().expect("a pipe")).lines().next();
        let first: Value = serde_json::from_str(&first.expect("an event").expect("text")).expect("JSON");
        assert!(first["type"].is_string(), "{first}");
        reader.kill().and_then(|()| reader.wait()).expect("its end");
    }
}

fn what_is_archived_is_found_again(cli: &CommandLine<'_>) {
    let id = field(cli, &["sweep", "show", "mine"], "sweep_id");
    let archived = cli.run(&["sweep", "archive", "mine"]);
    assert!(archived.contains(&id), "{archived}");
    assert_eq!(cli.run(&["sweep", "list", "--archived", "-o", "name"]).trim(), id);
    assert!(!cli.run(&["sweep", "list"]).contains("mine"));
    for words in [["sweep", "show", "mine"], ["trial", "list", "mine"], ["why", "mine/0", "-o=table"]] {
        let absent = cli.refused(&words, 1);
        assert!(absent.contains("NotFound") && absent.contains(&id), "{absent}");
    }
    let chain = cli.run(&["lineage", "mine/0"]);
    assert!(chain.contains(&id), "{chain}");
    cli.run(&["sweep", "submit", "mine.yaml"]);
    let taken = cli.refused(&["sweep", "unarchive", &id], 1);
    assert!(taken.contains("NameTaken"), "{taken}");
    cli.run(&["sweep", "cancel", "mine"]);
    cli.server.client().await_version("sweeps/mine", LIMIT, |sweep| sweep["state"] == "Canceled");
    let other = cli.run(&["sweep", "delete", "mine", "-o", "name"]).trim().to_owned();
    assert!(other.starts_with("sweep_") && other != id, "{other}");
    assert!(cli.run(&["sweep", "unarchive", &id]).starts_with("mine"));
    // What is gone with its runs is still told of, by whatever it was called.
    let run = field(cli, &["trial", "show", "mine/0"], "run_id");
    cli.run(&["sweep", "delete", "mine", "--runs"]);
    for called in [run, "mine/0".to_owned(), format!("{id}/0")] {
        let chain = cli.run(&["lineage", &called]);
        assert!(chain.contains(&id) && chain.contains("trial "), "{called}: {chain}");
    }
}

fn versions_are_named_in_one_way(cli: &CommandLine<'_>) {
    let run = field(cli, &["run", "create", "run.json"], "run_id");
    cli.run(&["artifact", "upload", &run, "mine.yaml", "--path", "model/weights"]);
    cli.run(&["run", "update", &run, "--state", "Completed"]);
    let register = ["model", "register", "kept", "--run", &run, "--path", "model", "-o", "name"];
    assert_eq!(cli.run(&register).trim(), "kept/versions/1");
    assert_eq!(cli.run(&["alias", "set", "kept", "champion", "1", "-o", "name"]).trim(), "kept@champion");
    for words in [&["kept/versions/1"][..], &["kept@champion"], &["kept", "@champion"], &["kept", "1"]] {
        let shown = field(cli, &[&["model", "show"], words].concat(), "version_id");
        assert!(!shown.is_empty(), "{words:?}");
    }
    for version in ["kept/versions/1", "kept@champion"] {
        assert!(cli.run(&["lineage", version]).contains(&run), "{version}");
    }
    cli.run(&["model", "archive", "kept@champion"]);
    assert_eq!(cli.run(&["model", "versions", "kept", "-o", "name"]), "");
    assert_eq!(cli.run(&["model", "versions", "kept", "--archived", "-o", "name"]).trim(), "kept/versions/1");
    cli.run(&["model", "unarchive", "kept/versions/1"]);
    assert_eq!(cli.run(&["model", "versions", "kept", "-o", "name"]).trim(), "kept/versions/1");
}

/// What `-o name` prints of a thing is what the command takes that shows it, whoever printed it.
fn every_name_leads_to_what_it_names(cli: &CommandLine<'_>) {
    cli.run(&["sweep", "submit", "mine.yaml", "--set", "name=open"]);
    cli.run(&["trial", "ask", "open"]);
    cli.run(&["endpoint", "create", "asked"]);
    let idle = ["cluster", "create", "idle", "--vm-size", "D2", "--max", "0"];
    let blue = ["deployment", "create", "asked", "blue", "--model", "kept/versions/1", "--cluster", "idle"];
    let ways: [(&[&str], &[&str]); 13] = [
        (&idle, &["cluster", "show"]),
        (&["cluster", "list"], &["cluster", "show"]),
        (&blue, &["deployment", "show", "asked"]),
        (&["deployment", "list", "asked"], &["deployment", "show", "asked"]),
        (&["endpoint", "list"], &["endpoint", "show"]),
        (&["experiment", "list"], &["experiment", "show"]),
        (&["model", "list"], &["model", "show"]),
        (&["model", "show", "kept", "1"], &["model", "show"]),
        (&["run", "list", "--sweep", "open"], &["run", "show"]),
        (&["run", "list", "--sweep", "open"], &["trial", "show"]),
        (&["sweep", "list"], &["sweep", "show"]),
        (&["trial", "list", "open"], &["trial", "show"]),
        (&["workspace", "list"], &["workspace", "show"]),
    ];
    let name = |words: &[&str]| {
        // Views of other services follow.
        await_that(LIMIT, || {
            let printed = cli.run(&[words, &["-o", "name"]].concat());
            printed.lines().next().map(str::to_owned).ok_or("nothing is listed yet")
        })
    };
    for (asked, show) in ways {
        let named = name(asked);
        let shown = name(&[show, &[named.as_str()]].concat());
        // A trial is shown by its run's id, which leads to it again.
        let again = name(&[show, &[shown.as_str()]].concat());
        assert_eq!(again, shown, "{asked:?} gave {named}");
        assert!(shown == named || show[0] == "trial", "{asked:?} gave {named}, {show:?} {shown}");
    }
    assert_eq!(name(&["deployment", "show", "asked", "blue"]), "blue");
}

fn a_format_is_known_before_the_deed(cli: &CommandLine<'_>) {
    let tokens = || cli.run(&["token", "list", "-o", "name"]).lines().count();
    let before = tokens();
    let lost = cli.refused(&["token", "create", "q", "-o", "name"], 2);
    assert!(lost.contains("nothing was done"), "{lost}");
    assert_eq!(tokens(), before);
    let made = cli.run(&["token", "create", "q", "-o", "csv"]);
    assert!(made.lines().count() == 2 && made.contains("tlg_"), "{made}");
    cli.run(&["sweep", "submit", "mine.yaml", "--set", "name=gone"]);
    cli.run(&["sweep", "cancel", "gone", "-o", "name"]);
    cli.server.client().await_version("sweeps/gone", LIMIT, |sweep| sweep["state"] == "Canceled");
    let row = cli.run(&["sweep", "delete", "gone", "-o", "csv"]);
    assert!(row.lines().count() == 2 && row.lines().next().is_some_and(|header| header.contains("sweep_id")), "{row}");
}

/// A member of what a command prints as JSON.
fn field(cli: &CommandLine<'_>, words: &[&str], name: &str) -> String {
    let printed = cli.run(&[words, &["-o", "json"]].concat());
    let value: Value = serde_json::from_str(&printed).expect("JSON");
    value[name].as_str().unwrap_or_default().to_owned()
}
