//! The document that is sent, made of values that stand in no file.

use documents::{Node, Tree};

/// A value of no place.
pub(super) fn node(value: Tree) -> Node {
    Node { value, line: 0, column: 0 }
}

/// A text.
pub(super) fn text(value: impl Into<String>) -> Node {
    node(Tree::Text(value.into()))
}

/// A number; a text when it is not finite.
pub(super) fn number(value: f64) -> Node {
    let spelled = match value {
        value if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    };
    // The shortest decimal text that reads back to the same double.
    spelled.map_or_else(|| node(Tree::Number(format!("{value:?}"))), text)
}

/// A whole number, written without a fraction.
pub(super) fn integer(value: f64) -> Node {
    node(Tree::Number(format!("{value:.0}")))
}

/// A map in this order.
pub(super) fn map(entries: Vec<(&str, Node)>) -> Node {
    node(Tree::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()))
}
