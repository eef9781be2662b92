//! Several objectives, and constraints on other metrics.

use std::collections::HashSet;

use documents::{Field, Fields, Findings, Tree, reference};
use strum::VariantNames;
use tuning::{Goal, Method, PolicySpec, SamplerSpec};

use super::compat;
use super::spec::{Constraint, ConstraintOperator, Limits, Noise, Objective, OnNonFinite, SweepSpec};

/// Most objectives: with more, nearly every trial is the best in some direction.
const OBJECTIVES_MAX: usize = 3;
/// Most constraints: each is a model of its own.
const CONSTRAINTS_MAX: usize = 16;

/// Longest name of a metric, in characters.
const METRIC_NAME_MAX: usize = 255;

/// The stable code of what needs a single best trial.
const SEVERAL: &str = "SeveralObjectives";

/// What a document says about what is sought; `None` in a member means that it was refused.
pub(super) struct Goals {
    /// The first objective, and the others.
    pub objectives: Option<(Objective, Vec<Objective>)>,
    pub constraints: Option<Vec<Constraint>>,
}

/// Reads `objective` or `objectives`, and `constraints`, which are not in `compat`.
pub(super) fn read_all(fields: &mut Fields<'_>, in_compat: bool) -> Goals {
    let objectives = read(fields);
    if in_compat && objectives.as_ref().is_some_and(|(_, further)| !further.is_empty()) {
        compat::refuse_native(&fields.field("objectives"), "objectives");
    }
    let constraints = fields.field("constraints");
    if in_compat && constraints.is_present() {
        compat::refuse_native(&constraints, "constraints");
    }
    Goals { objectives, constraints: read_constraints(&constraints) }
}

impl Goals {
    /// What that means for other sections.
    pub(super) fn rules(&self) -> Sought {
        Sought {
            several: self.objectives.as_ref().is_some_and(|(_, further)| !further.is_empty()),
            constrained: self.constraints.as_ref().is_some_and(|constraints| !constraints.is_empty()),
        }
    }
}

/// Reads `objective`, or `objectives` instead of it: the first one, and the others. One objective in a list is the same
/// as one outside of it.
fn read(fields: &mut Fields<'_>) -> Option<(Objective, Vec<Objective>)> {
    let (single, several) = (fields.field("objective"), fields.field("objectives"));
    if !several.is_present() {
        return Some((single.required().map().and_then(read_objective)?, Vec::new()));
    }
    if single.is_present() {
        several.refuse("ExactlyOne", "objective or objectives: both are given, remove one");
    }
    let items = several.list()?;
    if !(1..=OBJECTIVES_MAX).contains(&items.len()) {
        several.refuse("OutOfRange", format_args!("{} objectives; 1 to {OBJECTIVES_MAX}", items.len()));
    }
    let mut seen = HashSet::new();
    let mut read = Vec::with_capacity(items.len());
    for item in &items {
        let objective = item.map().and_then(|mut fields| {
            fields.described_by(&reference::FURTHER_OBJECTIVE);
            let goal = read_goal(&fields.required("goal"));
            let metric = fields.required("primary_metric");
            let name = metric_name(&metric)?;
            if !seen.insert(name.clone()) {
                metric
                    .refuse("DuplicateValue", format_args!("{name:?} is an objective already; name each metric once"));
            }
            Some(Objective {
                goal: goal?,
                primary_metric: name,
                on_non_finite: Default::default(),
                noise: Default::default(),
                target: None,
            })
        });
        read.push(objective);
    }
    let mut read = read.into_iter().collect::<Option<Vec<Objective>>>()?.into_iter();
    let first = read.next()?;
    Some((first, read.collect()))
}

/// What a document looks for, as far as other sections depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought {
    pub(super) several: bool,
    pub(super) constrained: bool,
}

impl Sought {
    pub(super) fn of(spec: &SweepSpec) -> Self {
        Self { several: spec.has_several(), constrained: !spec.constraints.is_empty() }
    }

    /// What of a sweep does not go with it.
    pub(super) fn check(
        self,
        sampler: Option<&SamplerSpec>,
        policy: Option<&PolicySpec>,
        limits: Option<&Limits>,
        findings: &Findings,
    ) {
        self.check_sampler(sampler, findings);
        self.check_policy(policy, findings);
        self.check_limits(limits, findings);
    }

    /// Samplers that do not go with it.
    fn check_sampler(self, sampler: Option<&SamplerSpec>, findings: &Findings) {
        if !self.several && !self.constrained {
            return;
        }
        if let Some(SamplerSpec::Bayesian { method: Method::CmaEs }) = sampler {
            let message =
                "sampling_algorithm.method: cma_es knows one objective and no constraints; use auto, gp or tpe";
            findings.refuse("/sampling_algorithm/method", "OneObjectiveOnly", message);
        }
    }

    /// Policies compare trials by one metric.
    pub(super) fn check_policy(self, policy: Option<&PolicySpec>, findings: &Findings) {
        if self.several && policy.is_some_and(|policy| *policy != PolicySpec::None) {
            let message = "early_termination: a policy compares trials by one metric, and there are several \
                           objectives; leave it out";
            findings.refuse("/early_termination", SEVERAL, message);
        }
    }

    /// Limits that look at the best trial.
    pub(super) fn check_limits(self, limits: Option<&Limits>, findings: &Findings) {
        let Some(limits) = limits.filter(|_| self.several) else { return };
        let of_the_best = [
            ("convergence", limits.convergence.is_some()),
            ("max_trials_without_improvement", limits.max_trials_without_improvement.is_some()),
        ];
        for (name, _) in of_the_best.iter().filter(|(_, given)| *given) {
            let message = format!("limits.{name}: with several objectives no trial is the best one; leave it out");
            findings.refuse(format!("/limits/{name}"), SEVERAL, message);
        }
    }
}

/// Reads `constraints`.
fn read_constraints(field: &Field<'_>) -> Option<Vec<Constraint>> {
    if !field.is_present() {
        return Some(Vec::new());
    }
    let items = field.list()?;
    if items.len() > CONSTRAINTS_MAX {
        field.refuse("TooLarge", format_args!("{} constraints, limit {CONSTRAINTS_MAX}", items.len()));
        return None;
    }
    let read: Vec<Option<Constraint>> = items
        .iter()
        .map(|item| {
            let mut fields = item.map()?;
            fields.described_by(&reference::CONSTRAINT);
            let metric = metric_name(&fields.required("metric"));
            let operator = fields.required("op").one_of("BadOperator", ConstraintOperator::VARIANTS);
            let operator = operator.and_then(|operator| operator.parse().ok());
            let value = fields.required("value").number();
            Some(Constraint { metric: metric?, operator: operator?, value: value? })
        })
        .collect();
    read.into_iter().collect()
}

fn read_objective(mut fields: Fields<'_>) -> Option<Objective> {
    fields.described_by(&reference::OBJECTIVE);
    let target = fields.field("target");
    // A target that is no finite number has a code of its own, whatever is wrong with it.
    let good_enough = match target.node().map(|node| &node.value) {
        None => Some(None),
        Some(Tree::Number(_)) => target.number().map(Some),
        Some(_) => {
            target.refuse("BadTarget", format_args!("a finite number, received {}", target.received()));
            None
        }
    };
    let noise = match fields.field("noise").one_of("BadNoise", &["none", "declared"]) {
        Some("declared") => Noise::Declared,
        _ => Noise::None,
    };
    let goal = read_goal(&fields.required("goal"));
    let metric = fields.required("primary_metric");
    let on_non_finite = match fields.field("on_non_finite").one_of("BadOnNonFinite", &["ignore", "fail"]) {
        Some("fail") => OnNonFinite::Fail,
        _ => OnNonFinite::Ignore,
    };
    let primary_metric = metric_name(&metric)?;
    Some(Objective { goal: goal?, primary_metric, on_non_finite, noise, target: good_enough? })
}

fn metric_name(metric: &Field<'_>) -> Option<String> {
    let name = metric.text()?;
    if !(1..=METRIC_NAME_MAX).contains(&name.chars().count()) || name.contains(char::is_control) {
        let rule = format!("1 to {METRIC_NAME_MAX} characters, no control characters");
        metric.refuse("BadMetricName", format_args!("{rule}; received {}", metric.received()));
        return None;
    }
    Some(name.to_owned())
}

/// Either goal, in any case.
fn read_goal(field: &Field<'_>) -> Option<Goal> {
    let text = field.node()?;
    match &text.value {
        Tree::Text(text) if text.eq_ignore_ascii_case("maximize") => Some(Goal::Maximize),
        Tree::Text(text) if text.eq_ignore_ascii_case("minimize") => Some(Goal::Minimize),
        Tree::Text(_) => field.one_of("BadGoal", &["minimize", "maximize"]).and(None),
        _ => {
            field.refuse("BadGoal", format_args!("minimize or maximize, received {}", field.received()));
            None
        }
    }
}
