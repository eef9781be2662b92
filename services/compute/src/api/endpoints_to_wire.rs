//! Endpoints and deployments as others see them.

use contracts::compute as wire;

use crate::endpoint::{Deployment, Endpoint, Replica};
use crate::serving::wire::{replica, settings};

/// Said plainly, so that nobody takes a process for a sandbox.
const ISOLATION: &str = "process: a separate process of the node's user, without a sandbox; \
                         models that run code can read what this user can";

/// An endpoint; `None` when there is none.
pub(crate) fn endpoint(endpoint: &Endpoint, version: i64) -> Option<wire::Endpoint> {
    let created = endpoint.created?;
    let (workspace, name) = (&endpoint.workspace, &endpoint.name);
    Some(wire::Endpoint {
        workspace: workspace.clone(),
        name: name.clone(),
        description: endpoint.spec.description.clone(),
        tags: endpoint.spec.tags.clone(),
        auth: endpoint.spec.auth.to_string(),
        traffic: endpoint.traffic.clone(),
        effective_traffic: endpoint.effective_traffic(),
        scoring_uri: format!("/endpoints/{workspace}/{name}/score"),
        provisioning_state: if endpoint.deleting { "Deleting" } else { "Succeeded" }.to_owned(),
        created_at: created.to_string(),
        version,
    })
}

/// A deployment at a time; `key_of` knows the key of a revision. What answers is shown first: a version that does not
/// come up must not pass for the one that serves.
pub(crate) fn deployment(
    name: &str,
    deployment: &Deployment,
    version: i64,
    key_of: impl Fn(i64) -> i64,
    now: jiff::Timestamp,
) -> wire::Deployment {
    let shown_revision = deployment.live.as_ref().unwrap_or(&deployment.target);
    let (model, spec) = (&shown_revision.model, &shown_revision.spec);
    let replicas = deployment.replicas.iter().map(|(job_id, known)| replica(job_id, known, deployment));
    let (requirements, requirements_file) = contracts::job::written(spec.requirements.clone());
    let target = &deployment.target;
    let update = (target.revision != shown_revision.revision).then(|| wire::DeploymentUpdate {
        revision: target.revision,
        revision_key: key_of(target.revision),
        model: target.model.model.clone(),
        model_version: target.model.version,
        version_id: target.model.version_id.clone(),
        model_alias: target.model.alias.clone(),
        state: if deployment.failure.is_some() { "Failed" } else { "Updating" }.to_owned(),
    });
    wire::Deployment {
        workspace: target.workspace.clone(),
        endpoint: target.endpoint.clone(),
        name: name.to_owned(),
        model: model.model.clone(),
        model_version: model.version,
        version_id: model.version_id.clone(),
        cluster: spec.cluster.clone(),
        instance_count: spec.instance_count,
        ready_count: u32::try_from(deployment.serving().count()).unwrap_or(u32::MAX),
        revision: shown_revision.revision,
        revision_key: key_of(shown_revision.revision),
        provisioning_state: deployment.provisioning_state().to_owned(),
        errors: errors(deployment, now),
        replicas: replicas.collect(),
        request_settings: Some(settings(&spec.request_settings)),
        python: spec.python.clone(),
        requirements,
        requirements_file,
        created_at: deployment.created_at.to_string(),
        isolation: ISOLATION.to_owned(),
        model_alias: model.alias.clone(),
        version,
        update,
        reason: String::new(),
    }
}

/// Why a deployment is not as it is wanted, in words: what its replicas that are not ready wait for, which `explain`
/// knows by their jobs. Empty when nothing is awaited.
pub(crate) fn reason(deployment: &Deployment, explain: impl Fn(&str) -> String) -> String {
    let kept = deployment.kept();
    let awaited = |replica: &&Replica| {
        let is_kept = kept.iter().any(|revision| revision.revision == replica.revision);
        is_kept && replica.address.is_none() && replica.holds(replica.revision, replica.ordinal)
    };
    let target = deployment.target.revision;
    if deployment.is_busy() && !deployment.replicas.values().any(|replica| replica.revision == target) {
        return "its replicas are about to be asked for".to_owned();
    }
    let mut stands: Vec<(String, Vec<u32>)> = Vec::new();
    for (job_id, replica) in deployment.replicas.iter().filter(|(_, replica)| awaited(replica)) {
        let stand = explain(job_id);
        match stands.iter_mut().find(|(other, _)| *other == stand) {
            Some((_, ordinals)) => ordinals.push(replica.ordinal),
            None => stands.push((stand, vec![replica.ordinal])),
        }
    }
    let sentences = stands.into_iter().filter(|(stand, _)| !stand.is_empty()).map(|(stand, mut ordinals)| {
        ordinals.sort_unstable();
        let ordinals: Vec<String> = ordinals.iter().map(u32::to_string).collect();
        format!("replica {} {stand}", ordinals.join(", "))
    });
    sentences.collect::<Vec<_>>().join(". ")
}

/// Why an update has failed, and which replicas end again and again.
fn errors(deployment: &Deployment, now: jiff::Timestamp) -> Vec<String> {
    let broken = deployment.broken_slots(now).map(|((_, ordinal), slot)| {
        format!("replica {ordinal} ended {} times in a row; the last time: {}", slot.failures, slot.last_reason)
    });
    deployment.failure.clone().into_iter().chain(broken).map(advised).collect()
}

/// What cannot be imported is a matter of the Python: that is said with it.
fn advised(error: String) -> String {
    match error.rsplit_once("No module named ") {
        None => error,
        Some((_, rest)) => {
            let module = rest.split(['\n', ';']).next().unwrap_or_default().trim();
            format!(
                "{}\nThe Python that loads the model does not have {module}: name one that has with --python \
                 (environment.python), or what to install in environment.requirements",
                error.trim_end()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use vocabulary::Decider;

    use super::*;
    use crate::endpoint::{
        DeploymentFailed, DeploymentRevised, DeploymentSpec, EndpointEvent, ReplicaEnded, ReplicaReady,
        ReplicaRequested, RevisionWentLive, ServedModel,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_secs(second)).unwrap()
    }

    fn revised(revision: i64) -> EndpointEvent {
        DeploymentRevised {
            workspace: "w".into(),
            endpoint: "digits".into(),
            deployment: "blue".into(),
            revision,
            model: ServedModel { model: "digits".into(), version: 10 + revision, ..ServedModel::default() },
            spec: DeploymentSpec { cluster: "cpu".into(), instance_count: 1, ..DeploymentSpec::default() },
            at: at(0),
        }
        .into()
    }

    fn requested(revision: i64, job_id: &str, second: i64) -> EndpointEvent {
        let (deployment, job_id) = ("blue".to_owned(), job_id.to_owned());
        ReplicaRequested { deployment, revision, ordinal: 0, job_id, at: at(second) }.into()
    }

    fn ready(job_id: &str, second: i64) -> EndpointEvent {
        let (address, node_id) = ("unix:/r".to_owned(), "node_1".to_owned());
        ReplicaReady { job_id: job_id.to_owned(), attempt: 1, address, node_id, at: at(second) }.into()
    }

    fn blue(events: Vec<EndpointEvent>, now: i64) -> wire::Deployment {
        let mut endpoint = Endpoint::default();
        events.iter().for_each(|event| endpoint.evolve(event));
        deployment("blue", &endpoint.deployments["blue"], 7, |revision| 100 + revision, at(now))
    }

    fn live(revision: i64) -> Vec<EndpointEvent> {
        let went = RevisionWentLive { deployment: "blue".into(), revision, at: at(1) };
        vec![revised(revision), requested(revision, "job_a", 0), ready("job_a", 1), went.into()]
    }

    #[test]
    fn what_serves_is_shown_while_an_update_comes_up_and_after_it_has_failed() {
        // An operator who looks at a failed update must see the version that answers the requests.
        let coming = blue([live(1), vec![revised(2)]].concat(), 5);
        assert_eq!((coming.provisioning_state.as_str(), coming.revision, coming.model_version), ("Updating", 1, 11));
        let update = coming.update.unwrap();
        assert_eq!((update.state.as_str(), update.revision, update.model_version), ("Updating", 2, 12));
        let failed =
            DeploymentFailed { deployment: "blue".into(), revision: 2, reason: "no module x".into(), at: at(9) };
        let shown = blue([live(1), vec![revised(2), failed.into()]].concat(), 10);
        assert_eq!(shown.provisioning_state, "Failed");
        assert_eq!((shown.revision, shown.revision_key, shown.model_version, shown.ready_count), (1, 101, 11, 1));
        let update = shown.update.unwrap();
        assert_eq!((update.state.as_str(), update.revision_key, update.model_version), ("Failed", 102, 12));
        assert_eq!(shown.errors, ["no module x"]);
        let failed = advised("exit code 78\nModuleNotFoundError: No module named 'sklearn'\n".to_owned());
        assert!(
            failed.starts_with("exit code 78\nModuleNotFoundError") && failed.contains("does not have 'sklearn': ")
        );
        assert!(failed.contains("--python") && failed.contains("environment.requirements"), "{failed}");
        let first = blue(vec![revised(1)], 1);
        assert_eq!((first.model_version, first.update), (11, None), "nothing answers yet: what is to");
    }

    #[test]
    fn a_deployment_says_what_it_waits_for_until_it_is_ready() {
        // Creating, attempt 0: nobody saw that the cluster was full, and by whom.
        let reason_of = |events: Vec<EndpointEvent>| {
            let mut endpoint = Endpoint::default();
            events.iter().for_each(|event| endpoint.evolve(event));
            reason(&endpoint.deployments["blue"], |job_id| format!("waits for room ({job_id})"))
        };
        assert_eq!(reason_of(vec![revised(1)]), "its replicas are about to be asked for");
        let waiting = vec![revised(1), requested(1, "job_a", 0)];
        assert_eq!(reason_of(waiting.clone()), "replica 0 waits for room (job_a)");
        assert_eq!(reason_of([waiting, vec![ready("job_a", 1)]].concat()), "");
        let update = reason_of([live(1), vec![revised(2), requested(2, "job_b", 3)]].concat());
        assert_eq!(update, "replica 0 waits for room (job_b)", "the one that serves waits for nothing");
    }

    #[test]
    fn the_errors_of_a_replica_go_once_another_has_been_up_for_long() {
        // An error that stays for ever is one that nobody reads any more.
        let ended =
            ReplicaEnded { job_id: "job_a".into(), reason: "exit code 1".into(), log_tail: String::new(), at: at(2) };
        let events = [live(1), vec![ended.into(), requested(1, "job_b", 3), ready("job_b", 4)]].concat();
        assert_eq!(blue(events.clone(), 10).errors, ["replica 0 ended 1 times in a row; the last time: exit code 1"]);
        assert_eq!(blue(events, 60).errors, [""; 0]);
    }
}
