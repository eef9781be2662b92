//! Points that were written before the end of an attempt that is over. They stand in the run's history, marked as
//! superseded; they are no part of its summaries, no event, and no decision is made on them.

use std::collections::BTreeMap;

use eventlog::{Transaction, sql};

use super::Stored;
use super::batch::Batch;
use super::codec;
use super::steps::with_steps;
use crate::run::report::SentKey;

/// Batches of an attempt that are looked through for the last step of a key; a key that was silent for longer than
/// these begins at 0 again.
const BATCHES_SEARCHED_MAX: i64 = 64;

/// Keeps a batch of an attempt that is over.
pub(super) async fn keep(tx: &mut Transaction, run: &[u8], attempt: u32, batch: &Batch) -> Stored<()> {
    let encoded = match &batch.ready {
        Some((encoded, _)) => encoded.clone(),
        None => {
            let last = last_steps(tx, run, attempt, &batch.keys).await?;
            let keys: Vec<_> = batch
                .keys
                .iter()
                .map(|key| {
                    let last = last.get(key.name.as_str()).map(|step| (attempt, *step));
                    SentKey { name: key.name.clone(), points: with_steps(&key.points, attempt, last) }
                })
                .collect();
            codec::encode(keys.iter().map(|key| (key.name.as_str(), key.points.as_slice())))
        }
    };
    let put = "INSERT INTO metric_batches(run, attempt, data, late) VALUES ($1, $2, $3, 1)";
    sql(put).bind(run).bind(attempt).bind(encoded).execute(tx).await?;
    Ok(())
}

/// The greatest step that the attempt has reported of each key that needs it.
async fn last_steps<'a>(
    tx: &mut Transaction,
    run: &[u8],
    attempt: u32,
    keys: &'a [SentKey],
) -> Stored<BTreeMap<&'a str, i64>> {
    let wanted: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    let get = "SELECT data FROM metric_batches WHERE run = $1 AND attempt = $2 ORDER BY id DESC LIMIT $3";
    let rows: Vec<Vec<u8>> = sql(get).bind(run).bind(attempt).bind(BATCHES_SEARCHED_MAX).fetch_all(tx).await?;
    let mut found = BTreeMap::new();
    for data in rows {
        let take = |name: &str, points: Vec<codec::StoredPoint>| {
            let Some(wanted) = wanted.iter().find(|wanted| **wanted == name) else { return };
            if let Some(step) = points.iter().map(|point| point.step).max() {
                let greatest = found.entry(*wanted).or_insert(step);
                *greatest = step.max(*greatest);
            }
        };
        // A damaged batch is told by whoever reads it; here it only has nothing to say.
        let _ = codec::decode(&data, |name| wanted.contains(&name), take);
    }
    Ok(found)
}
