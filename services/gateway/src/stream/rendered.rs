//! Facts as they are sent: each is written once, however many readers there are.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use contracts::feed::Fact;
use jiff::Timestamp;
use serde_json::json;

use super::readable;
use crate::door::Service;

/// Facts kept for readers that keep up, and the bytes of their texts.
const KEPT_FACTS: usize = 1_024;
const KEPT_BYTES: usize = 4 << 20;

/// A source and a position in it.
type Key = (String, i64);

/// What was written lately.
#[derive(Debug, Default)]
pub struct Rendered(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// `None` for a fact that is not shown.
    texts: HashMap<Key, Option<Arc<str>>>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl Rendered {
    /// A fact's event without its id; `None` for what is not shown.
    pub fn of(&self, service: Service, fact: &Fact) -> Option<Arc<str>> {
        if fact.watermark {
            return None;
        }
        let key = (fact.source.clone(), fact.position);
        // Written under the lock: whoever else wants it waits for it instead of writing it too.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = kept.texts.get(&key) {
            return text.clone();
        }
        let text = render(service, fact);
        kept.put(key, text.clone());
        text
    }
}

impl Kept {
    fn put(&mut self, key: Key, text: Option<Arc<str>>) {
        self.bytes += length(&text);
        self.texts.insert(key.clone(), text);
        self.order.push_back(key);
        while self.order.len() > KEPT_FACTS || (self.bytes > KEPT_BYTES && self.order.len() > 1) {
            let gone = self.order.pop_front().and_then(|oldest| self.texts.remove(&oldest));
            self.bytes -= gone.as_ref().map_or(0, length);
        }
    }
}

fn length(text: &Option<Arc<str>>) -> usize {
    text.as_ref().map_or(0, |text| text.len())
}

fn render(service: Service, fact: &Fact) -> Option<Arc<str>> {
    let data = readable(service, fact)?;
    let time = Timestamp::from_microsecond(fact.recorded_at_us).unwrap_or_default();
    let body = json!({
        "position": fact.position,
        "type": fact.r#type,
        "stream": fact.stream,
        "time": format!("{time:.6}"),
        "data": data,
    });
    Some(format!("event: {}\ndata: {body}\n\n", fact.r#type).into())
}

#[cfg(test)]
mod tests {
    use contracts::sweeps::SweepStateChanged;
    use prost::Message;

    use super::*;

    fn fact(position: i64) -> Fact {
        let (source, r#type) = ("sweeps@1".to_owned(), "SweepStateChanged".to_owned());
        let payload = SweepStateChanged::default().encode_to_vec();
        Fact { source, position, r#type, payload, ..Fact::default() }
    }

    #[test]
    fn a_fact_is_written_once_and_so_many_are_kept() {
        let rendered = Rendered::default();
        let first = rendered.of(Service::Sweeps, &fact(1)).unwrap();
        assert!(Arc::ptr_eq(&first, &rendered.of(Service::Sweeps, &fact(1)).unwrap()), "it is the same text");
        let other = Fact { source: "sweeps@2".to_owned(), ..fact(1) };
        assert!(!Arc::ptr_eq(&first, &rendered.of(Service::Sweeps, &other).unwrap()), "of another log");
        for position in 2..=KEPT_FACTS as i64 + 5 {
            rendered.of(Service::Sweeps, &fact(position)).unwrap();
        }
        let kept = rendered.0.lock().unwrap();
        assert_eq!((kept.order.len(), kept.texts.len()), (KEPT_FACTS, KEPT_FACTS));
        assert_eq!(kept.bytes, kept.texts.values().map(length).sum::<usize>());
    }
}
