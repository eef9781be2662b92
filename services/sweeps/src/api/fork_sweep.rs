//! Makes a sweep of what another one had found at some position of the log.

use std::sync::Arc;

use contracts::sweeps as wire;
use contracts::{CallContext, status_of};
use eventlog::RecordedEvent;
use tonic::{Request, Status};
use tuning::{Draw, Goal, PolicySpec, Report, Reported, SamplerSpec, Trials};
use vocabulary::{Decider, Problem, SweepId, Warning};

use super::Answer;
use super::submit_sweep::{Submission, format_of, refuse};
use super::warm_start::{CHUNK_TRIALS, is_whole, placed};
use crate::document::{Fork, Forked, SweepSpec, read_fork};
use crate::service::Core;
use crate::stream::stream_of;
use crate::sweep::{
    AdoptedTrial, ObservationRecorded, ObservationsInherited, Parent, Point, Sweep, SweepEvent, SweepSubmitted,
    TrialsAdopted,
};
use crate::views;

/// Events read at once.
const PAGE_EVENTS: u32 = 1000;

impl Core {
    pub(super) async fn fork_sweep(&self, request: Request<wire::ForkSweepRequest>) -> Answer<wire::SubmitSweepReply> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let format = format_of(&request.format)?;
        let source = self.find(&request.workspace, &request.sweep).await?;
        let forked = self.look(source, |sweep, _| forked(sweep)).await?;
        let Some(forked) = forked else {
            return Err(refuse(Problem::not_found("sweep", &request.sweep, &request.workspace)));
        };
        let (limits, document) = (self.limits, request.document);
        let read = runtime::reading::body(document.len(), move || {
            let read = read_fork(&document, format, &limits, &forked);
            read.map(|read| (read, forked, document))
        });
        let ((fork, mut warnings), forked, document) = read.await.flatten().map_err(refuse)?;
        let before = match call.command_id {
            Some(command) => views::by_command(self.log.reader(), command).await.map_err(calls::unreadable)?,
            None => None,
        };
        let at = self.clock.now();
        let mut history = Vec::new();
        let head = *self.log.head().borrow();
        let position = fork.at.unwrap_or(head);
        if before.is_none() {
            let past = self.past(source, position, head).await?;
            let (found, left_out) = past.history(&forked, &fork, (source, at)).map_err(refuse)?;
            history = found;
            warnings.extend(left_out);
        }
        let sweep_id = before.unwrap_or_else(|| SweepId::new(self.entropy.uuid()));
        let submitted = SweepSubmitted {
            workspace: request.workspace,
            sweep_id,
            name: fork.spec.name.clone().unwrap_or_else(|| sweep_id.to_string()),
            seed: fork.seed,
            spec: fork.spec,
            document: String::from_utf8_lossy(&document).into_owned(),
            warnings,
            parent: Some(Parent { sweep_id: source, position }),
            tuner_version: tuning::TUNER_VERSION,
            at,
        };
        self.record(&call, Submission { submitted, history, first: Vec::new() }).await
    }

    /// The sweep as it was at the position.
    async fn past(&self, source: SweepId, at: i64, head: i64) -> Result<Past, Status> {
        let stream = stream_of(source);
        let (mut past, mut version, mut first) = (Past::default(), 0, None);
        loop {
            let page = self.log.read_stream(&stream, version, PAGE_EVENTS).await.map_err(calls::unreadable)?;
            let Some(last) = page.last() else { break };
            version = last.version;
            first = first.or(page.first().map(|event| event.position));
            let is_over = last.position >= at;
            // A long history must not keep others from this thread.
            let taken = runtime::background::run(move || {
                page.iter().take_while(|event| event.position <= at).try_for_each(|event| past.take(event))?;
                Ok::<_, eventlog::Error>(past)
            });
            past = taken.await.map_err(super::broken)?.map_err(calls::unreadable)?;
            if is_over {
                break;
            }
        }
        let first = first.unwrap_or(1);
        if (first..=head).contains(&at) {
            return Ok(past);
        }
        let message = format!("at {at}: a position of the log from {first}, where the sweep begins, to {head}");
        Err(status_of(&Problem::invalid("/at", "OutOfRange", message)))
    }
}

fn forked(sweep: &Sweep) -> Option<Forked> {
    let submitted = sweep.submitted.as_ref()?;
    let mut spec = (*submitted.spec).clone();
    spec.limits.clone_from(&submitted.limits);
    spec.description.clone_from(&submitted.description);
    spec.tags.clone_from(&submitted.tags);
    Some(Forked { spec: Arc::new(spec), seed: submitted.seed })
}

/// A sweep up to some position, with what its state does not keep.
struct Past {
    sweep: Sweep,
    curves: Trials,
    /// Counted reports, with their attempts, by trial.
    points: Vec<Vec<(u32, Point)>>,
    /// The sampler's own numbers, by trial.
    used: Vec<Option<u64>>,
    inherited: Vec<ObservationsInherited>,
}

impl Default for Past {
    fn default() -> Self {
        let curves = Trials::new(PolicySpec::None, Goal::Maximize);
        Self { sweep: Sweep::default(), curves, points: Vec::new(), used: Vec::new(), inherited: Vec::new() }
    }
}

impl Past {
    fn take(&mut self, recorded: &RecordedEvent) -> Result<(), eventlog::Error> {
        let event = recorded.decode::<SweepEvent>()?;
        match &event {
            SweepEvent::TrialProposed(proposed) => {
                let elsewhere = proposed.basis.imported || proposed.basis.exploit.is_some();
                let goes_on = self.sweep.inheritance.resumed(u64::from(proposed.trial)).is_some();
                self.points.push(Vec::new());
                self.used.push(Some(proposed.sampler_index).filter(|_| !goes_on && !elsewhere));
            }
            SweepEvent::TrialsAdopted(adopted) => {
                for trial in &adopted.trials {
                    self.points.push(trial.points.iter().map(|point| (1, *point)).collect());
                    self.used.push(trial.sampler_index);
                }
            }
            SweepEvent::ObservationsInherited(inherited) => self.inherited.push(inherited.clone()),
            SweepEvent::ObservationRecorded(observed) if !observed.after_stop => self.observed(observed),
            _ => {}
        }
        self.sweep.evolve(&event);
        Ok(())
    }

    fn observed(&mut self, observed: &ObservationRecorded) {
        let Some(points) = self.points.get_mut(observed.trial as usize) else { return };
        let (trial, attempt) = (observed.trial, observed.attempt);
        for point in &observed.points {
            let report = Report { trial, attempt, step: point.step, value: point.value, position: 0 };
            if matches!(self.curves.report(&report), Reported::Counted { .. }) {
                // A later attempt says again what an earlier one said from there on.
                points.retain(|(before, earlier)| *before >= attempt || earlier.step < point.step);
                points.push((attempt, *point));
            }
        }
    }

    /// What the fork begins with, and what is worth a warning about it.
    fn history(
        self,
        forked: &Forked,
        fork: &Fork,
        (source, at): (SweepId, jiff::Timestamp),
    ) -> Result<(Vec<SweepEvent>, Vec<Warning>), Problem> {
        let mut outside = 0_usize;
        let mut fit = |draws: &[Draw], whole: bool| {
            let fitting = fitting(&forked.spec, &fork.spec, draws, whole);
            outside += usize::from(fitting.is_none());
            fitting
        };
        let mut events = Vec::new();
        let mut inherited = 0;
        for mut event in self.inherited {
            event.at = at;
            event.trials.retain_mut(|trial| {
                !trial.resumed && fit(&trial.draws, false).map(|draws| trial.draws = draws).is_some()
            });
            inherited += event.trials.len();
            events.push(SweepEvent::from(event));
        }
        let goes_on = goes_on(forked, fork);
        let mut adopted = Vec::new();
        for ((index, trial), (points, used)) in
            (0_u32..).zip(&self.sweep.trials).zip(self.points.iter().zip(&self.used))
        {
            let Some(end) = trial.end.clone() else { continue };
            let Some(draws) = fit(&trial.draws, true) else { continue };
            let points = points.iter().map(|(_, point)| *point).collect();
            let sampler_index = used.filter(|_| goes_on);
            adopted.push(AdoptedTrial {
                trial: index,
                run_id: trial.run_id,
                draws,
                sampler_index,
                points,
                values: trial.values.clone(),
                end,
            });
        }
        let total = fork.spec.limits.max_total_trials;
        if adopted.len() + inherited >= total as usize {
            let message = format!(
                "max_total_trials {total}: the fork begins with {} trials that count, {inherited} of them inherited; \
                 give a larger one",
                adopted.len() + inherited
            );
            return Err(Problem::invalid("/limits/max_total_trials", "OutOfRange", message));
        }
        for trials in adopted.chunks(CHUNK_TRIALS) {
            events.push(TrialsAdopted { source, trials: trials.to_vec(), at }.into());
        }
        let warning = (outside > 0).then(|| Warning {
            code: "OutsideSpace".to_owned(),
            pointer: "/search_space".to_owned(),
            message: format!("{outside} trials do not fit search_space and are left out"),
        });
        Ok((events, warning.into_iter().collect()))
    }
}

/// A trial's parameters in the space of the fork. Its own trials have all of them.
fn fitting(before: &SweepSpec, after: &SweepSpec, draws: &[Draw], whole: bool) -> Option<Vec<Draw>> {
    if before.space == after.space {
        return Some(draws.to_vec());
    }
    placed(&after.space, &before.space, draws).filter(|draws| !whole || is_whole(&after.space, draws))
}

/// Whether the sampler goes on where the sweep's was: its points or cells are the same.
fn goes_on(forked: &Forked, fork: &Fork) -> bool {
    let seeded = !matches!(fork.spec.sampler, SamplerSpec::Grid);
    forked.spec.space == fork.spec.space && (!seeded || forked.seed == fork.seed)
}
