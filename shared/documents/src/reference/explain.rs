//! The reference as text: what `trialog explain sweep.early_termination.asha` prints.

use super::{DOCUMENTS, Entry, Kinds, Presence, Section, Type};
use crate::suggest::meant_field;

/// Where a path has led to.
enum Here {
    Documents,
    Section(String, &'static Section),
    Kinds(String, &'static str, &'static Kinds),
    Field(&'static Entry),
}

/// Explains what a path such as `sweep.early_termination.asha` leads to; an empty one, which documents there are.
///
/// # Errors
/// What there is instead, when there is no such thing.
pub fn explain(path: &str) -> Result<String, String> {
    let mut here = Here::Documents;
    let mut walked = String::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let names = names(&here);
        let Some(next) = step(&here, part) else {
            let meant =
                meant_field(part, &names, &names).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            let place = if walked.is_empty() { "documents" } else { walked.as_str() };
            return Err(format!("{place} has no {part:?}: it has {}{meant}", names.join(", ")));
        };
        here = next;
        walked = if walked.is_empty() { part.to_owned() } else { format!("{walked}.{part}") };
    }
    Ok(text(&here, &walked))
}

fn names(here: &Here) -> Vec<&'static str> {
    match here {
        Here::Documents => DOCUMENTS.iter().map(|(name, _)| *name).collect(),
        Here::Section(_, section) => section.fields.iter().map(|entry| entry.name).collect(),
        Here::Kinds(_, _, kinds) => kinds.names(),
        Here::Field(_) => Vec::new(),
    }
}

fn step(here: &Here, part: &str) -> Option<Here> {
    match here {
        Here::Documents => {
            let (name, section) = DOCUMENTS.iter().find(|(name, _)| *name == part)?;
            Some(Here::Section((*name).to_owned(), section))
        }
        Here::Section(_, section) => {
            let entry = section.fields.iter().find(|entry| entry.name == part)?;
            Some(below(&entry.of, entry).unwrap_or(Here::Field(entry)))
        }
        Here::Kinds(_, _, kinds) => Some(Here::Section(format!("{}: {part}", kinds.tag), kinds.kind(part)?)),
        Here::Field(_) => None,
    }
}

/// What is below a field, whatever lists and maps are between.
fn below(of: &'static Type, entry: &'static Entry) -> Option<Here> {
    match of {
        Type::Map(section) => Some(Here::Section(entry.of.words(), section)),
        Type::Kinds(kinds) => Some(Here::Kinds(entry.of.words(), entry.meaning, kinds)),
        Type::List(of) | Type::Named(_, of) => below(of, entry),
        Type::Any(types) => types.iter().find_map(|of| below(of, entry)),
        _ => None,
    }
}

fn text(here: &Here, path: &str) -> String {
    match here {
        Here::Documents => {
            let lines = DOCUMENTS.iter().map(|(name, section)| format!("{name:<12}{}\n", section.meaning));
            format!("{}\ntrialog explain sweep.limits explains a part of one.\n", lines.collect::<String>())
        }
        Here::Section(what, section) => {
            let mut text = format!("{path} ({what})\n{}\n", section.meaning);
            if !section.fields.is_empty() {
                text.push_str("\nFIELDS\n");
            }
            section.fields.iter().for_each(|entry| text.push_str(&short(entry)));
            text
        }
        Here::Kinds(what, meaning, kinds) => {
            let mut text = format!("{path} ({what})\n{meaning}\n\nKINDS\n");
            for (name, section) in kinds.kinds {
                text.push_str(&format!("  {name}\n      {}\n", section.meaning));
            }
            if !kinds.short.is_empty() {
                text.push_str(&format!("\nWithout settings the name alone will do: {}.\n", kinds.short.join(", ")));
            }
            text
        }
        Here::Field(entry) => format!("{path}\n{}", short(entry)),
    }
}

fn short(entry: &Entry) -> String {
    let mut text = format!("  {} ({}", entry.name, entry.of.words());
    text.push_str(&match entry.presence {
        Presence::Required => "; required)\n".to_owned(),
        Presence::Optional => ")\n".to_owned(),
        Presence::Default(value) => format!("; default {value})\n"),
        Presence::Otherwise(sentence) => format!("; absent: {sentence})\n"),
    });
    text.push_str(&format!("      {}\n      example: {}\n", entry.meaning, entry.example));
    text.push_str(&format!("      errors: {}\n", all_codes(entry).join(", ")));
    text
}

/// The codes of a field, its own first.
pub(super) fn all_codes(entry: &Entry) -> Vec<&'static str> {
    let mut codes: Vec<&'static str> = entry.codes.to_vec();
    if entry.presence == Presence::Required {
        codes.push("Required");
    }
    for code in entry.of.codes() {
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::explain;

    #[test]
    fn a_path_leads_to_what_is_there() {
        let asha = explain("sweep.early_termination.asha").unwrap();
        assert!(asha.starts_with("sweep.early_termination.asha (type: asha)\nAsynchronous"), "{asha}");
        assert!(asha.contains("  max_resource (an integer >= 2; required)\n"), "{asha}");
        assert!(asha.contains("  reduction_factor (an integer >= 2; default 4)\n"), "{asha}");
        let parameter = explain("sweep.search_space.choice.values").unwrap();
        assert!(parameter.contains("errors: EmptyChoice, BadChoiceValue"), "{parameter}");
        assert!(explain("").unwrap().contains("\nrun         A run"));
        assert!(explain("sweep.limits").unwrap().contains("max_retries (an integer in 0..=10; default 0)"));
        assert!(explain("sweep.trial.inputs.uri").unwrap().contains("required"));
        let wrong = explain("sweep.early_termination.ashaa").unwrap_err();
        assert!(wrong.ends_with("did you mean asha?") && wrong.contains("median_stopping"), "{wrong}");
        assert!(explain("sweep.limits.max_retries.x").is_err());
    }
}
