//! Something of ours broke while a sweep waited for it: its log says so, and whoever looks at the sweep sees it.

use eventlog::{Context, EventLog};
use vocabulary::{Clock, Entropy, Problem, SweepId};

use crate::stream::stream_of;
use crate::sweep::{Command, Sweep};

/// The stable code of what keeps a sweep from proposing.
pub(crate) const NO_PROPOSAL: &str = "SamplerFailed";
/// The stable code of what keeps a model from new hyperparameters; the sweep goes on with the old ones.
pub(crate) const NO_FIT: &str = "FitFailed";

/// Whether it is no state that passes by itself, as an overload does.
pub(crate) fn is_fault(problem: &Problem) -> bool {
    !problem.passes_by_itself()
}

/// Notes a fault in the sweep's log, once. Where even that fails the process' log has it.
pub(crate) async fn note(
    log: &EventLog,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    sweep_id: SweepId,
    code: &'static str,
    problem: &Problem,
) {
    tracing::error!(%sweep_id, code, "{problem}");
    let command = Command::NoteFault { code, message: problem.to_string(), at: clock.now() };
    let context = Context::new(entropy.uuid(), "sweeps", String::new());
    if let Err(error) = log.execute::<Sweep>(&stream_of(sweep_id), command, context).await {
        tracing::error!(%sweep_id, code, "the fault is not in the sweep's log: {}", calls::problem(error));
    }
}
