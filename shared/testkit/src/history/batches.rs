//! A set that only grows: batches of metric points. Its notion is weaker than an order of everything, and quicker to
//! check: each acknowledged batch is there once from then on, one that was never sent is never there, and of each
//! writer there is never a later batch without the earlier ones.

use std::collections::{BTreeMap, BTreeSet};

use super::linearizable::{Checked, Fault};
use super::record::Operation;

/// Who wrote a batch, and its place among that writer's, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Batch {
    /// The writer.
    pub writer: usize,
    /// The sequence.
    pub sequence: u64,
}

/// What is asked of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchCall {
    /// Take this batch.
    Write(Batch),
    /// What is there? The answer has a batch as often as it was found.
    Read,
}

type Recorded = Operation<BatchCall, Vec<Batch>>;

/// Checks the batches of each key.
///
/// # Errors
/// When a batch is missing, there twice, or there without having been sent.
pub fn check_batches(history: &[Recorded]) -> Result<Checked, Fault> {
    let mut keys: BTreeMap<&str, Vec<&Recorded>> = BTreeMap::new();
    for operation in history {
        keys.entry(&operation.key).or_default().push(operation);
    }
    let mut checked = Checked { keys: keys.len(), ..Checked::default() };
    for (key, operations) in keys {
        checked.operations += operations.iter().filter(|operation| !operation.has_failed()).count();
        checked.unknown += operations.iter().filter(|operation| operation.completed.is_none()).count();
        check_key(&operations).map_err(|why| Fault::Wrong { key: key.to_owned(), why })?;
    }
    Ok(checked)
}

fn check_key(operations: &[&Recorded]) -> Result<(), String> {
    let writes: BTreeMap<Batch, &Recorded> = operations.iter().filter_map(|one| Some((written(one)?, *one))).collect();
    let reads = operations.iter().filter(|one| one.call == BatchCall::Read);
    let mut reads: Vec<(&Recorded, u64, &Vec<Batch>)> =
        reads.filter_map(|one| one.answer().map(|(at, found)| (*one, at, found))).collect();
    reads.sort_by_key(|(_, at, _)| *at);
    for (place, (read, at, found)) in reads.iter().enumerate() {
        let here = format!("the read [{}..{at}] of client {}", read.invoked, read.client);
        let set: BTreeSet<Batch> = found.iter().copied().collect();
        if let Some(twice) = set.iter().find(|batch| found.iter().filter(|one| one == batch).count() > 1) {
            return Err(format!("{here} has {twice:?} more than once"));
        }
        for batch in &set {
            match writes.get(batch) {
                None => return Err(format!("{here} has {batch:?}, which nobody has sent")),
                Some(write) if write.has_failed() => {
                    return Err(format!("{here} has {batch:?}, which was refused"));
                }
                Some(write) if write.invoked > *at => {
                    return Err(format!("{here} has {batch:?}, which was sent only afterwards"));
                }
                Some(_) => {}
            }
            let before = Batch { sequence: batch.sequence - 1, ..*batch };
            if batch.sequence > 1 && !set.contains(&before) {
                return Err(format!("{here} has {batch:?} without the one before it"));
            }
        }
        let acknowledged = writes.iter().filter(|(_, write)| write.answer().is_some() && write.precedes(read));
        if let Some((lost, _)) = acknowledged.into_iter().find(|(batch, _)| !set.contains(batch)) {
            return Err(format!("{here} has not {lost:?}, which was acknowledged before it"));
        }
        let earlier = reads[..place].iter().filter(|(earlier, ..)| earlier.precedes(read));
        let seen = earlier.flat_map(|(.., found)| found.iter());
        if let Some(gone) = seen.into_iter().find(|batch| !set.contains(batch)) {
            return Err(format!("{here} has not {gone:?}, which an earlier read had"));
        }
    }
    Ok(())
}

fn written(operation: &Recorded) -> Option<Batch> {
    match operation.call {
        BatchCall::Write(batch) => Some(batch),
        BatchCall::Read => None,
    }
}
