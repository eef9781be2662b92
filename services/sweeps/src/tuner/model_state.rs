//! A model with what it was told.

use std::collections::VecDeque;
use std::sync::Arc;

use eventlog::EventLog;
use tuning::Draw;
use tuning::bayes::{Fit, FitTask, Tuner};
use vocabulary::Problem;

use super::ready::Ready;
use super::setup::{Suggest, based, finite, setup};
use crate::sweep::{Ended, Inheritance, Made, ModelBasis, Suggested, Sweep, SweepState, Trial};

/// Trials taken over from the state at once: the writer waits meanwhile.
const TRIALS_AT_ONCE: usize = 5_000;

/// A model of one sweep.
pub(super) struct ModelState {
    tuner: Tuner,
    suggest: Suggest,
    /// What the sweep has from earlier ones.
    inheritance: Arc<Inheritance>,
    /// Trials in the log that the model knows.
    logged: u32,
    /// The version of the state that was looked at last.
    version: i64,
    /// The version of the fit in use.
    fit: Option<i64>,
    /// What the model assumes of the numbers from `logged` on: its own suggestions that are not in the log yet.
    assumed: VecDeque<Taken>,
    /// What waits is older than it should be: the next suggestion takes the place of all of it. Until then it may be
    /// taken, so the model assumes nothing of it.
    pub renews: bool,
    ready: Arc<Ready>,
    /// A fit is being made.
    pub fitting: bool,
    /// .. and is soon there.
    pub quick: bool,
    /// A fit failed with so many endings known: the next one is tried with more.
    unfit: Option<u32>,
    /// Trials that had not ended.
    pub live: u32,
    /// Proposals that the limits allowed.
    pub allowed: u32,
    /// Whether there can be proposals again some time.
    pub open: bool,
    /// Most suggestions that may wait.
    pub depth_max: u32,
}

/// A proposal as the model takes it: its draws, and the endings that the model made it from, if it did.
type Taken = (Vec<Draw>, Option<u32>);

/// What the state has beyond what a model knows.
struct News {
    proposals: Vec<Taken>,
    endings: Vec<Ended>,
    fit: Option<(i64, Fit)>,
    version: i64,
    live: u32,
    allowed: u32,
    concurrency: u32,
    open: bool,
    more: bool,
}

fn news(sweep: &Sweep, version: i64, logged: u32, known: u32, fit: Option<i64>) -> Option<News> {
    let submitted = sweep.submitted.as_ref()?;
    let trials = sweep.trials.get(logged as usize..).unwrap_or_default();
    let taken = |(number, trial): (u32, &Trial)| {
        let known = trial.basis.model.map(|basis| basis.known);
        (trial.draws.clone(), based(number, known, &sweep.inheritance))
    };
    let more = trials.len() > TRIALS_AT_ONCE;
    // An ending is understood only after its trial.
    let endings = if more { &[] } else { sweep.endings.get(known as usize..).unwrap_or_default() };
    Some(News {
        proposals: (logged..).zip(trials).take(TRIALS_AT_ONCE).map(taken).collect(),
        endings: endings.to_vec(),
        fit: sweep.fit.clone().filter(|(version, _)| Some(*version) != fit),
        version,
        live: u32::try_from(sweep.live.len()).unwrap_or(u32::MAX),
        allowed: sweep.allowed(),
        concurrency: submitted.limits.max_concurrent_trials,
        open: matches!(sweep.status.state(), SweepState::Queued | SweepState::Running)
            && sweep.spent() < sweep.most_trials(&submitted.limits),
        more,
    })
}

impl ModelState {
    /// A model of the sweep as it stands.
    pub async fn new(log: &EventLog, stream: &str, ready: &Arc<Ready>, suggest: Suggest) -> Result<Self, Problem> {
        let setup = log.inspect::<Sweep, _>(stream, |sweep, _| {
            let submitted = sweep.submitted.as_ref()?;
            Some((setup(&submitted.spec, submitted.seed, submitted.tuner_version)?, Arc::clone(&sweep.inheritance)))
        });
        let setup = setup.await.map_err(|error| error.problem())?;
        let absent = || Problem::internal("a sweep without a model was asked for its suggestions");
        let (setup, inheritance) = setup.ok_or_else(absent)?;
        // All that was inherited is in the append that made the sweep.
        let mut tuner = Tuner::new(setup);
        tuner.inherit(&inheritance.for_model());
        let mut state = Self {
            tuner,
            suggest,
            inheritance,
            logged: 0,
            version: 0,
            fit: None,
            assumed: VecDeque::new(),
            renews: false,
            ready: Arc::clone(ready),
            fitting: false,
            quick: false,
            unfit: None,
            live: 0,
            allowed: 0,
            open: false,
            depth_max: 1,
        };
        state.withdraw();
        state.sync(log, stream).await?;
        Ok(state)
    }

    /// Takes in what has happened since.
    pub async fn sync(&mut self, log: &EventLog, stream: &str) -> Result<(), Problem> {
        loop {
            let (logged, known, fit) = (self.logged, self.tuner.known(), self.fit);
            let seen = log.inspect::<Sweep, _>(stream, move |sweep, version| news(sweep, version, logged, known, fit));
            let Some(news) = seen.await.map_err(|error| error.problem())? else {
                return Err(Problem::internal("a sweep that had a model is not there"));
            };
            let more = news.more;
            self.take(news);
            if !more {
                return Ok(());
            }
        }
    }

    fn take(&mut self, news: News) {
        for proposal in &news.proposals {
            if self.assumed.front() == Some(proposal) {
                self.assumed.pop_front();
            } else {
                if self.renews {
                    self.forget()
                } else {
                    self.withdraw()
                }
                self.tuner.proposed(self.logged, &proposal.0, proposal.1);
            }
            self.logged += 1;
        }
        self.ready.seen(self.logged);
        for Ended { trial, outcome, others } in news.endings {
            self.tuner.ended_with(trial, outcome, &others);
        }
        if let Some((version, fit)) = news.fit {
            if self.fit.is_none() {
                // What waits was made without a model.
                self.withdraw();
            }
            self.tuner.use_fit(fit);
            self.fit = Some(version);
        }
        (self.version, self.live, self.allowed) = (news.version, news.live, news.allowed);
        (self.open, self.depth_max) = (news.open, news.concurrency.saturating_mul(2));
    }

    /// The number of the next proposal.
    pub fn next_number(&self) -> u32 {
        self.logged
    }

    /// Takes back what waits.
    pub fn withdraw(&mut self) {
        self.forget();
        self.renews = false;
        self.ready.clear();
    }

    /// What waits is to be made anew, and may be taken until it is.
    pub fn renew(&mut self) {
        self.forget();
        self.renews = true;
    }

    /// Assumes nothing beyond the log.
    fn forget(&mut self) {
        self.tuner.withdraw_from(self.logged);
        self.assumed.clear();
    }

    /// Puts a suggestion in, or the end of all.
    fn put(&mut self, next: Result<Suggested, u32>) -> bool {
        let put = if self.renews {
            self.ready.replace(next, self.logged)
        } else {
            let assumed = self.assumed.iter().map(|(draws, _)| draws.clone()).collect();
            self.ready.put(next, self.logged, &assumed)
        };
        match (put, self.renews) {
            (true, _) => self.renews = false,
            (false, true) => self.forget(),
            (false, false) => self.withdraw(),
        }
        put
    }

    /// How many endings the first suggestion that waits does not know.
    pub fn lag(&self) -> u32 {
        self.ready.waiting().1.map_or(0, |known| self.tuner.known().saturating_sub(known))
    }

    /// Makes one more suggestion from all that is known. May take a while. False when it is of no use, because
    /// something else was proposed meanwhile.
    pub fn suggest(&mut self) -> bool {
        let known = self.tuner.known();
        let number = self.logged.saturating_add(u32::try_from(self.assumed.len()).unwrap_or(u32::MAX));
        let Some(suggestion) = (self.suggest)(&mut self.tuner, &self.inheritance, number, known) else {
            return self.put(Err(number));
        };
        let taken = (suggestion.proposal.draws.clone(), based(number, Some(known), &self.inheritance));
        self.tuner.proposed(number, &taken.0, taken.1);
        let pending = self.tuner.under_way(number, known);
        let basis = ModelBasis { version: self.version, known, pending, fit: self.fit };
        let made = Made { basis, explained: finite(suggestion.explained), waived: false };
        self.assumed.push_back(taken);
        let suggested = Suggested { number, proposal: suggestion.proposal, made };
        self.put(Ok(suggested))
    }

    /// Whether the next suggestion is better made after the fit that is under way: it is the first, without which there
    /// is no model; or nothing is running, so whoever asks next wants everything that is known to be in it.
    pub fn awaits_fit(&self) -> bool {
        self.fitting && self.quick && (self.live == 0 || self.fit.is_none())
    }

    /// A fit has come or was given up; one that failed would only fail again.
    pub fn fit_ended(&mut self, failed: bool) {
        self.fitting = false;
        self.unfit = failed.then(|| self.tuner.known());
    }

    /// A fit to be made elsewhere, with the version of the one that it starts from.
    pub fn fit_due(&self) -> Option<(Option<i64>, FitTask)> {
        if self.fitting || self.unfit == Some(self.tuner.known()) {
            return None;
        }
        Some((self.fit, self.tuner.fit_due()?))
    }
}
