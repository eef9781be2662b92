//! Checks what the command and the variables refer to.

use std::collections::{BTreeMap, HashSet};

use documents::{Field, Findings, did_you_mean};

use super::space::Names;
use super::template::{Reference, Template};

/// All references of a document with their places.
#[derive(Default)]
pub(super) struct References {
    found: Vec<(String, Reference)>,
    in_command: bool,
    /// Parameters in words of the string form that are no `--x=value`: these words leave something behind when the
    /// parameter is not there.
    loose: Vec<(String, String)>,
}

impl References {
    /// Takes the references of a template at `field`.
    pub(super) fn add(&mut self, field: &Field<'_>, template: &Template) {
        for reference in template.references() {
            self.in_command |= field.pointer().starts_with("/trial/command");
            self.found.push((field.pointer().to_owned(), reference.clone()));
        }
    }

    /// Takes a word of a command that was written as one text.
    pub(super) fn add_word(&mut self, field: &Field<'_>, text: &str, template: &Template) {
        let flag = text.split_once("${{").map_or("", |(before, _)| before);
        if flag.starts_with('-') && flag.contains('=') {
            return;
        }
        for reference in template.references() {
            if let Reference::Parameter(name) = reference {
                self.loose.push((field.pointer().to_owned(), name.clone()));
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
        let inputs: Vec<&str> = inputs.keys().map(String::as_str).collect();
        let outputs: Vec<&str> = outputs.keys().map(String::as_str).collect();
        let names: Vec<&str> = parameters.iter().flat_map(|names| &names.all).map(String::as_str).collect();
        let mut used = HashSet::new();
        for (pointer, reference) in &self.found {
            let (received, known) = match reference {
                Reference::Parameter(name) => {
                    used.insert(name.as_str());
                    (name, &names)
                }
                Reference::Input(id) => (id, &inputs),
                Reference::Output(id) => (id, &outputs),
                Reference::TrialIndex | Reference::SweepId => continue,
                Reference::Unknown(_) => {
                    unknown(pointer, reference, meant_instead(reference, &names), findings);
                    continue;
                }
            };
            // Without a readable search space nothing is known about its names.
            let unchecked = matches!(reference, Reference::Parameter(_)) && parameters.is_none();
            if !unchecked && !known.contains(&received.as_str()) {
                unknown(pointer, reference, did_you_mean(received, known.iter().copied()).map(str::to_owned), findings);
            }
        }
        for (pointer, name) in &self.loose {
            if parameters.is_some_and(|names| names.conditional.contains(name)) {
                let message = format!(
                    "trial.command: {name} is not always there; write --{name}=${{{{search_space.{name}}}}}, or the \
                     command as a list with a group"
                );
                findings.refuse(pointer, "ConditionalReference", message);
            }
        }
        if self.in_command {
            warn_of_unused(&names, &used, findings);
        }
    }
}

fn unknown(pointer: &str, reference: &Reference, meant: Option<String>, findings: &Findings) {
    let name = match reference {
        Reference::Parameter(name) | Reference::Input(name) | Reference::Output(name) => name.clone(),
        other => other.to_string(),
    };
    let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    let path = documents::pointer::dotted(pointer);
    let message = format!("{path}: ${{{{{reference}}}}} refers to nothing: unknown {name}{meant}");
    findings.refuse(pointer, "UnknownReference", message);
}

/// For a reference with an unknown section: people leave `search_space.` away.
fn meant_instead(reference: &Reference, names: &[&str]) -> Option<String> {
    let text = reference.to_string();
    let last = text.rsplit('.').next().unwrap_or_default();
    if let Some(name) = names.iter().find(|name| **name == text || **name == last) {
        return Some(format!("search_space.{name}"));
    }
    did_you_mean(&text, ["trial.index", "sweep.id"]).map(str::to_owned)
}

fn warn_of_unused(names: &[&str], used: &HashSet<&str>, findings: &Findings) {
    for name in names.iter().filter(|name| !used.contains(*name)) {
        let message = format!("search_space.{name}: no reference in the command or its variables uses it");
        findings.warn(documents::pointer::child("/search_space", name), "UnusedParameter", message);
    }
}
