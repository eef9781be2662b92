//! Removes objects that deleted runs had named and nothing refers to any more.

use std::sync::Arc;
use std::time::Duration;

use eventlog::{Context, Error, Recorded, Transaction, sql};
use jiff::SignedDuration;
use vocabulary::Problem;

use crate::core::Core;
use crate::experiment::{self, Experiments};
use crate::objects::Hash;

/// So long nobody must have put an object: who has put one may be about to name it.
const GRACE: SignedDuration = SignedDuration::from_hours(1);
/// Released objects that are looked at together: nobody can name an object for some milliseconds meanwhile.
const OBJECTS_AT_ONCE: i64 = 100;
/// How often what was released is looked through, if nobody asks for it.
const AGAIN: Duration = Duration::from_secs(600);

/// Looks through what was released at the start, when something more is, and every now and then: what somebody has put
/// a moment ago waits for a later time. So it goes on after a crash, too.
///
/// # Errors
/// When rows cannot be read or written, or the store fails; it is begun again then.
pub(crate) async fn keep_collecting(core: Arc<Core>) -> anyhow::Result<()> {
    loop {
        collect(&core).await?;
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
        let mut old = Vec::new();
        for hash in page.iter().filter_map(|hash| Hash::parse(hash).ok()) {
            let written = core.objects.written_at(&hash).await?;
            if written.is_none_or(|at| core.clock.now().duration_since(at) >= GRACE) {
                old.push(hash);
            }
        }
        if old.is_empty() {
            continue;
        }
        let old = Arc::new(old);
        let orphans = write(core, &old, Step::Disown).await?;
        for hash in orphans.split(' ').filter_map(|hash| Hash::parse(hash).ok()) {
            core.objects.remove(&hash).await?;
        }
        // Last: what a crash leaves between is found again.
        write(core, &old, Step::Forget).await?;
    }
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
