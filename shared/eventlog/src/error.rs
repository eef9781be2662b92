//! What can go wrong, and how it is told to users.

use std::sync::Arc;
use std::time::Duration;

use vocabulary::{Problem, Unsettled};

use crate::lease::Holder;

/// Seconds after which a refused caller may try again: the queue drains in well under one.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The code of what is stored and cannot be read: `trialog doctor` says more, a backup helps.
const DATA_CORRUPT: &str = "DataCorrupt";

/// Why the log could not do something.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The database or the connection to it.
    #[error("the database failed: {0}")]
    Sql(Arc<sqlx::Error>),
    /// The linked SQLite has the WAL-reset corruption.
    #[error("SQLite {found} is linked; 3.51.3 or newer is needed, older ones can corrupt the log")]
    OldSqlite {
        /// The version found.
        found: String,
    },
    /// Where the database is cannot be read.
    #[error("the address of the database: {0}")]
    Address(String),
    /// A text has the character U+0000, which the database has no form for.
    #[error("a text has the character U+0000, which no text here can have: {0:?}")]
    Nul(String),
    /// The answer to a commit was lost, and what became of it could not be found out.
    #[error("it is not known whether the last commit took place: {0}")]
    Unknown(Box<Error>),
    /// The database file belongs to another service.
    #[error("the database belongs to the service '{found}', not to '{expected}'")]
    OtherService {
        /// The service that opened it now.
        expected: String,
        /// The service it belongs to.
        found: String,
    },
    /// A migration that was applied has been edited since.
    #[error("migration '{name}' differs from the one that was applied; add a new migration instead of editing it")]
    MigrationEdited {
        /// The migration's name.
        name: String,
    },
    /// The database has tables of a newer build, which this one does not know.
    #[error(
        "the database was migrated by a newer build: it has '{name}', which this one does not know; use that build, or \
         a backup from before"
    )]
    Newer {
        /// The migration's name.
        name: String,
    },
    /// A log is not as it has to be to be carried to another store.
    #[error("{0}")]
    NotMoved(String),
    /// A view is not as it has to be to be rebuilt.
    #[error("{0}")]
    NotRebuilt(String),
    /// The events end elsewhere than the head of the log says.
    #[error("the log is damaged: its head is {head}, its last event is {last}; restore it from a backup")]
    Damaged {
        /// What the head says.
        head: i64,
        /// The last event's position.
        last: i64,
    },
    /// Something stored cannot be read by this build.
    #[error("stored data cannot be read: {0}")]
    Decode(String),
    /// A key is taken: somebody has written in between.
    #[error("{0} is taken")]
    Taken(String),
    /// An event has no JSON form.
    #[error("an event cannot be written: {0}")]
    Encode(String),
    /// A view refuses an event.
    #[error("the view '{view}' failed: {message}")]
    View {
        /// The view's name.
        view: String,
        /// What it said.
        message: String,
    },
    /// Code of a decider, a record or a view panicked; nothing of it was stored.
    #[error("a panic while deciding or projecting: {0}")]
    Panicked(String),
    /// What follows from a command has no end; nothing of it was stored.
    #[error(transparent)]
    Unsettled(#[from] Unsettled),
    /// One stream was asked as two kinds of aggregate.
    #[error("the stream '{0}' is in use as another kind of aggregate")]
    OtherAggregate(String),
    /// The queue is full.
    #[error("the queue of the log is full")]
    Overloaded,
    /// The log is closed or its writer has stopped.
    #[error("the log is closed")]
    Closed,
    /// Another process has opened the same database and is the writer now.
    #[error("another process has taken over the log")]
    Deposed,
    /// Another process holds the log under a lease that is not over.
    #[error("{} writes the log (at {})", .0.name, if .0.address.is_empty() { "no address" } else { &.0.address })]
    Held(Holder),
    /// The files of the service are with another process.
    #[error(
        "the files of {service} are in the data folder of {at}: start it there, or with a copy of that folder, which \
         has that name in db/holder. If they are lost, write that name into db/holder here: objects and checkpoints \
         are missing then"
    )]
    FilesElsewhere {
        /// The service.
        service: String,
        /// The holder that has kept them so far.
        at: String,
    },
    /// The lease could not be renewed: another process may write the log by now.
    #[error("the lease of the log was not renewed for {} ms", .0.as_millis())]
    Lapsed(Duration),
    /// The log is read here beside the process that writes it.
    #[error("the log is only read here; another process writes it")]
    ReadOnly,
    /// The log cannot be read here yet: the process that writes it has not made its tables what they are in this build.
    #[error("the log of {service} cannot be read yet: {what}")]
    NotYet {
        /// The service.
        service: String,
        /// What it has not.
        what: String,
    },
    /// The wait for a position was in vain.
    #[error("position {wanted} is not reached, the log is at {head}")]
    Behind {
        /// The position waited for.
        wanted: i64,
        /// The position reached.
        head: i64,
    },
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(Arc::new(error))
    }
}

impl Error {
    /// The error as users see it.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Overloaded => Problem::overloaded(
                "the event log has too many commands queued; try again shortly",
                RETRY_AFTER_SECONDS,
            ),
            Self::Behind { wanted, head } => Problem::unavailable(
                "PositionNotReached",
                format!("position {wanted} was asked for, {head} is reached; try again shortly"),
                RETRY_AFTER_SECONDS,
            ),
            Self::Nul(_) => Problem::new(422, "BadText", self.to_string()),
            passing if passing.is_transient() => Problem::unavailable(
                "LogUnavailable",
                format!("the event log cannot be used now: {passing}"),
                RETRY_AFTER_SECONDS,
            ),
            Self::Decode(_) | Self::Damaged { .. } => Problem::new(500, DATA_CORRUPT, self.to_string()),
            damage if damage.is_damage() => Problem::new(500, DATA_CORRUPT, self.to_string()),
            lasting => Problem::internal(lasting.to_string()),
        }
    }

    /// Whether it can pass by itself, so that the same may go through later. Said of these alone: whoever tries again
    /// what never goes through holds up everything behind it, without end and with no word to anybody.
    fn is_transient(&self) -> bool {
        match self {
            Self::Sql(error) => match error.as_ref() {
                sqlx::Error::Database(database) => {
                    let passes = |code| is_systemic_code(code) && ![CORRUPT, NOTADB].contains(&code);
                    let state_passes = |state: &str| is_systemic_state(state) && !is_damage_state(state);
                    primary_code(database.as_ref()).is_some_and(passes)
                        || sql_state(database.as_ref()).is_some_and(|state| state_passes(&state))
                }
                sqlx::Error::Io(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => true,
                _ => false,
            },
            // Another process has the log, or whoever wrote in between: decided again it may go through.
            Self::Deposed | Self::Held(_) | Self::Lapsed(_) | Self::Taken(_) => true,
            Self::Overloaded | Self::Closed | Self::Behind { .. } | Self::Unknown(_) => true,
            Self::ReadOnly | Self::NotYet { .. } => true,
            _ => false,
        }
    }

    /// Whether the connection to a server is of no use any more, so that what it was doing has an unknown end.
    #[cfg(feature = "postgres")]
    pub(crate) fn is_lost_connection(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        match error.as_ref() {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
            sqlx::Error::Database(database) => sql_state(database.as_ref()).is_some_and(|state| is_lost_state(&state)),
            _ => false,
        }
    }

    /// Whether splitting the batch cannot help, because the storage itself is out of order.
    pub(crate) fn is_systemic(&self) -> bool {
        match self {
            Self::Sql(error) => match error.as_ref() {
                sqlx::Error::Database(database) => {
                    primary_code(database.as_ref()).is_some_and(is_systemic_code)
                        || sql_state(database.as_ref()).is_some_and(|state| is_systemic_state(&state))
                }
                sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) | sqlx::Error::PoolClosed => true,
                sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolTimedOut => true,
                _ => false,
            },
            Self::Deposed | Self::Closed | Self::Unknown(_) => true,
            _ => false,
        }
    }

    /// Whether somebody else writes the file.
    pub(crate) fn is_busy(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        error.as_database_error().and_then(primary_code).is_some_and(|code| code == BUSY)
    }

    /// Whether the database's file is damaged: whatever is read from it or written to it may be wrong.
    pub(crate) fn is_damage(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        let sqlx::Error::Database(database) = error.as_ref() else { return false };
        primary_code(database.as_ref()).is_some_and(|code| [CORRUPT, NOTADB].contains(&code))
            || sql_state(database.as_ref()).is_some_and(|state| is_damage_state(&state))
    }

    /// Whether the writer must not go on: what the disk holds is unknown, or the log belongs to somebody else.
    pub(crate) fn is_fatal(&self) -> bool {
        match self {
            Self::Sql(error) => match error.as_ref() {
                sqlx::Error::Database(database) => {
                    primary_code(database.as_ref()).is_some_and(|code| [IOERR, CORRUPT, NOTADB].contains(&code))
                        || sql_state(database.as_ref()).is_some_and(|state| is_damage_state(&state))
                }
                sqlx::Error::WorkerCrashed => true,
                _ => false,
            },
            Self::Deposed | Self::Closed | Self::Unknown(_) => true,
            _ => false,
        }
    }
}

/// SQLite's primary result codes that say something about the storage rather than about a row.
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const NOMEM: u32 = 7;
const READONLY: u32 = 8;
const IOERR: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
/// A race for the locks of the WAL.
const PROTOCOL: u32 = 15;
const NOTADB: u32 = 26;

fn is_systemic_code(code: u32) -> bool {
    [BUSY, LOCKED, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB].contains(&code)
}

/// Characters of an SQLSTATE; SQLite's codes have at most four digits.
const SQL_STATE: usize = 5;

/// The low byte of an extended result code of SQLite.
fn primary_code(error: &dyn sqlx::error::DatabaseError) -> Option<u32> {
    let code = error.code().filter(|code| code.len() < SQL_STATE)?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

/// The SQLSTATE of a server's error (PostgreSQL's documentation, appendix A).
fn sql_state(error: &dyn sqlx::error::DatabaseError) -> Option<std::borrow::Cow<'_, str>> {
    error.code().filter(|code| code.len() == SQL_STATE)
}

/// Classes and codes that say something about the server or the connection rather than about a row: connection
/// exceptions, a transaction that was rolled back, insufficient resources, an operator, the system around the server.
fn is_systemic_state(state: &str) -> bool {
    const CLASSES: [&str; 5] = ["08", "40", "53", "57", "58"];
    /// An idle transaction was ended; a lock cannot be had; the server is read-only, as a standby is.
    const CODES: [&str; 3] = ["25P03", "55P03", "25006"];
    CLASSES.iter().any(|class| state.starts_with(class)) || CODES.contains(&state) || is_damage_state(state)
}

/// Data or an index is corrupted.
fn is_damage_state(state: &str) -> bool {
    ["XX001", "XX002"].contains(&state)
}

/// The server has closed the connection with it.
#[cfg(feature = "postgres")]
fn is_lost_state(state: &str) -> bool {
    state.starts_with("08") || ["57P01", "57P02", "57P03", "25P03"].contains(&state)
}

/// Why a command did not go through.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExecuteError<R> {
    /// The decider refuses it. Not stored: a later retry may succeed.
    #[error("the command is refused")]
    Rejected(R),
    /// The stream is not at the expected version.
    #[error("the stream is at version {actual}, not {expected}")]
    WrongVersion {
        /// The version that the caller expected.
        expected: i64,
        /// The version that the stream has.
        actual: i64,
    },
    /// The command id is known with other content.
    #[error("the command id was used before with other content")]
    KeyReuse,
    /// The queue is full; nothing was accepted.
    #[error("the queue of the log is full")]
    Overloaded,
    /// The log failed.
    #[error(transparent)]
    Storage(#[from] Error),
}

impl<R> ExecuteError<R> {
    /// The error as users see it; `rejected` says how a refusal of the decider is told.
    pub fn into_problem(self, rejected: impl FnOnce(R) -> Problem) -> Problem {
        match self {
            Self::Rejected(rejection) => rejected(rejection),
            Self::WrongVersion { expected, actual } => Problem::new(
                412,
                "PreconditionFailed",
                format!("the resource is at version {actual}, the request expects {expected}; read it again and retry"),
            )
            .with("expected_version", expected)
            .with("actual_version", actual),
            Self::KeyReuse => Problem::new(
                422,
                "KeyReuse",
                "the idempotency key was used before with another request; use a new key for a new request",
            ),
            Self::Overloaded => Error::Overloaded.problem(),
            Self::Storage(error) => error.problem(),
        }
    }
}

/// Why the work of a record stops. Whatever it wrote is undone.
#[derive(Debug)]
pub enum RecordError<R> {
    /// The work refuses the command.
    Rejected(R),
    /// Its SQL failed.
    Storage(Error),
}

impl<R> From<Error> for RecordError<R> {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::fmt;

    use super::*;

    /// What SQLite says, by its code.
    #[derive(Debug)]
    struct Says(u32);

    impl fmt::Display for Says {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "code {}", self.0)
        }
    }

    impl std::error::Error for Says {}

    impl sqlx::error::DatabaseError for Says {
        fn message(&self) -> &str {
            "as it should"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.to_string().into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    fn says(code: u32) -> Error {
        sqlx::Error::Database(Box::new(Says(code))).into()
    }

    #[test]
    fn only_what_is_known_to_pass_is_said_to_pass_by_itself() {
        let passing = [
            Error::Overloaded,
            Error::Closed,
            Error::Deposed,
            Error::Taken("version 7 of 's'".to_owned()),
            Error::Behind { wanted: 7, head: 6 },
            Error::Held(Holder { name: "a".to_owned(), address: String::new(), keeps_files_of: &[] }),
            Error::Lapsed(Duration::from_secs(3)),
            sqlx::Error::PoolTimedOut.into(),
            sqlx::Error::PoolClosed.into(),
            sqlx::Error::WorkerCrashed.into(),
            sqlx::Error::Io(std::io::Error::other("as it should")).into(),
        ];
        // Also by an extended code, as in "busy with a recovery".
        let codes = [BUSY, BUSY | 1 << 8, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL].map(says);
        for error in passing.into_iter().chain(codes) {
            assert!(error.problem().passes_by_itself(), "{error:?}");
        }
        let (found, name) = ("3.45.0".to_owned(), "001_runs".to_owned());
        let lasting = [
            Error::OldSqlite { found },
            Error::OtherService { expected: "runs".to_owned(), found: "sweeps".to_owned() },
            Error::MigrationEdited { name },
            Error::Damaged { head: 7, last: 6 },
            Error::Decode("as it should".to_owned()),
            Error::Encode("as it should".to_owned()),
            Error::Panicked("as it should".to_owned()),
            Error::View { view: "runs".to_owned(), message: "as it should".to_owned() },
            Error::OtherAggregate("s".to_owned()),
            sqlx::Error::RowNotFound.into(),
            sqlx::Error::ColumnNotFound("shown".to_owned()).into(),
        ];
        let (error, constraint, mismatch, misuse) = (1, 19, 20, 21);
        let codes = [error, constraint, constraint | 6 << 8, mismatch, misuse, CORRUPT, NOTADB].map(says);
        for error in lasting.into_iter().chain(codes) {
            let problem = error.problem();
            assert!(!problem.passes_by_itself() && problem.status == 500, "{error:?}: {problem:?}");
        }
    }
}
