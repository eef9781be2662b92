//! Runs as users see them, with what they are listed by. Reported points do not touch the row: the version is read from
//! the events.

use std::collections::BTreeMap;

use contracts::runs as wire;
use eventlog::{BoxFuture, Error, RecordedEvent, SqliteConnection, SqlitePool, View};
use prost::Message;
use sqlx::{AssertSqlSafe, QueryBuilder, Row, Sqlite};
use uuid::Uuid;
use vocabulary::RunId;

use super::shown::show;
use crate::run::{self, RunEvent};

/// The view.
pub struct RunsView;

impl View for RunsView {
    fn name(&self) -> &'static str {
        "runs"
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        let silent = ["MetricReported", "MetricNameSeen", "ArtifactsRecorded", "RunStopRequested", "RunReleased"];
        run::of_stream(&event.stream).is_some() && !silent.contains(&event.kind.as_str())
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut SqliteConnection,
        events: &'a [RecordedEvent],
    ) -> BoxFuture<'a, Result<(), Error>> {
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
                show(&mut row.shown, &decoded);
            }
            for (run, row) in changed {
                save(tx, run, row).await?;
            }
            Ok(())
        })
    }
}

struct Changed {
    shown: wire::Run,
    /// Position and command of the run's first event, when the row is new.
    created: Option<(i64, Uuid)>,
}

impl Changed {
    fn new(event: &RecordedEvent) -> Self {
        Self { shown: wire::Run::default(), created: Some((event.position, event.command_id)) }
    }
}

async fn load(tx: &mut SqliteConnection, run: RunId) -> Result<Changed, Error> {
    let get = "SELECT shown FROM runs WHERE run = ?";
    let shown: Vec<u8> = sqlx::query_scalar(get).bind(key(run)).fetch_one(tx).await?;
    Ok(Changed { shown: read(&shown)?, created: None })
}

async fn save(tx: &mut SqliteConnection, run: RunId, row: Changed) -> Result<(), Error> {
    let Changed { shown, created } = row;
    let Some((seq, command)) = created else {
        sqlx::query("UPDATE runs SET state = ?, shown = ? WHERE run = ?")
            .bind(&shown.state)
            .bind(shown.encode_to_vec())
            .bind(key(run))
            .execute(tx)
            .await?;
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO runs(seq, run, workspace, experiment_id, parent, sweep_id, state, command_id, shown)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(seq)
    .bind(key(run))
    .bind(&shown.workspace)
    .bind(&shown.experiment_id)
    .bind(&shown.parent_run_id)
    .bind(&shown.sweep_id)
    .bind(&shown.state)
    .bind(command.as_bytes().to_vec())
    .bind(shown.encode_to_vec())
    .execute(tx)
    .await?;
    Ok(())
}

fn key(run: RunId) -> Vec<u8> {
    run.uuid().as_bytes().to_vec()
}

fn read(shown: &[u8]) -> Result<wire::Run, Error> {
    wire::Run::decode(shown).map_err(|error| Error::Decode(format!("a row of runs: {error}")))
}

/// The columns of a run that is shown: its row, its version, its place in lists.
const COLUMNS: &str =
    "shown, (SELECT max(version) FROM events WHERE stream_id = 'run-' || lower(hex(run))) AS version, seq";

fn read_row(row: &sqlx::sqlite::SqliteRow) -> Result<wire::Run, Error> {
    let shown: Vec<u8> = row.try_get(0)?;
    Ok(wire::Run { version: row.try_get(1)?, ..read(&shown)? })
}

/// A run of a workspace.
///
/// # Errors
/// When the row cannot be read.
pub async fn find(pool: &SqlitePool, workspace: &str, run: RunId) -> Result<Option<wire::Run>, Error> {
    let get = format!("SELECT {COLUMNS} FROM runs WHERE run = ? AND workspace = ?");
    let row = sqlx::query(AssertSqlSafe(get)).bind(key(run)).bind(workspace).fetch_optional(pool).await?;
    row.as_ref().map(read_row).transpose()
}

/// The state of a run; `None` when it is not in the workspace.
///
/// # Errors
/// When the row cannot be read.
pub async fn state_of(pool: &SqlitePool, workspace: &str, run: RunId) -> Result<Option<run::RunState>, Error> {
    let get = "SELECT state FROM runs WHERE run = ? AND workspace = ?";
    let state: Option<String> = sqlx::query_scalar(get).bind(key(run)).bind(workspace).fetch_optional(pool).await?;
    Ok(state.and_then(|state| run::RunState::parse(&state)))
}

/// The run that a command has created.
///
/// # Errors
/// When the row cannot be read.
pub async fn created_by(pool: &SqlitePool, command: Uuid) -> Result<Option<RunId>, Error> {
    let get = "SELECT run FROM runs WHERE command_id = ?";
    let run: Option<Vec<u8>> = sqlx::query_scalar(get).bind(command.as_bytes().to_vec()).fetch_optional(pool).await?;
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
    pool: &SqlitePool,
    workspace: &str,
    parent: RunId,
    after: i64,
    limit: i32,
) -> Result<Vec<Child>, Error> {
    // The first condition lets SQLite use the partial index.
    let get = "SELECT seq, run, state, sweep_id FROM runs
        WHERE parent <> '' AND parent = ? AND workspace = ? AND seq > ? ORDER BY seq LIMIT ?";
    let query = sqlx::query_as(get).bind(parent.to_string()).bind(workspace).bind(after).bind(limit);
    let rows: Vec<(i64, Vec<u8>, String, String)> = query.fetch_all(pool).await?;
    let child = |(seq, run, state, sweep_id): (i64, Vec<u8>, String, String)| {
        let damaged = || Error::Decode(format!("a row of runs: seq {seq}"));
        let run = Uuid::from_slice(&run).map(RunId::new).map_err(|_| damaged())?;
        let state = run::RunState::parse(&state).ok_or_else(damaged)?;
        Ok(Child { seq, run, state, sweep_id })
    };
    rows.into_iter().map(child).collect()
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
}

/// A page of runs, newest first, before the place `before`, each with its place.
///
/// # Errors
/// When the rows cannot be read.
pub async fn list(pool: &SqlitePool, filter: &Filter, before: i64, limit: i32) -> Result<Vec<(i64, wire::Run)>, Error> {
    let mut query = QueryBuilder::<Sqlite>::new(format!("SELECT {COLUMNS} FROM runs WHERE workspace = "));
    query.push_bind(filter.workspace.clone());
    let conditions = [
        (" AND experiment_id = ", &filter.experiment_id),
        // The second condition lets SQLite use the partial index.
        (" AND parent <> '' AND parent = ", &filter.parent),
        (" AND state = ", &filter.state),
        (" AND sweep_id <> '' AND sweep_id = ", &filter.sweep_id),
    ];
    for (condition, value) in conditions.into_iter().filter(|(_, value)| !value.is_empty()) {
        query.push(condition).push_bind(value.clone());
    }
    query.push(" AND seq < ").push_bind(before).push(" ORDER BY seq DESC LIMIT ").push_bind(limit);
    let rows = query.build().fetch_all(pool).await?;
    rows.iter().map(|row| Ok((row.try_get(2)?, read_row(row)?))).collect()
}
