//! Given, when, then for jobs, and the fence under any order of commands.

use proptest::prelude::*;
use uuid::Uuid;
use vocabulary::job::{AttemptPhase, JobEnd, JobSpec, Outcome, RequeueCause, StopBy, TAKEN_DOWN};
use vocabulary::{Decider, NodeId};

use super::*;

fn node(number: u128) -> NodeId {
    NodeId::new(Uuid::from_u128(number))
}

fn queue(max_retries: u32) -> Command {
    let spec = JobSpec { cluster: "spot".into(), max_retries, ..JobSpec::default() };
    let job = JobKey { workspace: "w".into(), run_id: "run_1".into(), cluster: "spot".into() };
    Command::Queue { job, spec: Box::new(spec), place: None, at_us: 1 }
}

fn place(attempt: u32) -> Command {
    Command::Place { attempt, node_id: node(1), reason: "fits".into(), at_us: 2 }
}

fn reach(attempt: u32, phase: AttemptPhase) -> Command {
    Command::Reach { attempt, node_id: node(1), phase, at_us: 3 }
}

fn end(attempt: u32, outcome: Outcome) -> Command {
    let end = JobEnd { exit_code: Some(0), ..JobEnd::new(outcome) };
    Command::EndAttempt { attempt, node_id: node(1), end, at_us: 4 }
}

fn stop(by: StopBy) -> Command {
    Command::Stop { by, decision: "sweep_1@7".into(), at_us: 3 }
}

fn run(job: &mut Job, command: &Command) -> Vec<JobEvent> {
    let Ok(events) = job.decide(command);
    events.iter().for_each(|event| job.evolve(event));
    events
}

fn given(commands: &[Command]) -> Job {
    let mut job = Job::default();
    for command in commands {
        run(&mut job, command);
    }
    job
}

#[test]
fn a_preemption_spends_no_retry_and_keeps_the_place() {
    // The promise that makes low-priority nodes usable at all.
    let mut job = given(&[queue(0)]);
    for attempt in 1..=20 {
        run(&mut job, &place(attempt));
        let events = run(&mut job, &end(attempt, Outcome::Preempted));
        assert!(matches!(&events[..], [JobEvent::JobRequeued(event)] if event.next_attempt == attempt + 1));
    }
    assert_eq!((job.phase, job.attempt, job.retried, job.lost), (JobPhase::Queued, 21, 0, 0));
}

#[test]
fn an_installation_that_is_taken_down_is_no_preemption() {
    // An operator who updates the server would find every run preempted, and nodes suspected that nobody took.
    let mut job = given(&[queue(5), place(1)]);
    let end = JobEnd { reason: TAKEN_DOWN.to_owned(), ..JobEnd::new(Outcome::Preempted) };
    let events = run(&mut job, &Command::EndAttempt { attempt: 1, node_id: node(1), end, at_us: 4 });
    assert!(matches!(&events[..], [JobEvent::JobRequeued(event)] if event.cause == RequeueCause::Resumed));
    assert_eq!((job.phase, job.attempt, job.retried, job.lost), (JobPhase::Queued, 2, 0, 0));
    assert_eq!(job.reason, "attempt 1 was taken down");
}

#[test]
fn the_fourth_loss_is_a_failure() {
    let mut job = given(&[queue(5)]);
    for attempt in 1..=4 {
        run(&mut job, &place(attempt));
        run(&mut job, &end(attempt, Outcome::Lost));
    }
    assert_eq!(job.phase, JobPhase::Ended);
    let end = job.end.unwrap();
    assert_eq!((end.outcome, end.reason.as_str()), (Outcome::Failed, "lost"));
}

#[test]
fn failures_are_tried_again_as_often_as_asked() {
    let mut job = given(&[queue(1)]);
    run(&mut job, &place(1));
    let events = run(&mut job, &end(1, Outcome::Failed));
    assert!(matches!(&events[..], [JobEvent::JobRequeued(event)] if event.cause == RequeueCause::Retry));
    run(&mut job, &place(2));
    let events = run(&mut job, &end(2, Outcome::Failed));
    assert!(
        matches!(&events[..], [JobEvent::JobEnded(event)] if event.attempt == 2 && event.end.outcome == Outcome::Failed)
    );
}

#[test]
fn news_of_an_old_attempt_mean_nothing() {
    // A node that was thought dead and comes back must not end the attempt that took over.
    let mut job = given(&[queue(0), place(1), end(1, Outcome::Lost), place(2)]);
    for late in [reach(1, AttemptPhase::Running), end(1, Outcome::Completed), place(2)] {
        assert_eq!(run(&mut job, &late), [], "{late:?}");
    }
    let elsewhere = Command::EndAttempt { attempt: 2, node_id: node(9), end: JobEnd::new(Outcome::Lost), at_us: 5 };
    assert_eq!(run(&mut job, &elsewhere), [], "another node cannot speak for the attempt");
    assert_eq!(job.live(), Some((node(1), 2)));
}

#[test]
fn a_stop_ends_what_waits_at_once_and_what_runs_when_it_has_ended() {
    let waiting = given(&[queue(0)]).decide(&stop(StopBy::Policy)).unwrap();
    assert!(matches!(&waiting[..], [JobEvent::StopRequested(_), JobEvent::JobEnded(event)]
        if event.end.outcome == Outcome::Canceled
            && event.end.by == Some(StopBy::Policy)
            && event.end.decision == "sweep_1@7"));
    for outcome in [Outcome::Failed, Outcome::Preempted, Outcome::Lost, Outcome::Canceled] {
        let mut job = given(&[queue(3), place(1), stop(StopBy::User), stop(StopBy::Policy)]);
        assert_eq!(job.stop.as_ref().map(|stop| stop.by), Some(StopBy::User), "the first wish counts");
        let events = run(&mut job, &end(1, outcome));
        assert!(
            matches!(&events[..], [JobEvent::JobEnded(event)]
            if event.end.outcome == Outcome::Canceled && event.end.by == Some(StopBy::User)),
            "{outcome}: {events:?}"
        );
    }
    // It had finished before the stop reached it: runs decides what that is called.
    let mut job = given(&[queue(0), place(1), stop(StopBy::User)]);
    assert!(matches!(&run(&mut job, &end(1, Outcome::Completed))[..],
            [JobEvent::JobEnded(event)] if event.end.outcome == Outcome::Completed));
}

#[test]
fn a_job_that_is_held_waits_without_a_node_and_goes_on_as_a_new_attempt() {
    let release = Command::Release { at_us: 5 };
    for outcome in [Outcome::Canceled, Outcome::Failed, Outcome::Preempted, Outcome::Lost] {
        let mut job = given(&[queue(0), place(1), stop(StopBy::Rung)]);
        let events = run(&mut job, &end(1, outcome));
        assert!(matches!(&events[..], [JobEvent::JobHeld(held)] if held.attempt == 1), "{outcome}: {events:?}");
        assert_eq!((job.phase, job.node_id, job.lost, job.retried), (JobPhase::Held, None, 0, 0));
        assert_eq!(run(&mut job, &place(1)), [], "it asks for nothing");
        let events = run(&mut job, &release);
        assert!(matches!(&events[..], [JobEvent::JobReleased(_), JobEvent::JobRequeued(event)]
            if event.next_attempt == 2 && event.cause == RequeueCause::Promoted));
        assert_eq!((job.phase, job.attempt, job.stop.clone()), (JobPhase::Queued, 2, None));
        assert_eq!(run(&mut job, &release), [], "once");
        // It can be held again, and end as any other.
        run(&mut job, &place(2));
        run(&mut job, &end(2, Outcome::Completed));
        assert_eq!(job.phase, JobPhase::Ended);
    }
    // Promoted before its attempt had ended: it does not even wait.
    let mut job = given(&[queue(0), place(1), stop(StopBy::Rung), release]);
    let events = run(&mut job, &end(1, Outcome::Canceled));
    assert!(matches!(&events[..], [JobEvent::JobRequeued(event)] if event.next_attempt == 2));
}

#[test]
fn jobs_of_a_paused_sweep_wait_wherever_they_are() {
    let release = Command::Release { at_us: 5 };
    let mut running = given(&[queue(0), place(1), stop(StopBy::Pause)]);
    assert!(matches!(&run(&mut running, &end(1, Outcome::Canceled))[..], [JobEvent::JobHeld(_)]));
    assert!(matches!(&run(&mut running, &release)[..], [JobEvent::JobReleased(_), JobEvent::JobRequeued(event)]
        if event.next_attempt == 2 && event.cause == RequeueCause::Resumed));
    // What waits for a node has no attempt that could end: it is later placed as the attempt that it is.
    let mut queued = given(&[queue(0), stop(StopBy::Pause)]);
    assert_eq!((queued.phase, run(&mut queued, &place(1))), (JobPhase::Held, vec![]));
    assert!(matches!(&run(&mut queued, &release)[..], [JobEvent::JobReleased(_)]));
    assert_eq!((queued.phase, queued.attempt, queued.stop.clone()), (JobPhase::Queued, 1, None));
    assert_eq!(run(&mut queued, &release), [], "once");
    assert!(!run(&mut queued, &place(1)).is_empty());
    let mut ended = given(&[queue(0), stop(StopBy::Pause)]);
    run(&mut ended, &stop(StopBy::Sweep));
    assert_eq!(ended.phase, JobPhase::Ended);
    // Paused again before the attempt had ended: it waits all the same.
    let mut again = given(&[queue(0), place(1), stop(StopBy::Pause), release, stop(StopBy::Pause)]);
    assert!(matches!(&run(&mut again, &end(1, Outcome::Canceled))[..], [JobEvent::JobHeld(_)]));
}

#[test]
fn the_wish_that_a_job_ends_goes_before_the_wish_that_it_waits() {
    let mut held = given(&[queue(0), place(1), stop(StopBy::Rung), end(1, Outcome::Canceled)]);
    assert_eq!(run(&mut held, &stop(StopBy::Rung)), []);
    let events = run(&mut held, &stop(StopBy::Policy));
    assert!(matches!(&events[..], [JobEvent::StopRequested(_), JobEvent::JobEnded(event)]
        if event.end.by == Some(StopBy::Policy)));
    let mut running = given(&[queue(0), place(1), stop(StopBy::Rung), stop(StopBy::User), stop(StopBy::Rung)]);
    let events = run(&mut running, &end(1, Outcome::Canceled));
    assert!(matches!(&events[..], [JobEvent::JobEnded(event)] if event.end.by == Some(StopBy::User)));
    assert_eq!(run(&mut given(&[queue(0)]), &stop(StopBy::Rung)), [], "what waits for a node has reported nothing");
}

#[test]
fn running_time_is_summed_over_attempts() {
    // A limit that began anew with each preemption would never end on a busy pool.
    let mut spec = JobSpec { timeout_seconds: Some(10.0), ..JobSpec::default() };
    spec.cluster = "spot".into();
    let mut job = Job::default();
    run(&mut job, &Command::Queue { job: JobKey::default(), spec: Box::new(spec), place: None, at_us: 0 });
    run(&mut job, &place(1));
    run(&mut job, &Command::Reach { attempt: 1, node_id: node(1), phase: AttemptPhase::Running, at_us: 1_000_000 });
    assert_eq!(job.timeout_us(), Some(11_000_000));
    let end = JobEnd::new(Outcome::Preempted);
    run(&mut job, &Command::EndAttempt { attempt: 1, node_id: node(1), end, at_us: 5_000_000 });
    assert_eq!(job.timeout_us(), None, "waiting does not count");
    run(&mut job, &place(2));
    run(&mut job, &Command::Reach { attempt: 2, node_id: node(1), phase: AttemptPhase::Running, at_us: 20_000_000 });
    assert_eq!(job.timeout_us(), Some(26_000_000));
}

fn any_command() -> impl Strategy<Value = Command> {
    let attempt = 1..6u32;
    let outcome = prop_oneof![
        Just(Outcome::Completed),
        Just(Outcome::Failed),
        Just(Outcome::Preempted),
        Just(Outcome::Lost),
        Just(Outcome::Canceled)
    ];
    let phase = prop_oneof![Just(AttemptPhase::Starting), Just(AttemptPhase::Running), Just(AttemptPhase::Finalizing)];
    prop_oneof![
        Just(queue(2)),
        attempt.clone().prop_map(place),
        (attempt.clone(), phase).prop_map(|(attempt, phase)| reach(attempt, phase)),
        (attempt, outcome).prop_map(|(attempt, outcome)| end(attempt, outcome)),
        Just(stop(StopBy::User)),
        Just(stop(StopBy::Rung)),
        Just(stop(StopBy::Pause)),
        Just(Command::Release { at_us: 4 }),
    ]
}

proptest! {
    #![proptest_config(testkit::properties(256))]

    #[test]
    fn a_job_ends_once_and_its_attempts_count_up(commands in proptest::collection::vec(any_command(), 0..60)) {
        let mut job = Job::default();
        let (mut ended, mut placed) = (0, 0);
        for command in &commands {
            for event in run(&mut job, command) {
                match event {
                    JobEvent::JobPlaced(event) => {
                        prop_assert!(event.attempt > placed, "no attempt is placed twice");
                        placed = event.attempt;
                    }
                    JobEvent::JobEnded(_) => ended += 1,
                    _ => {}
                }
            }
        }
        prop_assert!(ended <= 1);
        prop_assert!(job.lost <= MAX_LOST && job.retried <= 2);
    }
}
