//! Long calculations, beside and below the threads that answer requests.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

/// How far below other threads of this machine a calculation runs (1 to 19, as of nice(1)): a third of their share, so
/// that requests are answered although every core calculates, and a model still gets somewhere beside busy trials.
const NICE: i32 = 5;

/// A calculation did not end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It panicked; the message is in the log.
    #[error("the calculation panicked")]
    Panicked,
    /// The machine gives this process no more threads.
    #[error("no thread for a calculation: {0}")]
    NoThread(#[from] std::io::Error),
}

/// Runs a calculation of a millisecond or more on a thread of its own and gives its result. The caller bounds how many
/// there are at once. One that nobody waits for any more still runs to its end.
///
/// # Errors
/// When the calculation panics or there is no thread for it.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Broken> {
    let (reply, result) = oneshot::channel();
    let calculate = move || {
        // On Linux that is this thread alone. A machine that refuses it calculates all the same.
        let _ = rustix::process::setpriority_process(None, NICE);
        if let Ok(result) = catch_unwind(AssertUnwindSafe(work)) {
            drop(reply.send(result));
        }
    };
    std::thread::Builder::new().name("calculation".to_owned()).spawn(calculate)?;
    result.await.map_err(|_| Broken::Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_calculation_gives_its_result_from_below_others() {
        let own = rustix::process::getpriority_process(None).unwrap();
        let nice = run(|| rustix::process::getpriority_process(None).unwrap()).await.unwrap();
        assert_eq!(nice, NICE.max(own));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), own, "only its own thread");
    }

    #[tokio::test]
    async fn a_panic_is_told() {
        let broken = run(|| panic!("as it should")).await.unwrap_err();
        assert!(matches!(broken, Broken::Panicked), "{broken}");
    }
}
