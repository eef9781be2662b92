//! How runs stand by the metric that they are about.

use super::metrics::next_attempt;
use super::*;

fn about(metric: &str, goal: &str) -> JobSpec {
    JobSpec { primary_metric: metric.into(), goal: goal.into(), ..job() }
}

/// Best and last value of each run, the newest first, as the list and each run by itself have them.
async fn standings(fixture: &Fixture) -> Vec<(Option<f64>, Option<f64>)> {
    let request = ListRunsRequest { workspace: WORKSPACE.into(), ..ListRunsRequest::default() };
    let runs = answer(fixture.api.list_runs(Request::new(request)).await).unwrap().runs;
    for run in &runs {
        let alone = fixture.get(&run.run_id).await;
        assert_eq!((run.best_value, run.last_value), (alone.best_value, alone.last_value));
    }
    runs.into_iter().map(|run| (run.best_value, run.last_value)).collect()
}

#[tokio::test]
async fn a_run_shows_its_best_and_its_last_value_by_its_own_goal() {
    // Whoever looks for the good runs of an experiment would have to open each one's metrics.
    let fixture = Fixture::new().await;
    let jobs = [about("loss", "minimize"), about("acc", "maximize"), about("acc", ""), about("", "")];
    for job in jobs {
        let run = fixture.run(Some(job)).await;
        let values = [0.5, 0.25, 0.75].into_iter().zip(0..);
        let both = values.flat_map(|(value, step)| ["loss", "acc"].map(|name| point(name, Some(step), value)));
        fixture.record(points(&run.run_id, 1, both.collect())).await.unwrap();
    }
    fixture.own_run().await;
    fixture.run(Some(about("loss", "minimize"))).await;
    let (nothing, last) = ((None, None), Some(0.75));
    let newest_first = [nothing, nothing, nothing, (None, last), (Some(0.75), last), (Some(0.25), last)];
    assert_eq!(standings(&fixture).await, newest_first);
}

#[tokio::test]
async fn what_a_later_attempt_has_superseded_is_no_best_value() {
    // It counts for nothing anywhere else; and no infinity is better than a number.
    let fixture = Fixture::new().await;
    let run_id = fixture.run(Some(about("acc", "maximize"))).await.run_id;
    let first = [0.5, 0.9, f64::INFINITY].into_iter().zip(0..);
    let first = first.map(|(value, step)| point("acc", Some(step), value)).collect();
    fixture.record(points(&run_id, 1, first)).await.unwrap();
    assert_eq!(standings(&fixture).await, [(Some(0.9), None)]);
    next_attempt(&fixture, &run_id, 1).await;
    fixture.record(points(&run_id, 2, vec![point("acc", Some(1), 0.75)])).await.unwrap();
    assert_eq!(standings(&fixture).await, [(Some(0.75), Some(0.75))]);
}

#[tokio::test]
async fn a_list_counts_only_so_many_runs_from_their_points() {
    // A page of a thousand restarted runs read every point that they had ever reported, before it said anything.
    let fixture = Fixture::new().await;
    let mut run_ids = Vec::new();
    for _ in 0..53 {
        let run_id = fixture.run(Some(about("acc", "maximize"))).await.run_id;
        fixture.record(points(&run_id, 1, vec![point("acc", Some(1), 0.9)])).await.unwrap();
        next_attempt(&fixture, &run_id, 1).await;
        fixture.record(points(&run_id, 2, vec![point("acc", Some(1), 0.75)])).await.unwrap();
        run_ids.push(run_id);
    }
    let request = ListRunsRequest { workspace: WORKSPACE.into(), ..ListRunsRequest::default() };
    let listed = answer(fixture.api.list_runs(Request::new(request)).await).unwrap().runs;
    let said: Vec<_> = listed.iter().map(|run| (run.best_value, run.last_value)).collect();
    assert_eq!(said, [vec![(Some(0.75), Some(0.75)); 50], vec![(None, None); 3]].concat(), "the newest are first");
    let oldest = fixture.get(&run_ids[0]).await;
    assert_eq!((oldest.best_value, oldest.last_value), (Some(0.75), Some(0.75)), "by itself each says it");
}
