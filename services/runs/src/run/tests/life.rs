//! States, attempts, stops.

use super::*;

#[test]
fn a_run_with_a_job_follows_it_to_its_end() {
    // The state that a user sees must be the one that the job is in.
    let mut commands = vec![with_job()];
    assert_eq!(state_after(&commands), RunState::Proposed);
    commands.push(Command::Job(JobNews::Queued { attempt: 1, at_us: 2 }));
    assert_eq!(state_after(&commands), RunState::Queued);
    for state in [RunState::Starting, RunState::Preparing, RunState::Running, RunState::Finalizing] {
        commands.push(reached(1, state));
        assert_eq!(state_after(&commands), state);
    }
    commands.push(ended(1, Outcome::Completed));
    let run = given(&commands);
    assert_eq!(run.state, Some(RunState::Completed));
    assert_eq!((run.details.attempts.len(), run.details.attempts[0].end), (1, Some(Outcome::Completed)));
    assert_eq!((run.details.attempts[0].node.as_str(), run.version), ("node_1", 7));
    assert!(run.details.started_us.is_some() && run.details.ended_us.is_some());
    assert_eq!(run.decide(&ended(1, Outcome::Failed)), Ok(vec![]), "an end comes once");
}

#[test]
fn a_preempted_run_goes_back_into_the_queue_with_the_next_attempt() {
    // A preemption must cost an attempt, not the run.
    let run = given(&[with_job(), reached(1, RunState::Running), requeued(1, RequeueCause::Preempted)]);
    assert_eq!((run.state, run.attempt, run.details.preemptions), (Some(RunState::Queued), 2, 1));
    let first = &run.details.attempts[0];
    assert_eq!((first.end, first.checkpoint_age_seconds), (Some(Outcome::Preempted), Some(2.5)));
    let events = given(&[with_job()]).decide(&requeued(1, RequeueCause::Lost)).unwrap();
    let kinds: Vec<_> = events.iter().map(vocabulary::StoredEvent::kind).collect();
    assert_eq!(kinds, ["AttemptEnded", "RunStateChanged"]);
    let lost = given(&[with_job(), reached(1, RunState::Running), requeued(1, RequeueCause::Lost)]);
    assert_eq!((lost.state, lost.details.preemptions), (Some(RunState::Queued), 0));
}

#[test]
fn many_small_updates_make_no_run_that_is_too_large_to_be_shown() {
    let update = |number: usize| {
        let update = Update { tags: [(format!("t{number}"), "x".repeat(60_000))].into(), ..Update::default() };
        Command::Update { workspace: "default".into(), run: "r".into(), update, at_us: 3 }
    };
    let mut commands = vec![with_job()];
    commands.extend((0..17).map(update));
    let run = given(&commands);
    assert!(matches!(run.decide(&update(17)), Err(Rejection::TooManyTexts { field: "tags", .. })));
    let remove = Update { remove_tags: vec!["t0".into(), "t1".into()], ..Update::default() };
    commands.push(Command::Update { workspace: "default".into(), run: "r".into(), update: remove, at_us: 4 });
    assert!(given(&commands).decide(&update(17)).is_ok());
}

#[test]
fn news_of_an_older_attempt_mean_nothing() {
    // A late word of a dead attempt must not end the one that lives.
    let run = given(&[with_job(), reached(1, RunState::Running), requeued(1, RequeueCause::Preempted)]);
    for late in [ended(1, Outcome::Failed), reached(1, RunState::Finalizing), requeued(1, RequeueCause::Lost)] {
        assert_eq!(run.decide(&late), Ok(vec![]));
    }
    assert_eq!(run.decide(&Command::Job(JobNews::Queued { attempt: 2, at_us: 8 })), Ok(vec![]), "it is queued already");
}

#[test]
fn a_run_that_waits_at_a_rung_is_paused_until_its_sweep_lets_it_go_on() {
    let held = Command::Job(JobNews::Held { attempt: 1, at_us: 5 });
    let waiting = [with_job(), reached(1, RunState::Running), stop(StopBy::Rung), held];
    let run = given(&waiting);
    assert_eq!((run.state, run.attempt), (Some(RunState::Paused), 1));
    let released = given(&[waiting.as_slice(), &[Command::Release { at_us: 6 }]].concat());
    assert_eq!(released.stop, None);
    assert_eq!(released.decide(&Command::Release { at_us: 7 }), Ok(vec![]), "once");
    let queued = given(
        &[
            waiting.as_slice(),
            &[Command::Release { at_us: 6 }, requeued(1, RequeueCause::Promoted), reached(2, RunState::Running)],
        ]
        .concat(),
    );
    assert_eq!((queued.state, queued.attempt, queued.details.preemptions), (Some(RunState::Running), 2, 0));
    // The wish that it ends goes before the wish that it waits.
    let stopped = given(&[waiting.as_slice(), &[stop(StopBy::Policy), ended(1, Outcome::Canceled)]].concat());
    assert_eq!(stopped.state, Some(RunState::EarlyStopped));
}

#[test]
fn the_end_says_who_wanted_it() {
    // EarlyStopped and Canceled must be told apart, and carry the decision.
    let running = [with_job(), reached(1, RunState::Running)];
    let after = |by: StopBy, outcome: Outcome| given(&[running.as_slice(), &[stop(by), ended(1, outcome)]].concat());
    let stopped = after(StopBy::Policy, Outcome::Canceled);
    assert_eq!(stopped.state, Some(RunState::EarlyStopped));
    assert_eq!(stopped.details.end.unwrap().decision, "sweep_1@17");
    assert_eq!(
        after(StopBy::Policy, Outcome::Completed).state,
        Some(RunState::EarlyStopped),
        "the stop was in the log first"
    );
    assert_eq!(after(StopBy::SweepTimeout, Outcome::Canceled).state, Some(RunState::Canceled));
    assert_eq!(after(StopBy::MaxResource, Outcome::Canceled).state, Some(RunState::Completed), "no trial goes further");
    assert_eq!(after(StopBy::User, Outcome::Completed).state, Some(RunState::Completed), "it had really finished");
    assert_eq!(after(StopBy::User, Outcome::Failed).state, Some(RunState::Failed));
    assert_eq!(state_after(&[with_job(), ended(1, Outcome::Lost)]), RunState::Failed);
}

#[test]
fn a_policys_stop_that_comes_late_relabels() {
    // sweeps' log is the authority: what a user sees must agree with it.
    for outcome in [Outcome::Completed, Outcome::Failed] {
        let run = given(&[with_job(), ended(1, outcome), stop(StopBy::Policy)]);
        assert_eq!(run.state, Some(RunState::EarlyStopped));
        assert_eq!(run.decide(&stop(StopBy::Policy)), Ok(vec![]));
    }
    assert_eq!(state_after(&[with_job(), ended(1, Outcome::Completed), stop(StopBy::User)]), RunState::Completed);
    assert_eq!(state_after(&[with_job(), ended(1, Outcome::Canceled), stop(StopBy::Policy)]), RunState::Canceled);
}

#[test]
fn an_id_makes_one_run() {
    // A trial that is proposed again, e.g. from a restored feed, is the same run; anything else must not write over it.
    let run = given(&[with_job()]);
    assert_eq!(run.decide(&with_job()), Ok(vec![]));
    let Command::Create(mut other) = with_job() else { unreachable!("a run is created") };
    other.subject.trial_index = Some(4);
    let refused = vocabulary::Problem::from(run.decide(&Command::Create(other)).unwrap_err());
    assert_eq!((refused.status, refused.code.as_str()), (409, "RunExists"));
}

#[test]
fn a_second_wish_to_stop_is_no_news() {
    // Cancel twice must not reach compute twice.
    let run = given(&[with_job(), cancel()]);
    assert_eq!(run.stop, Some(Stop { decision: String::new(), by: StopBy::User }));
    assert_eq!((run.decide(&cancel()), run.decide(&stop(StopBy::Policy))), (Ok(vec![]), Ok(vec![])));
    assert_eq!(given(&[with_job(), ended(1, Outcome::Failed)]).decide(&cancel()), Ok(vec![]));
}

#[test]
fn a_run_without_a_job_is_its_clients() {
    // A notebook's run is running at once and ends when its client says so.
    let ends = |state| update(Update { state: Some(state), ..Update::default() });
    assert_eq!(state_after(&[created(None)]), RunState::Running);
    let failed = given(&[created(None), ends(RunState::Failed)]);
    assert_eq!(failed.state, Some(RunState::Failed));
    assert_eq!(failed.decide(&ends(RunState::Failed)), Ok(vec![]));
    assert_eq!(failed.decide(&ends(RunState::Completed)), Err(Rejection::Terminal { state: RunState::Failed }));
    assert_eq!(given(&[with_job()]).decide(&ends(RunState::Failed)), Err(Rejection::HasJob));
    assert_eq!(state_after(&[created(None), cancel()]), RunState::Canceled);
    assert_eq!(state_after(&[created(None), stop(StopBy::Policy)]), RunState::EarlyStopped);
    assert_eq!(given(&[created(None)]).decide(&ended(1, Outcome::Failed)), Ok(vec![]), "no job, no news of it");
}

#[test]
fn a_trial_without_a_job_ends_with_its_sweeps_word() {
    // A trial of an external sweep must not stay Running for ever.
    let end = |state| Command::EndTrial { state, decision: String::new(), reason: String::new(), at_us: 4 };
    assert_eq!(state_after(&[created(None), end(RunState::Completed)]), RunState::Completed);
    assert_eq!(given(&[with_job()]).decide(&end(RunState::Completed)), Ok(vec![]), "the job's end is the end");
}

#[test]
fn texts_change_and_params_stay() {
    // A param that changes would make results unrepeatable; a repeated wish is no event.
    let run = given(&[created(None)]);
    let param = |value: &str| Update { params: [("lr".to_owned(), value.to_owned())].into(), ..Update::default() };
    assert_eq!(run.decide(&update(param("0.1"))), Ok(vec![]));
    let refused = Rejection::ImmutableParam { name: "lr".into(), recorded: "0.1".into() };
    assert_eq!(run.decide(&update(param("0.2"))), Err(refused));
    let wish = Update {
        name: Some("best".into()),
        tags: [("stage".to_owned(), "x".to_owned())].into(),
        remove_tags: vec!["team".into(), "absent".into()],
        ..Update::default()
    };
    let changed = given(&[created(None), update(wish.clone())]);
    assert_eq!((changed.details.name.as_str(), changed.details.tags.len()), ("best", 1));
    assert_eq!(changed.decide(&update(wish)), Ok(vec![]));
}

#[test]
fn other_workspaces_and_absent_runs_are_not_found() {
    // A tenant must not learn that another one's run exists.
    let run = given(&[created(None)]);
    let other = Command::Cancel { workspace: "other".into(), run: "r".into(), at_us: 1 };
    assert_eq!(run.decide(&other), Err(Rejection::NotFound { run: "r".into(), workspace: "other".into() }));
    assert!(matches!(Run::default().decide(&cancel()), Err(Rejection::NotFound { .. })));
    assert!(matches!(Run::default().decide(&ended(1, Outcome::Failed)), Err(Rejection::NotFound { .. })));
    assert_eq!(given(&[with_job()]).decide(&with_job()), Ok(vec![]), "a trial is proposed once");
}

#[test]
fn the_end_names_the_outputs_that_were_uploaded() {
    let mut run = given(&[with_job(), reached(1, RunState::Running)]);
    for outputs in [vec!["plots".to_owned()], vec!["model".to_owned(), "plots".to_owned()]] {
        let recorded = ArtifactsRecorded { subject: run.subject.clone(), attempt: 1, count: 2, outputs };
        run.take(&recorded.into());
    }
    let events = run.decide(&ended(1, Outcome::Completed)).unwrap();
    let [RunEvent::RunEnded(end)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(end.outputs, ["model", "plots"]);
}
