//! Proposals: how many are allowed, and what they are made from.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use tuning::{Configuration, Proposal, fingerprint, propose};

use super::command::NewTrial;
use super::events::{Basis, SweepStarted, TrialProposed};
use super::exploit::{Exploit, Population};
use super::inheritance::Inheritance;
use super::job::{Source, TrialJob};
use super::rejection::{Decided, Rejection};
use super::state::{Submitted, Sweep};
use super::status::{CompletedReason, Outcome, Status};
use crate::document::SweepSpec;

/// What the next proposals are made from. Cheap to take out of the state, so that the sampler works beside the log.
#[derive(Clone, Debug)]
pub struct ProposalBasis {
    /// The space and the sampler.
    pub spec: Arc<SweepSpec>,
    /// The seed in force.
    pub seed: u64,
    /// How many were proposed.
    pub from: u32,
    /// The first Sobol point or grid cell that is not used.
    pub next_index: u64,
    /// What was proposed.
    pub taken: Arc<HashSet<u128>>,
    /// How many more are allowed now; at least one.
    pub allowed: u32,
    /// What the sweep has from earlier ones: its first trials may go on with theirs.
    pub inheritance: Arc<Inheritance>,
    /// What the next children in a population are made from.
    pub population: Population,
}

/// A proposal that is made.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its parameters.
    pub proposal: Proposal,
    /// Where they come from, when it follows another trial.
    pub exploit: Option<Exploit>,
}

/// The next proposals on some ground, at most `most`, and whether the space is used up after them.
pub fn proposals(basis: &ProposalBasis, most: u32) -> (Vec<Planned>, bool) {
    let mut made: Vec<Planned> = Vec::new();
    let mut children = 0;
    let mut fresh: HashSet<u128> = HashSet::new();
    let mut next_index = basis.next_index;
    for number in (u64::from(basis.from)..).take(basis.allowed.min(most) as usize) {
        let taken = |configuration: &Configuration| {
            let digest = fingerprint(configuration);
            basis.taken.contains(&digest) || fresh.contains(&digest)
        };
        let spec = &basis.spec;
        if let Some((proposal, _)) = basis.inheritance.resumed(number) {
            fresh.insert(fingerprint(&proposal.configuration()));
            made.push(Planned { proposal, exploit: None });
            continue;
        }
        if let Some((proposal, exploit)) = basis.population.child(spec, basis.seed, number, children) {
            children += 1;
            fresh.insert(fingerprint(&proposal.configuration()));
            made.push(Planned { proposal, exploit: Some(exploit) });
            continue;
        }
        match propose(&spec.space, &spec.sampler, basis.seed, number, next_index, &taken) {
            Some(proposal) => {
                next_index = next_index.max(proposal.index.saturating_add(1));
                fresh.insert(fingerprint(&proposal.configuration()));
                made.push(Planned { proposal, exploit: None });
            }
            None => return (made, true),
        }
    }
    (made, false)
}

impl Sweep {
    /// How many proposals the state and the limits in force allow now.
    pub fn allowed(&self) -> u32 {
        // A place that is free goes to a trial that may be promoted first.
        if self.promotion().is_some() { 0 } else { self.allowed_beside(0) }
    }

    /// The same when so many trials that waited take places.
    pub(super) fn allowed_beside(&self, promoted: usize) -> u32 {
        let Some(submitted) = &self.submitted else { return 0 };
        if !matches!(self.status, Status::Queued | Status::Running) {
            return 0;
        }
        let live = u32::try_from(self.live.len() + promoted).unwrap_or(u32::MAX);
        let left = self.most_trials(&submitted.limits).saturating_sub(self.spent());
        let room = left.min(submitted.limits.max_concurrent_trials.saturating_sub(live));
        if room == 0 { 0 } else { self.population_room(&submitted.limits).map_or(room, |most| room.min(most)) }
    }

    /// What the next proposals are made from; `None` while none is allowed.
    pub fn basis(&self) -> Option<ProposalBasis> {
        let submitted = self.submitted.as_ref()?;
        let allowed = self.allowed();
        // Trials of an external sweep are proposed when somebody asks for them, and a model is asked elsewhere.
        (allowed > 0 && !self.is_modelled() && !submitted.spec.is_external()).then(|| ProposalBasis {
            spec: Arc::clone(&submitted.spec),
            seed: submitted.seed,
            from: self.proposals(),
            next_index: self.next_index,
            taken: Arc::clone(&self.taken),
            allowed,
            inheritance: Arc::clone(&self.inheritance),
            population: self.population(),
        })
    }

    /// Takes as many of the proposals as are allowed. Proposals that were made from an older state are refused: after a
    /// crash or a repeat there is no trial too many.
    pub(super) fn propose(&self, from: u32, trials: &[NewTrial], at: Timestamp) -> Decided {
        let submitted = self.known()?;
        let allowed = self.allowed() as usize;
        if from != self.proposals() || allowed == 0 || trials.is_empty() {
            return Err(Rejection::NothingToPropose);
        }
        let usable = self.usable_new(trials);
        if usable == 0 {
            return Err(Rejection::NeedsSuggestion);
        }
        let mut events = Vec::with_capacity(trials.len() + 1);
        if self.status == Status::Queued {
            events.push(SweepStarted { workspace: submitted.workspace.clone(), at }.into());
        }
        let started = events.len();
        let population = self.population();
        let mut children = 0;
        for (trial, new) in (from..).zip(trials.iter().take(allowed.min(usable))) {
            let resumes = self.inheritance.resumed(u64::from(trial)).is_some();
            let child = population.child(&submitted.spec, submitted.seed, u64::from(trial), children);
            let child = child.filter(|_| !resumes);
            // Somebody has fallen behind, or has ended, since the command was made.
            if child.is_some() != new.child {
                break;
            }
            children += usize::from(new.child);
            events.push(self.proposed(submitted, trial, new, child, at).into());
        }
        if events.len() == started { Err(Rejection::NothingToPropose) } else { Ok(events) }
    }

    /// The event that proposes a trial of a job; a child's parameters are those that follow from the state.
    fn proposed(
        &self,
        submitted: &Submitted,
        trial: u32,
        new: &NewTrial,
        child: Option<(Proposal, Exploit)>,
        at: Timestamp,
    ) -> TrialProposed {
        let (proposal, exploit) = child
            .map_or_else(|| (new.proposal.clone(), None), |(proposal, exploit)| (proposal, Some(Box::new(exploit))));
        let source = Source {
            workspace: &submitted.workspace,
            sweep_id: submitted.sweep_id,
            name: &submitted.name,
            spec: &submitted.spec,
            limits: &submitted.limits,
            seed: submitted.seed,
        };
        let mut job = TrialJob::render(source, trial, new.run_id, &proposal.draws);
        let donor = exploit.as_ref().and_then(|exploit| Some(self.trials.get(exploit.donor as usize)?.run_id));
        let resumed = self.inheritance.resumed(u64::from(trial)).map(|(_, run)| run);
        if let Some(run) = donor.or(resumed).filter(|_| job.checkpoint) {
            job.checkpoint_from = run.to_string();
        }
        TrialProposed {
            workspace: submitted.workspace.clone(),
            trial,
            run_id: new.run_id,
            job: Some(job),
            external: None,
            draws: proposal.draws,
            sampler_index: proposal.index,
            redraw: proposal.redraw,
            sampler_version: tuning::SAMPLER_VERSION,
            basis: Basis { model: new.made.as_ref().map(|made| made.basis), imported: false, exploit },
            explained: new.made.as_ref().map(|made| made.explained.clone()),
            at,
        }
    }

    /// How many of the proposals know enough; all, when no model made them.
    fn usable_new(&self, trials: &[NewTrial]) -> usize {
        if !self.is_modelled() {
            return trials.len();
        }
        let knows =
            |(ahead, new): &(usize, &NewTrial)| new.made.as_ref().is_some_and(|made| self.knows_enough(made, *ahead));
        trials.iter().enumerate().take_while(knows).count()
    }

    /// The sampler has nothing more: the sweep completes when its live trials have ended.
    pub(super) fn exhaust(&self, from: u32, at: Timestamp) -> Decided {
        self.known()?;
        if from != self.proposals() || self.allowed() == 0 {
            return Err(Rejection::NothingToPropose);
        }
        let outcome = Outcome::Completed { reason: CompletedReason::SpaceExhausted };
        Ok(self.begin_ending(outcome, None, at))
    }
}
