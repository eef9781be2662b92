//! What a fork takes over from its sweep, and what is other.

use std::collections::BTreeMap;
use std::sync::Arc;

use documents::{Field, Fields, Findings, Format, Tree};
use vocabulary::{Problem, Warning};

use super::note::note;
use super::references::References;
use super::sampler::Sampler;
use super::spec::{ServerLimits, SweepSpec};
use super::title::read_title;
use super::{compat, external, limits, objectives, policy, space};

/// Instead of a position: whatever the log has by then.
const LATEST: &str = "latest";

/// A fork that somebody asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Fork {
    /// The position in the log up to which the sweep is looked at; `None` is all of it.
    pub at: Option<i64>,
    /// The seed of the fork.
    pub seed: u64,
    /// What the fork is to do.
    pub spec: SweepSpec,
}

/// What is forked: its spec with the limits in force, and its seed.
pub struct Forked {
    /// The spec.
    pub spec: Arc<SweepSpec>,
    /// The seed.
    pub seed: u64,
}

/// Reads `{at, name, seed, early_termination, limits, search_space}`; what is absent is as in the sweep, but for the
/// name.
///
/// # Errors
/// 400 and 422 as for a submission.
pub fn read_fork(
    text: &[u8],
    format: Format,
    server: &ServerLimits,
    source: &Forked,
) -> Result<(Fork, Vec<Warning>), Problem> {
    let mut document = documents::read(text, format)?;
    if source.spec.space.compat {
        compat::write_lists_as_maps(&mut document);
    }
    let findings = Findings::new();
    let fork =
        Field::root(&document, &findings).map().and_then(|fields| read_fields(fields, server, source, &findings));
    findings.finish(fork)
}

fn read_fields(mut fields: Fields<'_>, server: &ServerLimits, source: &Forked, findings: &Findings) -> Option<Fork> {
    let before = &source.spec;
    let in_compat = before.space.compat;
    let field = fields.required("at");
    let is_latest = matches!(field.node().map(|node| &node.value), Some(Tree::Text(text)) if text == LATEST);
    let at = if is_latest { Some(None) } else { field.integer_in(1..=i64::MAX).map(Some) };
    let name = read_title(&fields.field("name"));
    let field = fields.field("seed");
    let seed = match field.is_present() {
        true => field.integer_as("BadSeed", "must be an integer in 0..2^64-1", true),
        false => Some(source.seed),
    };
    let section = fields.field("limits");
    let limits = limits::read(&section, &server.of(before.mode), in_compat, Some(&before.limits))
        .filter(|read| !section.is_present() || external::allows(before.mode, read, &section));
    let section = fields.field("early_termination");
    let policy =
        if section.is_present() { policy::read(&section, in_compat, findings) } else { Some(before.policy.clone()) };
    policy::check_checkpoint(policy.as_ref(), Some(&before.trial).filter(|_| !before.is_external()), findings);
    policy::check_initial_design(policy.as_ref(), Some(&before.sampler), limits.as_ref(), findings);
    let sampler = Sampler { spec: before.sampler.clone(), seed: Some(source.seed), logbase: before.space.logbase };
    objectives::Sought::of(before).check_policy(policy.as_ref(), findings);
    objectives::Sought::of(before).check_limits(limits.as_ref(), findings);
    let section = fields.field("search_space");
    let space = if section.is_present() {
        let read = space::read(&section, in_compat, Some(&sampler), limits.as_ref(), Some(&before.space), findings);
        check_references(before, &section, findings);
        read
    } else {
        let most = limits.as_ref().map(|limits| u64::from(limits.max_total_trials));
        let issues = before.sampler.check(&before.space, most);
        let good = issues.iter().all(|issue| issue.warning);
        issues.into_iter().for_each(|issue| note(issue, "/limits", findings));
        good.then(|| before.space.clone())
    };
    if let (true, Some(space), Some(limits)) = (in_compat, &space, &limits) {
        let has_policy = policy.as_ref().is_some_and(|policy| *policy != tuning::PolicySpec::None);
        compat::check(&sampler.spec, space.parameters.len(), limits, has_policy, findings);
    }
    let spec = SweepSpec {
        name,
        space: space?,
        policy: policy?,
        limits: limits?,
        seed: Some(seed?),
        resume_from: None,
        resume_trials: Vec::new(),
        ..(**before).clone()
    };
    Some(Fork { at: at?, seed: seed?, spec })
}

/// The command is as before: what it refers to must be in the new space, too.
fn check_references(before: &SweepSpec, section: &Field<'_>, findings: &Findings) {
    let mut references = References::default();
    let words = before.trial.command.iter().flat_map(|argument| argument.words());
    for template in words.chain(before.trial.environment_variables.values()) {
        references.add(section, template);
    }
    // Inputs and outputs are as they were, and were checked then.
    let names = space::names(section);
    let (inputs, outputs): (BTreeMap<String, _>, BTreeMap<String, _>) =
        (before.trial.inputs.clone(), before.trial.outputs.clone());
    references.check(names.as_ref(), &inputs, &outputs, findings);
}
