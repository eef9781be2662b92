//! How many points a second go through the call, without the HTTP door. Prints; refuses nothing.

use super::*;

const BATCH_POINTS: i64 = 1_000;
const BATCHES: i64 = 400;
const CLIENTS: i64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: cargo test --release -p trialog-runs throughput -- --ignored --nocapture"]
async fn points_a_second() {
    // The front door's figure cannot be better than this one.
    let fixture = Fixture::new().await;
    for (what, keys) in [("1 key", 1), ("10 keys", 10), ("100 keys", 100)] {
        let watch = runtime::Stopwatch::start();
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            let (api, run_id) = (fixture.api.clone(), fixture.own_run().await);
            clients.spawn(async move {
                for batch in 0..BATCHES / CLIENTS {
                    let metric = |place: i64| {
                        let step = (batch * BATCH_POINTS + place) / keys;
                        let value = (step as f64).sqrt();
                        MetricPoint {
                            timestamp_ms: Some(step),
                            ..point(&format!("k{}", place % keys), Some(step), value)
                        }
                    };
                    let request = RecordMetricsRequest {
                        writer: "w".into(),
                        sequence: batch + 1,
                        ..points(&run_id, 0, (0..BATCH_POINTS).map(metric).collect())
                    };
                    api.record_metrics(Request::new(request)).await.unwrap();
                }
            });
        }
        clients.join_all().await;
        let seconds = watch.elapsed().as_secs_f64();
        println!("{what}: {:.0} points/s", (BATCHES * BATCH_POINTS) as f64 / seconds);
    }
}
