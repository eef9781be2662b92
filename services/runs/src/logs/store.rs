//! Appends log bytes inside the writer's transaction: each byte once, up to a limit.

use contracts::runs::AppendLogsReply;
use eventlog::{RecordError, Recorded, Transaction, sql};
use prost::Message;
use vocabulary::RunId;

use crate::run::{Rejection, Run, RunEvent, Writer};

/// Bytes kept of one attempt's stream; a training that prints more says nothing new.
const STREAM_BYTES_MAX: u64 = 64 << 20;
/// Bytes of one row, so that readers hold little.
const CHUNK_BYTES_MAX: usize = 256 << 10;

/// Bytes to append.
#[derive(Debug)]
pub struct Append {
    /// The workspace asked.
    pub workspace: String,
    /// The run.
    pub run: RunId,
    /// 0 = the current one, in runs without a job.
    pub attempt: u32,
    /// Who sends them.
    pub writer: Writer,
    /// One of [`super::STREAMS`].
    pub stream: String,
    /// Of the first byte in this attempt's stream; `None` is at the end.
    pub offset: Option<u64>,
    /// The bytes.
    pub data: Vec<u8>,
    /// Bytes kept of the stream.
    pub limit: u64,
}

impl Append {
    /// An append with the limit in force.
    pub fn new(
        workspace: String,
        run: RunId,
        attempt: u32,
        stream: String,
        offset: Option<u64>,
        data: Vec<u8>,
    ) -> Self {
        let writer = Writer::Client;
        Self { workspace, run, attempt, writer, stream, offset, data, limit: STREAM_BYTES_MAX }
    }
}

/// Appends what is not there yet. An ended run and an old attempt are no obstacle, their last lines often come late;
/// but whoever comes with the token of an attempt may do so while that lives.
///
/// # Errors
/// When the run is not there, bytes before these are missing, or the database fails.
pub async fn append(
    append: &Append,
    run: &Run,
    tx: &mut Transaction,
) -> Result<Recorded<RunEvent>, RecordError<Rejection>> {
    run.in_workspace(&append.workspace, &append.run.to_string()).map_err(RecordError::Rejected)?;
    if let Writer::Attempt(attempt) = append.writer {
        run.fence(&append.workspace, &append.run.to_string(), attempt).map_err(RecordError::Rejected)?;
    }
    let current = run.attempt;
    let attempt = match append.attempt {
        0 if run.has_job() => return Err(RecordError::Rejected(Rejection::AttemptRequired)),
        0 => current,
        attempt if attempt > current => {
            return Err(RecordError::Rejected(Rejection::EarlyAttempt { attempt, current }));
        }
        attempt => attempt,
    };
    let key = append.run.uuid().as_bytes().to_vec();
    let get = "SELECT next_offset FROM log_ends WHERE run = $1 AND attempt = $2 AND stream = $3";
    let next: Option<i64> = sql(get).bind(&key).bind(attempt).bind(&append.stream).fetch_optional(&mut *tx).await?;
    let next = next.and_then(|next| u64::try_from(next).ok()).unwrap_or(0);
    let offset = append.offset.unwrap_or(next);
    if offset > next {
        let (expected, received) = (next, offset);
        return Err(RecordError::Rejected(Rejection::OffsetGap { expected, received }));
    }
    let known = usize::try_from(next - offset).unwrap_or(usize::MAX);
    let fresh = append.data.get(known..).unwrap_or_default();
    if !fresh.is_empty() {
        write(append, &key, attempt, next, fresh, tx).await?;
    }
    let reply = AppendLogsReply { next_offset: next + fresh.len() as u64 };
    Ok(Recorded { events: Vec::new(), reply: reply.encode_to_vec() })
}

async fn write(
    append: &Append,
    key: &[u8],
    attempt: u32,
    next: u64,
    fresh: &[u8],
    tx: &mut Transaction,
) -> Result<(), RecordError<Rejection>> {
    let room = usize::try_from(append.limit.saturating_sub(next)).unwrap_or(usize::MAX);
    let kept = &fresh[..fresh.len().min(room)];
    let mut at = next;
    for chunk in kept.chunks(CHUNK_BYTES_MAX) {
        put(append, key, attempt, at, chunk, tx).await?;
        at += chunk.len() as u64;
    }
    // Said once: after the first byte that was dropped the stream's end is beyond the limit.
    if kept.len() < fresh.len() && next <= append.limit {
        let limit = append.limit;
        let notice = format!("\n[trialog] {limit} bytes of this stream are kept; what follows is dropped\n");
        put(append, key, attempt, at, notice.as_bytes(), tx).await?;
    }
    let end = next + fresh.len() as u64;
    let set = "INSERT INTO log_ends(run, attempt, stream, next_offset) VALUES ($1, $2, $3, $4)
        ON CONFLICT(run, attempt, stream) DO UPDATE SET next_offset = excluded.next_offset";
    let end = i64::try_from(end).unwrap_or(i64::MAX);
    sql(set).bind(key).bind(attempt).bind(&append.stream).bind(end).execute(tx).await?;
    Ok(())
}

async fn put(
    append: &Append,
    key: &[u8],
    attempt: u32,
    start: u64,
    data: &[u8],
    tx: &mut Transaction,
) -> Result<(), RecordError<Rejection>> {
    let put = "INSERT INTO log_chunks(run, attempt, stream, start, data) VALUES ($1, $2, $3, $4, $5)";
    let start = i64::try_from(start).unwrap_or(i64::MAX);
    sql(put).bind(key).bind(attempt).bind(&append.stream).bind(start).bind(data).execute(tx).await?;
    Ok(())
}
