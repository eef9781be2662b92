//! Metrics from the standard output to runs, exactly once.
//!
//! Invariant: a range of the output is written into the journal with its sequence number before it is sent, and is sent
//! again unchanged until it is answered. So runs sees the same batch under the same number, whoever dies in between.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use contracts::compute::ReplicaReady;
use contracts::compute::agent_report::Report;
use contracts::runs::{MetricPoint, RecordMetricsRequest};
use runtime::Backoff;
use serde::{Deserialize, Serialize};

use super::context::{BACK_OFF_MAX, BACK_OFF_MIN, Context, Stage};
use super::lines::{self, Message, Payload};
use crate::errors::{self, Refusal};
use crate::folder;

/// Bytes of output looked at in one go.
const READ_BYTES: usize = 1 << 20;
/// Bytes of output without metrics after which the place is remembered too.
const REMEMBER_BYTES: u64 = 4 << 20;
/// Points sent in one go; runs takes at most 10,000.
const POINTS_MAX: usize = 5_000;

/// `uplink.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Journal {
    /// Everything before is done.
    offset: u64,
    /// The number of the last acknowledged batch.
    sequence: i64,
    /// The byte at `offset` lies inside of a line that was too long to be a message.
    in_long_line: bool,
    /// Where the batch ends that was sent last under the next number and not answered yet.
    pending: Option<u64>,
}

struct Sender {
    context: Context,
    journal: Journal,
    /// Runs takes nothing of this attempt any more.
    over: bool,
    /// What is handled was handled before, some time ago.
    again: bool,
}

/// A piece of output that ends with a line.
struct Piece {
    bytes: Vec<u8>,
    ends_in_long_line: bool,
}

/// Sends until the output has ended and all of it is acknowledged.
///
/// # Errors
/// When the journal cannot be read.
pub(super) async fn send(context: Context) -> anyhow::Result<()> {
    let path = context.attempt.folder.join(folder::UPLINK);
    // Without it nobody knows under which number what was sent.
    let journal = folder::read_journal(&path)?;
    let mut sender = Sender { context, journal, over: false, again: false };
    sender.context.metrics_read.store(sender.journal.offset, Ordering::Relaxed);
    loop {
        let stage = sender.context.look();
        match sender.send_all(stage >= Stage::Drain).await {
            Ok(()) if stage >= Stage::Drain => return Ok(()),
            Ok(()) => sender.context.news().await,
            Err(error) => {
                tracing::error!(job.id = sender.context.attempt.order.job_id, "metrics: {error}");
                tokio::time::sleep(BACK_OFF_MAX).await;
            }
        }
    }
}

impl Sender {
    async fn send_all(&mut self, is_last: bool) -> io::Result<()> {
        let file = match File::open(self.context.attempt.folder.join(folder::STDOUT)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(end) = self.journal.pending {
            let mut bytes = vec![0; usize::try_from(end.saturating_sub(self.journal.offset)).unwrap_or_default()];
            file.read_exact_at(&mut bytes, self.journal.offset)?;
            self.again = true;
            let taken = self.take(Piece { bytes, ends_in_long_line: false }).await;
            self.again = false;
            taken?;
        }
        while let Some(piece) = next_piece(&file, &self.journal, is_last)? {
            self.take(piece).await?;
        }
        Ok(())
    }

    /// Handles a piece of the output, which begins at the journal's offset.
    async fn take(&mut self, piece: Piece) -> io::Result<()> {
        let mut messages = lines::read(&piece.bytes, self.journal.in_long_line);
        let end = self.journal.offset + length(&piece.bytes);
        let start = self.journal.offset;
        let mut points = Vec::new();
        for message in messages.drain(..) {
            self.handle(message, start, &mut points).await;
        }
        if self.context.attempt.is_service() {
            points.clear();
        }
        let mut batches = batches(points, end);
        while let Some(batch) = batches.pop() {
            if !self.over {
                batches.extend(self.deliver(batch).await?);
            }
        }
        self.advance(end);
        self.journal.in_long_line = piece.ends_in_long_line;
        if end - self.context.metrics_read.load(Ordering::Relaxed) >= REMEMBER_BYTES {
            self.remember()?;
        }
        Ok(())
    }

    async fn handle(&self, message: Message, start: u64, points: &mut Vec<Placed>) {
        let attempt = &self.context.attempt;
        match message.payload {
            Payload::Metric(mut point) => {
                if let Some(best) = attempt.best.as_ref().filter(|_| !attempt.is_service()) {
                    // After the order that ends its trial, what it reports counts for nothing: its sweep has decided.
                    match attempt.is_stopped_for_good() && !self.again {
                        true => best.pass_over(&point),
                        false => best.report(&point, self.again),
                    }
                }
                point.name = attempt.mask.cover_text(&point.name);
                let at = |place: usize| start + u64::try_from(place).unwrap_or_default();
                points.push(Placed { start: at(message.start), end: at(message.end), point });
            }
            Payload::Ready(address) if attempt.is_service() && attempt.set_address(&address) => {
                let (job_id, attempt) = (attempt.order.job_id.clone(), attempt.order.attempt);
                self.context.node.link.report(Report::ReplicaReady(ReplicaReady { job_id, attempt, address })).await;
            }
            Payload::Ready(_) => {}
            Payload::Unclear(why) => folder::notice(&attempt.folder, &format!("a line was not understood: {why}")),
        }
    }

    fn advance(&mut self, offset: u64) {
        self.journal.offset = offset;
        self.journal.pending = None;
        // Both ends of a batch are ends of lines.
        self.journal.in_long_line = false;
    }

    /// What lies before the remembered offset is not read again by any agent, so the disk may have it back.
    fn remember(&self) -> io::Result<()> {
        folder::write_json(&self.context.attempt.folder.join(folder::UPLINK), &self.journal)?;
        self.context.metrics_read.store(self.journal.offset, Ordering::Relaxed);
        Ok(())
    }

    /// Sends a batch until it is answered. What is left to send comes back: the halves of a batch that was refused.
    async fn deliver(&mut self, batch: Batch) -> io::Result<Vec<Batch>> {
        self.journal.pending = Some(batch.end);
        self.remember()?;
        let mut backoff = Backoff::new(BACK_OFF_MIN, BACK_OFF_MAX);
        loop {
            match self.call(&batch).await {
                Ok(()) => {
                    self.journal.sequence += 1;
                    self.advance(batch.end);
                    return Ok(Vec::new());
                }
                Err(Refusal::Again) => backoff.wait().await,
                Err(Refusal::Over(problem)) => {
                    folder::notice(&self.context.attempt.folder, &format!("no more metrics are taken: {problem}"));
                    self.over = true;
                    return Ok(Vec::new());
                }
                Err(Refusal::Skip(problem)) => {
                    if batch.points.len() > 1 {
                        return Ok(batch.halves());
                    }
                    let name = batch.points.first().map_or("", |placed| &placed.point.name);
                    folder::notice(&self.context.attempt.folder, &format!("metric '{name}' was refused: {problem}"));
                    self.advance(batch.end);
                    return Ok(Vec::new());
                }
            }
        }
    }

    async fn call(&mut self, batch: &Batch) -> Result<(), Refusal> {
        let order = &self.context.attempt.order;
        let request = RecordMetricsRequest {
            workspace: order.workspace.clone(),
            run_id: order.run_id.clone(),
            attempt: order.attempt,
            // Runs counts the batches of a writer over all attempts, and the journal begins anew with each.
            writer: format!("stdout-{}", order.attempt),
            sequence: self.journal.sequence + 1,
            metrics: batch.points.iter().map(|placed| placed.point.clone()).collect(),
        };
        let server = self.context.node.link.server().await;
        let answer = server.peers.runs_client().record_metrics(self.context.node.call().attach(request)).await;
        match errors::of_runs(&self.context.node, answer).await {
            Ok(_) => Ok(()),
            Err(Refusal::Skip(problem)) if problem.code == "SequenceGap" => {
                // Our journal is older than what runs has: its number is the true one.
                let expected = problem.extra.get("expected").and_then(serde_json::Value::as_i64);
                match expected.filter(|expected| *expected != self.journal.sequence + 1) {
                    Some(expected) => {
                        self.journal.sequence = expected - 1;
                        Err(Refusal::Again)
                    }
                    None => Err(Refusal::Skip(problem)),
                }
            }
            Err(refusal) => Err(refusal),
        }
    }
}

/// A point and the place of its line in the whole output.
#[derive(Debug)]
struct Placed {
    start: u64,
    end: u64,
    point: MetricPoint,
}

/// Points that are sent together, up to a place in the output.
#[derive(Debug)]
struct Batch {
    points: Vec<Placed>,
    end: u64,
}

impl Batch {
    /// In the order of a stack: the first half last.
    fn halves(mut self) -> Vec<Self> {
        let second = self.points.split_off(self.points.len() / 2);
        let middle = second.first().map_or(self.end, |placed| placed.start);
        vec![Self { points: second, end: self.end }, Self { points: self.points, end: middle }]
    }
}

/// Cuts points into batches, as a stack: the first one last.
fn batches(mut points: Vec<Placed>, end: u64) -> Vec<Batch> {
    let mut found = Vec::new();
    while points.len() > POINTS_MAX {
        let rest = points.split_off(POINTS_MAX);
        let end = points.last().map_or(end, |placed| placed.end);
        found.push(Batch { points: std::mem::replace(&mut points, rest), end });
    }
    if !points.is_empty() {
        found.push(Batch { points, end });
    }
    found.reverse();
    found
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The next whole lines; at the end of all output also what has no line end.
fn next_piece(file: &File, journal: &Journal, is_last: bool) -> io::Result<Option<Piece>> {
    let mut bytes = vec![0; READ_BYTES];
    let mut filled = 0;
    while filled < bytes.len() {
        let offset = journal.offset + length(&bytes[..filled]);
        match file.read_at(&mut bytes[filled..], offset) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    let is_full = filled == READ_BYTES;
    let last_line_end = bytes.iter().rposition(lines::ends_line).map(|place| place + 1);
    Ok(match last_line_end {
        Some(end) if !is_last || is_full || end == filled => {
            bytes.truncate(end);
            Some(Piece { bytes, ends_in_long_line: false })
        }
        // No line is that long and a message too.
        None if is_full => Some(Piece { bytes, ends_in_long_line: true }),
        _ if is_last && filled > 0 => Some(Piece { bytes, ends_in_long_line: false }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(number: u64) -> Placed {
        Placed { start: number * 10, end: number * 10 + 10, point: MetricPoint::default() }
    }

    #[test]
    fn batches_are_cut_between_lines_and_sent_in_order() {
        // Otherwise a point would be sent twice or left out after a refusal.
        let mut stack = batches((0..12_000).map(point).collect(), 130_000);
        let ends: Vec<u64> = stack.iter().rev().map(|batch| batch.end).collect();
        assert_eq!(ends, [50_000, 100_000, 130_000]);
        let halves = stack.pop().unwrap().halves();
        assert_eq!((halves[1].end, halves[1].points.len()), (25_000, 2_500));
        assert_eq!((halves[0].end, halves[0].points[0].start), (50_000, 25_000));
    }

    #[test]
    fn pieces_end_with_lines_until_the_last() {
        // Half a line sent early would be lost as a metric.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "one\ntwo").unwrap();
        let file = File::open(&path).unwrap();
        let mut journal = Journal::default();
        assert_eq!(next_piece(&file, &journal, false).unwrap().unwrap().bytes, b"one\n");
        journal.offset = 4;
        assert!(next_piece(&file, &journal, false).unwrap().is_none());
        assert_eq!(next_piece(&file, &journal, true).unwrap().unwrap().bytes, b"two");
        // A bar that goes on for long is read as it comes, so that what follows it is not taken for its rest.
        std::fs::write(&path, "one\ntwo\rthree").unwrap();
        assert_eq!(next_piece(&file, &journal, false).unwrap().unwrap().bytes, b"two\r");
    }
}
