//! Removes objects that deleted runs had named and nothing refers to any more.

use std::sync::Arc;
use std::time::Duration;

use eventlog::{Context, Error, Recorded, Transaction, sql};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::SignedDuration;
use vocabulary::Problem;

use crate::core::Core;
use crate::experiment::{self, Experiments};
use crate::objects::Hash;

/// So long nobody must have put an object: who has put one may be about to name it. S3 takes no request of a clock that
/// is 15 minutes from its own, so that it may also be the store's clock that says when.
const GRACE: SignedDuration = SignedDuration::from_hours(1);
/// Released objects that are looked at together: nobody can name an object for some milliseconds meanwhile.
const OBJECTS_AT_ONCE: i64 = 100;
/// How often what was released is looked through, if nobody asks for it.
const AGAIN: Duration = Duration::from_secs(600);
/// What is asked of the store at the same time.
const CALLS_AT_ONCE: usize = 16;
/// Longer than a removal takes that was begun under the lease before: each call to the store has 5 s at most.
const REMOVAL_MAX: SignedDuration = SignedDuration::from_secs(10);
/// Longer than any upload takes.
const UPLOAD_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Looks through what was released at the start, when something more is, and every now and then: what somebody has put
/// a moment ago waits for a later time. So it goes on after a crash, too.
///
/// # Errors
/// When rows cannot be read or written, or the store fails; it is begun again then.
pub(crate) async fn keep_collecting(core: Arc<Core>) -> anyhow::Result<()> {
    loop {
        collect(&core).await?;
        core.objects.sweep(core.clock.now() - UPLOAD_MAX).await?;
        tokio::select! {
            () = core.released.notified() => {}
            () = tokio::time::sleep(AGAIN) => {}
            () = core.shutdown.requested() => return Ok(()),
        }
    }
}

/// Removes what was released and nobody refers to.
///
/// # Errors
/// When the rows cannot be read or written, or the store fails.
pub(crate) async fn collect(core: &Core) -> Result<(), Problem> {
    let mut after = String::new();
    loop {
        // A page at a time: others wait meanwhile who name objects.
        let _removing = core.naming.write().await;
        let get = "SELECT sha256 FROM released_objects WHERE sha256 > $1 ORDER BY sha256 LIMIT $2";
        let page = sql(get).bind(after).bind(OBJECTS_AT_ONCE).fetch_all::<String>(core.log.reader()).await;
        let page = page.map_err(|error| error.problem())?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.clone();
        let released: Vec<Hash> = page.iter().filter_map(|hash| Hash::parse(hash).ok()).collect();
        let looked = stream::iter(released).map(|hash| if_old(core, hash)).buffered(CALLS_AT_ONCE);
        let looked: Vec<Option<Hash>> = looked.try_collect().await?;
        let old: Arc<Vec<Hash>> = Arc::new(looked.into_iter().flatten().collect());
        if old.is_empty() {
            continue;
        }
        let orphans = write(core, &old, Step::Disown).await?;
        let orphans: Vec<_> = orphans.split(' ').filter_map(|hash| Hash::parse(hash).ok()).map(Ok).collect();
        stream::iter(orphans).try_for_each_concurrent(CALLS_AT_ONCE, |hash| remove(core, hash)).await?;
        // Last: what a crash leaves between is found again.
        write(core, &old, Step::Forget).await?;
    }
}

/// An object that nobody has put for some time.
async fn if_old(core: &Core, hash: Hash) -> Result<Option<Hash>, Problem> {
    let written = core.objects.written_at(&hash).await?;
    let is_old = written.is_none_or(|at| core.clock.now().duration_since(at) >= GRACE);
    Ok(is_old.then_some(hash))
}

/// Removes an object of which nobody has been found to have it, unless another process may have been given it again
/// since. One that stands still between the two lines, and wakes up long after its lease was over, cannot be held off:
/// no store compares an epoch. What it removes then was put again meanwhile, and `doctor` misses it.
async fn remove(core: &Core, hash: Hash) -> Result<(), Problem> {
    core.log.assert_current().map_err(|error| error.problem())?;
    core.objects.remove(&hash).await
}

/// Whether the process that wrote the log before may be removing an object right now: it has found that nobody has it,
/// and asked the store for the last time just before its lease was over.
///
/// # Errors
/// When the row cannot be read.
pub(crate) async fn may_be_removed(core: &Core, hash: &Hash) -> Result<bool, Error> {
    if !core.objects.is_shared() || core.clock.now().duration_since(core.opened_at) >= REMOVAL_MAX {
        return Ok(false);
    }
    let get = "SELECT sha256 FROM released_objects WHERE sha256 = $1";
    let released: Option<String> = sql(get).bind(hash.as_str()).fetch_optional(core.log.reader()).await?;
    Ok(released.is_some())
}

/// What is written of released objects.
#[derive(Clone, Copy)]
enum Step {
    /// Nobody has those any more that nobody refers to; their hashes are the answer.
    Disown,
    /// They are looked through.
    Forget,
}

async fn write(core: &Core, hashes: &Arc<Vec<Hash>>, step: Step) -> Result<String, Problem> {
    let context = Context::new(core.entropy.uuid(), "collect_objects", String::new());
    let hashes = Arc::clone(hashes);
    // Rows need a stream that they go with; nothing happens to the experiments.
    let stream = experiment::stream("");
    let recorded = core.log.record::<Experiments, _>(&stream, None, context, move |_, tx| {
        let hashes = Arc::clone(&hashes);
        Box::pin(async move {
            let mut reply = Vec::new();
            for hash in hashes.iter() {
                match step {
                    Step::Disown if is_named(hash, tx).await? => {}
                    Step::Disown => reply.push(hash.as_str()),
                    Step::Forget => {
                        let forget = "DELETE FROM released_objects WHERE sha256 = $1";
                        sql(forget).bind(hash.as_str()).execute(&mut *tx).await?;
                    }
                }
            }
            Ok(Recorded { events: Vec::new(), reply: reply.join(" ").into_bytes() })
        })
    });
    let committed = recorded.await.map_err(calls::problem)?;
    Ok(String::from_utf8_lossy(&committed.reply).into_owned())
}

/// Whether anything refers to an object; when nothing does, nobody has it from then on.
async fn is_named(hash: &Hash, tx: &mut Transaction) -> Result<bool, Error> {
    let is_named = "SELECT CASE WHEN EXISTS(SELECT 1 FROM artifacts WHERE sha256 = $1)
        OR EXISTS(SELECT 1 FROM superseded_artifacts WHERE sha256 = $1)
        OR EXISTS(SELECT 1 FROM code_objects WHERE sha256 = $1)
        OR EXISTS(SELECT 1 FROM kept_objects WHERE sha256 = $1)
        OR EXISTS(SELECT 1 FROM object_owners WHERE sha256 = $1 AND put = 1) THEN 1 ELSE 0 END";
    let is_named: i64 = sql(is_named).bind(hash.as_str()).fetch_one(&mut *tx).await?;
    if is_named == 0 {
        sql("DELETE FROM object_owners WHERE sha256 = $1").bind(hash.as_str()).execute(&mut *tx).await?;
    }
    Ok(is_named != 0)
}
