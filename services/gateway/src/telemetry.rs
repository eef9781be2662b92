//! The process's counters and histograms, for `/metrics`.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use runtime::Shutdown;

/// Seconds: from what a warm read takes to what a long poll may.
const BUCKETS_SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// The recorder of this process, started at the first call; what any crate counts shows there.
pub fn prometheus() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, BUCKETS_SECONDS);
        let recorder = builder.expect("the buckets are not empty").build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics is in place: /metrics stays empty");
        }
        describe();
        handle
    })
}

/// What is counted anywhere in this process by the recorder.
fn describe() {
    for (name, help) in [
        ("trialog_http_requests_total", "REST requests by method, route and status."),
        ("trialog_task_failures_total", "Background tasks that failed and were begun again."),
        ("trialog_feed_skipped_total", "Parked facts that somebody gave up for ever."),
        ("trialog_feed_parked_total", "Facts that a follower could not handle and has set aside."),
        ("trialog_feed_holes_total", "Facts that a topic of Kafka lacked, which are read from their log."),
        ("trialog_feed_unreadable_total", "Events that their own service cannot read."),
    ] {
        metrics::describe_counter!(name, help);
    }
    metrics::describe_histogram!("trialog_http_request_seconds", "How long REST requests took.");
}

/// How often samples are folded into their buckets; until then each takes memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// Folds samples until shutdown, whether or not anybody reads `/metrics`.
pub async fn fold(shutdown: Shutdown) {
    loop {
        tokio::select! { () = tokio::time::sleep(UPKEEP) => {}, () = shutdown.requested() => return }
        prometheus().run_upkeep();
    }
}
