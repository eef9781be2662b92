//! The local provider with a script in the agent's place.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runtime::process::Identity;
use runtime::{MachineClock, MachineEntropy};
use tokio::sync::broadcast;
use vocabulary::{Clock, Entropy, NodeId};

use super::local::LocalProvider;
use super::process::of_node;
use super::{AgentIs, FailureCause, NodeEvent, NodeOrder, OrderedNode, Provider};
use crate::cluster::{self, LocalSettings, Preemption, VmPriority};
use crate::sizes;
use crate::stream::ClusterName;
use crate::wiring::NodeWiring;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Says who it is, leaves a child of its own, and waits.
pub(super) const AGENT: &str = r#"#!/bin/sh
start=$(cut -d' ' -f22 /proc/$$/stat)
printf '%s' "$TRIALOG_NODE_TOKEN" > "$5/token"
echo "$*" > "$5/words"
echo $$ >> "$5/starts"
(sleep 1000 &)
echo "$$ $start" > "$5/agent.tmp"
mv "$5/agent.tmp" "$5/agent.pid"
exec sleep 1000
"#;
/// An agent with something to hand over, which it has done once it reads a word. It waits without a child: those
/// of a node are ended when it is halted.
const AGENT_WITH_DATA: &str = r#"#!/bin/sh
start=$(cut -d' ' -f22 /proc/$$/stat)
(sleep 1000 &)
mkfifo "$5/go"
echo "$$ $start" > "$5/agent.tmp"
mv "$5/agent.tmp" "$5/agent.pid"
read -r word < "$5/go"
for attempt in "$5"/jobs/*/*; do : > "$attempt/acknowledged"; done
"#;

pub(super) fn provider(data: &Path, script: &str) -> LocalProvider {
    let executable = data.join("agent.sh");
    if !executable.exists() {
        std::fs::write(&executable, script).unwrap();
        std::fs::set_permissions(&executable, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let wiring = NodeWiring {
        executable,
        compute_address: "unix:/nowhere".into(),
        runs_address: String::new(),
        runs_ca: String::new(),
        api_url: String::new(),
        ca_file: String::new(),
        agents_away: Duration::from_secs(600),
        signing_key: [0; 32],
    };
    LocalProvider::new(data, wiring, Arc::new(MachineClock))
}

/// The same order on every call of one test. Each test has its own: processes are found by the node's id, and tests run
/// beside each other.
fn order() -> NodeOrder {
    thread_local!(static NODE: NodeId = NodeId::new(MachineEntropy::default().uuid()));
    let node_id = NODE.with(|node_id| *node_id);
    NodeOrder {
        intent: node_id,
        cluster: ClusterName::new("w", "spot"),
        size: sizes::by_name("D2").unwrap(),
        tier: VmPriority::Dedicated,
        settings: cluster::Provider::Local(LocalSettings::default()),
        requested_us: 0,
        nodes: vec![OrderedNode { node_id, ordinal: 0, secret: "secret".into() }],
    }
}

pub(super) fn folder_of(data: &Path, node_id: NodeId) -> PathBuf {
    data.join("nodes").join(node_id.to_string())
}

pub(super) fn agent_of(data: &Path, node_id: NodeId) -> Option<Identity> {
    Identity::read(&folder_of(data, node_id).join("agent.pid"))
}

fn folder(data: &Path) -> PathBuf {
    folder_of(data, order().intent)
}

async fn next(events: &mut broadcast::Receiver<NodeEvent>) -> NodeEvent {
    tokio::time::timeout(PATIENCE, events.recv()).await.expect("an event in time").unwrap()
}

async fn agent(data: &Path, but: Option<Identity>) -> Identity {
    let look = async || match Identity::read(&folder(data).join("agent.pid")) {
        Some(agent) if Some(agent) != but && agent.lives() => Ok(agent),
        other => Err(format!("an agent should run, not {other:?}")),
    };
    testkit::await_that_async(PATIENCE, look).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_kept_up_taken_over_and_cleared_away() {
    // An agent that dies is started again; a server that dies finds the agent that it had; nothing stays of a node
    // that goes.
    let data = tempfile::tempdir().unwrap();
    let first = provider(data.path(), AGENT);
    first.provision(order());
    first.provision(order());
    let agent_one = agent(data.path(), None).await;
    let words = std::fs::read_to_string(folder(data.path()).join("words")).unwrap();
    assert!(words.starts_with("agent --node node_") && !words.contains("secret"), "{words}");
    assert_eq!(std::fs::read_to_string(folder(data.path()).join("token")).unwrap(), "secret");
    agent_one.kill();
    let agent_two = agent(data.path(), Some(agent_one)).await;
    drop(first);
    let second = provider(data.path(), AGENT);
    let mut events = second.observe();
    second.provision(order());
    assert_eq!(next(&mut events).await, NodeEvent::Ready { node_id: order().intent });
    assert_eq!(agent(data.path(), None).await, agent_two, "not a second one");
    assert_eq!(std::fs::read_to_string(folder(data.path()).join("starts")).unwrap().lines().count(), 2);
    tokio::time::timeout(PATIENCE, second.release(order().intent, AgentIs::Mute)).await.unwrap().unwrap();
    tokio::time::timeout(PATIENCE, second.collect(order().intent, "secret".into())).await.unwrap();
    let (id, path) = (order().intent.to_string(), folder(data.path()));
    assert_eq!(of_node(&id, &path, &data.path().join("agent.sh")), [] as [i32; 0]);
    assert!(!agent_two.lives());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulated_life_begins_with_the_connection_and_its_end_is_told_until_it_is_heard() {
    // A node that comes up late, since the server was away or the machine is busy, must not be preempted before it has
    // done anything; and one whose notice could not be recorded must not live for ever.
    let data = tempfile::tempdir().unwrap();
    let provider = provider(data.path(), AGENT);
    let mut events = provider.observe();
    let preemption = Preemption::Exponential { mean_seconds: 1e-6, seed: 3 };
    let settings = cluster::Provider::Local(LocalSettings { preemption, ..LocalSettings::default() });
    let [silent, connected] = [(); 2].map(|()| {
        let node = OrderedNode { node_id: NodeId::new(MachineEntropy::default().uuid()), ..order().nodes[0].clone() };
        let (settings, tier) = (settings.clone(), VmPriority::LowPriority);
        NodeOrder { intent: node.node_id, nodes: vec![node], settings, tier, ..order() }
    });
    for node in [&silent, &connected] {
        provider.provision(node.clone());
        assert_eq!(next(&mut events).await, NodeEvent::Ready { node_id: node.intent });
    }
    provider.connected(connected.intent, MachineClock.now_us());
    for _ in 0..2 {
        let NodeEvent::Notice { node_id, deadline_us, .. } = next(&mut events).await else { panic!("a notice") };
        assert!(node_id == connected.intent && deadline_us > MachineClock.now_us());
    }
    for node in [&silent, &connected] {
        provider.release(node.intent, AgentIs::Mute).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_cannot_start_is_given_up_with_its_words() {
    let data = tempfile::tempdir().unwrap();
    let broken = provider(data.path(), "#!/bin/sh\necho no such option >&2\nexit 2\n");
    let mut events = broken.observe();
    broken.provision(order());
    let failed = async {
        loop {
            if let NodeEvent::Failed { node_id, cause, reason } = events.recv().await.unwrap() {
                return (node_id, cause, reason);
            }
        }
    };
    let (node_id, cause, reason) = tokio::time::timeout(PATIENCE, failed).await.unwrap();
    assert_eq!((node_id, cause), (order().intent, FailureCause::Broken));
    assert!(reason.contains("no such option"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_node_keeps_an_agent_until_runs_has_everything() {
    // What lies on the disk of a node that goes is acknowledged work, or will be.
    let data = tempfile::tempdir().unwrap();
    let first = provider(data.path(), AGENT_WITH_DATA);
    first.provision(order());
    let agent_one = agent(data.path(), None).await;
    let (id, path) = (order().intent.to_string(), folder(data.path()));
    let attempt = path.join("jobs/job_1/1");
    std::fs::create_dir_all(&attempt).unwrap();
    std::fs::write(attempt.join("job.json"), "{}").unwrap();
    tokio::time::timeout(PATIENCE, first.release(order().intent, AgentIs::Away)).await.unwrap().unwrap();
    let left = of_node(&id, &path, &data.path().join("agent.sh"));
    assert!(agent_one.lives() && left.len() <= 2, "what ran there is gone, the agent is not: {left:?}");
    // Both may die meanwhile.
    drop(first);
    agent_one.kill();
    let second = provider(data.path(), AGENT_WITH_DATA);
    assert_eq!(second.left(), [order().intent]);
    let collected = second.collect(order().intent, "secret".into());
    agent(data.path(), Some(agent_one)).await;
    assert!(attempt.exists(), "nothing is deleted before it is delivered");
    std::fs::write(path.join("go"), "word\n").unwrap();
    tokio::time::timeout(PATIENCE, collected).await.unwrap();
    assert!(!path.join("jobs").exists() && second.left().is_empty());
    assert_eq!(of_node(&id, &path, &data.path().join("agent.sh")), [] as [i32; 0]);
}
