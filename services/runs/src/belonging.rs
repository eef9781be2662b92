//! Whether a log and a store of objects belong together. With another store than before every object is missing; in a
//! store that two installations use the one removes what the other one has.

use std::time::Duration;

use anyhow::bail;
use eventlog::{Context, Error, Reader, Recorded, sql};
use runtime::Backoff;

use crate::core::Core;
use crate::experiment::{self, Experiments};
use crate::objects::Noted;

/// Waits for a store that is away.
const AWAY_MIN: Duration = Duration::from_millis(200);
const AWAY_MAX: Duration = Duration::from_secs(5);

/// Makes sure of it at the start, and notes it the first time. A store that is away is waited for.
///
/// # Errors
/// When the objects are elsewhere, or the store is another installation's.
pub(crate) async fn check(core: &Core) -> anyhow::Result<()> {
    let (objects, source) = (&core.objects, core.log.source());
    let before = noted(core.log.reader()).await?;
    if !objects.is_shared() {
        return match before {
            Some(url) => bail!(
                "the objects of this installation are in {url}, and not in {objects}: set `[objects] url = {url:?}` in \
                 its configuration"
            ),
            None => Ok(()),
        };
    }
    let mut backoff = Backoff::new(AWAY_MIN, AWAY_MAX);
    let found = loop {
        match objects.owner().await? {
            Noted::By(owner) => break Some(owner),
            Noted::ByNobody => break None,
            Noted::Unknown(problem) => tracing::warn!("{objects}: {problem}; it is waited for"),
        }
        if !backoff.wait_unless(&core.shutdown).await {
            bail!("{objects} could not be reached before the end was asked for");
        }
    };
    match found {
        Some(owner) if owner != source => bail!(
            "{objects} has the objects of {owner}, and this is {source}: two installations in one place would remove \
             each other's objects. Name another prefix in objects.url; if it is this installation's all the same (its \
             database was set back and accepted), remove the object `installation` there"
        ),
        Some(_) => {}
        None if has_objects(core.log.reader()).await? => bail!(
            "{objects} is another place than the one that has this installation's objects. Carry them there: `trialog \
             move --config FILE` does it for those of a data folder, for others copy everything below `sha256/`, and \
             with it an object `installation` with the content {source}"
        ),
        None => objects.note_owner(source).await?,
    }
    let url = objects.to_string();
    if before.as_ref() != Some(&url) {
        note(core, url).await?;
    }
    Ok(())
}

/// Where the log says that its objects are; `None`: in a folder.
///
/// # Errors
/// When the row cannot be read.
pub(crate) async fn noted(reader: &Reader) -> Result<Option<String>, Error> {
    sql("SELECT url FROM object_store WHERE id = 1").fetch_optional(reader).await
}

async fn has_objects(reader: &Reader) -> Result<bool, Error> {
    let found: Option<String> = sql("SELECT sha256 FROM object_owners LIMIT 1").fetch_optional(reader).await?;
    Ok(found.is_some())
}

async fn note(core: &Core, url: String) -> anyhow::Result<()> {
    let context = Context::new(core.entropy.uuid(), "note_object_store", String::new());
    // Rows need a stream that they go with; nothing happens to the experiments.
    let stream = experiment::stream("");
    let noted = core.log.record::<Experiments, _>(&stream, None, context, move |_, tx| {
        let url = url.clone();
        Box::pin(async move {
            let put = "INSERT INTO object_store(id, url) VALUES (1, $1)
                ON CONFLICT(id) DO UPDATE SET url = excluded.url";
            sql(put).bind(&url).execute(tx).await?;
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    noted.await.map(drop).map_err(|error| calls::problem(error).into())
}
