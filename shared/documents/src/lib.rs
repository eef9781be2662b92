//! One reader for every document that a user sends, in JSON or YAML.
//!
//! serde alone loses what good errors need: the text of a number (`1e999`), the place of a value, the second of two
//! equal keys, and every error after the first. So [`read`] makes a [`Node`] tree, and [`Field`]/[`Fields`] turn the
//! tree into a service's own types while [`Findings`] collects all that is wrong.
//!
//! ```
//! # use trialog_documents as documents;
//! use documents::{Field, Findings, Format};
//!
//! struct Queue { name: String, workers: u32, tags: Vec<String> }
//!
//! fn read_queue(text: &[u8]) -> Result<Queue, vocabulary::Problem> {
//!     let document = documents::read(text, Format::Yaml)?;
//!     let findings = Findings::new();
//!     let mut queue = None;
//!     if let Some(mut fields) = Field::root(&document, &findings).map() {
//!         let name = fields.required("name").text();
//!         let workers = fields.field("workers").integer_in(1..=100).or(Some(4));
//!         let tags = fields.field("tags").list().unwrap_or_default();
//!         let tags = tags.iter().filter_map(Field::text).map(str::to_owned).collect();
//!         queue = name.zip(workers).map(|(name, workers)| Queue { name: name.to_owned(), workers, tags });
//!     } // When `fields` goes, every field that nobody asked for is reported as unknown.
//!     findings.finish(queue).map(|(queue, _warnings)| queue)
//! }
//!
//! let queue = read_queue(b"name: fast\ntags: [a, b]").unwrap();
//! assert_eq!((queue.name.as_str(), queue.workers, queue.tags.len()), ("fast", 4, 2));
//!
//! let problem = read_queue(b"name: fast\nworkrs: 7").err().unwrap();
//! assert_eq!(problem.status, 400);
//! assert_eq!(problem.detail, "workrs: unknown; did you mean workers? The fields here are name, workers, tags");
//! let problem = read_queue(b"workers: 700").err().unwrap();
//! assert_eq!(problem.errors.len(), 2); // name: required; workers: 700 is not in 1..=100
//! ```

mod archived;
mod bounds;
mod fast;
mod fields;
mod findings;
mod format;
pub mod hostile;
pub mod job;
mod json;
mod place;
pub mod pointer;
pub mod reference;
mod scalar;
mod spellings;
mod suggest;
pub mod texts;
mod tree;
mod version_name;
pub mod work;
mod yaml;

pub use archived::ArchivedView;
pub use fast::{ByName, read_fast};
pub use fields::{Field, Fields};
pub use findings::Findings;
pub use format::Format;
pub use place::Place;
pub use suggest::{did_you_mean, meant_field, not_one_of, one_of};
pub use tree::{Node, Tree};
pub use version_name::version_named;

use bounds::{Bounds, Rows};
use findings::Errors;
use vocabulary::{FieldError, Problem};

/// Levels of lists and maps inside each other. No document of ours needs ten; a bound keeps recursion off the
/// stack's end.
pub const MAX_NESTING: usize = 64;

/// Values of one document: maps, lists and what is in them. The longest honest one has some thousands.
pub const VALUES_MAX: usize = 200_000;

/// Why a text is no tree.
pub(crate) enum Fault {
    /// What was expected, and where.
    Malformed(String),
    /// It has more values than it may have, which is so many.
    TooManyValues(usize),
}

/// Reads a whole document of at most [`VALUES_MAX`] values.
///
/// # Errors
/// 400 `MalformedBody` with the place, 413 `TooLarge` as soon as there are too many values, or 400 `DuplicateKey` with
/// the pointers of repeated keys.
pub fn read(text: &[u8], format: Format) -> Result<Node, Problem> {
    let document = read_within(text, format, Bounds::of_document())?;
    let duplicates = Errors::default();
    tree::collect_duplicates(&document, &Place::root(), &duplicates);
    if duplicates.is_empty() { Ok(document) } else { Err(duplicates.problem(400)) }
}

/// Reads a table: a document of at most `values_max` values in which the list `rows` at its root is too long to be
/// held. Each item goes to `take` with its number as soon as it is read, and an empty list is left; what is beside the
/// rows, and each row with it, has at most [`VALUES_MAX`] values. What a fault comes after has been taken already.
///
/// # Errors
/// See [`read`].
pub fn read_table(
    text: &[u8],
    format: Format,
    values_max: usize,
    rows: &str,
    mut take: impl FnMut(usize, Node),
) -> Result<Node, Problem> {
    let duplicates = Errors::default();
    let mut take = |number, row: Node| {
        tree::collect_duplicates(&row, &Place::root().key(rows).item(number), &duplicates);
        take(number, row);
    };
    let document = read_within(text, format, Bounds::of_table(values_max, Rows { name: rows, take: &mut take }))?;
    tree::collect_duplicates(&document, &Place::root(), &duplicates);
    if duplicates.is_empty() { Ok(document) } else { Err(duplicates.problem(400)) }
}

fn read_within(text: &[u8], format: Format, bounds: Bounds<'_>) -> Result<Node, Problem> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let text = std::str::from_utf8(text).map_err(|error| not_utf8(text, error.valid_up_to()))?;
    let document = match format {
        Format::Json => json::parse(text, bounds),
        Format::Yaml => yaml::parse(text, bounds),
    };
    document.map_err(|fault| match fault {
        Fault::Malformed(message) => malformed(message),
        Fault::TooManyValues(values_max) => too_many(values_max),
    })
}

fn malformed(message: String) -> Problem {
    Problem::of_errors(400, vec![FieldError::new("", "MalformedBody", message)])
}

fn too_many(values_max: usize) -> Problem {
    let detail = format!("the document has more than {values_max} values, its limit: send it in parts");
    Problem::new(413, "TooLarge", detail).with("values_max", values_max)
}

fn not_utf8(text: &[u8], valid: usize) -> Problem {
    let before = String::from_utf8_lossy(&text[..valid]);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    malformed(format!("expected UTF-8, found byte 0x{:02X} at line {line} column {column}", text[valid]))
}
