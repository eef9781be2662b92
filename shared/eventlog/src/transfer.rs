//! Carries logs from files into a server: every table of every one of them, in one transaction, so that the server has
//! all of an installation or nothing. What was written is read back and compared before it counts.

use std::collections::BTreeMap;

use crate::content::{Digest, FoundColumn, Kind, Pages, Place, Side, Table, content, quoted};
use crate::{Content, Error, Options, Reader, Store, Transaction, open, sql};

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

/// What a log in a file holds, table by table.
///
/// # Errors
/// When it cannot be read.
pub async fn contents(from: &Store) -> Result<Vec<Content>, Error> {
    let reader = from.reader().await?;
    let contents = async {
        let mut contents = Vec::new();
        for table in tables(&reader).await? {
            contents.push(content(&mut Side::Committed(&reader), &table, &Place::default()).await?);
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
        let (mut contents, whole) = (Vec::new(), Place::default());
        for table in &tables {
            let found = match is_carried {
                true => content(&mut Side::Committed(from), table, &whole).await?,
                false => self.copy(from, table).await?,
            };
            let counted: i64 = sql(format!("SELECT count(*) FROM {}", quoted(&table.name))).fetch_one(from).await?;
            let written = content(&mut Side::Within(&mut self.tx), table, &whole).await?;
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
        let whole = Place::default();
        let (mut digest, mut pages, mut from) = (Digest::default(), Pages::of(&whole), Side::Committed(from));
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

/// A table's name, a column's, its type, and a number: the column's place in the key in a file, whether rows are
/// numbered by it on a server.
pub(crate) type Found = (String, String, String, i64);

/// The tables of a log in a file.
async fn tables(reader: &Reader) -> Result<Vec<Table>, Error> {
    let mut tables: Vec<(String, Vec<FoundColumn>)> = Vec::new();
    for (table, name, kind, place) in reader.columns().await? {
        if tables.last().is_none_or(|(last, _)| *last != table) {
            tables.push((table, Vec::new()));
        }
        let Some((_, columns)) = tables.last_mut() else { continue };
        columns.push((name, kind, place));
    }
    tables.into_iter().map(|(name, columns)| Table::new(name, columns)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Column;

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
