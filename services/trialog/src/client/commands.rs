//! What each command is for: examples for its help, and the operations of the REST interface that it stands for.

use clap::Command;

/// Each command by its words, with the operations that it is for, and examples below it.
const COMMANDS: &str = r#"
workspace create: put_workspace
  trialog workspace create vision
  trialog workspace create vision --region eu-west
workspace delete: delete_workspace
  trialog workspace delete vision
workspace list: list_workspaces
  trialog workspace list -o name
workspace show: get_workspace
  trialog workspace show default
token create: create_token
  trialog token create ada
  trialog token create ci --scope contributor --expires-in 90d
  trialog token create shop --scope scorer --endpoint prices
token list: list_tokens list_admin_tokens
  trialog token list
token delete: revoke_token revoke_admin_token
  trialog token delete TOKEN_ID
cluster create:
  trialog cluster create spot --vm-size D2 --vm-priority low_priority --max 4
cluster put: put_cluster
  trialog cluster put spot cluster.yaml
cluster scale: update_cluster
  trialog cluster scale spot --max 8
cluster list: list_clusters
  trialog cluster list
  trialog cluster list -o csv
cluster show: get_cluster
  trialog cluster show spot
cluster delete: delete_cluster
  trialog cluster delete spot --wait 60
cluster sizes: list_vm_sizes
  trialog cluster sizes --sort dedicated
node list: list_nodes
  trialog node list spot
node preempt: preempt_node
  trialog node preempt spot NODE_ID
sweep submit: submit_sweep
  trialog sweep submit sweep.yaml --follow
  trialog sweep submit sweep.yaml --dry-run --set limits.max_total_trials=10
  trialog sweep submit sweep.yaml --name-suffix auto
  trialog sweep submit sweep.yaml --replace
sweep list: list_sweeps
  trialog sweep list
  trialog sweep list --state Running --sort best --top 5
  trialog sweep list --archived
sweep show: get_sweep
  trialog sweep show digits
  trialog sweep show digits --spec
sweep follow:
  trialog sweep follow digits
sweep events: stream_sweep_events
  trialog sweep events digits -o json
sweep pause: pause_sweep
  trialog sweep pause digits --checkpoint
sweep resume: resume_sweep
  trialog sweep resume digits
sweep cancel: cancel_sweep
  trialog sweep cancel digits
sweep archive: archive_sweep
  trialog sweep archive digits
sweep unarchive: unarchive_sweep
  trialog sweep unarchive SWEEP_ID
sweep delete: delete_sweep
  trialog sweep delete digits
  trialog sweep delete digits --runs
sweep extend: extend_sweep
  trialog sweep extend digits --max-total-trials 80
sweep update: update_sweep
  trialog sweep update digits --tag team=vision
  trialog sweep update digits --set limits.max_concurrent_trials=8
trial list: list_trials
  trialog trial list digits
  trialog trial list digits --top 10
  trialog trial list digits --sort lr
  trialog trial list digits --columns index,value,lr,reason -o csv
trial show: get_trial
  trialog trial show digits/3
trial compare:
  trialog trial compare digits/3 digits/7
trial ask: ask_trials
  trialog trial ask mine --count 2 --worker laptop
trial tell: tell_trial
  trialog trial tell mine/0 --attempt 1 --step 1 --value 0.71
  trialog trial tell mine/0 --attempt 1 --value 0.91 --final
trial heartbeat: heartbeat_trial
  trialog trial heartbeat mine/0 --attempt 1
run create: create_run
  trialog run create run.yaml
run list: list_runs
  trialog run list --experiment digits --state Failed
  trialog run list --columns run_id,name,state -o csv
run children: list_children
  trialog run children RUN_ID --recursive
run show: get_run
  trialog run show digits/3
run update: update_run
  trialog run update digits/3 --tag checked=yes
run logs: read_logs
  trialog run logs digits/3
  trialog run logs -f digits/3 --stream stderr
run events: stream_run_events
  trialog run events digits/3
run metrics: list_metrics get_metric_history
  trialog run metrics digits/3
  trialog run metrics digits/3 val_acc --history -o csv
run artifacts:
  trialog run artifacts digits/3
run download:
  trialog run download digits/3 --path outputs/model --to model
run cancel: cancel_run
  trialog run cancel digits/3
experiment create: create_experiment
  trialog experiment create digits --tag team=vision
experiment list: list_experiments
  trialog experiment list
experiment show: get_experiment
  trialog experiment show digits
artifact list: list_artifacts
  trialog artifact list digits/3 --path outputs
artifact download: get_artifact
  trialog artifact download digits/3 --path outputs/model
artifact upload: put_artifact
  trialog artifact upload RUN_ID report.pdf --path reports/report.pdf
model register: register_version
  trialog model register digits --run digits/best --path outputs/model
model alias:
  trialog model alias digits champion 1 --reason best
model unalias:
  trialog model unalias digits champion
model update: update_model
  trialog model update digits --description digits
  trialog model update digits 2 --tag checked=yes
model archive: update_version
  trialog model archive digits 1
model unarchive:
  trialog model unarchive digits/versions/1
model list: list_models
  trialog model list
model versions: list_versions
  trialog model versions digits
  trialog model versions digits --archived
model show: get_model get_version
  trialog model show digits
  trialog model show digits@champion
  trialog model show digits/versions/1
model history:
  trialog model history digits
alias set: set_alias
  trialog alias set digits champion 1 --reason best
alias delete: remove_alias
  trialog alias delete digits champion --reason bad
alias history: list_alias_history
  trialog alias history digits
endpoint create: put_endpoint
  trialog endpoint create digits
endpoint traffic: put_traffic
  trialog endpoint traffic digits blue=70 green=30
endpoint score: score invoke
  trialog endpoint score digits request.json
  trialog endpoint score digits request.json --invocations --deployment blue
endpoint list: list_endpoints
  trialog endpoint list
endpoint show: get_endpoint
  trialog endpoint show digits
endpoint delete: delete_endpoint
  trialog endpoint delete digits --wait 60
deployment create: put_deployment
  trialog deployment create digits blue --model digits@champion --cluster serving --wait 60
deployment list: list_deployments
  trialog deployment list digits
deployment show: get_deployment
  trialog deployment show digits blue
deployment logs: read_deployment_logs
  trialog deployment logs digits blue
deployment delete: delete_deployment
  trialog deployment delete digits blue --wait 60
events: stream_events
  trialog events
  trialog events --from 0 -o json
why: explain_trial explain_run
  trialog why digits/3
  trialog why digits/best
  trialog why RUN_ID
verify: verify_sweep
  trialog verify digits
whatif: what_if
  trialog whatif digits --policy '{"type":"asha","max_resource":9}' --policy '{"type":"median_stopping"}'
import optuna: import_sweep
  trialog import optuna study.db --metric loss
import csv:
  trialog import csv trials.csv --space sweep.yaml
fork: fork_sweep
  trialog fork digits --at 815 --seed 7 --set limits.max_total_trials=60
  trialog fork digits --at latest --name digits-2
importance: get_importance
  trialog importance digits
  trialog importance digits -o csv
explain: document_schema
  trialog explain sweep.early_termination.asha
  trialog explain sweep.limits
lineage: get_lineage
  trialog lineage digits/3
  trialog lineage digits/versions/1
  trialog lineage digits@champion
feed list: list_consumers
  trialog feed list
feed parked: list_parked_facts
  trialog feed parked runs.follow_trials
feed retry: retry_parked_fact
  trialog feed retry runs.follow_trials 815
feed skip: skip_parked_fact
  trialog feed skip runs.follow_trials 815
feed adopt: adopt_source
  trialog feed adopt runs@f00d --from 815
"#;

/// A command of the table: its words, its operations, its examples.
type Entry = (&'static str, &'static str, Vec<&'static str>);

fn entries() -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in COMMANDS.lines() {
        match (line.strip_prefix("  "), line.split_once(':')) {
            (Some(example), _) => entries.iter_mut().next_back().map_or((), |(.., examples)| examples.push(example)),
            (None, Some((words, operations))) => entries.push((words, operations, Vec::new())),
            (None, None) => {}
        }
    }
    entries
}

/// Operations without a command, and why.
#[cfg(test)]
const WITHOUT: [(&str, &str); 19] = [
    ("append_logs", "the program that a run is of reports"),
    ("record_metrics", "the program that a run is of reports"),
    ("record_artifacts", "`artifact upload` stores and names in one"),
    ("get_object", "artifacts and code are what people know objects by"),
    ("put_object", "`sweep submit` and `artifact upload` do"),
    ("compute_importance", "`importance` asks for the same with GET"),
    ("health", "for probes"),
    ("readyz", "for probes"),
    ("metrics", "for scrapers"),
    ("version", "for probes"),
    ("openapi_document", "`trialog openapi` prints it without a server"),
    ("problems_page", "for browsers"),
    ("docs_page", "for browsers"),
    ("reference_page", "for browsers; `explain` prints the same"),
    ("script_page", "for browsers"),
    ("head_object", "for clients that ask before they send"),
    ("head_artifact", "for clients that ask before they fetch"),
    ("endpoint_health", "for probes"),
    ("endpoint_root", "for probes"),
];

/// The command line with the examples behind each command's help.
pub fn with_examples(command: Command) -> Command {
    let mut command = command;
    for (words, _, examples) in entries() {
        let text = format!("Examples:\n  {}", examples.join("\n  "));
        command = add(command, &words.split(' ').collect::<Vec<_>>(), text);
    }
    command
}

fn add(command: Command, words: &[&str], text: String) -> Command {
    match words {
        [] => command.after_help(text),
        [first, rest @ ..] => command.mut_subcommand(*first, |below| add(below, rest, text)),
    }
}

/// All examples.
#[cfg(test)]
pub fn examples() -> impl Iterator<Item = &'static str> {
    entries().into_iter().flat_map(|(.., examples)| examples)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Command, Subcommand};
    use serde_json::Value;

    use super::*;

    /// Commands that ask no server, or whose help is their own.
    const LOCAL: [&str; 3] = ["init", "completions", "man"];

    fn leaves(command: &Command, path: &str, found: &mut BTreeSet<String>) {
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            let path = format!("{path} {}", below.get_name()).trim().to_owned();
            match below.has_subcommands() {
                true => leaves(below, &path, found),
                false => {
                    found.insert(path);
                }
            }
        }
    }

    #[test]
    fn every_command_has_an_example() {
        // Help that only lists options leaves the guessing to the reader.
        let mut there = BTreeSet::new();
        leaves(&crate::client::Command::augment_subcommands(Command::new("trialog")), "", &mut there);
        LOCAL.iter().for_each(|local| assert!(there.remove(*local), "{local}"));
        let listed: BTreeSet<String> = entries().iter().map(|(words, ..)| (*words).to_owned()).collect();
        assert_eq!(listed, there);
        for (words, _, examples) in entries() {
            let begins = format!("trialog {words}");
            assert!(!examples.is_empty() && examples.iter().all(|example| example.starts_with(&begins)), "{words}");
        }
    }

    #[test]
    fn every_operation_has_a_command_or_a_reason() {
        // What only REST can do is forgotten by whoever lives on the command line.
        let document: Value = serde_json::from_str(&gateway::openapi().to_pretty_json().unwrap()).unwrap();
        let methods =
            document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
        let there: BTreeSet<&str> = methods.filter_map(|operation| operation["operationId"].as_str()).collect();
        let mut listed: Vec<&str> =
            entries().into_iter().flat_map(|(_, operations, _)| operations.split_whitespace()).collect();
        listed.extend(WITHOUT.iter().map(|(operation, _)| *operation));
        let unique: BTreeSet<&str> = listed.iter().copied().collect();
        assert_eq!(unique, there);
        assert_eq!(unique.len(), listed.len(), "an operation has one place in the table");
    }
}
