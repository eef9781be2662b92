//! What only the carrying of logs from elsewhere needs: several schemas in one transaction, and rows of whatever table.

use sqlx::AssertSqlSafe;

use super::{Address, Writer, lease};
use crate::Error;
use crate::content::{Kind, Table, quoted};
use crate::sql::Value;
use crate::transfer::Found;

/// The columns of the schema's tables: table, column, type, and whether rows are numbered by it.
const COLUMNS: &str = "SELECT class.relname::text, attribute.attname::text, type.typname::text,
        (attribute.attidentity <> '')::int::bigint
    FROM pg_class AS class
    JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid
    JOIN pg_type AS type ON type.oid = attribute.atttypid
    WHERE class.relnamespace = current_schema()::regnamespace AND class.relkind = 'r'
        AND attribute.attnum > 0 AND NOT attribute.attisdropped";

/// The values of one column of many rows.
enum Values {
    Integers(Vec<Option<i64>>),
    Reals(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Values {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Integer => Self::Integers(Vec::new()),
            Kind::Real => Self::Reals(Vec::new()),
            Kind::Text => Self::Texts(Vec::new()),
            Kind::Bytes => Self::Bytes(Vec::new()),
        }
    }

    fn push(&mut self, value: Value) {
        match (self, value) {
            (Self::Integers(values), Value::Integer(value)) => values.push(value),
            (Self::Reals(values), Value::Real(value)) => values.push(value),
            (Self::Texts(values), Value::Text(value)) => values.push(value),
            (Self::Bytes(values), Value::Bytes(value)) => values.push(value),
            (_, value) => unreachable!("a value of another type than its column: {value:?}"),
        }
    }
}

impl Writer {
    /// Goes on in another schema of the same server, which is made when it is not there; in the open transaction.
    /// Whether there is a log in it.
    pub async fn enter(&mut self, schema: &Address) -> Result<bool, Error> {
        let connection = self.connection();
        schema.make(connection).await?;
        // Rows are read, hashed and written for as long as it takes.
        let settings = format!(
            "SET LOCAL search_path = {}; SET LOCAL statement_timeout = 0;
             SET LOCAL idle_in_transaction_session_timeout = 0",
            schema.schema()
        );
        sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut *connection).await?;
        lease::make(&mut *connection).await?;
        lease::take(&mut *connection, None).await?;
        let is_there = "SELECT to_regclass(quote_ident(current_schema()) || '.log_meta') IS NOT NULL";
        Ok(sqlx::query_scalar(is_there).fetch_one(connection).await?)
    }

    pub async fn columns(&mut self) -> Result<Vec<Found>, Error> {
        Ok(sqlx::query_as(COLUMNS).fetch_all(self.connection()).await?)
    }

    /// Writes rows that have a value for each column of a table.
    pub async fn put(&mut self, table: &Table, rows: Vec<Vec<Value>>) -> Result<(), Error> {
        let mut columns: Vec<Values> = table.columns.iter().map(|column| Values::new(column.kind)).collect();
        for row in rows {
            columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
        }
        let query = sqlx::query(AssertSqlSafe(insert(table)));
        let query = columns.into_iter().fold(query, |query, column| match column {
            Values::Integers(values) => query.bind(values),
            Values::Reals(values) => query.bind(values),
            Values::Texts(values) => query.bind(values),
            Values::Bytes(values) => query.bind(values),
        });
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// Lets the server number the next rows after those that are there.
    pub async fn number_on(&mut self, table: &Table) -> Result<(), Error> {
        for column in table.columns.iter().filter(|column| column.is_numbered) {
            let (name, number) = (quoted(&table.name), quoted(&column.name));
            let go_on = format!(
                "SELECT setval(pg_get_serial_sequence(quote_ident(current_schema()) || '.' || $1, $2),
                     coalesce(max({number}), 1), max({number}) IS NOT NULL) FROM {name}"
            );
            let go_on = sqlx::query(AssertSqlSafe(go_on)).bind(name).bind(column.name.clone());
            go_on.execute(self.connection()).await?;
        }
        Ok(())
    }
}

/// One text for however many rows: an array for each column.
fn insert(table: &Table) -> String {
    let (mut into, mut taken, mut arrays, mut named) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (at, column) in table.columns.iter().enumerate() {
        let kind = match column.kind {
            Kind::Integer => "bigint",
            Kind::Real => "double precision",
            Kind::Text => "text",
            Kind::Bytes => "bytea",
        };
        into.push(quoted(&column.name));
        taken.push(if column.is_uuid { format!("encode(c{at}, 'hex')::uuid") } else { format!("c{at}") });
        arrays.push(format!("${}::{kind}[]", at + 1));
        named.push(format!("c{at}"));
    }
    // What the server counts begins with nothing.
    if table.name == "log_head" {
        into.push("commits".to_owned());
        taken.push("0".to_owned());
    }
    let [into, taken, arrays, named] = [into, taken, arrays, named].map(|list| list.join(", "));
    format!("INSERT INTO {}({into}) SELECT {taken} FROM unnest({arrays}) AS row({named})", quoted(&table.name))
}
