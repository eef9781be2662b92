//! What was probably meant by a name that nothing has, and how to list those that there are. The names are those of the
//! same kind in the workspace of the call, from the calls that lists are made of: nobody is told of another workspace.

use actix_web::HttpRequest;
use contracts::compute::{ListClustersRequest, ListDeploymentsRequest, ListEndpointsRequest};
use contracts::models::ListModelsRequest;
use contracts::runs::ListExperimentsRequest;
use contracts::sweeps::ListSweepsRequest;
use documents::did_you_mean;
use vocabulary::Problem;

use super::{Call, Service};
use crate::access::Scope;

/// Names of a kind that are looked at: one page of a list.
const NAMES_MAX: i32 = 500;
/// Absent things of one refusal that are looked for.
const LOOKED_FOR_MAX: usize = 4;

/// A kind of thing that has a name in its workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cluster,
    Sweep,
    Model,
    Endpoint,
    Experiment,
    Deployment,
}

/// The kinds, as refusals and paths name them.
const KINDS: [(&str, Kind); 6] = [
    ("cluster", Kind::Cluster),
    ("sweep", Kind::Sweep),
    ("model", Kind::Model),
    ("endpoint", Kind::Endpoint),
    ("experiment", Kind::Experiment),
    ("deployment", Kind::Deployment),
];

/// What a sentence such as "cluster 'c' in workspace 'w'" says is not there: its kind, its name, and what it is of.
fn absent_in<'s>(sentence: &'s str, workspace: &str) -> Option<(Kind, &'s str, &'s str)> {
    let (word, rest) = sentence.split_once(" '")?;
    let (_, kind) = KINDS.iter().find(|(known, _)| *known == word)?;
    if *kind == Kind::Deployment {
        let (name, rest) = rest.split_once("' of endpoint '")?;
        return Some((*kind, name, rest.split('\'').next()?));
    }
    let (name, rest) = rest.split_once("' in workspace '")?;
    // More is said where more is known, e.g. of a sweep that was deleted.
    (rest.split_once('\'')? == (workspace, "")).then_some((*kind, name, ""))
}

/// The problem with what was probably meant by each name that nothing has; `None` when there is nothing to add.
pub async fn with_near(request: &HttpRequest, problem: &Problem) -> Option<Problem> {
    let is_absent = |code: &str| code == "NotFound";
    if !is_absent(&problem.code) && !problem.errors.iter().any(|error| is_absent(&error.code)) {
        return None;
    }
    let call = Call::of(request).ok().filter(|call| call.principal.require(Scope::Reader).is_ok())?;
    let mut problem = problem.clone();
    if problem.errors.is_empty() {
        problem.detail.push_str(&addition(&call, &problem.detail.clone()).await?);
        return Some(problem);
    }
    let mut first = problem.errors.first().map(|error| error.message.clone()).unwrap_or_default();
    let absent = problem.errors.iter_mut().filter(|error| is_absent(&error.code)).take(LOOKED_FOR_MAX);
    for error in absent {
        let before = error.message.clone();
        let Some(addition) = addition(&call, &before).await else { continue };
        error.message.push_str(&addition);
        // The detail is the first error's message, and how many others there are.
        if before == first {
            if let Some(others) = problem.detail.strip_prefix(first.as_str()) {
                problem.detail = format!("{}{others}", error.message);
            }
            first.clone_from(&error.message);
        }
    }
    Some(problem)
}

/// What is said behind a sentence about an absent thing.
async fn addition(call: &Call, sentence: &str) -> Option<String> {
    let (kind, name, of) = absent_in(sentence, &call.workspace)?;
    let names = names(call, kind, of).await?;
    let meant = did_you_mean(name, names.iter().map(String::as_str).filter(|known| *known != name));
    let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    let there = match kind {
        Kind::Cluster => "trialog cluster list".to_owned(),
        Kind::Sweep => "trialog sweep list".to_owned(),
        Kind::Model => "trialog model list".to_owned(),
        Kind::Endpoint => "trialog endpoint list".to_owned(),
        Kind::Experiment => "trialog experiment list".to_owned(),
        Kind::Deployment => format!("trialog deployment list {of}"),
    };
    let how = if meant.is_empty() { ";" } else { "" };
    Some(format!("{meant}{how} `{there}` shows those that there are"))
}

/// The names of a kind in the workspace of the call; `None` when its service does not say.
async fn names(call: &Call, kind: Kind, of: &str) -> Option<Vec<String>> {
    let (workspace, page_size, page_token) = (call.workspace.clone(), NAMES_MAX, String::new());
    let peers = call.peers();
    Some(match kind {
        Kind::Cluster => {
            let request =
                call.reading(Service::Compute).ok()?.attach(ListClustersRequest { workspace, page_size, page_token });
            let reply = peers.compute_client().list_clusters(request).await.ok()?.into_inner();
            reply.clusters.into_iter().map(|cluster| cluster.name).collect()
        }
        Kind::Endpoint => {
            let request = ListEndpointsRequest { workspace, page_size, page_token };
            let request = call.reading(Service::Compute).ok()?.attach(request);
            let reply = peers.compute_client().list_endpoints(request).await.ok()?.into_inner();
            reply.endpoints.into_iter().map(|endpoint| endpoint.name).collect()
        }
        Kind::Deployment => {
            let request = ListDeploymentsRequest { workspace, name: of.to_owned(), page_size, page_token };
            let request = call.reading(Service::Compute).ok()?.attach(request);
            let reply = peers.compute_client().list_deployments(request).await.ok()?.into_inner();
            reply.deployments.into_iter().map(|deployment| deployment.name).collect()
        }
        Kind::Sweep => {
            let request = ListSweepsRequest { workspace, page_size, page_token, ..ListSweepsRequest::default() };
            let request = call.reading(Service::Sweeps).ok()?.attach(request);
            let reply = peers.sweeps_client().list_sweeps(request).await.ok()?.into_inner();
            reply.sweeps.into_iter().map(|sweep| sweep.name).collect()
        }
        Kind::Model => {
            let request = ListModelsRequest { workspace, page_size, page_token, ..ListModelsRequest::default() };
            let request = call.reading(Service::Models).ok()?.attach(request);
            let reply = peers.models_client().list_models(request).await.ok()?.into_inner();
            reply.models.into_iter().map(|model| model.name).collect()
        }
        Kind::Experiment => {
            let request =
                call.reading(Service::Runs).ok()?.attach(ListExperimentsRequest { workspace, page_size, page_token });
            let reply = peers.runs_client().list_experiments(request).await.ok()?.into_inner();
            reply.experiments.into_iter().map(|experiment| experiment.name).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_thing_of_the_calls_own_workspace_is_looked_for() {
        // A name of another workspace must not be told by a refusal.
        let absent = |what: &str, name: &str| Problem::not_found(what, name, "lab").detail;
        for (word, kind) in &KINDS[..5] {
            assert_eq!(absent_in(&absent(word, "a'b c"), "lab"), Some((*kind, "a'b c", "")));
            assert_eq!(absent_in(&absent(word, "x"), "other"), None);
        }
        let of = absent_in("deployment 'blu' of endpoint 'digits'", "lab");
        assert_eq!(of, Some((Kind::Deployment, "blu", "digits")));
        for other in [
            absent("run", "run_1"),
            absent("cluster", "x") + ": it was deleted",
            "there is no such cluster".to_owned(),
            String::new(),
        ] {
            assert_eq!(absent_in(&other, "lab"), None, "{other}");
        }
    }
}
