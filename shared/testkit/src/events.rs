//! Server-sent events as they come, read on a thread of their own so that waiting for the next one can have a limit.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::Value;

use crate::Client;

/// Events that may wait for the test; the stream stands still beyond that.
const WAITING_MAX: usize = 10_000;

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its id: the position to go on from.
    pub id: String,
    /// What it carries.
    pub data: Value,
}

/// A stream of events. It ends when the server goes.
#[derive(Debug)]
pub struct Events {
    waiting: Receiver<Event>,
}

impl Events {
    pub(crate) fn open(client: &Client, path: &str) -> Self {
        let (sender, waiting) = sync_channel(WAITING_MAX);
        let request = client.request("GET", path).header("Accept", "text/event-stream");
        // An answer that is no stream, or nobody there, is an empty stream: whoever waits looks for itself and opens
        // again.
        if let Ok(response) = request.open()
            && response.status().is_success()
        {
            std::thread::spawn(move || {
                let mut event = Event { id: String::new(), data: Value::Null };
                for line in BufReader::new(response).lines().map_while(Result::ok) {
                    match line.split_once(':') {
                        Some(("id", id)) => event.id = id.trim().to_owned(),
                        Some(("data", data)) => event.data = serde_json::from_str(data.trim()).unwrap_or_default(),
                        None if line.is_empty() && !event.data.is_null() => {
                            let next = Event { id: event.id.clone(), data: Value::Null };
                            if sender.send(std::mem::replace(&mut event, next)).is_err() {
                                return;
                            }
                        }
                        _ => {}
                    }
                }
            });
        }
        Self { waiting }
    }

    /// The next event; `None` when none comes within `limit` or the stream has ended.
    pub fn next_within(&mut self, limit: Duration) -> Option<Event> {
        self.waiting.recv_timeout(limit).ok()
    }
}
