//! Trials from a CSV file (RFC 4180).

use documents::{Node, Tree};

use super::tree::{map, node, number, text};

/// Sections of the sweep document that the table takes over.
const TAKEN: [&str; 8] =
    ["name", "experiment", "description", "tags", "objective", "objectives", "constraints", "search_space"];

/// The table to send, or what is wrong with the file. Empty cells are absent.
pub fn table(file: &str, document: &Node) -> Result<Node, String> {
    let mut rows = rows(file)?.into_iter();
    let head = rows.next().ok_or("the file is empty")?;
    let space = document.get("search_space").ok_or("the document of --space has no search_space")?;
    let metrics = metrics(document);
    let is_metric = |column: &String| metrics.contains(&column.as_str()) && space.get(column).is_none();
    for (at, column) in head.iter().enumerate() {
        if head[..at].contains(column) {
            return Err(format!("column {column:?} is there twice"));
        }
        if space.get(column).is_none() && !is_metric(column) && column != "value" && column != "state" {
            return Err(format!(
                "column {column:?} is no parameter of the space, no watched metric, nor value or state; remove it"
            ));
        }
    }
    if !head.iter().any(|column| column == "value" || is_metric(column)) {
        let named = metrics.join(", ");
        return Err(format!("there is no column value, nor one of a metric: {named}"));
    }
    let mut trials = Vec::new();
    for (at, row) in rows.enumerate() {
        if row.len() != head.len() {
            return Err(format!("row {at} has {} cells and the header {}", row.len(), head.len()));
        }
        trials.push(trial(&head, &row, space));
    }
    let Tree::Map(sections) = &document.value else { return Err("the document of --space is not a map".to_owned()) };
    let mut taken: Vec<(String, Node)> =
        sections.iter().filter(|(key, _)| TAKEN.contains(&key.as_str())).cloned().collect();
    taken.push(("trials".to_owned(), node(Tree::List(trials))));
    Ok(node(Tree::Map(taken)))
}

/// The metrics that the document watches.
fn metrics(document: &Node) -> Vec<&str> {
    let list = |name: &str| match document.get(name).map(|node| &node.value) {
        Some(Tree::List(items)) => items.iter().collect(),
        _ => Vec::new(),
    };
    let objectives = document.get("objective").into_iter().chain(list("objectives"));
    let named = objectives.filter_map(|objective| objective.get("primary_metric"));
    let named = named.chain(list("constraints").into_iter().filter_map(|constraint| constraint.get("metric")));
    named.filter_map(|name| if let Tree::Text(name) = &name.value { Some(name.as_str()) } else { None }).collect()
}

fn trial(head: &[String], row: &[String], space: &Node) -> Node {
    let (mut parameters, mut value, mut values, mut state) = (Vec::new(), None, Vec::new(), None);
    for (column, cell) in head.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
        match (column.as_str(), space.get(column)) {
            (_, Some(parameter)) => parameters.push((column.clone(), parameter_value(parameter, cell))),
            ("value", None) => value = Some(scalar(cell)),
            ("state", None) => state = Some(cell.clone()),
            (metric, None) => values.push((metric.to_owned(), scalar(cell))),
        }
    }
    // Without a state, a value says that the trial has completed.
    let has_value = value.is_some() || !values.is_empty();
    let state = state.unwrap_or_else(|| if has_value { "completed" } else { "failed" }.to_owned());
    let mut entries = vec![("parameters", node(Tree::Map(parameters))), ("state", text(state))];
    entries.extend(value.map(|value| ("value", value)));
    if !values.is_empty() {
        entries.push(("values", node(Tree::Map(values))));
    }
    map(entries)
}

/// A choice is one of its values, as they are written in the document; anything else is a number.
fn parameter_value(parameter: &Node, cell: &str) -> Node {
    let known = match parameter.get("values").map(|values| &values.value) {
        Some(Tree::List(values)) => values.iter().find(|value| match &value.value {
            Tree::Text(text) => text == cell,
            Tree::Bool(flag) => cell.eq_ignore_ascii_case(if *flag { "true" } else { "false" }),
            Tree::Number(number) => {
                number == cell || number.parse::<f64>().is_ok_and(|number| cell.parse() == Ok(number))
            }
            _ => false,
        }),
        _ => None,
    };
    known.map_or_else(|| scalar(cell), |known| node(known.value.clone()))
}

/// A number where it is one; the server says what is wrong with a text.
fn scalar(cell: &str) -> Node {
    match cell.trim().parse::<f64>() {
        Ok(value) => number(value),
        Err(_) => text(cell),
    }
}

/// A line behind the last one. It is read as one only when no quotation is open, which the reader does not tell.
const END: &str = "END";

/// Records of cells, without empty lines and without a byte order mark.
fn rows(file: &str) -> Result<Vec<Vec<String>>, String> {
    let file = format!("{}\n{END}", file.strip_prefix('\u{FEFF}').unwrap_or(file));
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file.as_bytes());
    let rows = reader.deserialize().collect::<Result<Vec<Vec<String>>, csv::Error>>();
    let mut rows = rows.map_err(|error| error.to_string())?;
    match rows.pop() {
        Some(last) if last == [END] => Ok(rows),
        _ => Err("a quoted cell does not end".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use documents::Format;

    use super::*;

    const SPACE: &str = "{name: old, cluster: spot, objective: {goal: minimize, primary_metric: loss}, search_space: {
        lr: {type: uniform, min_value: 0, max_value: 1}, kind: {type: choice, values: [a, 'b, c']},
        on: {type: choice, values: [true, false]}}}";

    fn read(csv: &str) -> Result<serde_json::Value, String> {
        table(csv, &documents::read(SPACE.as_bytes(), Format::Yaml).unwrap()).map(|table| table.to_json())
    }

    #[test]
    fn cells_become_values_of_their_parameters() {
        let found =
            read("lr,kind,on,value,state\r\n0.5,\"b, c\",True,1e-3,\n,a,,,failed\n0.25,,false,NaN,pruned").unwrap();
        let expected = serde_json::json!([
            {"parameters": {"lr": 0.5, "kind": "b, c", "on": true}, "state": "completed", "value": 0.001},
            {"parameters": {"kind": "a"}, "state": "failed"},
            {"parameters": {"lr": 0.25, "on": false}, "state": "pruned", "value": "NaN"},
        ]);
        assert_eq!(found["trials"], expected);
        assert_eq!((&found["name"], found.get("cluster")), (&serde_json::json!("old"), None));
        let named = read("lr,loss\n0.5,1\n0.25,\n").unwrap();
        let expected = serde_json::json!([
            {"parameters": {"lr": 0.5}, "state": "completed", "values": {"loss": 1.0}},
            {"parameters": {"lr": 0.25}, "state": "failed"},
        ]);
        assert_eq!(named["trials"], expected, "a column may have the metric's name");
        let quoted = read("\u{FEFF}kind,value\n\"b, c\n\",1\n\n5\" disk,2").unwrap();
        assert_eq!(quoted["trials"][0]["parameters"]["kind"], "b, c\n", "a quoted line end belongs to the cell");
        assert_eq!(quoted["trials"][1]["parameters"]["kind"], "5\" disk", "a quote inside a cell is one");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for (csv, wrong) in [
            ("", "the file is empty"),
            ("lr\n1", "there is no column value, nor one of a metric: loss"),
            ("lr,lr,value\n", "column \"lr\" is there twice"),
            (
                "depth,value\n",
                "column \"depth\" is no parameter of the space, no watched metric, nor value or state; remove it",
            ),
            ("lr,value\n1,2,3\n", "row 0 has 3 cells and the header 2"),
            ("lr,value\n\"1,2\n", "a quoted cell does not end"),
        ] {
            assert_eq!(read(csv).unwrap_err(), wrong);
        }
    }
}
