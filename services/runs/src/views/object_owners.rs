//! Which workspaces have an object. One is had by who has put it, and then it stays; by who has it as an artifact of a
//! run, and as the code of a run's job. The first two are written where they are done; what this view adds is the code
//! of jobs, so that what older histories refer to is had too.

use eventlog::{Error, Reader, Transaction, ViewTable, sql};

use super::creations::{Creations, code_of};
use crate::objects::Hash;
use crate::run::RunCreated;

/// The table.
pub struct ObjectOwners;

impl Creations for ObjectOwners {
    const NAME: &'static str = "object_owners";
    const TABLES: &'static [ViewTable] = &[ViewTable::Shared("object_owners")];

    async fn take(tx: &mut Transaction, created: &RunCreated) -> Result<(), Error> {
        match code_of(created) {
            Some(hash) => give(tx, &created.subject.workspace, &hash).await,
            None => Ok(()),
        }
    }
}

/// From now on the workspace has the object.
///
/// # Errors
/// When the row cannot be written.
pub async fn give(tx: &mut Transaction, workspace: &str, hash: &Hash) -> Result<(), Error> {
    sql("INSERT INTO object_owners(workspace, sha256) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(workspace)
        .bind(hash.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

/// The workspace has put the object by itself: it stays, whatever becomes of the runs that name it.
///
/// # Errors
/// When the row cannot be written.
pub async fn put(tx: &mut Transaction, workspace: &str, hash: &Hash) -> Result<(), Error> {
    let put = "INSERT INTO object_owners(workspace, sha256, put) VALUES ($1, $2, 1)
        ON CONFLICT(workspace, sha256) DO UPDATE SET put = 1";
    sql(put).bind(workspace).bind(hash.as_str()).execute(tx).await?;
    Ok(())
}

/// Whether the workspace has put the object by itself.
///
/// # Errors
/// When the rows cannot be read.
pub async fn has_put(reader: &Reader, workspace: &str, hash: &Hash) -> Result<bool, Error> {
    let count = "SELECT count(*) FROM object_owners WHERE workspace = $1 AND sha256 = $2 AND put = 1";
    let count: i64 = sql(count).bind(workspace).bind(hash.as_str()).fetch_one(reader).await?;
    Ok(count > 0)
}

/// Whether the workspace has the object.
///
/// # Errors
/// When the rows cannot be read.
pub async fn has(reader: &Reader, workspace: &str, hash: &Hash) -> Result<bool, Error> {
    let count: i64 = sql("SELECT count(*) FROM object_owners WHERE workspace = $1 AND sha256 = $2")
        .bind(workspace)
        .bind(hash.as_str())
        .fetch_one(reader)
        .await?;
    Ok(count > 0)
}
