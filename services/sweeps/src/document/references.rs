//! Checks what the command and the variables refer to.

use std::collections::{BTreeMap, HashSet};

use documents::{Field, Findings, did_you_mean};
use vocabulary::FieldError;

use super::space::Names;
use super::template::{Reference, Template};

/// All references of a document with their places.
#[derive(Default)]
pub(super) struct References<'a> {
    found: Vec<(Field<'a>, Reference)>,
    in_command: bool,
    /// Parameters in words of the string form that are no `--x=value`: these words leave something behind when the
    /// parameter is not there.
    loose: Vec<Loose<'a>>,
}

/// A parameter in a word of a command that was written as one text.
struct Loose<'a> {
    field: Field<'a>,
    name: String,
    /// How it should be written.
    wanted: String,
}

impl<'a> References<'a> {
    /// Takes the references of a template at `field`.
    pub(super) fn add(&mut self, field: &Field<'a>, template: &Template) {
        let mut references = template.references().peekable();
        if references.peek().is_some() {
            self.in_command |= field.pointer().starts_with("/trial/command");
        }
        self.found.extend(references.map(|reference| (field.clone(), reference.clone())));
    }

    /// Takes a word of a command that was written as one text, and the word before it.
    pub(super) fn add_word(&mut self, field: &Field<'a>, text: &str, before: Option<&str>, template: &Template) {
        let flag = text.split_once("${{").map_or("", |(before, _)| before);
        if flag.starts_with('-') && flag.contains('=') {
            return;
        }
        for reference in template.references() {
            if let Reference::Parameter(name) = reference {
                // The script knows the parameter by the flag that stands there, whatever the document calls it.
                let flag = before.filter(|before| before.starts_with('-') && !before.contains(['=', '$']));
                let word = format!("${{{{search_space.{name}}}}}");
                let wanted = match flag {
                    // Not every program takes -r=VALUE.
                    Some(short) if !short.starts_with("--") => {
                        format!("the command as a list with a group, [\"{short}\", \"{word}\"]")
                    }
                    Some(flag) => format!("{flag}={word}, or the command as a list with a group"),
                    None => format!("--{name}={word}, or the command as a list with a group"),
                };
                self.loose.push(Loose { field: field.clone(), name: name.clone(), wanted });
            }
        }
    }

    /// Notes unknown references, conditional ones that would leave something behind, and parameters that nothing
    /// refers to.
    pub(super) fn check<I, O>(
        &self,
        parameters: Option<&Names>,
        inputs: &BTreeMap<String, I>,
        outputs: &BTreeMap<String, O>,
        findings: &Findings,
    ) {
        let inputs = Known::of(inputs.keys());
        let outputs = Known::of(outputs.keys());
        let names = Known::of(parameters.iter().flat_map(|names| &names.all));
        let mut used = HashSet::new();
        for (field, reference) in &self.found {
            let (received, known) = match reference {
                Reference::Parameter(name) => {
                    used.insert(name.as_str());
                    (name, &names)
                }
                Reference::Input(id) => (id, &inputs),
                Reference::Output(id) => (id, &outputs),
                Reference::TrialIndex | Reference::SweepId => continue,
                Reference::Unknown(_) => {
                    findings.add_with(|| unknown(field, reference, meant_instead(reference, &names.names)));
                    continue;
                }
            };
            // Without a readable search space nothing is known about its names.
            let unchecked = matches!(reference, Reference::Parameter(_)) && parameters.is_none();
            if !unchecked && !known.names.contains(received.as_str()) {
                let meant = || did_you_mean(received, known.written.iter().copied()).map(str::to_owned);
                findings.add_with(|| unknown(field, reference, meant()));
            }
        }
        let conditional: HashSet<&str> =
            parameters.iter().flat_map(|names| &names.conditional).map(String::as_str).collect();
        let loose = self.loose.iter().filter(|loose| conditional.contains(loose.name.as_str()));
        for Loose { field, name, wanted } in loose {
            findings.add_with(|| {
                let message = format!("trial.command: {name} is not always there; write {wanted}");
                FieldError::new(field.pointer(), "ConditionalReference", message)
            });
        }
        if let (true, Some(parameters)) = (self.in_command, parameters) {
            warn_of_unused(&parameters.all, &used, findings);
        }
    }
}

/// Names that references may use: to look one up, and in written order to suggest one.
struct Known<'n> {
    names: HashSet<&'n str>,
    written: Vec<&'n str>,
}

impl<'n> Known<'n> {
    fn of(names: impl Iterator<Item = &'n String>) -> Self {
        let written: Vec<&str> = names.map(String::as_str).collect();
        Self { names: written.iter().copied().collect(), written }
    }
}

fn unknown(field: &Field<'_>, reference: &Reference, meant: Option<String>) -> FieldError {
    let name = match reference {
        Reference::Parameter(name) | Reference::Input(name) | Reference::Output(name) => name.clone(),
        other => other.to_string(),
    };
    documents::job::unknown_reference(field, reference, &name, meant.as_deref())
}

/// For a reference with an unknown section: people leave `search_space.` away.
fn meant_instead(reference: &Reference, names: &HashSet<&str>) -> Option<String> {
    let text = reference.to_string();
    let last = text.rsplit('.').next().unwrap_or_default();
    if let Some(name) = names.get(text.as_str()).or_else(|| names.get(last)) {
        return Some(format!("search_space.{name}"));
    }
    did_you_mean(&text, ["trial.index", "sweep.id"]).map(str::to_owned)
}

fn warn_of_unused(names: &[String], used: &HashSet<&str>, findings: &Findings) {
    for name in names.iter().filter(|name| !used.contains(name.as_str())) {
        let message = format!("search_space.{name}: no reference in the command or its variables uses it");
        findings.warn(documents::pointer::child("/search_space", name), "UnusedParameter", message);
    }
}
