//! Bodies of requests, read beside the threads that answer requests when they are long.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use vocabulary::Problem;

/// Bodies up to here are read where they are: that takes less than a millisecond, and a change of threads costs too.
pub const SHORT_BYTES_MAX: usize = 64 << 10;
/// Long bodies that are read at once. Each may hold some ten times its bytes until it is read.
const AT_ONCE_MAX: usize = 4;
/// Long bodies that wait for their turn; more are refused, for each holds its bytes.
const WAITING_MAX: usize = 32;

static PLACES: Places = Places { turns: Semaphore::const_new(AT_ONCE_MAX), waiting: AtomicUsize::new(0) };

struct Places {
    turns: Semaphore,
    waiting: AtomicUsize,
}

/// One that waits for its turn, counted for as long as it does.
struct Waiting<'p>(&'p AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Places {
    fn wait(&self) -> Result<Waiting<'_>, Problem> {
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::AcqRel) < WAITING_MAX {
            return Ok(waiting);
        }
        let detail = format!("{WAITING_MAX} long bodies wait to be read already; send this one again a little later");
        Err(Problem::overloaded(detail, 1))
    }
}

/// Reads a body of so many bytes: here when it is short, else on another thread, in its turn.
///
/// # Errors
/// 429 when too many long bodies wait, 500 when `read` panics.
pub async fn body<T: Send + 'static>(bytes: usize, read: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    if bytes <= SHORT_BYTES_MAX {
        return Ok(read());
    }
    let waiting = PLACES.wait()?;
    let broken = || Problem::internal("the body could not be read; the log says why");
    // The semaphore is never closed.
    let turn = PLACES.turns.acquire().await.map_err(|_| broken())?;
    drop(waiting);
    let read = tokio::task::spawn_blocking(move || {
        // Kept until the body is read, although the caller may have gone.
        let _turn = turn;
        read()
    });
    read.await.map_err(|error| {
        tracing::error!("the reading of a body broke: {error}");
        broken()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Condvar, Mutex};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn long_bodies_leave_the_thread_and_beyond_the_places_they_are_refused() {
        let here = std::thread::current().id();
        let thread = |bytes| body(bytes, || std::thread::current().id());
        assert_eq!(thread(SHORT_BYTES_MAX).await.unwrap(), here);
        assert_ne!(thread(SHORT_BYTES_MAX + 1).await.unwrap(), here);

        // All turns and all places to wait are taken by readers that stand still.
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let stand = |_| {
            let gate = Arc::clone(&gate);
            tokio::spawn(body(SHORT_BYTES_MAX + 1, move || {
                let (open, opened) = &*gate;
                drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
            }))
        };
        let standing: Vec<_> = (0..AT_ONCE_MAX + WAITING_MAX).map(stand).collect();
        while PLACES.waiting.load(Ordering::SeqCst) < WAITING_MAX {
            tokio::task::yield_now().await;
        }
        let refused = thread(SHORT_BYTES_MAX + 1).await.unwrap_err();
        assert_eq!((refused.status, refused.retry_after_seconds), (429, Some(1)));
        assert_eq!(thread(SHORT_BYTES_MAX).await.unwrap(), here, "short bodies need no place");
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        for body in standing {
            body.await.unwrap().unwrap();
        }
        assert_eq!(PLACES.waiting.load(Ordering::SeqCst), 0);
        assert_ne!(thread(SHORT_BYTES_MAX + 1).await.unwrap(), here, "and there is room again");
    }
}
