//! Long calculations, beside and below the threads that answer requests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, oneshot};

/// How far below other threads of this machine a calculation runs (1 to 19, as of nice(1)): a third of their share, so
/// that requests are answered although every core calculates, and a model still gets somewhere beside busy trials.
const NICE: i32 = 5;

/// Calculations at once; more wait for their turn. Enough that a short one seldom waits behind long ones, and few
/// enough that a flood of requests is no flood of threads.
const AT_ONCE_MAX: usize = 64;
static TURNS: Semaphore = Semaphore::const_new(AT_ONCE_MAX);

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

/// Runs a calculation of a millisecond or more on a thread of its own, at most 64 at once, and gives its result. One
/// that nobody waits for any more still runs to its end. A calculation must not wait for another one.
///
/// # Errors
/// When the calculation panics or there is no thread for it.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Broken> {
    // The semaphore is never closed.
    let turn = TURNS.acquire().await.map_err(|_| Broken::Panicked)?;
    let (reply, result) = oneshot::channel();
    let calculate = move || {
        let _turn = turn;
        // On Linux that is this thread alone. A machine that refuses it calculates all the same.
        let _ = rustix::process::setpriority_process(None, NICE);
        if let Ok(result) = catch_unwind(AssertUnwindSafe(work)) {
            drop(reply.send(result));
        }
    };
    std::thread::Builder::new().name("calculation".to_owned()).spawn(calculate)?;
    result.await.map_err(|_| Broken::Panicked)
}

/// Whether somebody still waits for a calculation.
#[derive(Clone, Debug)]
pub struct Awaited(Arc<AtomicBool>);

impl Awaited {
    /// False once the call that began the calculation was dropped.
    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Says that nobody waits any more.
struct Leaves(Awaited);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

/// The same for a calculation of many steps, which ends before the next one when nobody waits for it any more.
///
/// # Errors
/// As [`run`].
pub async fn run_while_awaited<T: Send + 'static>(
    work: impl FnOnce(&Awaited) -> T + Send + 'static,
) -> Result<T, Broken> {
    let awaited = Awaited(Arc::new(AtomicBool::new(true)));
    let _leaves = Leaves(awaited.clone());
    run(move || work(&awaited)).await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test]
    async fn a_calculation_gives_its_result_from_below_others() {
        let own = rustix::process::getpriority_process(None).unwrap();
        let nice = run(|| rustix::process::getpriority_process(None).unwrap()).await.unwrap();
        assert_eq!(nice, NICE.max(own));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), own, "only its own thread");
    }

    #[tokio::test]
    async fn more_than_may_run_at_once_all_end() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let calculations = (0..4 * AT_ONCE_MAX).map(|number| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            tokio::spawn(run(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                number
            }))
        });
        for (number, calculation) in calculations.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(calculation.await.unwrap().unwrap(), number);
        }
        assert!(most.load(Ordering::SeqCst) <= AT_ONCE_MAX);
    }

    #[tokio::test]
    async fn a_calculation_knows_when_nobody_waits_for_it() {
        // Clients that hang up would leave the machine calculating for nobody.
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (ended, ends) = tokio::sync::oneshot::channel();
        let calculation = run_while_awaited(move |awaited| {
            begun.send(awaited.holds()).unwrap();
            while awaited.holds() {
                std::thread::yield_now();
            }
            ended.send(()).unwrap();
        });
        let calculation = tokio::spawn(calculation);
        assert!(begins.await.unwrap());
        calculation.abort();
        ends.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_told() {
        let broken = run(|| panic!("as it should")).await.unwrap_err();
        assert!(matches!(broken, Broken::Panicked), "{broken}");
    }
}
