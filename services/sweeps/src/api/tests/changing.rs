//! The verbs, the lists, and who may see what.

use std::time::Duration;

use contracts::sweeps as wire;
use prost::Message;
use serde_json::{Value, json};
use tonic::Request;
use vocabulary::Clock;

use super::{Bench, document, keyed, problem};
use crate::stream::stream_of;
use crate::sweep::{Command, Rejection, Sweep};

const WORKSPACE: &str = "default";

#[tokio::test]
async fn pausing_twice_is_a_success_and_other_modes_are_refused() {
    let bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({}))).await;
    bench.fill(sweep).await;
    let pause =
        |mode: &str| wire::PauseSweepRequest { workspace: WORKSPACE.into(), sweep: "digits".into(), mode: mode.into() };
    let first = bench.api().pause_sweep(Request::new(pause(""))).await.unwrap().into_inner();
    let second = bench.api().pause_sweep(Request::new(pause("drain"))).await.unwrap().into_inner();
    assert_eq!((first.state.as_str(), first.version), ("Paused", second.version));
    assert_eq!(problem(bench.api().pause_sweep(Request::new(pause("checkpoint"))).await).code, "NeedsCheckpoint");
    assert_eq!(problem(bench.api().pause_sweep(Request::new(pause("save"))).await).code, "BadPauseMode");
    let resume = wire::ResumeSweepRequest { workspace: WORKSPACE.into(), sweep: sweep.to_string() };
    assert_eq!(bench.api().resume_sweep(Request::new(resume)).await.unwrap().into_inner().state, "Running");
}

#[tokio::test]
async fn canceling_is_accepted_once() {
    // R9: 202, then 200 with the same state; a repeat of the first request is 202 again.
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({}))).await;
    bench.fill(sweep).await;
    let cancel = wire::CancelSweepRequest { workspace: WORKSPACE.into(), sweep: sweep.to_string() };
    let first = bench.api().cancel_sweep(keyed(1, 1, cancel.clone())).await.unwrap().into_inner();
    assert!(first.accepted && first.sweep.unwrap().state == "Canceling");
    let second = bench.api().cancel_sweep(keyed(2, 1, cancel.clone())).await.unwrap().into_inner();
    assert!(!second.accepted);
    assert!(bench.api().cancel_sweep(keyed(1, 1, cancel.clone())).await.unwrap().into_inner().accepted);
    bench.ends(sweep, 0, "canceled").await;
    bench.ends(sweep, 1, "canceled").await;
    let late = bench.api().cancel_sweep(keyed(3, 1, cancel)).await.unwrap().into_inner();
    assert!(!late.accepted && late.sweep.unwrap().state == "Canceled");
}

#[tokio::test]
async fn a_deleted_sweep_is_gone_for_all_but_lineage() {
    // Its name is another's from then on, and a model that came from it must still be explained.
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({"limits": {"max_total_trials": 1}}))).await;
    let delete = |sweep: &str, used_by: &[&str]| wire::DeleteSweepRequest {
        workspace: WORKSPACE.into(),
        sweep: sweep.into(),
        runs: true,
        used_by: used_by.iter().map(|user| (*user).to_owned()).collect(),
    };
    assert_eq!(problem(bench.api().delete_sweep(Request::new(delete("digits", &[]))).await).code, "WrongState");
    bench.reports(sweep, 0, 0, 0.5).await;
    bench.ends(sweep, 0, "completed").await;
    let used = problem(bench.api().delete_sweep(Request::new(delete("digits", &["model a, version 1"]))).await);
    assert_eq!((used.status, used.code.as_str()), (409, "InUse"), "{used}");
    assert!(used.detail.contains("model a, version 1"), "{used}");
    let gone = bench.api().delete_sweep(Request::new(delete("digits", &[]))).await.unwrap().into_inner();
    assert!(!gone.deleted_at.is_empty(), "{gone:?}");
    let get = |sweep: String, deleted: bool| wire::GetSweepRequest {
        workspace: WORKSPACE.into(),
        sweep,
        deleted,
        ..wire::GetSweepRequest::default()
    };
    let id = sweep.to_string();
    for name in ["digits", &id, &id[..20]] {
        let absent = problem(bench.api().get_sweep(Request::new(get(name.to_owned(), false))).await);
        assert_eq!((absent.status, absent.code.as_str()), (404, "NotFound"), "{name}: {absent}");
    }
    let seen = bench.api().get_sweep(Request::new(get(id.clone(), true))).await.unwrap().into_inner();
    assert_eq!((seen.name.as_str(), seen.best.unwrap().value), ("digits", 0.5));
    let explain = wire::ExplainTrialRequest { workspace: WORKSPACE.into(), sweep: id.clone(), index: 0, deleted: true };
    assert!(bench.api().explain_trial(Request::new(explain)).await.is_ok());
    let again = bench.api().delete_sweep(Request::new(delete(&id, &[]))).await.unwrap().into_inner();
    assert_eq!(again.version, seen.version, "once is enough");
    let list = wire::ListSweepsRequest { workspace: WORKSPACE.into(), ..wire::ListSweepsRequest::default() };
    assert_eq!(bench.api().list_sweeps(Request::new(list)).await.unwrap().into_inner().sweeps, []);
    let next = bench.submit(&document(json!({}))).await;
    assert_eq!(bench.sweep(next).await.name, "digits", "the name is free");
    let facts = bench.facts().await;
    let told = facts.iter().filter(|(kind, _)| kind == "SweepDeleted").count();
    assert_eq!(told, 1, "others follow it");
}

#[tokio::test]
async fn the_runs_of_a_deleted_sweep_may_go_later_and_nothing_else_happens_to_it() {
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({"limits": {"max_total_trials": 1}}))).await;
    bench.reports(sweep, 0, 0, 0.5).await;
    bench.ends(sweep, 0, "completed").await;
    for runs in [false, false, true, true, false] {
        let (workspace, sweep) = (WORKSPACE.to_owned(), sweep.to_string());
        let delete = wire::DeleteSweepRequest { workspace, sweep, runs, used_by: Vec::new() };
        bench.api().delete_sweep(Request::new(delete)).await.unwrap();
    }
    let facts = bench.facts().await;
    let told = facts.iter().filter(|(kind, _)| kind == "SweepDeleted");
    let runs = told.map(|(_, payload)| wire::SweepDeleted::decode(payload.as_slice()).unwrap().runs);
    assert_eq!(runs.collect::<Vec<_>>(), [false, true]);
    // Whoever has looked before it went.
    let context = eventlog::Context::new(uuid::Uuid::from_u128(9), "user:late", String::new());
    let archive = Command::Archive { at: bench.clock.now() };
    let late = bench.api().log.execute::<Sweep>(&stream_of(sweep), archive, context).await;
    assert!(matches!(late, Err(eventlog::ExecuteError::Rejected(Rejection::Absent))), "{late:?}");
}

#[tokio::test]
async fn the_beginning_of_an_id_is_enough_while_it_is_one_sweeps() {
    // Ids have 26 characters; nobody types them whole.
    let bench = Bench::new().await;
    let id = bench.submit(&document(json!({}))).await.to_string();
    let get = |sweep: &str| wire::GetSweepRequest {
        workspace: WORKSPACE.into(),
        sweep: sweep.to_owned(),
        ..wire::GetSweepRequest::default()
    };
    let found = bench.api().get_sweep(Request::new(get(&id[..12]))).await.unwrap().into_inner();
    assert_eq!(found.sweep_id, id);
    bench.submit(&document(json!({"name": "another"}))).await;
    assert_eq!(problem(bench.api().get_sweep(Request::new(get("sweep_"))).await).code, "Ambiguous");
    assert_eq!(problem(bench.api().get_sweep(Request::new(get("sweep_7Z"))).await).code, "NotFound");
    assert_eq!(bench.api().get_sweep(Request::new(get(&id))).await.unwrap().into_inner().sweep_id, id);
}

#[tokio::test]
async fn only_limits_and_texts_change() {
    // Row 57, and If-Match.
    let bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({}))).await;
    let update = |document: Value| wire::UpdateSweepRequest {
        workspace: WORKSPACE.into(),
        sweep: sweep.to_string(),
        document: document.to_string().into_bytes(),
        format: "json".into(),
    };
    let changed = json!({"limits": {"max_total_trials": 9}, "description": "longer", "tags": {"team": "vision"}});
    let shown = bench.api().update_sweep(Request::new(update(changed))).await.unwrap().into_inner();
    assert_eq!((shown.max_total_trials, shown.max_concurrent_trials), (9, 2));
    assert_eq!((shown.description.as_str(), shown.tags["team"].as_str()), ("longer", "vision"));
    let fixed = problem(bench.api().update_sweep(Request::new(update(json!({"cluster": "other"})))).await);
    assert_eq!((fixed.status, fixed.code.as_str()), (409, "Immutable"));
    assert_eq!(problem(bench.api().update_sweep(Request::new(update(json!({"colour": 1})))).await).status, 400);
    let stale = contracts::CallContext { expected_version: Some(1), ..Default::default() };
    let refused = problem(bench.api().update_sweep(stale.attach(update(json!({"description": "x"})))).await);
    assert_eq!(refused.status, 412);
}

#[tokio::test]
async fn a_completed_sweep_is_extended_and_goes_on() {
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({"limits": {"max_total_trials": 1}}))).await;
    bench.fill(sweep).await;
    bench.reports(sweep, 0, 0, 0.5).await;
    bench.ends(sweep, 0, "completed").await;
    assert_eq!(bench.sweep(sweep).await.state, "Completed");
    let extend = |total| wire::ExtendSweepRequest {
        workspace: WORKSPACE.into(),
        sweep: sweep.to_string(),
        max_total_trials: Some(total),
        timeout_seconds: None,
    };
    assert_eq!(problem(bench.api().extend_sweep(Request::new(extend(5000))).await).status, 422);
    let shown = bench.api().extend_sweep(Request::new(extend(3))).await.unwrap().into_inner();
    assert_eq!((shown.state.as_str(), shown.ended_at.as_str()), ("Running", ""));
    bench.fill(sweep).await;
    assert_eq!(bench.trials(sweep).await.len(), 2);
}

#[tokio::test]
async fn an_archived_sweep_is_out_of_the_way_and_can_be_read() {
    // Whoever tries something again under the same name is otherwise held up by the first try for ever.
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({"limits": {"max_total_trials": 1}}))).await;
    let named = |sweep: &str| wire::ArchiveSweepRequest { workspace: WORKSPACE.into(), sweep: sweep.into() };
    let early = problem(bench.api().archive_sweep(Request::new(named("digits"))).await);
    assert_eq!((early.status, early.code.as_str()), (409, "WrongState"), "{early}");
    bench.reports(sweep, 0, 0, 0.5).await;
    bench.ends(sweep, 0, "completed").await;
    let archived = bench.api().archive_sweep(Request::new(named("digits"))).await.unwrap().into_inner();
    assert_eq!((archived.state.as_str(), archived.archived_at.is_empty()), ("Completed", false));
    let list = |state: &str| wire::ListSweepsRequest {
        workspace: WORKSPACE.into(),
        state: state.into(),
        ..wire::ListSweepsRequest::default()
    };
    for state in ["", "Completed"] {
        let listed = bench.api().list_sweeps(Request::new(list(state))).await.unwrap().into_inner();
        assert_eq!(listed.sweeps, [], "{state:?}");
    }
    // By its id it is what it was: read, explained, and archived once only.
    let id = sweep.to_string();
    let again = bench.api().archive_sweep(Request::new(named(&id))).await.unwrap().into_inner();
    assert_eq!((again.version, again.best.unwrap().value), (archived.version, 0.5));
    let extend = wire::ExtendSweepRequest {
        workspace: WORKSPACE.into(),
        sweep: id,
        max_total_trials: Some(3),
        timeout_seconds: None,
    };
    assert_eq!(problem(bench.api().extend_sweep(Request::new(extend)).await).code, "WrongState");
    let next = bench.submit(&document(json!({}))).await;
    assert_eq!(bench.sweep(next).await.name, "digits", "the name is free");
    let listed = bench.api().list_sweeps(Request::new(list(""))).await.unwrap().into_inner();
    assert_eq!(listed.sweeps.iter().map(|sweep| sweep.sweep_id.clone()).collect::<Vec<_>>(), [next.to_string()]);
}

#[tokio::test]
async fn an_archived_sweep_is_found_again_and_can_be_taken_back() {
    // Whoever archived by name has never seen the id, and all that is shown of the sweep is behind it.
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({"limits": {"max_total_trials": 1}}))).await;
    let (id, workspace) = (sweep.to_string(), WORKSPACE.to_owned());
    bench.reports(sweep, 0, 0, 0.5).await;
    bench.ends(sweep, 0, "completed").await;
    let archive = wire::ArchiveSweepRequest { workspace: workspace.clone(), sweep: "digits".into() };
    bench.api().archive_sweep(Request::new(archive)).await.unwrap();
    let get = || wire::GetSweepRequest { workspace: WORKSPACE.into(), sweep: "digits".into(), ..Default::default() };
    let gone = problem(bench.api().get_sweep(Request::new(get())).await);
    assert_eq!((gone.code.as_str(), &gone.extra["archived_sweep_id"]), ("NotFound", &json!(id)));
    assert!(gone.detail.contains(&id), "{gone}");
    let list = |view: &str, state: &str| wire::ListSweepsRequest {
        workspace: WORKSPACE.into(),
        view: view.into(),
        state: state.into(),
        ..wire::ListSweepsRequest::default()
    };
    for (view, state, count) in [
        ("", "", 0),
        ("active", "", 0),
        ("archived", "", 1),
        ("all", "Completed", 1),
        ("archived", "Failed", 0),
        ("archived", "Completed", 1),
    ] {
        let listed = bench.api().list_sweeps(Request::new(list(view, state))).await.unwrap().into_inner();
        assert_eq!(listed.sweeps.len(), count, "{view} {state}");
        assert!(listed.sweeps.iter().all(|row| row.sweep_id == id && row.state == "Completed"), "{view} {state}");
    }
    assert_eq!(problem(bench.api().list_sweeps(Request::new(list("gone", ""))).await).code, "BadView");
    // What is told of the past takes the name too; the name is another's as soon as that has it.
    let trial =
        || wire::GetTrialRequest { workspace: WORKSPACE.into(), sweep: "digits".into(), index: 0, deleted: true };
    assert_eq!(bench.api().get_trial(Request::new(trial())).await.unwrap().into_inner().best_value, Some(0.5));
    let next = bench.submit(&document(json!({}))).await;
    assert_eq!(bench.api().get_trial(Request::new(trial())).await.unwrap().into_inner().best_value, None);
    let back = || wire::UnarchiveSweepRequest { workspace: WORKSPACE.into(), sweep: id.clone() };
    let taken = problem(bench.api().unarchive_sweep(Request::new(back())).await);
    assert_eq!(
        (taken.status, taken.code.as_str(), &taken.extra["sweep_id"]),
        (409, "NameTaken", &json!(next.to_string()))
    );
    assert!(!bench.sweep(sweep).await.archived_at.is_empty(), "it is as it was");
    let cancel = wire::CancelSweepRequest { workspace: workspace.clone(), sweep: next.to_string() };
    bench.api().cancel_sweep(Request::new(cancel)).await.unwrap();
    for trial in bench.trials(next).await {
        bench.ends(next, trial.index, "canceled").await;
    }
    let archive = wire::ArchiveSweepRequest { workspace, sweep: next.to_string() };
    bench.api().archive_sweep(Request::new(archive)).await.unwrap();
    let shown = bench.api().unarchive_sweep(Request::new(back())).await.unwrap().into_inner();
    assert_eq!((shown.archived_at.as_str(), shown.state.as_str()), ("", "Completed"));
    let again = bench.api().unarchive_sweep(Request::new(back())).await.unwrap().into_inner();
    assert_eq!(again.version, shown.version, "twice is once");
    let found = bench.api().get_sweep(Request::new(get())).await.unwrap().into_inner();
    assert_eq!(found.sweep_id, id);
    let listed = bench.api().list_sweeps(Request::new(list("", "Completed"))).await.unwrap().into_inner();
    assert_eq!(listed.sweeps.len(), 1);
    let extend = wire::ExtendSweepRequest {
        workspace: WORKSPACE.into(),
        sweep: id.clone(),
        max_total_trials: Some(3),
        timeout_seconds: None,
    };
    assert_eq!(bench.api().extend_sweep(Request::new(extend)).await.unwrap().into_inner().state, "Running");
}

#[tokio::test]
async fn a_sweep_of_another_workspace_is_absent() {
    // Row 54: not forbidden, absent; its existence is nobody else's business.
    let bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({}))).await;
    for name in [sweep.to_string(), sweep.hex(), "digits".to_owned(), "nothing".to_owned()] {
        let get = wire::GetSweepRequest { workspace: "other".into(), sweep: name, ..Default::default() };
        assert_eq!(problem(bench.api().get_sweep(Request::new(get)).await).status, 404);
    }
    let cancel = wire::CancelSweepRequest { workspace: "other".into(), sweep: sweep.to_string() };
    assert_eq!(problem(bench.api().cancel_sweep(Request::new(cancel)).await).status, 404);
    for name in [sweep.to_string(), sweep.hex(), "digits".to_owned()] {
        let get = wire::GetSweepRequest { workspace: WORKSPACE.into(), sweep: name, ..Default::default() };
        assert_eq!(bench.api().get_sweep(Request::new(get)).await.unwrap().into_inner().sweep_id, sweep.to_string());
    }
}

#[tokio::test]
async fn sweeps_are_listed_newest_first_in_pages_with_their_results() {
    let mut bench = Bench::new().await;
    let mut sweeps = Vec::new();
    for name in ["a", "b", "c"] {
        sweeps.push(bench.submit(&document(json!({"name": name, "limits": {"max_total_trials": 1}}))).await);
    }
    bench.fill(sweeps[0]).await;
    bench.reports(sweeps[0], 0, 0, 0.75).await;
    bench.ends(sweeps[0], 0, "completed").await;
    let list = |state: &str, page_token: String| wire::ListSweepsRequest {
        workspace: WORKSPACE.into(),
        state: state.into(),
        page_size: 2,
        page_token,
        view: String::new(),
    };
    let first = bench.api().list_sweeps(Request::new(list("", String::new()))).await.unwrap().into_inner();
    let names = |page: &wire::ListSweepsReply| page.sweeps.iter().map(|sweep| sweep.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&first), ["c", "b"]);
    let second = bench.api().list_sweeps(Request::new(list("", first.next_page_token))).await.unwrap().into_inner();
    assert_eq!((names(&second), second.next_page_token.as_str()), (vec!["a".to_owned()], ""));
    let done = bench.api().list_sweeps(Request::new(list("Completed", String::new()))).await.unwrap().into_inner();
    // The row of an ended sweep says what the sweep itself says.
    let mut shown = bench.sweep(sweeps[0]).await;
    shown.spec_json = String::new();
    assert_eq!(done.sweeps, [shown]);
    // A page ends before it is too large to be sent.
    let tags: serde_json::Map<_, _> = (0..15).map(|at| (format!("note-{at}"), "x".repeat(64 << 10).into())).collect();
    for name in ["d", "e", "f", "g", "h"] {
        bench.submit(&document(json!({"name": name, "limits": {"max_total_trials": 1}, "tags": tags}))).await;
    }
    let (mut found, mut page_token) = (Vec::new(), String::new());
    for _ in 0..2 {
        let request = wire::ListSweepsRequest { page_size: 1000, ..list("", page_token) };
        let page = bench.api().list_sweeps(Request::new(request)).await.unwrap().into_inner();
        found.extend(names(&page));
        page_token = page.next_page_token;
    }
    assert_eq!((found.concat().as_str(), page_token.as_str()), ("hgfedcba", ""));
    let wrong = bench.api().list_sweeps(Request::new(list("", "zz".into()))).await;
    assert_eq!(problem(wrong).code, "BadPageToken");
}

#[tokio::test]
async fn a_long_poll_answers_as_soon_as_something_changes() {
    let bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({}))).await;
    let get = |after_version, wait_seconds| wire::GetSweepRequest {
        workspace: WORKSPACE.into(),
        sweep: sweep.to_string(),
        wait_seconds,
        after_version,
        deleted: false,
    };
    let waiting = bench.api().get_sweep(Request::new(get(1, 30.0)));
    let filling = async {
        tokio::task::yield_now().await;
        bench.fill(sweep).await;
    };
    let (shown, ()) =
        tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(waiting, filling) }).await.unwrap();
    assert!(shown.unwrap().into_inner().version > 1);
    // Time that is up is no error.
    let shown = bench.api().get_sweep(Request::new(get(999, 0.01))).await.unwrap().into_inner();
    assert_eq!(shown.version, 4);
}
