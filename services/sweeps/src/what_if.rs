//! The curves of a sweep as its log has them, for replays of other policies.

use eventlog::{EventLog, RecordedEvent};
use jiff::Timestamp;
use tuning::RecordedTrial;
use vocabulary::{Decider, SweepId};

use crate::stream::stream_of;
use crate::sweep::{ObservationRecorded, Sweep, SweepEvent, TrialEnd};

/// Events read at once.
const PAGE_EVENTS: u32 = 1000;
/// Microseconds of a second.
const US: f64 = 1e6;

/// A counted report.
struct Point {
    step: i64,
    attempt: u32,
    value: f64,
    position: u64,
    seconds: f64,
}

/// The state of a sweep and the curves of its trials, by index.
pub(crate) struct Recorded {
    pub sweep: Sweep,
    points: Vec<Vec<Point>>,
}

/// Reads a sweep's history.
///
/// # Errors
/// When the log cannot be read, or an event not decoded.
pub(crate) async fn recorded(log: &EventLog, sweep_id: SweepId) -> Result<Recorded, eventlog::Error> {
    let stream = stream_of(sweep_id);
    let mut recorded = Recorded { sweep: Sweep::default(), points: Vec::new() };
    let mut version = 0;
    loop {
        let page = log.read_stream(&stream, version, PAGE_EVENTS).await?;
        let Some(last) = page.last() else { break };
        version = last.version;
        for event in &page {
            recorded.take(event, &event.decode::<SweepEvent>()?);
        }
        // A long history must not keep others from this thread.
        tokio::task::yield_now().await;
    }
    Ok(recorded)
}

impl Recorded {
    fn take(&mut self, event: &RecordedEvent, decoded: &SweepEvent) {
        self.sweep.evolve(decoded);
        match decoded {
            SweepEvent::ObservationRecorded(observed) => self.observed(observed, event),
            // What they reported elsewhere; here they took no time.
            SweepEvent::TrialsAdopted(adopted) => {
                self.points.extend(adopted.trials.iter().map(|trial| {
                    let position = event.position.unsigned_abs();
                    let points = trial.points.iter();
                    points
                        .map(|at| Point { step: at.step, attempt: 1, value: at.value, position, seconds: 0.0 })
                        .collect()
                }));
            }
            _ => {}
        }
        self.points.resize_with(self.sweep.trials.len(), Vec::new);
    }

    fn observed(&mut self, observed: &ObservationRecorded, event: &RecordedEvent) {
        let place = observed.trial as usize;
        let (Some(trial), Some(points)) = (self.sweep.trials.get(place), self.points.get_mut(place)) else { return };
        if observed.after_stop {
            return;
        }
        let at = Timestamp::from_microsecond(event.recorded_at_us).unwrap_or(Timestamp::UNIX_EPOCH);
        let seconds = trial.running_us(at) as f64 / US;
        for point in &observed.points {
            // A new attempt supersedes what earlier ones reported from its step on.
            points.retain(|known| known.attempt >= observed.attempt || known.step < point.step);
            points.push(Point {
                step: point.step,
                attempt: observed.attempt,
                value: point.value,
                position: event.position.unsigned_abs(),
                seconds,
            });
        }
    }

    /// The curves, in order of the trials' indices.
    pub(crate) fn curves(&self) -> Vec<RecordedTrial> {
        let trials = self.points.iter().zip(&self.sweep.trials).enumerate();
        let curves = trials.map(|(index, (points, trial))| RecordedTrial {
            id: index.to_string(),
            values: points.iter().map(|point| point.value).collect(),
            positions: points.iter().map(|point| point.position).collect(),
            seconds: points.iter().map(|point| point.seconds).collect(),
            completed: matches!(trial.end, Some(TrialEnd::Completed { .. })),
        });
        curves.collect()
    }
}
