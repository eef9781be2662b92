//! Lists: by experiment, parent, state and sweep, in pages that inserts do not move.

use super::*;

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
