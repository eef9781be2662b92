//! The list of models, and where a version id leads.

use eventlog::{BoxFuture, Error, RecordedEvent, Transaction, View, ViewTable, sql};

use crate::model::ModelEvent;

/// One row a model and one a version.
pub(crate) struct Listed;

impl View for Listed {
    fn name(&self) -> &'static str {
        "models_listed"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("models_listed"), ViewTable::Own("versions_by_id")]
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events {
                match event.decode::<ModelEvent>()? {
                    ModelEvent::VersionRegistered(fact) => {
                        let put = "INSERT INTO models_listed(workspace, name, archived) VALUES ($1, $2, 0)
                                   ON CONFLICT DO NOTHING";
                        sql(put).bind(&fact.workspace).bind(&fact.model).execute(&mut *tx).await?;
                        sql("INSERT INTO versions_by_id(version_id, stream, version) VALUES ($1, $2, $3)")
                            .bind(&fact.version_id)
                            .bind(&event.stream)
                            .bind(fact.version)
                            .execute(&mut *tx)
                            .await?;
                    }
                    ModelEvent::ModelChanged(fact) => {
                        let Some(archived) = fact.is_archived else { continue };
                        let (workspace, name) = crate::api::names_of(&event.stream);
                        sql("UPDATE models_listed SET archived = $1 WHERE workspace = $2 AND name = $3")
                            .bind(archived)
                            .bind(workspace)
                            .bind(name)
                            .execute(&mut *tx)
                            .await?;
                    }
                    ModelEvent::VersionChanged(_) | ModelEvent::AliasChanged(_) => {}
                }
            }
            Ok(())
        })
    }
}
