//! A run from its creation to its end, repeats, and what is refused at the door.

use contracts::compute::{JobInput, Resources};

use super::*;

#[tokio::test]
async fn a_clients_run_from_creation_to_end() {
    // The first thing that a notebook does must work: create, log, end, read back.
    let fixture = Fixture::new().await;
    let request = CreateRunRequest {
        workspace: WORKSPACE.into(),
        experiment: "digits".into(),
        name: "first".into(),
        params: [("lr".to_owned(), "0.1".to_owned())].into(),
        ..CreateRunRequest::default()
    };
    let created = fixture.api.create_run(Request::new(request)).await.unwrap();
    assert_eq!(contracts::position_of(&created), Some(2), "the experiment's event and the run's");
    let created = created.into_inner();
    assert_eq!((created.state.as_str(), created.experiment_id.as_str(), created.version), ("Running", "1", 1));
    assert_eq!(created.created_at, "2023-11-14T22:13:20.000000Z");
    assert_eq!(fixture.get(&created.run_id).await, created, "it reads its own writes");
    let hex = vocabulary::RunId::parse(&created.run_id).unwrap().hex();
    assert_eq!(fixture.get(&hex).await, created, "by the mlflow spelling too");
    let ended = fixture.end(&created.run_id, "Completed").await.unwrap();
    assert_eq!((ended.state.as_str(), ended.version), ("Completed", 2));
    assert_eq!(fixture.get(&created.run_id).await, ended);
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.get(&created.run_id).await, ended);
    assert_eq!(code(fixture.end(&created.run_id, "Failed").await), (409, "RunTerminal".into()));
}

#[tokio::test]
async fn a_repeated_creation_gives_the_first_answer() {
    // A client that retries after a lost answer must not get a second run.
    let fixture = Fixture::new().await;
    let request = CreateRunRequest { workspace: WORKSPACE.into(), name: "once".into(), ..CreateRunRequest::default() };
    let first = fixture.api.create_run(keyed(7, 1, request.clone())).await.unwrap().into_inner();
    fixture.end(&first.run_id, "Completed").await.unwrap();
    let again = fixture.api.create_run(keyed(7, 1, request.clone())).await.unwrap().into_inner();
    assert_eq!(again, first);
    let other = answer(fixture.api.create_run(keyed(7, 2, request.clone())).await);
    assert_eq!(code(other), (422, "KeyReuse".into()));
    let (left, right) = tokio::join!(
        fixture.api.create_run(keyed(8, 1, request.clone())),
        fixture.api.create_run(keyed(8, 1, request.clone()))
    );
    assert_eq!(left.unwrap().into_inner(), right.unwrap().into_inner(), "at the same time too");
}

#[tokio::test]
async fn a_job_is_completed_and_checked() {
    // What compute gets must be whole, and a mistake must be told at the door with all others.
    let fixture = Fixture::new().await;
    let request = CreateRunRequest {
        workspace: WORKSPACE.into(),
        params: [("lr-rate".to_owned(), "0.1".to_owned())].into(),
        job: Some(job()),
        ..CreateRunRequest::default()
    };
    let run = answer(fixture.api.create_run(Request::new(request.clone())).await).unwrap();
    assert_eq!(run.state, "Proposed");
    let made = run.job.unwrap();
    assert_eq!(made.resources.unwrap().memory_bytes, 1 << 30);
    assert_eq!(made.contract_variables["TRIALOG_PARAM_LR_RATE"], "0.1");
    assert_eq!(made.parameters_json, r#"{"lr-rate":"0.1"}"#);
    let bad = JobSpec {
        environment_variables: [("TRIALOG_X".to_owned(), String::new())].into(),
        timeout_seconds: f64::NAN,
        ..JobSpec::default()
    };
    let refused = answer(fixture.api.create_run(Request::new(CreateRunRequest { job: Some(bad), ..request })).await);
    let pointers: Vec<_> = refused.unwrap_err().errors.into_iter().map(|error| error.pointer).collect();
    let expected = ["/job/cluster", "/job/command", "/job/environment_variables/TRIALOG_X", "/job/timeout_seconds"];
    assert_eq!(pointers, expected);
}

#[tokio::test]
async fn cancel_ends_a_run_without_a_job_and_asks_for_the_others() {
    // R9: cancel twice is fine; a run with a job ends when its process has.
    let fixture = Fixture::new().await;
    for (run_id, state) in [(fixture.own_run().await, "Canceled"), (fixture.watched_run().await, "Proposed")] {
        for _ in 0..2 {
            let request = CancelRunRequest { workspace: WORKSPACE.into(), run_id: run_id.clone() };
            let run = answer(fixture.api.cancel_run(Request::new(request)).await).unwrap();
            assert_eq!((run.state.as_str(), run.version), (state, 2));
        }
    }
    let request = CancelRunRequest { workspace: "other".into(), run_id: fixture.own_run().await };
    assert_eq!(code(answer(fixture.api.cancel_run(Request::new(request)).await)), (404, "NotFound".into()));
}

#[tokio::test]
async fn if_match_is_kept() {
    // Two people who edit a run must not overwrite each other unseen.
    let fixture = Fixture::new().await;
    let run_id = fixture.own_run().await;
    let tag = |version| {
        let call = CallContext { expected_version: Some(version), ..CallContext::default() };
        call.attach(UpdateRunRequest {
            workspace: WORKSPACE.into(),
            run_id: run_id.clone(),
            tags: [("v".to_owned(), version.to_string())].into(),
            ..UpdateRunRequest::default()
        })
    };
    assert_eq!(answer(fixture.api.update_run(tag(1)).await).unwrap().version, 2);
    assert_eq!(code(answer(fixture.api.update_run(tag(1)).await)), (412, "PreconditionFailed".into()));
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_a_code() {
    // Each mistake must say which it is.
    let fixture = Fixture::new().await;
    let run_id = fixture.own_run().await;
    assert_eq!(code(fixture.end(&run_id, "Running").await), (422, "BadState".into()));
    assert_eq!(code(fixture.end("run_nonsense", "Failed").await), (404, "NotFound".into()));
    let absent = vocabulary::RunId::new(Uuid::from_u128(9)).to_string();
    assert_eq!(code(fixture.end(&absent, "Failed").await), (404, "NotFound".into()));
    let create = |request: CreateRunRequest| {
        let request = CreateRunRequest { workspace: WORKSPACE.into(), ..request };
        async { code(answer(fixture.api.create_run(Request::new(request)).await)) }
    };
    let named = |experiment: &str| CreateRunRequest { experiment: experiment.into(), ..CreateRunRequest::default() };
    assert_eq!(create(named("a/b")).await, (422, "BadName".into()));
    assert_eq!(create(named("12")).await, (422, "BadName".into()));
    let parent = CreateRunRequest { parent_run_id: absent, ..CreateRunRequest::default() };
    assert_eq!(create(parent).await, (404, "NotFound".into()));
    let params = [("k".to_owned(), "x".repeat(70_000))].into();
    assert_eq!(create(CreateRunRequest { params, ..CreateRunRequest::default() }).await, (422, "TooLarge".into()));
}

#[tokio::test]
async fn cancel_ends_everything_that_is_nested_in_a_run() {
    // A pipeline that is canceled must not leave its steps on the nodes, finished steps in between or not.
    let fixture = Fixture::new().await;
    let nested = async |parent: &str, job: Option<JobSpec>| {
        let request = CreateRunRequest {
            workspace: WORKSPACE.into(),
            parent_run_id: parent.into(),
            job,
            ..CreateRunRequest::default()
        };
        answer(fixture.api.create_run(Request::new(request)).await).unwrap().run_id
    };
    let (root, other) = (fixture.own_run().await, fixture.own_run().await);
    let step = nested(&root, None).await;
    let finished = nested(&root, None).await;
    let (below, with_job) = (nested(&finished, None).await, nested(&step, Some(job())).await);
    fixture.end(&finished, "Completed").await.unwrap();
    let mut many = Vec::new();
    for _ in 0..300 {
        many.push(nested(&below, None).await);
    }
    for _ in 0..2 {
        let request = CancelRunRequest { workspace: WORKSPACE.into(), run_id: root.clone() };
        let run = answer(fixture.api.cancel_run(Request::new(request)).await).unwrap();
        assert_eq!((run.run_id.as_str(), run.state.as_str()), (root.as_str(), "Canceled"));
    }
    for run in [&root, &step, &below].into_iter().chain(&many) {
        let shown = fixture.get(run).await;
        assert_eq!((shown.state.as_str(), shown.version), ("Canceled", 2), "once, though it was asked for twice");
    }
    assert_eq!(fixture.get(&finished).await.state, "Completed");
    assert_eq!(fixture.get(&other).await.state, "Running");
    let stream = crate::run::stream(vocabulary::RunId::parse(&with_job).unwrap());
    let events = fixture.log().read_stream(&stream, 1, 9).await.unwrap();
    let last = events.last().map(|event| (event.kind.as_str(), event.version));
    assert_eq!(last, Some(("RunStopRequested", 2)), "its job is asked to end, once");
}

fn below(parent: &str) -> CreateRunRequest {
    CreateRunRequest { workspace: WORKSPACE.into(), parent_run_id: parent.into(), ..CreateRunRequest::default() }
}

/// A clock of which no two looks are the same: what is recorded at one time is one commit.
#[derive(Default)]
struct Ticking(std::sync::atomic::AtomicI64);

impl vocabulary::Clock for Ticking {
    fn now(&self) -> Timestamp {
        let tick = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Timestamp::from_microsecond(1_700_000_000_000_000 + tick).unwrap()
    }
}

#[tokio::test]
async fn the_commits_of_a_cancellation_do_not_grow_with_what_is_nested() {
    // Whoever cancels a pipeline would wait for one commit after another, each as long as the disk takes.
    let fixture = Fixture::with_clock(tempfile::tempdir().unwrap(), 1, Arc::new(Ticking::default())).await;
    let create = async |parent: &str| {
        let (workspace, parent_run_id) = (WORKSPACE.to_owned(), parent.to_owned());
        let request = CreateRunRequest { workspace, parent_run_id, ..CreateRunRequest::default() };
        answer(fixture.api.create_run(Request::new(request)).await).unwrap().run_id
    };
    let root = create("").await;
    let mut last = root.clone();
    // A long way down, and below each step of it some that end there.
    for _ in 0..40 {
        last = create(&last).await;
        for _ in 0..4 {
            create(&last).await;
        }
    }
    let before = *fixture.log().head().borrow();
    let request = CancelRunRequest { workspace: WORKSPACE.into(), run_id: root };
    fixture.api.cancel_run(Request::new(request)).await.unwrap();
    let events = fixture.log().read(before, 1000).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "RunEnded").count(), 201);
    let commits: std::collections::BTreeSet<i64> = events.iter().map(|event| event.recorded_at_us).collect();
    assert!(commits.len() <= 3, "{} commits", commits.len());
}

#[tokio::test]
async fn nothing_begins_below_a_canceled_run() {
    // A script of a canceled pipeline that has not heard of it yet must not go on starting steps.
    let fixture = Fixture::new().await;
    let create = async |parent: &str| answer(fixture.api.create_run(Request::new(below(parent))).await);
    let (root, with_job) = (fixture.own_run().await, fixture.watched_run().await);
    let step = create(&root).await.unwrap().run_id;
    let first = answer(fixture.api.create_run(keyed(7, 1, below(&step))).await).unwrap();
    fixture.end(&step, "Completed").await.unwrap();
    let unrelated = create(&fixture.own_run().await).await.unwrap();
    assert_eq!(create(&step).await.unwrap().state, "Running", "below one that has completed a run may begin");
    for run_id in [&root, &with_job] {
        let request = CancelRunRequest { workspace: WORKSPACE.into(), run_id: run_id.clone() };
        answer(fixture.api.cancel_run(Request::new(request)).await).unwrap();
    }
    for parent in [&root, &step, &first.run_id, &with_job] {
        let refused = create(parent).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (409, "ParentCanceled"), "{refused}");
        let canceled = if *parent == with_job {
            &with_job
        } else if *parent == first.run_id {
            parent
        } else {
            &root
        };
        assert!(refused.detail.contains(canceled.as_str()), "{refused}");
    }
    assert_eq!(fixture.get(&with_job).await.state, "Proposed", "its job has not ended yet");
    assert_eq!(answer(fixture.api.create_run(keyed(7, 1, below(&step))).await).unwrap(), first, "a repeat is no news");
    assert!(create(&unrelated.run_id).await.is_ok());
    // What an older build has written is known too.
    let fixture = fixture.reopen().await;
    let refused = answer(fixture.api.create_run(Request::new(below(&root))).await);
    assert_eq!(code(refused), (409, "ParentCanceled".into()));
}

#[tokio::test]
async fn a_run_that_begins_while_its_parents_are_canceled_does_not_stay() {
    let fixture = Fixture::new().await;
    let (root, mut steps) = (fixture.own_run().await, Vec::new());
    for _ in 0..5 {
        steps.push(answer(fixture.api.create_run(Request::new(below(&root))).await).unwrap().run_id);
    }
    // One run after another below each of them: before it, in the midst of it and after it.
    let begun = tokio::sync::Notify::new();
    let creations = steps.iter().chain([&root]).map(async |parent| {
        let mut answers = Vec::new();
        for _ in 0..40 {
            answers.push(answer(fixture.api.create_run(Request::new(below(parent))).await));
            begun.notify_one();
        }
        answers
    });
    let request = CancelRunRequest { workspace: WORKSPACE.into(), run_id: root.clone() };
    let cancel = async {
        begun.notified().await;
        fixture.api.cancel_run(Request::new(request)).await.unwrap();
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(creations), cancel);
    let (created, refused): (Vec<_>, Vec<_>) = answers.into_iter().flatten().partition(Result::is_ok);
    assert!(!created.is_empty() && !refused.is_empty(), "{} and {}", created.len(), refused.len());
    for run in created {
        assert_eq!(fixture.get(&run.unwrap().run_id).await.state, "Canceled");
    }
    for refused in refused {
        assert_eq!(code(refused), (409, "ParentCanceled".into()));
    }
}

#[tokio::test]
async fn runs_are_nested_as_deep_as_is_allowed_and_no_deeper() {
    // The way up is walked by the only writer: a script that nests without end must not hold up everybody.
    let fixture = Fixture::new().await;
    let root = fixture.own_run().await;
    let mut last = root.clone();
    let mut levels = 0;
    let refused = loop {
        match answer(fixture.api.create_run(Request::new(below(&last))).await) {
            Ok(run) => (last, levels) = (run.run_id, levels + 1),
            Err(refused) => break refused,
        }
        assert!(levels <= 64, "{levels} levels");
    };
    assert_eq!(levels, 64);
    assert_eq!((refused.status, refused.errors[0].code.as_str()), (422, "TooDeep"), "{refused}");
    assert_eq!(refused.errors[0].pointer, "/parent_run_id");
    let text = refused.errors[0].message.clone();
    assert!(text.contains("a run may have 64") && text.contains(&last), "{text}");
    // Up to there a cancellation is seen, and a run beside them may begin.
    let middle = fixture.get(&last).await.parent_run_id;
    assert!(answer(fixture.api.create_run(Request::new(below(&middle))).await).is_ok());
    let request = CancelRunRequest { workspace: WORKSPACE.into(), run_id: root };
    answer(fixture.api.cancel_run(Request::new(request)).await).unwrap();
    let refused = answer(fixture.api.create_run(Request::new(below(&middle))).await);
    assert_eq!(code(refused), (409, "ParentCanceled".into()));
}

#[tokio::test]
async fn what_an_older_build_has_nested_deeper_is_refused_without_a_walk() {
    let fixture = Fixture::new().await;
    let (root, template) = (fixture.own_run().await, fixture.own_run().await);
    let created = {
        let stream = crate::run::stream(vocabulary::RunId::parse(&template).unwrap());
        let event = fixture.log().read_stream(&stream, 0, 1).await.unwrap().remove(0);
        let crate::run::RunEvent::RunCreated(created) = event.decode().unwrap() else { panic!("{}", event.kind) };
        created
    };
    let mut parent = root.clone();
    for number in 1..=80 {
        let run_id = vocabulary::RunId::new(Uuid::from_u128(number));
        let created = crate::run::RunCreated { run_id, parent_run_id: parent, ..created.clone() };
        let command = crate::run::Command::Create(Box::new(created));
        let context = eventlog::Context::new(Uuid::from_u128(1000 + number), "a test", "");
        fixture.log().execute::<crate::run::Run>(&crate::run::stream(run_id), command, context).await.unwrap();
        parent = run_id.to_string();
    }
    // The rows of an older build's database: the history fills them.
    let context = eventlog::Context::new(Uuid::from_u128(9), "a test", "");
    let aged = fixture.log().record::<crate::run::Run, _>("aged", None, context, |_, tx| {
        Box::pin(async move {
            for statement in [
                "DROP TABLE nested_runs",
                "DELETE FROM log_views WHERE name = 'nested_runs'",
                "DELETE FROM log_migrations WHERE name = '008_nested_runs'",
            ] {
                eventlog::sql(statement).execute(&mut *tx).await?;
            }
            Ok(eventlog::Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    aged.await.unwrap();
    let fixture = fixture.reopen().await;
    let refused = answer(fixture.api.create_run(Request::new(below(&parent))).await).unwrap_err();
    assert!(refused.errors[0].message.contains("has 80 runs above it"), "{refused}");
    let deepest = vocabulary::RunId::new(Uuid::from_u128(63)).to_string();
    assert!(answer(fixture.api.create_run(Request::new(below(&deepest))).await).is_ok());
}

/// What is wrong with a job, by pointer.
async fn wrong(fixture: &Fixture, job: JobSpec, nodes: Option<(u32, u64)>) -> Vec<(String, String)> {
    let cluster = nodes.map(|(vcpus, bytes)| JobCluster {
        max_nodes: 2,
        node_vcpus: vcpus,
        node_memory_bytes: bytes,
        node_gpus: 0,
        provisioning_state: "Succeeded".into(),
    });
    let resolved = nodes.map(|_| ResolvedJob { cluster });
    let request =
        CreateRunRequest { workspace: WORKSPACE.into(), job: Some(job), resolved, ..CreateRunRequest::default() };
    let refused = answer(fixture.api.create_run(Request::new(request)).await).unwrap_err();
    let errors = refused.errors.into_iter().map(|error| (error.code, error.pointer));
    if refused.status == 422 { errors.collect() } else { vec![(refused.code, refused.status.to_string())] }
}

#[tokio::test]
async fn a_plain_job_is_refused_what_a_trial_is_refused() {
    // A job that no agent can start must be refused at the door, not fail on a node a minute later.
    let fixture = Fixture::new().await;
    let input = |id: &str, uri: &str, mode: &str| JobInput {
        id: id.into(),
        uri: uri.into(),
        mode: mode.into(),
        ..JobInput::default()
    };
    let resources = Resources { cpu_count: 8.0, gpu_count: 1, memory_bytes: 4 << 30, node_count: 3 };
    let bad = JobSpec {
        command: ["x", "${{inputs.dta}}", "${{outputs.model}}", "${{search_space.lr}}", "${{inputs.a"]
            .map(str::to_owned)
            .to_vec(),
        inputs: vec![
            input("data", "azureml:x", "mount"),
            input("a.b", "file:///a", "ro_mount"),
            input("a-b", "file:///b", ""),
        ],
        outputs: vec!["../x".into()],
        code_sha256: "sha256:xyz".into(),
        python: "python3".into(),
        goal: "up".into(),
        prepare: vec!["${{inputs.data}}".into()],
        resources: Some(resources),
        ..job()
    };
    let mut found = wrong(&fixture, bad, Some((2, 1 << 30))).await;
    found.sort();
    let expected = [
        ("AmbiguousName", "/job/inputs/2/id"),
        ("BadCode", "/job/code_sha256"),
        ("BadEnvironment", "/job/python"),
        ("BadGoal", "/job/goal"),
        ("BadInputMode", "/job/inputs/1/mode"),
        ("BadName", "/job/outputs/0"),
        ("NeverSchedulable", "/job/resources/cpu_count"),
        ("NeverSchedulable", "/job/resources/gpu_count"),
        ("NeverSchedulable", "/job/resources/memory_bytes"),
        ("NeverSchedulable", "/job/resources/node_count"),
        ("NotOfferedYet", "/job/inputs/0/uri"),
        ("TemplateSyntax", "/job/command/4"),
        ("TemplateSyntax", "/job/prepare"),
        ("UnknownReference", "/job/command/1"),
        ("UnknownReference", "/job/command/2"),
        ("UnknownReference", "/job/command/3"),
    ];
    assert_eq!(found, expected.map(|(code, pointer)| (code.to_owned(), pointer.to_owned())));
}

#[tokio::test]
async fn a_run_is_refused_once_with_all_that_is_wrong_with_it() {
    // Who is told of a value, then of the cluster and then of the code sends it three times.
    let fixture = Fixture::new().await;
    let bad = JobSpec {
        code_sha256: "ab".repeat(32),
        checkpoint_from: "run_1".into(),
        prepare: vec!["${{inputs.data}}".into()],
        command: Vec::new(),
        ..job()
    };
    let request = CreateRunRequest {
        workspace: WORKSPACE.into(),
        name: "a\nb".into(),
        experiment: "12".into(),
        parent_run_id: "run_2".into(),
        job: Some(bad),
        resolved: Some(ResolvedJob::default()),
        ..CreateRunRequest::default()
    };
    let refused = answer(fixture.api.create_run(Request::new(request.clone())).await).unwrap_err();
    let errors: Vec<_> = refused.errors.iter().map(|e| (e.pointer.as_str(), e.code.as_str())).collect();
    let expected = [
        ("/experiment", "BadName"),
        ("/job/checkpoint_from", "NotFound"),
        ("/job/cluster", "NotFound"),
        ("/job/code_sha256", "NotFound"),
        ("/job/command", "Required"),
        ("/job/prepare", "TemplateSyntax"),
        ("/name", "BadName"),
        ("/parent_run_id", "NotFound"),
    ];
    assert_eq!((refused.status, errors.as_slice()), (422, expected.as_slice()), "{refused}");
    assert!(refused.errors[4].message.contains("required: "), "{refused}");
    // What was found elsewhere keeps it from being made.
    let good = CreateRunRequest { workspace: WORKSPACE.into(), check_only: true, ..CreateRunRequest::default() };
    assert_eq!(answer(fixture.api.create_run(Request::new(good)).await).unwrap(), Run::default());
    let listed = ListRunsRequest { workspace: WORKSPACE.into(), ..ListRunsRequest::default() };
    assert_eq!(answer(fixture.api.list_runs(Request::new(listed)).await).unwrap().runs, []);
}

#[tokio::test]
async fn what_a_plain_job_refers_to_must_be_there() {
    // A typing error in a hash or a run's id, or another workspace's, must not be found by a node.
    let fixture = Fixture::new().await;
    let found = |code: &str, status: u16| vec![(code.to_owned(), status.to_string())];
    let code = JobSpec { code_sha256: "ab".repeat(32), ..job() };
    assert_eq!(wrong(&fixture, code, None).await, found("NotFound", 404));
    let elsewhere = CreateRunRequest { workspace: "other".into(), ..CreateRunRequest::default() };
    let elsewhere = answer(fixture.api.create_run(Request::new(elsewhere)).await).unwrap().run_id;
    for checkpoint_from in [elsewhere, "run_1".to_owned()] {
        assert_eq!(wrong(&fixture, JobSpec { checkpoint_from, ..job() }, None).await, found("NotFound", 404));
    }
    let request = CreateRunRequest {
        workspace: WORKSPACE.into(),
        job: Some(job()),
        resolved: Some(ResolvedJob::default()),
        ..CreateRunRequest::default()
    };
    let refused = answer(fixture.api.create_run(Request::new(request.clone())).await).unwrap_err();
    assert_eq!((refused.status, refused.detail.as_str()), (404, "cluster 'spot' in workspace 'default'"));
    let cluster = Some(JobCluster { provisioning_state: "Deleting".into(), ..JobCluster::default() });
    let request = CreateRunRequest { resolved: Some(ResolvedJob { cluster }), ..request };
    let refused = answer(fixture.api.create_run(Request::new(request)).await).unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (409, "ClusterNotReady"), "{refused:?}");
    let own = fixture.own_run().await;
    let good = JobSpec { checkpoint_from: own, ..job() };
    assert_eq!(fixture.run(Some(good)).await.state, "Proposed");
}
