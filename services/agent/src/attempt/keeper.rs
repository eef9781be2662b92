//! Makes the copies of what is kept of an attempt, while it runs and at its end.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::state::Attempt;
use crate::folder;

/// Makes the copies of an attempt while it runs; stops when this is dropped.
pub(super) struct Keeper(JoinSet<()>);

impl Keeper {
    pub(super) fn start(attempt: &Arc<Attempt>) -> Self {
        let mut task = JoinSet::new();
        if attempt.best.is_some() {
            task.spawn(follow(Arc::clone(attempt)));
        }
        Self(task)
    }

    /// Makes the last copy; every point that the attempt has said was reported. Answers why it is not that of the best
    /// value, if it is not.
    pub(super) async fn finish(mut self, attempt: &Attempt) -> anyhow::Result<Option<String>> {
        let Some(best) = &attempt.best else { return Ok(None) };
        best.end();
        while let Some(ended) = self.0.join_next().await {
            ended?;
        }
        let unkept = best.unkept();
        if let Some(text) = &unkept {
            folder::notice(&attempt.folder, text);
        }
        Ok(unkept)
    }
}

async fn follow(attempt: Arc<Attempt>) {
    let Some(best) = &attempt.best else { return };
    let mut news = best.news();
    let mut tried = best.kept_value();
    loop {
        let seen = news.borrow_and_update().clone();
        match seen.best.filter(|value| seen.is_latest && tried.as_ref() != Some(value)) {
            Some(value) => {
                tried = Some(value.clone());
                let (owned, of) = (Arc::clone(&attempt), value.clone());
                let copied = tokio::task::spawn_blocking(move || owned.best.as_ref().map(|best| best.copy(&of)));
                if let Ok(Some(Err(error))) = copied.await {
                    folder::notice(&attempt.folder, &format!("what belongs to the best value cannot be kept: {error}"));
                    best.fail(value, &error);
                }
            }
            None if seen.is_over => return,
            None => {
                if news.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}
