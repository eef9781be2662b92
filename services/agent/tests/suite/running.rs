//! Commands that run and end by themselves.

use contracts::compute::agent_report::Report;
use contracts::compute::{JobInput, JobSpec};

use crate::fakes::DAMAGED;
use crate::harness::Node;

#[tokio::test]
async fn a_command_runs_and_its_metrics_come_before_its_end() {
    // The walk: without it nothing else of Trialog does anything.
    let node = Node::start().await;
    let script = r#"echo bulk > bulk; echo hello
        echo '{"trialog": "metric", "name": "acc", "value": 0.5, "step": 1}'; echo oops >&2"#;
    node.run("job_a", node.spec(script)).await;
    let end = node.fake.end("job_a").await;
    assert_eq!((end.outcome.as_str(), end.exit_code), ("completed", Some(0)), "{end:?}");
    assert_eq!(end.stderr_tail, "oops\n");
    node.fake.look(|heard| {
        assert_eq!(heard.points.len(), 1);
        let phases: Vec<_> = heard.reports.iter().filter_map(phase).collect();
        assert_eq!(phases, ["running"]);
    });
    assert!(node.fake.log("stdout").starts_with("hello\n{"));
    assert_eq!(node.fake.log("stderr"), "oops\n");
    node.assert_nothing_left().await;
    let folder = node.attempt_folder("job_a");
    crate::harness::appears(&folder.join("acknowledged")).await;
    assert!(!folder.join("work").exists());
}

fn phase(report: &Report) -> Option<&str> {
    match report {
        Report::Phase(phase) => Some(&phase.phase),
        _ => None,
    }
}

#[tokio::test]
async fn exit_codes_and_signals_are_told() {
    // "failed" without a reason sends a user to search in the dark.
    let node = Node::start().await;
    for (job, script, exit_code, signal, reason) in [
        ("job_a", "exit 3", Some(3), None, "exit_code"),
        ("job_b", "kill -SEGV $$", None, Some(11), "signal"),
        ("job_c", "sleep 100 & exit 4", Some(4), None, "exit_code"),
    ] {
        node.run(job, node.spec(script)).await;
        let end = node.fake.end(job).await;
        let got = (end.outcome.as_str(), end.phase.as_str(), end.exit_code, end.signal, end.reason.as_str());
        assert_eq!(got, ("failed", "run", exit_code, signal, reason), "{job}");
    }
    let missing = JobSpec { command: vec!["no-such-program".into()], ..JobSpec::default() };
    node.run("job_d", missing).await;
    let end = node.fake.end("job_d").await;
    assert_eq!(end.exit_code, Some(127));
    assert!(end.stderr_tail.contains("no-such-program"), "{end:?}");
    node.assert_nothing_left().await;
}

#[tokio::test]
async fn the_environment_is_the_contract_and_nothing_else() {
    // A script reads its parameters from here; the agent's secrets must not be here.
    let node = Node::start().await;
    std::fs::write(node.folder.join("data"), "42").unwrap();
    let spec = JobSpec {
        command: [
            "sh",
            "-c",
            "env; cat ${{inputs.train-set}}; cat $TRIALOG_PARAMS_FILE; pwd; \
             [ $TRIALOG_TOKEN = run-secret ] && echo token",
        ]
        .map(str::to_owned)
        .to_vec(),
        environment_variables: [("MODE".to_owned(), "fast".to_owned())].into(),
        contract_variables: [("TRIALOG_PARAM_LR", "0.1"), ("MLFLOW_RUN_ID", "of no server")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        inputs: vec![JobInput {
            id: "train-set".into(),
            uri: format!("file://{}", node.folder.join("data").display()),
            mode: "mount".into(),
            ..JobInput::default()
        }],
        trial_index: Some(0),
        parameters_json: r#"{"lr":0.1}"#.into(),
        ..JobSpec::default()
    };
    node.run("job_a", spec).await;
    assert_eq!(node.fake.end("job_a").await.outcome, "completed");
    let log = node.fake.log("stdout");
    for line in [
        "MODE=fast",
        "TRIALOG_PARAM_LR=0.1",
        "TRIALOG_TRIAL_INDEX=0",
        "TRIALOG_ATTEMPT=1",
        "TRIALOG_RESUME=0",
        "TRIALOG_TOKEN=**********",
        "token",
        "TRIALOG_API_URL=http://127.0.0.1:8080",
        "PYTHONUNBUFFERED=1",
        "TRIALOG_NODE_ID=node_test",
        &format!("TRIALOG_RUN_ID={}", node.run_id),
    ] {
        assert!(log.lines().any(|got| got == line), "{line} not in {log}");
    }
    assert!(log.contains("42{\"lr\":0.1}"), "{log}");
    // There is no MLflow server here: a script that logs to ./mlruns must go on doing so.
    let absent = ["TRIALOG_NODE_TOKEN", "TRIALOG_TEST_NODE", "CUDA_VISIBLE_DEVICES", "TRIALOG_SWEEP_ID", "MLFLOW_"];
    for absent in absent {
        assert!(!log.contains(absent), "{absent} in {log}");
    }
    assert!(log.contains("/work\n"));
}

#[tokio::test]
async fn code_is_unpacked_and_outputs_become_artifacts() {
    // A trial whose model is not kept was for nothing.
    let node = Node::start().await;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(30);
    header.set_mode(0o644);
    tar.append_data(&mut header, "train.sh", &b"mkdir $1/sub; echo m >$1/sub/m"[..]).unwrap();
    let code_sha256 = node.fake.store(tar.into_inner().unwrap());
    let spec = JobSpec {
        command: ["sh", "train.sh", "${{outputs.model}}"].map(str::to_owned).to_vec(),
        outputs: vec!["model".into()],
        code_sha256,
        ..JobSpec::default()
    };
    node.run("job_a", spec).await;
    let end = node.fake.end("job_a").await;
    assert_eq!(end.outcome, "completed", "{end:?}");
    node.fake.look(|heard| {
        let [artifact] = &heard.artifacts[..] else { panic!("{:?}", heard.artifacts) };
        assert_eq!((artifact.path.as_str(), artifact.size_bytes), ("outputs/model/sub/m", 2));
        assert_eq!(heard.objects[&artifact.sha256], b"m\n");
        assert_eq!(heard.reports.iter().filter_map(phase).next_back(), Some("finalizing"));
    });
}

#[tokio::test]
async fn a_damaged_object_fails_its_job_and_says_so() {
    // The job would hold its place on the node for ever, and nothing said why.
    let node = Node::start().await;
    for (job, content, digit) in [("job_a", b"half of it".as_slice(), "d"), ("job_b", DAMAGED, "e")] {
        let code_sha256 = digit.repeat(64);
        node.fake.change(|heard| heard.objects.insert(code_sha256.clone(), content.to_vec()));
        node.run(job, JobSpec { code_sha256: code_sha256.clone(), ..node.spec("true") }).await;
        let end = node.fake.end(job).await;
        assert_eq!(end.outcome, "failed");
        assert!(end.stderr_tail.contains(&code_sha256) && end.stderr_tail.contains("damaged"), "{end:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_made_ready_says_why() {
    // The alternative is a job that waits for ever, or fails without a word.
    let node = Node::start().await;
    let absent = JobSpec { code_sha256: "0".repeat(64), ..node.spec("true") };
    node.run("job_a", absent).await;
    let end = node.fake.end("job_a").await;
    assert_eq!((end.outcome.as_str(), end.phase.as_str()), ("failed", "prepare"));
    assert!(end.stderr_tail.contains("cannot be fetched"), "{end:?}");
    let input = JobInput { id: "data".into(), uri: "azureml:x".into(), mode: "mount".into(), ..JobInput::default() };
    node.run("job_b", JobSpec { inputs: vec![input], ..node.spec("true") }).await;
    assert!(node.fake.end("job_b").await.stderr_tail.contains("azureml:x"));
    let prepare = ["sh", "-c", "echo no >&2; exit 5"].map(str::to_owned).to_vec();
    node.run("job_c", JobSpec { prepare, ..node.spec("true") }).await;
    let end = node.fake.end("job_c").await;
    assert_eq!((end.phase.as_str(), end.exit_code, end.stderr_tail.as_str()), ("prepare", Some(5), "no\n"));
    let prepare = ["sh", "-c", "echo prepared >p"].map(str::to_owned).to_vec();
    node.run("job_d", JobSpec { prepare, ..node.spec("cat p") }).await;
    assert_eq!(node.fake.end("job_d").await.outcome, "completed");
    assert!(node.fake.log("stdout").contains("prepared"));
}

#[tokio::test]
async fn a_refused_metric_is_left_out_and_the_others_arrive() {
    // One bad value among thousands must not cost the rest.
    let node = Node::start().await;
    node.fake.faults.lock().unwrap().refused = "bad".into();
    let script = r#"for i in 1 2 3 4 5 6 7; do n=good; [ $i = 3 ] && n=bad
        echo "{\"trialog\":\"metric\",\"name\":\"$n\",\"value\":$i}"; done; echo '{"trialog":"metric","value":1}'"#;
    node.run("job_a", node.spec(script)).await;
    assert_eq!(node.fake.end("job_a").await.outcome, "completed");
    let values: Vec<f64> = node.fake.look(|heard| heard.points.iter().map(|point| point.value).collect());
    assert_eq!(values, [1.0, 2.0, 4.0, 5.0, 6.0, 7.0]);
    let notices = node.fake.log("trialog");
    assert!(notices.contains("'bad' was refused") && notices.contains("not understood"), "{notices}");
}

#[tokio::test]
async fn what_is_left_out_of_the_outputs_is_in_the_log() {
    // A link to the best checkpoint looks like a saved model until somebody wants it.
    let node = Node::start().await;
    let script = "echo m >${{outputs.model}}/epoch-9; ln -s epoch-9 ${{outputs.model}}/best";
    node.run("job_a", JobSpec { outputs: vec!["model".into()], ..node.spec(script) }).await;
    assert_eq!(node.fake.end("job_a").await.outcome, "completed");
    let log = node.fake.log("trialog");
    assert!(log.contains("outputs/model/best is a link and was not uploaded"), "{log}");
}
