//! A source that does what carriers do on bad days.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use trialog_feed::source::{Cursor, FactSource, OpenError, Opened};

/// What goes wrong; numbers are of facts, 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The stream breaks off after so many facts.
    pub cut_after: usize,
    /// The last so many facts are sent again after each.
    pub resend: usize,
    /// Every so manyth fact is lost.
    pub lose: usize,
    /// The stream breaks off before its first fact.
    pub breaks: bool,
}

/// See the module.
pub struct Faulty {
    pub inner: Arc<dyn FactSource>,
    pub faults: Faults,
    pub opened: AtomicU64,
}

impl Faulty {
    pub fn new(inner: Arc<dyn FactSource>, faults: Faults) -> Arc<Self> {
        Arc::new(Self { inner, faults, opened: AtomicU64::new(0) })
    }
}

impl FactSource for Faulty {
    fn open<'a>(&'a self, cursor: &'a Cursor) -> BoxFuture<'a, Result<Opened, OpenError>> {
        Box::pin(async move {
            self.opened.fetch_add(1, Ordering::SeqCst);
            let Opened { source, head, from, facts } = self.inner.open(cursor).await?;
            let Faults { cut_after, resend, lose, breaks } = self.faults;
            if breaks {
                let facts = stream::iter([Err("cut".to_owned())]).boxed();
                return Ok(Opened { source, head, from, facts });
            }
            let (mut sent, mut number) = (Vec::new(), 0_usize);
            let facts = facts.flat_map(move |fact| {
                number += 1;
                let fact = match fact {
                    Ok(_) if lose > 0 && number % lose == 0 => return stream::iter(Vec::new()),
                    Ok(fact) => fact,
                    Err(error) => return stream::iter(vec![Err(error)]),
                };
                sent.push(Arc::clone(&fact));
                let again = sent.iter().rev().take(resend).rev().cloned();
                let mut items: Vec<_> = std::iter::once(fact).chain(again).map(Ok).collect();
                if cut_after > 0 && number % cut_after == 0 {
                    items.push(Err("cut".to_owned()));
                }
                stream::iter(items)
            });
            // Nothing comes after a cut.
            let facts = facts.scan(false, |cut, fact| {
                let ended = std::mem::replace(cut, fact.is_err());
                std::future::ready((!ended).then_some(fact))
            });
            Ok(Opened { source, head, from, facts: facts.boxed() })
        })
    }
}
