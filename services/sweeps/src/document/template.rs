//! Words with references, `--lr=${{search_space.lr}}`: reading, writing and filling in.

use std::fmt;

use serde::{Deserialize, Serialize};
use tuning::Configuration;

const OPEN: &str = "${{";
const ESCAPED: &str = "$${{";
const CLOSE: &str = "}}";

/// One argument of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Argument {
    /// A single word; left out when it refers to an inactive parameter.
    Word(Template),
    /// Words that are left out together when one of them refers to an inactive parameter.
    Group(Vec<Template>),
}

impl Argument {
    /// Its words.
    pub fn words(&self) -> &[Template] {
        match self {
            Self::Word(word) => std::slice::from_ref(word),
            Self::Group(words) => words,
        }
    }
}

/// A text with references in it. Stored and shown as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    written: String,
    pieces: Vec<Piece>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Stands for itself.
    Text(String),
    /// Is replaced.
    Reference(Reference),
}

/// What `${{…}}` can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `search_space.NAME`: the trial's value of the parameter.
    Parameter(String),
    /// `inputs.ID`: where the node has put the input.
    Input(String),
    /// `outputs.ID`: the folder for the output.
    Output(String),
    /// `trial.index`.
    TrialIndex,
    /// `sweep.id`.
    SweepId,
    /// Anything else: refused when the document is read.
    Unknown(String),
}

impl Reference {
    fn parse(name: &str) -> Self {
        match name.split_once('.') {
            Some(("search_space", rest)) => Self::Parameter(rest.to_owned()),
            Some(("inputs", rest)) => Self::Input(rest.to_owned()),
            Some(("outputs", rest)) => Self::Output(rest.to_owned()),
            Some(("trial", "index")) => Self::TrialIndex,
            Some(("sweep", "id")) => Self::SweepId,
            _ => Self::Unknown(name.to_owned()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter(name) => write!(f, "search_space.{name}"),
            Self::Input(id) => write!(f, "inputs.{id}"),
            Self::Output(id) => write!(f, "outputs.{id}"),
            Self::TrialIndex => f.write_str("trial.index"),
            Self::SweepId => f.write_str("sweep.id"),
            Self::Unknown(name) => f.write_str(name),
        }
    }
}

/// What a trial's references stand for.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// The values of the active parameters.
    pub parameters: &'a Configuration,
    /// The trial's number in its sweep.
    pub trial_index: u32,
    /// The sweep's id.
    pub sweep_id: &'a str,
}

impl Template {
    /// The text of one without references.
    pub fn as_text(&self) -> Option<&str> {
        self.references().next().is_none().then_some(self.written.as_str())
    }

    /// Reads a text. `$${{` is a literal `${{`.
    ///
    /// # Errors
    /// A sentence when a reference is not closed, or when the text cannot be an argument at all.
    pub fn parse(written: &str) -> Result<Self, String> {
        if written.contains('\0') {
            return Err("a NUL character cannot be part of an argument or of a variable".to_owned());
        }
        let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), written);
        while let Some(at) = rest.find('$') {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix(ESCAPED) {
                text.push_str(OPEN);
                rest = after;
            } else if let Some(inside) = rest.strip_prefix(OPEN) {
                let end = inside.find(CLOSE).filter(|&end| !inside[..end].contains(OPEN));
                let end =
                    end.ok_or_else(|| format!("'{rest}' opens {OPEN} without {CLOSE}; write {ESCAPED} for the text"))?;
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Reference(Reference::parse(inside[..end].trim())));
                rest = &inside[end + CLOSE.len()..];
            } else {
                text.push('$');
                rest = &rest[1..];
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        if pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if looks_like_a_placeholder(text))) {
            return Err(format!("{ESCAPED} cannot be followed by inputs. or outputs.: the node would fill it in"));
        }
        Ok(Self { written: written.to_owned(), pieces })
    }

    /// The references in it.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Reference(reference) => Some(reference),
            Piece::Text(_) => None,
        })
    }

    /// The text for one trial; `None` when it refers to an inactive parameter. `${{inputs.ID}}` and `${{outputs.ID}}`
    /// stay: only the node knows their paths.
    pub fn fill(&self, filling: &Filling<'_>) -> Option<String> {
        let mut text = String::with_capacity(self.written.len());
        for piece in &self.pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Reference(Reference::Parameter(name)) => {
                    text.push_str(&filling.parameters.get(name)?.argv_text());
                }
                Piece::Reference(Reference::TrialIndex) => text.push_str(&filling.trial_index.to_string()),
                Piece::Reference(Reference::SweepId) => text.push_str(filling.sweep_id),
                Piece::Reference(other) => text.push_str(&format!("{OPEN}{other}{CLOSE}")),
            }
        }
        Some(text)
    }
}

/// Whether the node would take a text of the user for a placeholder.
pub fn looks_like_a_placeholder(text: &str) -> bool {
    text.match_indices(OPEN).any(|(at, _)| {
        let inside = &text[at + OPEN.len()..];
        inside.starts_with("inputs.") || inside.starts_with("outputs.")
    })
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        Self::parse(&written)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.written
    }
}

#[cfg(test)]
mod tests {
    use tuning::Value;

    use super::*;

    fn filled(text: &str) -> Option<String> {
        let parameters = Configuration::from([
            ("lr".to_owned(), Value::from(0.1)),
            ("a.b".to_owned(), Value::from("x; rm -rf $HOME '")),
            ("deep".to_owned(), Value::from(true)),
        ]);
        let filling = Filling { parameters: &parameters, trial_index: 7, sweep_id: "sweep_X" };
        Template::parse(text).unwrap().fill(&filling)
    }

    #[test]
    fn references_are_filled_in_and_everything_else_stays() {
        for (text, expected) in [
            ("--lr=${{search_space.lr}}", Some("--lr=0.1")),
            ("${{ search_space.lr }}/${{trial.index}}", Some("0.1/7")),
            ("${{search_space.a.b}}", Some("x; rm -rf $HOME '")),
            ("${{search_space.deep}}${{sweep.id}}", Some("truesweep_X")),
            ("$${{search_space.lr}}", Some("${{search_space.lr}}")),
            ("$$${{x}} $ ${ }} $5", Some("$${{x}} $ ${ }} $5")),
            ("${{inputs.data}}/a", Some("${{inputs.data}}/a")),
            ("${{ outputs.m }}", Some("${{outputs.m}}")),
            ("", Some("")),
            ("--m=${{search_space.momentum}}", None),
        ] {
            assert_eq!(filled(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn broken_templates_are_refused() {
        for text in ["${{search_space.lr", "a ${{b}", "${{a ${{b}}", "x\0", "$${{inputs.data}}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        assert_eq!(serde_json::to_string(&Template::parse("a${{x}}").unwrap()).unwrap(), "\"a${{x}}\"");
        assert!(serde_json::from_str::<Template>("\"${{\"").is_err());
    }
}
