//! The log of a service in this process, read directly: no server, no encoding, no copy of a fact.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use contracts::feed::Fact;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use uuid::Uuid;

use super::facts::{Cursor, FactSource, Facts, OpenError, Opened};
use super::published::{Ids, Published, Source};

/// Which facts a reader wants; what is empty is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// About this workspace.
    pub workspace: String,
    /// Of this stream of the log.
    pub stream: String,
    /// About this sweep.
    pub sweep_id: String,
    /// About this run.
    pub run_id: String,
}

impl Filter {
    fn wants(&self, fact: &Fact, about: &Ids) -> bool {
        let same = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
        same(&self.workspace, &about.workspace)
            && same(&self.stream, &fact.stream)
            && same(&self.sweep_id, &about.sweep_id)
            && same(&self.run_id, &about.run_id)
    }
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// After a position.
    After(i64),
    /// After the last position that there is.
    Now,
    /// With the first event that was recorded then or later, in microseconds since 1970.
    Since(i64),
}

impl FactSource for Source {
    fn open<'a>(&'a self, cursor: &'a Cursor) -> BoxFuture<'a, Result<Opened, OpenError>> {
        Box::pin(async move {
            let name = self.log().source();
            if !cursor.source.is_empty() && cursor.source != name {
                return Err(OpenError::OtherIncarnation { known: cursor.source.clone(), met: name.to_owned() });
            }
            let from = self.begin(Begin::After(cursor.reached())).await?;
            self.assert_same(from, cursor.reached_event()).await?;
            let head = Some(*self.log().head().borrow());
            let (facts, from) = (self.facts(from, Filter::default(), false), BTreeMap::from([(0, from)]));
            Ok(Opened { source: name.to_owned(), head, from, facts })
        })
    }
}

impl Source {
    /// The position after which a reader begins.
    ///
    /// # Errors
    /// When it is beyond the head, or the log cannot be read.
    pub(super) async fn begin(&self, begin: Begin) -> Result<i64, OpenError> {
        let head = *self.log().head().borrow();
        match begin {
            Begin::After(from) if from > head => {
                Err(OpenError::BeyondHead { source_name: self.log().source().to_owned(), from, head })
            }
            Begin::After(from) => Ok(from.max(0)),
            Begin::Now => Ok(head),
            Begin::Since(at_us) => self.before(at_us, head).await.map_err(|error| OpenError::Away(error.to_string())),
        }
    }

    /// Whether the event that a reader has seen at a position still stands there.
    ///
    /// # Errors
    /// When it is another one, or the log cannot be read.
    pub(super) async fn assert_same(&self, position: i64, seen: Option<Uuid>) -> Result<(), OpenError> {
        let Some(seen) = seen.filter(|_| position > 0) else { return Ok(()) };
        let page = self.log().read(position - 1, 1).await.map_err(|error| OpenError::Away(error.to_string()))?;
        match page.first() {
            Some(event) if event.event_id == seen => Ok(()),
            _ => Err(OpenError::OtherHistory { source_name: self.log().source().to_owned(), from: position }),
        }
    }

    /// The last position that was recorded before a time: times never go back along the log.
    async fn before(&self, at_us: i64, head: i64) -> Result<i64, eventlog::Error> {
        let (mut before, mut after) = (0, head + 1);
        while before + 1 < after {
            let middle = before + (after - before) / 2;
            match self.log().read(middle - 1, 1).await?.first() {
                Some(event) if event.recorded_at_us < at_us => before = middle,
                _ => after = middle,
            }
        }
        Ok(before)
    }

    /// The facts after a position; with `until_head` up to what is the head now, else for ever.
    pub(super) fn facts(&self, from: i64, filter: Filter, until_head: bool) -> Facts {
        let head = self.log().head();
        let until = until_head.then(|| *head.borrow());
        let reader = Reader { source: self.clone(), filter, from, until, head, ready: VecDeque::new(), broken: None };
        stream::unfold(reader, |mut reader| async move { reader.next().await.map(|item| (item, reader)) }).boxed()
    }
}

/// One reader's place.
struct Reader {
    source: Source,
    filter: Filter,
    from: i64,
    until: Option<i64>,
    head: watch::Receiver<i64>,
    ready: VecDeque<Arc<Fact>>,
    broken: Option<String>,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Arc<Fact>, String>> {
        loop {
            if let Some(fact) = self.ready.pop_front() {
                return Some(Ok(fact));
            }
            if let Some(broken) = self.broken.take() {
                self.until = Some(self.from);
                return Some(Err(broken));
            }
            if self.until.is_some_and(|until| self.from >= until) {
                return None;
            }
            if self.from >= *self.head.borrow_and_update() {
                // Its sender goes when the log is closed.
                self.head.changed().await.ok()?;
                continue;
            }
            match self.source.page(self.from).await {
                Ok(published) => self.take(published),
                Err(error) => self.broken = Some(error.to_string()),
            }
        }
    }

    /// Takes a page in: its facts, and a watermark when it ends in something that this reader does not get.
    fn take(&mut self, published: Vec<Published>) {
        let mut silent_to = None;
        for Published { position, event_id, fact } in published {
            self.from = position;
            match fact.filter(|(fact, about)| self.filter.wants(fact, about)) {
                Some((fact, _)) => {
                    silent_to = None;
                    self.ready.push_back(fact);
                }
                None => silent_to = Some((position, event_id)),
            }
        }
        if let Some((position, event_id)) = silent_to {
            let (source, event_id) = (self.source.log().source().to_owned(), event_id.to_string());
            self.ready.push_back(Arc::new(Fact { source, position, event_id, watermark: true, ..Fact::default() }));
        }
    }
}
