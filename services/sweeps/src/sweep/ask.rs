//! Asks: trials for whoever runs them. A lease that has run out is seen at the next ask.

use tuning::{Promotion, Proposal};
use vocabulary::RunId;

use super::command::Ask;
use super::events::{Basis, SweepEvent, SweepStarted, TrialLeased, TrialProposed};
use super::exploit::Exploit;
use super::lease::{ExternalObjective, ExternalTrial, Lease};
use super::model::Made;
use super::propose::{Planned, ProposalBasis, proposals};
use super::rejection::{Decided, Rejection};
use super::state::{Submitted, Sweep};
use super::status::{CompletedReason, Outcome, Status};

impl Sweep {
    /// Offers trials whose lease has run out again, the longest expired first, then new ones as far as the limits
    /// allow.
    pub(super) fn ask(&self, ask: &Ask) -> Decided {
        let submitted = self.external_of(&ask.workspace)?;
        let mut events = self.lost(ask);
        let wanted = ask.run_ids.get(events.len()..).unwrap_or_default();
        // Whoever waits at a rung and may go on takes a place before a new trial.
        let promotions = self.promotions(wanted.len());
        let promoted = promotions.len();
        for promotion in promotions {
            events.extend(self.goes_on(submitted, ask, promotion));
        }
        let wanted = wanted.get(promoted..).unwrap_or_default();
        let most = self.allowed_beside(promoted).min(u32::try_from(wanted.len()).unwrap_or(u32::MAX));
        if most == 0 {
            return Ok(events);
        }
        let (made, exhausted) = self.made(submitted, ask, most);
        if made.is_empty() && !exhausted {
            // What has to be offered again does not need the model.
            return if events.is_empty() { Err(Rejection::NeedsSuggestion) } else { Ok(events) };
        }
        if self.status == Status::Queued && !made.is_empty() {
            events.push(SweepStarted { workspace: submitted.workspace.clone(), at: ask.at }.into());
        }
        let nothing_new = made.is_empty();
        for ((trial, new), run_id) in (self.proposals()..).zip(made).zip(wanted) {
            events.push(offered(submitted, ask, trial, *run_id, new).into());
        }
        // With new trials in the same answer the next ask finds out again.
        if exhausted && nothing_new {
            let outcome = Outcome::Completed { reason: CompletedReason::SpaceExhausted };
            events.extend(self.begin_ending(outcome, None, ask.at));
        }
        Ok(events)
    }

    /// A trial that goes on from its rung, held by whoever asks.
    fn goes_on(&self, submitted: &Submitted, ask: &Ask, promotion: Promotion) -> Vec<SweepEvent> {
        let Some(promoted) = self.promoted(submitted, promotion, ask.at) else { return Vec::new() };
        let lease = Lease::new(&ask.worker, ask.lease_seconds, ask.at);
        let leased = TrialLeased { trial: promoted.trial, attempt: promoted.attempt, lease, at: ask.at };
        vec![promoted.into(), leased.into()]
    }

    /// The next proposals, at most `most`, and whether there are no more after them.
    fn made(&self, submitted: &Submitted, ask: &Ask, most: u32) -> (Vec<New>, bool) {
        if self.is_modelled() {
            let usable = self.usable(&ask.suggested, most);
            let taken = ask.suggested.iter().take(usable).cloned();
            let exhausted = ask.exhausted == u32::try_from(usable).ok().map(|usable| self.proposals() + usable);
            let new = taken.map(|new| New { proposal: new.proposal, made: Some(new.made), exploit: None });
            return (new.collect(), exhausted);
        }
        let (made, exhausted) = proposals(&self.basis_of(submitted, most), most);
        let new = |planned: Planned| New { proposal: planned.proposal, made: None, exploit: planned.exploit };
        (made.into_iter().map(new).collect(), exhausted)
    }

    fn basis_of(&self, submitted: &Submitted, allowed: u32) -> ProposalBasis {
        ProposalBasis {
            spec: std::sync::Arc::clone(&submitted.spec),
            seed: submitted.seed,
            from: self.proposals(),
            next_index: self.next_index,
            taken: std::sync::Arc::clone(&self.taken),
            allowed,
            inheritance: std::sync::Arc::clone(&self.inheritance),
            population: self.population(),
        }
    }

    /// Trials whose holder has fallen silent, for somebody else. A paused sweep offers nothing; one that completes
    /// waits for just these.
    fn lost(&self, ask: &Ask) -> Vec<SweepEvent> {
        if !matches!(self.status, Status::Running | Status::Completing(Outcome::Completed { .. })) {
            return Vec::new();
        }
        let now_us = ask.at.as_microsecond();
        let expired = self.leases.iter().take_while(|(expires_us, _)| *expires_us <= now_us);
        let lost = expired.filter_map(|&(_, trial)| {
            let held = self.trials.get(trial as usize)?;
            let is_over = held.lease.as_ref()?.is_over(ask.at, ask.listening_since);
            is_over.then(|| (trial, held.attempt() + 1))
        });
        let again = lost.take(ask.run_ids.len()).map(|(trial, attempt)| {
            let lease = Lease::new(&ask.worker, ask.lease_seconds, ask.at);
            TrialLeased { trial, attempt, lease, at: ask.at }.into()
        });
        again.collect()
    }
}

/// A proposal for whoever asks.
struct New {
    proposal: Proposal,
    made: Option<Made>,
    exploit: Option<Exploit>,
}

fn offered(submitted: &Submitted, ask: &Ask, trial: u32, run_id: RunId, new: New) -> TrialProposed {
    let New { proposal, made, exploit } = new;
    let external = ExternalTrial {
        experiment: submitted.spec.experiment.clone(),
        run_name: format!("{}-{trial}", submitted.name),
        lease: Lease::new(&ask.worker, ask.lease_seconds, ask.at),
        objective: Some(Box::new(ExternalObjective {
            metric: submitted.spec.objective.primary_metric.clone(),
            goal: submitted.spec.objective.goal,
        })),
    };
    TrialProposed {
        workspace: submitted.workspace.clone(),
        trial,
        run_id,
        draws: proposal.draws,
        sampler_index: proposal.index,
        redraw: proposal.redraw,
        sampler_version: tuning::SAMPLER_VERSION,
        basis: Basis { model: made.as_ref().map(|made| made.basis), imported: false, exploit: exploit.map(Box::new) },
        explained: made.map(|made| made.explained),
        job: None,
        external: Some(external),
        at: ask.at,
    }
}
