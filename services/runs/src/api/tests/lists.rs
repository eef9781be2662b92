//! Lists: by experiment, parent, state and sweep, in pages that inserts do not move.

use vocabulary::job::StopBy;

use super::*;
use crate::api::read_runs::each_below;
use crate::run::{self, Command, JobNews};

async fn list(fixture: &Fixture, request: ListRunsRequest) -> (Vec<String>, String) {
    let request = ListRunsRequest { workspace: WORKSPACE.into(), ..request };
    let reply = answer(fixture.api.list_runs(Request::new(request)).await).unwrap();
    (reply.runs.into_iter().map(|run| run.run_id).collect(), reply.next_page_token)
}

async fn create(fixture: &Fixture, experiment: &str, parent_run_id: &str) -> String {
    let request = CreateRunRequest {
        workspace: WORKSPACE.into(),
        experiment: experiment.into(),
        parent_run_id: parent_run_id.into(),
        ..CreateRunRequest::default()
    };
    answer(fixture.api.create_run(Request::new(request)).await).unwrap().run_id
}

#[tokio::test]
async fn pages_are_newest_first_and_stable_under_inserts() {
    // A user who pages while trials start must see each run once.
    let fixture = Fixture::new().await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(create(&fixture, "", "").await);
    }
    made.reverse();
    let page = |token: String| ListRunsRequest { page_size: 3, page_token: token, ..ListRunsRequest::default() };
    let (first, token) = list(&fixture, page(String::new())).await;
    create(&fixture, "", "").await;
    let (second, token) = list(&fixture, page(token)).await;
    let (third, last) = list(&fixture, page(token)).await;
    assert_eq!([first, second, third].concat(), made);
    assert_eq!(last, "");
    let bad = ListRunsRequest { workspace: WORKSPACE.into(), page_token: "x".into(), ..ListRunsRequest::default() };
    assert_eq!(code(answer(fixture.api.list_runs(Request::new(bad)).await)), (422, "BadPageToken".into()));
}

#[tokio::test]
async fn runs_are_found_by_experiment_parent_and_state() {
    // The portal's lists are these.
    let fixture = Fixture::new().await;
    let parent = create(&fixture, "digits", "").await;
    let child = create(&fixture, "digits", &parent).await;
    let plain = create(&fixture, "", "").await;
    fixture.end(&child, "Failed").await.unwrap();
    let all = ListRunsRequest::default();
    let by = |request: ListRunsRequest| async { list(&fixture, request).await.0 };
    let digits = [child.clone(), parent.clone()];
    assert_eq!(by(ListRunsRequest { experiment: "digits".into(), ..all.clone() }).await, digits);
    assert_eq!(by(ListRunsRequest { experiment: "1".into(), ..all.clone() }).await, digits);
    assert_eq!(by(ListRunsRequest { experiment: "Default".into(), ..all.clone() }).await, std::slice::from_ref(&plain));
    let hex = vocabulary::RunId::parse(&parent).unwrap().hex();
    assert_eq!(by(ListRunsRequest { parent: hex, ..all.clone() }).await, std::slice::from_ref(&child));
    assert_eq!(by(ListRunsRequest { state: "Failed".into(), ..all.clone() }).await, std::slice::from_ref(&child));
    assert_eq!(by(ListRunsRequest { state: "Running".into(), ..all.clone() }).await, [plain, parent.clone()]);
    let below = create(&fixture, "", &child).await;
    let nested = ListRunsRequest { parent: parent.clone(), ..all.clone() };
    assert_eq!(by(nested.clone()).await, std::slice::from_ref(&child), "only the next level");
    let nested = ListRunsRequest { recursive: true, ..nested };
    assert_eq!(by(nested.clone()).await, [below.clone(), child.clone()]);
    let (first, token) = list(&fixture, ListRunsRequest { page_size: 1, ..nested.clone() }).await;
    let (second, last) = list(&fixture, ListRunsRequest { page_size: 1, page_token: token, ..nested }).await;
    assert_eq!(([first, second].concat(), last.as_str()), (vec![below, child.clone()], ""));
    assert!(by(ListRunsRequest { sweep_id: "sweep_x".into(), ..all.clone() }).await.is_empty());
    for prefix in [&child[..], &child[..child.len() - 1].to_lowercase()] {
        let found = by(ListRunsRequest { id_prefix: prefix.into(), ..all.clone() }).await;
        assert!(found.contains(&child), "{prefix}: {found:?}");
    }
    assert_eq!(by(ListRunsRequest { id_prefix: "run_".into(), ..all.clone() }).await, by(all.clone()).await);
    assert!(by(ListRunsRequest { id_prefix: "run_7Z".into(), ..all.clone() }).await.is_empty());
    for (experiment, state, expected) in [("nix", "", (404, "NotFound")), ("", "Done", (422, "BadState"))] {
        let request = ListRunsRequest {
            workspace: WORKSPACE.into(),
            experiment: experiment.into(),
            state: state.into(),
            ..ListRunsRequest::default()
        };
        let (status, text) = code(answer(fixture.api.list_runs(Request::new(request)).await));
        assert_eq!((status, text.as_str()), expected);
    }
}

#[tokio::test]
async fn what_is_nested_is_listed_whole_or_not_at_all() {
    // A list that leaves some out without a word is taken for all of them.
    let fixture = Fixture::new().await;
    let parent = create(&fixture, "", "").await;
    let child = create(&fixture, "", &parent).await;
    let below = create(&fixture, "", &child).await;
    let id = vocabulary::RunId::parse(&parent).unwrap();
    let mut seen = Vec::new();
    let take = |row: crate::views::runs::Shown| {
        seen.push(row.run_id.to_string());
        true
    };
    each_below(&fixture.api.0, WORKSPACE, (id, 2), i64::MAX, take).await.unwrap();
    assert_eq!(seen, [below, child]);
    let refused =
        each_below(&fixture.api.0, WORKSPACE, (id, 1), i64::MAX, |_| panic!("a part of it")).await.unwrap_err();
    let problem = contracts::problem_of(&refused);
    assert_eq!((problem.status, problem.errors[0].code.as_str()), (422, "TooMany"));
    assert!(problem.errors[0].message.starts_with("more than 1 runs are nested"), "{problem}");
}

#[tokio::test]
async fn default_is_always_there_and_names_get_ids() {
    // A client that knows only names and one that knows only ids must meet.
    let fixture = Fixture::new().await;
    let create = |name: &str| {
        let request = CreateExperimentRequest { workspace: WORKSPACE.into(), name: name.into(), tags: [].into() };
        async { answer(fixture.api.create_experiment(Request::new(request)).await) }
    };
    let get = |experiment: &str| {
        let request = GetExperimentRequest { workspace: WORKSPACE.into(), experiment: experiment.into() };
        async { answer(fixture.api.get_experiment(Request::new(request)).await) }
    };
    let made = create("digits").await.unwrap();
    assert_eq!(made.experiment_id, "1");
    assert_eq!((get("1").await.unwrap(), get("digits").await.unwrap()), (made.clone(), made));
    assert_eq!(get("0").await.unwrap().name, "Default");
    assert_eq!(code(create("digits").await), (409, "NameTaken".into()));
    assert_eq!(code(create("7").await), (422, "BadName".into()));
    assert_eq!(code(get("nix").await), (404, "NotFound".into()));
    create("faces").await.unwrap();
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListExperimentsRequest { workspace: WORKSPACE.into(), page_size: 1, page_token };
        let reply = answer(fixture.api.list_experiments(Request::new(request)).await).unwrap();
        names.extend(reply.experiments.into_iter().map(|experiment| experiment.name));
        if reply.next_page_token.is_empty() {
            break;
        }
        page_token = reply.next_page_token;
    }
    assert_eq!(names, ["Default", "digits", "faces"]);
}

/// Tags of nearly as many bytes as there may be.
fn large_tags() -> std::collections::BTreeMap<String, String> {
    (0..15).map(|number| (format!("note-{number}"), "x".repeat(64 << 10))).collect()
}

#[tokio::test]
async fn a_page_of_large_entries_is_one_that_can_be_sent() {
    // Else a list could never be read again from where a few of them stand.
    let fixture = Fixture::new().await;
    let (mut runs, mut experiments) = (Vec::new(), vec!["Default".to_owned()]);
    for number in 0..9 {
        let request = CreateRunRequest { workspace: WORKSPACE.into(), tags: large_tags(), ..Default::default() };
        runs.insert(0, answer(fixture.api.create_run(Request::new(request)).await).unwrap().run_id);
        let (workspace, name) = (WORKSPACE.to_owned(), format!("e{number}"));
        let request = CreateExperimentRequest { workspace, name: name.clone(), tags: large_tags() };
        answer(fixture.api.create_experiment(Request::new(request)).await).unwrap();
        experiments.push(name);
    }
    let (workspace, page_size) = (WORKSPACE.to_owned(), 1000);
    let (mut found, mut token) = (Vec::new(), String::new());
    for _ in 0..3 {
        let request =
            ListRunsRequest { workspace: workspace.clone(), page_size, page_token: token, ..Default::default() };
        let reply = answer(fixture.api.list_runs(Request::new(request)).await).unwrap();
        assert!(prost::Message::encoded_len(&reply) < contracts::peer::MESSAGE_BYTES_MAX);
        found.extend(reply.runs.into_iter().map(|run| run.run_id));
        token = reply.next_page_token;
    }
    assert_eq!((found, token.as_str()), (runs, ""));
    let (mut found, mut token) = (Vec::new(), String::new());
    for _ in 0..3 {
        let request = ListExperimentsRequest { workspace: workspace.clone(), page_size, page_token: token };
        let reply = answer(fixture.api.list_experiments(Request::new(request)).await).unwrap();
        assert!(prost::Message::encoded_len(&reply) < contracts::peer::MESSAGE_BYTES_MAX);
        found.extend(reply.experiments.into_iter().map(|experiment| experiment.name));
        token = reply.next_page_token;
    }
    assert_eq!((found, token.as_str()), (experiments, ""));
}

#[tokio::test]
async fn a_run_that_is_to_wait_for_its_sweep_is_not_shown_as_waiting_for_a_node() {
    // Whoever saw Queued looked for nodes, and nothing was wrong with them: the sweep was paused.
    let fixture = Fixture::new().await;
    let run_id = fixture.watched_run().await;
    let run = vocabulary::RunId::parse(&run_id).unwrap();
    let tell = async |key: u128, command: Command| {
        let context = eventlog::Context::new(Uuid::from_u128(key << 32), "test", "");
        fixture.log().execute::<run::Run>(&run::stream(run), command, context).await.unwrap();
    };
    let shown = async || {
        let alone = fixture.get(&run_id).await;
        let listed = answer(fixture.api.list_runs(Request::new(in_workspace(""))).await).unwrap().runs.remove(0);
        assert_eq!((&alone.state, &alone.reason), (&listed.state, &listed.reason));
        let by_state = answer(fixture.api.list_runs(Request::new(in_workspace(&alone.state))).await).unwrap();
        assert_eq!(by_state.runs.len(), 1, "it is found by the state that it shows");
        (alone.state, alone.reason)
    };
    let queued = |attempt| Command::Job(JobNews::Queued { attempt, at_us: 1 });
    tell(1, queued(1)).await;
    assert_eq!(shown().await, ("Queued".into(), String::new()));
    for (by, word) in [(StopBy::Pause, "its sweep is paused"), (StopBy::Rung, "at a rung")] {
        tell(2 + by as u128, Command::Stop { decision: String::new(), by, at_us: 2 }).await;
        let (state, reason) = shown().await;
        assert!(state == "Paused" && reason.contains(word), "{state} {reason}");
        tell(100 + by as u128, Command::Release { at_us: 3 }).await;
        assert_eq!(shown().await, ("Queued".into(), String::new()));
    }
    tell(3, Command::Stop { decision: String::new(), by: StopBy::Pause, at_us: 4 }).await;
    tell(4, Command::Cancel { workspace: WORKSPACE.into(), run: run_id.clone(), at_us: 5 }).await;
    assert_eq!(shown().await.0, "Queued", "it is to end, not to wait");
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.get(&run_id).await.state, "Queued");
}

fn in_workspace(state: &str) -> ListRunsRequest {
    ListRunsRequest { workspace: WORKSPACE.into(), state: state.into(), ..ListRunsRequest::default() }
}

#[tokio::test]
async fn a_read_of_what_is_not_there_yet_says_so() {
    // Never stale silently: what the caller has just made would be missing in the list.
    let fixture = Fixture::new().await;
    let call = CallContext { at_least: Some(7), ..CallContext::default() };
    let refused = answer(fixture.api.list_runs(call.attach(in_workspace(""))).await).unwrap_err();
    let found = (refused.status, refused.code.as_str(), refused.retry_after_seconds);
    assert_eq!(found, (503, "NotThereYet", Some(1)));
    assert!(refused.detail.starts_with("position 7 is not here yet, this service is at 0; try again"), "{refused}");
}

#[tokio::test]
async fn a_job_that_no_document_can_hold_is_refused_by_what_is_wrong_with_it() {
    // Peers over gRPC send texts where documents have maps.
    let fixture = Fixture::new().await;
    let job = JobSpec { parameters_json: "[1".into(), ..job() };
    let request = CreateRunRequest { workspace: WORKSPACE.into(), job: Some(job), ..CreateRunRequest::default() };
    let refused = answer(fixture.api.create_run(Request::new(request)).await).unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (422, "BadJob"));
    assert!(refused.errors[0].message.contains("job.parameters: expected a JSON object, received \"[1\""), "{refused}");
}

#[tokio::test]
async fn an_object_store_that_fails_is_not_taken_for_one_without_the_object() {
    let fixture = Fixture::new().await;
    std::fs::remove_dir_all(fixture.folder.path().join("objects")).unwrap();
    std::fs::write(fixture.folder.path().join("objects"), "").unwrap();
    let refused = super::artifacts::put(&fixture, "", b"x").await.unwrap_err();
    let found = (refused.status, refused.code.as_str(), refused.retry_after_seconds);
    assert_eq!(found, (503, "ObjectsUnavailable", Some(1)));
    assert!(refused.detail.starts_with("the object store failed: "), "{refused}");
}
