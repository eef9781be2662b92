//! External mode: asks, tells, leases, and the end of it.

use serde_json::{Value, json};
use uuid::Uuid;
use vocabulary::{Problem, RunId};

use super::{Story, kinds_of, spec};
use crate::sweep::{
    Ask, Command, Heartbeat, PauseMode, Rejection, RunEnd, SweepEvent, Tell, TellContent, TrialEnd, TrialState,
    offer_state,
};

const LEASE_SECONDS: f64 = 60.0;

/// A sweep whose trials are asked for, with some sections replaced.
pub(super) fn external(changes: Value) -> Story {
    let mut document = json!({"mode": "external", "cluster": null, "trial": null});
    if let (Value::Object(document), Value::Object(changes)) = (&mut document, changes) {
        document.extend(changes);
    }
    Story::of(spec(document))
}

#[test]
fn an_ask_of_a_modelled_sweep_needs_what_its_model_says() {
    // Whoever asks past the tuner gets no trial that the model knows nothing of.
    let mut story = external(json!({"sampling_algorithm": {"type": "bayesian", "seed": 7}, "early_termination": null}));
    let ask = story.ask_of(1, jiff::Timestamp::MIN);
    let refused = story.when(Command::Ask(ask)).unwrap_err();
    assert_eq!(refused, Rejection::NeedsSuggestion);
    let problem = Problem::from(refused);
    assert_eq!((problem.status, problem.code.as_str(), problem.retry_after_seconds), (503, "NoSuggestionYet", Some(1)));
}

impl Story {
    /// Asks for so many; answers index and attempt of each.
    pub(super) fn asks(&mut self, count: u128) -> Vec<(u32, u32)> {
        self.asks_since(count, jiff::Timestamp::MIN)
    }

    /// The same of a server that has started then.
    fn asks_since(&mut self, count: u128, listening_since: jiff::Timestamp) -> Vec<(u32, u32)> {
        let ask = self.ask_of(count, listening_since);
        let events = self.when(Command::Ask(ask)).unwrap();
        let offered = events.iter().filter_map(|event| match event {
            SweepEvent::TrialProposed(proposed) => Some((proposed.trial, 1)),
            SweepEvent::TrialLeased(leased) => Some((leased.trial, leased.attempt)),
            _ => None,
        });
        offered.collect()
    }

    fn ask_of(&self, count: u128, listening_since: jiff::Timestamp) -> Ask {
        let first = self.events.len() as u128 * 1000;
        Ask {
            workspace: "default".into(),
            worker: "w1".into(),
            lease_seconds: LEASE_SECONDS,
            run_ids: (0..count).map(|place| RunId::new(Uuid::from_u128(first + place))).collect(),
            suggested: Vec::new(),
            exhausted: None,
            listening_since,
            at: self.now,
        }
    }

    pub(super) fn says(
        &mut self,
        trial: u32,
        attempt: u32,
        content: TellContent,
    ) -> Result<Vec<SweepEvent>, Rejection> {
        let (workspace, at) = ("default".into(), self.now);
        self.when(Command::Tell(Tell { workspace, trial, attempt, content, at }))
    }

    pub(super) fn tells(&mut self, trial: u32, value: f64) -> Vec<SweepEvent> {
        self.says(trial, 1, TellContent::Value { step: None, value, last: false }).unwrap()
    }

    pub(super) fn ends_with(&mut self, trial: u32, value: f64) -> Vec<SweepEvent> {
        self.says(trial, 1, TellContent::Value { step: None, value, last: true }).unwrap()
    }

    pub(super) fn beats(&mut self, trial: u32, attempt: u32) -> Result<Vec<SweepEvent>, Rejection> {
        self.when(Command::Heartbeat(Heartbeat { workspace: "default".into(), trial, attempt, at: self.now }))
    }
}

fn code(refused: Result<Vec<SweepEvent>, Rejection>) -> (u16, String) {
    let problem = Problem::from(refused.unwrap_err());
    (problem.status, problem.code)
}

fn refused_state(story: &mut Story, trial: u32) -> (u16, String) {
    code(story.says(trial, 1, TellContent::Value { step: None, value: 1.0, last: false }))
}

#[test]
fn trials_are_offered_as_far_as_the_limits_allow_and_the_last_end_completes_the_sweep() {
    let mut story = external(json!({"limits": {"max_total_trials": 3, "max_concurrent_trials": 2}}));
    assert_eq!(story.next_proposals(), None, "nobody proposes by itself");
    assert_eq!(story.asks(5), [(0, 1), (1, 1)]);
    assert_eq!((story.asks(1), offer_state(&story.sweep)), (vec![], "limit"));
    assert_eq!(story.sweep.trials[0].state, TrialState::Running);
    assert_eq!(kinds_of(&story.ends_with(1, 0.5)), ["ObservationRecorded", "TrialEnded"]);
    assert_eq!(story.asks(5), [(2, 1)]);
    story.ends_with(0, 0.7);
    let events = story.ends_with(2, 0.6);
    assert_eq!(kinds_of(&events), ["ObservationRecorded", "TrialEnded", "SweepCompleting", "SweepCompleted"]);
    let SweepEvent::SweepCompleted(completed) = &events[3] else { panic!("{events:?}") };
    let best = completed.closing.best.clone().unwrap();
    assert_eq!((best.trial, best.value, completed.closing.trial_counts["Completed"]), (0, 0.7, 3));
    assert_eq!((story.asks(1), offer_state(&story.sweep)), (vec![], "completed"));
    assert_eq!(refused_state(&mut story, 2), (409, "RunTerminal".into()));
}

#[test]
fn the_last_value_of_a_sweep_can_be_the_best() {
    // The closing is made of a state that does not have the report yet.
    let mut story = external(json!({"limits": {"max_total_trials": 2, "max_concurrent_trials": 2}}));
    story.asks(2);
    story.ends_with(0, 0.1);
    story.ends_with(1, 0.9);
    assert!(matches!(story.events.last(), Some(SweepEvent::SweepCompleted(completed))
        if completed.closing.best.as_ref().is_some_and(|best| (best.trial, best.value) == (1, 0.9))));
}

#[test]
fn a_lease_that_ran_out_is_offered_again_and_the_old_attempt_is_stale() {
    let mut story = external(json!({}));
    story.asks(2);
    story.wait(30);
    story.beats(1, 1).unwrap();
    story.wait(31);
    // Silent for 61 s: offered again before anything new. The other one was heard 31 s ago.
    assert_eq!(story.asks(2), [(0, 2)]);
    assert_eq!(story.asks(1), []);
    let stale = story.says(0, 1, TellContent::Value { step: None, value: 1.0, last: true });
    let problem = Problem::from(stale.unwrap_err());
    assert_eq!((problem.status, problem.code.as_str()), (409, "StaleAttempt"));
    assert_eq!(problem.extra["current_attempt"], 2);
    assert_eq!(code(story.beats(0, 1)), (409, "StaleAttempt".into()));
    assert_eq!(code(story.beats(0, 3)), (409, "UnknownAttempt".into()));
    let attempts = &story.sweep.trials[0].attempts;
    assert_eq!((attempts.len(), attempts[0].end.as_ref().unwrap().outcome.as_str()), (2, "lost"));
    // What the old attempt had told counts until the new one tells the same step.
    story.says(0, 2, TellContent::Value { step: None, value: 0.3, last: true }).unwrap();
    assert_eq!(story.sweep.trials[0].state, TrialState::Completed);
}

#[test]
fn leases_from_before_a_start_have_time_to_be_renewed() {
    // Otherwise a restart of the server, or a clock that is set, takes every trial from its worker at once.
    let mut story = external(json!({}));
    story.asks(1);
    story.wait(3600);
    let start = story.now;
    assert_eq!(story.asks_since(1, start), [(1, 1)], "a new trial, not the one that somebody may still hold");
    story.wait(31);
    assert_eq!(story.asks_since(1, start), [(0, 2)], "its holder has not called in all that time");
}

#[test]
fn a_late_tell_is_taken_while_nobody_else_has_the_trial() {
    // Work that was done is not thrown away for a slow network.
    let mut story = external(json!({}));
    story.asks(1);
    story.wait(3600);
    story.tells(0, 0.4);
    assert_eq!(story.asks(2), [(1, 1)], "the tell has renewed the lease");
    assert_eq!(story.sweep.leases.len(), 2);
}

#[test]
fn a_restarted_attempt_takes_the_place_of_the_old_values() {
    let mut story = external(json!({}));
    story.asks(1);
    for value in [0.1, 0.9, 0.3] {
        story.tells(0, value);
    }
    story.wait(61);
    assert_eq!(story.asks(1), [(0, 2)]);
    let events = story.says(0, 2, TellContent::Value { step: Some(1), value: 0.2, last: true }).unwrap();
    assert!(matches!(&events[1], SweepEvent::TrialEnded(ended) if ended.best == Some(0.2)), "{events:?}");
    assert_eq!(story.sweep.curves.standing(0).unwrap().value, 0.2);
}

#[test]
fn the_same_point_again_is_nothing_new_and_another_value_a_conflict() {
    // R4
    let mut story = external(json!({}));
    story.asks(1);
    story.says(0, 1, TellContent::Value { step: Some(4), value: f64::NAN, last: false }).unwrap();
    let again = story.says(0, 1, TellContent::Value { step: Some(4), value: f64::NAN, last: false }).unwrap();
    assert_eq!(kinds_of(&again), ["TrialLeaseRenewed"]);
    let other = story.says(0, 1, TellContent::Value { step: Some(4), value: 0.1, last: false });
    assert_eq!(code(other), (409, "ConflictingPoint".into()));
    assert_eq!(story.sweep.curves.interval(0), 1);
    let last = story.says(0, 1, TellContent::Value { step: Some(4), value: f64::NAN, last: true }).unwrap();
    assert_eq!(kinds_of(&last), ["TrialEnded"]);
    assert_eq!(story.sweep.trials[0].end, Some(TrialEnd::completed(true)));
}

#[test]
fn whoever_was_told_to_stop_may_tell_the_end_too() {
    // Most programs end with a final tell in every case; an error for that breaks their loop over trials.
    let mut story = external(json!({"early_termination": {"type": "bandit", "slack_amount": 0.1}}));
    story.asks(2);
    story.tells(0, 0.9);
    story.tells(1, 0.5);
    let end = story.sweep.trials[1].end.clone();
    assert_eq!(story.ends_with(1, 0.5), []);
    assert_eq!(story.ends_with(1, 0.6), [], "whatever the value: it came after the end");
    assert!(end.is_some() && story.sweep.trials[1].end == end);
    assert_eq!(refused_state(&mut story, 1), (409, "RunTerminal".into()), "a value on the way is none");
    story.ends_with(0, 0.9);
    let again = story.says(0, 1, TellContent::Value { step: None, value: 0.1, last: true });
    assert_eq!(code(again), (409, "RunTerminal".into()), "nobody told this one to stop");
}

#[test]
fn whoever_was_told_to_wait_may_tell_the_end_too() {
    let asha = json!({"type": "asha", "reduction_factor": 2, "max_resource": 4, "variant": "promotion"});
    let mut story = external(json!({"early_termination": asha}));
    story.asks(2);
    let paused = story.tells(0, 0.5);
    assert_eq!(kinds_of(&paused), ["ObservationRecorded", "TrialPaused"]);
    assert_eq!(story.ends_with(0, 0.5), []);
    assert_eq!(story.sweep.trials[0].state, TrialState::Paused, "it may still be promoted");
    assert_eq!(refused_state(&mut story, 0), (409, "TrialPaused".into()));
}

#[test]
fn a_policy_ends_the_trial_in_the_append_of_the_report() {
    let mut story = external(json!({"early_termination": {"type": "bandit", "slack_amount": 0.1}}));
    story.asks(2);
    story.tells(0, 0.9);
    let events = story.tells(1, 0.5);
    assert_eq!(kinds_of(&events), ["ObservationRecorded", "TrialStopRequested", "TrialEnded"]);
    assert_eq!(story.sweep.trials[1].state, TrialState::EarlyStopped);
    assert_eq!(refused_state(&mut story, 1), (409, "RunTerminal".into()));
    // The last value ends the trial as completed, whatever a policy would say.
    story.asks(1);
    story.says(2, 1, TellContent::Value { step: None, value: 0.1, last: true }).unwrap();
    assert_eq!(story.sweep.trials[2].state, TrialState::Completed);
}

#[test]
fn failures_count_and_values_that_are_not_finite_may_be_failures() {
    let limits = json!({"max_total_trials": 9, "max_concurrent_trials": 4, "max_failed_trials": 2});
    let mut story = external(json!({
        "objective": {"goal": "minimize", "primary_metric": "loss", "on_non_finite": "fail"}, "limits": limits,
    }));
    story.asks(3);
    let events = story.tells(0, f64::NAN);
    assert_eq!(kinds_of(&events), ["ObservationRecorded", "TrialEnded"]);
    assert_eq!(story.sweep.trials[0].end.as_ref().unwrap().reason(), "run: non_finite");
    let events = story.says(1, 1, TellContent::Failed { reason: "out of memory".into() }).unwrap();
    // The live trial ends with the sweep: nobody has to be awaited.
    assert_eq!(kinds_of(&events), ["TrialEnded", "SweepCompleting", "TrialEnded", "SweepFailed"]);
    assert_eq!(story.status().0, "Failed");
    assert!(story.status().1.contains("out of memory"), "{:?}", story.status());
    assert_eq!(story.sweep.trials[2].end, Some(TrialEnd::Canceled { by: "sweep".into() }));
}

#[test]
fn three_completed_trials_that_told_a_nan_are_no_silent_ones() {
    // Else the sweep would fail as if its metric had another name.
    let mut story = external(json!({"limits": {"max_total_trials": 4, "max_concurrent_trials": 4}}));
    story.asks(4);
    for trial in 0..3 {
        story.ends_with(trial, f64::INFINITY);
    }
    assert_eq!(story.status().0, "Running");
}

#[test]
fn cancel_pause_and_time_work_without_jobs() {
    let mut story = external(json!({"limits": {"max_total_trials": 9, "max_concurrent_trials": 4,
        "timeout_seconds": 300, "trial_timeout_seconds": 100}}));
    story.asks(2);
    let at = story.now;
    story.when(Command::Pause { mode: PauseMode::Drain, at }).unwrap();
    story.wait(61);
    assert_eq!((story.asks(1), offer_state(&story.sweep)), (vec![], "paused"));
    story.tells(0, 0.3);
    let at = story.now;
    story.when(Command::Resume { at }).unwrap();
    assert_eq!(story.asks(2), [(1, 2), (2, 1)]);
    story.wait(39);
    let at = story.now;
    assert_eq!(story.kinds(Command::CheckDeadlines { at }), ["TrialEnded", "TrialEnded"]);
    assert_eq!(story.sweep.trials[0].end, Some(TrialEnd::Canceled { by: "trial_timeout".into() }));
    let mut canceled = story.clone();
    let kinds = canceled.kinds(Command::Cancel { by: "ann".into(), at });
    assert_eq!(kinds, ["SweepCanceling", "TrialEnded", "SweepCanceled"]);
    assert_eq!(refused_state(&mut canceled, 2), (409, "RunTerminal".into()));
    assert_eq!(canceled.asks(1), []);
    story.wait(200);
    let at = story.now;
    let kinds = story.kinds(Command::CheckDeadlines { at });
    assert_eq!(kinds, ["SweepCompleting", "TrialEnded", "SweepCompleted"]);
    assert_eq!((story.status().1.as_str(), story.sweep.leases.len()), ("timeout", 0));
}

#[test]
fn a_user_who_ends_the_run_ends_the_trial() {
    let mut story = external(json!({}));
    story.asks(1);
    let end = crate::sweep::AttemptEnd { outcome: "canceled".into(), by: "user".into(), ..Default::default() };
    let (decision, metric_names, at) = (String::new(), Vec::new(), story.now);
    story.when(Command::End(RunEnd { trial: 0, attempt: 0, end, decision, metric_names, outputs: None, at })).unwrap();
    assert_eq!(story.sweep.trials[0].end, Some(TrialEnd::Canceled { by: "user".into() }));
    assert_eq!(refused_state(&mut story, 0), (409, "RunTerminal".into()));
}

#[test]
fn a_space_that_is_used_up_completes_the_sweep_and_lost_trials_are_still_offered() {
    let space = json!({"opt": {"type": "choice", "values": ["sgd", "adam"]}});
    let mut story = external(json!({"search_space": space, "sampling_algorithm": "grid"}));
    assert_eq!(story.asks(9), [(0, 1), (1, 1)]);
    assert_eq!((story.asks(1), offer_state(&story.sweep)), (vec![], "limit"));
    story.ends_with(0, 0.5);
    assert_eq!((story.asks(1), offer_state(&story.sweep)), (vec![], "completing"));
    story.wait(61);
    assert_eq!(story.asks(1), [(1, 2)]);
    let events = story.says(1, 2, TellContent::Value { step: None, value: 0.2, last: true }).unwrap();
    assert_eq!(kinds_of(&events), ["ObservationRecorded", "TrialEnded", "SweepCompleted"]);
    assert_eq!(story.status().1, "space_exhausted");
}

#[test]
fn a_managed_sweep_and_another_workspace_are_refused() {
    let mut story = Story::of(spec(json!({})));
    story.fill();
    assert_eq!(refused_state(&mut story, 0), (422, "NotExternal".into()));
    let mut story = external(json!({}));
    let ask = Ask {
        workspace: "other".into(),
        worker: String::new(),
        lease_seconds: 1.0,
        run_ids: vec![RunId::new(Uuid::nil())],
        suggested: Vec::new(),
        exhausted: None,
        listening_since: jiff::Timestamp::MIN,
        at: story.now,
    };
    assert_eq!(story.when(Command::Ask(ask)), Err(Rejection::Absent));
    assert_eq!(code(story.beats(0, 1)), (404, "NotFound".into()));
}

#[test]
fn an_end_that_is_told_again_changes_nothing() {
    // Whoever lost the answer cannot know whether the first time arrived.
    let limits = json!({"limits": {"max_total_trials": 9, "max_concurrent_trials": 9}});
    let mut story = external(limits);
    story.asks(3);
    let last = |step, value| TellContent::Value { step, value, last: true };
    story.tells(0, 0.4);
    story.ends_with(0, 0.7);
    assert_eq!(story.ends_with(0, 0.7), []);
    story.says(1, 1, last(Some(5), f64::NAN)).unwrap();
    assert_eq!(story.says(1, 1, last(Some(5), f64::NAN)).unwrap(), []);
    let failed = |reason: &str| TellContent::Failed { reason: reason.into() };
    story.says(2, 1, failed("out of memory")).unwrap();
    assert_eq!(story.says(2, 1, failed("out of memory")).unwrap(), []);
    // Another end is none of the same, and what is not the last value says that the trial goes on.
    for (trial, content) in [
        (0, last(None, 0.8)),
        (0, last(Some(9), 0.7)),
        (0, failed("")),
        (0, TellContent::Value { step: None, value: 0.7, last: false }),
        (1, last(Some(5), 0.5)),
        (2, failed("")),
        (2, last(None, 0.7)),
    ] {
        assert_eq!(code(story.says(trial, 1, content.clone())), (409, "RunTerminal".into()), "{trial} {content:?}");
    }
    let limits = json!({"limits": {"max_total_trials": 9, "max_concurrent_trials": 9},
        "constraints": [{"metric": "size", "op": "<=", "value": 3}]});
    let mut story = external(limits);
    story.asks(1);
    let primary = story.sweep.submitted.as_ref().unwrap().spec.objective.primary_metric.clone();
    let values = |size| TellContent::Values {
        step: None,
        values: [(primary.clone(), 0.7), ("size".to_owned(), size)].into(),
        last: true,
    };
    story.says(0, 1, values(2.0)).unwrap();
    assert_eq!(story.says(0, 1, values(2.0)).unwrap(), []);
    assert_eq!(code(story.says(0, 1, values(1.0))).1, "RunTerminal");
}
