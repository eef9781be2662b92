//! Which objects are the code of jobs: they stay, whoever else has named them.

use eventlog::{Error, Transaction, ViewTable, sql};

use super::creations::{Creations, code_of};
use crate::run::RunCreated;

/// The table.
pub struct CodeObjects;

impl Creations for CodeObjects {
    const NAME: &'static str = "code_objects";
    const TABLES: &'static [ViewTable] = &[ViewTable::Own("code_objects")];

    async fn take(tx: &mut Transaction, created: &RunCreated) -> Result<(), Error> {
        let Some(hash) = code_of(created) else { return Ok(()) };
        let put = "INSERT INTO code_objects(sha256) VALUES ($1) ON CONFLICT DO NOTHING";
        sql(put).bind(hash.as_str()).execute(tx).await?;
        Ok(())
    }
}
