//! The runs that were deleted and whose checkpoints are still to be removed: a list that is worked off.

use eventlog::{Error, Reader, Transaction, sql};

/// Puts a run on the list.
pub(crate) async fn put(tx: &mut Transaction, run_id: &str) -> Result<(), Error> {
    let put = "INSERT INTO released_checkpoints(run_id) VALUES ($1) ON CONFLICT DO NOTHING";
    sql(put).bind(run_id).execute(tx).await?;
    Ok(())
}

/// Takes a run off the list.
pub(crate) async fn forget(tx: &mut Transaction, run_id: &str) -> Result<(), Error> {
    sql("DELETE FROM released_checkpoints WHERE run_id = $1").bind(run_id).execute(tx).await?;
    Ok(())
}

/// The next runs after one.
pub(crate) async fn after(reader: &Reader, run_id: &str, limit: i64) -> Result<Vec<String>, Error> {
    let get = "SELECT run_id FROM released_checkpoints WHERE run_id > $1 ORDER BY run_id LIMIT $2";
    sql(get).bind(run_id).bind(limit).fetch_all(reader).await
}
