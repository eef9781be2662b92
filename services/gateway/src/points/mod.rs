//! Batches of metric points: read straight from the bytes, for this is the busiest route; only what that cannot read
//! is read again, slowly, to say what is wrong and where.

mod fast;
mod slow;

pub(crate) use fast::Value;
pub(crate) use slow::check_value;

use contracts::runs::{MetricPoint, RecordMetricsRequest};
use documents::ByName;
use vocabulary::Problem;

/// Points of one request.
pub const POINTS_MAX: usize = 10_000;

/// Reads a batch; workspace and run are the caller's to fill in.
///
/// # Errors
/// 400 for syntax and unknown fields, 413 for too many points, 422 with the pointer of each value that is none.
pub fn read(bytes: &[u8]) -> Result<RecordMetricsRequest, Problem> {
    let batch = match documents::read_fast::<fast::Batch<'_>>(bytes) {
        Ok(batch) => batch,
        Err(error) => return Err(slow::explain(bytes, &error)),
    };
    if batch.metrics.len() > POINTS_MAX {
        let detail = format!("metrics has {} points, limit {POINTS_MAX}: send less at once", batch.metrics.len());
        return Err(Problem::new(413, "TooLarge", detail));
    }
    let metrics = batch.metrics.into_iter().map(|ByName(point)| MetricPoint {
        name: point.name.into_owned(),
        value: point.value.0,
        step: point.step,
        timestamp_ms: point.timestamp_ms,
        ..MetricPoint::default()
    });
    Ok(RecordMetricsRequest {
        attempt: batch.attempt.unwrap_or_default(),
        writer: batch.writer.map(std::borrow::Cow::into_owned).unwrap_or_default(),
        sequence: batch.sequence.unwrap_or_default(),
        metrics: metrics.collect(),
        ..RecordMetricsRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_keep_every_bit_and_non_finite_values_are_texts() {
        let body = br#"{"attempt": 2, "writer": "w", "sequence": 7, "metrics": [
            {"name": "loss", "value": 0.1234567890123456789, "step": -3, "timestamp_ms": 1700000000000},
            {"name": "a\u0062", "value": 3}, {"name": "n", "value": "NaN"}, {"name": "i", "value": "-Infinity"}]}"#;
        let request = read(body).unwrap();
        assert_eq!((request.attempt, request.writer.as_str(), request.sequence), (2, "w", 7));
        assert_eq!(request.metrics[0].value.to_bits(), 0.123_456_789_012_345_68_f64.to_bits());
        assert_eq!((request.metrics[0].step, request.metrics[0].timestamp_ms), (Some(-3), Some(1_700_000_000_000)));
        assert_eq!((request.metrics[1].name.as_str(), request.metrics[1].value), ("ab", 3.0));
        assert!(request.metrics[2].value.is_nan());
        assert_eq!(request.metrics[3].value, f64::NEG_INFINITY);
    }

    #[test]
    fn what_is_no_value_is_named_with_its_place() {
        let body =
            br#"{"metrics": [{"name": "a", "value": 1}, {"name": "a", "value": "high"}, {"name": "a", "value": 1e400},
            {"name": "a", "value": null}, {"name": "a"}, {"value": 1}]}"#;
        let problem = read(body).unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (422, "BadMetricValue"));
        let shown: Vec<_> = problem.errors.iter().map(|error| (error.pointer.as_str(), error.code.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("/metrics/1/value", "BadMetricValue"),
                ("/metrics/2/value", "BadMetricValue"),
                ("/metrics/3/value", "Required"),
                ("/metrics/4/value", "Required"),
                ("/metrics/5/name", "Required"),
            ]
        );
    }

    #[test]
    fn other_faults_are_named_too() {
        for (body, status, code) in [
            (r#"{"metrics": [{"name": "a" "value": 1}]}"#, 400, "MalformedBody"),
            (r#"{"metrics": [], "metrics": []}"#, 400, "DuplicateKey"),
            (r#"{"metrics": [{"name": "a", "valu": 1}]}"#, 400, "UnknownField"),
            (r#"{"metrics": [{"name": "a", "value": 1, "step": 1.5}]}"#, 422, "WrongType"),
            (r#"{"metrics": {"a": 1}}"#, 422, "WrongType"),
            (r#"{"attempt": -1, "metrics": []}"#, 422, "OutOfRange"),
            ("{}", 422, "Required"),
            ("[]", 422, "WrongType"),
            ("[1, null, null, []]", 422, "WrongType"),
            (r#"{"metrics": [["a", 1]]}"#, 422, "WrongType"),
            ("", 400, "MalformedBody"),
        ] {
            let problem = read(body.as_bytes()).unwrap_err();
            assert_eq!((problem.status, problem.code.as_str()), (status, code), "{body}");
        }
    }

    #[test]
    fn too_many_values_are_refused_before_they_are_held() {
        // 4 MiB of the shortest points would be some ten times as much.
        let body = format!(r#"{{"metrics":[{}]}}"#, vec![r#"{"name":"","value":1}"#; 70_000].join(","));
        let problem = read(body.as_bytes()).unwrap_err();
        assert_eq!((problem.status, problem.extra["values_max"].as_u64()), (413, Some(200_000)));
    }

    #[test]
    fn too_many_points_are_refused() {
        let point = r#"{"name":"a","value":1}"#;
        let body = format!(r#"{{"metrics":[{}]}}"#, vec![point; POINTS_MAX + 1].join(","));
        assert_eq!(read(body.as_bytes()).unwrap_err().status, 413);
    }

    #[test]
    fn the_work_of_a_batch_grows_with_its_length() {
        let batch = serde_json::json!({
            "attempt": 1, "writer": "w", "sequence": 1,
            "metrics": [{"name": "a", "value": "high", "step": 1, "timestamp_ms": 1}],
        });
        documents::hostile::assert_linear(&batch, |text| drop(read(text)));
        let good = serde_json::json!({"writer": "w", "metrics": [{"name": "a", "value": 1}]});
        documents::hostile::assert_linear(&good, |text| drop(read(text)));
    }
}
