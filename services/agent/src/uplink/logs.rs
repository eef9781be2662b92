//! Output as logs: a run's to runs, where offsets make every chunk idempotent; a replica's to compute, which keeps its
//! tail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use contracts::compute::ReplicaLog;
use contracts::compute::agent_report::Report;
use contracts::runs::AppendLogsRequest;
use runtime::Backoff;
use serde::{Deserialize, Serialize};

use super::context::{BACK_OFF_MAX, BACK_OFF_MIN, Context, Stage};
use super::mask::Mask;
use crate::errors::{self, Refusal};
use crate::folder;

/// Bytes of a chunk.
const CHUNK_BYTES: u64 = 64 << 10;
/// Chunks come at most this often while the command runs: each is a write in the log of runs.
const PAUSE: Duration = Duration::from_millis(150);
/// Bytes of output of an attempt that are kept as logs; the rest is only read for metrics.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// Bytes that runs has acknowledged after which the place is remembered: a later agent sends so many again at worst,
/// and runs knows them by their offsets. Most commands write less, and need no file for that.
const REMEMBER_BYTES: u64 = 256 << 10;
/// Bytes of sent output that may lie on the disk before they are given back.
const SENT_KEPT: u64 = 8 << 20;
/// Bytes before the end that stay: the tail of the standard error goes with the end.
const TAIL_KEPT: u64 = 64 << 10;

/// The streams, by the names that runs gives them, and their files.
const STREAMS: [(&str, &str); 3] =
    [("stdout", folder::STDOUT), ("stderr", folder::STDERR), ("trialog", folder::NOTICES)];

/// `logs.json`: up to where each stream is acknowledged. Older than the truth at worst, which only repeats chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Journal {
    offsets: [u64; STREAMS.len()],
    /// The bound was reached.
    full: bool,
}

struct Sender {
    context: Context,
    journal: Journal,
    /// The journal as it lies on the disk.
    remembered: Journal,
    freed: [u64; STREAMS.len()],
    /// Runs takes nothing of this attempt any more.
    over: bool,
}

/// Sends until the output has ended and all of it is acknowledged.
///
/// # Errors
/// When the journal cannot be read.
pub(super) async fn send(context: Context) -> anyhow::Result<()> {
    let path = context.attempt.folder.join(folder::LOGS);
    let journal: Journal = folder::read_journal(&path)?;
    let remembered = journal.clone();
    let mut sender = Sender { context, journal, remembered, freed: [0; STREAMS.len()], over: false };
    loop {
        let stage = sender.context.look();
        let was_full = sender.journal.full;
        if let Err(error) = sender.send_all(stage >= Stage::Drain).await {
            tracing::error!(job.id = sender.context.attempt.order.job_id, "logs: {error}");
            tokio::time::sleep(BACK_OFF_MAX).await;
            continue;
        }
        if sender.journal.full && !was_full {
            // The notice of that has not been sent.
            continue;
        }
        if stage == Stage::Last {
            return Ok(());
        }
        sender.context.news().await;
        let live = *sender.context.stage.borrow() == Stage::Live;
        if live {
            let mut stage = sender.context.stage.clone();
            let _ = tokio::time::timeout(PAUSE, stage.wait_for(|stage| *stage != Stage::Live)).await;
        }
    }
}

impl Sender {
    async fn send_all(&mut self, is_final: bool) -> io::Result<()> {
        let [stdout, stderr, notices] =
            [0, 1, 2].map(|number| Stream { number, path: self.context.attempt.folder.join(STREAMS[number].1) });
        let sent = tokio::join!(
            self.stream(&stdout, is_final),
            self.stream(&stderr, is_final),
            self.stream(&notices, is_final)
        );
        for (number, outcome) in [sent.0, sent.1, sent.2].into_iter().enumerate() {
            let outcome = outcome?;
            self.journal.offsets[number] = outcome.offset;
            self.over |= outcome.over;
        }
        if !self.journal.full && !self.context.attempt.is_service() && self.written() >= LOG_BYTES_MAX {
            self.journal.full = true;
            let text = format!("the output is longer than {} MiB; the rest is not kept", LOG_BYTES_MAX >> 20);
            folder::notice(&self.context.attempt.folder, &text);
        }
        if self.is_time_to_remember() {
            folder::write_json(&self.context.attempt.folder.join(folder::LOGS), &self.journal)?;
            self.remembered = self.journal.clone();
            self.free(&stdout, self.context.metrics_read.load(Ordering::Relaxed));
            self.free(&stderr, u64::MAX);
        }
        Ok(())
    }

    /// Bytes of the command's output that runs has.
    fn written(&self) -> u64 {
        self.journal.offsets[0] + self.journal.offsets[1]
    }

    /// What compute has of a replica's output it does not know again.
    fn is_time_to_remember(&self) -> bool {
        let sent = |journal: &Journal| journal.offsets.iter().sum::<u64>();
        let is_far = sent(&self.journal).saturating_sub(sent(&self.remembered)) >= REMEMBER_BYTES;
        let must = self.context.attempt.is_service() || self.journal.full != self.remembered.full;
        is_far || must && self.journal != self.remembered
    }

    /// Sends what is new in a stream, up to its present end; `is_final`: nothing comes after that.
    async fn stream(&self, stream: &Stream, is_final: bool) -> io::Result<Sent> {
        let mut sent = Sent { offset: self.journal.offsets[stream.number], over: self.over };
        let file = match File::open(&stream.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(sent),
            Err(error) => return Err(error),
        };
        let end = file.metadata()?.len();
        let first = sent.offset;
        // Notices are few, and one of them says that the bound was reached.
        let is_bounded = stream.path.file_name() != Some(folder::NOTICES.as_ref());
        let before = if is_bounded && !self.context.attempt.is_service() { self.written() } else { 0 };
        while sent.offset < end {
            if sent.over || (is_bounded && self.journal.full) {
                sent.offset = end;
                break;
            }
            // Also of what was sent before: or the rest of a flood would come with the next look.
            if (before + sent.offset).saturating_sub(first) >= LOG_BYTES_MAX {
                break;
            }
            let data = chunk(&file, sent.offset, end, &self.context.attempt.mask, is_final)?;
            if data.is_empty() {
                break;
            }
            match self.deliver(stream, sent.offset, data).await {
                Some(next) => sent.offset = next.min(end),
                None => sent.over = true,
            }
        }
        Ok(sent)
    }

    /// Sends a chunk until it is answered, and says where the next one begins; `None` when nothing more will be taken.
    async fn deliver(&self, stream: &Stream, offset: u64, data: Vec<u8>) -> Option<u64> {
        let mut backoff = Backoff::new(BACK_OFF_MIN, BACK_OFF_MAX);
        let end = offset + u64::try_from(data.len()).unwrap_or_default();
        loop {
            match self.call(stream, offset, data.clone()).await {
                Ok(()) => return Some(end),
                Err(Refusal::Again) => {}
                Err(Refusal::Over(problem)) => {
                    tracing::debug!(job.id = self.context.attempt.order.job_id, "no more logs are taken: {problem}");
                    return None;
                }
                Err(Refusal::Skip(problem)) => {
                    // Runs has less than our journal says (it was set back): its offset is the true one.
                    let expected = problem.extra.get("expected").and_then(serde_json::Value::as_u64);
                    if problem.code == "OffsetGap"
                        && let Some(expected) = expected.filter(|expected| *expected < offset)
                    {
                        return Some(expected);
                    }
                    tracing::warn!(
                        job.id = self.context.attempt.order.job_id,
                        "a chunk of logs was refused: {problem}"
                    );
                    return Some(end);
                }
            }
            backoff.wait().await;
        }
    }

    async fn call(&self, stream: &Stream, offset: u64, data: Vec<u8>) -> Result<(), Refusal> {
        let order = &self.context.attempt.order;
        if self.context.attempt.is_service() {
            let log = ReplicaLog { job_id: order.job_id.clone(), attempt: order.attempt, data };
            let taken = self.context.node.link.report(Report::ReplicaLog(log)).await;
            return if taken { Ok(()) } else { Err(Refusal::Again) };
        }
        let request = AppendLogsRequest {
            workspace: order.workspace.clone(),
            run_id: order.run_id.clone(),
            attempt: order.attempt,
            stream: STREAMS[stream.number].0.to_owned(),
            offset,
            data,
            at_end: false,
        };
        let server = self.context.node.link.server().await;
        let answer = server.peers.runs_client().append_logs(self.context.node.call().attach(request)).await;
        errors::of_runs(&self.context.node, answer).await.map(drop)
    }

    /// Gives back to the disk what is sent and, of the standard output, read for metrics.
    fn free(&mut self, stream: &Stream, read: u64) {
        let done = self.journal.offsets[stream.number].min(read).saturating_sub(TAIL_KEPT);
        if done.saturating_sub(self.freed[stream.number]) >= SENT_KEPT {
            folder::free_front(&stream.path, done);
            self.freed[stream.number] = done;
        }
    }
}

/// The next bytes of a stream that ends at `end` for now, secrets covered. What may be the beginning of a secret whose
/// rest has not come waits for that.
fn chunk(file: &File, offset: u64, end: u64, mask: &Mask, is_final: bool) -> io::Result<Vec<u8>> {
    let reach = u64::try_from(mask.reach()).unwrap_or_default();
    let mut stop = end.min(offset.saturating_add(CHUNK_BYTES));
    let (from, to) = (offset.saturating_sub(reach), end.min(stop.saturating_add(reach)));
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or_default();
    let mut window = vec![0; size(to.saturating_sub(from))];
    file.read_exact_at(&mut window, from)?;
    if !is_final && to == end {
        stop = stop.min(end.saturating_sub(u64::try_from(mask.open_end(&window)).unwrap_or_default()));
    }
    mask.cover(&mut window);
    window.truncate(size(stop.saturating_sub(from)));
    Ok(window.split_off(size(offset - from).min(window.len())))
}

/// One of the streams.
#[derive(Debug)]
struct Stream {
    number: usize,
    path: PathBuf,
}

/// How far a stream got.
#[derive(Debug)]
struct Sent {
    offset: u64,
    over: bool,
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use contracts::compute::StartAttempt;

    use super::*;

    const SECRET: &str = "tlr_w.run_1.1.00112233445566778899";

    /// What is sent of a file that grows by these pieces.
    fn sent(pieces: &[&[u8]]) -> Vec<u8> {
        let mask = Mask::of(&StartAttempt { run_token: SECRET.into(), ..StartAttempt::default() });
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let (mut sent, mut end) = (Vec::new(), 0);
        for (number, piece) in pieces.iter().enumerate() {
            file.write_all(piece).unwrap();
            end += piece.len() as u64;
            loop {
                let is_final = number + 1 == pieces.len();
                let data = chunk(file.as_file(), sent.len() as u64, end, &mask, is_final).unwrap();
                assert!(data.len() as u64 <= CHUNK_BYTES);
                if data.is_empty() {
                    break;
                }
                sent.extend(data);
            }
        }
        assert_eq!(sent.len() as u64, end, "every byte is sent, and none twice");
        sent
    }

    #[test]
    fn a_secret_is_covered_wherever_chunks_are_cut() {
        // A token that lies in two chunks, or is written in two pieces, stands in the log just as well.
        let stars = "*".repeat(SECRET.len());
        for before in CHUNK_BYTES as usize - SECRET.len() - 1..CHUNK_BYTES as usize + 2 {
            let filler = "x".repeat(before);
            let text = format!("{filler}{SECRET} end");
            let wanted = format!("{filler}{stars} end");
            assert!(sent(&[text.as_bytes()]) == wanted.as_bytes(), "after {before} bytes");
        }
        for cut in 0..=SECRET.len() {
            let (first, second) = SECRET.split_at(cut);
            let pieces = [format!("a {first}"), format!("{second} b {SECRET}")];
            let wanted = format!("a {stars} b {stars}");
            assert_eq!(sent(&[pieces[0].as_bytes(), pieces[1].as_bytes()]), wanted.as_bytes(), "cut at {cut}");
        }
        assert_eq!(sent(&[b"ends with tlr_w"]), b"ends with tlr_w", "nothing waits for ever");
    }
}
