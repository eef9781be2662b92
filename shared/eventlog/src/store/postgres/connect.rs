//! How connections are made.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};

use super::lease;
use crate::Error;
use crate::lease::Holder;

/// How long a connection may take to be made: a server that is away is said to be away within a second.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How long the lease may take to be asked for; whoever opens the log holds its row meanwhile.
const CLAIM_MAX: Duration = Duration::from_secs(2);
/// How long a statement may take before the server gives it up: a view that catches up reads long histories.
const STATEMENT_MAX: &str = "60s";
/// How long the server waits for a writer that stopped inside of a transaction, which holds the head of the log: then
/// it ends that connection, and another writer can take over.
const IDLE_IN_TRANSACTION_MAX: &str = "2s";
/// Connections for reading.
const READERS: u32 = 8;

/// Bytes of a schema's name: the server cuts longer ones off, and two of them could become one.
const SCHEMA_MAX: usize = 63;

/// Where the log of a service is kept: a database and a schema in it.
#[derive(Clone)]
pub struct Address {
    options: PgConnectOptions,
    schema: String,
    /// Who asks for the lease of the log.
    holder: Option<Holder>,
    /// Whether the log is only read, beside the process that writes it.
    is_read_only: bool,
}

impl fmt::Debug for Address {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.options.get_database().unwrap_or_default();
        match self.options.get_socket() {
            Some(folder) => write!(f, "postgres:{}/{database} schema {}", folder.display(), self.schema),
            None => {
                let (host, port) = (self.options.get_host(), self.options.get_port());
                write!(f, "postgres://{host}:{port}/{database} schema {}", self.schema)
            }
        }
    }
}

impl Address {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE`; the schema is a name of letters, digits and underscores
    /// that begins with no digit.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn new(url: &str, schema: &str) -> Result<Self, Error> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins = schema.bytes().next().is_some_and(|first| !first.is_ascii_digit());
        if !begins || schema.len() > SCHEMA_MAX || !schema.bytes().all(is_plain) {
            let wrong = format!(
                "schema {schema:?}: at most {SCHEMA_MAX} lower case letters, digits and underscores, the first of them \
                 no digit"
            );
            return Err(Error::Address(wrong));
        }
        // The reason, without what may hold a password.
        let options = PgConnectOptions::from_str(url).map_err(|error| Error::Address(error.to_string()))?;
        Ok(Self {
            options: options.disable_statement_logging(),
            schema: schema.to_owned(),
            holder: None,
            is_read_only: false,
        })
    }

    /// The schema of a service beside others, whose names begin with that of this one: `PREFIX_SERVICE`.
    pub(in crate::store) fn of(&self, service: &str) -> Self {
        Self { schema: format!("{}_{service}", self.schema), ..self.clone() }
    }

    /// The schema beside this one in which its views are made anew.
    ///
    /// # Errors
    /// When its name would be too long.
    pub(in crate::store) fn shadow(&self) -> Result<Self, Error> {
        let schema = format!("{}_rebuild", self.schema);
        match schema.len() > SCHEMA_MAX {
            true => Err(Error::Address(format!("schema {schema:?}: at most {SCHEMA_MAX} characters"))),
            false => Ok(Self { schema, holder: None, ..self.clone() }),
        }
    }

    /// The same for a holder of leases.
    pub(in crate::store) fn held_by(&self, holder: Holder) -> Self {
        Self { holder: Some(holder), ..self.clone() }
    }

    /// The same for who only reads.
    pub(in crate::store) fn read_only(&self) -> Self {
        Self { holder: None, is_read_only: true, ..self.clone() }
    }

    pub(in crate::store) fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    pub(super) fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
    }

    /// Takes the lease before the log is opened; who else has it, when somebody does.
    pub(in crate::store) async fn claim(&self) -> Result<Option<Holder>, Error> {
        let Some(holder) = &self.holder else { return Ok(None) };
        let mut connection = self.making().await?;
        within(CLAIM_MAX, lease::claim(&mut connection, holder)).await
    }

    fn session(&self) -> PgConnectOptions {
        // Rows that were acknowledged are on the disk, whatever the server's own default is.
        let name = format!("trialog {}", self.schema);
        self.options.clone().application_name(&name).options([
            ("search_path", self.schema.as_str()),
            ("statement_timeout", STATEMENT_MAX),
            ("synchronous_commit", "on"),
        ])
    }

    pub(super) async fn writing(&self) -> Result<PgConnection, Error> {
        let options = self.session().options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MAX)]);
        within(CONNECT_MAX, options.connect()).await
    }

    /// For the lease alone, which waits for no disk: one that the server forgets when it fails is over, as it should.
    pub(super) async fn renewing(&self) -> Result<PgConnection, Error> {
        within(CONNECT_MAX, self.session().options([("synchronous_commit", "off")]).connect()).await
    }

    /// The same as [`Address::writing`], after the schema was made if it is not there.
    pub(super) async fn making(&self) -> Result<PgConnection, Error> {
        let mut connection = self.writing().await?;
        self.make(&mut connection).await?;
        Ok(connection)
    }

    pub(in crate::store) fn schema(&self) -> &str {
        &self.schema
    }

    /// Makes the schema if it is not there.
    pub(super) async fn make(&self, connection: &mut PgConnection) -> Result<(), Error> {
        // Whoever may write in a schema that was made for it needs no right to make one.
        let is_there = "SELECT EXISTS(SELECT 1 FROM pg_namespace WHERE nspname = $1)";
        if !sqlx::query_scalar(is_there).bind(&self.schema).fetch_one(&mut *connection).await? {
            let make = format!("CREATE SCHEMA IF NOT EXISTS {}", self.schema);
            // Two that begin at once: the second one finds it made.
            if let Err(error) = sqlx::query(AssertSqlSafe(make.clone())).execute(&mut *connection).await {
                if error.as_database_error().is_none() {
                    return Err(error.into());
                }
                sqlx::query(AssertSqlSafe(make)).execute(&mut *connection).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn reading(&self) -> Result<PgPool, Error> {
        let options = PgPoolOptions::new().max_connections(READERS).acquire_timeout(CONNECT_MAX);
        let session = self.session().options([("default_transaction_read_only", "on")]);
        // A pool only says that it has waited in vain, not what for.
        let first = within(CONNECT_MAX, session.connect()).await?;
        let pool = options.connect_lazy_with(session);
        drop(first.close().await);
        Ok(pool)
    }
}

/// Gives an answer up that does not come: the connection is in an unknown state then.
pub(super) async fn within<T, E: Into<Error>>(
    most: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    match tokio::time::timeout(most, answer).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("the database did not answer within {} s", most.as_secs()),
        ))
        .into()),
    }
}
