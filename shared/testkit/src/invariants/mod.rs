//! What must hold of an installation after whatever was done to it, looked for in its databases and topics themselves:
//! the invariants of the system (I1 to I13) and the laws of each log (L1 to L13). Nothing here does I/O: who has read
//! the databases calls [`broken`].
//!
//! | | invariant | | law of a log |
//! | --- | --- | --- | --- |
//! | I1 | acknowledged is durable | L1 | acknowledged is stored |
//! | I2 | positions and versions are dense | L2, L3 | positions are dense; versions are, in each stream |
//! | I3 | one winner per (stream, expected version) | L4 | the events of an append are contiguous |
//! | I4 | one result per command id | L5, L6 | one winner; one result |
//! | I5 | a view is the fold of its prefix | L7 | a feed is the table's prefix, each stream in order |
//! | I6 | a trial has at most one live attempt | L8 | a projection is the fold at its cursor |
//! | I7 | no proposal beyond total or concurrency | L9 | a cursor is never beyond its source, nor goes back |
//! | I8 | the leader is never stopped by a policy | L10 | one live resource per intent at most |
//! | I9 | suggestions are recomputed to the bit | L11 | who reads at least a position sees it |
//! | I10 | NaN is never proposed or compared | L12 | an acknowledged batch is there exactly once |
//! | I11 | each intent ends | L13 | recorded times never decrease |
//! | I12 | traffic sums to 100 | | |
//! | I13 | no secret is in a log, an event or an answer | | |

mod log;
mod observed;
mod sweep;
mod system;
#[cfg(test)]
mod tests;

pub use observed::{Acknowledged, Carried, CommandRow, CursorRow, Installation, Log, ReadBack, Sample, ShownSweep};

/// What a check finds: the first thing that is wrong.
type Checked = Result<(), String>;
type Check = fn(&Installation) -> Checked;

/// Every check, with the numbers of what it looks for.
pub const CHECKS: &[(&str, Check)] = &[
    ("I1 L1", log::acknowledged_is_stored),
    ("I2 L2", log::positions_are_dense),
    ("I2 L3", log::versions_are_dense),
    ("L4", log::appends_are_contiguous),
    ("I3 L5", log::each_version_has_one_winner),
    ("I4 L6", log::each_command_has_one_result),
    ("L7", log::topics_are_the_prefix_of_their_tables),
    ("I5 L8", sweep::views_are_the_folds_of_their_events),
    ("L9", log::cursors_stay_within_their_sources),
    ("I11 L10", system::intents_end_and_have_one_resource),
    ("L11", system::reads_see_what_they_ask_for),
    ("L12", system::batches_are_there_once),
    ("L13", log::times_never_decrease),
    ("I6", system::attempts_live_one_at_a_time),
    ("I7", sweep::proposals_keep_the_limits),
    ("I8", sweep::leaders_are_not_stopped),
    ("I9", system::suggestions_are_recomputed),
    ("I10", sweep::nan_is_not_proposed),
    ("I12", system::traffic_sums_to_100),
    ("I13", system::secrets_are_nowhere),
];

/// What does not hold, in words that begin with its numbers.
pub fn broken(installation: &Installation) -> Vec<String> {
    let found = |(numbers, check): &(&str, Check)| check(installation).err().map(|why| format!("{numbers}: {why}"));
    CHECKS.iter().filter_map(found).collect()
}
