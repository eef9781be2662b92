//! What a job refers to must be its workspace's own: a run's checkpoint and an object's content are told to nobody
//! else.

use contracts::compute::JobSpec;
use tonic::Status;
use vocabulary::Problem;

use super::{objects, run_in, status};
use crate::objects::Hash;
use crate::service::Core;

/// Looks up the code and the run whose checkpoint the job begins with, and writes their ids in their first spelling.
///
/// # Errors
/// 404 for what is not there, or not in this workspace.
pub(super) async fn resolve(core: &Core, workspace: &str, job: JobSpec) -> Result<JobSpec, Status> {
    let checkpoint_from = match job.checkpoint_from.as_str() {
        "" => String::new(),
        run => run_in(core, workspace, run).await?.to_string(),
    };
    let code_sha256 = match job.code_sha256.as_str() {
        "" => String::new(),
        text => {
            let absent = || status(Problem::not_found("object", text, workspace));
            let hash = Hash::parse(text).map_err(|_| absent())?;
            if !objects::is_there(core, workspace, &hash).await.map_err(status)? {
                return Err(absent());
            }
            hash.as_str().to_owned()
        }
    };
    Ok(JobSpec { checkpoint_from, code_sha256, ..job })
}
