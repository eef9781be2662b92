//! A statement with its values.

use std::borrow::Cow;

use super::row::{FromRow, Row};
use super::value::Value;
use crate::{BoxFuture, Error, Reader, Transaction};

/// A text of SQL and what its `$1`, `$2`, … stand for.
pub struct Statement {
    pub(crate) text: Cow<'static, str>,
    pub(crate) values: Vec<Value>,
}

/// A statement without values yet. A text that is not a constant is the caller's own, never a user's.
pub fn sql(text: impl Into<Cow<'static, str>>) -> Statement {
    Statement { text: text.into(), values: Vec::new() }
}

impl Statement {
    /// Gives the next value: the first call is `$1`.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds to the text, with the next value at its end: `and(" AND state = ", state)`.
    pub fn and(mut self, text: &str, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        let place = self.values.len();
        let whole = self.text.to_mut();
        whole.push_str(text);
        whole.push('$');
        whole.push_str(&place.to_string());
        self
    }

    /// Changes rows and answers how many.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn execute(self, tx: &mut Transaction) -> Result<u64, Error> {
        tx.execute(self).await
    }

    /// All rows of the answer; the text bounds them.
    ///
    /// # Errors
    /// When the store refuses it, or a row is not what it is read as.
    pub async fn fetch_all<T: FromRow>(self, from: impl Source<'_>) -> Result<Vec<T>, Error> {
        from.rows(self).await?.into_iter().map(T::from_row).collect()
    }

    /// Hands over one committed row after the other until one is not taken: what is kept of them is the caller's to
    /// bound, where rows may be large.
    ///
    /// # Errors
    /// When the store refuses it, or a row is not what it is read as.
    pub async fn fetch_while<T: FromRow>(
        self,
        from: &Reader,
        mut take: impl FnMut(T) -> Result<bool, Error> + Send,
    ) -> Result<(), Error> {
        from.each(self, &mut |row| take(T::from_row(row)?)).await
    }

    /// The first row of the answer, if there is one.
    ///
    /// # Errors
    /// When the store refuses it, or the row is not what it is read as.
    pub async fn fetch_optional<T: FromRow>(self, from: impl Source<'_>) -> Result<Option<T>, Error> {
        from.first(self).await?.map(T::from_row).transpose()
    }

    /// The first row of an answer that always has one.
    ///
    /// # Errors
    /// When the store refuses it, there is no row, or it is not what it is read as.
    pub async fn fetch_one<T: FromRow>(self, from: impl Source<'_>) -> Result<T, Error> {
        let text = self.text.clone();
        let found = self.fetch_optional(from).await?;
        found.ok_or_else(|| Error::Decode(format!("no row answers: {text}")))
    }
}

/// Where rows are read: among the committed ones, or inside a transaction.
pub trait Source<'a>: Sized {
    /// All rows.
    fn rows(self, statement: Statement) -> BoxFuture<'a, Result<Vec<Row>, Error>>;
    /// The first row.
    fn first(self, statement: Statement) -> BoxFuture<'a, Result<Option<Row>, Error>>;
}

impl<'a> Source<'a> for &'a Reader {
    fn rows(self, statement: Statement) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
        Box::pin(self.all(statement))
    }

    fn first(self, statement: Statement) -> BoxFuture<'a, Result<Option<Row>, Error>> {
        Box::pin(Reader::first(self, statement))
    }
}

impl<'a> Source<'a> for &'a mut Transaction {
    fn rows(self, statement: Statement) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
        Box::pin(self.all(statement))
    }

    fn first(self, statement: Statement) -> BoxFuture<'a, Result<Option<Row>, Error>> {
        Box::pin(Transaction::first(self, statement))
    }
}
