//! Deletes runs: what they measured, said and left goes, their history stays. Their objects are released; `collection`
//! removes those that nothing else refers to.

use contracts::feed::Fact;
use eventlog::{Error, ExecuteError, RecordError, Recorded, Transaction, sql};
use feed::ReactError;
use futures_util::future::{self, BoxFuture};
use vocabulary::RunId;

use crate::core::Core;
use crate::experiment::{self, Experiments};
use crate::run::{self, Rejection, Run, RunDeleted, RunState};
use crate::views::{deleted_sweeps, runs};

/// Runs that are looked at together.
const RUNS_AT_ONCE: i32 = 500;
/// Runs that are deleted at once: the writer takes them in one commit.
const DELETED_AT_ONCE: usize = 32;

/// Tables with what a run has beside its history.
const TABLES: [&str; 8] = [
    "metric_batches",
    "metric_writers",
    "metric_keys",
    "metric_restarts",
    "log_chunks",
    "log_ends",
    "artifacts",
    "superseded_artifacts",
];

/// Deletes the runs of a sweep, and writes down that those which come late go, too.
///
/// # Errors
/// When one has not ended yet, or something cannot be read or written.
pub(crate) async fn delete_of_sweep(
    core: &Core,
    fact: &Fact,
    workspace: &str,
    sweep_id: &str,
) -> Result<(), ReactError> {
    // First: whoever creates a run after the rows were read finds this.
    remember(core, fact, workspace.to_owned(), sweep_id.to_owned()).await?;
    let mut before = i64::MAX;
    loop {
        let page = runs::of_sweep(core.log.reader(), (workspace, sweep_id), before, RUNS_AT_ONCE).await;
        let page = page.map_err(unreadable)?;
        let Some((last, _)) = page.last() else { break };
        before = *last;
        for some in page.chunks(DELETED_AT_ONCE) {
            future::try_join_all(some.iter().map(|(_, run)| with_nested(core, fact, workspace, *run))).await?;
        }
    }
    // Also when they were deleted before: the one who did may have died since.
    core.released.notify_one();
    Ok(())
}

/// Deletes the run of a trial that ends after its sweep was deleted with its runs.
///
/// # Errors
/// When it has not ended yet, or something cannot be read or written.
pub(crate) async fn delete_late(
    core: &Core,
    fact: &Fact,
    (workspace, sweep_id): (&str, &str),
    run: RunId,
) -> Result<(), ReactError> {
    if !deleted_sweeps::has(core.log.reader(), workspace, sweep_id).await.map_err(unreadable)? {
        return Ok(());
    }
    with_nested(core, fact, workspace, run).await?;
    core.released.notify_one();
    Ok(())
}

async fn remember(core: &Core, fact: &Fact, workspace: String, sweep_id: String) -> Result<(), ReactError> {
    let context = calls::reaction_context(fact, "delete_runs.sweep");
    // Rows need a stream that they go with; nothing happens to the experiments.
    let stream = experiment::stream(&workspace);
    let remembered = core.log.record::<Experiments, _>(&stream, None, context, move |_, tx| {
        let (workspace, sweep_id) = (workspace.clone(), sweep_id.clone());
        Box::pin(async move {
            deleted_sweeps::put(tx, &workspace, &sweep_id).await?;
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    remembered.await.map(drop).map_err(|error| calls::problem(error).into())
}

/// Deletes a run, and before it those nested in it that have ended, the innermost first: what a crash leaves between is
/// found again. One that goes on belongs to whoever drives it, with what is nested in it. Runs are nested a few deep
/// only, so this calls itself no more often.
fn with_nested<'a>(
    core: &'a Core,
    fact: &'a Fact,
    workspace: &'a str,
    run: RunId,
) -> BoxFuture<'a, Result<(), ReactError>> {
    Box::pin(async move {
        let mut after = -1;
        loop {
            let page = runs::children(core.log.reader(), workspace, run, after, RUNS_AT_ONCE).await;
            let page = page.map_err(unreadable)?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for child in page.iter().filter(|child| child.state.is_terminal()) {
                with_nested(core, fact, workspace, child.run).await?;
            }
        }
        delete(core, fact, run).await
    })
}

fn unreadable(error: Error) -> ReactError {
    error.problem().into()
}

/// Deletes a run, in one transaction.
async fn delete(core: &Core, fact: &Fact, run: RunId) -> Result<(), ReactError> {
    let context = calls::reaction_context(fact, &format!("delete_runs.{run}"));
    let at_us = fact.recorded_at_us;
    let stream = run::stream(run);
    let recorded = core.log.record::<Run, _>(&stream, None, context, move |state, tx| {
        let (subject, state, is_gone) = (state.subject.clone(), state.state, state.details.deleted_us.is_some());
        Box::pin(async move {
            // Not an answer, which would be the answer for ever: it is asked again.
            if !state.is_some_and(RunState::is_terminal) {
                return Err(RecordError::Rejected(Rejection::NotEnded));
            }
            let events = if is_gone { Vec::new() } else { vec![RunDeleted { subject, at_us }.into()] };
            purge(run, tx).await?;
            Ok(Recorded { events, reply: Vec::new() })
        })
    });
    match recorded.await {
        Ok(_) => {
            core.changed(run);
            Ok(())
        }
        Err(ExecuteError::Rejected(Rejection::NotEnded)) => Err(ReactError::Waits(format!("{run} has not ended"))),
        Err(error) => Err(calls::problem(error).into()),
    }
}

async fn purge(run: RunId, tx: &mut Transaction) -> Result<(), Error> {
    let key = run.uuid().as_bytes().to_vec();
    for named in ["artifacts", "superseded_artifacts"] {
        let release = format!(
            "INSERT INTO released_objects(sha256) SELECT DISTINCT sha256 FROM {named} WHERE run = $1
             ON CONFLICT DO NOTHING"
        );
        sql(release).bind(key.clone()).execute(&mut *tx).await?;
    }
    for table in TABLES {
        sql(format!("DELETE FROM {table} WHERE run = $1")).bind(key.clone()).execute(&mut *tx).await?;
    }
    Ok(())
}
