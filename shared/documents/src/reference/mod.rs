//! What every field of every document is: the tables that readers name their fields by, and that the JSON Schemas, the
//! pages and `trialog explain` are made of.
//!
//! A reader says [`Fields::described_by`](crate::Fields::described_by); what it asks for must then be in the table, and
//! a test at each reader walks its table with [`probes`]: each example is read, each default changes nothing, each
//! bound holds and what is beyond it is refused.

mod cluster;
mod endpoint;
mod explain;
mod page;
mod policy;
mod probe;
mod run;
mod schema;
mod space;
mod sweep;
mod trial;

pub use cluster::{CLUSTER, LOCAL, PREEMPTION, SCALE};
pub use endpoint::{DEPLOYMENT, DEPLOYMENT_ENVIRONMENT, DEPLOYMENT_RESOURCES, ENDPOINT, MODEL, REQUEST_SETTINGS};
pub use explain::explain;
pub use page::page;
pub use policy::POLICIES;
pub use probe::{Outcome, Probe, probes, probes_at};
pub use run::{JOB, JOB_INPUT, RUN};
pub use schema::{schema, schema_id};
pub use space::PARAMETERS;
pub use sweep::{
    CONSTRAINT, CONVERGENCE, FURTHER_OBJECTIVE, LIMITS, OBJECTIVE, RESUME_FROM, RESUME_TRIAL, SAMPLERS, SWEEP,
};
pub use trial::{ENVIRONMENT, INPUT, KEPT_CHECKPOINT, OUTPUT, RESOURCES, TRIAL};

/// The documents, by the names of their schemas.
pub const DOCUMENTS: [(&str, &Section); 5] =
    [("sweep", &SWEEP), ("run", &RUN), ("cluster", &CLUSTER), ("endpoint", &ENDPOINT), ("deployment", &DEPLOYMENT)];

/// A map with fixed fields.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What the map is, in a sentence.
    pub meaning: &'static str,
    /// Its fields, in the order in which they are shown.
    pub fields: &'static [Entry],
}

impl Section {
    /// The field of a name.
    pub fn entry(&self, name: &str) -> Option<&'static Entry> {
        self.fields.iter().find(|entry| entry.name == name)
    }
}

/// A map whose fields depend on one of them.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    /// The field that says which kind it is.
    pub tag: &'static str,
    /// The kinds that need no settings: their name alone will do for the map.
    pub short: &'static [&'static str],
    /// The kinds by name.
    pub kinds: &'static [(&'static str, Section)],
}

impl Kinds {
    /// The fields of a kind, beside its tag.
    pub fn kind(&self, name: &str) -> Option<&'static Section> {
        self.kinds.iter().find(|(known, _)| *known == name).map(|(_, section)| section)
    }

    /// The names of all kinds.
    pub fn names(&self) -> Vec<&'static str> {
        self.kinds.iter().map(|(name, _)| *name).collect()
    }
}

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// A text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Number(Range<f64>),
    /// An integer.
    Integer(Range<i128>),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A text, a number or a boolean.
    Scalar,
    /// A list.
    List(&'static Type),
    /// A map with fixed fields.
    Map(&'static Section),
    /// A map whose keys are the user's; the first text says what they name.
    Named(&'static str, &'static Type),
    /// A map whose fields depend on one of them.
    Kinds(&'static Kinds),
    /// Any of these.
    Any(&'static [Type]),
    /// Whatever there is.
    Free,
}

/// Which numbers are allowed; a bound that is absent is none.
#[derive(Clone, Copy, Debug)]
pub struct Range<N: 'static> {
    /// The least one.
    pub least: Option<N>,
    /// The greatest one.
    pub most: Option<N>,
    /// Whether the bounds themselves are not allowed.
    pub open: (bool, bool),
}

/// A number of any size.
pub const ANY_NUMBER: Type = Type::Number(Range { least: None, most: None, open: (false, false) });
/// A number above zero.
pub const POSITIVE: Type = Type::Number(Range { least: Some(0.0), most: None, open: (true, false) });
/// A number from zero.
pub const NOT_NEGATIVE: Type = Type::Number(Range { least: Some(0.0), most: None, open: (false, false) });

/// Numbers between two bounds, both allowed.
pub const fn number(least: f64, most: f64) -> Type {
    Type::Number(Range { least: Some(least), most: Some(most), open: (false, false) })
}

/// Integers between two bounds, both allowed.
pub const fn integer(least: i128, most: i128) -> Type {
    Type::Integer(Range { least: Some(least), most: Some(most), open: (false, false) })
}

/// Integers from a bound.
pub const fn integer_from(least: i128) -> Type {
    Type::Integer(Range { least: Some(least), most: None, open: (false, false) })
}

/// Whether a field must be there, and what its absence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It must.
    Required,
    /// Its absence is what it says: nothing.
    Optional,
    /// Its absence means this value, written as JSON.
    Default(&'static str),
    /// Its absence means what the sentence says.
    Otherwise(&'static str),
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What its value is.
    pub of: Type,
    /// Whether it must be there.
    pub presence: Presence,
    /// What it is, in a sentence.
    pub meaning: &'static str,
    /// A value, as JSON.
    pub example: &'static str,
    /// The codes of errors and warnings of its own, beside those of its type.
    pub codes: &'static [&'static str],
    /// Whether a value can be read without others that it goes with: tests read each on its own.
    pub alone: bool,
}

/// A field that may be left out.
pub const fn field(name: &'static str, of: Type, example: &'static str, meaning: &'static str) -> Entry {
    Entry { name, of, presence: Presence::Optional, meaning, example, codes: &[], alone: true }
}

impl Entry {
    /// It must be there.
    pub const fn required(mut self) -> Self {
        self.presence = Presence::Required;
        self
    }

    /// What is said where it must be there and is not.
    pub fn wanted(&self) -> String {
        format!("required: {}, e.g. {}", self.of.words(), self.example)
    }

    /// Its absence means this value.
    pub const fn default(mut self, value: &'static str) -> Self {
        self.presence = Presence::Default(value);
        self
    }

    /// Its absence means what the sentence says.
    pub const fn otherwise(mut self, sentence: &'static str) -> Self {
        self.presence = Presence::Otherwise(sentence);
        self
    }

    /// Its own codes.
    pub const fn codes(mut self, codes: &'static [&'static str]) -> Self {
        self.codes = codes;
        self
    }

    /// It goes with others, or instead of others.
    pub const fn goes_with_others(mut self) -> Self {
        self.alone = false;
        self
    }
}

impl Type {
    /// The codes of what is not of this type.
    pub fn codes(&self) -> Vec<&'static str> {
        match self {
            Self::Number(_) => vec!["WrongType", "NotFinite", "OutOfRange"],
            Self::Integer(_) => vec!["WrongType", "OutOfRange"],
            Self::Map(_) | Self::Kinds(_) => vec!["WrongType", "UnknownField"],
            Self::Free => Vec::new(),
            _ => vec!["WrongType"],
        }
    }

    /// In words: `an integer in 1..=10`.
    pub fn words(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::Number(range) => format!("a number{}", range_words(range)),
            Self::Integer(range) => format!("an integer{}", range_words(range)),
            Self::OneOf(values) => format!("one of {}", values.join(", ")),
            Self::Scalar => "a text, a number, or true or false".to_owned(),
            Self::List(of) => format!("a list, each item {}", of.words()),
            Self::Map(_) => "a map".to_owned(),
            Self::Named(key, of) => format!("a map by {key}, each value {}", of.words()),
            Self::Kinds(kinds) => format!("a map with {}, one of {}", kinds.tag, kinds.names().join(", ")),
            Self::Any(types) => types.iter().map(Self::words).collect::<Vec<_>>().join("; or "),
            Self::Free => "anything".to_owned(),
        }
    }
}

fn range_words<N: std::fmt::Display>(range: &Range<N>) -> String {
    match (&range.least, &range.most, range.open) {
        (None, None, _) => String::new(),
        (Some(least), Some(most), (false, false)) => format!(" in {least}..={most}"),
        (least, most, (below, above)) => {
            let least = least.as_ref().map(|least| format!("{} {least}", if below { ">" } else { ">=" }));
            let most = most.as_ref().map(|most| format!("{} {most}", if above { "<" } else { "<=" }));
            let bounds: Vec<String> = least.into_iter().chain(most).collect();
            format!(" {}", bounds.join(" and "))
        }
    }
}
