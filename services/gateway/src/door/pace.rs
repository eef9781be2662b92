//! How slowly a body may come: who sends it holds a place here until its end.

use std::pin::Pin;
use std::time::Duration;

use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Sleep, sleep, timeout};
use vocabulary::Problem;

/// Longest silence within a body: as long as proxies and bad networks may make one.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A body of any size may take so long.
const START: Duration = Duration::from_secs(30);
/// Bytes a second that it must bring on average after that: a slow modem's.
const BYTES_PER_SECOND_MIN: u32 = 4 << 10;

/// The pace of one body.
pub struct Pace {
    pause_max: Duration,
    /// The end of patience; what arrives moves it.
    late: Pin<Box<Sleep>>,
}

impl Default for Pace {
    fn default() -> Self {
        Self::of(PAUSE_MAX, START)
    }
}

impl Pace {
    /// Of other limits than the usual ones.
    pub(super) fn of(pause_max: Duration, start: Duration) -> Self {
        Self { pause_max, late: Box::pin(sleep(start)) }
    }

    /// The next part of the body; `None` at its end.
    ///
    /// # Errors
    /// 408 when it comes too slowly, 400 when the body breaks off.
    pub async fn next(
        &mut self,
        body: &mut (impl Stream<Item = Result<Bytes, PayloadError>> + Unpin),
    ) -> Result<Option<Bytes>, Problem> {
        let part = tokio::select! {
            biased;
            part = timeout(self.pause_max, body.next()) => part.ok(),
            () = &mut self.late => None,
        };
        let Some(part) = part else { return Err(too_slow()) };
        let part = part.transpose();
        let part = part.map_err(|error| Problem::new(400, "BrokenBody", format!("the body ended early: {error}")))?;
        if let Some(part) = &part {
            let worth = Duration::from_secs(part.len() as u64) / BYTES_PER_SECOND_MIN;
            let late = self.late.deadline() + worth;
            self.late.as_mut().reset(late);
        }
        Ok(part)
    }
}

fn too_slow() -> Problem {
    let (pause, start) = (PAUSE_MAX.as_secs(), START.as_secs());
    let detail = format!(
        "the body came too slowly: pause for at most {pause} s, and after {start} s send {BYTES_PER_SECOND_MIN} bytes \
         a second or more"
    );
    Problem::new(408, "SlowBody", detail)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    const SHORT: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(600);

    async fn read(mut pace: Pace, mut body: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin) -> (usize, u16) {
        let mut bytes = 0;
        loop {
            match pace.next(&mut body).await {
                Ok(Some(part)) => bytes += part.len(),
                Ok(None) => return (bytes, 200),
                Err(problem) => return (bytes, problem.status),
            }
        }
    }

    fn parts(count: usize, bytes: usize) -> impl Stream<Item = Result<Bytes, PayloadError>> {
        stream::repeat_with(move || Ok(Bytes::from(vec![b'x'; bytes]))).take(count)
    }

    #[tokio::test]
    async fn a_body_that_stands_still_is_cut() {
        let stands = Box::pin(parts(1, 10).chain(stream::pending()));
        assert_eq!(read(Pace::of(SHORT, LONG), stands).await, (10, 408));
        assert_eq!(read(Pace::of(SHORT, LONG), Box::pin(parts(3, 10))).await, (30, 200));
    }

    #[tokio::test]
    async fn a_body_that_drips_is_cut_and_one_that_flows_is_not() {
        // A byte each 5 ms never pauses for long; it is worth a quarter of a millisecond.
        let drips = |bytes| {
            Box::pin(parts(60, bytes).then(|part| async {
                sleep(SHORT / 6).await;
                part
            }))
        };
        let (bytes, status) = read(Pace::of(LONG, SHORT), drips(1)).await;
        assert!(status == 408 && bytes < 60, "{bytes} {status}");
        assert_eq!(read(Pace::of(LONG, SHORT), drips(4 << 10)).await, (60 * (4 << 10), 200));
    }
}
