//! The agent of one node: one process a node, which takes over what an earlier one has left and stays in touch with
//! compute.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use contracts::peer::{Credentials, Tls};
use contracts::{Peer, Peers};
use runtime::process::Identity;
use rustix::fs::FlockOperation;

use crate::node::{AgentOptions, Node};
use crate::{connection, folder, orders};

/// Runs the agent until compute tells it to leave, stays away for too long, or shutdown is requested.
///
/// # Errors
/// When another agent of this node runs, or the node's folder cannot be used.
pub async fn agent_main(mut options: AgentOptions) -> anyhow::Result<()> {
    std::fs::create_dir_all(&options.folder).with_context(|| options.folder.display().to_string())?;
    // Jobs run in folders of their own, where a relative path would lead elsewhere.
    options.folder = options.folder.canonicalize()?;
    options.environments = std::path::absolute(&options.environments)?;
    let _lock = lock(&options.folder)?;
    let own = Identity::own()?;
    folder::write_whole(&options.folder.join("agent.pid"), format!("{own}\n").as_bytes())?;
    let tls = options.compute_ca.take().map(|ca| Tls { ca, identity: None });
    let credentials = Credentials { token: None, tls };
    let compute = Peer::remote(&options.compute, &credentials).map_err(anyhow::Error::msg)?;
    let compute = Peers { compute, ..Peers::default() };
    let node = Arc::new(Node::new(options));
    node.shims.warm_up().await;
    orders::adopt(&node);
    connection::keep_connected(&node, &compute).await;
    node.shims.end().await;
    Ok(())
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("agent.lock");
    let file = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&path)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("{}: another agent of this node runs", path.display()))?;
    Ok(file)
}
