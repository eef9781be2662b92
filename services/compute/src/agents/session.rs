//! One connection of an agent: who it is, what both sides think that runs there, and then reports until it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use contracts::compute::agent_order::Order;
use contracts::compute::agent_report::Report;
use contracts::compute::{AgentOrder, AgentReport, AttemptStatus, Hello, Leave, StopAttempt, Welcome};
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};
use vocabulary::job::{JobEnd, Outcome};
use vocabulary::{JobId, NodeId, Problem, token};

use super::desk::Desk;
use super::registry::OrderSender;
use super::reports;
use crate::cluster::{Command, NodeState};
use crate::job::{self, JobPhase};
use crate::orders;
use crate::scheduler::Fleet;

/// How long a new connection may take to say who it is.
const HELLO_WAIT: Duration = Duration::from_secs(10);
/// Reports that may wait to be written down; more wait in the connection.
const REPORTS_WAITING_MAX: usize = 1024;
/// The phase of an attempt that is over, and whose end its agent still has to report.
const ENDED: &str = "ended";

/// Serves a connection until it ends.
pub(super) async fn run(desk: Arc<Desk>, mut incoming: Streaming<AgentReport>, orders: OrderSender) {
    let Ok(Ok(Some(AgentReport { report: Some(Report::Hello(hello)) }))) =
        tokio::time::timeout(HELLO_WAIT, incoming.message()).await
    else {
        let _ = orders.try_send(Err(Status::invalid_argument("the first message of a connection must be a hello")));
        return;
    };
    let node_id = match admit(&desk, &hello).await {
        Ok(Admitted::Node(node_id)) => node_id,
        Ok(Admitted::Gone(node_id)) => return drain(&desk, node_id, incoming, &orders).await,
        Err(problem) => {
            let _ = orders.try_send(Err(contracts::status_of(&problem)));
            return;
        }
    };
    let Greeted { number, cut, lost, outcome } = greet(&desk, node_id, &hello, &orders);
    desk.fleet.wake.notify_one();
    for (job_id, attempt) in lost {
        let end = JobEnd { reason: outcome.to_string(), ..JobEnd::new(outcome) };
        let command = job::Command::EndAttempt { attempt, node_id, end, at_us: desk.commands.clock.now_us() };
        desk.commands.of_job_surely(job_id, command, "agents").await;
    }
    tokio::select! {
        () = listen(&desk, node_id, incoming, &orders, || desk.agents.touch(node_id, number)) => {}
        // The agent dials again and learns what it has missed.
        _ = cut => {}
    }
    if desk.agents.close(node_id, number) {
        desk.fleet.lock().set_connected(node_id, false, desk.commands.clock.now_us());
        desk.fleet.wake.notify_one();
    }
}

/// Takes reports until the connection ends; `on_contact` is called with each sign of life.
async fn listen(
    desk: &Desk,
    node_id: NodeId,
    mut incoming: Streaming<AgentReport>,
    orders: &OrderSender,
    on_contact: impl Fn() + Send,
) {
    let (sender, receiver) = mpsc::channel(REPORTS_WAITING_MAX);
    let reading = async {
        loop {
            tokio::select! {
                message = incoming.message() => {
                    let Ok(Some(AgentReport { report })) = message else { return };
                    on_contact();
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
        () = reports::handle(desk, node_id, receiver, orders) => {}
        () = desk.commands.shutdown.requested() => {}
    }
}

/// The agent of a node that is gone may still have what attempts wrote before their end: it learns where to take that,
/// and its reports of their ends, which mean nothing any more, are acknowledged.
async fn drain(desk: &Desk, node_id: NodeId, incoming: Streaming<AgentReport>, orders: &OrderSender) {
    let leave = Order::Leave(Leave { reason: "the node is gone".to_owned() });
    for order in [welcome(desk), leave] {
        let _ = orders.try_send(Ok(AgentOrder { order: Some(order) }));
    }
    listen(desk, node_id, incoming, orders, || {}).await;
}

fn welcome(desk: &Desk) -> Order {
    let wiring = &desk.wiring;
    Order::Welcome(Welcome {
        runs_address: wiring.runs_address.clone(),
        api_url: wiring.api_url.clone(),
        ca_file: wiring.ca_file.clone(),
        runs_ca: wiring.runs_ca.clone(),
    })
}

/// Whose agent has connected.
enum Admitted {
    /// A node's.
    Node(NodeId),
    /// That of a node which is gone.
    Gone(NodeId),
}

/// Checks who it is. A node that connects for the first time becomes ready.
async fn admit(desk: &Desk, hello: &Hello) -> Result<Admitted, Problem> {
    let refusal = || Problem::new(401, "Unauthenticated", "the node's token is wrong");
    let node_id = NodeId::parse(&hello.node_id).map_err(|_| refusal())?;
    let hash = token::fingerprint(&hello.token);
    let known = {
        let fleet = desk.fleet.lock();
        fleet.node(node_id).and_then(|(name, pool, _)| Some((name.clone(), pool.cluster.nodes.get(&node_id)?.clone())))
    };
    let Some((cluster, node)) = known else {
        if desk.fleet.lock().has_unreadable_clusters() {
            return Err(Problem::unavailable("NodeNotKnown", "it may belong to a cluster that cannot be read", 1));
        }
        let own = token::is_node_secret(&hello.node_id, &hello.token, &desk.wiring.signing_key);
        return if own { Ok(Admitted::Gone(node_id)) } else { Err(refusal()) };
    };
    if node.token_sha256 != hash {
        return Err(refusal());
    }
    let at_us = desk.commands.clock.now_us();
    let command = match node.state {
        // It takes no jobs any more, whatever is known here of why.
        NodeState::Requested | NodeState::Ready if hello.leaving => {
            Some(Command::Fail { node_id, reason: "its agent was told to leave".to_owned(), at_us })
        }
        NodeState::Requested => Some(Command::NodeIsReady { node_id, at_us }),
        _ => None,
    };
    if let Some(command) = command {
        let committed = desk
            .commands
            .of_cluster(&cluster, command, "agents")
            .await
            .map_err(|error| error.into_problem(Into::into))?;
        desk.fleet.caught_up(committed.position).await.map_err(|status| contracts::problem_of(&status))?;
    }
    Ok(Admitted::Node(node_id))
}

/// What a new connection is and has shown.
struct Greeted {
    /// The connection's number.
    number: u64,
    /// Ready once the connection is to end.
    cut: oneshot::Receiver<()>,
    /// Attempts that the agent should have and has not.
    lost: Vec<(JobId, u32)>,
    /// How these have ended.
    outcome: Outcome,
}

/// Registers the connection and sends what it must know, with the fleet held: an event is either in the fleet now, or
/// goes to the registered connection later.
fn greet(desk: &Desk, node_id: NodeId, hello: &Hello, orders: &OrderSender) -> Greeted {
    let mut fleet = desk.fleet.lock();
    // Before anybody else can send: it is the first order of every connection.
    let _ = orders.try_send(Ok(AgentOrder { order: Some(welcome(desk)) }));
    let (number, cut) = desk.agents.open(node_id, orders.clone());
    fleet.set_connected(node_id, true, desk.commands.clock.now_us());
    fleet.set_trouble(node_id, hello.trouble.clone());
    fleet.found_on(node_id, &attempts_of(hello.attempts.iter().filter(|status| status.phase != ENDED)));
    let Some((_, pool, place)) = fleet.node(node_id) else {
        return Greeted { number, cut, lost: Vec::new(), outcome: Outcome::Lost };
    };
    let node = pool.cluster.nodes.get(&node_id);
    let notice = node.and_then(|node| orders::notice(node, desk.commands.clock.now_us()));
    let goes = place.removing || node.is_none_or(|node| matches!(node.state, NodeState::Leaving | NodeState::Failing));
    let (mut outcome, mut then, mut lost) = (Outcome::Lost, Vec::new(), Vec::new());
    if goes {
        // What it has of attempts comes with their ends; what it has not is over.
        let there = attempts_of(&hello.attempts);
        lost.extend(place.jobs.iter().map(|(job, attempt)| (*job, *attempt)).filter(|known| !there.contains(known)));
        outcome = if notice.is_some() { Outcome::Preempted } else { Outcome::Lost };
        then.push(Order::Leave(Leave { reason: "the node is given back".to_owned() }));
    } else {
        (then, lost) = compare(desk, &fleet, &place.jobs, &hello.attempts);
    }
    for order in notice.into_iter().chain(then) {
        desk.agents.send(node_id, order);
    }
    Greeted { number, cut, lost, outcome }
}

fn attempts_of<'a>(found: impl IntoIterator<Item = &'a AttemptStatus>) -> BTreeSet<(JobId, u32)> {
    found.into_iter().filter_map(|status| Some((JobId::parse(&status.job_id).ok()?, status.attempt))).collect()
}

/// What the agent must be told, and which attempts it should have but does not.
fn compare(
    desk: &Desk,
    fleet: &Fleet,
    wanted: &BTreeMap<JobId, u32>,
    found: &[AttemptStatus],
) -> (Vec<Order>, Vec<(JobId, u32)>) {
    let there = attempts_of(found);
    let (mut orders, mut lost) = (Vec::new(), Vec::new());
    for (job_id, attempt) in wanted {
        let Some(entry) = fleet.job(*job_id) else { continue };
        if entry.job.phase == JobPhase::Placed {
            // The order may not have arrived; a second one changes nothing.
            orders.push(desk.orders.start(*job_id, &entry.job));
        } else if !there.contains(&(*job_id, *attempt)) {
            lost.push((*job_id, *attempt));
            continue;
        }
        orders.extend(orders::stop(*job_id, &entry.job));
    }
    for status in found.iter().filter(|status| status.phase != ENDED) {
        let current = JobId::parse(&status.job_id)
            .is_ok_and(|job_id| wanted.get(&job_id) == Some(&status.attempt) || fleet.is_left_alone(job_id));
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
