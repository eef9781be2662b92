//! Reads a run's log in order of arrival, and goes on while the run does.

use contracts::runs::LogChunk;
use eventlog::{Error, Reader, Row, sql};
use vocabulary::RunId;

/// Rows read at once: at most 4 MiB in memory a reader.
const CHUNKS_AT_ONCE: i64 = 16;
/// Rows whose sizes are looked at together when the last bytes are wanted.
const SIZES_AT_ONCE: i64 = 256;

/// Which part of a log is wanted.
#[derive(Clone, Debug)]
pub struct Part {
    /// The run's key.
    key: Vec<u8>,
    /// 0 = all.
    attempt: u32,
    /// Empty = all.
    stream: String,
    /// The row that was read last.
    after: i64,
    /// Bytes of the next row that are not wanted.
    skip: usize,
}

impl Part {
    /// From the beginning.
    pub fn new(run: RunId, attempt: u32, stream: String) -> Self {
        Self { key: run.uuid().as_bytes().to_vec(), attempt, stream, after: 0, skip: 0 }
    }

    /// Moves to the last so many bytes.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn seek_tail(&mut self, pool: &Reader, bytes: u64) -> Result<(), Error> {
        let get = "SELECT id, length(data) FROM log_chunks WHERE run = $1 AND id < $2
            AND ($3 = 0 OR attempt = $3) AND ($4 = '' OR stream = $4) ORDER BY id DESC LIMIT $5";
        let (mut before, mut found) = (i64::MAX, 0u64);
        loop {
            let query = sql(get).bind(&self.key).bind(before).bind(self.attempt).bind(&self.stream);
            let rows: Vec<(i64, i64)> = query.bind(SIZES_AT_ONCE).fetch_all(pool).await?;
            for &(id, length) in &rows {
                before = id;
                found += u64::try_from(length).unwrap_or_default();
                if found >= bytes {
                    self.after = id - 1;
                    self.skip = usize::try_from(found - bytes).unwrap_or_default();
                    return Ok(());
                }
            }
            if (rows.len() as i64) < SIZES_AT_ONCE {
                return Ok(());
            }
        }
    }

    /// Moves beyond so many bytes, or to the end where there are fewer. Rows are only ever added at the end, so the
    /// same number leads to the same byte for ever.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn seek(&mut self, pool: &Reader, bytes: u64) -> Result<(), Error> {
        let get = "SELECT id, length(data) FROM log_chunks WHERE run = $1 AND id > $2
            AND ($3 = 0 OR attempt = $3) AND ($4 = '' OR stream = $4) ORDER BY id LIMIT $5";
        let mut left = bytes;
        while left > 0 {
            let query = sql(get).bind(&self.key).bind(self.after).bind(self.attempt).bind(&self.stream);
            let rows: Vec<(i64, i64)> = query.bind(SIZES_AT_ONCE).fetch_all(pool).await?;
            for &(id, length) in &rows {
                let length = u64::try_from(length).unwrap_or_default();
                if length > left {
                    self.skip = usize::try_from(left).unwrap_or_default();
                    return Ok(());
                }
                left -= length;
                self.after = id;
            }
            if (rows.len() as i64) < SIZES_AT_ONCE {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next chunks; none when there are no more for now.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn next(&mut self, pool: &Reader) -> Result<Vec<LogChunk>, Error> {
        let get = "SELECT id, attempt, stream, start, data FROM log_chunks WHERE run = $1 AND id > $2
            AND ($3 = 0 OR attempt = $3) AND ($4 = '' OR stream = $4) ORDER BY id LIMIT $5";
        let query = sql(get).bind(&self.key).bind(self.after).bind(self.attempt).bind(&self.stream);
        let rows: Vec<Row> = query.bind(CHUNKS_AT_ONCE).fetch_all(pool).await?;
        let mut chunks = Vec::with_capacity(rows.len());
        for row in &rows {
            self.after = row.get(0)?;
            let mut data: Vec<u8> = row.get(4)?;
            let skipped = std::mem::take(&mut self.skip).min(data.len());
            data.drain(..skipped);
            chunks.push(LogChunk {
                attempt: row.get(1)?,
                stream: row.get(2)?,
                offset: u64::try_from(row.get::<i64>(3)?).unwrap_or_default() + skipped as u64,
                data,
            });
        }
        Ok(chunks)
    }
}
