//! Documents that a reader must take or refuse if its table is true: for the test at each reader.

use serde_json::{Value, json};
use vocabulary::Problem;

use super::{Entry, Kinds, Presence, Section, Type};
use crate::pointer;

/// Stands before the digits of a number that no [`Value`] can hold.
const RAW: &str = "\u{1}number";
/// What no list of values has.
const NO_VALUE: &str = "no-such-value";
/// What may be wrong with a number within its bounds: something else.
const OF_OTHERS: [&str; 4] = ["NeverSchedulable", "NotOfferedYet", "ConcurrencyAboveTotal", "BadTimeout"];

/// A document and what a reader must say of it.
#[derive(Clone, Debug)]
pub struct Probe {
    /// What is tried.
    pub what: String,
    /// The document, as JSON.
    pub document: String,
    /// The place that is tried.
    pub pointer: String,
    /// What must come of it.
    pub outcome: Outcome,
}

/// What must come of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is read.
    Read,
    /// It is read as this other document is.
    Same(String),
    /// Nothing is wrong at the place.
    Good,
    /// Something is wrong at the place.
    Wrong,
}

impl Probe {
    /// Reads the document and compares; `read` gives what was read as a text.
    ///
    /// # Errors
    /// What is not as the table says.
    pub fn check(&self, read: &impl Fn(&str) -> Result<String, Problem>) -> Result<(), String> {
        let answer = read(&self.document);
        let at = |problem: &Problem| -> Vec<String> {
            let of_the_place = problem.errors.iter().filter(|error| {
                error.pointer.starts_with(&self.pointer) || self.pointer.starts_with(&format!("{}/", error.pointer))
            });
            of_the_place.map(|error| error.code.clone()).collect()
        };
        let good = match (&self.outcome, &answer) {
            (Outcome::Read, Ok(_)) => true,
            (Outcome::Same(other), Ok(text)) => read(other).as_ref() == Ok(text),
            (Outcome::Good, Ok(_)) => true,
            (Outcome::Good, Err(problem)) => at(problem).iter().all(|code| OF_OTHERS.contains(&code.as_str())),
            (Outcome::Wrong, Err(problem)) => !at(problem).is_empty(),
            _ => false,
        };
        if good { Ok(()) } else { Err(format!("{}: {} gave {answer:#?}", self.what, self.document)) }
    }
}

/// What the table `section` promises, tried on the sound document `base`. `more` is what a map of some kind needs
/// beside its required fields: kind, field, value.
pub fn probes(section: &Section, base: &Value, more: &[(&str, &str, &str)]) -> Vec<Probe> {
    probes_at("", section, base, more)
}

/// The same for a map inside of the document.
pub fn probes_at(at: &str, section: &Section, base: &Value, more: &[(&str, &str, &str)]) -> Vec<Probe> {
    let mut walk = Walk { probes: Vec::new(), more };
    walk.section(section, base, at.to_owned());
    walk.probes
}

struct Walk<'m> {
    probes: Vec<Probe>,
    more: &'m [(&'m str, &'m str, &'m str)],
}

impl Walk<'_> {
    fn section(&mut self, section: &Section, base: &Value, at: String) {
        let is_alone = |entry: &&Entry| entry.alone;
        for entry in section.fields.iter().filter(is_alone) {
            let place = pointer::child(&at, entry.name);
            let example: Value = serde_json::from_str(entry.example).expect("an example is JSON");
            self.add("its example", set(base, &place, Some(example)), &place, Outcome::Read);
            let without = set(base, &place, None);
            match entry.presence {
                Presence::Required => self.add("absent", without, &place, Outcome::Wrong),
                Presence::Default(value) => {
                    let value = serde_json::from_str(value).expect("a default is JSON");
                    let same = Outcome::Same(text(&without));
                    self.add("its default", set(base, &place, Some(value)), &place, same);
                }
                Presence::Optional | Presence::Otherwise(_) => {
                    self.add("absent", without, &place, Outcome::Read);
                }
            }
        }
        for entry in section.fields.iter().filter(is_alone) {
            let place = pointer::child(&at, entry.name);
            self.values(&entry.of, base, &place);
            self.below(entry, base, place);
        }
    }

    /// What is of the type, and what is not.
    fn values(&mut self, of: &Type, base: &Value, place: &str) {
        let wrong = |value: Value| set(base, place, Some(value));
        match of {
            Type::OneOf(values) => {
                for value in *values {
                    self.add(value, set(base, place, Some(json!(value))), place, Outcome::Good);
                }
                self.add("none of the values", wrong(json!(NO_VALUE)), place, Outcome::Wrong);
            }
            Type::Integer(range) => {
                let number = |number: i128| set(base, place, Some(json!(format!("{RAW}{number}"))));
                for (edge, beyond) in [(range.least, -1), (range.most, 1)] {
                    let Some(edge) = edge else { continue };
                    self.add("its bound", number(edge), place, Outcome::Good);
                    self.add("beyond its bound", number(edge + beyond), place, Outcome::Wrong);
                }
                self.add("a fraction", wrong(json!(1.5)), place, Outcome::Wrong);
            }
            Type::Number(range) => {
                for (edge, open, beyond) in [(range.least, range.open.0, -1.0), (range.most, range.open.1, 1.0)] {
                    let Some(edge) = edge else { continue };
                    let at_edge = if open { Outcome::Wrong } else { Outcome::Good };
                    self.add("its bound", wrong(json!(edge)), place, at_edge);
                    self.add("beyond its bound", wrong(json!(edge + beyond)), place, Outcome::Wrong);
                }
                self.add("a list", wrong(json!([])), place, Outcome::Wrong);
            }
            Type::Text => self.add("a list", wrong(json!([])), place, Outcome::Wrong),
            Type::Boolean => self.add("a text", wrong(json!("yes")), place, Outcome::Wrong),
            Type::List(_) | Type::Map(_) | Type::Named(..) => {
                self.add("a boolean", wrong(json!(true)), place, Outcome::Wrong);
            }
            Type::Kinds(kinds) => {
                self.add("no kind", wrong(json!({ kinds.tag: NO_VALUE })), place, Outcome::Wrong);
                for short in kinds.short {
                    self.add(short, set(base, place, Some(json!(short))), place, Outcome::Good);
                }
            }
            Type::Any(_) | Type::Scalar | Type::Free => {}
        }
    }

    fn below(&mut self, entry: &Entry, base: &Value, place: String) {
        let example: Value = serde_json::from_str(entry.example).expect("an example is JSON");
        let here = base.pointer(&place).cloned().unwrap_or(example);
        self.inside(&entry.of, base, &here, place);
    }

    fn inside(&mut self, of: &Type, base: &Value, here: &Value, place: String) {
        match of {
            Type::Map(section) if here.is_object() => {
                let base = set(base, &place, Some(here.clone()));
                let unknown = set(&base, &pointer::child(&place, NO_VALUE), Some(json!(1)));
                self.add("an unknown field", unknown, &place, Outcome::Wrong);
                self.section(section, &base, place);
            }
            Type::Kinds(kinds) => self.kinds(kinds, base, &place),
            Type::List(of) => {
                let Some(item) = here.get(0) else { return };
                let base = set(base, &place, Some(json!([item])));
                self.inside(of, &base, item, format!("{place}/0"));
            }
            Type::Named(_, of) => {
                let Some((name, value)) = here.as_object().and_then(|map| map.iter().next()) else { return };
                let base = set(base, &place, Some(here.clone()));
                self.inside(of, &base, value, pointer::child(&place, name));
            }
            Type::Any(types) => types.iter().for_each(|of| self.inside(of, base, here, place.clone())),
            _ => {}
        }
    }

    fn kinds(&mut self, kinds: &Kinds, base: &Value, place: &str) {
        for (name, section) in kinds.kinds {
            let mut map = json!({ kinds.tag: name });
            let required = section.fields.iter().filter(|entry| entry.presence == Presence::Required);
            let required = required.map(|entry| (entry.name, entry.example));
            let more = self.more.iter().filter(|(kind, ..)| kind == name).map(|(_, field, value)| (*field, *value));
            for (field, value) in required.chain(more) {
                map[field] = serde_json::from_str(value).expect("an example is JSON");
            }
            let base = set(base, place, Some(map));
            self.add(name, base.clone(), place, Outcome::Read);
            let unknown = set(&base, &pointer::child(place, NO_VALUE), Some(json!(1)));
            self.add("an unknown field", unknown, place, Outcome::Wrong);
            self.section(section, &base, place.to_owned());
        }
    }

    fn add(&mut self, what: &str, document: Value, place: &str, outcome: Outcome) {
        let (what, document) = (format!("{place}: {what}"), text(&document));
        self.probes.push(Probe { what, document, pointer: place.to_owned(), outcome });
    }
}

/// The document with a value at a place below an existing one, or without.
fn set(base: &Value, place: &str, value: Option<Value>) -> Value {
    let mut document = base.clone();
    let (parent, name) = place.rsplit_once('/').unwrap_or(("", place));
    let name = name.replace("~1", "/").replace("~0", "~");
    match (document.pointer_mut(parent), value) {
        (Some(Value::Object(map)), Some(value)) => drop(map.insert(name, value)),
        (Some(Value::Object(map)), None) => drop(map.remove(&name)),
        (Some(Value::Array(items)), Some(value)) => items[0] = value,
        (parent, value) => panic!("{place}: {parent:?} takes no {value:?}"),
    }
    document
}

fn text(document: &Value) -> String {
    let text = document.to_string();
    let mut parts = text.split("\"\\u0001number");
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_once('"').unwrap_or((part, ""));
        written.push_str(digits);
        written.push_str(rest);
    }
    written
}
