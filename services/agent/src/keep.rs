//! Work that must be done whatever comes between: what fails or breaks is begun again.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use runtime::Backoff;

use crate::attempt::Attempt;
use crate::folder;

/// Waits before it is begun again. A failure may come from a disk that is full, and the machine has others to serve.
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);

/// Begins a piece of an attempt's work until it has returned well. The attempt's notices tell of the first failure.
pub async fn until_done<A>(what: &str, attempt: &Attempt, mut begin: impl FnMut() -> A)
where
    A: Future<Output = anyhow::Result<()>>,
{
    let mut backoff = Backoff::new(BACK_OFF_MIN, BACK_OFF_MAX);
    loop {
        // What it leaves half done when it breaks lies on the disk, as after the death of an agent.
        let reason = match AssertUnwindSafe(begin()).catch_unwind().await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("{error:#}"),
            Err(panic) => format!("broke: {}", message(panic.as_ref())),
        };
        if backoff.failures() == 0 {
            folder::notice(&attempt.folder, &format!("{what}: tried again: {reason}"));
        }
        let (job_id, number) = (&attempt.order.job_id, attempt.order.attempt);
        let wait = backoff.next_wait();
        let failures = backoff.failures();
        tracing::error!(job.id = job_id, attempt = number, failures, "{what}: tried again: {reason}");
        tokio::time::sleep(wait).await;
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use contracts::compute::StartAttempt;

    use super::*;

    #[tokio::test]
    async fn what_breaks_or_fails_is_begun_again_until_it_is_done() {
        // A sender that is gone looks like one that has sent everything, and a run would end without its metrics.
        let folder = tempfile::tempdir().unwrap();
        let attempt = Attempt::new(StartAttempt::default(), folder.path().to_owned());
        let mut begun = 0;
        until_done("metrics", &attempt, || {
            begun += 1;
            async move {
                match begun {
                    1 => panic!("as it should"),
                    2 => anyhow::bail!("as it should"),
                    _ => Ok(()),
                }
            }
        })
        .await;
        assert_eq!(begun, 3);
        let notices = std::fs::read_to_string(folder.path().join(folder::NOTICES)).unwrap();
        assert_eq!(notices, "trialog: metrics: tried again: broke: as it should\n");
    }
}
