//! What the facts of sweeps and compute do to runs, and the facts that come out.

use std::sync::Arc;

use contracts::compute::{JobEnd, JobEnded, JobPhaseChanged, JobPlaced, JobQueued, JobRequeued};
use contracts::feed::Fact;
use contracts::sweeps::{ToldPoint, ToldValue, TrialEnded, TrialProposed, TrialReported, TrialStopRequested};
use feed::{Publish, ReactError, Reaction};
use prost::Message;

use super::*;
use crate::publish::Publisher;

const SWEEP: &str = "sweep_06CS0000000E00000000000000";

struct Stories {
    fixture: Fixture,
    stories: Vec<Arc<dyn Reaction>>,
    run_id: String,
}

impl Stories {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let stories = crate::reactions::all(&fixture.api.0);
        let run_id = vocabulary::RunId::new(Uuid::from_u128(0x77)).to_string();
        Self { fixture, stories, run_id }
    }

    /// Hands a fact to every story of its service, as the feed would.
    async fn tell(&self, service: &str, position: i64, kind: &str, message: &impl Message) -> Result<(), ReactError> {
        let fact = Fact {
            source: format!("{service}@1"),
            position,
            r#type: kind.into(),
            recorded_at_us: 1_700_000_000_000_000 + position,
            payload: message.encode_to_vec(),
            ..Fact::default()
        };
        for story in self.stories.iter().filter(|story| story.service() == service) {
            story.handle(&fact).await?;
        }
        Ok(())
    }

    async fn propose(&self) {
        let proposed = TrialProposed {
            workspace: WORKSPACE.into(),
            sweep_id: SWEEP.into(),
            trial_index: 4,
            run_id: self.run_id.clone(),
            experiment: "digits".into(),
            run_name: "trial 4".into(),
            params: [("lr".to_owned(), "0.1".to_owned())].into(),
            tags: [("team".to_owned(), "vision".to_owned())].into(),
            job: Some(JobSpec { parameters_json: r#"{"lr": 0.10}"#.into(), ..job() }),
            ..TrialProposed::default()
        };
        self.tell("sweeps", 1, "TrialProposed", &proposed).await.unwrap();
    }

    async fn stop(&self, position: i64) -> Result<(), ReactError> {
        let stop = TrialStopRequested {
            workspace: WORKSPACE.into(),
            sweep_id: SWEEP.into(),
            trial_index: 4,
            run_id: self.run_id.clone(),
            decision: format!("{SWEEP}@9"),
            by: "policy".into(),
            ..TrialStopRequested::default()
        };
        self.tell("sweeps", position, "TrialStopRequested", &stop).await
    }

    async fn phase(&self, position: i64, attempt: u32, phase: &str) {
        let (run_id, phase, node_id) = (self.run_id.clone(), phase.into(), "node_a".into());
        let changed = JobPhaseChanged { run_id, attempt, phase, node_id, ..JobPhaseChanged::default() };
        self.tell("compute", position, "JobPhaseChanged", &changed).await.unwrap();
    }

    async fn ended(&self, position: i64, attempt: u32, outcome: &str) {
        let end = Some(JobEnd { outcome: outcome.into(), ..JobEnd::default() });
        let ended = JobEnded { run_id: self.run_id.clone(), attempt, end, ..JobEnded::default() };
        self.tell("compute", position, "JobEnded", &ended).await.unwrap();
    }

    async fn run(&self) -> Run {
        self.fixture.get(&self.run_id).await
    }

    /// The facts so far: type and payload.
    async fn facts(&self) -> Vec<(&'static str, Vec<u8>)> {
        let events = self.fixture.log().read(0, 1_000).await.unwrap();
        let facts = events.iter().filter_map(|event| Publisher.publish(event).unwrap());
        facts.map(|fact| (fact.kind, fact.payload)).collect()
    }
}

#[tokio::test]
async fn a_trial_goes_its_way_through_a_preemption() {
    // The whole line: proposed by sweeps, driven by compute, heard by both again.
    let stories = Stories::new().await;
    stories.propose().await;
    stories.propose().await;
    let run = stories.run().await;
    assert_eq!((run.state.as_str(), run.name.as_str(), run.trial_index), ("Proposed", "trial 4", Some(4)));
    assert_eq!((run.experiment.as_str(), run.sweep_id.as_str()), ("digits", SWEEP));
    let (run_id, node_id) = (stories.run_id.clone(), "node_a".to_owned());
    let queued = JobQueued { run_id: run_id.clone(), attempt: 1, ..JobQueued::default() };
    stories.tell("compute", 1, "JobQueued", &queued).await.unwrap();
    let placed = JobPlaced { run_id: run_id.clone(), attempt: 1, node_id: node_id.clone(), ..JobPlaced::default() };
    stories.tell("compute", 2, "JobPlaced", &placed).await.unwrap();
    stories.phase(3, 1, "starting").await;
    stories.phase(4, 1, "preparing").await;
    stories.phase(5, 1, "running").await;
    let end = Some(JobEnd { outcome: "preempted".into(), ..JobEnd::default() });
    let (cause, attempt, next_attempt) = ("preempted".into(), 1, 2);
    let requeued = JobRequeued { run_id, attempt, next_attempt, cause, end, node_id, ..JobRequeued::default() };
    stories.tell("compute", 6, "JobRequeued", &requeued).await.unwrap();
    stories.ended(7, 1, "failed").await;
    assert_eq!((stories.run().await.state.as_str(), stories.run().await.attempt), ("Queued", 2));
    stories.phase(8, 2, "running").await;
    stories.fixture.record(points(&stories.run_id, 2, vec![point("acc", None, 0.9)])).await.unwrap();
    stories.ended(9, 2, "completed").await;
    let run = stories.run().await;
    assert_eq!((run.state.as_str(), run.preemptions, run.attempts.len()), ("Completed", 1, 2));
    let facts = stories.facts().await;
    let kinds: Vec<_> = facts.iter().map(|(kind, _)| *kind).collect();
    let states = ["RunStateChanged"; 7];
    let expected = [&["ExperimentCreated", "RunCreated"], &states[..], &["MetricReported", "RunEnded"]].concat();
    assert_eq!(kinds, expected);
    let preempted = RunStateChanged::decode(facts[6].1.as_slice()).unwrap();
    assert_eq!((preempted.state.as_str(), preempted.attempt, preempted.trial_index), ("Preempted", 1, Some(4)));
    assert_eq!(preempted.state_kind, RunState::Preempted as i32, "the enum beside the text");
    assert_eq!(preempted.end.unwrap().outcome, "preempted");
    let created = RunCreated::decode(facts[1].1.as_slice()).unwrap();
    assert_eq!((created.run_id, created.job.unwrap().cluster), (stories.run_id.clone(), "spot".into()));
    let ended = RunEnded::decode(facts[10].1.as_slice()).unwrap();
    assert_eq!((ended.sweep_id.as_str(), ended.state.as_str(), ended.attempt), (SWEEP, "Completed", 2));
    assert_eq!(ended.state_kind, RunState::Completed as i32);
    assert_eq!(ended.metric_names, ["acc"]);
}

#[tokio::test]
async fn a_stop_waits_for_its_run_and_relabels_what_has_ended() {
    // The stories of one service run beside each other: a stop may come before the creation is handled.
    let stories = Stories::new().await;
    assert!(matches!(stories.stop(2).await, Err(ReactError::Waits(_))));
    stories.propose().await;
    stories.ended(1, 1, "completed").await;
    stories.stop(2).await.unwrap();
    stories.stop(2).await.unwrap();
    assert_eq!(stories.run().await.state, "EarlyStopped");
    let (kind, payload) = stories.facts().await.pop().unwrap();
    assert_eq!(kind, "RunRelabelled");
    assert_eq!(RunRelabelled::decode(payload.as_slice()).unwrap().state_kind, RunState::EarlyStopped as i32);
}

#[tokio::test]
async fn a_stopped_job_ends_early_stopped() {
    // EarlyStopped is not Canceled.
    let stories = Stories::new().await;
    stories.propose().await;
    stories.phase(1, 1, "running").await;
    stories.stop(2).await.unwrap();
    let (kind, payload) = stories.facts().await.pop().unwrap();
    assert_eq!(kind, "RunStopRequested");
    assert_eq!(RunStopRequested::decode(payload.as_slice()).unwrap().by, "policy");
    stories.ended(2, 1, "canceled").await;
    let run = stories.run().await;
    assert_eq!((run.state.as_str(), run.end.unwrap().decision), ("EarlyStopped", format!("{SWEEP}@9")));
}

#[tokio::test]
async fn jobs_of_others_and_unknown_facts_are_passed_over() {
    // A replica's job has no run; a fact of a later build must not halt this one.
    let stories = Stories::new().await;
    stories.tell("compute", 1, "JobEnded", &JobEnded { attempt: 1, ..JobEnded::default() }).await.unwrap();
    stories.ended(2, 1, "failed").await;
    stories.tell("compute", 3, "SomethingNew", &JobEnded::default()).await.unwrap();
    assert!(stories.facts().await.is_empty());
}

impl Stories {
    async fn propose_external(&self) {
        let proposed = TrialProposed {
            workspace: WORKSPACE.into(),
            sweep_id: SWEEP.into(),
            trial_index: 4,
            run_id: self.run_id.clone(),
            experiment: "digits".into(),
            run_name: "trial 4".into(),
            primary_metric: "loss".into(),
            goal: "minimize".into(),
            ..TrialProposed::default()
        };
        self.tell("sweeps", 1, "TrialProposed", &proposed).await.unwrap();
    }

    async fn report(&self, position: i64, step: i64, value: f64) {
        let reported = TrialReported {
            workspace: WORKSPACE.into(),
            sweep_id: SWEEP.into(),
            trial_index: 4,
            run_id: self.run_id.clone(),
            attempt: 2,
            metric: "loss".into(),
            points: vec![ToldPoint { step, value }],
            others: vec![ToldValue { metric: "latency".into(), step, value: 2.0 * value }],
        };
        self.tell("sweeps", position, "TrialReported", &reported).await.unwrap();
    }

    async fn end_trial(&self, position: i64, state: &str) {
        let ended = TrialEnded { run_id: self.run_id.clone(), state: state.into(), ..TrialEnded::default() };
        self.tell("sweeps", position, "TrialEnded", &ended).await.unwrap();
    }
}

#[tokio::test]
async fn an_external_trial_has_a_run_with_what_was_told_and_ends_with_it() {
    let stories = Stories::new().await;
    stories.propose_external().await;
    assert_eq!(stories.run().await.state, "Running");
    stories.report(2, 0, 0.5).await;
    stories.report(2, 0, 0.5).await;
    stories.report(3, 1, f64::NAN).await;
    let run = stories.run().await;
    assert_eq!((run.best_value, run.last_value), (Some(0.5), None), "it stands by the objective of its sweep");
    stories.end_trial(4, "Completed").await;
    let list = ListMetricsRequest { workspace: WORKSPACE.into(), run_id: stories.run_id.clone(), ..Default::default() };
    let listed = stories.fixture.api.list_metrics(Request::new(list)).await.unwrap().into_inner();
    let listed: Vec<_> = listed.metrics.iter().map(|metric| (metric.name.as_str(), metric.count)).collect();
    assert_eq!(listed, [("latency", 2), ("loss", 2)], "each watched metric is one of the run's");
    assert_eq!(stories.run().await.state, "Completed");
    let (kind, payload) = stories.facts().await.pop().unwrap();
    assert_eq!(kind, "RunEnded");
    assert!(RunEnded::decode(payload.as_slice()).unwrap().with_trial, "sweeps need not be told what it said");
    // A value that comes after the end of the run, which its user may bring about, is passed over.
    stories.report(5, 2, 0.1).await;
}

#[tokio::test]
async fn a_trial_ends_as_the_number_says_whatever_the_text_beside_it() {
    // The next release drops the text; the last one sent nothing else.
    let stories = Stories::new().await;
    stories.propose_external().await;
    let state_kind = RunState::Failed as i32;
    let ended = TrialEnded { run_id: stories.run_id.clone(), state_kind, ..TrialEnded::default() };
    stories.tell("sweeps", 2, "TrialEnded", &ended).await.unwrap();
    assert_eq!(stories.run().await.state, "Failed");
    for (state, state_kind) in [("", RunState::Running as i32), ("Somewhere", 0), ("Completed", 99)] {
        let odd = TrialEnded { state: state.into(), state_kind, ..ended.clone() };
        let told = stories.tell("sweeps", 3, "TrialEnded", &odd).await;
        assert!(matches!(told, Err(ReactError::Poison(_))), "{state} {state_kind}: {told:?}");
    }
}

#[tokio::test]
async fn a_stopped_external_trial_is_early_stopped_and_a_user_may_end_its_run() {
    let stories = Stories::new().await;
    stories.propose_external().await;
    stories.stop(2).await.unwrap();
    stories.end_trial(3, "EarlyStopped").await;
    let run = stories.run().await;
    assert_eq!((run.state.as_str(), run.end.unwrap().decision), ("EarlyStopped", format!("{SWEEP}@9")));

    let stories = Stories::new().await;
    stories.propose_external().await;
    let cancel = CancelRunRequest { workspace: WORKSPACE.into(), run_id: stories.run_id.clone() };
    stories.fixture.api.cancel_run(Request::new(cancel)).await.unwrap();
    let (kind, payload) = stories.facts().await.pop().unwrap();
    let ended = RunEnded::decode(payload.as_slice()).unwrap();
    assert_eq!((kind, ended.with_trial, ended.trial_index), ("RunEnded", false, Some(4)));
}

#[tokio::test]
async fn trials_do_not_wait_for_each_other() {
    let stories = Stories::new().await;
    let story = stories.stories.iter().find(|story| story.service() == "sweeps").unwrap();
    let of = |kind: &str, payload: Vec<u8>| story.place(&Fact { r#type: kind.into(), payload, ..Fact::default() }).lane;
    let ended = |run_id: &str| TrialEnded { run_id: run_id.into(), ..TrialEnded::default() }.encode_to_vec();
    let stop = TrialStopRequested { run_id: "run_1".into(), ..TrialStopRequested::default() }.encode_to_vec();
    assert_eq!(of("TrialEnded", ended("run_1")), of("TrialStopRequested", stop));
    assert_ne!(of("TrialEnded", ended("run_1")), of("TrialEnded", ended("run_2")));
}
