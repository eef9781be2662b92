//! Bodies that are made to break readers, and the check that none does: for tests and load tests.
//!
//! A good document is changed at each of its places in each way that is known to hurt: very many unknown fields, items,
//! entries, copies or duplicates, names and texts of great length. What a reader does about a body twice as long may be
//! twice as much, and hardly more.

use serde_json::{Map, Value, json};

use crate::work;

/// How much more work a body twice as long may be.
const GROWTH_MAX: f64 = 2.2;
/// Entries of the smaller bodies: more than an answer tells errors of, so that both are beyond that.
const ENTRIES: usize = 250;
/// Bytes of a long name or text for each entry.
const BYTES_AN_ENTRY: usize = 8;
/// Stands for a map with equal keys, which no [`Value`] can hold.
const DUPLICATES: &str = "\u{1}duplicates";

/// One body.
#[derive(Clone, Debug)]
pub struct Body {
    /// The change and its place: `items at /trial/command`.
    pub name: String,
    /// JSON.
    pub text: String,
}

/// Bodies of about `entries` entries, made of a good document; the same names in the same order for every number.
pub fn bodies(good: &Value, entries: usize) -> Vec<Body> {
    let mut places = Vec::new();
    collect(good, String::new(), &mut places);
    let mut bodies = Vec::new();
    for place in &places {
        let Some(here) = good.pointer(place) else { continue };
        for (change, value) in changes(here, entries) {
            let mut document = good.clone();
            if let Some(target) = document.pointer_mut(place) {
                *target = value;
            }
            let text = document.to_string();
            let text = match text.contains("\\u0001duplicates") {
                true => text.replace(&Value::from(DUPLICATES).to_string(), &duplicates(entries)),
                false => text,
            };
            bodies.push(Body { name: format!("{change} at {place:?}"), text });
        }
    }
    bodies
}

fn collect(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| {
            collect(value, crate::pointer::child(&place, key), places);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| {
            collect(value, crate::pointer::item(&place, index), places);
        }),
        _ => {}
    }
    places.push(place);
}

fn duplicates(entries: usize) -> String {
    format!("{{{}}}", vec!["\"a\":{}"; entries].join(","))
}

/// What may stand at a place instead of `here`.
fn changes(here: &Value, entries: usize) -> Vec<(&'static str, Value)> {
    let list = |item: Value| Value::Array(vec![item; entries]);
    let map = |item: &dyn Fn(usize) -> Value| {
        Value::Object((0..entries).map(|number| (format!("k{number}"), item(number))).collect::<Map<_, _>>())
    };
    let with = |more: Map<String, Value>| match here {
        Value::Object(known) => Value::Object(known.clone().into_iter().chain(more).collect()),
        _ => Value::Object(more),
    };
    let unknown = (0..entries).map(|number| (format!("unknown_{number}"), json!(0))).collect();
    let long = "n".repeat(entries * BYTES_AN_ENTRY);
    let below = Map::from_iter([(long.clone(), json!({"type": "choice", "values": list(json!([]))}))]);
    vec![
        ("unknown fields", with(unknown)),
        ("a long name", with(below)),
        ("empty lists", list(json!([]))),
        ("maps", list(json!({"a": 0}))),
        ("numbers", list(json!(1e300))),
        ("texts", list(json!("x"))),
        ("copies", list(here.clone())),
        ("named copies", map(&|_| here.clone())),
        ("named numbers", map(&|number| json!(number))),
        ("named references", map(&|number| json!(format!("${{{{search_space.k_{number}}}}}")))),
        ("equal names", json!(DUPLICATES)),
        ("a long text", json!(long)),
        ("open references", json!("${{".repeat(entries))),
        ("references", json!("${{search_space.zz}}".repeat(entries))),
    ]
}

/// Reads each body in two lengths, and names those whose work grows faster than their length.
pub fn growing(good: &Value, read: impl Fn(&[u8])) -> Vec<String> {
    let pairs = bodies(good, ENTRIES).into_iter().zip(bodies(good, 2 * ENTRIES));
    let faults = pairs.filter_map(|(short, long)| {
        let (less, ()) = work::of(|| read(short.text.as_bytes()));
        let (more, ()) = work::of(|| read(long.text.as_bytes()));
        (more as f64 > GROWTH_MAX * less as f64).then(|| format!("{}: {less} steps, then {more}", short.name))
    });
    faults.collect()
}

/// A reader that looks each field up among all: what [`growing`] must see.
pub fn quadratic(text: &[u8]) {
    fn walk(node: &crate::Node) {
        match &node.value {
            crate::Tree::Map(entries) => entries.iter().for_each(|(key, _)| {
                node.get(key).into_iter().for_each(walk);
            }),
            crate::Tree::List(items) => items.iter().for_each(walk),
            _ => {}
        }
    }
    if let Ok(document) = crate::read(text, crate::Format::Json) {
        walk(&document);
    }
}

/// Panics when a reader's work grows faster than its bodies, and when that would not be seen.
///
/// # Panics
/// See above.
#[track_caller]
pub fn assert_linear(good: &Value, read: impl Fn(&[u8])) {
    let faults = growing(good, &read);
    assert!(faults.is_empty(), "{} bodies:\n{}", faults.len(), faults.join("\n"));
    let planted = growing(good, |text| {
        read(text);
        quadratic(text);
    });
    assert!(!planted.is_empty(), "a quadratic reader would not be noticed with this document");
}
