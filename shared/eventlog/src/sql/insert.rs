//! Many rows of one table with few statements.

use super::value::Value;
use crate::{Error, Transaction};

/// Rows of one statement, largest first: few texts stay prepared, and many rows need few statements.
pub(crate) const ROWS_AT_ONCE: [usize; 3] = [64, 8, 1];

/// Rows to be written. No two of them may have the same key.
pub struct Insert {
    /// `INSERT INTO table(columns)`.
    pub(crate) into: &'static str,
    /// `ON CONFLICT …`, or nothing.
    pub(crate) then: &'static str,
    pub(crate) columns: usize,
    /// One row after the other.
    pub(crate) values: Vec<Value>,
}

/// Begins with `INSERT INTO table(columns)`, and with what follows the rows: `ON CONFLICT …` or nothing.
pub fn insert(into: &'static str, then: &'static str) -> Insert {
    Insert { into, then, columns: 0, values: Vec::new() }
}

impl Insert {
    /// Adds a row; all have as many values as the first.
    pub fn row<const COLUMNS: usize>(&mut self, row: [Value; COLUMNS]) {
        debug_assert!(self.columns == 0 || self.columns == COLUMNS, "rows of {} and {COLUMNS} values", self.columns);
        self.columns = COLUMNS;
        self.values.extend(row);
    }

    /// Writes them.
    ///
    /// # Errors
    /// When the store refuses one.
    pub async fn execute(self, tx: &mut Transaction) -> Result<(), Error> {
        tx.insert(self).await
    }
}
