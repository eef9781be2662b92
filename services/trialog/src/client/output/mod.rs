//! Prints the answers of all commands: one place knows the formats.

mod cells;
mod named;
mod rows;
mod width;
mod yaml;

use runtime::MachineClock;
use serde_json::Value;
use vocabulary::Clock;

pub use cells::{bytes, field, is_empty, on_one_line, rounded, text};
pub use rows::{Column, List, View, column};

pub use super::format::Format;
use super::stdout::shown;
pub use super::stdout::{bytes_as_they_are, line, line_as_it_is, lines};
use super::{Client, Failure, stderr};

/// Writes a whole document.
pub fn document(format: Format, value: &Value) {
    match format {
        Format::Yaml => bytes_as_they_are(yaml::document(value).as_bytes()),
        _ => line_as_it_is(&value.to_string()),
    }
}

/// Refuses formats of rows for what is only a text. Asked before anything is done: an answer can be printed in any way,
/// and whoever is refused after the deed does not know that it was done.
///
/// # Errors
/// For -o csv and -o name.
pub fn only_text(client: &Client) -> Result<(), Failure> {
    if matches!(client.format(), Format::Csv | Format::Name) {
        return Err(Failure::Usage(
            "this command prints a text: it has -o table, json and yaml; nothing was done".into(),
        ));
    }
    Ok(())
}

/// Prints an answer that people read as a text; as any other thing where a format is asked for.
pub fn describe(client: &Client, answer: &Value, make: impl FnOnce() -> Vec<String>) {
    match client.format() {
        Format::Table | Format::Wide => lines(&make()),
        _ => thing(client, answer),
    }
}

/// Prints one thing: its fields one a line, or as the format has it.
pub fn thing(client: &Client, value: &Value) {
    thing_called(client, value, &named::of(value));
}

/// The same of what its answer does not name.
pub fn thing_called(client: &Client, value: &Value, name: &str) {
    match client.format() {
        format @ (Format::Json | Format::Yaml) => document(format, value),
        Format::Name => line(name),
        Format::Csv => {
            let fields = cells::flat(value);
            let header: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
            csv(&[header, fields.iter().map(|(_, value)| cells::exact(value)).collect()]);
        }
        Format::Table | Format::Wide => lines(&fields_of(value)),
    }
}

/// The fields of a thing, one a line, with those of its inner maps.
pub fn fields_of(value: &Value) -> Vec<String> {
    if !value.is_object() {
        return vec![text(value)];
    }
    let fields = cells::flat(value).into_iter().filter(|(_, value)| !is_empty(value));
    let shown = fields.map(|(name, value)| {
        let time = value.as_str().filter(|_| name.ends_with("_at"));
        let cell = time.map_or_else(|| text(value), moment);
        (name, cell)
    });
    pairs(&shown.collect::<Vec<_>>())
}

/// A time with how long ago it was.
pub fn moment(time: &str) -> String {
    if time.is_empty() { String::new() } else { format!("{time} ({} ago)", cells::age(time, MachineClock.now())) }
}

/// Prints a document that can be sent again: as YAML, or as JSON where that is wanted.
pub fn specification(client: &Client, value: &Value) {
    describe(client, value, || yaml::document(value).lines().map(str::to_owned).collect())
}

/// Names and what they are, in two columns.
pub fn pairs(pairs: &[(String, String)]) -> Vec<String> {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    // What has several lines goes on below its first.
    let below = format!("\n{:width$}  ", "");
    let line = |(name, cell): &(String, String)| format!("{name:width$}  {}", cell.trim_end().replace('\n', &below));
    pairs.iter().map(|pair| line(pair).trim_end().to_owned()).collect()
}

/// Prints a list: its rows in the order, and with the columns, that were asked for.
///
/// # Errors
/// When a column that was asked for is not there.
pub fn list(client: &Client, answer: &Value, list: List<'_>, view: &View) -> Result<(), Failure> {
    list_as(client.format(), answer, list, view)
}

/// The same without a server to ask.
///
/// # Errors
/// See [`list`].
pub fn list_as(format: Format, answer: &Value, list: List<'_>, view: &View) -> Result<(), Failure> {
    let (mut answer, field) = (answer.clone(), list.field.to_owned());
    list.arrange(&mut answer, view)?;
    if format == Format::Name {
        let rows = answer.get(&field).and_then(Value::as_array).into_iter().flatten();
        lines(&rows.map(|row| list.name.exact(row)).collect::<Vec<_>>());
        return Ok(());
    }
    if format.is_document() && view.columns.is_empty() {
        document(format, &answer);
        return Ok(());
    }
    let columns = list.chosen(&answer, view, matches!(format, Format::Wide | Format::Csv))?;
    let none = Vec::new();
    let rows = answer.get(&field).and_then(Value::as_array).unwrap_or(&none);
    if format.is_document() {
        let rows: Vec<Value> = rows.iter().map(|row| rows::reduced(&columns, row)).collect();
        document(format, &serde_json::json!({ field: rows }));
        return Ok(());
    }
    let mut table = vec![rows::names(&columns)];
    if format == Format::Csv {
        table.extend(rows.iter().map(|row| columns.iter().map(|column| column.exact(row)).collect()));
        csv(&table);
        return Ok(());
    }
    let now = MachineClock.now();
    table[0].iter_mut().for_each(|name| *name = name.to_uppercase());
    table.extend(
        rows.iter().map(|row| columns.iter().map(|column| cells::on_one_line(&column.cell(row, now))).collect()),
    );
    if format == Format::Table {
        narrow(&mut table, columns.iter().map(Column::is_cut).collect(), view);
    }
    lines(&aligned(&table));
    Ok(())
}

/// Lets a table fit the terminal. Columns that were asked for stay.
fn narrow(table: &mut [Vec<String>], mut cut: Vec<bool>, view: &View) {
    let terminal = width::of_terminal();
    if view.columns.is_empty() {
        let left_out = width::left_out(table, &cut, terminal);
        let keep = |place: usize| !left_out.contains(&place);
        let mut places = 0..;
        cut.retain(|_| places.next().is_some_and(keep));
        for row in &mut *table {
            let mut places = 0..;
            row.retain(|_| places.next().is_some_and(keep));
        }
        if !left_out.is_empty() {
            stderr::line("columns that do not fit are left out: -o wide has all");
        }
    }
    width::fit(table, &cut, terminal);
}

/// Rows with their cells below each other.
pub fn aligned(table: &[Vec<String>]) -> Vec<String> {
    let count = table.first().map_or(0, Vec::len);
    let width = |place: usize| table.iter().map(|row| row[place].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..count).map(width).collect();
    let row = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    table.iter().map(row).collect()
}

fn csv(table: &[Vec<String>]) {
    bytes_as_they_are(csv_text(table).as_bytes());
}

fn csv_text(table: &[Vec<String>]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Into memory: it cannot fail, and a row is as long as the header.
    for row in table {
        let _ = writer.write_record(row.iter().map(|cell| shown(cell).into_owned()));
    }
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Prints what was submitted: its id and name, and the warnings beside it.
pub fn submitted(client: &Client, answer: &Value) {
    if !matches!(client.format(), Format::Table | Format::Wide) {
        thing(client, answer);
        return;
    }
    warnings(answer);
    line(&format!("{}  {}", field(answer, "id"), field(answer, "name")));
}

/// Tells the warnings of an answer.
pub fn warnings(answer: &Value) {
    for warning in entries(answer, "warnings") {
        stderr::warning(&field(warning, "message"), &field(warning, "code"));
    }
}

/// The entries of a list; none when there is no such list.
pub fn entries<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::{aligned, csv_text};

    #[test]
    fn a_cell_of_csv_steers_no_terminal() {
        let table = [["reason".to_owned()].to_vec(), ["\u{1b}[31mred\r, \"two\"\nlines".to_owned()].to_vec()];
        assert_eq!(csv_text(&table), "reason\n\"\\u{1b}[31mred\\u{d}, \"\"two\"\"\nlines\"\n");
    }

    #[test]
    fn cells_stand_below_each_other() {
        let table = [["NAME", "STATE"], ["a longer one", "Running"], ["é", ""]];
        let table: Vec<Vec<String>> = table.iter().map(|row| row.iter().map(|c| (*c).to_owned()).collect()).collect();
        assert_eq!(aligned(&table), ["NAME          STATE", "a longer one  Running", "é"]);
    }
}
