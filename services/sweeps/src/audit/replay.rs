//! The recomputation itself, an event at a time.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use eventlog::{EventLog, RecordedEvent};
use serde_json::json;
use tuning::{
    Configuration, Decision, PolicySpec, Proposal, Report, Reported, SamplerVersion, Trials, Verdict, fingerprint,
    propose,
};
use uuid::Uuid;
use vocabulary::{Decider, SweepId};

use super::findings::{Difference, between_decisions, between_proposals, broken, plain};
use super::model::ModelAudit;
use crate::document::{OnNonFinite, SweepSpec};
use crate::stream::stream_of;
use crate::sweep::{
    ObservationRecorded, Population, StopBy, Sweep, SweepEvent, Trial, TrialPaused, TrialPromoted, TrialProposed,
    TrialStopRequested, TrialsAdopted, configuration_of,
};
use crate::tuner::based;

/// Events read at once.
const PAGE_EVENTS: u32 = 1000;
/// Differences that are kept; a log that differs everywhere says no more with all of them.
const DIFFERENCES_MAX: usize = 1000;

/// A decision about the trial that is looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    /// Where it is in the log: its own event if it has one, else the report that it was about.
    pub position: i64,
    /// stop | keep | pause | promote.
    pub verdict: &'static str,
    /// With versions of the stream for positions.
    pub decision: Decision,
}

/// What has been recomputed so far.
pub(crate) struct Audit {
    /// The state that the events lead to.
    pub sweep: Sweep,
    /// The log position of each version, from 1.
    pub positions: Vec<i64>,
    /// How many suggestions were recomputed.
    pub proposals_checked: u64,
    /// How many suggestions were made elsewhere, and so cannot be recomputed.
    pub imported: u64,
    /// How many verdicts were recomputed, kept or stopped.
    pub decisions_checked: u64,
    /// What differs.
    pub differences: Vec<Difference>,
    /// Verdicts on the trial that is looked at.
    pub judged: Vec<Judged>,
    /// Proposals by samplers of other versions, by version: they cannot be recomputed here.
    pub unverifiable: BTreeMap<u32, u64>,
    watched: Option<u32>,
    /// As submitted, with the rules of the last proposal.
    spec: Option<Arc<SweepSpec>>,
    model: Option<ModelAudit>,
    curves: Trials,
    taken: HashSet<u128>,
    next_index: u64,
    halt: Option<Halt>,
    keeps: VecDeque<(u32, Decision)>,
    last: Option<Last>,
    versions_wrong: Option<i64>,
    appends_wrong: Option<i64>,
    times_wrong: Option<i64>,
}

/// A stop or a pause that a report called for.
struct Halt {
    trial: u32,
    verdict: &'static str,
    decision: Decision,
}

struct Last {
    position: i64,
    version: i64,
    recorded_at_us: i64,
    command_id: Uuid,
    /// Commands that have ended; an append's events are never apart.
    recorded_by: HashSet<Uuid>,
}

/// Goes through a sweep's history; `watched` is the trial whose verdicts are kept.
///
/// # Errors
/// When the log cannot be read, or an event not decoded.
pub(crate) async fn audit(log: &EventLog, sweep_id: SweepId, watched: Option<u32>) -> Result<Audit, eventlog::Error> {
    let stream = stream_of(sweep_id);
    let mut audit = Audit::new(watched);
    let mut version = 0;
    loop {
        let page = log.read_stream(&stream, version, PAGE_EVENTS).await?;
        let Some(last) = page.last() else { break };
        version = last.version;
        // A model takes its time, and a long history must not keep others from this thread.
        let taken = runtime::background::run(move || {
            for event in &page {
                audit.take(event, &event.decode::<SweepEvent>()?);
            }
            Ok::<_, eventlog::Error>(audit)
        });
        audit = taken.await.map_err(|error| eventlog::Error::Panicked(error.to_string()))??;
    }
    audit.settle();
    Ok(audit)
}

impl Audit {
    pub(crate) fn new(watched: Option<u32>) -> Self {
        Self {
            sweep: Sweep::default(),
            positions: Vec::new(),
            proposals_checked: 0,
            imported: 0,
            decisions_checked: 0,
            differences: Vec::new(),
            judged: Vec::new(),
            unverifiable: BTreeMap::new(),
            watched,
            spec: None,
            model: None,
            curves: Trials::default(),
            taken: HashSet::new(),
            next_index: 0,
            halt: None,
            keeps: VecDeque::new(),
            last: None,
            versions_wrong: None,
            appends_wrong: None,
            times_wrong: None,
        }
    }

    /// Takes the next event in.
    pub(crate) fn take(&mut self, event: &RecordedEvent, decoded: &SweepEvent) {
        self.check_log(event);
        self.positions.push(event.position);
        // What a report called for follows it at once.
        if !matches!(
            decoded,
            SweepEvent::TrialStopRequested(_) | SweepEvent::DecisionMade(_) | SweepEvent::TrialPaused(_)
        ) {
            self.settle();
        }
        match decoded {
            SweepEvent::SweepSubmitted(submitted) => {
                self.curves = Trials::new(submitted.spec.policy.clone(), submitted.spec.objective.goal);
                self.model = ModelAudit::new(submitted);
            }
            SweepEvent::TrialProposed(proposed) => self.proposed(proposed),
            SweepEvent::ObservationRecorded(observed) => self.observed(observed, event),
            SweepEvent::DecisionMade(kept) => {
                let expected = self.keeps.pop_front().filter(|(trial, _)| *trial == kept.trial);
                let found = between_decisions(
                    kept.trial,
                    "keep",
                    Some(&kept.decision),
                    expected.as_ref().map(|(_, decision)| decision),
                );
                self.differ(found);
                self.place(kept.trial, kept.decision.interval, event.position);
            }
            SweepEvent::TrialStopRequested(stop) => self.stopped(stop, event.position),
            SweepEvent::ObservationsInherited(inherited) => {
                if let Some(model) = self.model.as_mut() {
                    model.inherit(inherited);
                }
                if self.sweep.counts_early() {
                    let again = inherited.trials.iter().filter(|trial| !trial.resumed);
                    self.taken.extend(again.map(|trial| fingerprint(&configuration_of(&trial.draws))));
                }
            }
            SweepEvent::TrialsAdopted(adopted) => self.adopted(adopted, event),
            SweepEvent::TrialPaused(paused) => self.paused(paused, event.position),
            SweepEvent::TrialPromoted(promoted) => self.promoted(promoted, event.position),
            SweepEvent::ModelFitted(fitted) => {
                let recompute = self.watched.is_none() && self.unverifiable.is_empty();
                let found = self.model.as_mut().map(|model| model.fitted(fitted, event.version, recompute));
                self.differ(found.unwrap_or_default());
            }
            SweepEvent::TrialEnded(ended) => self.curves.end(ended.trial, ended.end.for_policies()),
            _ => {}
        }
        self.sweep.evolve(decoded);
        if let Some(model) = self.model.as_mut() {
            model.catch_up(&self.sweep);
        }
    }

    /// What was called for and did not come.
    pub(crate) fn settle(&mut self) {
        self.settle_halt();
        while let Some((trial, decision)) = self.keeps.pop_front() {
            self.differ(between_decisions(trial, "keep", None, Some(&decision)));
        }
    }

    /// Each check of the log itself, with `ok` or what is wrong.
    pub(crate) fn log_checks(&self) -> Vec<(&'static str, String)> {
        let check = |wrong: Option<i64>, what: &str| {
            wrong.map_or_else(|| "ok".to_owned(), |position| format!("{what} at position {position}"))
        };
        vec![
            ("L3", check(self.versions_wrong, "versions are not dense")),
            ("L4", check(self.appends_wrong, "an append is not contiguous")),
            ("L13", check(self.times_wrong, "recorded_at goes back")),
        ]
    }

    fn proposed(&mut self, event: &TrialProposed) {
        let recorded = Proposal { draws: event.draws.clone(), index: event.sampler_index, redraw: event.redraw };
        let mut found = self.recomputed(event, &recorded);
        let Some(submitted) = self.sweep.submitted.as_ref() else { return };
        if self.sweep.allowed() == 0 {
            let (total, live) = (submitted.limits.max_total_trials, submitted.limits.max_concurrent_trials);
            let recorded = json!({"proposals": self.sweep.proposals(), "live": self.sweep.live.len()});
            let allowed = json!({"max_total_trials": total, "max_concurrent_trials": live});
            found.push(broken(event.trial, "a proposal above the limits", recorded, allowed));
        }
        if event.trial != self.sweep.proposals() {
            found.push(broken(event.trial, "trial index", json!(event.trial), json!(self.sweep.proposals())));
        }
        self.differ(found);
        if self.sweep.inheritance.resumed(u64::from(event.trial)).is_none() && event.basis.exploit.is_none() {
            self.next_index = self.next_index.max(event.sampler_index.saturating_add(1));
        }
        self.taken.insert(fingerprint(&recorded.configuration()));
    }

    /// Trials that had ended elsewhere: nothing about them was decided here.
    fn adopted(&mut self, event: &TrialsAdopted, at: &RecordedEvent) {
        for (index, trial) in (self.sweep.proposals()..).zip(&event.trials) {
            trial.report_to(&mut self.curves, index, at.version.unsigned_abs());
            self.taken.insert(fingerprint(&configuration_of(&trial.draws)));
            if let Some(model) = self.model.as_mut() {
                model.take(index, &trial.draws, None);
            }
            if let Some(used) = trial.sampler_index {
                self.next_index = self.next_index.max(used.saturating_add(1));
            }
        }
    }

    /// How a proposal differs from what its sampler says now. Of a model's proposals `why` shows what was recorded: to
    /// compute them all again takes too long for one answer.
    fn recomputed(&mut self, event: &TrialProposed, recorded: &Proposal) -> Vec<Difference> {
        let Some(seed) = self.sweep.submitted.as_ref().map(|submitted| submitted.seed) else { return Vec::new() };
        if event.basis.imported {
            self.imported += 1;
            return Vec::new();
        }
        let known = event.basis.model.map(|basis| basis.known);
        let basis = based(event.trial, known, &self.sweep.inheritance);
        let Some(spec) = self.spec_as_of(event.sampler_version) else {
            *self.unverifiable.entry(event.sampler_version).or_default() += 1;
            if let Some(model) = self.model.as_mut() {
                model.take(event.trial, &event.draws, basis);
            }
            return Vec::new();
        };
        if let Some(model) = self.model.as_mut() {
            let (inheritance, space) = (&self.sweep.inheritance, &spec.space);
            let found =
                if self.watched.is_none() { model.proposed(event, recorded, space, inheritance) } else { Vec::new() };
            model.take(event.trial, &event.draws, basis);
            self.proposals_checked += u64::from(self.watched.is_none());
            return found;
        }
        self.proposals_checked += 1;
        let taken = |configuration: &Configuration| self.taken.contains(&fingerprint(configuration));
        let number = u64::from(event.trial);
        let resumed = self.sweep.inheritance.resumed(number).map(|(resumed, _)| resumed);
        let population = if resumed.is_some() { Population::default() } else { self.sweep.population() };
        let (child, exploit) = population.child(&spec, seed, number, 0).unzip();
        let recomputed =
            resumed.or(child).or_else(|| propose(&spec.space, &spec.sampler, seed, number, self.next_index, &taken));
        let mut found = between_proposals(event.trial, recorded, recomputed.as_ref());
        let recorded = event.basis.exploit.as_deref();
        found.extend(plain(event.trial, "proposal.exploit", &recorded, &exploit.as_ref()));
        found
    }

    /// The sweep with the rules by which a proposal was made; `None` when this build does not have them.
    fn spec_as_of(&mut self, sampler_version: u32) -> Option<Arc<SweepSpec>> {
        let version = SamplerVersion::recorded(sampler_version)?;
        if self.spec.as_ref().is_none_or(|spec| spec.space.version != version) {
            let spec = &self.sweep.submitted.as_ref()?.spec;
            self.spec = Some(Arc::new(SweepSpec { space: spec.space.as_of(version), ..(**spec).clone() }));
        }
        self.spec.clone()
    }

    /// How many fits of the model were recomputed.
    pub(crate) fn fits_checked(&self) -> u64 {
        self.model.as_ref().map_or(0, |model| model.fits_checked)
    }

    fn observed(&mut self, event: &ObservationRecorded, at: &RecordedEvent) {
        let Some(submitted) = self.sweep.submitted.clone() else { return };
        if event.after_stop {
            return;
        }
        let (trial, attempt, position) = (event.trial, event.attempt, at.version.unsigned_abs());
        for point in &event.points {
            let counted =
                self.curves.report(&Report { trial, attempt, step: point.step, value: point.value, position });
            let last = event.tell.as_ref().is_some_and(|tell| tell.last);
            let fails = !point.value.is_finite() && submitted.spec.objective.on_non_finite == OnNonFinite::Fail;
            let finishes = self.sweep.trials.get(trial as usize).is_some_and(Trial::has_reached_target);
            let settled = fails || last || finishes || self.sweep.reaches_target(point.value);
            if !matches!(counted, Reported::Counted { .. }) || settled || submitted.spec.policy == PolicySpec::None {
                continue;
            }
            match self.sweep.allowed_verdict(self.curves.judge(trial)) {
                Verdict::Skip { .. } => {}
                Verdict::Keep(decision) => {
                    self.judged(trial, "keep", &decision, at.position);
                    if submitted.spec.record_keeps {
                        self.keeps.push_back((trial, decision));
                    }
                }
                Verdict::Stop(decision) => {
                    self.judged(trial, "stop", &decision, at.position);
                    self.settle_halt();
                    self.halt = Some(Halt { trial, verdict: "stop", decision });
                }
                Verdict::Pause(decision) => {
                    self.judged(trial, "pause", &decision, at.position);
                    self.settle_halt();
                    self.halt = Some(Halt { trial, verdict: "pause", decision });
                }
            }
        }
    }

    /// A second stop or pause before the first was recorded means that the first was passed over.
    fn settle_halt(&mut self) {
        if let Some(Halt { trial, verdict, decision }) = self.halt.take() {
            self.differ(between_decisions(trial, verdict, None, Some(&decision)));
        }
    }

    fn expected(&mut self, trial: u32, verdict: &str) -> Option<Decision> {
        let halt = self.halt.take()?;
        (halt.trial == trial && halt.verdict == verdict).then_some(halt.decision)
    }

    fn paused(&mut self, event: &TrialPaused, position: i64) {
        let expected = self.expected(event.trial, "pause");
        self.differ(between_decisions(event.trial, "pause", Some(&event.decision), expected.as_ref()));
        self.place(event.trial, event.decision.interval, position);
        self.curves.pause(event.trial, event.rung);
    }

    /// Who goes on follows from the tables alone, and from what else there is to do.
    fn promoted(&mut self, event: &TrialPromoted, position: i64) {
        self.decisions_checked += 1;
        let expected = self.sweep.promotion().filter(|promotion| promotion.trial == event.trial);
        let recomputed = expected.map(|promotion| promotion.decision);
        self.differ(between_decisions(event.trial, "promote", Some(&event.decision), recomputed.as_ref()));
        if self.watched == Some(event.trial) {
            self.judged.push(Judged { position, verdict: "promote", decision: event.decision.clone() });
        }
        self.curves.promote(event.trial);
    }

    fn judged(&mut self, trial: u32, verdict: &'static str, decision: &Decision, position: i64) {
        self.decisions_checked += 1;
        if self.watched == Some(trial) {
            self.judged.push(Judged { position, verdict, decision: decision.clone() });
        }
    }

    fn stopped(&mut self, event: &TrialStopRequested, position: i64) {
        // A trial that waits at a rung is stopped when nothing else is left to do, for the reason for which it waits.
        let waited = self.sweep.trials.get(event.trial as usize).and_then(|trial| trial.paused.clone());
        if event.by == StopBy::Policy {
            let recomputed = waited.or_else(|| self.expected(event.trial, "stop"));
            self.differ(between_decisions(event.trial, "stop", event.decision.as_ref(), recomputed.as_ref()));
            let standing = self.curves.standing(event.trial).map(|standing| standing.value);
            let leader = self.curves.leader().map(|leader| leader.value);
            if standing.is_some() && standing == leader {
                self.differ(vec![broken(event.trial, "the leader was stopped", json!(standing), json!(leader))]);
            }
            if let Some(decision) = &event.decision {
                self.place(event.trial, decision.interval, position);
            }
        }
        let hinted = event.decision.as_ref().is_some_and(|decision| decision.hint.is_some());
        self.curves.stop(event.trial, hinted);
    }

    /// A decision with an event of its own is where that event is.
    fn place(&mut self, trial: u32, interval: u32, position: i64) {
        if self.watched == Some(trial)
            && let Some(judged) = self.judged.iter_mut().rev().find(|judged| judged.decision.interval == interval)
        {
            judged.position = position;
        }
    }

    fn differ(&mut self, found: Vec<Difference>) {
        let room = DIFFERENCES_MAX.saturating_sub(self.differences.len());
        self.differences.extend(found.into_iter().take(room));
    }

    fn check_log(&mut self, event: &RecordedEvent) {
        let position = event.position;
        let (version, recorded_by, command_id) = match self.last.take() {
            None => (0, HashSet::new(), None),
            Some(last) => {
                let mut recorded_by = last.recorded_by;
                if last.command_id != event.command_id {
                    recorded_by.insert(last.command_id);
                } else if last.position + 1 != position {
                    self.appends_wrong.get_or_insert(position);
                }
                if last.recorded_at_us > event.recorded_at_us {
                    self.times_wrong.get_or_insert(position);
                }
                if last.position >= position {
                    self.versions_wrong.get_or_insert(position);
                }
                (last.version, recorded_by, Some(last.command_id))
            }
        };
        if version + 1 != event.version {
            self.versions_wrong.get_or_insert(position);
        }
        if command_id != Some(event.command_id) && recorded_by.contains(&event.command_id) {
            self.appends_wrong.get_or_insert(position);
        }
        let (version, recorded_at_us, command_id) = (event.version, event.recorded_at_us, event.command_id);
        self.last = Some(Last { position, version, recorded_at_us, command_id, recorded_by });
    }
}
