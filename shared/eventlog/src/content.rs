//! What the tables of a log hold, whatever they are: read in the order of their keys, a page at a time, and hashed, so
//! that two of them are compared without either being in memory.

#[cfg(feature = "postgres")]
use crate::Reader;
use crate::sql::Value;
use crate::{Error, Row, Source, Statement, Transaction, sql};

/// Rows that are read at once, at first; then as many as stay near [`PAGE_BYTES`].
const PAGE_ROWS: i64 = 64;
/// The most of them, however small they are.
const PAGE_ROWS_MAX: i64 = 2_048;
/// Bytes that are read at once, about: a row may be a log's chunk of a megabyte, or three numbers.
const PAGE_BYTES: usize = 2 << 20;

/// What a table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its name.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// The hash of their values, in the order of their keys; the same in every store.
    pub hash: String,
}

/// One of the four types that every store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Real,
    Text,
    Bytes,
}

impl Kind {
    /// Of a type by its name in some store.
    pub fn of(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "integer" | "bigint" | "int2" | "int4" | "int8" => Some(Self::Integer),
            "real" | "double precision" | "float8" => Some(Self::Real),
            "text" => Some(Self::Text),
            "blob" | "bytea" | "uuid" => Some(Self::Bytes),
            _ => None,
        }
    }

    pub fn value(self, row: &Row, place: usize) -> Result<Value, Error> {
        Ok(match self {
            Self::Integer => Value::Integer(row.get(place)?),
            Self::Real => Value::Real(row.get(place)?),
            Self::Text => Value::Text(row.get(place)?),
            Self::Bytes => Value::Bytes(row.get(place)?),
        })
    }
}

/// A column as a store has it.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub name: String,
    pub kind: Kind,
    /// Whether the server has a type of its own for what are 16 bytes elsewhere.
    pub is_uuid: bool,
    /// Whether the server numbers rows by it.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only a server numbers rows"))]
    pub is_numbered: bool,
}

/// A table that both stores have.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    /// The places of the primary key's columns, in its order.
    pub key: Vec<usize>,
}

/// A column's name, its type, and its place in the primary key from 1, or 0.
pub(crate) type FoundColumn = (String, String, i64);

impl Table {
    /// Of the columns that a store says it has.
    ///
    /// # Errors
    /// When one has a type that not every store has, or none is a key.
    pub fn new(name: String, found: Vec<FoundColumn>) -> Result<Self, Error> {
        let (mut columns, mut key) = (Vec::new(), Vec::new());
        for (column, kind, place) in found {
            let unknown = || Error::Decode(format!("the column {name}.{column} has the type {kind:?}"));
            let kind = Kind::of(&kind).ok_or_else(unknown)?;
            if place > 0 {
                key.push((place, columns.len()));
            }
            columns.push(Column { name: column, kind, is_uuid: false, is_numbered: false });
        }
        key.sort_unstable();
        match key.is_empty() {
            true => Err(Error::Decode(format!("the table {name} is not there, or has no primary key"))),
            false => Ok(Self { name, columns, key: key.into_iter().map(|(_, column)| column).collect() }),
        }
    }

    /// The columns of the primary key, in its order.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().map(|&place| &self.columns[place])
    }

    /// The same table without what is not in its key.
    pub fn keys_alone(&self) -> Self {
        let columns = self.key_columns().cloned().collect();
        Self { name: self.name.clone(), columns, key: (0..self.key.len()).collect() }
    }

    /// The text of a page; the last value is how many rows.
    fn page(&self, place: &Place, is_server: bool, goes_on: bool) -> String {
        let read = |column: &Column| match is_server && column.is_uuid {
            true => format!("uuid_send({})", quoted(&column.name)),
            false => quoted(&column.name),
        };
        let given = |(at, &place): (usize, &usize)| match is_server && self.columns[place].is_uuid {
            true => format!("encode(${}, 'hex')::uuid", at + 1),
            false => format!("${}", at + 1),
        };
        let columns = self.columns.iter().map(read).collect::<Vec<_>>().join(", ");
        let key = self.key_columns().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ");
        let mut conditions: Vec<String> = place.only.iter().cloned().collect();
        if goes_on {
            let values = self.key.iter().enumerate().map(given).collect::<Vec<_>>().join(", ");
            conditions.push(format!("({key}) > ({values})"));
        }
        let limit = if goes_on { self.key.len() + 1 } else { 1 };
        let only = match conditions.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", conditions.join(" AND ")),
        };
        let table = place.table(self);
        format!("SELECT {columns} FROM {table} AS held {only} ORDER BY {key} LIMIT ${limit}")
    }
}

/// A name of a table or a column in a text.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Which of the tables of that name is meant, and which of its rows; by default all of the one that is found first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// The schema, as it stands in a text.
    pub schema: Option<String>,
    /// A condition of the rows, which are called `held` in it.
    pub only: Option<String>,
}

impl Place {
    /// A table in a text.
    pub fn table(&self, table: &Table) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", quoted(&table.name)),
            None => quoted(&table.name),
        }
    }
}

/// Where rows are read.
pub(crate) enum Side<'a> {
    /// Among those that are committed.
    #[cfg(feature = "postgres")]
    Committed(&'a Reader),
    /// Inside of a transaction.
    Within(&'a mut Transaction),
}

impl Side<'_> {
    async fn rows(&mut self, statement: Statement) -> Result<Vec<Row>, Error> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Committed(reader) => Source::rows(*reader, statement).await,
            Self::Within(tx) => Source::rows(&mut **tx, statement).await,
        }
    }

    /// Only a server's columns are known to be UUIDs, and only transactions are a server's here.
    fn is_server(&self) -> bool {
        matches!(self, Self::Within(_))
    }
}

/// Reads a table in the order of its key, a page at a time.
pub(crate) struct Pages<'a> {
    place: &'a Place,
    after: Option<Vec<Value>>,
    rows: i64,
    is_over: bool,
}

impl<'a> Pages<'a> {
    pub fn of(place: &'a Place) -> Self {
        Self { place, after: None, rows: PAGE_ROWS, is_over: false }
    }

    pub async fn next(&mut self, from: &mut Side<'_>, table: &Table) -> Result<Option<Vec<Vec<Value>>>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let mut statement = sql(table.page(self.place, from.is_server(), self.after.is_some()));
        statement.values = self.after.take().unwrap_or_default();
        let rows = from.rows(statement.bind(self.rows)).await?;
        let values = |row: &Row| {
            let columns = table.columns.iter().enumerate();
            columns.map(|(place, column)| column.kind.value(row, place)).collect::<Result<Vec<_>, _>>()
        };
        let page = rows.iter().map(values).collect::<Result<Vec<_>, _>>()?;
        self.is_over = (page.len() as i64) < self.rows;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some(table.key.iter().map(|&place| last[place].clone()).collect());
        let bytes: usize = page.iter().flatten().map(bytes_of).sum();
        self.rows = match bytes {
            PAGE_BYTES.. => (self.rows / 2).max(1),
            bytes if bytes < PAGE_BYTES / 2 => (self.rows * 2).min(PAGE_ROWS_MAX),
            _ => self.rows,
        };
        Ok(Some(page))
    }
}

fn bytes_of(value: &Value) -> usize {
    match value {
        Value::Integer(_) | Value::Real(_) => 8,
        Value::Text(text) => text.as_ref().map_or(0, String::len),
        Value::Bytes(bytes) => bytes.as_ref().map_or(0, Vec::len),
    }
}

/// Reads a table whole.
pub(crate) async fn content(from: &mut Side<'_>, table: &Table, place: &Place) -> Result<Content, Error> {
    let (mut digest, mut pages) = (Digest::default(), Pages::of(place));
    while let Some(rows) = pages.next(from, table).await? {
        rows.iter().for_each(|row| digest.take(row));
    }
    Ok(digest.content(table))
}

/// The hash of rows: of each value its type, whether it is there, its length where it has one, and itself.
#[derive(Default)]
pub(crate) struct Digest {
    hasher: blake3::Hasher,
    rows: u64,
}

impl Digest {
    pub fn take(&mut self, row: &[Value]) {
        self.rows += 1;
        for value in row {
            match value {
                Value::Integer(None) | Value::Real(None) | Value::Text(None) | Value::Bytes(None) => self.put(0, &[]),
                Value::Integer(Some(value)) => self.put(1, &value.to_le_bytes()),
                Value::Real(Some(value)) => self.put(2, &value.to_bits().to_le_bytes()),
                Value::Text(Some(text)) => self.put_long(3, text.as_bytes()),
                Value::Bytes(Some(bytes)) => self.put_long(4, bytes),
            }
        }
    }

    fn put(&mut self, kind: u8, bytes: &[u8]) {
        self.hasher.update(&[kind]).update(bytes);
    }

    fn put_long(&mut self, kind: u8, bytes: &[u8]) {
        self.put(kind, &(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }

    pub fn content(self, table: &Table) -> Content {
        let hash = self.hasher.finalize().to_hex()[..32].to_owned();
        Content { table: table.name.clone(), rows: self.rows, hash }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(row: &[Value]) -> String {
        let mut digest = Digest::default();
        digest.take(row);
        digest.hasher.finalize().to_hex().to_string()
    }

    #[test]
    fn what_differs_has_another_hash() {
        // Values that only their borders, their type or their absence tell apart.
        let text = |text: &str| Value::from(text);
        let rows = [
            vec![text("ab"), text("c")],
            vec![text("a"), text("bc")],
            vec![Value::from(b"ab".as_slice()), text("c")],
            vec![Value::from(0_i64)],
            vec![Value::from(0.0)],
            vec![Value::from(-0.0)],
            vec![Value::Integer(None)],
            vec![],
        ];
        let hashes: std::collections::BTreeSet<String> = rows.iter().map(|row| hash(row)).collect();
        assert_eq!(hashes.len(), rows.len());
    }
}
