//! How many values a reader may meet and hold, and where the rows of a table go instead of into the tree.

use crate::{Fault, Node, VALUES_MAX, work};

/// A list at the root that is too long to be held.
pub(crate) struct Rows<'r> {
    /// The key of the list.
    pub name: &'r str,
    /// Takes each item with its number as soon as it is read.
    pub take: &'r mut dyn FnMut(usize, Node),
}

/// Counts while a document is read.
pub(crate) struct Bounds<'r> {
    values: usize,
    values_max: usize,
    held: usize,
    exceeded: Option<usize>,
    rows: Option<Rows<'r>>,
    taken: usize,
}

impl<'r> Bounds<'r> {
    /// For a document that is held as a whole.
    pub(crate) fn of_document() -> Self {
        Self { values: 0, values_max: VALUES_MAX, held: 0, exceeded: None, rows: None, taken: 0 }
    }

    /// For a table of at most so many values, of which each row is held alone.
    pub(crate) fn of_table(values_max: usize, rows: Rows<'r>) -> Self {
        Self { values_max, rows: Some(rows), ..Self::of_document() }
    }

    /// Counts a value.
    pub(crate) fn count(&mut self) -> Result<(), String> {
        self.values += 1;
        self.held += 1;
        work::add(1);
        if self.values <= self.values_max && self.held <= VALUES_MAX {
            return Ok(());
        }
        self.exceeded = Some(if self.held > VALUES_MAX { VALUES_MAX } else { self.values_max });
        Err("too many values".to_owned())
    }

    /// Whether the items of a list under `key`, so deep in the document, are rows.
    pub(crate) fn are_rows(&self, key: &str, depth: usize) -> bool {
        depth == 0 && self.rows.as_ref().is_some_and(|rows| rows.name == key)
    }

    /// What is held besides the row that begins here; for [`Bounds::take`].
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Hands a row on, which is held no longer.
    pub(crate) fn take(&mut self, row: Node, held_before: usize) {
        self.held = held_before;
        if let Some(rows) = &mut self.rows {
            (rows.take)(self.taken, row);
        }
        self.taken += 1;
    }

    /// What a reader's message means.
    pub(crate) fn fault(&self, message: String) -> Fault {
        self.exceeded.map_or(Fault::Malformed(message), Fault::TooManyValues)
    }
}
