//! Takes a tree apart field by field and notes everything that does not fit.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use vocabulary::{FieldError, number};

use crate::reference::{Entry, Kinds, Section};
use crate::suggest::{not_one_of, shorten};
use crate::{Findings, Node, Place, Tree, scalar, spellings, texts, work};

/// A place in a document that may hold a value. Every reading method answers `None` when nothing is there (that is no
/// error: see [`Field::required`]) and when the value does not fit (that is noted).
#[derive(Clone, Debug)]
pub struct Field<'a> {
    place: Place<'a>,
    node: Option<&'a Node>,
    findings: &'a Findings,
    /// What the reference says of it, where a table describes the fields that it is one of.
    entry: Option<&'static Entry>,
}

impl<'a> Field<'a> {
    /// The whole document.
    pub fn root(node: &'a Node, findings: &'a Findings) -> Self {
        Self { place: Place::root(), node: Some(node), findings, entry: None }
    }

    /// RFC 6901 pointer to this place.
    pub fn pointer(&self) -> String {
        self.place.pointer()
    }

    /// The place as messages name it: `limits.max_total_trials`.
    pub fn path(&self) -> String {
        self.place.path()
    }

    /// The value as it was read. A field of a map that is `null` counts as absent.
    pub fn node(&self) -> Option<&'a Node> {
        self.node
    }

    /// Whether a value is here.
    pub fn is_present(&self) -> bool {
        self.node.is_some()
    }

    /// Notes a 422 error here; the message is put behind the path: "`limits.x`: `message`".
    pub fn refuse(&self, code: &str, message: impl Display) {
        self.findings.add_with(|| FieldError::new(self.pointer(), code, format!("{}: {message}", self.path())));
    }

    /// Notes a 422 error here whose message names the place itself.
    pub fn refuse_as(&self, code: &str, message: impl Display) {
        self.findings.add_with(|| FieldError::new(self.pointer(), code, message.to_string()));
    }

    /// Notes a warning here, with the path in front.
    pub fn warn(&self, code: &str, message: impl Display) {
        self.findings.warn(self.pointer(), code, format!("{}: {message}", self.path()));
    }

    /// Notes `Required` when nothing is here.
    #[must_use]
    pub fn required(self) -> Self {
        if self.node.is_none() {
            let wanted = self.entry.map_or_else(|| "required".to_owned(), Entry::wanted);
            self.refuse("Required", wanted);
        }
        self
    }

    /// Notes `NotOfferedYet` when something is here.
    pub fn not_offered(&self) {
        if self.node.is_some() {
            self.refuse("NotOfferedYet", "not offered yet");
        }
    }

    /// The value in words, shortened: for messages about what was received.
    pub fn received(&self) -> String {
        self.node.map_or_else(|| "nothing".to_owned(), |node| describe(&node.value))
    }

    /// Notes `WrongType`.
    pub fn wrong_type<T>(&self, expected: &str) -> Option<T> {
        self.refuse("WrongType", format_args!("expected {expected}, received {}", self.received()));
        None
    }

    /// A text.
    pub fn text(&self) -> Option<&'a str> {
        match &self.node?.value {
            Tree::Text(text) => Some(text),
            _ => self.wrong_type("a text"),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        match self.node?.value {
            Tree::Bool(value) => Some(value),
            _ => self.wrong_type("true or false"),
        }
    }

    /// A finite number. `NotFinite` for NaN, infinities and what no double holds (`1e999`).
    pub fn number(&self) -> Option<f64> {
        let value = match &self.node?.value {
            Tree::Number(text) => scalar::to_double(text),
            Tree::Text(text) => match number::from_non_finite_text(text) {
                Some(value) => value,
                None => return self.wrong_type("a number"),
            },
            _ => return self.wrong_type("a number"),
        };
        if value.is_finite() {
            return Some(value);
        }
        self.refuse("NotFinite", format_args!("must be a finite number, received {}", self.received()));
        None
    }

    /// An integer that `T` can hold, written without fraction and exponent.
    pub fn integer<T: TryFrom<i128>>(&self) -> Option<T> {
        match &self.node?.value {
            Tree::Number(text) => self.whole(text),
            _ => self.wrong_type("an integer"),
        }
    }

    /// An integer that may also be written as a text, for clients whose numbers end at 2^53.
    pub fn integer_or_text<T: TryFrom<i128>>(&self) -> Option<T> {
        match &self.node?.value {
            Tree::Number(text) | Tree::Text(text) => self.whole(text),
            _ => self.wrong_type("an integer"),
        }
    }

    fn whole<T: TryFrom<i128>>(&self, text: &str) -> Option<T> {
        let Some(whole) = scalar::to_integer(text) else { return self.wrong_type("an integer") };
        let fitting = T::try_from(whole).ok();
        if fitting.is_none() {
            self.refuse("OutOfRange", format_args!("{whole} is outside of what is allowed"));
        }
        fitting
    }

    /// An integer of `range`; `OutOfRange` otherwise.
    pub fn integer_in<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + Into<i128> + Copy + PartialOrd + Display,
    {
        let whole: i128 = self.integer()?;
        if let Some(value) = T::try_from(whole).ok().filter(|value| range.contains(value)) {
            return Some(value);
        }
        self.refuse("OutOfRange", format_args!("{whole} is not in {}..={}", range.start(), range.end()));
        None
    }

    /// An integer that `T` can hold; whatever else is here is refused with `code` and the `rule` in words. With
    /// `or_text` a text of digits will do.
    pub fn integer_as<T: TryFrom<i128>>(&self, code: &str, rule: &str, or_text: bool) -> Option<T> {
        let whole = match &self.node?.value {
            Tree::Number(text) => scalar::to_integer(text),
            Tree::Text(text) if or_text => scalar::to_integer(text),
            _ => None,
        };
        let fitting = whole.and_then(|whole| T::try_from(whole).ok());
        if fitting.is_none() {
            self.refuse(code, format_args!("{rule}, received {}", self.received()));
        }
        fitting
    }

    /// A text, or a number or boolean as it was written: for words of a command and values of environment variables.
    pub fn scalar_text(&self) -> Option<String> {
        match &self.node?.value {
            Tree::Text(text) | Tree::Number(text) => Some(text.clone()),
            Tree::Bool(value) => Some(value.to_string()),
            _ => self.wrong_type("a text"),
        }
    }

    /// One of the texts of `allowed`, or an error with `code` that lists them.
    pub fn one_of(&self, code: &str, allowed: &[&'static str]) -> Option<&'static str> {
        let received = self.text()?;
        if let Some(known) = allowed.iter().find(|known| **known == received) {
            return Some(known);
        }
        self.findings.add_with(|| {
            let message = not_one_of(&self.path(), received, allowed);
            FieldError::new(self.pointer(), code, message)
        });
        None
    }

    /// The items of a list.
    pub fn list(&self) -> Option<Vec<Field<'a>>> {
        match &self.node?.value {
            Tree::List(items) => {
                let items = items.iter().enumerate();
                Some(items.map(|(index, node)| self.at(self.place.item(index), Some(node))).collect())
            }
            _ => self.wrong_type("a list"),
        }
    }

    /// The fields of a map whose keys are fixed.
    pub fn map(&self) -> Option<Fields<'a>> {
        match &self.node?.value {
            Tree::Map(entries) => Some(Fields {
                place: self.clone(),
                entries,
                asked: Vec::new(),
                unlisted: Vec::new(),
                section: None,
                reported: Reported::All,
            }),
            _ => self.wrong_type("a map"),
        }
    }

    /// The entries of a map whose keys are up to the user, in written order.
    pub fn entries(&self) -> Option<Vec<(&'a str, Field<'a>)>> {
        match &self.node?.value {
            Tree::Map(entries) => {
                let at = |(key, node): &'a (String, Node)| (key.as_str(), self.at(self.place.key(key), Some(node)));
                Some(entries.iter().map(at).collect())
            }
            _ => self.wrong_type("a map"),
        }
    }

    /// A map of texts, such as tags; in written order.
    fn texts(&self) -> Option<Vec<(String, String)>> {
        let read = |(key, field): (&str, Field<'a>)| match &field.node?.value {
            Tree::Text(text) => Some((key.to_owned(), text.clone())),
            _ => field.wrong_type("a text"),
        };
        Some(self.entries()?.into_iter().filter_map(read).collect())
    }

    /// A map of texts, with the limits that hold for tags wherever they are taken.
    pub fn tags(&self) -> Option<BTreeMap<String, String>> {
        let tags = self.texts()?.into_iter().collect();
        texts::find(&tags, &self.place, self.findings);
        Some(tags)
    }

    fn at(&self, place: Place<'a>, node: Option<&'a Node>) -> Field<'a> {
        work::add(1);
        Field { place, node, findings: self.findings, entry: None }
    }
}

/// The fields of a map. When it is dropped, fields that nobody asked for are noted as `UnknownField` (400): forgetting
/// to check is not possible, and [`Findings::finish`] cannot be called before.
#[derive(Debug)]
pub struct Fields<'a> {
    place: Field<'a>,
    entries: &'a [(String, Node)],
    asked: Vec<&'static str>,
    unlisted: Vec<&'static str>,
    section: Option<&'static Section>,
    reported: Reported,
}

/// Which of the fields that nobody asked for are noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    All,
    /// Those that another tool has for a field that is missing here.
    OfOtherTools,
    None,
}

impl<'a> Fields<'a> {
    /// The place of the map itself.
    pub fn place(&self) -> &Field<'a> {
        &self.place
    }

    /// The field `name`, which thereby is known. `null` counts as absent.
    pub fn field(&mut self, name: &'static str) -> Field<'a> {
        self.asked.push(name);
        work::add(self.entries.len());
        let node = self.entries.iter().find(|(key, _)| key == name).map(|(_, node)| node);
        let node = node.filter(|node| node.value != Tree::Null);
        let entry = self.section.and_then(|section| section.entry(name));
        Field { entry, ..self.place.at(self.place.place.key(name), node) }
    }

    /// Says which table these fields are of: what is asked for, beside the unlisted, must be in it.
    pub fn described_by(&mut self, section: &'static Section) {
        self.section = Some(section);
    }

    /// The same for a map of some kind.
    pub fn described_by_kind(&mut self, kinds: &Kinds, kind: &str) {
        self.section = kinds.kind(kind);
        debug_assert!(self.section.is_some(), "no table of {kind}");
    }

    /// The field `name`, which is known only to be refused: nobody is told that it is there.
    pub fn unlisted(&mut self, name: &'static str) -> Field<'a> {
        self.unlisted.push(name);
        self.field(name)
    }

    /// The field `name`; `Required` is noted when it is absent.
    pub fn required(&mut self, name: &'static str) -> Field<'a> {
        self.field(name).required()
    }

    /// See [`Field::text`].
    pub fn text(&mut self, name: &'static str) -> Option<&'a str> {
        self.field(name).text()
    }

    /// See [`Field::boolean`].
    pub fn boolean(&mut self, name: &'static str) -> Option<bool> {
        self.field(name).boolean()
    }

    /// See [`Field::number`].
    pub fn number(&mut self, name: &'static str) -> Option<f64> {
        self.field(name).number()
    }

    /// See [`Field::integer`].
    pub fn integer<T: TryFrom<i128>>(&mut self, name: &'static str) -> Option<T> {
        self.field(name).integer()
    }

    /// See [`Field::list`].
    pub fn list(&mut self, name: &'static str) -> Option<Vec<Field<'a>>> {
        self.field(name).list()
    }

    /// See [`Field::map`].
    pub fn map(&mut self, name: &'static str) -> Option<Fields<'a>> {
        self.field(name).map()
    }

    /// The tags of what the document is about.
    pub fn tags(&mut self) -> Option<BTreeMap<String, String>> {
        self.field("tags").tags()
    }

    /// Says nothing about the other fields: somebody else looks at them.
    pub fn ignore_rest(&mut self) {
        self.reported = Reported::None;
    }

    /// For a map whose kind is not known, where every field would look unknown: only what another tool calls by
    /// another name is told, such as `distribution` where there is no `type`.
    pub fn kind_is_unknown(&mut self) {
        self.reported = Reported::OfOtherTools;
    }
}

impl Fields<'_> {
    /// The fields that a user may know of.
    fn listed(&self) -> Vec<&'static str> {
        let asked = || self.asked.iter().copied().filter(|name| !self.unlisted.contains(name));
        let Some(section) = self.section else { return asked().collect() };
        // The field that says of which kind a map is stands in no table of a kind.
        asked().filter(|name| *name == TAG).chain(section.fields.iter().map(|entry| entry.name)).collect()
    }

    /// What is asked for, though the table does not have it.
    fn strangers(&self) -> Vec<&'static str> {
        let Some(section) = self.section else { return Vec::new() };
        let is_known = |name: &&str| {
            *name == TAG || self.unlisted.contains(name) || section.fields.iter().any(|entry| entry.name == *name)
        };
        self.asked.iter().copied().filter(|name| !is_known(name)).collect()
    }
}

/// Says of which kind a map is.
const TAG: &str = "type";

impl Drop for Fields<'_> {
    fn drop(&mut self) {
        if self.reported == Reported::None || std::thread::panicking() {
            return;
        }
        debug_assert!(self.strangers().is_empty(), "no table has {:?}", self.strangers());
        // A map has few fields that anybody asks for: this is one pass over the entries, times those.
        let is_there = |name: &&'static str| {
            work::add(self.entries.len());
            self.entries.iter().any(|(key, _)| key == name)
        };
        let is_unknown = |(key, _): &&(String, Node)| {
            work::add(self.asked.len());
            !self.asked.contains(&key.as_str())
        };
        // Of all, the first in the order of the answer says which fields there are.
        let Some(first) = self.entries.iter().filter(is_unknown).map(|(key, _)| key).min() else { return };
        let listed = self.listed();
        // A field that is there already is not what was meant.
        let free: Vec<&str> = listed.iter().copied().filter(|name| !is_there(name)).collect();
        let is_noted = |key: &str| self.reported == Reported::All || spellings::field(key, &free).is_some();
        for (key, _) in self.entries.iter().filter(is_unknown).filter(|(key, _)| is_noted(key)) {
            let lists = self.reported == Reported::All && key == first;
            self.place.findings.add_unknown(&self.place.place, key, &listed, &free, lists);
        }
    }
}

fn describe(value: &Tree) -> String {
    match value {
        Tree::Null => "null".to_owned(),
        Tree::Bool(value) => value.to_string(),
        Tree::Number(text) => shorten(text),
        Tree::Text(text) => format!("the text {:?}", shorten(text)),
        Tree::List(items) => format!("a list of {}", items.len()),
        Tree::Map(_) => "a map".to_owned(),
    }
}
