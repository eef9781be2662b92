//! Rebuilds views: every event from the first on goes through them again, into tables beside those that are read; these
//! are compared, and mended in one transaction. The service may run meanwhile.
//!
//! A view's rows depend on events alone, so that two folds of the same history are the same rows: a difference is a
//! fault of the rows that are read, or what an older build has written in another form. What a view's tables have
//! beside that, of which no event tells, is left alone ([`crate::ViewTable::Shared`]).

use std::sync::Arc;

use crate::content::{Content, Place, Side, Table, content, quoted};
use crate::examine::FAULTS_MAX;
use crate::sql::{Row, Value};
use crate::store::Shadow;
use crate::{Error, Options, Reader, Transaction, View, ViewTable, open, sql, view};

/// Events of a step: as many are in memory, and are written in one transaction.
const PAGE: u32 = 1_000;

/// What is done about differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuilding {
    /// They are told.
    Check,
    /// What was made anew takes the place of what is read.
    Swap,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// The position that views were compared at.
    pub position: i64,
    /// Each view, as it was found.
    pub views: Vec<RebuiltView>,
    /// Whether what differed is mended now.
    pub is_swapped: bool,
}

/// A view as it was found.
#[derive(Clone, Debug)]
pub struct RebuiltView {
    /// Its name.
    pub view: &'static str,
    /// Its tables.
    pub tables: Vec<Compared>,
}

/// A table as it is read, and as it was made anew.
#[derive(Clone, Debug)]
pub struct Compared {
    /// As it is read; of a shared table, what is there of the rows that were made anew, by their keys.
    pub read: Content,
    /// As it was made anew.
    pub made: Content,
    /// Whether others write rows there, too.
    pub is_shared: bool,
    /// What tells the two apart.
    pub differences: Differences,
}

/// Rows that differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Rows that events tell of and that are not read.
    pub missing: u64,
    /// Rows that are read and of which no event tells.
    pub unfounded: u64,
    /// Rows that have other values than events tell of.
    pub other: u64,
    /// Some of them by their keys, in words.
    pub shown: Vec<String>,
}

impl Compared {
    /// Whether nothing tells the two apart.
    pub fn is_equal(&self) -> bool {
        self.read == self.made
    }
}

impl Rebuilt {
    /// Whether every table was found as it was made anew.
    pub fn is_equal(&self) -> bool {
        self.views.iter().flat_map(|view| &view.tables).all(Compared::is_equal)
    }
}

/// Rebuilds these views of a log, beside the process that has it open, if one does. Memory holds a page of events, and
/// a page of rows; the disk holds the tables twice meanwhile.
///
/// # Errors
/// When there is no such view, the log has not every migration of this build, a view refuses an event, or somebody
/// rebuilds views of the log already. What is read is as it was then.
pub async fn rebuild(options: Options, views: &[&str], how: Rebuilding) -> Result<Rebuilt, Error> {
    let chosen = chosen(&options, views)?;
    let reader = options.store.reader().await?;
    let rebuilt = async {
        assert_kept(&reader, &options, &chosen).await?;
        let mut shadow = Shadow::open(&options.store).await?;
        let mut rebuild = Rebuild { shadow: &mut shadow, reader: &reader, views: chosen, position: 0 };
        let rebuilt = rebuild.run(&options, how).await;
        let removed = shadow.remove().await;
        rebuilt.and_then(|rebuilt| removed.map(|()| rebuilt))
    };
    let rebuilt = rebuilt.await;
    reader.close().await;
    rebuilt
}

fn chosen(options: &Options, names: &[&str]) -> Result<Vec<Arc<dyn View>>, Error> {
    let find = |name: &&str| {
        options.views.iter().find(|view| view.name() == *name).cloned().ok_or_else(|| {
            let known = options.views.iter().map(|view| view.name()).collect::<Vec<_>>().join(", ");
            Error::NotRebuilt(format!("{} has no view {name:?}; it has: {known}", options.service))
        })
    };
    names.iter().map(find).collect()
}

/// What is read is what this build would keep.
async fn assert_kept(reader: &Reader, options: &Options, views: &[Arc<dyn View>]) -> Result<(), Error> {
    let lacking = open::lacking(reader, options.migrations).await?;
    let live: Vec<String> = sql("SELECT name FROM log_views WHERE live = 1").fetch_all(reader).await?;
    let is_new = |view: &&Arc<dyn View>| !live.iter().any(|name| name == view.name());
    match lacking.first().copied().or_else(|| views.iter().find(is_new).map(|view| view.name())) {
        None => Ok(()),
        Some(name) => Err(Error::NotRebuilt(format!(
            "the database of {} was written by an older build, which had no {name}: start the service, or `trialog \
             migrate` it, first",
            options.service
        ))),
    }
}

/// A rebuild under way.
struct Rebuild<'a> {
    shadow: &'a mut Shadow,
    reader: &'a Reader,
    views: Vec<Arc<dyn View>>,
    /// The last event that was taken in.
    position: i64,
}

impl Rebuild<'_> {
    async fn run(&mut self, options: &Options, how: Rebuilding) -> Result<Rebuilt, Error> {
        self.shadow.tx.begin().await?;
        let made = self.make_tables(options).await;
        self.concluded(made).await?;
        while self.step().await? {}
        let tables = self.tables().await?;
        let live = self.shadow.meet().await?;
        self.shadow.look().await?;
        let looked = self.compare(&tables, &live).await;
        let looked = self.concluded(looked).await?;
        if how == Rebuilding::Check || looked.is_equal() {
            return Ok(looked);
        }
        let names: Vec<String> = tables.iter().flatten().map(|table| table.at(&live)).collect();
        self.shadow.hold(&names).await?;
        let swapped = self.swap(&tables, &live).await;
        self.concluded(swapped).await
    }

    async fn make_tables(&mut self, options: &Options) -> Result<(), Error> {
        let tx = &mut self.shadow.tx;
        tx.take_over(options.service, options.entropy.seed()).await?;
        open::apply(tx, options.migrations).await.map(drop)
    }

    /// Ends a transaction.
    async fn concluded<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        match outcome {
            Ok(outcome) => self.shadow.tx.commit().await.map(|()| outcome),
            Err(error) => {
                self.shadow.tx.rollback().await;
                Err(error)
            }
        }
    }

    /// Takes the next events in; false when there were none that had not come meanwhile.
    async fn step(&mut self) -> Result<bool, Error> {
        let page = self.reader.page(self.position, PAGE).await?;
        let Some(last) = page.last().map(|event| event.position) else { return Ok(false) };
        self.shadow.tx.begin().await?;
        let applied = self.apply(&page).await;
        self.concluded(applied).await?;
        self.position = last;
        Ok(page.len() == PAGE as usize)
    }

    async fn apply(&mut self, page: &[crate::RecordedEvent]) -> Result<(), Error> {
        for view in &self.views {
            view::apply(view.as_ref(), &mut self.shadow.tx, page).await?;
        }
        Ok(())
    }

    /// Takes in what the log has at the moment of the open transaction.
    async fn catch_up(&mut self, live: &str) -> Result<(), Error> {
        let head = format!("SELECT last_position FROM {live}.log_head WHERE id = 1");
        let head: i64 = sql(head).fetch_one(&mut self.shadow.tx).await?;
        while self.position < head {
            let mut page = self.reader.page(self.position, PAGE).await?;
            page.retain(|event| event.position <= head);
            let Some(last) = page.last().map(|event| event.position) else {
                return Err(Error::Damaged { head, last: self.position });
            };
            self.apply(&page).await?;
            self.position = last;
        }
        Ok(())
    }

    /// The tables of each view.
    async fn tables(&mut self) -> Result<Vec<Vec<Made>>, Error> {
        let mut tables = Vec::new();
        for view in &self.views {
            let mut of_view = Vec::new();
            for &named in view.tables() {
                let table = self.shadow.table(named.name()).await?;
                of_view.push(Made { table, is_shared: matches!(named, ViewTable::Shared(_)) });
            }
            tables.push(of_view);
        }
        Ok(tables)
    }

    async fn compare(&mut self, tables: &[Vec<Made>], live: &str) -> Result<Rebuilt, Error> {
        self.catch_up(live).await?;
        let mut views = Vec::new();
        for (view, made) in self.views.iter().zip(tables) {
            let mut compared = Vec::new();
            for table in made {
                compared.push(table.compare(&mut self.shadow.tx, live).await?);
            }
            views.push(RebuiltView { view: view.name(), tables: compared });
        }
        Ok(Rebuilt { position: self.position, views, is_swapped: false })
    }

    /// Puts what was made anew in the place of what is read. Only rows that differ are written.
    async fn swap(&mut self, tables: &[Vec<Made>], live: &str) -> Result<Rebuilt, Error> {
        let found = self.compare(tables, live).await?;
        for table in tables.iter().flatten() {
            table.mend(&mut self.shadow.tx, live).await?;
        }
        let mended = self.compare(tables, live).await?;
        let wrong = mended.views.iter().flat_map(|view| &view.tables).find(|table| !table.is_equal());
        match wrong {
            None => Ok(Rebuilt { is_swapped: true, ..found }),
            Some(Compared { read, made, .. }) => Err(Error::NotRebuilt(format!(
                "table {} has {} rows (hash {}) after it was mended, and {} (hash {}) were made: something changes \
                 rows there; nothing was changed",
                read.table, read.rows, read.hash, made.rows, made.hash
            ))),
        }
    }
}

/// A table that was made anew. In texts its rows are `made`, those that are read `held`.
struct Made {
    table: Table,
    is_shared: bool,
}

impl Made {
    /// The table that is read.
    fn at(&self, live: &str) -> String {
        Place { schema: Some(live.to_owned()), only: None }.table(&self.table)
    }

    fn name(&self) -> String {
        quoted(&self.table.name)
    }

    fn is_of_key(&self, place: usize) -> bool {
        self.table.key.contains(&place)
    }

    /// That two rows have the same key.
    fn same_key(&self) -> String {
        let same = self.table.key_columns().map(|column| quoted(&column.name));
        same.map(|name| format!("made.{name} = held.{name}")).collect::<Vec<_>>().join(" AND ")
    }

    /// For each column that is not in the key: that two rows differ in it.
    fn differs(&self) -> Vec<(&str, String)> {
        let columns = self.table.columns.iter().enumerate().filter(|(place, _)| !self.is_of_key(*place));
        let differs = |column: &str| format!("made.{column} IS DISTINCT FROM held.{column}");
        columns.map(|(_, column)| (column.name.as_str(), differs(&quoted(&column.name)))).collect()
    }

    async fn compare(&self, tx: &mut Transaction, live: &str) -> Result<Compared, Error> {
        let (name, same_key) = (self.name(), self.same_key());
        let only = self.is_shared.then(|| format!("EXISTS (SELECT 1 FROM {name} AS made WHERE {same_key})"));
        let keys = self.is_shared.then(|| self.table.keys_alone());
        let table = keys.as_ref().unwrap_or(&self.table);
        let held = Place { schema: Some(live.to_owned()), only };
        let read = content(&mut Side::Within(&mut *tx), table, &held).await?;
        let made = content(&mut Side::Within(&mut *tx), table, &Place::default()).await?;
        let differences = match read == made {
            true => Differences::default(),
            false => self.differences(tx, live).await?,
        };
        Ok(Compared { read, made, is_shared: self.is_shared, differences })
    }

    async fn differences(&self, tx: &mut Transaction, live: &str) -> Result<Differences, Error> {
        let (made, held, same_key) = (self.name(), self.at(live), self.same_key());
        let missing = format!("{made} AS made WHERE NOT EXISTS (SELECT 1 FROM {held} AS held WHERE {same_key})");
        let unfounded = format!("{held} AS held WHERE NOT EXISTS (SELECT 1 FROM {made} AS made WHERE {same_key})");
        let mut found = Differences::default();
        found.missing = self.look(tx, ("missing", "made"), &missing, &mut found.shown).await?;
        if self.is_shared {
            return Ok(found);
        }
        found.unfounded = self.look(tx, ("of no event", "held"), &unfounded, &mut found.shown).await?;
        let any = self.differs().into_iter().map(|(_, differs)| differs).collect::<Vec<_>>().join(" OR ");
        if !any.is_empty() {
            let other = format!("{made} AS made JOIN {held} AS held ON {same_key} WHERE {any}");
            found.other = self.look(tx, ("other", "made"), &other, &mut found.shown).await?;
        }
        Ok(found)
    }

    /// Counts rows, and shows some of them: their keys, and of those that are in both tables what they differ in.
    async fn look(
        &self,
        tx: &mut Transaction,
        (word, whose): (&str, &str),
        from: &str,
        shown: &mut Vec<String>,
    ) -> Result<u64, Error> {
        let count: i64 = sql(format!("SELECT count(*) FROM {from}")).fetch_one(&mut *tx).await?;
        let key: Vec<String> =
            self.table.key_columns().map(|column| format!("{whose}.{}", quoted(&column.name))).collect();
        let key = key.join(", ");
        let is_both = from.contains(" JOIN ");
        let differs = if is_both { self.differs() } else { Vec::new() };
        let flags: Vec<String> =
            differs.iter().map(|(_, differs)| format!(", CASE WHEN {differs} THEN 1 ELSE 0 END")).collect();
        let get = format!("SELECT {key}{} FROM {from} ORDER BY {key} LIMIT $1", flags.concat());
        let rows: Vec<Row> = sql(get).bind(FAULTS_MAX).fetch_all(&mut *tx).await?;
        for row in &rows {
            let mut words = Vec::new();
            for (place, column) in self.table.key_columns().enumerate() {
                words.push(format!("{}={}", column.name, in_words(&column.kind.value(row, place)?)));
            }
            let mut differ = Vec::new();
            for (at, (name, _)) in differs.iter().enumerate() {
                if row.get::<i64>(self.table.key.len() + at)? == 1 {
                    differ.push(*name);
                }
            }
            let differ = if is_both { format!(" in {}", differ.join(", ")) } else { String::new() };
            shown.push(format!("{word}{differ}: {}", words.join(" ")));
        }
        Ok(u64::try_from(count).unwrap_or_default())
    }

    async fn mend(&self, tx: &mut Transaction, live: &str) -> Result<(), Error> {
        let (made, held, same_key) = (self.name(), self.at(live), self.same_key());
        if !self.is_shared {
            // One that differs goes with those of no event, and comes again with those that are missing.
            let alike = self.differs().into_iter().map(|(_, differs)| format!(" AND NOT ({differs})"));
            let alike = alike.collect::<Vec<_>>().concat();
            let delete = format!(
                "DELETE FROM {held} AS held WHERE NOT EXISTS (SELECT 1 FROM {made} AS made WHERE {same_key}{alike})"
            );
            sql(delete).execute(&mut *tx).await?;
        }
        let columns = self.table.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ");
        let insert = format!(
            "INSERT INTO {held}({columns}) SELECT {columns} FROM {made} AS made
             WHERE NOT EXISTS (SELECT 1 FROM {held} AS held WHERE {same_key})"
        );
        sql(insert).execute(tx).await.map(drop)
    }
}

/// A value of a key. Bytes are ids.
fn in_words(value: &Value) -> String {
    match value {
        Value::Integer(value) => value.map_or_else(|| "NULL".to_owned(), |value| value.to_string()),
        Value::Real(value) => value.map_or_else(|| "NULL".to_owned(), |value| value.to_string()),
        Value::Text(value) => value.as_ref().map_or_else(|| "NULL".to_owned(), |text| format!("{text:?}")),
        Value::Bytes(value) => value.as_ref().map_or_else(
            || "NULL".to_owned(),
            |bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat(),
        ),
    }
}
