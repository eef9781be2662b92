//! Experiments by id and by name.

use std::collections::BTreeMap;

use eventlog::{BoxFuture, Error, Reader, RecordedEvent, Transaction, View, ViewTable, sql};

use crate::experiment::{DEFAULT_ID, DEFAULT_NAME, ExperimentCreated, ExperimentEvent, stream};

/// The view.
pub struct ExperimentsView;

impl View for ExperimentsView {
    fn name(&self) -> &'static str {
        "experiment_rows"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("experiments")]
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        event.stream.starts_with(&stream(""))
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events.iter().filter(|event| self.wants(event)) {
                let ExperimentEvent::ExperimentCreated(created) = event.decode()?;
                let shown = serde_json::to_string(&created).map_err(|error| Error::Encode(error.to_string()))?;
                let id = i64::try_from(created.experiment_id).unwrap_or(i64::MAX);
                sql("INSERT INTO experiments(workspace, id, name, shown) VALUES ($1, $2, $3, $4)")
                    .bind(&created.workspace)
                    .bind(id)
                    .bind(&created.name)
                    .bind(shown)
                    .execute(&mut *tx)
                    .await?;
            }
            Ok(())
        })
    }
}

/// The experiment that is always there, and was never created.
pub fn default_of(workspace: &str) -> ExperimentCreated {
    ExperimentCreated {
        workspace: workspace.to_owned(),
        experiment_id: 0,
        name: DEFAULT_NAME.to_owned(),
        tags: BTreeMap::new(),
        at_us: 0,
    }
}

/// An experiment by its id or its name; an id goes first.
///
/// # Errors
/// When the row cannot be read.
pub async fn find(pool: &Reader, workspace: &str, id_or_name: &str) -> Result<Option<ExperimentCreated>, Error> {
    if id_or_name == DEFAULT_ID || id_or_name == DEFAULT_NAME {
        return Ok(Some(default_of(workspace)));
    }
    let get = "SELECT shown FROM experiments WHERE workspace = $1 AND (id = $2 OR name = $3)
               ORDER BY CASE WHEN id = $2 THEN 0 ELSE 1 END LIMIT 1";
    let id: Option<i64> = id_or_name.parse().ok();
    let query = sql(get).bind(workspace).bind(id).bind(id_or_name);
    let shown: Option<String> = query.fetch_optional(pool).await?;
    shown.map(|shown| read(&shown)).transpose()
}

/// Experiments with an id greater than `after`, by id.
///
/// # Errors
/// When the rows cannot be read.
pub async fn list(pool: &Reader, workspace: &str, after: i64, limit: i32) -> Result<Vec<ExperimentCreated>, Error> {
    let get = "SELECT shown FROM experiments WHERE workspace = $1 AND id > $2 ORDER BY id LIMIT $3";
    let rows: Vec<String> = sql(get).bind(workspace).bind(after).bind(limit).fetch_all(pool).await?;
    rows.iter().map(|shown| read(shown)).collect()
}

fn read(shown: &str) -> Result<ExperimentCreated, Error> {
    serde_json::from_str(shown).map_err(|error| Error::Decode(format!("a row of experiments: {error}")))
}
