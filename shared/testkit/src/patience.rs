//! Waiting for what other processes do: they send no event, so there is only to look again.

use std::fmt::Display;
use std::time::Duration;

use runtime::Stopwatch;

/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// What `look` finds, as soon as it does; until then it says what it saw instead.
///
/// # Panics
/// When nothing is found in time, with what was seen last.
#[track_caller]
pub fn await_that<T, E: Display>(patience: Duration, mut look: impl FnMut() -> Result<T, E>) -> T {
    let watch = Stopwatch::start();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if watch.elapsed() >= patience => panic!("not within {} s: {seen}", patience.as_secs_f64()),
            Err(_) => std::thread::sleep(LOOK_PAUSE),
        }
    }
}

/// The same for a task, which lets others go on between the looks.
///
/// # Panics
/// See [`await_that`].
pub async fn await_that_async<T, E: Display>(patience: Duration, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let watch = Stopwatch::start();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if watch.elapsed() >= patience => panic!("not within {} s: {seen}", patience.as_secs_f64()),
            Err(_) => tokio::time::sleep(LOOK_PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_answered_and_what_is_not_is_said() {
        let mut looks = 0;
        let found = await_that(Duration::from_secs(60), || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err("too early") }
        });
        assert_eq!(found, 3);
        let panic = std::panic::catch_unwind(|| await_that::<(), _>(Duration::ZERO, || Err("nobody there")));
        let said = panic.unwrap_err().downcast_ref::<String>().cloned().unwrap_or_default();
        assert_eq!(said, "not within 0 s: nobody there");
    }
}
