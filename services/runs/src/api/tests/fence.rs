//! What an attempt wrote before its end belongs to it, and its token is worth nothing after that.

use contracts::{AttemptBearer, NodeBearer};
use futures_util::StreamExt;
use vocabulary::RunId;
use vocabulary::token::node_secret;

use super::metrics::{events, history, next_attempt, summaries};
use super::*;
use crate::run::{self, JobNews};

const NODE: &str = "node_a";

/// A call of the agent of a node.
fn agent<T>(key: u128, node: &str, signing_key: &[u8; 32], message: T) -> Request<T> {
    let node = NodeBearer { node_id: node.into(), secret: node_secret(node, signing_key) };
    let command_id = Some(Uuid::from_u128(key));
    CallContext { command_id, node: Some(node), ..CallContext::default() }.attach(message)
}

/// A call with the token of an attempt.
fn bearer<T>(run_id: &str, attempt: u32, message: T) -> Request<T> {
    let attempt = Some(AttemptBearer { run_id: run_id.into(), attempt });
    CallContext { attempt, ..CallContext::default() }.attach(message)
}

async fn tell(fixture: &Fixture, run_id: &str, key: u128, news: JobNews) {
    let run = RunId::parse(run_id).unwrap();
    let context = eventlog::Context::new(Uuid::from_u128(key), "test", "");
    fixture.log().execute::<run::Run>(&run::stream(run), run::Command::Job(news), context).await.unwrap();
}

/// A run whose first attempt has run on a node and whose second is the current one.
async fn at_attempt_two(fixture: &Fixture) -> String {
    let run_id = fixture.watched_run().await;
    let (state, node_id) = (run::RunState::Running, NODE.to_owned());
    tell(fixture, &run_id, 1 << 90, JobNews::Reached { attempt: 1, state, node_id, at_us: 1 }).await;
    fixture.record(points(&run_id, 1, vec![point("acc", Some(0), 0.5), point("loss", Some(0), 2.0)])).await.unwrap();
    next_attempt(fixture, &run_id, 1).await;
    run_id
}

fn logs(run_id: &str, attempt: u32, offset: u64, data: &str) -> AppendLogsRequest {
    AppendLogsRequest {
        workspace: WORKSPACE.into(),
        run_id: run_id.into(),
        attempt,
        stream: "stdout".into(),
        offset,
        data: data.as_bytes().to_vec(),
        at_end: false,
    }
}

async fn end(fixture: &Fixture, run_id: &str, key: u128, attempt: u32) {
    let end = vocabulary::job::JobEnd::new(vocabulary::job::Outcome::Completed);
    tell(fixture, run_id, key, JobNews::Ended { attempt, end, at_us: 9 }).await;
}

#[tokio::test]
async fn late_points_are_kept_and_change_nothing() {
    // The server was away while the node went: what lies on its disk comes after the next attempt has begun.
    let fixture = Fixture::new().await;
    let run_id = at_attempt_two(&fixture).await;
    let before = events(&fixture).await.len();
    let batch =
        |sequence, metrics| RecordMetricsRequest { writer: "stdout-1".into(), sequence, ..points(&run_id, 1, metrics) };
    let late = batch(1, vec![point("acc", Some(1), 0.6), point("loss", None, 1.0), point("only_late", None, 7.0)]);
    for repeated in [false, true] {
        let reply = fixture.api.record_metrics(agent(1, NODE, &KEY, late.clone())).await.unwrap().into_inner();
        assert_eq!(reply, RecordMetricsReply { accepted: 3, repeated });
    }
    assert_eq!(events(&fixture).await.len(), before, "no decision is made on it");
    let shown = |points: Vec<MetricPoint>| {
        points.iter().map(|p| (p.attempt, p.step.unwrap(), p.value, p.superseded)).collect::<Vec<_>>()
    };
    assert_eq!(shown(history(&fixture, &run_id, "acc", 1).await), [(1, 0, 0.5, false), (1, 1, 0.6, true)]);
    assert_eq!(shown(history(&fixture, &run_id, "loss", 9).await), [(1, 0, 2.0, false), (1, 1, 1.0, true)]);
    assert_eq!(shown(history(&fixture, &run_id, "only_late", 9).await), [(1, 0, 7.0, true)]);
    fixture.record(points(&run_id, 2, vec![point("acc", Some(1), 0.9)])).await.unwrap();
    let counted: Vec<_> =
        summaries(&fixture, &run_id).await.iter().map(|s| (s.name.clone(), s.count, s.last)).collect();
    assert_eq!(counted, [("acc".to_owned(), 2, 0.9), ("loss".to_owned(), 1, 2.0)]);
    // After the end of the run it is no different.
    end(&fixture, &run_id, 1 << 91, 2).await;
    fixture.api.record_metrics(agent(2, NODE, &KEY, batch(2, vec![point("acc", None, 0.1)]))).await.unwrap();
    assert_eq!(shown(history(&fixture, &run_id, "acc", 9).await).last(), Some(&(1, 2, 0.1, true)));
}

#[tokio::test]
async fn only_the_attempts_own_agent_comes_late() {
    // Whoever else writes for an attempt that is over would change what has been decided on.
    let fixture = Fixture::new().await;
    let run_id = at_attempt_two(&fixture).await;
    let late = || points(&run_id, 1, vec![point("acc", Some(1), 0.6)]);
    let refused = |answered: Result<Response<RecordMetricsReply>, Status>| code(answer(answered));
    let stale = (409, "StaleAttempt".to_owned());
    assert_eq!(refused(fixture.api.record_metrics(agent(1, "node_b", &KEY, late())).await), stale);
    assert_eq!(refused(fixture.api.record_metrics(agent(2, NODE, &[1; 32], late())).await), stale);
    assert_eq!(refused(fixture.api.record_metrics(Request::new(late())).await), stale);
    let early = points(&run_id, 3, vec![point("acc", Some(1), 0.6)]);
    let early = fixture.api.record_metrics(agent(3, NODE, &KEY, early)).await;
    assert_eq!(refused(early), (503, "AttemptNotKnownYet".into()));
}

#[tokio::test]
async fn late_files_stand_behind_those_of_later_attempts() {
    // Neither the output of the attempt that finished nor that of the one before it is lost.
    let fixture = Fixture::new().await;
    let run_id = at_attempt_two(&fixture).await;
    let hash = |content: &'static [u8]| {
        let chunks = futures_util::stream::iter([Ok(ObjectChunk {
            data: content.to_vec(),
            workspace: WORKSPACE.into(),
            ..ObjectChunk::default()
        })]);
        let core = Arc::clone(&fixture.api.0);
        let call = CallContext::default();
        async move { crate::api::objects::put(&core, call, chunks).await.unwrap().into_inner().sha256 }
    };
    let (old, new) = (hash(b"old").await, hash(b"new").await);
    let record = |attempt, path: &str, sha256: &str| RecordArtifactsRequest {
        workspace: WORKSPACE.into(),
        run_id: run_id.clone(),
        attempt,
        artifacts: vec![Artifact { path: path.into(), sha256: sha256.into(), ..Artifact::default() }],
    };
    fixture.api.record_artifacts(Request::new(record(2, "model", &new))).await.unwrap();
    let before = events(&fixture).await.len();
    for (key, path) in [(1, "model"), (2, "only_old")] {
        fixture.api.record_artifacts(agent(key, NODE, &KEY, record(1, path, &old))).await.unwrap();
    }
    assert_eq!(events(&fixture).await.len(), before);
    let list = |superseded| {
        let (workspace, run_id) = (WORKSPACE.into(), run_id.clone());
        let request = ListArtifactsRequest { workspace, run_id, superseded, ..Default::default() };
        async {
            let listed = answer(fixture.api.list_artifacts(Request::new(request)).await).unwrap().artifacts;
            listed.into_iter().map(|file| (file.path, file.sha256, file.attempt, file.superseded)).collect::<Vec<_>>()
        }
    };
    let file =
        |path: &str, sha256: &String, attempt, superseded| (path.to_owned(), sha256.clone(), attempt, superseded);
    assert_eq!(list(false).await, [file("model", &new, 2, false), file("only_old", &old, 1, false)]);
    assert_eq!(list(true).await, [file("model", &old, 1, true)]);
    fixture.api.record_artifacts(Request::new(record(2, "only_old", &new))).await.unwrap();
    assert_eq!(list(true).await, [file("model", &old, 1, true), file("only_old", &old, 1, true)]);
}

/// What each call that a run's token opens answers to the token of an attempt.
async fn tried(fixture: &Fixture, run_id: &str, attempt: u32, object: &str) -> Vec<(&'static str, String)> {
    let (workspace, run) = (|| WORKSPACE.to_owned(), || run_id.to_owned());
    let api = &fixture.api;
    fn said<T>(answered: Result<Response<T>, Status>) -> String {
        answered.map_or_else(|status| contracts::problem_of(&status).code, |_| "ok".to_owned())
    }
    let message = GetRunRequest { workspace: workspace(), run_id: run() };
    let get_run = said(api.get_run(bearer(run_id, attempt, message)).await);
    let message = ListMetricsRequest { workspace: workspace(), run_id: run(), ..Default::default() };
    let list_metrics = said(api.list_metrics(bearer(run_id, attempt, message)).await);
    let message =
        GetMetricHistoryRequest { workspace: workspace(), run_id: run(), name: "acc".into(), ..Default::default() };
    let get_history = said(api.get_metric_history(bearer(run_id, attempt, message)).await);
    let message = points(run_id, attempt, vec![point("free", None, 1.0)]);
    let record_metrics = said(api.record_metrics(bearer(run_id, attempt, message)).await);
    let append_logs = said(api.append_logs(bearer(run_id, attempt, logs(run_id, attempt, 0, "x"))).await);
    let message = ReadLogsRequest { workspace: workspace(), run_id: run(), ..Default::default() };
    let read_logs = said(api.read_logs(bearer(run_id, attempt, message)).await);
    let artifacts = vec![Artifact { path: "a".into(), sha256: object.into(), ..Artifact::default() }];
    let message = RecordArtifactsRequest { workspace: workspace(), run_id: run(), attempt, artifacts };
    let record_artifacts = said(api.record_artifacts(bearer(run_id, attempt, message)).await);
    let message = ListArtifactsRequest { workspace: workspace(), run_id: run(), ..Default::default() };
    let list_artifacts = said(api.list_artifacts(bearer(run_id, attempt, message)).await);
    let message = HeadObjectRequest { sha256: object.into(), workspace: WORKSPACE.into() };
    let head_object = said(api.head_object(bearer(run_id, attempt, message)).await);
    let message = GetObjectRequest { sha256: object.into(), workspace: WORKSPACE.into(), ..Default::default() };
    let get_object = said(api.get_object(bearer(run_id, attempt, message)).await);
    vec![
        ("get_run", get_run),
        ("list_metrics", list_metrics),
        ("get_metric_history", get_history),
        ("record_metrics", record_metrics),
        ("append_logs", append_logs),
        ("read_logs", read_logs),
        ("record_artifacts", record_artifacts),
        ("list_artifacts", list_artifacts),
        ("head_object", head_object),
        ("get_object", get_object),
    ]
}

#[tokio::test]
async fn a_token_is_good_for_as_long_as_its_attempt_lives() {
    // A token that was read in a log, or is held by a process that should be gone, opens nothing any more.
    let fixture = Fixture::new().await;
    let run_id = fixture.watched_run().await;
    let chunks = futures_util::stream::iter([Ok(ObjectChunk {
        data: b"data".to_vec(),
        workspace: WORKSPACE.into(),
        ..ObjectChunk::default()
    })]);
    let object =
        crate::api::objects::put(&fixture.api.0, CallContext::default(), chunks).await.unwrap().into_inner().sha256;
    let all = |answered: Vec<(&'static str, String)>, wanted: &str| {
        let other: Vec<_> = answered.into_iter().filter(|(_, said)| said != wanted).collect();
        assert!(other.is_empty(), "{wanted} was expected of all, but {other:?}");
    };
    all(tried(&fixture, &run_id, 1, &object).await, "ok");
    next_attempt(&fixture, &run_id, 1).await;
    all(tried(&fixture, &run_id, 1, &object).await, "StaleAttempt");
    all(tried(&fixture, &run_id, 2, &object).await, "ok");
    tell(&fixture, &run_id, 1 << 92, JobNews::Held { attempt: 2, at_us: 5 }).await;
    all(tried(&fixture, &run_id, 2, &object).await, "StaleAttempt");
    next_attempt(&fixture, &run_id, 2).await;
    // One who follows the log is told of the end.
    let message =
        ReadLogsRequest { workspace: WORKSPACE.into(), run_id: run_id.clone(), follow: true, ..Default::default() };
    let mut followed = fixture.api.read_logs(bearer(&run_id, 3, message)).await.unwrap().into_inner();
    end(&fixture, &run_id, 1 << 93, 3).await;
    fixture.api.0.changed(RunId::parse(&run_id).unwrap());
    let mut last = None;
    while let Some(chunk) = followed.next().await {
        last = Some(chunk);
    }
    assert_eq!(contracts::problem_of(&last.unwrap().unwrap_err()).code, "RunTerminal");
    all(tried(&fixture, &run_id, 3, &object).await, "RunTerminal");
    all(tried(&fixture, "job_x", 1, &object).await, "NotFound");
    // The agent of the node still brings the last lines.
    let late = agent(7, NODE, &KEY, logs(&run_id, 3, 0, "last\n"));
    assert_eq!(fixture.api.append_logs(late).await.unwrap().into_inner().next_offset, 5);
}
