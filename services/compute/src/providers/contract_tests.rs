//! What every provider must do, run on the one of this machine and on a scripted one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use runtime::{MachineClock, MachineEntropy};
use tokio::sync::broadcast;
use vocabulary::{Clock, Entropy, NodeId};

use super::local_tests::{self, AGENT};
use super::scripted_tests::{Scripted, Site};
use super::{AgentIs, FailureCause, LocalProvider, NodeEvent, NodeOrder, OrderedNode, Provider};
use crate::cluster::{self, LocalSettings, Preemption, VmPriority};
use crate::sizes;
use crate::stream::ClusterName;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A provider and the world that it works in, which outlives it.
trait Stage {
    /// The provider, for the first time or after a restart.
    fn open(&self) -> Arc<dyn Provider>;
    /// Whether something of the node is there.
    fn is_up(&self, node_id: NodeId) -> bool;
    /// How often the node was made.
    fn made(&self, node_id: NodeId) -> usize;
    /// The node goes, and nobody has asked the provider.
    fn strike(&self, node_id: NodeId);
    /// Has the node, whose order was for a low-priority one, be given notice.
    fn reclaim(&self, node_id: NodeId);
    /// An order that cannot lead to nodes, at a provider that knows of none.
    fn impossible_order(&self) -> (Arc<dyn Provider>, NodeOrder);
}

fn order(count: usize, tier: VmPriority) -> NodeOrder {
    let entropy = MachineEntropy::default();
    let node = |ordinal: usize| OrderedNode {
        node_id: NodeId::new(entropy.uuid()),
        ordinal: ordinal as u64,
        secret: "secret".into(),
    };
    let nodes: Vec<OrderedNode> = (0..count).map(node).collect();
    NodeOrder {
        intent: nodes[0].node_id,
        cluster: ClusterName::new("w", "spot"),
        size: sizes::by_name("D2").unwrap(),
        tier,
        settings: cluster::Provider::Local(LocalSettings { boot_seconds: 0.0, ..LocalSettings::default() }),
        requested_us: MachineClock.now_us(),
        nodes,
    }
}

fn ids(order: &NodeOrder) -> BTreeSet<NodeId> {
    order.nodes.iter().map(|node| node.node_id).collect()
}

async fn next(events: &mut broadcast::Receiver<NodeEvent>) -> NodeEvent {
    tokio::time::timeout(PATIENCE, events.recv()).await.expect("an event in time").unwrap()
}

async fn until_ready(events: &mut broadcast::Receiver<NodeEvent>, order: &NodeOrder) {
    let mut waiting = ids(order);
    while !waiting.is_empty() {
        match next(events).await {
            NodeEvent::Ready { node_id } => assert!(waiting.remove(&node_id), "{node_id} is ready twice, or not ours"),
            other => panic!("unexpected: {other:?}"),
        }
    }
}

async fn appears(what: &str, is_so: impl Fn() -> bool) {
    testkit::await_that_async(PATIENCE, async || if is_so() { Ok(()) } else { Err(what) }).await;
}

async fn release_all(provider: &dyn Provider, order: &NodeOrder) {
    for node_id in ids(order) {
        provider.release(node_id, AgentIs::Mute).await.unwrap();
    }
}

/// An intent leads to each of its nodes once, however often it is ordered; what is released is gone.
async fn nodes_come_once_and_go_for_good(stage: &impl Stage) {
    let provider = stage.open();
    let mut events = provider.observe();
    let wanted = order(3, VmPriority::Dedicated);
    assert!(provider.capabilities(&wanted.settings).nodes_per_order_max >= 3);
    provider.provision(wanted.clone());
    provider.provision(wanted.clone());
    until_ready(&mut events, &wanted).await;
    for node_id in ids(&wanted) {
        appears("the node is there", || stage.is_up(node_id)).await;
        assert_eq!(stage.made(node_id), 1);
        provider.release(node_id, AgentIs::Mute).await.unwrap();
        assert!(!stage.is_up(node_id), "something of it is left");
        provider.release(node_id, AgentIs::Away).await.expect("that it is gone is no error");
    }
    provider.provision(wanted.clone());
    assert!(events.try_recv().is_err(), "a late repeat of an order brings nothing back");
    let stranger = order(1, VmPriority::Dedicated).intent;
    provider.release(stranger, AgentIs::Away).await.expect("nor is one that never was");
}

/// A server that starts again finds the nodes that it had, and makes those that it had no time to order.
async fn a_restart_finds_what_was_ordered(stage: &impl Stage) {
    let (known, unordered) = (order(2, VmPriority::Dedicated), order(1, VmPriority::Dedicated));
    let first = stage.open();
    let mut events = first.observe();
    first.provision(known.clone());
    until_ready(&mut events, &known).await;
    for node_id in ids(&known) {
        appears("the node is there", || stage.is_up(node_id)).await;
    }
    drop((events, first));
    let second = stage.open();
    let mut events = second.observe();
    second.adopt(vec![known.clone(), unordered.clone()]);
    let mut waiting = &ids(&known) | &ids(&unordered);
    while !waiting.is_empty() {
        let NodeEvent::Ready { node_id } = next(&mut events).await else { panic!("they are all there") };
        assert!(waiting.remove(&node_id));
    }
    assert!(ids(&known).into_iter().all(|node_id| stage.made(node_id) == 1), "not a second one");
    release_all(second.as_ref(), &known).await;
    release_all(second.as_ref(), &unordered).await;
}

/// A node that goes by itself comes again or is reported: nobody waits for it for ever.
async fn a_node_that_goes_by_itself_is_not_forgotten(stage: &impl Stage) {
    let provider = stage.open();
    let mut events = provider.observe();
    let wanted = order(1, VmPriority::LowPriority);
    let node_id = wanted.intent;
    provider.provision(wanted.clone());
    until_ready(&mut events, &wanted).await;
    appears("the node is there", || stage.is_up(node_id)).await;
    stage.strike(node_id);
    let lost = async {
        loop {
            if let NodeEvent::Lost { node_id: lost, .. } = next(&mut events).await {
                assert_eq!(lost, node_id);
                return;
            }
        }
    };
    tokio::select! {
        () = lost => {}
        () = appears("it comes again", || stage.made(node_id) == 2 && stage.is_up(node_id)) => {}
    }
    release_all(provider.as_ref(), &wanted).await;
}

/// A preemption is told before it happens, with the time that is left.
async fn a_preemption_is_told_with_its_deadline(stage: &impl Stage) {
    let provider = stage.open();
    let mut events = provider.observe();
    let preemption = Preemption::Exponential { mean_seconds: 1e-6, seed: 3 };
    let settings = LocalSettings { boot_seconds: 0.0, notice_seconds: 7.0, preemption, ..LocalSettings::default() };
    let settings = cluster::Provider::Local(settings);
    let stays = NodeOrder { settings: settings.clone(), ..order(1, VmPriority::Dedicated) };
    let goes = NodeOrder { settings, ..order(1, VmPriority::LowPriority) };
    provider.provision(stays.clone());
    until_ready(&mut events, &stays).await;
    provider.provision(goes.clone());
    until_ready(&mut events, &goes).await;
    for node_id in [stays.intent, goes.intent] {
        provider.connected(node_id, MachineClock.now_us());
    }
    stage.reclaim(goes.intent);
    let NodeEvent::Notice { node_id, deadline_us, reason } = next(&mut events).await else { panic!("a notice") };
    assert_eq!(node_id, goes.intent, "dedicated nodes stay");
    assert!(deadline_us > MachineClock.now_us() && !reason.is_empty());
    release_all(provider.as_ref(), &stays).await;
    release_all(provider.as_ref(), &goes).await;
}

/// What cannot come up is given up, all of the order, with the reason.
async fn an_order_that_cannot_be_met_fails(stage: &impl Stage, expected: FailureCause) {
    let (provider, wanted) = stage.impossible_order();
    let mut events = provider.observe();
    provider.provision(wanted.clone());
    let mut waiting = ids(&wanted);
    while !waiting.is_empty() {
        match next(&mut events).await {
            NodeEvent::Failed { node_id, cause, reason } => {
                assert!(waiting.remove(&node_id) && cause == expected && !reason.is_empty(), "{cause:?} {reason}");
            }
            NodeEvent::Ready { .. } => {}
            other => panic!("unexpected: {other:?}"),
        }
    }
    release_all(provider.as_ref(), &wanted).await;
}

/// The provider of this machine, with a script in the agent's place.
struct Local(tempfile::TempDir);

impl Stage for Local {
    fn open(&self) -> Arc<dyn Provider> {
        Arc::new(local_tests::provider(self.0.path(), AGENT))
    }

    fn is_up(&self, node_id: NodeId) -> bool {
        local_tests::agent_of(self.0.path(), node_id).is_some_and(|agent| agent.lives())
    }

    fn made(&self, node_id: NodeId) -> usize {
        let starts = local_tests::folder_of(self.0.path(), node_id).join("starts");
        std::fs::read_to_string(starts).map_or(0, |text| text.lines().count())
    }

    fn strike(&self, node_id: NodeId) {
        local_tests::agent_of(self.0.path(), node_id).unwrap().kill();
    }

    /// Its order was for a life of a moment.
    fn reclaim(&self, _: NodeId) {}

    fn impossible_order(&self) -> (Arc<dyn Provider>, NodeOrder) {
        let broken: Arc<LocalProvider> =
            Arc::new(local_tests::provider(self.0.path(), "#!/bin/sh\necho no such option >&2\nexit 2\n"));
        (broken, order(2, VmPriority::Dedicated))
    }
}

struct Elsewhere(Arc<Site>);

impl Stage for Elsewhere {
    fn open(&self) -> Arc<dyn Provider> {
        Arc::new(Scripted(Arc::clone(&self.0)))
    }

    fn is_up(&self, node_id: NodeId) -> bool {
        self.0.is_up(node_id)
    }

    fn made(&self, node_id: NodeId) -> usize {
        self.0.made(node_id)
    }

    fn strike(&self, node_id: NodeId) {
        self.0.take(node_id, true);
    }

    fn reclaim(&self, node_id: NodeId) {
        self.0.give_notice(node_id, MachineClock.now_us() + 7_000_000);
    }

    fn impossible_order(&self) -> (Arc<dyn Provider>, NodeOrder) {
        (self.open(), order(9, VmPriority::Dedicated))
    }
}

macro_rules! suite {
    ($($name:ident: $stage:expr, $failure:expr;)+) => {
        $(mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn nodes_come_once_and_go_for_good() {
                super::nodes_come_once_and_go_for_good(&$stage).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_restart_finds_what_was_ordered() {
                super::a_restart_finds_what_was_ordered(&$stage).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_node_that_goes_by_itself_is_not_forgotten() {
                super::a_node_that_goes_by_itself_is_not_forgotten(&$stage).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_preemption_is_told_with_its_deadline() {
                super::a_preemption_is_told_with_its_deadline(&$stage).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn an_order_that_cannot_be_met_fails() {
                super::an_order_that_cannot_be_met_fails(&$stage, $failure).await;
            }
        })+
    };
}

suite! {
    local: Local(tempfile::tempdir().unwrap()), FailureCause::Broken;
    elsewhere: Elsewhere(Site::new(4)), FailureCause::Capacity;
}
