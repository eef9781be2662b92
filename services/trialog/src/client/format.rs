//! The formats of what is printed.

use clap::ValueEnum;

/// What a command prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    #[value(alias = "text")]
    Table,
    /// For people who want all columns.
    Wide,
    /// A header and a line for each row, with all digits.
    Csv,
    /// One JSON document, as the server sent it.
    Json,
    /// The same as YAML.
    Yaml,
    /// What other commands take: a name or an id a line.
    Name,
}

impl Format {
    /// Whether the whole document is wanted.
    pub fn is_document(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}
