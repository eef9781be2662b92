//! What a statement is given.

use uuid::Uuid;

/// A value of one of the four types that every store has. NULL has a type too.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// BIGINT; booleans are 0 and 1.
    Integer(Option<i64>),
    /// DOUBLE PRECISION.
    Real(Option<f64>),
    /// TEXT.
    Text(Option<String>),
    /// BLOB, BYTEA.
    Bytes(Option<Vec<u8>>),
}

/// Implements the conversion of a type and of its option.
macro_rules! values {
    ($($variant:ident: $($type:ty => $convert:expr),+;)+) => {$($(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(Some($convert(value)))
            }
        }

        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map($convert))
            }
        }
    )+)+};
}

values! {
    Integer: i64 => std::convert::identity, i32 => i64::from, i16 => i64::from, u32 => i64::from, u16 => i64::from,
        u8 => i64::from, bool => i64::from;
    Real: f64 => std::convert::identity;
    Text: String => std::convert::identity, &str => str::to_owned, &String => String::clone;
    Bytes: Vec<u8> => std::convert::identity, &[u8] => <[u8]>::to_vec, &Vec<u8> => Vec::clone,
        Uuid => |id: Uuid| id.as_bytes().to_vec();
}

/// The values of a row, each turned into a [`Value`].
#[macro_export]
macro_rules! row {
    ($($value:expr),+ $(,)?) => { [$($crate::Value::from($value)),+] };
}
