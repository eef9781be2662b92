//! The sweep document: from a user's text to a [`SweepSpec`], with every rule that can be checked before anything runs.

mod changes;
mod compat;
mod external;
mod fork;
mod import;
mod limits;
mod note;
mod objectives;
mod plan;
mod policy;
mod references;
mod render;
mod resume;
mod sampler;
mod space;
mod spec;
mod template;
mod title;
mod trial;
mod watched;
mod what_if;

#[cfg(test)]
mod tests;

use documents::{Field, Fields, Findings, Format, Tree, reference};
use tuning::SearchSpace;
use vocabulary::Problem;

use title::{DEFAULT_EXPERIMENT, read_title};

pub use changes::{SweepChanges, read_changes};
pub use fork::{Fork, Forked, read_fork};
pub use import::{IMPORT_BYTES_MAX, IMPORT_TRIALS_MAX, read_import};
pub use plan::{Plan, plan};
pub use render::{parameter_variables, render_command, render_environment_variables};
pub use spec::{
    ClusterFacts, Constraint, ConstraintOperator, Convergence, EarlierTrial, Environment, FailedTrials, Input,
    InputMode, Limits, Mode, Noise, Objective, OnNonFinite, Output, Resources, ResumeFrom, ServerLimits, SpaceRule,
    SweepSpec, TrialSpec,
};
pub use template::{Argument, Filling, Reference, Template};
pub use what_if::{Question, read_policy, read_what_if};

/// Largest document. Spaces with thousands of long choice values fit; a data set does not.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// A document as far as it could be read, before what it refers to is looked up: what is wrong there is answered
/// together with what is wrong here.
#[derive(Debug)]
pub struct Draft {
    /// Absent when something that it needs was refused.
    pub spec: Option<SweepSpec>,
    /// What it refers to.
    pub referred: Referred,
    /// All that was found.
    pub findings: Findings,
}

/// What a document refers to, as far as that could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referred {
    /// The cluster of a managed sweep.
    pub cluster: Option<String>,
    /// The hash of the trials' code, after `sha256:`.
    pub code: Option<String>,
    /// Earlier sweeps, each with its place in the document.
    pub sweeps: Vec<(String, String)>,
}

/// Reads a sweep document. `resolved` is what is known about its cluster; absent, the rules about it are not checked.
///
/// # Errors
/// For what is no document: 400 for syntax or duplicate keys, 413 for one that is too large.
pub fn draft_sweep(
    text: &[u8],
    format: Format,
    server: &ServerLimits,
    resolved: Option<&ClusterFacts>,
) -> Result<Draft, Problem> {
    if text.len() > DOCUMENT_BYTES_MAX {
        let detail = format!("the document has {} bytes, limit {DOCUMENT_BYTES_MAX}", text.len());
        return Err(Problem::new(413, "TooLarge", detail));
    }
    let mut document = documents::read(text, format)?;
    if compat::is_asked_for(&document) {
        compat::write_lists_as_maps(&mut document);
    }
    let (findings, mut referred) = (Findings::new(), Referred::default());
    let fields = Field::root(&document, &findings).map();
    let spec = fields.and_then(|fields| read_fields(fields, server, resolved, &mut referred, &findings));
    Ok(Draft { spec, referred, findings })
}

/// A document that refers to nothing that must be there.
#[cfg(test)]
pub fn read_sweep(
    text: &[u8],
    format: Format,
    server: &ServerLimits,
    resolved: Option<&ClusterFacts>,
    strict: bool,
) -> Result<(SweepSpec, Vec<vocabulary::Warning>), Problem> {
    let Draft { spec, findings, .. } = draft_sweep(text, format, server, resolved)?;
    if strict { findings.strict() } else { findings }.finish(spec)
}

fn read_fields(
    mut fields: Fields<'_>,
    server: &ServerLimits,
    resolved: Option<&ClusterFacts>,
    referred: &mut Referred,
    findings: &Findings,
) -> Option<SweepSpec> {
    fields.described_by(&reference::SWEEP);
    let compat = compat::read(&fields.field("compat"));
    let external = fields.field("mode").one_of("BadMode", &["managed", "external"]) == Some("external");
    let mode = if external { Mode::External } else { Mode::Managed };
    let name = read_title(&fields.field("name"));
    let experiment = read_title(&fields.field("experiment")).unwrap_or_else(|| DEFAULT_EXPERIMENT.to_owned());
    let description = fields.text("description").unwrap_or_default().to_owned();
    let tags = fields.tags().unwrap_or_default();
    let cluster = fields.field("cluster");
    let cluster = if external { external::nothing_in(&cluster) } else { cluster.required().text() };
    referred.cluster = cluster.filter(|_| !external).map(str::to_owned);
    let sought = objectives::read_all(&mut fields, compat);
    let limits = fields.field("limits");
    let limits =
        limits::read(&limits, &server.of(mode), compat, None).filter(|read| external::allows(mode, read, &limits));
    let sampler = sampler::read(&fields.required("sampling_algorithm"), compat);
    let space = fields.required("search_space");
    let names = space::names(&space);
    let space = space::read(&space, compat, sampler.as_ref(), limits.as_ref(), None, findings);
    let policy = fields.field("early_termination");
    let has_policy = policy::is_there(&policy);
    let policy = policy::read(&policy, compat, findings);
    if let (true, Some(sampler), Some(names), Some(limits)) = (compat, &sampler, &names, &limits) {
        compat::check(&sampler.spec, names.all.len(), limits, has_policy, findings);
    }
    let record_keeps = fields.boolean("record_keeps").unwrap_or_default();
    let trial = fields.field("trial");
    referred.code = code_of(&trial).filter(|_| !external);
    let trial = match mode {
        Mode::External => external::nothing_in(&trial).map(|_| TrialSpec::default()),
        Mode::Managed => read_trial(trial, names.as_ref(), resolved, space.as_ref().filter(|_| compat), findings),
    };
    policy::check_checkpoint(policy.as_ref(), trial.as_ref().filter(|_| !external), findings);
    policy::check_initial_design(policy.as_ref(), sampler.as_ref().map(|read| &read.spec), limits.as_ref(), findings);
    if let (Some(limits), Some(trial), Some(cluster)) = (&limits, &trial, resolved.filter(|_| !external)) {
        limits::check_gate(limits, &trial.resources, cluster, findings);
    }
    let warm = resume::read(&mut fields, compat, limits.as_ref(), &mut referred.sweeps);
    sought.rules().check(sampler.as_ref().map(|sampler| &sampler.spec), policy.as_ref(), limits.as_ref(), findings);
    trial::check_kept(trial.as_ref(), sought.objectives.as_ref().map(|(_, further)| further.len()), findings);
    let sampler = sampler?;
    let (objective, further_objectives) = sought.objectives?;
    Some(SweepSpec {
        name,
        experiment,
        description,
        tags,
        mode,
        cluster: cluster?.to_owned(),
        objective,
        further_objectives,
        constraints: sought.constraints?,
        space: space?,
        sampler: sampler.spec,
        seed: sampler.seed,
        policy: policy?,
        limits: limits?,
        record_keeps,
        resume_from: warm.from?,
        resume_trials: warm.trials?,
        trial: trial?,
    })
}

/// The code that a trial section names, whatever else is wrong with it.
fn code_of(trial: &Field<'_>) -> Option<String> {
    match &trial.node()?.get("code")?.value {
        Tree::Text(text) => text.strip_prefix("sha256:").map(str::to_owned),
        _ => None,
    }
}

/// The section of a managed sweep; `compat` is the space where the arguments follow from it.
fn read_trial(
    trial: Field<'_>,
    names: Option<&space::Names>,
    resolved: Option<&ClusterFacts>,
    compat: Option<&SearchSpace>,
    findings: &Findings,
) -> Option<TrialSpec> {
    let mut trial = trial.required().map().and_then(|fields| trial::read(fields, names, resolved, findings));
    if let (Some(trial), Some(space)) = (&mut trial, compat) {
        compat::append_arguments(&mut trial.command, space, findings);
    }
    trial
}
