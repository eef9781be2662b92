//! What a statement answers.

#[cfg(feature = "postgres")]
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use crate::Error;

/// A row of an answer.
pub struct Row(pub(crate) Stored);

/// As the store's driver has it.
pub(crate) enum Stored {
    Sqlite(SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(PgRow),
}

impl Row {
    /// The value of a column, by its place from 0 or its name.
    ///
    /// # Errors
    /// When there is no such column or its value is of another type.
    pub fn get<T: Column>(&self, place: impl Place) -> Result<T, Error> {
        T::of(self, place)
    }
}

/// A column's place from 0, or its name.
#[cfg(not(feature = "postgres"))]
pub trait Place: sqlx::ColumnIndex<SqliteRow> + std::fmt::Display + Copy {}
/// A column's place from 0, or its name.
#[cfg(feature = "postgres")]
pub trait Place: sqlx::ColumnIndex<SqliteRow> + sqlx::ColumnIndex<PgRow> + std::fmt::Display + Copy {}

impl Place for usize {}
impl Place for &str {}

/// A type that columns have.
pub trait Column: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// When there is no such column or its value is of another type.
    fn of(row: &Row, place: impl Place) -> Result<Self, Error>;
}

macro_rules! stored_as {
    ($($type:ty),+) => {$(
        impl Column for $type {
            fn of(row: &Row, place: impl Place) -> Result<Self, Error> {
                match &row.0 {
                    Stored::Sqlite(row) => Ok(sqlx::Row::try_get(row, place)?),
                    #[cfg(feature = "postgres")]
                    Stored::Postgres(row) => Ok(sqlx::Row::try_get(row, place)?),
                }
            }
        }

        impl Column for Option<$type> {
            fn of(row: &Row, place: impl Place) -> Result<Self, Error> {
                match &row.0 {
                    Stored::Sqlite(row) => Ok(sqlx::Row::try_get(row, place)?),
                    #[cfg(feature = "postgres")]
                    Stored::Postgres(row) => Ok(sqlx::Row::try_get(row, place)?),
                }
            }
        }
    )+};
}

stored_as!(f64, String, Vec<u8>);

impl Column for i64 {
    fn of(row: &Row, place: impl Place) -> Result<Self, Error> {
        let found = Option::<Self>::of(row, place)?;
        found.ok_or_else(|| Error::Decode(format!("column {place} is NULL")))
    }
}

impl Column for Option<i64> {
    fn of(row: &Row, place: impl Place) -> Result<Self, Error> {
        match &row.0 {
            Stored::Sqlite(row) => Ok(sqlx::Row::try_get(row, place)?),
            #[cfg(feature = "postgres")]
            Stored::Postgres(row) => integer(row, place),
        }
    }
}

/// An integer of whatever width: literals and conditions are narrower than columns.
#[cfg(feature = "postgres")]
fn integer(row: &PgRow, place: impl Place) -> Result<Option<i64>, Error> {
    use sqlx::{Row, TypeInfo, ValueRef};
    let raw = row.try_get_raw(place)?;
    let kind = raw.type_info();
    Ok(match kind.name() {
        "BOOL" => row.try_get::<Option<bool>, _>(place)?.map(i64::from),
        "INT2" => row.try_get::<Option<i16>, _>(place)?.map(i64::from),
        "INT4" => row.try_get::<Option<i32>, _>(place)?.map(i64::from),
        _ => row.try_get::<Option<i64>, _>(place)?,
    })
}

impl Column for bool {
    fn of(row: &Row, place: impl Place) -> Result<Self, Error> {
        Ok(i64::of(row, place)? != 0)
    }
}

impl Column for u32 {
    fn of(row: &Row, place: impl Place) -> Result<Self, Error> {
        let stored = i64::of(row, place)?;
        Self::try_from(stored).map_err(|_| Error::Decode(format!("column {place} is {stored}, beyond 32 bits")))
    }
}

/// What a whole row is read as.
pub trait FromRow: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// When a column is missing or of another type.
    fn from_row(row: Row) -> Result<Self, Error>;
}

impl FromRow for Row {
    fn from_row(row: Row) -> Result<Self, Error> {
        Ok(row)
    }
}

macro_rules! alone {
    ($($type:ty),+) => {$(
        impl FromRow for $type {
            fn from_row(row: Row) -> Result<Self, Error> {
                row.get(0)
            }
        }
    )+};
}

alone!(i64, u32, bool, f64, String, Vec<u8>, Option<i64>, Option<f64>, Option<String>, Option<Vec<u8>>);

macro_rules! together {
    ($($type:ident $place:literal),+) => {
        impl<$($type: Column),+> FromRow for ($($type,)+) {
            fn from_row(row: Row) -> Result<Self, Error> {
                Ok(($(row.get::<$type>($place)?,)+))
            }
        }
    };
}

together!(A 0, B 1);
together!(A 0, B 1, C 2);
together!(A 0, B 1, C 2, D 3);
together!(A 0, B 1, C 2, D 3, E 4);
together!(A 0, B 1, C 2, D 3, E 4, F 5);
together!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
together!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
