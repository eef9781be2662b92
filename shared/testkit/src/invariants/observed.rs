//! What was read of an installation, and what its clients know.

use std::collections::BTreeMap;

use eventlog::RecordedEvent;

/// The rows of one service.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// `service@incarnation`.
    pub source: String,
    /// The position that the head says.
    pub head: i64,
    /// All events, by position.
    pub events: Vec<RecordedEvent>,
    /// The results of commands.
    pub commands: Vec<CommandRow>,
    /// How far the service has come in the logs of others.
    pub cursors: Vec<CursorRow>,
    /// The last sequence of each writer of metric points, by run.
    pub writers: BTreeMap<(String, String), i64>,
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRow {
    /// Its id, as texts have it.
    pub command_id: String,
    /// Position of its first event.
    pub first_position: i64,
    /// Of its last; one less where it has none.
    pub last_position: i64,
}

/// How far a projection has come in a partition of a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CursorRow {
    /// The projection.
    pub projection: String,
    /// `service@incarnation`.
    pub source: String,
    /// The partition.
    pub partition: i64,
    /// The last position that it has taken in.
    pub position: i64,
}

/// A record of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The partition.
    pub partition: i64,
    /// Its place in that.
    pub offset: i64,
    /// Its headers. Watermarks are no records here.
    pub headers: BTreeMap<String, String>,
}

/// A change that a client was told is done.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// At which service.
    pub service: String,
    /// Its `Trialog-Position`.
    pub position: i64,
    /// What stands in the event there.
    pub content: String,
}

/// A read that asked for at least what was acknowledged before.
#[derive(Clone, Copy, Debug)]
pub struct ReadBack {
    /// The version that was acknowledged.
    pub wanted: i64,
    /// The one that was read.
    pub seen: i64,
}

/// The cursors of a service at some moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Of which service.
    pub service: String,
    /// What they were.
    pub cursors: Vec<CursorRow>,
}

/// A sweep as lists show it, from a view.
#[derive(Clone, Debug)]
pub struct ShownSweep {
    /// Its stream.
    pub stream: String,
    /// Trials that were proposed.
    pub proposals: u64,
    /// Ended trials by state.
    pub ended: BTreeMap<String, u64>,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub struct Installation {
    /// By service.
    pub logs: BTreeMap<String, Log>,
    /// The records of the topics, by service.
    pub topics: BTreeMap<String, Vec<Carried>>,
    /// What clients were told.
    pub acknowledged: Vec<Acknowledged>,
    /// What they read afterwards.
    pub reads: Vec<ReadBack>,
    /// Cursors over time, in its order.
    pub samples: Vec<Sample>,
    /// What lists show.
    pub sweeps: Vec<ShownSweep>,
    /// What could not be recomputed.
    pub differences: Vec<String>,
    /// Points that were acknowledged: step and bits.
    pub acknowledged_points: Vec<(i64, u64)>,
    /// Those that are stored.
    pub stored_points: Vec<(i64, u64)>,
    /// Acknowledged batches: run, writer and sequence.
    pub batches: Vec<(String, String, i64)>,
    /// Whether every cluster was deleted.
    pub is_drained: bool,
    /// What must be nowhere.
    pub secrets: Vec<String>,
    /// Logs of processes and answers, by name.
    pub texts: BTreeMap<String, String>,
}

impl Installation {
    /// The events of a service, none where it has no log.
    pub(super) fn events(&self, service: &str) -> &[RecordedEvent] {
        self.logs.get(service).map_or(&[], |log| &log.events)
    }
}
