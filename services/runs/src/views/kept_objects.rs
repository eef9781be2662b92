//! Objects that versions of models have: they stay, whatever becomes of the runs that made them. Rows are written
//! before a version is registered, so that no deletion comes between.

use eventlog::{Error, Transaction, sql};

use crate::objects::Hash;

/// From now on the object stays.
///
/// # Errors
/// When the row cannot be written.
pub async fn keep(tx: &mut Transaction, hash: &Hash) -> Result<(), Error> {
    let put = "INSERT INTO kept_objects(sha256) VALUES ($1) ON CONFLICT DO NOTHING";
    sql(put).bind(hash.as_str()).execute(tx).await?;
    Ok(())
}
