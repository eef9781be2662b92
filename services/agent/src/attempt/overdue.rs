//! Orders that the shim does not carry out in time: any script can stop its parent, and the disk may take no order.

use std::convert::Infallible;
use std::time::Duration;

use runtime::process::Identity;

use super::state::Attempt;
use crate::folder;

/// How long a shim may take beyond the time that an order leaves the command; it needs some milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often an order that the disk has refused is written again, and a shim killed that does not go.
const AGAIN: Duration = Duration::from_secs(1);

/// Writes orders down as soon as the disk takes them, and kills the shim when it has not ended in time. What is left
/// below it goes when it is seen gone.
pub(super) async fn enforce(attempt: &Attempt) -> Infallible {
    let mut orders = attempt.orders();
    let mut is_killed = false;
    loop {
        orders.borrow_and_update();
        let are_written = attempt.write_orders();
        let left = attempt.time_left(PATIENCE);
        let is_due = left.is_some_and(|left| left.is_zero());
        if is_due {
            if !std::mem::replace(&mut is_killed, true) {
                folder::notice(&attempt.folder, "it had not ended in time and was killed with all its processes");
            }
            if let Ok(Some(shim)) = folder::read_json::<Identity>(&attempt.folder.join(folder::SHIM_PID)) {
                shim.kill();
            }
        }
        let again = (is_due || !are_written).then_some(AGAIN);
        let wait = left.filter(|_| !is_due).into_iter().chain(again).min();
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { std::future::pending().await },
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
}
