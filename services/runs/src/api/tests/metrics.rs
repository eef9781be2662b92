//! Metric points: fences, repeats, conflicts, sequences, summaries, histories.

use super::*;
use eventlog::{Recorded, sql};

use crate::run::{self, JobNews, RunEvent};

/// All summaries, read in short pages.
pub(super) async fn summaries(fixture: &Fixture, run_id: &str) -> Vec<MetricSummary> {
    let (mut metrics, mut page_token, page_size) = (Vec::new(), String::new(), 2);
    loop {
        let request = ListMetricsRequest { workspace: WORKSPACE.into(), run_id: run_id.into(), page_size, page_token };
        let reply = answer(fixture.api.list_metrics(Request::new(request)).await).unwrap();
        assert!(reply.metrics.len() <= page_size as usize);
        metrics.extend(reply.metrics);
        if reply.next_page_token.is_empty() {
            return metrics;
        }
        page_token = reply.next_page_token;
    }
}

#[tokio::test]
async fn a_run_with_many_metrics_is_listed_in_pages() {
    // A script that makes up a name a step would have a list that nobody can read.
    let fixture = Fixture::new().await;
    let run_id = fixture.own_run().await;
    let named = |number: usize| point(&format!("m{number}"), None, 1.0);
    fixture.record(points(&run_id, 0, (0..5).map(named).collect())).await.unwrap();
    let names: Vec<_> = summaries(&fixture, &run_id).await.into_iter().map(|summary| summary.name).collect();
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4"]);
}

/// All points of a key, read in pages of this size.
pub(super) async fn history(fixture: &Fixture, run_id: &str, name: &str, page_size: i32) -> Vec<MetricPoint> {
    let (mut points, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = GetMetricHistoryRequest {
            workspace: WORKSPACE.into(),
            run_id: run_id.into(),
            name: name.into(),
            page_size,
            page_token,
        };
        let reply = answer(fixture.api.get_metric_history(Request::new(request)).await).unwrap();
        assert!(reply.points.len() <= page_size as usize);
        points.extend(reply.points);
        if reply.next_page_token.is_empty() {
            return points;
        }
        page_token = reply.next_page_token;
    }
}

pub(super) async fn events(fixture: &Fixture) -> Vec<RunEvent> {
    let events = fixture.log().read(0, 1_000).await.unwrap();
    events.iter().filter(|event| run::of_stream(&event.stream).is_some()).map(|event| event.decode().unwrap()).collect()
}

pub(super) async fn next_attempt(fixture: &Fixture, run_id: &str, attempt: u32) {
    let run = vocabulary::RunId::parse(run_id).unwrap();
    let news = JobNews::Requeued {
        attempt,
        next_attempt: attempt + 1,
        cause: vocabulary::job::RequeueCause::Preempted,
        end: vocabulary::job::JobEnd::new(vocabulary::job::Outcome::Preempted),
        node_id: String::new(),
        at_us: 1,
    };
    // One for each run and attempt: a list of runs may be restarted together.
    let id = Uuid::from_u128(run.uuid().as_u128() ^ (u128::from(attempt) << 64));
    let context = eventlog::Context::new(id, "test", "");
    fixture.log().execute::<run::Run>(&run::stream(run), run::Command::Job(news), context).await.unwrap();
}

#[tokio::test]
async fn a_batch_with_a_place_is_stored_once() {
    // A client that sends a batch again must not double its points; a lost batch must be noticed.
    let fixture = Fixture::new().await;
    let run_id = fixture.own_run().await;
    let batch = |sequence, value| RecordMetricsRequest {
        writer: "w".into(),
        sequence,
        ..points(&run_id, 0, vec![point("loss", None, value)])
    };
    assert_eq!(fixture.record(batch(1, 1.0)).await.unwrap(), RecordMetricsReply { accepted: 1, repeated: false });
    assert_eq!(fixture.record(batch(1, 1.0)).await.unwrap(), RecordMetricsReply { accepted: 1, repeated: true });
    let gap = fixture.record(batch(3, 3.0)).await.unwrap_err();
    assert_eq!((gap.code.as_str(), &gap.extra["expected"]), ("SequenceGap", &serde_json::json!(2)));
    fixture.record(batch(2, 2.0)).await.unwrap();
    assert!(fixture.record(batch(1, 1.0)).await.unwrap().repeated);
    let stored: Vec<_> = history(&fixture, &run_id, "loss", 10).await.iter().map(|p| (p.step, p.value)).collect();
    assert_eq!(stored, [(Some(0), 1.0), (Some(1), 2.0)]);
    fixture.end(&run_id, "Completed").await.unwrap();
    assert!(fixture.record(batch(2, 2.0)).await.unwrap().repeated, "what was accepted stays accepted");
    assert_eq!(code(fixture.record(batch(3, 3.0)).await), (409, "RunTerminal".into()));
}

#[tokio::test]
async fn watched_points_are_events_and_others_are_rows() {
    // The sweep hears each value of its metric, in order, and nothing of the rest but its names.
    let fixture = Fixture::new().await;
    let run_id = fixture.watched_run().await;
    let metrics = vec![point("loss", Some(0), 2.0), point("acc", None, 0.5), point("acc", None, f64::NAN)];
    fixture.record(points(&run_id, 1, metrics)).await.unwrap();
    fixture.record(points(&run_id, 1, vec![point("loss", Some(1), 1.0)])).await.unwrap();
    let events = events(&fixture).await;
    let kinds: Vec<_> = events.iter().map(vocabulary::StoredEvent::kind).collect();
    assert_eq!(kinds, ["RunCreated", "MetricNameSeen", "MetricReported"]);
    let RunEvent::MetricReported(reported) = &events[2] else { panic!("no report") };
    assert_eq!(reported.points.iter().map(|point| point.step).collect::<Vec<_>>(), [0, 1]);
    assert!(reported.points[1].value.is_nan() && reported.points[1].timestamp_ms == 1_700_000_000_000);
    assert_eq!(fixture.get(&run_id).await.version, 3, "the version counts reports too");
}

#[tokio::test]
async fn a_conflict_leaves_nothing_of_the_batch() {
    // R4: either the whole request stands or none of it.
    let fixture = Fixture::new().await;
    let run_id = fixture.watched_run().await;
    fixture.record(points(&run_id, 1, vec![point("acc", Some(0), 0.5)])).await.unwrap();
    let batch = RecordMetricsRequest {
        writer: "w".into(),
        sequence: 1,
        ..points(&run_id, 1, vec![point("loss", Some(0), 1.0), point("acc", Some(0), 0.6)])
    };
    let conflict = fixture.record(batch.clone()).await.unwrap_err();
    assert_eq!((conflict.status, conflict.code.as_str()), (409, "ConflictingPoint"));
    assert_eq!(summaries(&fixture, &run_id).await.len(), 1);
    let corrected = RecordMetricsRequest { metrics: vec![point("acc", Some(0), 0.5)], ..batch };
    assert!(!fixture.record(corrected).await.unwrap().repeated, "the writer's place was not taken");
    assert_eq!(history(&fixture, &run_id, "acc", 10).await.len(), 1, "the same point again is none");
}

#[tokio::test]
async fn attempts_are_fenced_and_supersede() {
    // R5, and section 4: what a preempted attempt measured after its checkpoint stays visible and counts for nothing.
    let fixture = Fixture::new().await;
    let run_id = fixture.watched_run().await;
    let steps = |attempt, from: i64, to: i64| {
        let both = |step| {
            let value = f64::from(attempt * 10) + step as f64;
            [point("acc", Some(step), value), point("loss", Some(step), -value)]
        };
        points(&run_id, attempt, (from..to).flat_map(both).collect())
    };
    fixture.record(steps(1, 0, 4)).await.unwrap();
    next_attempt(&fixture, &run_id, 1).await;
    let stale = fixture.record(steps(1, 4, 5)).await.unwrap_err();
    assert_eq!((stale.code.as_str(), &stale.extra["current_attempt"]), ("StaleAttempt", &serde_json::json!(2)));
    assert_eq!(code(fixture.record(steps(3, 0, 1)).await), (503, "AttemptNotKnownYet".into()));
    assert_eq!(code(fixture.record(steps(0, 0, 1)).await), (422, "Required".into()));
    fixture.record(steps(2, 2, 3)).await.unwrap();
    for name in ["acc", "loss"] {
        let points = history(&fixture, &run_id, name, 2).await;
        let shown: Vec<_> = points.iter().map(|p| (p.attempt, p.step.unwrap(), p.superseded)).collect();
        let expected = [(1, 0, false), (1, 1, false), (1, 2, true), (1, 3, true), (2, 2, false)];
        assert_eq!(shown, expected, "{name}");
    }
    let acc = &summaries(&fixture, &run_id).await[0];
    assert_eq!((acc.count, acc.last, acc.last_step, acc.min, acc.max), (3, 22.0, 2, Some(10.0), Some(22.0)));
}

#[tokio::test]
async fn summaries_agree_with_the_points() {
    // A dashboard's numbers must be those of the curve, with repeats, restarts and NaN in it.
    let fixture = Fixture::new().await;
    let run_id = fixture.own_run().await;
    let at = |step, timestamp_ms, value| MetricPoint {
        timestamp_ms: Some(timestamp_ms),
        ..point("loss", Some(step), value)
    };
    let nan = f64::NAN;
    fixture.record(points(&run_id, 0, vec![at(0, 1, 3.0), at(1, 2, nan), at(2, 3, f64::INFINITY)])).await.unwrap();
    let summary = &summaries(&fixture, &run_id).await[0];
    assert_eq!((summary.count, summary.last, summary.min, summary.max), (3, f64::INFINITY, Some(3.0), Some(3.0)));
    fixture.record(points(&run_id, 0, vec![at(3, 4, 1.0)])).await.unwrap();
    // The same point again, a second value of a step, and a step before the others.
    fixture.record(points(&run_id, 0, vec![at(3, 4, 1.0), at(3, 4, 7.0), at(-1, 9, 2.0)])).await.unwrap();
    let summary = &summaries(&fixture, &run_id).await[0];
    assert_eq!((summary.count, summary.last_step, summary.last), (6, 3, 7.0));
    assert_eq!((summary.min, summary.max), (Some(1.0), Some(7.0)));
    let points_read = history(&fixture, &run_id, "loss", 1).await;
    let shown: Vec<_> = points_read.iter().map(|p| (p.step.unwrap(), p.timestamp_ms.unwrap())).collect();
    assert_eq!(shown, [(0, 1), (1, 2), (2, 3), (3, 4), (3, 4), (-1, 9)]);
    assert!(history(&fixture, &run_id, "absent", 5).await.is_empty());
    fixture.record(points(&run_id, 0, vec![point("loss", None, 0.0)])).await.unwrap();
    assert_eq!(history(&fixture, &run_id, "loss", 100).await.last().unwrap().step, Some(4));
}

#[tokio::test]
async fn many_keys_and_batches_come_back_whole() {
    // A run that logs a hundred keys at each of many steps loses none of them.
    let fixture = Fixture::new().await;
    let run_id = fixture.own_run().await;
    for step in 0..70i64 {
        let metrics = (0..100).map(|key| point(&format!("k{key}"), Some(step), (step * key) as f64)).collect();
        fixture.record(points(&run_id, 0, metrics)).await.unwrap();
    }
    let fixture = fixture.reopen().await;
    let all = summaries(&fixture, &run_id).await;
    assert_eq!(all.len(), 100);
    assert!(all.iter().all(|summary| summary.count == 70 && summary.last_step == 69));
    let values: Vec<_> = history(&fixture, &run_id, "k7", 9).await.iter().map(|point| point.value).collect();
    assert_eq!(values, (0..70).map(|step| f64::from(step * 7)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_request_that_is_wrong_says_where() {
    // Limits and names, with pointers.
    let fixture = Fixture::new().await;
    let run_id = fixture.own_run().await;
    let names = vec![
        point("", None, 1.0),
        point("ok", None, 1.0),
        point("a\nb", None, 1.0),
        point(&"x".repeat(256), None, 1.0),
    ];
    let bad = fixture.record(points(&run_id, 0, names)).await.unwrap_err();
    let pointers: Vec<_> = bad.errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(
        (bad.code.as_str(), pointers.as_slice()),
        ("BadMetricName", ["/metrics/0/name", "/metrics/2/name", "/metrics/3/name"].as_slice())
    );
    let many = (0..10_001).map(|step| point("loss", Some(step), 0.0)).collect();
    assert_eq!(code(fixture.record(points(&run_id, 0, many)).await), (422, "TooLarge".into()));
    let large = (0..9_999).map(|step| point(&format!("{step:0>250}{}", "x".repeat(5)), None, 0.0)).collect::<Vec<_>>();
    assert!(fixture.record(points(&run_id, 0, large)).await.is_ok());
    assert_eq!(code(fixture.record(points(&run_id, 0, Vec::new())).await), (422, "Required".into()));
    let alone = RecordMetricsRequest { sequence: 1, ..points(&run_id, 0, vec![point("loss", None, 0.0)]) };
    assert_eq!(code(fixture.record(alone).await), (422, "BadWriter".into()));
    assert_eq!(
        code(fixture.record(points(&run_id, 2, vec![point("loss", None, 0.0)])).await),
        (409, "StaleAttempt".into())
    );
}

#[tokio::test]
async fn a_damaged_batch_is_refused_and_leaves_other_keys_alone() {
    // A flipped bit on the disk must be told, not drawn.
    let fixture = Fixture::new().await;
    let run_id = fixture.own_run().await;
    fixture.record(points(&run_id, 0, vec![point("loss", Some(0), 1.0)])).await.unwrap();
    let other = fixture.own_run().await;
    fixture.record(points(&other, 0, vec![point("loss", Some(0), 1.0)])).await.unwrap();
    let damaged = eventlog::Context::new(Uuid::from_u128(77), "test", "");
    let damage = fixture.log().record::<run::Run, _>("damage", None, damaged, |_, tx| {
        Box::pin(async move {
            let mut data: Vec<u8> = sql("SELECT data FROM metric_batches WHERE id = 1").fetch_one(&mut *tx).await?;
            data[0] ^= 1;
            let flip = sql("UPDATE metric_batches SET data = $1 WHERE id = 1").bind(data);
            assert_eq!(flip.execute(tx).await?, 1);
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    damage.await.unwrap();
    let read = |run_id: String| {
        let (workspace, name) = (WORKSPACE.into(), "loss".into());
        let request = GetMetricHistoryRequest { workspace, run_id, name, page_size: 0, page_token: String::new() };
        async { answer(fixture.api.get_metric_history(Request::new(request)).await) }
    };
    assert_eq!(code(read(run_id).await), (500, "Internal".into()));
    assert_eq!(read(other).await.unwrap().points.len(), 1);
}
