//! Every event that was ever written still means what it meant.

use std::collections::BTreeMap;

use testkit::StoredForms;
use vocabulary::job::{
    AttemptPhase, EndPhase, Goal, InputMode, JobEnd, JobInput, JobSpec, ModelFile, Outcome, RequeueCause, Resources,
    ServiceSpec, StopBy,
};
use vocabulary::{NodeId, StoredEvent};

use crate::cluster::*;
use crate::endpoint::*;
use crate::job::*;
use crate::sizes::{GIB, Size};

const AT_US: i64 = 1_764_032_000_000_000;

fn node() -> NodeId {
    NodeId::parse("node_01KC0000000000000000000001").unwrap()
}

fn key() -> JobKey {
    JobKey { workspace: "default".into(), run_id: "run_01KC0000000000000000000002".into(), cluster: "spot".into() }
}

/// What the file of schema 1 says.
fn old_spec() -> JobSpec {
    JobSpec {
        cluster: "spot".into(),
        command: ["python", "train.py", "--lr", "0.1"].map(str::to_owned).to_vec(),
        outputs: vec!["model".into()],
        resources: Resources { cpu_count: 1.0, gpu_count: 0, memory_bytes: GIB, node_count: 1 },
        checkpoint: true,
        experiment: "digits".into(),
        parameters: Some([("lr".to_owned(), serde_json::json!(0.1))].into_iter().collect()),
        primary_metric: Some("val_acc".into()),
        goal: Some(Goal::Maximize),
        seed: Some("7".into()),
        ..JobSpec::default()
    }
}

/// What the newest file says: every field.
fn spec() -> JobSpec {
    JobSpec {
        environment_variables: [("OMP_NUM_THREADS".to_owned(), "1".to_owned())].into(),
        code_sha256: Some("ab".repeat(32)),
        python: Some("/opt/python/bin/python".into()),
        inputs: vec![JobInput { id: "data".into(), uri: "file:///data".into(), mode: InputMode::Download }],
        resources: Resources { cpu_count: 1.0, gpu_count: 1, memory_bytes: GIB, node_count: 1 },
        checkpoint_from: Some("run_01KC0000000000000000000009".into()),
        prepare: ["pip", "install", "."].map(str::to_owned).to_vec(),
        max_retries: 2,
        timeout_seconds: Some(60.5),
        grace_seconds: Some(10.0),
        priority: -1,
        sweep_id: Some("sweep_01KC0000000000000000000003".into()),
        trial_index: Some(4),
        seed: Some(u64::MAX.to_string()),
        contract_variables: [("TRIALOG_PARAM_LR".to_owned(), "0.1".to_owned())].into(),
        watched_metrics: vec!["loss".into()],
        service: Some(ServiceSpec {
            workspace: "default".into(),
            endpoint: "digits".into(),
            deployment: "blue".into(),
            revision: 2,
            model: "digits".into(),
            model_version: 3,
            files: vec![ModelFile { path: "model.pkl".into(), sha256: "bf".repeat(32), size_bytes: 312 }],
            start_timeout_seconds: 300.0,
        }),
        ..old_spec()
    }
}

fn ran(outcome: Outcome) -> JobEnd {
    JobEnd { phase: Some(EndPhase::Run), exit_code: Some(0), checkpoint_age_seconds: Some(1.5), ..JobEnd::new(outcome) }
}

#[test]
fn jobs_mean_what_they_meant() {
    let mut forms = StoredForms::of(env!("CARGO_MANIFEST_DIR"));
    of_jobs(&mut forms);
    of_clusters(&mut forms);
    of_endpoints(&mut forms);
    // Written since with a field that has a default, and without a new schema number.
    forms.complete_but(&["DeploymentRevised.1.json"]);
}

fn of_jobs(forms: &mut StoredForms) {
    let (job, node_id, at_us) = (key(), node(), AT_US);
    forms.is::<JobEvent>(1, JobQueued { job: job.clone(), spec: old_spec(), placed: false, at_us });
    forms.is::<JobEvent>(2, JobQueued { job: job.clone(), spec: spec(), placed: false, at_us });
    forms.is::<JobEvent>(3, JobQueued { job: job.clone(), spec: spec(), placed: true, at_us });
    let reason = "claims 1 vCPU".to_owned();
    forms.is::<JobEvent>(1, JobPlaced { job: job.clone(), attempt: 1, node_id, reason, at_us });
    let phase = AttemptPhase::Running;
    forms.is::<JobEvent>(1, JobPhaseChanged { job: job.clone(), attempt: 1, phase, node_id, at_us });
    let end = JobEnd { reason: "preempted".into(), ..ran(Outcome::Preempted) };
    let (attempt, next_attempt, cause) = (1, 2, RequeueCause::Preempted);
    let requeued = JobRequeued { job: job.clone(), attempt, next_attempt, cause, end, node_id, at_us };
    forms.is::<JobEvent>(1, requeued.clone());
    forms.is::<JobEvent>(2, requeued);
    let decision = "sweep_01KC0000000000000000000003@17".to_owned();
    forms.is::<JobEvent>(1, StopRequested { job: job.clone(), by: StopBy::Policy, decision, at_us });
    let decision = "sweep_06CS0000000E00000000000000@17".to_owned();
    let end = JobEnd { by: Some(StopBy::Rung), decision, ..ran(Outcome::Canceled) };
    let held = JobHeld { job: job.clone(), attempt: 1, end, node_id, at_us };
    forms.is::<JobEvent>(1, held.clone());
    forms.is::<JobEvent>(2, held);
    forms.is::<JobEvent>(1, JobReleased { job: job.clone(), at_us });
    let node_id = Some(node_id);
    let end = ran(Outcome::Completed);
    forms.is::<JobEvent>(1, JobEnded { job: job.clone(), attempt: 2, end, node_id, at_us });
    let end = JobEnd {
        phase: Some(EndPhase::Finalize),
        reason: "signal".into(),
        signal: Some(9),
        stderr_tail: "bye\n".into(),
        ..JobEnd::new(Outcome::Failed)
    };
    forms.is::<JobEvent>(2, JobEnded { job, attempt: 2, end, node_id, at_us });
}

fn of_clusters(forms: &mut StoredForms) {
    let (node_id, at_us) = (node(), AT_US);
    let scale = Scale { min_nodes: 0, max_nodes: 4, idle_seconds_before_scaledown: 20.0 };
    let local = LocalSettings {
        boot_seconds: 1.0,
        notice_seconds: 5.0,
        preemption: Preemption::Exponential { mean_seconds: 25.0, seed: 11 },
        time_scale: 1.0,
    };
    let spec = ClusterSpec {
        vm_size: "D2".into(),
        vm_priority: VmPriority::LowPriority,
        scale,
        os_type: "linux".into(),
        provider: Provider::Local(local),
        tags: BTreeMap::new(),
    };
    let size = Size {
        name: "D2".into(),
        vcpus: 2,
        memory_bytes: 8 * GIB,
        gpus: 0,
        family: "D".into(),
        price_per_hour_dedicated: 0.1,
        price_per_hour_low_priority: 0.02,
    };
    let (workspace, name) = ("default".to_owned(), "spot".to_owned());
    forms.is::<ClusterEvent>(1, ClusterCreated { workspace, name, spec, size, at_us });
    let scale = Scale { min_nodes: 1, max_nodes: 8, idle_seconds_before_scaledown: 300.0 };
    forms.is::<ClusterEvent>(1, ScaleChanged { scale, at_us });
    forms.is::<ClusterEvent>(1, ClusterDeleting { at_us });
    forms.is::<ClusterEvent>(1, ClusterDeleted { at_us });
    let reason = "2 queued jobs do not fit on the 1 nodes there are".to_owned();
    forms.is::<ClusterEvent>(1, NodeRequested { node_id, ordinal: 3, token_sha256: "ab".repeat(32), reason, at_us });
    forms.is::<ClusterEvent>(1, NodeReady { node_id, at_us });
    let (reason, deadline_us) = ("simulated preemption".to_owned(), AT_US + 5_000_000);
    forms.is::<ClusterEvent>(1, NodeNoticed { node_id, deadline_us, reason: reason.clone(), at_us });
    forms.is::<ClusterEvent>(1, NodePreempted { node_id, reason, at_us });
    let reason = "idle for 20 s".to_owned();
    forms.is::<ClusterEvent>(1, NodeLeaving { node_id, reason: reason.clone(), at_us });
    forms.is::<ClusterEvent>(1, NodeReleased { node_id, reason, at_us });
    let reason = "no sign of life for 10 s".to_owned();
    forms.is::<ClusterEvent>(1, NodeFailing { node_id, reason: reason.clone(), at_us });
    forms.is::<ClusterEvent>(1, NodeFailed { node_id, reason, at_us });
}

fn of_endpoints(forms: &mut StoredForms) {
    let at: jiff::Timestamp = "2026-11-25T02:42:28.500975Z".parse().unwrap();
    let (deployment, revision) = ("blue".to_owned(), 2);
    let endpoint = |auth| EndpointSpec {
        description: "Digits".into(),
        tags: [("team".to_owned(), "vision".to_owned())].into(),
        auth,
    };
    let (workspace, name) = ("default".to_owned(), "digits".to_owned());
    forms.is::<EndpointEvent>(1, EndpointCreated { workspace, name, spec: endpoint(Auth::Key), at });
    forms.is::<EndpointEvent>(1, EndpointChanged { spec: endpoint(Auth::Token), at });
    forms.is::<EndpointEvent>(1, revised(at));
    let job_id = "job_01M889AWVCFBV9PQFP5HFRF3AX".to_owned();
    let requested = ReplicaRequested { deployment, revision, ordinal: 0, job_id: job_id.clone(), at };
    forms.is::<EndpointEvent>(1, requested);
    let (address, node_id) = ("unix:/tmp/worker.sock".to_owned(), "node_01M889AWXCEYRBYN7XFB4RKPRN".to_owned());
    forms.is::<EndpointEvent>(1, ReplicaReady { job_id: job_id.clone(), attempt: 1, address, node_id, at });
    forms.is::<EndpointEvent>(1, RevisionWentLive { deployment: "blue".into(), revision, at });
    let cause = RequeueCause::Preempted;
    forms.is::<EndpointEvent>(1, ReplicaLost { job_id: job_id.clone(), attempt: 1, cause, at });
    let deadline = "2026-11-25T02:42:58.500975Z".parse().unwrap();
    forms.is::<EndpointEvent>(1, ReplicaNoticed { job_id: job_id.clone(), deadline, at });
    forms.is::<EndpointEvent>(1, ReplicaDraining { job_id: job_id.clone(), at });
    let (reason, log_tail) = ("failed (signal), signal 9".to_owned(), String::new());
    forms.is::<EndpointEvent>(1, ReplicaEnded { job_id, reason, log_tail, at });
    let reason = "a replica ended 5 times while it started; the last time: failed".to_owned();
    forms.is::<EndpointEvent>(1, DeploymentFailed { deployment: "blue".into(), revision, reason, at });
    let traffic = [("blue".to_owned(), 90), ("green".to_owned(), 10)].into();
    forms.is::<EndpointEvent>(1, TrafficSet { traffic, at });
    forms.is::<EndpointEvent>(1, DeploymentDeleting { deployment: "blue".into(), at });
    forms.is::<EndpointEvent>(1, DeploymentDeleted { deployment: "blue".into(), at });
    forms.is::<EndpointEvent>(1, EndpointDeleting { at });
    forms.is::<EndpointEvent>(1, EndpointDeleted { at });
}

fn revised(at: jiff::Timestamp) -> DeploymentRevised {
    let sha256 = "bfae5b33f37c3a05b4414f53061452c89db844cb4ebf7969f1a7032c32e7d439".to_owned();
    DeploymentRevised {
        workspace: "default".into(),
        endpoint: "digits".into(),
        deployment: "blue".into(),
        revision: 2,
        model: ServedModel {
            model: "digits".into(),
            version: 3,
            version_id: "ver_01M889AJCPE95AHAQPTQF9RZS9".into(),
            run_id: "run_01M889AJ47EA1RBZBSDECH5A1B".into(),
            alias: "champion".into(),
            files: vec![ModelFile { path: "model.pkl".into(), sha256, size_bytes: 312 }],
        },
        spec: DeploymentSpec {
            cluster: "serving".into(),
            instance_count: 2,
            python: "/usr/bin/python3".into(),
            requirements: None,
            code_sha256: None,
            environment_variables: [("OMP_NUM_THREADS".to_owned(), "1".to_owned())].into(),
            request_settings: RequestSettings::default(),
            cpu_count: 1.0,
            memory_bytes: GIB,
        },
        at,
    }
}

#[test]
fn what_the_newest_schema_always_writes_may_not_be_missing() {
    // A default would turn a damaged event into a job that does something else.
    let text = JobEvent::from(JobQueued { job: key(), spec: spec(), placed: false, at_us: AT_US }).encode().unwrap();
    let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
    for field in ["command", "resources", "checkpoint", "max_retries", "inputs", "outputs", "environment_variables"] {
        let mut damaged = whole.clone();
        damaged["spec"].as_object_mut().unwrap().remove(field);
        let damaged = damaged.to_string();
        let error = JobEvent::decode("JobQueued", 3, &damaged).unwrap_err();
        assert!(error.contains(field) && error.contains("JobQueued schema 3"), "{error}");
        assert!(JobEvent::decode("JobQueued", 1, &damaged).is_ok(), "{field}: older builds left out what was empty");
    }
    let mut damaged = whole.clone();
    damaged.as_object_mut().unwrap().remove("placed");
    assert!(JobEvent::decode("JobQueued", 3, &damaged.to_string()).unwrap_err().contains("placed"));
    assert!(JobEvent::decode("JobQueued", 4, &text).is_err(), "a later build's event is not guessed");
    assert!(JobEvent::decode("JobQueued", 0, &text).is_err());
}

#[test]
fn what_older_builds_let_through_is_read_as_they_acted_on_it() {
    // A mode that no agent knew was mounted; an outcome that nobody knew was a failure; what was no object was nothing.
    let job = serde_json::json!({ "workspace": "w", "run_id": "", "cluster": "spot" });
    let inputs = [serde_json::json!({ "id": "data", "uri": "file:///data", "mode": "ro_mount" })];
    let spec =
        serde_json::json!({ "cluster": "spot", "inputs": inputs, "goal": "", "parameters": [], "max_retries": -1 });
    let event = serde_json::json!({ "job": job, "spec": spec, "at_us": 1 }).to_string();
    let Ok(JobEvent::JobQueued(event)) = JobEvent::decode("JobQueued", 1, &event) else { panic!("{event}") };
    let inputs = vec![JobInput { id: "data".into(), uri: "file:///data".into(), mode: InputMode::Mount }];
    assert_eq!(event.spec, JobSpec { cluster: "spot".into(), inputs, ..JobSpec::default() });
    let event = serde_json::json!({ "job": job, "attempt": 1, "end": { "outcome": "", "phase": "" }, "at_us": 1 });
    let Ok(JobEvent::JobEnded(event)) = JobEvent::decode("JobEnded", 1, &event.to_string()) else { panic!("{event}") };
    assert_eq!((event.end, event.node_id), (JobEnd::new(Outcome::Failed), None));
}
