//! What single routes add to the calls that they pass on.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use contracts::compute::{
    Cluster, Deployment, Job, JobEnd, JobSpec, ListClustersReply, ListClustersRequest, Placement, PutDeploymentRequest,
    Revision, Scale, SizeFacts,
};
use contracts::models::{ModelVersion, RegisterVersionRequest};
use contracts::runs::{Artifact, CreateRunRequest, ListArtifactsReply, RecordMetricsRequest, Run};
use contracts::sweeps::{
    CancelSweepReply, Explanation, ListSweepsReply, PauseSweepRequest, SubmitSweepReply, SubmitSweepRequest, Sweep,
    Trial,
};
use serde_json::{Value, json};
use vocabulary::{FieldError, Problem, RunId, request_id};

use super::requests::{BASE, Door, as_token};

#[actix_web::test]
async fn every_documented_route_is_there() {
    // The document and the routes come from the same attributes; what this finds is a path that another one swallows.
    let door = Door::open().await;
    let document: Value = serde_json::to_value(trialog_gateway::openapi()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            // Streams do not end by themselves; scoring has a door of its own.
            if path.ends_with("/events") || path.starts_with("/endpoints/") {
                continue;
            }
            let run = RunId::new(uuid::Uuid::from_u128(1)).to_string();
            let uri = path
                .replace("{workspace}", "lab")
                .replace("{run}", &run)
                .replace("{index}", "1")
                .replace(['{', '}'], "");
            let method: Method = method.to_uppercase().parse().unwrap();
            let request = as_token(TestRequest::default().method(method.clone()).uri(&uri), "tlg_admin_x");
            let answer = door.ask(request.set_json(json!({}))).await;
            let code = if answer.status.is_success() { String::new() } else { answer.problem().1 };
            assert!(
                !["RouteNotFound", "MethodNotAllowed", "NotOfferedYet"].contains(&code.as_str()),
                "{method} {uri}: {code}"
            );
        }
    }
}

#[actix_web::test]
async fn no_route_takes_a_list_for_the_fields_of_its_body() {
    // `[2]` was an ask for two trials. Documents that only their service reads are refused there; what a model is asked
    // is the model's to read, and scoring has a door of its own.
    const PASSED_ON: [&str; 2] = [":whatif", ":import"];
    let door = Door::open().await;
    let document: Value = serde_json::to_value(trialog_gateway::openapi()).unwrap();
    let (mut refused, mut taken) = (0, Vec::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let takes_json = operation["requestBody"]["content"].get("application/json").is_some();
            let is_elsewhere = path.starts_with("/endpoints/") || PASSED_ON.iter().any(|verb| path.ends_with(verb));
            if !takes_json || is_elsewhere {
                continue;
            }
            let run = RunId::new(uuid::Uuid::from_u128(1)).to_string();
            let uri = path.replace("{workspace}", "lab").replace("{run}", &run).replace("{index}", "1");
            let uri = uri.replace("{version}", "1").replace(['{', '}'], "");
            for body in [json!([2]), json!([]), json!([1, [2]]), json!("x"), json!(null)] {
                let method: Method = method.to_uppercase().parse().unwrap();
                let request = as_token(TestRequest::default().method(method).uri(&uri), "tlg_admin_x");
                let answer = door.ask(request.set_json(&body)).await;
                if answer.status.is_success() || answer.problem() != (422, "WrongType".to_owned()) {
                    taken.push(format!("{uri} {body}: {}", answer.text()));
                }
                refused += 1;
            }
        }
    }
    assert!(taken.is_empty() && refused > 100, "{refused} requests, of which these were taken:\n{}", taken.join("\n"));
}

#[actix_web::test]
async fn a_sweep_goes_with_what_it_refers_to() {
    let door = Door::open().await;
    let code = door.fake.object(b"code");
    door.fake.answer(
        "get_cluster",
        &Cluster {
            name: "spot".to_owned(),
            provisioning_state: "Succeeded".to_owned(),
            scale: Some(Scale { max_nodes: 4, ..Scale::default() }),
            size: Some(SizeFacts { vcpus: 2, memory_bytes: 8, gpus: 1, ..SizeFacts::default() }),
            ..Cluster::default()
        },
    );
    door.fake.answer("submit_sweep", &SubmitSweepReply { id: "sweep_1".to_owned(), version: 1, ..Default::default() });
    let yaml = format!("name: s\ncluster: spot\ntrial:\n  code: sha256:{code}\n");
    let post = TestRequest::post()
        .uri(&format!("{BASE}/sweeps?strict=true"))
        .insert_header(("content-type", "application/yaml"));
    let answer = door.ask(as_token(post, "tlg_contributor_x").set_payload(yaml.clone())).await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (201, "\"v1\""));
    assert_eq!(answer.json()["id"], "sweep_1");
    let sent = door.fake.calls("submit_sweep")[0].message::<SubmitSweepRequest>();
    assert_eq!((sent.document, sent.format.as_str(), sent.strict), (yaml.into_bytes(), "yaml", true));
    let resolved = sent.resolved.unwrap();
    let cluster = resolved.cluster.unwrap();
    assert_eq!((resolved.code_present, cluster.max_nodes, cluster.node_vcpus, cluster.node_gpus), (true, 4, 2, 1));

    // That the cluster is not there is for sweeps to say, after all other errors.
    door.fake.refuse("get_cluster", Problem::not_found("cluster", "spot", "lab"));
    let plan = SubmitSweepReply { plan_json: r#"{"trials": 3}"#.to_owned(), ..Default::default() };
    door.fake.answer("submit_sweep", &plan);
    let answer = door.send(Method::POST, "/sweeps?dry_run=true", json!({"cluster": "spot"})).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"plan": {"trials": 3}, "warnings": []})));
    let sent = door.fake.calls("submit_sweep")[1].message::<SubmitSweepRequest>();
    assert_eq!((sent.dry_run, sent.resolved.unwrap().cluster), (true, None));
}

#[actix_web::test]
async fn verbs_reach_the_sweep_they_name() {
    let door = Door::open().await;
    assert_eq!(door.send(Method::POST, "/sweeps/my%20sweep:pause", json!({"mode": "checkpoint"})).await.status, 200);
    let sent = door.fake.calls("pause_sweep")[0].message::<PauseSweepRequest>();
    assert_eq!((sent.sweep.as_str(), sent.mode.as_str()), ("my sweep", "checkpoint"));
    let bare = as_token(TestRequest::post().uri(&format!("{BASE}/sweeps/s1:resume")), "tlg_contributor_x");
    assert_eq!(door.ask(bare).await.status, 200);
    for (accepted, status) in [(true, 202), (false, 200)] {
        let sweep = Some(Sweep { name: "s1".to_owned(), ..Sweep::default() });
        door.fake.answer("cancel_sweep", &CancelSweepReply { sweep, accepted });
        let answer = door.send(Method::POST, "/sweeps/s1:cancel", json!({})).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["name"]), (status, &json!("s1")));
    }
}

#[actix_web::test]
async fn points_are_read_exactly_or_refused_by_place() {
    let door = Door::open().await;
    let run = RunId::new(uuid::Uuid::from_u128(1));
    let body = json!({"metrics": [{"name": "loss", "value": 0.1, "step": 2}, {"name": "loss", "value": "NaN"}]});
    assert_eq!(door.send(Method::POST, &format!("/runs/{run}/metrics"), body).await.status, 200);
    let sent = door.fake.calls("record_metrics")[0].message::<RecordMetricsRequest>();
    assert_eq!((sent.workspace.as_str(), sent.metrics.len(), sent.metrics[0].step), ("lab", 2, Some(2)));
    let post = TestRequest::post()
        .uri(&format!("{BASE}/runs/{run}/metrics"))
        .insert_header(("content-type", "application/json"));
    let answer = door
        .ask(as_token(post, "tlg_contributor_x").set_payload(r#"{"metrics": [{"name": "a", "value": 1e400}]}"#))
        .await;
    assert_eq!(answer.problem(), (422, "BadMetricValue".to_owned()));
    assert_eq!(answer.json()["errors"][0]["pointer"], "/metrics/0/value");
}

#[actix_web::test]
async fn a_model_is_registered_with_the_files_of_its_run() {
    let door = Door::open().await;
    let run = RunId::new(uuid::Uuid::from_u128(1));
    door.fake.answer("get_run", &Run { state: "Completed".to_owned(), sweep_id: "s".to_owned(), ..Run::default() });
    let path = "outputs/model/model.pkl".to_owned();
    let artifact = Artifact { path, sha256: "ab".to_owned(), size_bytes: 3, attempt: 1, superseded: false };
    door.fake.answer("list_artifacts", &ListArtifactsReply { artifacts: vec![artifact], ..Default::default() });
    let body = json!({"run_id": run.hex(), "artifact_path": "outputs/model/"});
    assert_eq!(door.send(Method::POST, "/models/digits/versions", body.clone()).await.status, 201);
    let sent = door.fake.calls("register_version")[0].message::<RegisterVersionRequest>();
    let resolved = sent.resolved.unwrap();
    assert_eq!(
        (sent.model.as_str(), sent.run_id, sent.artifact_path.as_str()),
        ("digits", run.to_string(), "outputs/model")
    );
    assert_eq!((resolved.run_state.as_str(), resolved.files[0].path.as_str()), ("Completed", "model.pkl"));

    // Its best value was reached, and the model is another one: nobody would see it later.
    for (kept, warned) in [("outputs/mode", false), ("outputs/model", true)] {
        let end = JobEnd { unkept: "it could not be copied".to_owned(), ..JobEnd::default() };
        let job = JobSpec { keep_best: vec![kept.to_owned()], ..JobSpec::default() };
        door.fake.answer("get_run", &Run { end: Some(end), job: Some(job), ..Run::default() });
        let registered = door.send(Method::POST, "/models/digits/versions", body.clone()).await.json();
        let warning = &registered["warnings"][0];
        assert_eq!(warning["code"] == "BestNotKept", warned, "{registered}");
        assert_eq!(warning.to_string().contains("could not be copied"), warned, "{registered}");
    }

    door.fake.answer("list_artifacts", &ListArtifactsReply::default());
    assert_eq!(
        door.send(Method::POST, "/models/digits/versions", body.clone()).await.problem(),
        (422, "ArtifactMissing".to_owned())
    );
    // The best of a sweep may be one that a policy has stopped: the missing folder is no mistake of the path.
    let (state, sweep_id, trial_index) = ("EarlyStopped".to_owned(), "s".to_owned(), Some(2));
    door.fake.answer("get_run", &Run { state, sweep_id, trial_index, ..Run::default() });
    let stop = contracts::sweeps::PolicyStop {
        policy: "asha".to_owned(),
        metric: "rmse".to_owned(),
        goal: "minimize".to_owned(),
        value: 4.5,
        threshold: Some(1.25),
        interval: 3,
    };
    door.fake.answer("get_trial", &Trial { stop: Some(stop), ..Trial::default() });
    let refused = door.send(Method::POST, "/models/digits/versions", body.clone()).await.json();
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("; it was stopped early: asha: rmse 4.5 > 1.25 at step 3; outputs with keep"), "{detail}");
    door.fake.refuse("get_trial", Problem::not_found("trial", "2", "lab"));
    let refused = door.send(Method::POST, "/models/digits/versions", body).await.json();
    assert!(refused["detail"].as_str().unwrap().contains("it was stopped early; outputs"), "{refused}");
}

#[actix_web::test]
async fn a_model_that_is_not_there_is_said_with_the_documents_own_errors() {
    let door = Door::open().await;
    door.fake.refuse("get_version", Problem::not_found("model", "digits", "lab"));
    door.fake.answer("put_deployment", &Deployment::default());
    door.send(Method::PUT, "/endpoints/e/deployments/blue", json!({"model": "digits@best"})).await;
    let sent: PutDeploymentRequest = door.fake.calls("put_deployment").last().unwrap().message();
    assert_eq!(sent.model_absent, "model 'digits' in workspace 'lab'");
    assert!(sent.resolved.is_none());
}

#[actix_web::test]
async fn a_name_that_nothing_has_is_answered_with_the_one_that_was_meant() {
    // Whoever writes sptt would look for the list first.
    let door = Door::open().await;
    let cluster = |name: &str| Cluster { name: name.to_owned(), ..Cluster::default() };
    let clusters = vec![cluster("spot"), cluster("big")];
    door.fake.answer("list_clusters", &ListClustersReply { clusters, ..ListClustersReply::default() });
    door.fake.refuse("get_cluster", Problem::not_found("cluster", "spto", "lab"));
    let detail = door.get("/clusters/spto").await.json()["detail"].as_str().unwrap().to_owned();
    let meant = "; did you mean spot? `trialog cluster list` shows those that there are";
    assert_eq!(detail, format!("cluster 'spto' in workspace 'lab'{meant}"));
    let asked: ListClustersRequest = door.fake.calls("list_clusters").last().unwrap().message();
    assert!(asked.workspace == "lab" && (1..=1000).contains(&asked.page_size));
    // In a document it is said where it stands, and what nothing is like is only listed.
    let absent = |name: &str| FieldError::new("/cluster", "NotFound", format!("cluster '{name}' in workspace 'lab'"));
    let wrong = FieldError::new("/name", "BadName", "name: no");
    door.fake.refuse("submit_sweep", Problem::of_errors(422, vec![absent("bigg"), wrong]));
    let answer = door.send(Method::POST, "/sweeps", json!({})).await.json();
    let message = answer["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("'lab'; did you mean big? `trialog cluster list`"), "{message}");
    assert_eq!(answer["detail"], format!("{message} (and 1 more)"));
    door.fake.refuse("submit_sweep", Problem::of_errors(404, vec![absent("zebra")]));
    let answer = door.send(Method::POST, "/sweeps", json!({})).await.json();
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.ends_with("'lab'; `trialog cluster list` shows those that there are"), "{detail}");
    // Of another workspace nobody is told anything.
    door.fake.refuse("get_cluster", Problem::not_found("cluster", "spto", "elsewhere"));
    assert_eq!(door.get("/clusters/spto").await.json()["detail"], "cluster 'spto' in workspace 'elsewhere'");
}

#[actix_web::test]
async fn a_run_is_refused_once_with_all_that_is_wrong_with_it() {
    // Who is told of a field, then of a value and then of the cluster sends it three times.
    let door = Door::open().await;
    door.fake.refuse("get_cluster", Problem::not_found("cluster", "cpu", "lab"));
    let rest = [("/job/cluster", "NotFound"), ("/job/command", "Required")];
    let rest = rest.map(|(pointer, code)| FieldError::new(pointer, code, "from runs"));
    door.fake.refuse("create_run", Problem::of_errors(422, rest.to_vec()));
    let job = json!({"cluster": "cpu", "comand": ["x"], "max_retries": "many", "environment": {"python": "old"}});
    let answer = door.send(Method::POST, "/runs", json!({"experimint": "e", "job": job})).await.json();
    let of = |error: &Value, member: &str| error[member].as_str().unwrap_or_default().to_owned();
    let errors = answer["errors"].as_array().unwrap().iter();
    let errors: Vec<_> = errors.map(|error| (of(error, "pointer"), of(error, "code"))).collect();
    let expected = [
        ("/experimint", "UnknownField"),
        ("/job/cluster", "NotFound"),
        ("/job/comand", "UnknownField"),
        ("/job/environment/python", "BadEnvironment"),
        ("/job/max_retries", "WrongType"),
    ];
    assert_eq!(answer["status"], 400, "{answer}");
    assert_eq!(errors, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())), "{answer}");
    let sent: CreateRunRequest = door.fake.calls("create_run").last().unwrap().message();
    assert!(sent.check_only && sent.resolved.unwrap().cluster.is_none());
    // Nothing more is wrong: it is refused all the same.
    door.fake.answer("create_run", &Run::default());
    let answer = door.send(Method::POST, "/runs", json!({"experimint": "e"})).await;
    assert_eq!(answer.problem(), (400, "UnknownField".to_owned()));
}

#[actix_web::test]
async fn why_has_the_placements_of_the_run() {
    let door = Door::open().await;
    let explanation_json = r#"{"trial": 1, "proposal": {"position": 5}, "decisions": [], "attempts": []}"#.to_owned();
    door.fake.answer("explain_trial", &Explanation { explanation_json, run_id: "run_1".to_owned() });
    let placement =
        Placement { position: 9, node_id: "node_1".to_owned(), reason: "fits".to_owned(), ..Placement::default() };
    door.fake.answer("get_job", &Job { placements: vec![placement], ..Job::default() });
    let why = door.get("/sweeps/s1/trials/1/why").await.json();
    assert_eq!((&why["placements"][0]["node"], &why["proposal"]["position"]), (&json!("node_1"), &json!(5)));
    door.fake.refuse("get_job", Problem::not_found("job", "run_1", "lab"));
    assert_eq!(door.get("/sweeps/s1/trials/1/why").await.json()["placements"], json!([]));
}

#[actix_web::test]
async fn a_trial_that_waits_says_why_where_trials_are_listed() {
    // A sweep stood still, and its list of trials had an empty column for the reason.
    let door = Door::open().await;
    let trial = |index, state: &str| Trial {
        index,
        state: state.to_owned(),
        run_id: format!("run_{index}"),
        ..Trial::default()
    };
    let trials = vec![trial(0, "Running"), trial(1, "Queued")];
    door.fake.answer("list_trials", &contracts::sweeps::ListTrialsReply { trials, ..Default::default() });
    door.fake.answer("get_trial", &trial(1, "Queued"));
    let (state, reason) = ("queued".to_owned(), "busy: deployment a/blue 1 vCPU".to_owned());
    door.fake.answer("get_job", &Job { job_id: "job_1".to_owned(), state, reason: reason.clone(), ..Job::default() });
    let listed = door.get("/sweeps/s/trials").await.json();
    assert_eq!((&listed["trials"][0]["reason"], &listed["trials"][1]["reason"]), (&json!(""), &json!(reason)));
    assert_eq!(door.get("/sweeps/s/trials/1").await.json()["reason"], json!(reason));
    assert_eq!(door.fake.calls("get_job").len(), 2, "only what waits is asked for");
    door.fake.refuse("get_job", Problem::unavailable("Away", "compute is away", 1));
    assert_eq!(door.get("/sweeps/s/trials").await.json()["trials"][1]["reason"], "", "the trials are there");
}

#[actix_web::test]
async fn why_names_what_was_reported_in_the_place_of_the_objective() {
    let door = Door::open().await;
    let trial = |reports: u32| {
        json!({"trial": {"reason": "no_objective", "metric": "val_loss", "non_finite_reports": reports}}).to_string()
    };
    let run_id = "run_1".to_owned();
    let metric = contracts::runs::MetricSummary { name: "val loss".to_owned(), ..Default::default() };
    door.fake
        .answer("list_metrics", &contracts::runs::ListMetricsReply { metrics: vec![metric], ..Default::default() });
    door.fake.answer("explain_trial", &Explanation { explanation_json: trial(0), run_id: run_id.clone() });
    assert_eq!(door.get("/sweeps/s1/trials/1/why").await.json()["reported"], json!(["val loss"]));
    door.fake.answer("explain_trial", &Explanation { explanation_json: trial(2), run_id });
    assert_eq!(door.get("/sweeps/s1/trials/1/why").await.json()["reported"], json!(null), "it did report its own");
}

#[actix_web::test]
async fn a_run_that_waits_says_why_and_why_answers_for_every_run_with_a_job() {
    // Whoever waits for a node that never comes finds the reason where he looks: at his run.
    let door = Door::open().await;
    let run_id = RunId::new(uuid::Uuid::from_u128(1)).to_string();
    let plain = |state: &str, job| Run { run_id: run_id.clone(), state: state.to_owned(), job, ..Run::default() };
    let reason = "all of at most 1 nodes are busy (scale.max_nodes)".to_owned();
    let (job_id, state) = ("job_1".to_owned(), "queued".to_owned());
    door.fake.answer("get_job", &Job { job_id, state, reason: reason.clone(), ..Job::default() });
    door.fake.answer("get_run", &plain("Queued", Some(Default::default())));
    assert_eq!(door.get(&format!("/runs/{run_id}")).await.json()["reason"], json!(reason));
    let why = door.get(&format!("/runs/{run_id}/why")).await.json();
    assert_eq!((&why["state"], &why["reason"], &why["placements"]), (&json!("Queued"), &json!(reason), &json!([])));
    door.fake.refuse("get_job", Problem::unavailable("Away", "compute is away", 1));
    assert_eq!(door.get(&format!("/runs/{run_id}")).await.status, 200, "the run itself is there");
    door.fake.refuse("get_job", Problem::not_found("job", &run_id, "lab"));
    let why = door.get(&format!("/runs/{run_id}/why")).await.json();
    assert_eq!(why["reason"], "its job is on its way to compute");
    door.fake.answer("get_run", &plain("Running", None));
    assert_eq!(door.get(&format!("/runs/{run_id}/why")).await.problem(), (409, "NoJob".to_owned()));

    let trial = Run { sweep_id: "sweep_1".to_owned(), trial_index: Some(3), ..plain("Queued", None) };
    door.fake.answer("get_run", &trial);
    let explanation_json = r#"{"trial": 3}"#.to_owned();
    door.fake.answer("explain_trial", &Explanation { explanation_json, run_id: run_id.clone() });
    assert_eq!(door.get(&format!("/runs/{run_id}/why")).await.json()["trial"], 3);
}

#[actix_web::test]
async fn a_deployment_is_given_what_the_run_of_its_version_ran_in() {
    let door = Door::open().await;
    let (model, run_id) = ("digits".to_owned(), RunId::new(uuid::Uuid::from_u128(1)).to_string());
    door.fake.answer("get_version", &ModelVersion { model, version: 1, run_id, ..ModelVersion::default() });
    let job = contracts::compute::JobSpec {
        python: "3.11".to_owned(),
        requirements_file: "requirements.txt".to_owned(),
        code_sha256: "abc".to_owned(),
        ..Default::default()
    };
    door.fake.answer("get_run", &Run { job: Some(job), ..Run::default() });
    door.send(Method::PUT, "/endpoints/e/deployments/blue", json!({"model": "digits"})).await;
    let sent = door.fake.calls("put_deployment")[0].message::<contracts::compute::PutDeploymentRequest>();
    let environment = sent.resolved.unwrap().environment.unwrap();
    assert_eq!((environment.python.as_str(), environment.code_sha256.as_str()), ("3.11", "abc"));
    assert_eq!(environment.requirements_file, "requirements.txt");
}

#[actix_web::test]
async fn what_is_asked_of_a_list_is_done_or_refused() {
    let door = Door::open().await;
    let run = RunId::new(uuid::Uuid::from_u128(1));
    for list in ["/runs?page_size=0", "/sweeps?page_size=0", "/models?page_size=0", "/clusters?page_size=0"] {
        let answer = door.get(list).await;
        assert!(answer.status == 400 || answer.status == 422, "{list}: {}", answer.status);
        assert!(answer.json()["detail"].as_str().unwrap().contains("1..=1000"), "{list}: {}", answer.json());
    }
    door.get(&format!("/runs/{run}/children?recursive=true&page_size=7")).await;
    let sent = door.fake.calls("list_runs")[0].message::<contracts::runs::ListRunsRequest>();
    assert_eq!((sent.parent, sent.recursive, sent.page_size), (run.to_string(), true, 7));
    let path = "/models/digits/aliases/champion";
    door.send(Method::DELETE, path, json!({"reason": "it drifts"})).await;
    door.send(Method::DELETE, &format!("{path}?reason=asked"), json!({})).await;
    let reasons = door.fake.calls("remove_alias");
    let reason = |call: usize| reasons[call].message::<contracts::models::RemoveAliasRequest>().reason;
    assert_eq!((reason(0), reason(1)), ("it drifts".to_owned(), "asked".to_owned()));
}

#[actix_web::test]
async fn a_cluster_is_not_deleted_under_a_sweep_that_has_trials_to_come() {
    // Between two trials it has no job there, and yet it needs the cluster.
    let door = Door::open().await;
    let sweep = |name: &str, cluster: &str, ended_at: &str| contracts::sweeps::Sweep {
        name: name.to_owned(),
        cluster: cluster.to_owned(),
        state: "Paused".to_owned(),
        ended_at: ended_at.to_owned(),
        ..Default::default()
    };
    let sweeps = vec![sweep("a", "spot", ""), sweep("b", "other", ""), sweep("c", "spot", "2026-11-30T00:00:00Z")];
    door.fake.answer("list_sweeps", &ListSweepsReply { sweeps, ..ListSweepsReply::default() });
    door.send(Method::DELETE, "/clusters/spot", json!({})).await;
    door.send(Method::DELETE, "/clusters/spot?force=true", json!({})).await;
    let sent = door.fake.calls("delete_cluster");
    let sent = |call: usize| sent[call].message::<contracts::compute::GetClusterRequest>();
    assert_eq!((sent(0).used_by, sent(0).force), (vec!["sweep a (Paused)".to_owned()], false));
    assert_eq!((sent(1).used_by, sent(1).force), (vec![], true));
}

#[actix_web::test]
async fn lineage_walks_from_an_answer_to_the_code() {
    let door = Door::open().await;
    let run_id = RunId::new(uuid::Uuid::from_u128(1)).to_string();
    let revision = Revision {
        workspace: "lab".to_owned(),
        endpoint: "e".to_owned(),
        deployment: "blue".to_owned(),
        model: "digits".to_owned(),
        model_version: 3,
        ..Revision::default()
    };
    door.fake.answer("get_revision", &revision);
    let version =
        ModelVersion { model: "digits".to_owned(), version: 3, run_id: run_id.clone(), ..ModelVersion::default() };
    door.fake.answer("get_version", &version);
    let job = contracts::compute::JobSpec { code_sha256: "abc".to_owned(), ..Default::default() };
    let (sweep_id, trial_index) = ("sweep_1".to_owned(), Some(2));
    door.fake
        .answer("get_run", &Run { run_id: run_id.clone(), sweep_id, trial_index, job: Some(job), ..Run::default() });
    door.fake.answer("get_sweep", &Sweep { sweep_id: "sweep_1".to_owned(), ..Sweep::default() });
    door.fake
        .answer("get_trial", &Trial { index: 2, parameters_json: r#"{"lr": 0.5}"#.to_owned(), ..Trial::default() });
    let explanation_json = r#"{"proposal": {"position": 41}, "decisions": []}"#.to_owned();
    door.fake.answer("explain_trial", &Explanation { explanation_json, run_id });

    let id = request_id::mint(55, uuid::Uuid::from_u128(7 << 76));
    let chain = door.get(&format!("/lineage/{id}")).await.json()["chain"].clone();
    let kinds: Vec<_> = chain.as_array().unwrap().iter().map(|link| link["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["answer", "deployment", "model_version", "run", "sweep", "trial", "decision", "code"]);
    assert_eq!((&chain[6]["id"], &chain[7]["id"]), (&json!("sweep_1@41"), &json!("sha256:abc")));
    assert_eq!(chain[5]["parameters"]["lr"], json!(0.5));
    let asked = door.fake.calls("get_revision")[0].message::<contracts::compute::GetRevisionRequest>();
    assert_eq!(asked.revision_key, 55);

    let from_version = door.get("/lineage/digits%2Fversions%2F3").await.json()["chain"].clone();
    assert_eq!(from_version[0]["kind"], "model_version");
    assert_eq!(door.get("/lineage/ver_1").await.problem(), (422, "BadLineageId".to_owned()));
    door.fake.answer("get_revision", &Revision { workspace: "other".to_owned(), ..revision });
    assert_eq!(door.get(&format!("/lineage/{id}")).await.problem(), (404, "NotFound".to_owned()));
}
