//! Rows of a list: which columns there are, in which order the rows come, how many of them.

use std::cmp::Ordering;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::cells;
use crate::client::Failure;

/// What every list takes.
#[derive(Args, Clone, Debug, Default)]
pub struct View {
    /// Order by a column; -COLUMN is the other way round. By value the best come first.
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// Only the first so many rows; of trials the best, where no order is given.
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// These columns, by name or by their path in -o json, e.g. index,value,parameters.lr
    #[arg(long, value_delimiter = ',', value_name = "COLUMN")]
    pub columns: Vec<String>,
}

enum Kind<'a> {
    Plain,
    Age,
    Bytes,
    Words(Box<dyn Fn(&Value) -> String + 'a>),
}

/// A column of a list.
pub struct Column<'a> {
    name: String,
    /// Names on the way to the value.
    path: Vec<String>,
    kind: Kind<'a>,
    is_wide: bool,
    is_descending: bool,
    is_cut: bool,
}

/// A column that shows the field of its name.
pub fn column<'a>(name: &str) -> Column<'a> {
    let path = vec![name.to_owned()];
    Column { name: name.to_owned(), path, kind: Kind::Plain, is_wide: false, is_descending: false, is_cut: false }
}

impl<'a> Column<'a> {
    /// Shows another field: names joined by dots.
    pub fn at(self, path: &str) -> Self {
        self.within(path.split('.').map(str::to_owned).collect())
    }

    /// Shows the field at the end of these names, which may have dots in them.
    pub fn within(self, path: Vec<String>) -> Self {
        Self { path, ..self }
    }

    /// Shows a time as how long ago it was.
    pub fn age(self) -> Self {
        Self { kind: Kind::Age, ..self }
    }

    /// Shows a count of bytes with its unit.
    pub fn bytes(self) -> Self {
        Self { kind: Kind::Bytes, ..self }
    }

    /// Shows what is made of the whole row; where all digits are wanted, the field itself if it is there.
    pub fn words(self, make: impl Fn(&Value) -> String + 'a) -> Self {
        Self { kind: Kind::Words(Box::new(make)), ..self }
    }

    /// Only with `-o wide`, `-o csv` and when it is asked for.
    pub fn wide(self) -> Self {
        Self { is_wide: true, ..self }
    }

    /// May be long: it is cut where the table would be wider than the terminal, but not with `-o wide`.
    pub fn cut(self) -> Self {
        Self { is_cut: true, ..self }
    }

    /// See [`Column::cut`].
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The largest come first when it is sorted by.
    pub fn descending(self, is_descending: bool) -> Self {
        Self { is_descending, ..self }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn value<'v>(&self, row: &'v Value) -> Option<&'v Value> {
        if self.path.is_empty() {
            return None;
        }
        self.path.iter().try_fold(row, |value, name| value.get(name)).filter(|value| !value.is_null())
    }

    /// The cell as people read it.
    pub fn cell(&self, row: &Value, now: Timestamp) -> String {
        let value = self.value(row);
        match (&self.kind, value) {
            (Kind::Words(make), _) => make(row),
            (Kind::Age, Some(Value::String(time))) => cells::age(time, now),
            (Kind::Bytes, Some(value)) => value.as_u64().map_or_else(|| cells::text(value), cells::bytes),
            (_, value) => value.map(cells::text).unwrap_or_default(),
        }
    }

    /// The cell with all that it has.
    pub fn exact(&self, row: &Value) -> String {
        match (&self.kind, self.value(row)) {
            (Kind::Words(make), None) => make(row),
            (_, value) => value.map(cells::exact).unwrap_or_default(),
        }
    }
}

/// A list that came as an answer.
pub struct List<'a> {
    /// The field that has the rows.
    pub field: &'a str,
    /// Its columns.
    pub columns: Vec<Column<'a>>,
    /// What `-o name` prints: something that other commands take.
    pub name: Column<'a>,
}

impl<'a> List<'a> {
    /// A list whose rows are called by the first of its columns.
    pub fn new(field: &'a str, columns: Vec<Column<'a>>) -> Self {
        let path = columns.first().map(|first| first.path.clone()).unwrap_or_default();
        Self { field, columns, name: column("name").within(path) }
    }

    /// Called by something else.
    pub fn named(self, name: Column<'a>) -> Self {
        Self { name, ..self }
    }

    /// Orders and cuts the rows of the answer.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn arrange(&self, answer: &mut Value, view: &View) -> Result<(), Failure> {
        let Some(rows) = answer.get_mut(self.field).and_then(Value::as_array_mut) else { return Ok(()) };
        if let Some(sort) = &view.sort {
            let (name, is_reversed) = sort.strip_prefix('-').map_or((sort.as_str(), false), |name| (name, true));
            let by = self.find(name, rows, "--sort")?;
            // `-value` is the worst first: what is missing is last either way.
            rows.sort_by(|a, b| compare(&key(&by, a), &key(&by, b), by.is_descending != is_reversed));
        }
        rows.truncate(view.top.unwrap_or(usize::MAX));
        Ok(())
    }

    /// The columns that are to be shown.
    ///
    /// # Errors
    /// When one of those asked for is not there.
    pub fn chosen(self, answer: &Value, view: &View, with_wide: bool) -> Result<Vec<Column<'a>>, Failure> {
        if view.columns.is_empty() {
            return Ok(self.columns.into_iter().filter(|column| with_wide || !column.is_wide).collect());
        }
        let none = Vec::new();
        let rows = answer.get(self.field).and_then(Value::as_array).unwrap_or(&none);
        let found: Result<Vec<_>, _> = view.columns.iter().map(|name| self.place(name, rows, "--columns")).collect();
        let mut columns: Vec<Option<Column<'a>>> = self.columns.into_iter().map(Some).collect();
        let taken = found?.into_iter().map(|place| match place {
            Place::Known(place) => columns[place].take().unwrap_or_else(|| column("")),
            Place::Path(path) => column(&path).at(&path),
        });
        Ok(taken.collect())
    }

    fn find(&self, name: &str, rows: &[Value], option: &str) -> Result<Column<'_>, Failure> {
        Ok(match self.place(name, rows, option)? {
            Place::Path(path) => column(&path).at(&path),
            Place::Known(place) => {
                let known = &self.columns[place];
                let kind = match &known.kind {
                    Kind::Words(make) => Kind::Words(Box::new(move |row: &Value| make(row))),
                    _ => Kind::Plain,
                };
                Column { name: known.name.clone(), path: known.path.clone(), kind, ..*known }
            }
        })
    }

    fn place(&self, name: &str, rows: &[Value], option: &str) -> Result<Place, Failure> {
        if let Some(place) = self.columns.iter().position(|column| column.name == name) {
            return Ok(Place::Known(place));
        }
        let by_path = column(name).at(name);
        if rows.is_empty() || rows.iter().any(|row| by_path.path.iter().try_fold(row, |v, n| v.get(n)).is_some()) {
            return Ok(Place::Path(name.to_owned()));
        }
        let known: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let known = known.join(", ");
        Err(Failure::Usage(format!("{option} {name}: no such column; there are {known}, and the paths of -o json")))
    }
}

enum Place {
    Known(usize),
    Path(String),
}

/// What a row is sorted by: nothing, a number or a text.
fn key(by: &Column<'_>, row: &Value) -> Value {
    let value = by.value(row).filter(|value| !value.is_object() && !value.is_array());
    let text = || Some(by.exact(row)).filter(|text| !text.is_empty()).map(Value::from);
    value.cloned().filter(|value| !cells::is_empty(value)).or_else(text).unwrap_or_default()
}

fn compare(a: &Value, b: &Value, is_descending: bool) -> Ordering {
    let turned = |order: Ordering| if is_descending { order.reverse() } else { order };
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::Number(a), Value::Number(b)) => {
            turned(a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()))
        }
        // Numbers before texts, whatever the direction.
        (Value::Number(_), _) => Ordering::Less,
        (_, Value::Number(_)) => Ordering::Greater,
        (a, b) => turned(cells::exact(a).cmp(&cells::exact(b))),
    }
}

/// The names of the columns.
pub fn names(columns: &[Column<'_>]) -> Vec<String> {
    columns.iter().map(|column| column.name.clone()).collect()
}

/// A row with these columns alone, for `-o json`.
pub fn reduced(columns: &[Column<'_>], row: &Value) -> Value {
    let pair = |column: &Column<'_>| {
        let value = match &column.kind {
            Kind::Words(make) if column.value(row).is_none() => Value::from(make(row)),
            _ => column.value(row).cloned().unwrap_or_default(),
        };
        (column.name.clone(), value)
    };
    Value::Object(columns.iter().map(pair).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list() -> List<'static> {
        let verdict = |row: &Value| if row["value"].is_null() { "no value".to_owned() } else { String::new() };
        let columns = vec![
            column("index"),
            column("value").descending(true),
            column("verdict").words(verdict).within(Vec::new()),
            column("run_id").wide(),
        ];
        List::new("trials", columns)
    }

    fn sorted(sort: &str, top: Option<usize>) -> Vec<i64> {
        let mut answer = json!({"trials": [
            {"index": 10, "value": 0.5, "parameters": {"lr": 2}}, {"index": 9, "value": null},
            {"index": 2, "value": 0.75, "parameters": {"lr": "auto"}},
            {"index": 1, "value": -1, "parameters": {"lr": 10}},
        ]});
        let view = View { sort: Some(sort.to_owned()), top, columns: Vec::new() };
        list().arrange(&mut answer, &view).unwrap_or_else(|failure| panic!("{failure:?}"));
        answer["trials"].as_array().unwrap().iter().map(|row| row["index"].as_i64().unwrap()).collect()
    }

    #[test]
    fn the_best_come_first_and_what_has_no_value_last() {
        // `--sort value --top 10` is asked for to see the ten best.
        assert_eq!(sorted("value", Some(2)), [2, 10]);
        assert_eq!(sorted("value", None), [2, 10, 1, 9]);
        assert_eq!(sorted("-value", None), [1, 10, 2, 9]);
        assert_eq!(sorted("index", None), [1, 2, 9, 10]);
        assert_eq!(sorted("parameters.lr", None), [10, 1, 2, 9]);
        assert_eq!(sorted("verdict", None)[0], 9);
    }

    #[test]
    fn columns_are_those_asked_for_and_an_unknown_one_is_refused() {
        let answer = json!({"trials": [{"index": 1, "value": 0.5, "parameters": {"lr": 0.1}}]});
        let view = |columns: &[&str]| View {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            ..View::default()
        };
        let chosen = list().chosen(&answer, &view(&["parameters.lr", "run_id"]), false);
        let chosen = chosen.unwrap_or_else(|failure| panic!("{failure:?}"));
        assert_eq!(names(&chosen), ["parameters.lr", "run_id"]);
        assert_eq!(chosen[0].exact(&answer["trials"][0]), "0.1");
        let usual = list().chosen(&answer, &View::default(), false).unwrap_or_else(|failure| panic!("{failure:?}"));
        assert_eq!(names(&usual), ["index", "value", "verdict"]);
        let Err(Failure::Usage(refused)) = list().chosen(&answer, &view(&["vlaue"]), false) else { panic!("taken") };
        assert!(refused.contains("--columns vlaue") && refused.contains("index, value, verdict, run_id"), "{refused}");
    }
}
