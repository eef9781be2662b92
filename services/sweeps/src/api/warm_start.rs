//! What a new sweep has from earlier ones: looked up when it is submitted, and from then on in its own log.

use std::collections::BTreeMap;
use std::sync::Arc;

use contracts::status_of;
use jiff::Timestamp;
use tonic::Status;
use tuning::{Draw, Goal, SamplerSpec, SearchSpace};
use vocabulary::{FieldError, Problem, RunId, SweepId, Warning};

use crate::document::{Objective, SpaceRule, SweepSpec};
use crate::service::Core;
use crate::sweep::{InheritedTrial, ObservationsInherited, Sweep, SweepEvent, SweepState, TrialEnd};

/// Trials of one event: a few make a good row, thousands a slow one.
pub(super) const CHUNK_TRIALS: usize = 200;
/// An earlier trial ran with other code or data, perhaps; two of them say as much as one of our own.
const WEIGHT: f64 = 0.5;

/// An earlier sweep, as far as it matters.
struct Earlier {
    sweep_id: SweepId,
    state: SweepState,
    spec: Arc<SweepSpec>,
    trials: Vec<Past>,
}

/// A trial of it.
struct Past {
    run_id: RunId,
    draws: Vec<Draw>,
    end: Option<TrialEnd>,
    best: Option<f64>,
    /// The last values of the metrics that its sweep watched; none with one objective alone.
    values: Vec<Option<f64>>,
    reports: u32,
}

impl Earlier {
    /// What a trial had in a metric. Of one objective that is its result, beside others its last value: so each is
    /// compared with what the new sweep will have, when that has `several`.
    fn value_of(&self, past: &Past, metric: &str, several: bool) -> Option<f64> {
        let is_primary = self.spec.objective.primary_metric == metric;
        let last = self.spec.watched().iter().position(|watched| *watched == metric);
        let last = last.and_then(|place| past.values.get(place).copied().flatten());
        if is_primary && !(several && last.is_some()) { past.best } else { last }
    }

    /// The goal that it had for a metric.
    fn goal_of(&self, metric: &str) -> Option<Goal> {
        self.spec.objectives().find(|objective| objective.primary_metric == metric).map(|objective| objective.goal)
    }
}

fn earlier(state: &Sweep) -> Option<Earlier> {
    let submitted = state.submitted.as_ref()?;
    let trials = (0_u32..).zip(&state.trials).map(|(index, trial)| Past {
        run_id: trial.run_id,
        draws: trial.draws.clone(),
        end: trial.end.clone(),
        best: state.curves.standing(index).map(|standing| standing.value),
        values: trial.values.clone(),
        reports: state.curves.interval(index),
    });
    Some(Earlier {
        sweep_id: submitted.sweep_id,
        state: state.status.state(),
        spec: Arc::clone(&submitted.spec),
        trials: trials.collect(),
    })
}

/// What a new sweep has from its earlier ones.
#[derive(Default)]
pub(super) struct Inherited {
    /// The events that tell it.
    pub events: Vec<SweepEvent>,
    /// What is worth a warning.
    pub warnings: Vec<Warning>,
    /// What is wrong with the document in this respect, each with its place: 404 for a sweep or trial that is not
    /// there, 422 `WarmStartMismatch`, 409 for a sweep that has not ended. With one of them nothing is inherited.
    pub faults: Vec<(String, Problem)>,
}

impl Core {
    /// Looks up the earlier sweeps that a document names, each with its place. Of a document that could not be read as
    /// a whole, only whether they are there is found.
    ///
    /// # Errors
    /// What is not the document's fault.
    pub(super) async fn inherited(
        &self,
        workspace: &str,
        spec: Option<&SweepSpec>,
        named: &[(String, String)],
        at: Timestamp,
    ) -> Result<Inherited, Status> {
        let (mut inherited, mut ids) = (Inherited::default(), Vec::with_capacity(named.len()));
        for (pointer, name) in named {
            match self.find(workspace, name).await {
                Ok(sweep_id) => ids.push(sweep_id),
                Err(status) => inherited.faults.push((pointer.clone(), fault(status)?)),
            }
        }
        let Some(spec) = spec.filter(|_| inherited.faults.is_empty() && !ids.is_empty()) else { return Ok(inherited) };
        match self.gathered(workspace, spec, &ids, at).await {
            Ok((events, warnings)) => Ok(Inherited { events, warnings, ..inherited }),
            Err(status) => {
                inherited.faults.push(("/resume_from".to_owned(), fault(status)?));
                Ok(inherited)
            }
        }
    }

    async fn gathered(
        &self,
        workspace: &str,
        spec: &SweepSpec,
        ids: &[SweepId],
        at: Timestamp,
    ) -> Result<(Vec<SweepEvent>, Vec<Warning>), Status> {
        let mut sources: Vec<Earlier> = Vec::with_capacity(ids.len());
        for sweep_id in ids {
            let found = self.look(*sweep_id, |state, _| earlier(state)).await?;
            sources.extend(found);
        }
        check_sources(spec, &sources).map_err(|problem| status_of(&problem))?;
        let named = self.named(workspace, spec, &sources).await?;
        let resumed = resumed(spec, &named, &sources, workspace).map_err(|problem| status_of(&problem))?;
        let mut gathered = Gathered { spec, resumed, at, events: Vec::new(), observations: 0, outside: 0 };
        for source in &sources {
            gathered.take(source);
        }
        gathered.finish().map_err(|problem| status_of(&problem))
    }
}

/// What a document is refused for.
///
/// # Errors
/// What is not its fault.
fn fault(status: Status) -> Result<Problem, Status> {
    let problem = contracts::problem_of(&status);
    if matches!(problem.status, 400 | 404 | 409 | 422) { Ok(problem) } else { Err(status) }
}

impl Core {
    /// The sweep of each trial that goes on, by its place among the earlier ones; id or name, whichever `resume_from`
    /// has.
    async fn named(&self, workspace: &str, spec: &SweepSpec, sources: &[Earlier]) -> Result<Vec<usize>, Status> {
        let names = spec.resume_from.as_ref().map(|from| from.sweeps.as_slice()).unwrap_or_default();
        let mut places = Vec::with_capacity(spec.resume_trials.len());
        for (at, wanted) in spec.resume_trials.iter().enumerate() {
            let mut place = names.iter().position(|name| *name == wanted.sweep);
            if place.is_none() {
                let id = self.find(workspace, &wanted.sweep).await?;
                place = sources.iter().position(|source| source.sweep_id == id);
            }
            places.push(place.ok_or_else(|| {
                let message = format!("resume_trials[{at}]: {:?} is not in resume_from; add it", wanted.sweep);
                status_of(&Problem::invalid(&format!("/resume_trials/{at}"), "WarmStartMismatch", message))
            })?);
        }
        Ok(places)
    }
}

/// Whether their results can be compared with the new sweep's, and are there.
fn check_sources(spec: &SweepSpec, sources: &[Earlier]) -> Result<(), Problem> {
    let intersects = spec.resume_from.as_ref().is_some_and(|from| from.space == SpaceRule::Intersect);
    let section = if intersects { "/resume_from/sweeps" } else { "/resume_from" };
    let mut errors = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let mut refuse = |message: String| {
            errors.push(FieldError::new(format!("{section}/{at}"), "WarmStartMismatch", message));
        };
        let name = source.sweep_id;
        if sources[..at].iter().any(|other| other.sweep_id == name) {
            refuse(format!("{name} is there already; name each sweep once"));
        }
        for objective in spec.objectives() {
            let (goal, metric) = (objective.goal, &objective.primary_metric);
            if source.goal_of(metric) != Some(goal) {
                let did: Vec<String> =
                    source.spec.objectives().map(|other| aim(other, "maximised", "minimised")).collect();
                let does = aim(objective, "maximises", "minimises");
                refuse(format!("{name} {}; this {does}", did.join(" and ")));
            }
        }
        let model = matches!(spec.sampler, SamplerSpec::Bayesian { .. });
        if let Some(name_of_other) = difference(&spec.space, &source.spec.space).filter(|_| model && !intersects) {
            refuse(format!(
                "the space of {name} differs in {name_of_other}; use {{sweeps: […], space: intersect}} for what they \
                 share"
            ));
        }
    }
    if !errors.is_empty() {
        return Err(Problem::of_errors(422, errors));
    }
    match sources.iter().find(|source| !source.state.is_terminal()) {
        Some(source) => {
            let detail =
                format!("sweep {} is {}; only sweeps that have ended warm another", source.sweep_id, source.state);
            Err(Problem::conflict("WrongState", detail).with("state", source.state.to_string()))
        }
        None => Ok(()),
    }
}

fn aim(objective: &Objective, maximises: &str, minimises: &str) -> String {
    let word = if objective.goal == Goal::Maximize { maximises } else { minimises };
    format!("{word} {}", objective.primary_metric)
}

/// The first parameter in which two spaces differ; defaults say nothing about a space.
fn difference(ours: &SearchSpace, theirs: &SearchSpace) -> Option<String> {
    if ours.logbase != theirs.logbase || ours.compat != theirs.compat {
        return Some("its base or mode".to_owned());
    }
    let of = |space: &SearchSpace| -> BTreeMap<String, _> {
        let plain = space.parameters.iter().map(|p| (p.name.clone(), (p.distribution.clone(), p.when.clone())));
        plain.collect()
    };
    let (ours, theirs) = (of(ours), of(theirs));
    let differs = |name: &&String| ours.get(*name) != theirs.get(*name);
    ours.keys().chain(theirs.keys()).find(differs).cloned()
}

/// Which trials go on, by the place of their sweep.
fn resumed(
    spec: &SweepSpec,
    places: &[usize],
    sources: &[Earlier],
    workspace: &str,
) -> Result<Vec<(SweepId, u32)>, Problem> {
    let mut found: Vec<(SweepId, u32)> = Vec::with_capacity(spec.resume_trials.len());
    for (at, (wanted, place)) in spec.resume_trials.iter().zip(places).enumerate() {
        let source = sources.get(*place);
        let text = format!("{}/{}", wanted.sweep, wanted.trial);
        let Some(source) = source.filter(|source| (wanted.trial as usize) < source.trials.len()) else {
            let Problem { code, detail, .. } = Problem::not_found("trial", &text, workspace);
            return Err(Problem::of_errors(404, vec![FieldError::new(format!("/resume_trials/{at}"), code, detail)]));
        };
        let trial = (source.sweep_id, wanted.trial);
        if found.contains(&trial) {
            let message = format!("{text} is there already; name each trial once");
            return Err(Problem::invalid(&format!("/resume_trials/{at}"), "DuplicateTrial", message));
        }
        found.push(trial);
    }
    Ok(found)
}

struct Gathered<'a> {
    spec: &'a SweepSpec,
    resumed: Vec<(SweepId, u32)>,
    at: Timestamp,
    events: Vec<SweepEvent>,
    observations: usize,
    outside: usize,
}

impl Gathered<'_> {
    fn take(&mut self, source: &Earlier) {
        let mut taken: Vec<InheritedTrial> = Vec::new();
        for (index, past) in (0_u32..).zip(&source.trials) {
            let Some(end) = past.end.clone() else { continue };
            let resumed = self.resumed.contains(&(source.sweep_id, index));
            // A trial that was ended before it had a value says nothing.
            if !resumed && past.best.is_none() && matches!(end, TrialEnd::Canceled { .. }) {
                continue;
            }
            let Some(draws) = placed(&self.spec.space, &source.spec.space, &past.draws) else {
                self.outside += 1;
                continue;
            };
            if resumed && !is_whole(&self.spec.space, &draws) {
                continue;
            }
            self.observations += usize::from(!resumed);
            let (run_id, reports) = (past.run_id, past.reports);
            let (best, others) = self.values(source, past);
            taken.push(InheritedTrial { trial: index, run_id, draws, end, best, others, reports, resumed });
        }
        for trials in taken.chunks(CHUNK_TRIALS) {
            let (source, trials, at) = (source.sweep_id, trials.to_vec(), self.at);
            self.events.push(ObservationsInherited { source, weight: WEIGHT, trials, at }.into());
        }
    }

    /// The first objective's value, and those of the further outputs.
    fn values(&self, source: &Earlier, past: &Past) -> (Option<f64>, Vec<Option<f64>>) {
        let several = self.spec.has_several();
        let value = |metric: &str| source.value_of(past, metric, several);
        let further = self.spec.further_objectives.iter().map(|objective| objective.primary_metric.as_str());
        let constraints = self.spec.constraints.iter().map(|constraint| constraint.metric.as_str());
        (value(&self.spec.objective.primary_metric), further.chain(constraints).map(value).collect())
    }

    fn finish(self) -> Result<(Vec<SweepEvent>, Vec<Warning>), Problem> {
        let limit = self.spec.limits.max_total_trials;
        let resumed = self.resumed.len();
        if self.observations + resumed.max(1) > limit as usize {
            let message = format!(
                "max_total_trials {limit}: {} trials are inherited and count, {resumed} go on; raise it",
                self.observations
            );
            return Err(Problem::invalid("/limits/max_total_trials", "OutOfRange", message));
        }
        let kept: usize = self.events.iter().map(resumed_in).sum();
        if kept < resumed {
            let message = "a trial to go on with lacks a parameter of search_space or lies outside it; change it, or \
                           leave the trial out";
            return Err(Problem::invalid("/resume_trials", "OutsideSpace", message));
        }
        let mut warnings = Vec::new();
        if self.outside > 0 {
            let message = format!("resume_from: {} trials lie outside search_space and are left out", self.outside);
            warnings.push(Warning { code: "OutsideSpace".to_owned(), pointer: "/resume_from".to_owned(), message });
        }
        Ok((self.events, warnings))
    }
}

/// Whether a trial with these parameters could run: those that always apply are there.
pub(super) fn is_whole(space: &SearchSpace, draws: &[Draw]) -> bool {
    let mut always = space.parameters.iter().filter(|parameter| parameter.when.is_empty());
    always.all(|parameter| draws.iter().any(|draw| draw.name == parameter.name))
}

fn resumed_in(event: &SweepEvent) -> usize {
    match event {
        SweepEvent::ObservationsInherited(event) => event.trials.iter().filter(|trial| trial.resumed).count(),
        _ => 0,
    }
}

/// What a trial of another space is in ours: the parameters of the same type, with their numbers here. `None` when a
/// value is outside, or nothing is shared.
pub(super) fn placed(ours: &SearchSpace, theirs: &SearchSpace, draws: &[Draw]) -> Option<Vec<Draw>> {
    let alike = ours.logbase == theirs.logbase && ours.compat == theirs.compat;
    let mut found = Vec::with_capacity(draws.len());
    for (place, parameter) in ours.parameters.iter().enumerate() {
        let Some(draw) = draws.iter().find(|draw| draw.name == parameter.name) else { continue };
        let theirs = theirs.parameters.iter().find(|other| other.name == parameter.name)?;
        if alike && theirs.distribution == parameter.distribution {
            found.push(draw.clone());
        } else if theirs.distribution.kind() == parameter.distribution.kind() {
            found.push(ours.draw_of(place, &draw.value).ok()?);
        }
    }
    (!found.is_empty()).then_some(found)
}
