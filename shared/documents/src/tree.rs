//! The tree of a document: values in written order with their places.

use std::collections::HashMap;

use vocabulary::FieldError;

use crate::findings::Errors;
use crate::{Place, scalar, work};

/// A value and where it begins, both counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The value.
    pub value: Tree,
    /// Line of the first character.
    pub line: u32,
    /// Column of the first character, in characters.
    pub column: u32,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// `null`, or nothing at all in YAML.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it was written (YAML's hexadecimal and octal integers as decimal ones).
    Number(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map in written order.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value of `key` when this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Tree::Map(entries) => {
                work::add(entries.len());
                entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
            }
            _ => None,
        }
    }

    /// Takes out what is at an RFC 6901 pointer. Where that is an item of a list, the whole list goes: the places of
    /// the other items stay what they were.
    pub fn remove(&mut self, pointer: &str) {
        let parts: Vec<String> = pointer.split('/').skip(1).map(crate::pointer::unescaped).collect();
        self.remove_at(&parts);
    }

    /// Whether it is out; what is no entry of a map is its holder's to take out.
    fn remove_at(&mut self, parts: &[String]) -> bool {
        let Some((part, rest)) = parts.split_first() else { return false };
        match &mut self.value {
            Tree::Map(entries) => {
                let Some(place) = entries.iter().position(|(key, _)| key == part) else { return true };
                if rest.is_empty() || !entries[place].1.remove_at(rest) {
                    entries.remove(place);
                }
                true
            }
            Tree::List(items) => match part.parse().ok().and_then(|index: usize| items.get_mut(index)) {
                Some(item) => item.remove_at(rest),
                None => true,
            },
            _ => true,
        }
    }

    /// The document as serde sees it. Integers that fit 64 bits stay exact, other numbers become doubles; what no JSON
    /// number can hold becomes the text "NaN", "Infinity" or "-Infinity".
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.value {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Number(text) => scalar::to_json(text),
            Tree::Text(text) => Value::String(text.clone()),
            Tree::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Tree::Map(entries) => Value::Object(entries.iter().map(|(k, v)| (k.clone(), v.to_json())).collect()),
        }
    }
}

/// Notes every key that repeats an earlier one of the same map.
pub(crate) fn collect_duplicates(node: &Node, at: &Place<'_>, errors: &Errors) {
    let holds_more = |node: &Node| matches!(node.value, Tree::List(_) | Tree::Map(_));
    match &node.value {
        Tree::List(items) => {
            for (index, item) in items.iter().enumerate().filter(|(_, item)| holds_more(item)) {
                collect_duplicates(item, &at.item(index), errors);
            }
        }
        Tree::Map(entries) => {
            let mut first = HashMap::with_capacity(entries.len());
            for (key, value) in entries {
                work::add(1);
                if let Some(line) = first.insert(key, value.line) {
                    errors.add(|| {
                        let place = at.key(key);
                        let (name, again) = (place.path(), value.line);
                        let message = format!("{name}: written twice, at line {line} and line {again}; keep one");
                        FieldError::new(place.pointer(), "DuplicateKey", message)
                    });
                }
                if holds_more(value) {
                    collect_duplicates(value, &at.key(key), errors);
                }
            }
        }
        _ => {}
    }
}
