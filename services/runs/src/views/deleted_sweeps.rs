//! Sweeps that were deleted with their runs: one that comes late goes, too. Rows are written where that is wished.

use eventlog::{Error, Reader, Transaction, sql};

/// The runs of the sweep are to go.
///
/// # Errors
/// When the row cannot be written.
pub async fn put(tx: &mut Transaction, workspace: &str, sweep_id: &str) -> Result<(), Error> {
    let put = "INSERT INTO deleted_sweeps(workspace, sweep_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    sql(put).bind(workspace).bind(sweep_id).execute(tx).await?;
    Ok(())
}

/// Whether the runs of the sweep are to go.
///
/// # Errors
/// When the rows cannot be read.
pub async fn has(reader: &Reader, workspace: &str, sweep_id: &str) -> Result<bool, Error> {
    let count = "SELECT count(*) FROM deleted_sweeps WHERE workspace = $1 AND sweep_id = $2";
    let count: i64 = sql(count).bind(workspace).bind(sweep_id).fetch_one(reader).await?;
    Ok(count > 0)
}
