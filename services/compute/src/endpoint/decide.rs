//! What may happen to an endpoint. The reaction that keeps replicas asks here too: what it does is decided like a
//! user's wish.

use jiff::Timestamp;
use vocabulary::Decider;

use super::reject::DEPLOYMENTS_MAX;
use super::state::{Deployment, Endpoint, is_sound};
use super::{
    DeploymentDeleted, DeploymentDeleting, DeploymentFailed, DeploymentRevised, EndpointChanged, EndpointCreated,
    EndpointDeleted, EndpointDeleting, EndpointEvent, Rejection, ReplicaDraining, ReplicaEnded, ReplicaLost,
    ReplicaNoticed, ReplicaReady, ReplicaRequested, RevisionWentLive, TrafficSet,
};

/// Ends in a row after which a revision that has never come up is given up.
const FAILURES_MAX: u32 = 5;

/// How a replica came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replacement {
    /// How the job ended, in words.
    pub reason: String,
    /// Last lines of its log.
    pub log_tail: String,
    /// Another start would end like this one: the fault is the model's.
    pub cannot_serve: bool,
}

/// What somebody wants of an endpoint.
#[derive(Clone, Debug)]
pub enum Command {
    /// Create it, or make it so.
    Put(EndpointCreated),
    /// Away with it and all its deployments.
    Delete {
        /// Now.
        at: Timestamp,
    },
    /// A deployment, or another revision of it.
    Revise {
        /// As it is wanted; the revision's number is given by the decider.
        revision: Box<DeploymentRevised>,
        /// Whether the model version was taken out of use.
        is_archived: bool,
    },
    /// Away with a deployment.
    DeleteDeployment {
        /// Which.
        deployment: String,
        /// Now.
        at: Timestamp,
    },
    /// All shares.
    SetTraffic(TrafficSet),
    /// A replica for a place that has none.
    RequestReplica(ReplicaRequested),
    /// A replica listens.
    ReportReady(ReplicaReady),
    /// A replica's node has gone, its job goes on.
    ReportLost(ReplicaLost),
    /// A replica's node will go.
    ReportNoticed(ReplicaNoticed),
    /// A replica whose node goes is to get no requests any more.
    Drain(ReplicaDraining),
    /// A replica's job has ended.
    ReportEnded {
        /// Its job.
        job_id: String,
        /// How.
        how: Replacement,
        /// Now.
        at: Timestamp,
    },
}

impl Endpoint {
    fn existing(&self) -> Result<(), Rejection> {
        match (self.created, self.deleting) {
            (None, _) => Err(Rejection::Absent),
            (Some(_), true) => Err(Rejection::Deleting(format!("endpoint '{}'", self.name))),
            (Some(_), false) => Ok(()),
        }
    }

    fn put(&self, wish: &EndpointCreated) -> Result<Vec<EndpointEvent>, Rejection> {
        if self.created.is_none() {
            return Ok(vec![wish.clone().into()]);
        }
        self.existing()?;
        let changed = EndpointChanged { spec: wish.spec.clone(), at: wish.at };
        Ok(if wish.spec == self.spec { Vec::new() } else { vec![changed.into()] })
    }

    fn delete(&self, at: Timestamp) -> Result<Vec<EndpointEvent>, Rejection> {
        if self.created.is_none() {
            return Err(Rejection::Absent);
        }
        if self.deleting {
            return Ok(Vec::new());
        }
        let mut events = vec![EndpointDeleting { at }.into()];
        for (name, deployment) in &self.deployments {
            if deployment.replicas.is_empty() {
                events.push(DeploymentDeleted { deployment: name.clone(), at }.into());
            }
        }
        if self.deployments.values().all(|deployment| deployment.replicas.is_empty()) {
            events.push(EndpointDeleted { at }.into());
        }
        Ok(events)
    }

    fn revise(&self, wish: &DeploymentRevised, is_archived: bool) -> Result<Vec<EndpointEvent>, Rejection> {
        self.existing()?;
        let name = &wish.deployment;
        // One that serves already may be resized: that brings no archived version into use.
        if is_archived && !self.deployments.get(name).is_some_and(|known| known.serves_version(&wish.model)) {
            let (model, version) = (wish.model.model.clone(), wish.model.version);
            return Err(Rejection::VersionArchived { model, version });
        }
        match self.deployments.get(name) {
            None if self.deployments.len() >= DEPLOYMENTS_MAX => return Err(Rejection::TooManyDeployments),
            None => {}
            Some(known) if known.deleting => return Err(Rejection::Deleting(format!("deployment '{name}'"))),
            Some(known) => {
                let is_same = known.target.model == wish.model && known.target.spec == wish.spec;
                // A revision that has failed is tried again when it is asked for again.
                if is_same && known.failure.is_none() {
                    return Ok(Vec::new());
                }
                if known.is_busy() {
                    return Err(Rejection::Busy(name.clone()));
                }
            }
        }
        let revision = self.revisions.get(name).copied().unwrap_or_default() + 1;
        Ok(vec![DeploymentRevised { revision, ..wish.clone() }.into()])
    }

    fn delete_deployment(&self, name: &str, at: Timestamp) -> Result<Vec<EndpointEvent>, Rejection> {
        if self.created.is_none() {
            return Err(Rejection::Absent);
        }
        let deployment = self.deployments.get(name).ok_or_else(|| Rejection::DeploymentAbsent(name.to_owned()))?;
        if deployment.deleting {
            return Ok(Vec::new());
        }
        if let Some(percent) = self.traffic.get(name).copied().filter(|percent| *percent > 0) {
            return Err(Rejection::InUse { deployment: name.to_owned(), percent });
        }
        let mut events = vec![DeploymentDeleting { deployment: name.to_owned(), at }.into()];
        if deployment.replicas.is_empty() {
            events.push(DeploymentDeleted { deployment: name.to_owned(), at }.into());
        }
        Ok(events)
    }

    fn set_traffic(&self, wish: &TrafficSet) -> Result<Vec<EndpointEvent>, Rejection> {
        self.existing()?;
        let is_known = |name: &str| self.deployments.get(name).is_some_and(|deployment| !deployment.deleting);
        let unknown: Vec<_> = wish.traffic.keys().filter(|name| !is_known(name)).cloned().collect();
        if !unknown.is_empty() {
            return Err(Rejection::UnknownDeployment(unknown));
        }
        let sum = wish.traffic.values().fold(0_u32, |sum, percent| sum.saturating_add(*percent));
        if sum != 0 && sum != 100 {
            return Err(Rejection::BadSum(sum));
        }
        Ok(if wish.traffic == self.traffic { Vec::new() } else { vec![wish.clone().into()] })
    }

    fn request_replica(&self, wish: &ReplicaRequested) -> Result<Vec<EndpointEvent>, Rejection> {
        let deployment = self.deployments.get(&wish.deployment).ok_or(Rejection::Outdated)?;
        let wanted = deployment
            .kept()
            .iter()
            .any(|revision| revision.revision == wish.revision && wish.ordinal < revision.spec.instance_count);
        let is_taken = deployment.replicas.values().any(|replica| replica.holds(wish.revision, wish.ordinal));
        if !wanted || is_taken {
            return Err(Rejection::Outdated);
        }
        Ok(vec![wish.clone().into()])
    }

    fn report_ready(&self, report: &ReplicaReady) -> Result<Vec<EndpointEvent>, Rejection> {
        let (name, deployment, replica) = self.replica(&report.job_id).ok_or(Rejection::Outdated)?;
        if report.attempt < replica.attempt || replica.draining_at.is_some() {
            return Err(Rejection::Outdated);
        }
        if report.attempt == replica.attempt && replica.address.as_ref() == Some(&report.address) {
            return Ok(Vec::new());
        }
        let mut events = vec![report.clone().into()];
        let is_live = deployment.live.as_ref().is_some_and(|live| live.revision == replica.revision);
        let is_one_more = replica.address.is_none() && replica.leaving.is_none();
        let ready = deployment.ready_of(replica.revision) + usize::from(is_one_more);
        let wanted = deployment.target.spec.instance_count as usize;
        if !is_live && replica.revision == deployment.target.revision && ready >= wanted {
            let revision = replica.revision;
            events.push(RevisionWentLive { deployment: name.to_owned(), revision, at: report.at }.into());
        }
        Ok(events)
    }

    fn report_lost(&self, report: &ReplicaLost) -> Result<Vec<EndpointEvent>, Rejection> {
        let (_, _, replica) = self.replica(&report.job_id).ok_or(Rejection::Outdated)?;
        let is_news =
            report.attempt > replica.attempt || (report.attempt == replica.attempt && replica.address.is_some());
        Ok(if is_news { vec![report.clone().into()] } else { Vec::new() })
    }

    fn report_noticed(&self, report: &ReplicaNoticed) -> Result<Vec<EndpointEvent>, Rejection> {
        let (_, _, replica) = self.replica(&report.job_id).ok_or(Rejection::Outdated)?;
        let is_news = replica.leaving.is_none() && replica.draining_at.is_none();
        Ok(if is_news { vec![report.clone().into()] } else { Vec::new() })
    }

    fn drain(&self, wish: &ReplicaDraining) -> Result<Vec<EndpointEvent>, Rejection> {
        let (_, _, replica) = self.replica(&wish.job_id).ok_or(Rejection::Outdated)?;
        let is_news = replica.leaving.is_some() && replica.draining_at.is_none();
        Ok(if is_news { vec![wish.clone().into()] } else { Vec::new() })
    }

    fn report_ended(&self, job_id: &str, how: &Replacement, at: Timestamp) -> Result<Vec<EndpointEvent>, Rejection> {
        let Some((name, deployment, replica)) = self.replica(job_id) else { return Ok(Vec::new()) };
        let (reason, log_tail) = (how.reason.clone(), how.log_tail.clone());
        let mut events = vec![ReplicaEnded { job_id: job_id.to_owned(), reason, log_tail, at }.into()];
        let is_last = deployment.replicas.len() == 1;
        if deployment.deleting && is_last {
            events.push(DeploymentDeleted { deployment: name.to_owned(), at }.into());
            let others = self.deployments.iter().filter(|(other, _)| other.as_str() != name);
            if self.deleting && others.map(|(_, other)| other).all(|other| other.replicas.is_empty()) {
                events.push(EndpointDeleted { at }.into());
            }
            return Ok(events);
        }
        if gives_up(deployment, replica, how, at) {
            let (deployment, revision) = (name.to_owned(), replica.revision);
            events.push(DeploymentFailed { deployment, revision, reason: give_up_text(how), at }.into());
        }
        Ok(events)
    }
}

/// Whether this end is one too many for a revision that has never come up.
fn gives_up(deployment: &Deployment, replica: &super::Replica, how: &Replacement, at: Timestamp) -> bool {
    let is_live = deployment.live.as_ref().is_some_and(|live| live.revision == replica.revision);
    let is_target = deployment.target.revision == replica.revision;
    let is_going = replica.draining_at.is_some() || replica.leaving.is_some();
    if is_live || !is_target || is_going || is_sound(replica, at) {
        return false;
    }
    let slot = deployment.slots.get(&(replica.revision, replica.ordinal));
    how.cannot_serve || slot.map_or(0, |slot| slot.failures) + 1 >= FAILURES_MAX
}

fn give_up_text(how: &Replacement) -> String {
    let text = if how.cannot_serve {
        format!("the model cannot be served, and another start would say the same: {}", how.reason)
    } else {
        format!("a replica ended {FAILURES_MAX} times while it started; the last time: {}", how.reason)
    };
    if how.log_tail.is_empty() { text } else { format!("{text}\n{}", how.log_tail.trim_end()) }
}

impl Decider for Endpoint {
    type Command = Command;
    type Event = EndpointEvent;
    type Rejection = Rejection;

    fn decide(&self, command: &Command) -> Result<Vec<EndpointEvent>, Rejection> {
        match command {
            Command::Put(wish) => self.put(wish),
            Command::Delete { at } => self.delete(*at),
            Command::Revise { revision, is_archived } => self.revise(revision, *is_archived),
            Command::DeleteDeployment { deployment, at } => self.delete_deployment(deployment, *at),
            Command::SetTraffic(wish) => self.set_traffic(wish),
            Command::RequestReplica(wish) => self.request_replica(wish),
            Command::ReportReady(report) => self.report_ready(report),
            Command::ReportLost(report) => self.report_lost(report),
            Command::ReportNoticed(report) => self.report_noticed(report),
            Command::Drain(wish) => self.drain(wish),
            Command::ReportEnded { job_id, how, at } => self.report_ended(job_id, how, *at),
        }
    }

    fn evolve(&mut self, event: &EndpointEvent) {
        self.take(event);
    }
}
