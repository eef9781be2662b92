//! One connection of an agent: who it is, what both sides think that runs there, and then reports until it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use contracts::compute::agent_order::Order;
use contracts::compute::agent_report::Report;
use contracts::compute::{AgentOrder, AgentReport, AttemptStatus, Hello, Leave, StopAttempt, Welcome};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use vocabulary::job::{JobEnd, Outcome};
use vocabulary::{JobId, NodeId, Problem};

use super::{Orders, reports};
use crate::cluster::{Command, NodeState};
use crate::core::Core;
use crate::engine::{notice_order, start_order, stop_order};
use crate::job::{self, JobPhase};
use crate::run_token;
use crate::scheduler::Fleet;

/// How long a new connection may take to say who it is.
const HELLO_WAIT: Duration = Duration::from_secs(10);
/// Reports that may wait to be written down; more wait in the connection.
const REPORTS_WAITING_MAX: usize = 1024;

/// Serves a connection until it ends.
pub(super) async fn run(core: Arc<Core>, mut incoming: Streaming<AgentReport>, orders: Orders) {
    let Ok(Ok(Some(AgentReport { report: Some(Report::Hello(hello)) }))) =
        tokio::time::timeout(HELLO_WAIT, incoming.message()).await
    else {
        let _ = orders.try_send(Err(Status::invalid_argument("the first message of a connection must be a hello")));
        return;
    };
    let node_id = match admit(&core, &hello).await {
        Ok(Some(node_id)) => node_id,
        Ok(None) => {
            let leave = Order::Leave(Leave { reason: "the node is gone".to_owned() });
            let _ = orders.try_send(Ok(AgentOrder { order: Some(leave) }));
            return;
        }
        Err(problem) => {
            let _ = orders.try_send(Err(contracts::status_of(&problem)));
            return;
        }
    };
    let (number, lost) = greet(&core, node_id, &hello, &orders);
    core.wake.notify_one();
    for (job_id, attempt) in lost {
        let end = JobEnd { reason: "lost".to_owned(), ..JobEnd::new(Outcome::Lost) };
        let command = job::Command::EndAttempt { attempt, node_id, end, at_us: core.clock.now_us() };
        core.of_job_surely(job_id, command, "agents").await;
    }
    let (sender, receiver) = mpsc::channel(REPORTS_WAITING_MAX);
    let reading = async {
        loop {
            tokio::select! {
                message = incoming.message() => {
                    let Ok(Some(AgentReport { report })) = message else { return };
                    core.agents.hear(node_id, number);
                    match report {
                        None | Some(Report::Heartbeat(_) | Report::Hello(_)) => {}
                        Some(report) => if sender.send(report).await.is_err() { return },
                    }
                }
                () = orders.closed() => return,
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = reports::handle(&core, node_id, receiver, &orders) => {}
        () = core.shutdown.requested() => {}
    }
    if core.agents.close(node_id, number) {
        core.fleet().set_connected(node_id, false, core.clock.now_us());
        core.wake.notify_one();
    }
}

/// Checks who it is; `None` for a node that is gone. A node that connects for the first time becomes ready.
async fn admit(core: &Core, hello: &Hello) -> Result<Option<NodeId>, Problem> {
    let refusal = || Problem::new(401, "Unauthenticated", "the node's token is wrong");
    let node_id = NodeId::parse(&hello.node_id).map_err(|_| refusal())?;
    let hash = run_token::hash(&hello.token);
    let known = {
        let fleet = core.fleet();
        fleet.node(node_id).and_then(|(name, pool, _)| Some((name.clone(), pool.cluster.nodes.get(&node_id)?.clone())))
    };
    let Some((cluster, node)) = known else {
        let own = run_token::node_token(&node_id.to_string(), &core.wiring.signing_key);
        return if hash == run_token::hash(&own) { Ok(None) } else { Err(refusal()) };
    };
    if node.token_sha256 != hash {
        return Err(refusal());
    }
    if node.state == NodeState::Requested {
        let command = Command::NodeIsReady { node_id, at_us: core.clock.now_us() };
        let committed =
            core.of_cluster(&cluster, command, "agents").await.map_err(|error| error.into_problem(Into::into))?;
        core.caught_up(committed.position).await.map_err(|status| contracts::problem_of(&status))?;
    }
    Ok(Some(node_id))
}

/// Registers the connection and sends what it must know, with the fleet held: an event is either in the fleet now, or
/// goes to the registered connection later. Answers the connection's number and the attempts that the agent has lost.
fn greet(core: &Core, node_id: NodeId, hello: &Hello, orders: &Orders) -> (u64, Vec<(JobId, u32)>) {
    let mut fleet = core.fleet();
    let number = core.agents.open(node_id, orders.clone());
    fleet.set_connected(node_id, true, core.clock.now_us());
    let wiring = &core.wiring;
    let welcome = Welcome { runs_address: wiring.runs_address.clone(), api_url: wiring.api_url.clone() };
    core.agents.send(node_id, Order::Welcome(welcome));
    let Some((_, pool, place)) = fleet.node(node_id) else { return (number, Vec::new()) };
    let node = pool.cluster.nodes.get(&node_id);
    if place.removing || node.is_none_or(|node| node.state == NodeState::Leaving) {
        core.agents.send(node_id, Order::Leave(Leave { reason: "the node is given back".to_owned() }));
        return (number, Vec::new());
    }
    let notice = node.and_then(notice_order);
    let (again, lost) = compare(core, &fleet, &place.jobs, &hello.attempts);
    for order in notice.into_iter().chain(again) {
        core.agents.send(node_id, order);
    }
    (number, lost)
}

/// What the agent must be told, and which attempts it should have but does not.
fn compare(
    core: &Core,
    fleet: &Fleet,
    wanted: &BTreeMap<JobId, u32>,
    found: &[AttemptStatus],
) -> (Vec<Order>, Vec<(JobId, u32)>) {
    let there: BTreeSet<(JobId, u32)> =
        found.iter().filter_map(|status| Some((JobId::parse(&status.job_id).ok()?, status.attempt))).collect();
    let (mut orders, mut lost) = (Vec::new(), Vec::new());
    for (job_id, attempt) in wanted {
        let Some(entry) = fleet.job(*job_id) else { continue };
        if entry.job.phase == JobPhase::Placed {
            // The order may not have arrived; a second one changes nothing.
            orders.push(start_order(core, *job_id, &entry.job));
        } else if !there.contains(&(*job_id, *attempt)) {
            lost.push((*job_id, *attempt));
            continue;
        }
        orders.extend(stop_order(*job_id, &entry.job));
    }
    for status in found.iter().filter(|status| status.phase != "ended") {
        let current = JobId::parse(&status.job_id).is_ok_and(|job_id| wanted.get(&job_id) == Some(&status.attempt));
        if !current {
            orders.push(Order::Stop(StopAttempt {
                job_id: status.job_id.clone(),
                attempt: status.attempt,
                reason: "fenced".to_owned(),
                ..StopAttempt::default()
            }));
        }
    }
    (orders, lost)
}
