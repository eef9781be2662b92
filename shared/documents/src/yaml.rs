//! YAML 1.2 (core schema) from saphyr's events. What would make a document say more than it shows is refused: anchors
//! and aliases (they can blow a small text up), tags (they change types), and several documents in one text.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};

use crate::bounds::Bounds;
use crate::{Fault, MAX_NESTING, Node, Tree, scalar};

/// Reads one document within its bounds.
pub(crate) fn parse(text: &str, bounds: Bounds<'_>) -> Result<Node, Fault> {
    let mut reader = Reader { events: Parser::new_from_str(text), bounds };
    document(&mut reader).map_err(|message| reader.bounds.fault(message))
}

fn document(reader: &mut Reader<'_, '_>) -> Result<Node, String> {
    let mut document = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            Event::DocumentStart(_) if document.is_some() => {
                return Err(format!("expected one document, found a second at {}", place(span.start)));
            }
            Event::DocumentStart(_) => {
                let (event, span) = reader.next()?;
                document = Some(reader.node(event, span, 0)?);
            }
            Event::StreamEnd => break,
            _ => return Err(format!("expected the end of the document at {}", place(span.start))),
        }
    }
    match document {
        Some(Node { value: Tree::Null, .. }) | None => Err("the body is empty: expected a YAML document".to_owned()),
        Some(document) => Ok(document),
    }
}

/// Places beyond what 32 bits hold are in no text that we take.
fn small(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn place(marker: Marker) -> String {
    format!("line {} column {}", marker.line(), marker.col() + 1)
}

struct Reader<'a, 'r> {
    events: Parser<'a, StrInput<'a>>,
    bounds: Bounds<'r>,
}

impl<'a> Reader<'a, '_> {
    fn next(&mut self) -> Result<(Event<'a>, Span), String> {
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(format!("{} at {}", error.info(), place(*error.marker()))),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, String> {
        refuse_hidden(&event, span)?;
        self.bounds.count()?;
        let (line, column) = (small(span.start.line()), small(span.start.col() + 1));
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => plain(&text),
            Event::Scalar(text, ..) => Tree::Text(text.into_owned()),
            Event::SequenceStart(..) | Event::MappingStart(..) if depth == MAX_NESTING => {
                return Err(format!("nested deeper than {MAX_NESTING} levels at {}", place(span.start)));
            }
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            _ => return Err(format!("expected a value at {}", place(span.start))),
        };
        Ok(Node { value, line, column })
    }

    fn list(&mut self, depth: usize) -> Result<Tree, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Tree::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    /// A list whose items are handed on; an empty one is left.
    fn rows(&mut self, start: Event<'a>, span: Span, depth: usize) -> Result<Node, String> {
        refuse_hidden(&start, span)?;
        self.bounds.count()?;
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => break,
                (event, span) => {
                    let held = self.bounds.held();
                    let row = self.node(event, span, depth + 1)?;
                    self.bounds.take(row, held);
                }
            }
        }
        let (line, column) = (small(span.start.line()), small(span.start.col() + 1));
        Ok(Node { value: Tree::List(Vec::new()), line, column })
    }

    fn map(&mut self, depth: usize) -> Result<Tree, String> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            refuse_hidden(&event, span)?;
            let key = match event {
                Event::MappingEnd => return Ok(Tree::Map(entries)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(format!("expected a text as key at {}", place(span.start))),
            };
            let (event, span) = self.next()?;
            let is_table = matches!(event, Event::SequenceStart(..)) && self.bounds.are_rows(&key, depth);
            let value = if is_table { self.rows(event, span, depth + 1)? } else { self.node(event, span, depth + 1)? };
            entries.push((key, value));
        }
    }
}

fn refuse_hidden(event: &Event<'_>, span: Span) -> Result<(), String> {
    let (anchor, tag) = match event {
        Event::Alias(_) => {
            return Err(format!("an alias at {}: aliases are not read here, write the value out", place(span.start)));
        }
        Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
            (*anchor, tag)
        }
        _ => return Ok(()),
    };
    if anchor != 0 {
        return Err(format!("an anchor at {}: anchors are not read here, write the value out", place(span.start)));
    }
    match tag {
        Some(tag) => Err(format!("the tag {tag} at {}: tags are not read here", place(span.start))),
        None => Ok(()),
    }
}

/// The core schema (YAML 1.2.2, section 10.3.2): `no` and `on` are texts here.
fn plain(text: &str) -> Tree {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Tree::Null,
        "true" | "True" | "TRUE" => Tree::Bool(true),
        "false" | "False" | "FALSE" => Tree::Bool(false),
        other => match scalar::yaml_number(other) {
            Some(number) => Tree::Number(number),
            None => Tree::Text(other.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::Rows;

    fn parse(text: &str) -> Result<Node, String> {
        super::parse(text, Bounds::of_document()).map_err(|fault| match fault {
            Fault::Malformed(message) => message,
            Fault::TooManyValues(_) => "too many values".to_owned(),
        })
    }

    #[test]
    fn values_are_counted_while_they_are_read() {
        let parse = |text: &str, most| {
            let rows = Rows { name: "rows", take: &mut |_, _| {} };
            super::parse(text, Bounds::of_table(most, rows))
        };
        assert!(parse("[1, 2, {a: 3}]", 5).is_ok());
        assert!(matches!(parse("[1, 2, {a: 3, ]", 4), Err(Fault::TooManyValues(4))));
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let node = parse("{a: no, b: 0x10, c: ~, d: '1', e: 1e999, f: True, g: }").unwrap();
        let expected = r#"{"a":"no","b":16,"c":null,"d":"1","e":"Infinity","f":true,"g":null}"#;
        assert_eq!(node.to_json(), serde_json::from_str::<serde_json::Value>(expected).unwrap());
        let lr = parse("a: 1\nb:\n  lr: 0.10\n").unwrap();
        let lr = lr.get("b").and_then(|b| b.get("lr")).unwrap();
        assert_eq!((&lr.value, lr.line, lr.column), (&Tree::Number("0.10".to_owned()), 3, 7));
    }

    #[test]
    fn what_hides_meaning_is_refused() {
        for (text, part) in [
            ("", "the body is empty"),
            ("# only a comment\n", "the body is empty"),
            ("a: &x 1", "an anchor at line 1 column"),
            ("a: &x [1]\nb: *x", "an anchor at line 1 column"),
            ("a: !!str 1", "tags are not read here"),
            ("a: 1\n---\nb: 2", "found a second at line 2 column 1"),
            ("[a]: 1", "expected a text as key at line 1 column 1"),
            ("a: [1", "line"),
            ("a: 1\n b: 2", "line 2"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
        assert!(parse(&"[".repeat(65)).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100)).unwrap_err().contains("nested deeper than 64"));
    }
}
