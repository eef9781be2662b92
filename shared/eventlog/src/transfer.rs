//! Carries logs from files into a server: every table of every one of them, in one transaction, so that the server has
//! all of an installation or nothing. What was written is read back and compared before it counts.

use std::collections::BTreeMap;

use crate::sql::Value;
use crate::{Error, Options, Reader, Row, Source, Statement, Store, Transaction, open, sql};

/// Rows that are read at once, at first; then as many as stay near [`PAGE_BYTES`].
const PAGE_ROWS: i64 = 64;
/// The most of them, however small they are.
const PAGE_ROWS_MAX: i64 = 2_048;
/// Bytes that are read at once, about: a row may be a log's chunk of a megabyte, or three numbers.
const PAGE_BYTES: usize = 2 << 20;

/// Tables that a new log has rows in: those of the log that is carried take their place.
const OF_THE_LOG_ITSELF: [&str; 4] = ["log_head", "log_meta", "log_migrations", "log_views"];
/// What only a server has: who holds the log there, and how many transactions it has counted.
const OF_THE_SERVER: [(&str, &str); 6] = [
    ("leases", "name"),
    ("leases", "holder"),
    ("leases", "address"),
    ("leases", "epoch"),
    ("leases", "expires_at"),
    ("log_head", "commits"),
];

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

/// What a log in a file holds, table by table.
///
/// # Errors
/// When it cannot be read.
pub async fn contents(from: &Store) -> Result<Vec<Content>, Error> {
    let reader = from.reader().await?;
    let contents = async {
        let mut contents = Vec::new();
        for table in tables(&reader).await? {
            contents.push(content(&mut Side::File(&reader), &table).await?);
        }
        Ok(contents)
    };
    let contents = contents.await;
    reader.close().await;
    contents
}

/// Logs on their way into the schemas of a server. Nothing of them is there before [`Transfer::commit`].
pub struct Transfer {
    tx: Transaction,
}

impl Transfer {
    /// Begins, on the server that has this store.
    ///
    /// # Errors
    /// When it cannot be reached, or is none.
    pub async fn begin(to: &Store) -> Result<Self, Error> {
        let mut tx = to.carrier().await?;
        tx.begin().await?;
        Ok(Self { tx })
    }

    /// Copies the log of a service, which nobody has open and which has every migration of this build, and compares
    /// what was written with what was read. A log that is there already with the same content is left as it is: what
    /// an earlier transfer has left, whose end nobody saw.
    ///
    /// # Errors
    /// When the server has another log there or rows of one, somebody writes it, the two differ in their tables, or
    /// what was written reads otherwise.
    pub async fn carry(&mut self, from: &Store, to: &Options) -> Result<Vec<Content>, Error> {
        let reader = from.reader().await?;
        let carried = self.carry_from(&reader, to).await;
        reader.close().await;
        carried
    }

    async fn carry_from(&mut self, from: &Reader, to: &Options) -> Result<Vec<Content>, Error> {
        let is_there = self.tx.enter(&to.store).await?;
        let incarnation = "SELECT value FROM log_meta WHERE key = 'incarnation'";
        let own: String = sql(incarnation).fetch_one(from).await?;
        let theirs: Option<String> = if is_there { sql(incarnation).fetch_optional(&mut self.tx).await? } else { None };
        let is_carried = theirs.is_some_and(|theirs| theirs == own);
        if !is_carried {
            self.tx.take_over(to.service, to.entropy.seed()).await?;
            open::apply(&mut self.tx, to.migrations).await?;
        }
        let tables = common(tables(from).await?, self.tx.columns().await?)?;
        if !is_carried {
            self.make_room(&tables, &to.store).await?;
        }
        let mut contents = Vec::new();
        for table in &tables {
            let found =
                if is_carried { content(&mut Side::File(from), table).await? } else { self.copy(from, table).await? };
            let counted: i64 = sql(format!("SELECT count(*) FROM {}", quoted(&table.name))).fetch_one(from).await?;
            let written = content(&mut Side::Server(&mut self.tx), table).await?;
            if found != written || u64::try_from(counted) != Ok(found.rows) {
                let why =
                    if is_carried { "the log is there and has gone on since" } else { "something changes rows there" };
                return Err(Error::NotMoved(format!(
                    "{}: table {} has {counted} rows (hash {}), {} has {} (hash {}): {why}",
                    to.service, table.name, found.hash, to.store, written.rows, written.hash
                )));
            }
            contents.push(found);
        }
        Ok(contents)
    }

    /// The tables of a log that nobody has used: empty, but for what every new one begins with.
    async fn make_room(&mut self, tables: &[Table], to: &Store) -> Result<(), Error> {
        for Table { name, .. } in tables {
            if OF_THE_LOG_ITSELF.contains(&name.as_str()) {
                sql(format!("DELETE FROM {}", quoted(name))).execute(&mut self.tx).await?;
                continue;
            }
            let any: Option<i64> =
                sql(format!("SELECT 1 FROM {} LIMIT 1", quoted(name))).fetch_optional(&mut self.tx).await?;
            if any.is_some() {
                return Err(Error::NotMoved(format!("{to} is in use: its table {name} has rows")));
            }
        }
        Ok(())
    }

    async fn copy(&mut self, from: &Reader, table: &Table) -> Result<Content, Error> {
        let (mut digest, mut pages, mut from) = (Digest::default(), Pages::default(), Side::File(from));
        while let Some(rows) = pages.next(&mut from, table).await? {
            rows.iter().for_each(|row| digest.take(row));
            self.tx.put(table, rows).await?;
        }
        self.tx.number_on(table).await?;
        Ok(digest.content(table))
    }

    /// Makes all that was carried the server's.
    ///
    /// # Errors
    /// When it is not known whether it is: begin again, and see.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.tx.commit().await?;
        self.tx.close().await
    }

    /// Leaves the server as it was.
    pub async fn abandon(mut self) {
        self.tx.rollback().await;
        let _ = self.tx.close().await;
    }
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
    fn of(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "integer" | "bigint" | "int2" | "int4" | "int8" => Some(Self::Integer),
            "real" | "double precision" | "float8" => Some(Self::Real),
            "text" => Some(Self::Text),
            "blob" | "bytea" | "uuid" => Some(Self::Bytes),
            _ => None,
        }
    }

    fn value(self, row: &Row, place: usize) -> Result<Value, Error> {
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
    pub is_numbered: bool,
}

/// A table that both stores have.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    /// The places of the primary key's columns, in its order.
    key: Vec<usize>,
}

/// A table's name, a column's, its type, and a number: the column's place in the key in a file, whether rows are
/// numbered by it on a server.
pub(crate) type Found = (String, String, String, i64);

/// The tables of a log in a file.
async fn tables(reader: &Reader) -> Result<Vec<Table>, Error> {
    let mut tables: Vec<(Table, Vec<(i64, usize)>)> = Vec::new();
    for (table, name, kind, place) in reader.columns().await? {
        let unknown = || Error::NotMoved(format!("the column {table}.{name} has the type {kind:?}"));
        let kind = Kind::of(&kind).ok_or_else(unknown)?;
        if tables.last().is_none_or(|(last, _)| last.name != table) {
            tables.push((Table { name: table, columns: Vec::new(), key: Vec::new() }, Vec::new()));
        }
        let Some((table, key)) = tables.last_mut() else { continue };
        if place > 0 {
            key.push((place, table.columns.len()));
        }
        table.columns.push(Column { name, kind, is_uuid: false, is_numbered: false });
    }
    let keyed = |(mut table, mut key): (Table, Vec<(i64, usize)>)| {
        key.sort_unstable();
        table.key = key.into_iter().map(|(_, column)| column).collect();
        match table.key.is_empty() {
            true => Err(Error::NotMoved(format!("the table {} has no primary key", table.name))),
            false => Ok(table),
        }
    };
    tables.into_iter().map(keyed).collect()
}

/// The same with what the server knows of them. Both have the same tables, but for what is the server's own.
fn common(mut tables: Vec<Table>, there: Vec<Found>) -> Result<Vec<Table>, Error> {
    let mut there: BTreeMap<(String, String), (String, i64)> =
        there.into_iter().map(|(table, column, kind, numbered)| ((table, column), (kind, numbered))).collect();
    there.retain(|(table, column), _| !OF_THE_SERVER.contains(&(table.as_str(), column.as_str())));
    for table in &mut tables {
        for column in &mut table.columns {
            let found = there.remove(&(table.name.clone(), column.name.clone()));
            let same = found.filter(|(kind, _)| Kind::of(kind) == Some(column.kind));
            let Some((kind, numbered)) = same else {
                let name = format!("{}.{}", table.name, column.name);
                return Err(Error::NotMoved(format!("the server has no column {name} of that type")));
            };
            (column.is_uuid, column.is_numbered) = (kind == "uuid", numbered == 1);
        }
    }
    match there.keys().next() {
        Some((table, column)) => Err(Error::NotMoved(format!("only the server has a column {table}.{column}"))),
        None => Ok(tables),
    }
}

/// A name of a table or a column in a text.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Where rows are read.
enum Side<'a> {
    File(&'a Reader),
    Server(&'a mut Transaction),
}

impl Side<'_> {
    async fn rows(&mut self, statement: Statement) -> Result<Vec<Row>, Error> {
        match self {
            Self::File(reader) => Source::rows(*reader, statement).await,
            Self::Server(tx) => Source::rows(&mut **tx, statement).await,
        }
    }

    fn is_server(&self) -> bool {
        matches!(self, Self::Server(_))
    }
}

/// Reads a table in the order of its key, a page at a time.
struct Pages {
    after: Option<Vec<Value>>,
    rows: i64,
    is_over: bool,
}

impl Default for Pages {
    fn default() -> Self {
        Self { after: None, rows: PAGE_ROWS, is_over: false }
    }
}

impl Pages {
    async fn next(&mut self, from: &mut Side<'_>, table: &Table) -> Result<Option<Vec<Vec<Value>>>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let mut statement = sql(table.page(from.is_server(), self.after.is_some()));
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

impl Table {
    /// The text of a page; the last value is how many rows.
    fn page(&self, is_server: bool, goes_on: bool) -> String {
        let read = |column: &Column| match is_server && column.is_uuid {
            true => format!("uuid_send({})", quoted(&column.name)),
            false => quoted(&column.name),
        };
        let given = |(at, &place): (usize, &usize)| match is_server && self.columns[place].is_uuid {
            true => format!("encode(${}, 'hex')::uuid", at + 1),
            false => format!("${}", at + 1),
        };
        let columns = self.columns.iter().map(read).collect::<Vec<_>>().join(", ");
        let key = self.key.iter().map(|&place| quoted(&self.columns[place].name)).collect::<Vec<_>>().join(", ");
        let (after, limit) = match goes_on {
            true => {
                let values = self.key.iter().enumerate().map(given).collect::<Vec<_>>().join(", ");
                (format!("WHERE ({key}) > ({values})"), self.key.len() + 1)
            }
            false => (String::new(), 1),
        };
        format!("SELECT {columns} FROM {} {after} ORDER BY {key} LIMIT ${limit}", quoted(&self.name))
    }
}

async fn content(from: &mut Side<'_>, table: &Table) -> Result<Content, Error> {
    let (mut digest, mut pages) = (Digest::default(), Pages::default());
    while let Some(rows) = pages.next(from, table).await? {
        rows.iter().for_each(|row| digest.take(row));
    }
    Ok(digest.content(table))
}

/// The hash of rows: of each value its type, whether it is there, its length where it has one, and itself.
#[derive(Default)]
struct Digest {
    hasher: blake3::Hasher,
    rows: u64,
}

impl Digest {
    fn take(&mut self, row: &[Value]) {
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

    fn content(self, table: &Table) -> Content {
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

    #[test]
    fn tables_that_only_one_side_has_are_told() {
        let column = |kind| Column { name: "a".to_owned(), kind, is_uuid: false, is_numbered: false };
        let table = |kind| vec![Table { name: "t".to_owned(), columns: vec![column(kind)], key: vec![0] }];
        let there = |table: &str, column: &str, kind: &str| (table.to_owned(), column.to_owned(), kind.to_owned(), 0);
        assert!(common(table(Kind::Bytes), vec![there("t", "a", "uuid"), there("leases", "name", "text")]).is_ok());
        for wrong in [vec![], vec![there("t", "a", "text")], vec![there("t", "a", "uuid"), there("t", "b", "text")]] {
            assert!(matches!(common(table(Kind::Bytes), wrong), Err(Error::NotMoved(_))));
        }
    }
}
