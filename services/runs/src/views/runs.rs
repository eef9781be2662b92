//! Runs as they are shown, with what they are listed by. A row is the run's own state as far as it is shown, made by
//! its own fold. Reported points do not touch it, only the small row that has the version.

use std::collections::BTreeMap;

use eventlog::{BoxFuture, Error, Reader, RecordedEvent, Row, Transaction, View, ViewTable, insert, row, sql};
use uuid::Uuid;
use vocabulary::RunId;

use super::key;
use crate::run::{self, Run, RunEvent};

/// Instead of its state in the row of a run that is gone: lists pass it over.
const DELETED: &str = "Deleted";
/// Children that are read at once.
const CHILDREN_AT_ONCE: i32 = 1_000;

/// The view.
pub struct RunsView;

impl View for RunsView {
    fn name(&self) -> &'static str {
        "run_rows"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("runs")]
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        let silent = ["MetricReported", "MetricNameSeen", "ArtifactsRecorded"];
        run::of_stream(&event.stream).is_some() && !silent.contains(&event.kind.as_str())
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            // A row that several events of the batch change is read and written once.
            let mut changed: BTreeMap<RunId, Changed> = BTreeMap::new();
            for event in events.iter().filter(|event| self.wants(event)) {
                let Some(run) = run::of_stream(&event.stream) else { continue };
                let decoded: RunEvent = event.decode()?;
                let row = match changed.entry(run) {
                    std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::btree_map::Entry::Vacant(entry) => {
                        let row = if event.version == 1 { Changed::new(event) } else { load(tx, run).await? };
                        entry.insert(row)
                    }
                };
                row.shown.take(&decoded);
            }
            for (run, row) in changed {
                save(tx, run, row).await?;
            }
            Ok(())
        })
    }
}

/// The version of each run's stream.
pub struct VersionsView;

impl View for VersionsView {
    fn name(&self) -> &'static str {
        "run_versions"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("run_versions")]
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        run::of_stream(&event.stream).is_some()
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let versions = events.iter().filter_map(|event| Some((run::of_stream(&event.stream)?, event.version)));
            // The last one of a run stays.
            let versions: BTreeMap<RunId, i64> = versions.collect();
            let then = "ON CONFLICT(run) DO UPDATE SET version = excluded.version";
            let mut rows = insert("INSERT INTO run_versions(run, version)", then);
            for (run, version) in versions {
                rows.row(row![key(run), version]);
            }
            rows.execute(tx).await
        })
    }
}

struct Changed {
    shown: Run,
    /// Position and command of the run's first event, when the row is new.
    created: Option<(i64, Uuid)>,
}

impl Changed {
    fn new(event: &RecordedEvent) -> Self {
        Self { shown: Run::default(), created: Some((event.position, event.command_id)) }
    }
}

async fn load(tx: &mut Transaction, run: RunId) -> Result<Changed, Error> {
    let get = "SELECT shown FROM runs WHERE run = $1";
    let shown: String = sql(get).bind(key(run)).fetch_one(tx).await?;
    Ok(Changed { shown: read(&shown)?, created: None })
}

async fn save(tx: &mut Transaction, run: RunId, row: Changed) -> Result<(), Error> {
    let Changed { shown, created } = row;
    let text = serde_json::to_string(&shown).map_err(|error| Error::Encode(error.to_string()))?;
    let state = match shown.details.deleted_us {
        Some(_) => DELETED.to_owned(),
        None => shown.shown_state().map(|state| state.to_string()).unwrap_or_default(),
    };
    let Some((seq, command)) = created else {
        let set = "UPDATE runs SET state = $1, shown = $2 WHERE run = $3";
        sql(set).bind(state).bind(text).bind(key(run)).execute(tx).await?;
        return Ok(());
    };
    sql("INSERT INTO runs(seq, run, workspace, experiment_id, parent, sweep_id, state, command_id, shown)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
    .bind(seq)
    .bind(key(run))
    .bind(&shown.subject.workspace)
    .bind(&shown.details.experiment_id)
    .bind(&shown.details.parent_run_id)
    .bind(&shown.subject.sweep_id)
    .bind(state)
    .bind(command)
    .bind(text)
    .execute(tx)
    .await?;
    Ok(())
}

fn read(shown: &str) -> Result<Run, Error> {
    serde_json::from_str(shown).map_err(|error| Error::Decode(format!("a row of runs: {error}")))
}

/// A run as its row has it: what is only decided on is not there.
pub struct Shown {
    /// Its place among all runs.
    pub seq: i64,
    /// Its id.
    pub run_id: RunId,
    /// The run.
    pub run: Run,
}

const COLUMNS: &str =
    "shown, (SELECT run_versions.version FROM run_versions WHERE run_versions.run = runs.run) AS version, seq, run";

fn read_id(bytes: &[u8]) -> Result<RunId, Error> {
    Uuid::from_slice(bytes).map(RunId::new).map_err(|error| Error::Decode(format!("a row of runs: {error}")))
}

fn read_row(row: &Row) -> Result<Shown, Error> {
    let (shown, run): (String, Vec<u8>) = (row.get(0)?, row.get(3)?);
    Ok(Shown { seq: row.get(2)?, run_id: read_id(&run)?, run: Run { version: row.get(1)?, ..read(&shown)? } })
}

/// A run of a workspace.
///
/// # Errors
/// When the row cannot be read.
pub async fn find(pool: &Reader, workspace: &str, run: RunId) -> Result<Option<Shown>, Error> {
    let get = format!("SELECT {COLUMNS} FROM runs WHERE run = $1 AND workspace = $2");
    let row: Option<Row> = sql(get).bind(key(run)).bind(workspace).fetch_optional(pool).await?;
    row.as_ref().map(read_row).transpose()
}

/// The state of a run; `None` when it is not in the workspace.
///
/// # Errors
/// When the row cannot be read.
pub async fn state_of(pool: &Reader, workspace: &str, run: RunId) -> Result<Option<run::RunState>, Error> {
    let get = "SELECT state FROM runs WHERE run = $1 AND workspace = $2";
    let state: Option<String> = sql(get).bind(key(run)).bind(workspace).fetch_optional(pool).await?;
    Ok(state.and_then(|state| state.parse().ok()))
}

/// State and attempt of a run, wherever it belongs.
///
/// # Errors
/// When the row cannot be read.
pub async fn stands(pool: &Reader, run: RunId) -> Result<Option<(run::RunState, u32)>, Error> {
    let get = "SELECT shown FROM runs WHERE run = $1";
    let Some(shown) = sql(get).bind(key(run)).fetch_optional::<String>(pool).await? else { return Ok(None) };
    let shown = read(&shown)?;
    Ok(shown.state.map(|state| (state, shown.attempt)))
}

/// The run that a command has created.
///
/// # Errors
/// When the row cannot be read.
pub async fn created_by(pool: &Reader, command: Uuid) -> Result<Option<RunId>, Error> {
    let get = "SELECT run FROM runs WHERE command_id = $1";
    let run: Option<Vec<u8>> = sql(get).bind(command).fetch_optional(pool).await?;
    Ok(run.and_then(|run| Uuid::from_slice(&run).ok()).map(RunId::new))
}

/// A run that is nested in another one.
pub struct Child {
    /// Its place among all runs.
    pub seq: i64,
    /// The run.
    pub run: RunId,
    /// What it is doing.
    pub state: run::RunState,
    /// The sweep whose trial it is; empty in a plain run.
    pub sweep_id: String,
}

/// A page of the runs that are nested directly in a run, oldest first, after the place `after`.
///
/// # Errors
/// When the rows cannot be read.
pub async fn children(
    pool: &Reader,
    workspace: &str,
    parent: RunId,
    after: i64,
    limit: i32,
) -> Result<Vec<Child>, Error> {
    // The first condition lets SQLite use the partial index.
    let get = "SELECT seq, run, state, sweep_id FROM runs
        WHERE parent <> '' AND parent = $1 AND workspace = $2 AND seq > $3 AND state <> 'Deleted'
        ORDER BY seq LIMIT $4";
    let query = sql(get).bind(parent.to_string()).bind(workspace).bind(after).bind(limit);
    let rows: Vec<(i64, Vec<u8>, String, String)> = query.fetch_all(pool).await?;
    let child = |(seq, run, state, sweep_id): (i64, Vec<u8>, String, String)| {
        let state = state.parse().map_err(|_| Error::Decode(format!("a row of runs: seq {seq}")))?;
        Ok(Child { seq, run: read_id(&run)?, state, sweep_id })
    };
    rows.into_iter().map(child).collect()
}

/// What is nested in a run at any depth, each before what is nested in it, and no more than some beyond `most`.
///
/// # Errors
/// When the rows cannot be read.
pub async fn below(pool: &Reader, workspace: &str, parent: RunId, most: usize) -> Result<Vec<Child>, Error> {
    let (mut open, mut found) = (vec![parent], Vec::new());
    while let Some(parent) = open.pop() {
        let mut after = -1;
        loop {
            let page = children(pool, workspace, parent, after, CHILDREN_AT_ONCE).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            open.extend(page.iter().map(|child| child.run));
            found.extend(page);
            if found.len() > most {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Which runs are listed; empty texts leave a condition out.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The workspace.
    pub workspace: String,
    /// Decimal text.
    pub experiment_id: String,
    /// The run that they are nested in.
    pub parent: String,
    /// A state's word.
    pub state: String,
    /// The sweep whose trials they are.
    pub sweep_id: String,
    /// The first and the last id that they may have.
    pub ids: Option<(RunId, RunId)>,
}

/// Hands over the next runs, newest first, before the place `before`, until one is not taken: a row has up to what a
/// document may have.
///
/// # Errors
/// When the rows cannot be read.
pub async fn each(
    pool: &Reader,
    filter: &Filter,
    before: i64,
    limit: i32,
    mut take: impl FnMut(Shown) -> bool + Send,
) -> Result<(), Error> {
    let mut query =
        sql(format!("SELECT {COLUMNS} FROM runs WHERE workspace = $1 AND state <> 'Deleted'")).bind(&filter.workspace);
    let conditions = [
        (" AND experiment_id = ", &filter.experiment_id),
        // The first condition lets the store use the partial index.
        (" AND parent <> '' AND parent = ", &filter.parent),
        (" AND state = ", &filter.state),
        (" AND sweep_id <> '' AND sweep_id = ", &filter.sweep_id),
    ];
    for (condition, value) in conditions.into_iter().filter(|(_, value)| !value.is_empty()) {
        query = query.and(condition, value);
    }
    if let Some((first, last)) = filter.ids {
        query = query.and(" AND run >= ", key(first)).and(" AND run <= ", key(last));
    }
    let query = query.and(" AND seq < ", before).and(" ORDER BY seq DESC LIMIT ", limit);
    query.fetch_while(pool, |row: Row| Ok(take(read_row(&row)?))).await
}

/// The next runs of a sweep's trials, newest first, before the place `before`.
///
/// # Errors
/// When the rows cannot be read.
pub async fn of_sweep(
    pool: &Reader,
    (workspace, sweep_id): (&str, &str),
    before: i64,
    limit: i32,
) -> Result<Vec<(i64, RunId)>, Error> {
    // The first condition lets the store use the partial index.
    let get = "SELECT seq, run FROM runs
        WHERE sweep_id <> '' AND sweep_id = $1 AND workspace = $2 AND seq < $3 AND state <> 'Deleted'
        ORDER BY seq DESC LIMIT $4";
    let query = sql(get).bind(sweep_id).bind(workspace).bind(before).bind(limit);
    let rows: Vec<(i64, Vec<u8>)> = query.fetch_all(pool).await?;
    let read = |(seq, run): (i64, Vec<u8>)| Ok((seq, read_id(&run)?));
    rows.into_iter().map(read).collect()
}
