//! Who asks which model when: asks of one sweep come one after another, suggestions that wait are renewed behind them,
//! fits run beside them, at most one a core.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventlog::{Committed, Context, EventLog, ExecuteError};
use runtime::Stopwatch;
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tuning::bayes::{Fit, FitTask};
use vocabulary::{Clock, Entropy, Problem, RunId, SweepId};

use super::model_state::ModelState;
use super::ready::Ready;
use super::setup::Suggest;
use crate::fault::{self, NO_FIT, NO_PROPOSAL, is_fault};
use crate::stream::stream_of;
use crate::sweep::{Ask, Command, NewTrial, Rejection, Sweep, SweepEvent};

/// Models kept in memory. One with 1,000 observations holds a few MiB; one that was dropped is made again in well under
/// a second.
const MODELS_MAX: usize = 32;
/// So long an ask waits for a model that knows enough; then an older basis is served, and recorded as it is.
const BUDGET: Duration = Duration::from_millis(100);
/// So long a managed sweep, which keeps nobody waiting, waits for a quick fit: one that takes longer on a busy machine
/// is still worth more than a proposal without it.
const FIT_BUDGET: Duration = Duration::from_secs(10);
/// The actor of fits in the log.
const NAME: &str = "tuner";

/// The models of this service.
#[derive(Clone)]
pub(crate) struct Tuners {
    log: EventLog,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    models: Arc<Mutex<Models>>,
    cores: Arc<Semaphore>,
    suggest: Suggest,
    fit: fn(FitTask) -> Fit,
    fits: Arc<Fits>,
}

/// What fits have cost since the start.
#[derive(Default)]
struct Fits {
    count: AtomicU64,
    microseconds: AtomicU64,
}

#[derive(Default)]
struct Models {
    by_sweep: HashMap<SweepId, (u64, Arc<Model>)>,
    tick: u64,
}

/// The model of one sweep; empty until it is first asked.
#[derive(Default)]
struct Model {
    /// Whoever proposes in the sweep: one after another.
    asking: tokio::sync::Mutex<()>,
    ready: Arc<Ready>,
    state: Arc<tokio::sync::Mutex<Option<ModelState>>>,
    /// Somebody renews the suggestions, and is to do so once more.
    renewing: AtomicBool,
    again: AtomicBool,
    /// A fit has come, or was given up.
    fitted: tokio::sync::Notify,
}

/// The model while one caller has it.
struct Held {
    guard: OwnedMutexGuard<Option<ModelState>>,
}

impl Held {
    fn state(&mut self) -> Result<&mut ModelState, Problem> {
        self.guard.as_mut().ok_or_else(|| Problem::internal("a model was taken away while it was held"))
    }

    /// Work that takes a while, off the runtime. A model that breaks at it is dropped, and made again from the log.
    async fn blocking(mut self, work: impl FnOnce(&mut ModelState) + Send + 'static) -> Result<Self, Problem> {
        let done = runtime::background::run(move || {
            let mut state = self.guard.take()?;
            work(&mut state);
            *self.guard = Some(state);
            Some(self)
        });
        let done = done.await.map_err(|error| Problem::internal(format!("the model broke: {error}")))?;
        done.ok_or_else(|| Problem::internal("a model was taken away while it was held"))
    }
}

impl Tuners {
    /// `suggest` is what is asked of a model for its next suggestion.
    pub(crate) fn new(log: EventLog, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, suggest: Suggest) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            log,
            clock,
            entropy,
            models: Arc::default(),
            cores: Arc::new(Semaphore::new(cores)),
            suggest,
            fit: FitTask::run,
            fits: Arc::default(),
        }
    }

    /// With another way to make fits.
    #[cfg(test)]
    pub(crate) fn fitting(self, fit: fn(FitTask) -> Fit) -> Self {
        Self { fit, ..self }
    }

    /// How many fits there were since the start, and how many seconds they took.
    pub(crate) fn fits(&self) -> (u64, f64) {
        let Fits { count, microseconds } = self.fits.as_ref();
        (count.load(Ordering::Relaxed), microseconds.load(Ordering::Relaxed) as f64 / 1e6)
    }

    /// What is asked of a model.
    pub(crate) fn suggests(&self) -> Suggest {
        self.suggest
    }

    /// Notes in the sweep's log what is no passing state.
    async fn note(&self, sweep_id: SweepId, code: &'static str, problem: &Problem) {
        if is_fault(problem) {
            fault::note(&self.log, self.clock.as_ref(), self.entropy.as_ref(), sweep_id, code, problem).await;
        } else {
            tracing::warn!(%sweep_id, code, "{problem}");
        }
    }

    /// Whether the sweep's model is in memory: its asks come here first.
    pub(crate) fn has(&self, sweep_id: SweepId) -> bool {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).by_sweep.contains_key(&sweep_id)
    }

    fn model(&self, sweep_id: SweepId) -> Arc<Model> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        models.tick += 1;
        let tick = models.tick;
        let entry = models.by_sweep.entry(sweep_id).or_default();
        entry.0 = tick;
        let model = Arc::clone(&entry.1);
        if models.by_sweep.len() > MODELS_MAX {
            let oldest = models.by_sweep.iter().min_by_key(|(_, (used, _))| *used).map(|(sweep, _)| *sweep);
            oldest.inspect(|oldest| drop(models.by_sweep.remove(oldest)));
        }
        model
    }

    async fn hold(&self, model: &Model, stream: &str) -> Result<Held, Problem> {
        let mut guard = Arc::clone(&model.state).lock_owned().await;
        if guard.is_none() {
            *guard = Some(ModelState::new(&self.log, stream, &model.ready, self.suggest).await?);
        }
        Ok(Held { guard })
    }

    /// An ask of a modelled sweep: with suggestions that wait, or with new ones when the decider refuses those.
    pub(crate) async fn ask(
        &self,
        sweep_id: SweepId,
        mut ask: Ask,
        context: Context,
        reply_of: impl Fn(&Sweep, &[SweepEvent]) -> Vec<u8> + Copy + Send + 'static,
    ) -> Result<Committed, ExecuteError<Rejection>> {
        let (stream, watch) = (stream_of(sweep_id), Stopwatch::start());
        let model = self.model(sweep_id);
        let wanted = ask.run_ids.len();
        let asking = model.asking.lock().await;
        loop {
            let late = watch.elapsed() > BUDGET;
            (ask.suggested, ask.exhausted) = model.ready.peek(wanted);
            ask.suggested.iter_mut().for_each(|new| new.made.waived = late);
            let command = Command::Ask(ask.clone());
            let (replied, proposals) = counting(reply_of);
            let asked = self.log.execute_answering::<Sweep>(&stream, command, context.clone(), replied).await;
            if !matches!(asked, Err(ExecuteError::Rejected(Rejection::NeedsSuggestion))) {
                model.ready.took(&ask.suggested, proposals.load(Ordering::SeqCst));
                drop(asking);
                self.nudge(sweep_id);
                return asked;
            }
            let rest = BUDGET.saturating_sub(watch.elapsed());
            let prepared = async {
                let held = self.hold_fitted(sweep_id, &model, &stream, rest).await?;
                self.prepare(held, &model, &stream, wanted).await
            };
            if let Err(problem) = prepared.await {
                self.note(sweep_id, NO_PROPOSAL, &problem).await;
                return Err(refused(problem));
            }
        }
    }

    /// The model, after the fit that it is to wait for, unless that takes longer than `patience`.
    async fn hold_fitted(
        &self,
        sweep_id: SweepId,
        model: &Arc<Model>,
        stream: &str,
        patience: Duration,
    ) -> Result<Held, Problem> {
        let fitted = model.fitted.notified();
        let mut held = self.hold(model, stream).await?;
        let state = held.state()?;
        state.sync(&self.log, stream).await?;
        self.start_fit(sweep_id, model, state);
        if !state.awaits_fit() {
            return Ok(held);
        }
        drop(held);
        // Too late is no fault: the older fit serves meanwhile.
        let _ = tokio::time::timeout(patience, fitted).await;
        self.hold(model, stream).await
    }

    fn start_fit(&self, sweep_id: SweepId, model: &Arc<Model>, state: &mut ModelState) {
        if let Some((previous, task)) = state.fit_due().filter(|_| state.open) {
            (state.fitting, state.quick) = (true, task.is_quick());
            self.fit(sweep_id, Arc::clone(model), previous, task);
        }
    }

    /// Fills the free places of a managed sweep. `at_once` trials come in one command.
    pub(crate) async fn fill(
        &self,
        sweep_id: SweepId,
        at_once: usize,
        context_of: impl Fn(u32) -> Context + Send,
    ) -> Result<(), Problem> {
        let (stream, mut watch) = (stream_of(sweep_id), Stopwatch::start());
        let model = self.model(sweep_id);
        let asking = model.asking.lock().await;
        loop {
            let held = self.hold_fitted(sweep_id, &model, &stream, FIT_BUDGET).await?;
            let mut held = self.prepare(held, &model, &stream, at_once).await?;
            let state = held.state()?;
            let (from, allowed, at) = (state.next_number(), state.allowed as usize, self.clock.now());
            drop(held);
            if allowed == 0 {
                drop(asking);
                self.nudge(sweep_id);
                return Ok(());
            }
            let (mut suggested, exhausted) = model.ready.peek(at_once.min(allowed));
            let command = if suggested.is_empty() && exhausted == Some(from) {
                Command::Exhaust { from, at }
            } else {
                suggested.iter_mut().for_each(|new| new.made.waived = watch.elapsed() > BUDGET);
                let trials = suggested.iter().cloned().map(|new| NewTrial {
                    run_id: RunId::new(self.entropy.uuid()),
                    proposal: new.proposal,
                    made: Some(new.made),
                    child: false,
                });
                Command::Propose { from, trials: trials.collect(), at }
            };
            let (replied, proposals) = counting(|_, _| Vec::new());
            match self.log.execute_answering::<Sweep>(&stream, command, context_of(from), replied).await {
                Ok(committed) if committed.repeated => {
                    return Err(Problem::internal("a proposal is in the log but not in the state"));
                }
                Ok(_) => {
                    model.ready.took(&suggested, proposals.load(Ordering::SeqCst));
                    watch = Stopwatch::start();
                }
                // The state has moved on since it was looked at: look again.
                Err(ExecuteError::Rejected(Rejection::NothingToPropose | Rejection::NeedsSuggestion)) => {}
                Err(error) => return Err(calls::problem(error)),
            }
        }
    }

    /// Looks at the state and makes what is missing of the suggestions that are wanted and allowed now.
    async fn prepare(&self, mut held: Held, model: &Model, stream: &str, wanted: usize) -> Result<Held, Problem> {
        let state = held.state()?;
        state.sync(&self.log, stream).await?;
        if state.lag() > state.live {
            state.withdraw();
        }
        let enough = wanted.min(state.allowed as usize);
        let ready = Arc::clone(&model.ready);
        let missing = move || ready.waiting().0 < enough && !ready.is_exhausted();
        if !missing() {
            return Ok(held);
        }
        held.blocking(move |state| while missing() && state.suggest() {}).await
    }

    /// Something has happened in a sweep: its model, if it is in memory, takes that in and makes suggestions ahead.
    pub(crate) fn nudge(&self, sweep_id: SweepId) {
        let model = {
            let models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((_, model)) = models.by_sweep.get(&sweep_id) else { return };
            Arc::clone(model)
        };
        model.again.store(true, Ordering::SeqCst);
        if model.renewing.swap(true, Ordering::SeqCst) {
            return;
        }
        let tuners = self.clone();
        tokio::spawn(async move {
            loop {
                while model.again.swap(false, Ordering::SeqCst) {
                    if let Err(problem) = tuners.renew(sweep_id, &model).await {
                        tuners.note(sweep_id, NO_PROPOSAL, &problem).await;
                    }
                }
                model.renewing.store(false, Ordering::SeqCst);
                // A nudge between the two lines above has found somebody who was about to leave.
                if !model.again.load(Ordering::SeqCst) || model.renewing.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
        });
    }

    async fn renew(&self, sweep_id: SweepId, model: &Arc<Model>) -> Result<(), Problem> {
        let stream = stream_of(sweep_id);
        loop {
            let mut held = self.hold(model, &stream).await?;
            let state = held.state()?;
            state.sync(&self.log, &stream).await?;
            self.start_fit(sweep_id, model, state);
            // The end of the fit comes back here.
            if state.awaits_fit() {
                return Ok(());
            }
            // What would lag too far behind when its turn comes is made anew while nobody waits for it.
            if state.lag() > state.live / 2 && !state.renews {
                state.renew();
            }
            let renews = state.renews;
            // With no free place something has to end before the next ask, and what is made now does not know that.
            let usable = state.open && (state.allowed > 0 || state.live > 1);
            let depth = (state.live / 2).clamp(1, state.depth_max.max(1)) as usize;
            let enough = !renews && model.ready.waiting().0 >= depth;
            if !usable || model.ready.is_exhausted() || enough {
                return Ok(());
            }
            // Between two suggestions an ask that found none may come in.
            let suggest = |state: &mut ModelState| {
                state.suggest();
            };
            drop(held.blocking(suggest).await?);
            tokio::task::yield_now().await;
        }
    }

    /// Makes a fit beside everything else, and brings it into force through the log.
    fn fit(&self, sweep_id: SweepId, model: Arc<Model>, previous: Option<i64>, task: FitTask) {
        let tuners = self.clone();
        tokio::spawn(async move {
            let fitted = tuners.fit_and_note(sweep_id, previous, task).await;
            if let Err(problem) = &fitted {
                tuners.note(sweep_id, NO_FIT, problem).await;
            }
            if let Some(state) = model.state.lock().await.as_mut() {
                state.fit_ended(fitted.is_err_and(|problem| is_fault(&problem)));
            }
            model.fitted.notify_waiters();
            tuners.nudge(sweep_id);
        });
    }

    async fn fit_and_note(&self, sweep_id: SweepId, previous: Option<i64>, task: FitTask) -> Result<(), Problem> {
        let permit = Arc::clone(&self.cores).acquire_owned().await;
        let watch = Stopwatch::start();
        let make = self.fit;
        let fit = runtime::background::run(move || make(task)).await;
        drop(permit);
        let took_us = u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.fits.count.fetch_add(1, Ordering::Relaxed);
        self.fits.microseconds.fetch_add(took_us, Ordering::Relaxed);
        let fit = fit.map_err(|error| Problem::internal(format!("the fit broke: {error}")))?;
        let command = Command::NoteFit { previous, fit, at: self.clock.now() };
        let context = Context::new(self.entropy.uuid(), NAME, String::new());
        self.log.execute::<Sweep>(&stream_of(sweep_id), command, context).await.map_err(calls::problem)?;
        Ok(())
    }
}

/// A reply that also says how many trials were proposed after the command; 0 of a repeat.
fn counting(
    reply_of: impl Fn(&Sweep, &[SweepEvent]) -> Vec<u8> + Send + 'static,
) -> (impl Fn(&Sweep, &[SweepEvent]) -> Vec<u8> + Send + 'static, Arc<AtomicU32>) {
    let proposals = Arc::new(AtomicU32::new(0));
    let after = Arc::clone(&proposals);
    let replied = move |sweep: &Sweep, events: &[SweepEvent]| {
        after.store(sweep.proposals(), Ordering::SeqCst);
        reply_of(sweep, events)
    };
    (replied, proposals)
}

fn refused(problem: Problem) -> ExecuteError<Rejection> {
    ExecuteError::Rejected(problem.into())
}
