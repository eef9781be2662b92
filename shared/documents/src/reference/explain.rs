//! The reference as text: what `trialog explain sweep.early_termination.asha` prints.

use std::collections::BTreeSet;

use super::{DOCUMENTS, Entry, Kinds, Presence, Section, Type};
use crate::suggest::meant_field;

/// Where a path has led to.
enum Here {
    Documents,
    Section(String, &'static Section),
    Kinds(String, &'static str, &'static Kinds),
    Field(&'static Entry),
}

/// Paths that a word leads to which are shown; more would be the reference itself.
const MATCHES_MAX: usize = 20;

/// Explains what a path such as `sweep.early_termination.asha` leads to; an empty one, which documents there are. A
/// word that is no path is looked for among the names and meanings of all fields.
///
/// # Errors
/// What there is instead, when there is no such thing.
pub fn explain(path: &str) -> Result<String, String> {
    let mut here = Here::Documents;
    let mut walked = String::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let names = names(&here);
        let Some(next) = step(&here, part) else {
            return if walked.is_empty() { search(path) } else { Err(none_there(&walked, part, &names)) };
        };
        here = next;
        walked = if walked.is_empty() { part.to_owned() } else { format!("{walked}.{part}") };
    }
    Ok(text(&here, &walked))
}

fn none_there(place: &str, part: &str, names: &[&str]) -> String {
    let meant = meant_field(part, names, names).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    format!("{place} has no {part:?}: it has {}{meant}", names.join(", "))
}

/// The paths whose names have the word, then those whose meanings have it.
fn search(word: &str) -> Result<String, String> {
    let (wanted, all) = (word.to_lowercase(), everything());
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    let name = |place: &Place| place.path.rsplit('.').next().unwrap_or_default().to_owned();
    // By its very name, by a part of it, by its meaning.
    let rank = |place: &Place| {
        if name(place) == wanted {
            Some(0)
        } else if has(&name(place)) || (wanted.contains('.') && has(&place.path)) {
            Some(1)
        } else {
            place.texts.iter().any(|text| has(text)).then_some(2)
        }
    };
    let mut found: Vec<_> = all.iter().filter_map(|place| Some((rank(place)?, place))).collect();
    found.sort_by_key(|(rank, _)| *rank);
    let found: Vec<&Place> = found.into_iter().map(|(_, place)| place).collect();
    if found.is_empty() {
        let names: BTreeSet<String> = all.iter().map(name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let documents: Vec<&str> = DOCUMENTS.iter().map(|(name, _)| *name).collect();
        let documents = documents.join(", ");
        return Err(match meant_field(word, &names, &names) {
            Some(meant) => format!("no field is called {word:?} or has it in its meaning; did you mean {meant}?"),
            None => format!("no field is called {word:?} or has it in its meaning; the documents are {documents}"),
        });
    }
    let width = found.iter().take(MATCHES_MAX).map(|place| place.path.len()).max().unwrap_or_default();
    let mut text = format!("{word:?} is in\n");
    for place in found.iter().take(MATCHES_MAX) {
        text.push_str(&format!("  {:width$}  {}\n", place.path, place.texts[0]));
    }
    if found.len() > MATCHES_MAX {
        text.push_str(&format!("  and {} more: /docs/reference has all\n", found.len() - MATCHES_MAX));
    }
    text.push_str(&format!("\ntrialog explain {} says more of the first.\n", found[0].path));
    Ok(text)
}

/// A place of the reference.
struct Place {
    path: String,
    /// Its meaning, then what else is said of it.
    texts: Vec<String>,
}

/// Every field and kind of every document, by the path that explains it.
fn everything() -> Vec<Place> {
    let mut places = Vec::new();
    for (name, _) in DOCUMENTS {
        gather(name, &mut places);
    }
    places
}

fn gather(path: &str, places: &mut Vec<Place>) {
    let parts = || path.split('.');
    let Some(here) = parts().try_fold(Here::Documents, |here, part| step(&here, part)) else { return };
    let below: Vec<(&str, Vec<String>)> = match &here {
        Here::Section(_, section) => {
            let texts = |entry: &Entry| {
                let codes = all_codes(entry).into_iter().map(str::to_owned);
                [entry.meaning.to_owned(), entry.of.words()].into_iter().chain(codes).collect()
            };
            section.fields.iter().map(|entry| (entry.name, texts(entry))).collect()
        }
        Here::Kinds(_, _, kinds) => {
            kinds.kinds.iter().map(|(name, section)| (*name, vec![section.meaning.to_owned()])).collect()
        }
        Here::Documents | Here::Field(_) => Vec::new(),
    };
    for (name, texts) in below {
        let path = format!("{path}.{name}");
        places.push(Place { path: path.clone(), texts });
        gather(&path, places);
    }
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

    #[test]
    fn a_word_leads_to_the_fields_that_have_it_in_their_names_or_meanings() {
        // Who knows what something is called need not know in which document it stands.
        let found = explain("checkpoint").unwrap();
        let line = |path: &str| found.lines().position(|line| line.trim_start().starts_with(path));
        let (named, other) = (line("sweep.trial.checkpoint ").unwrap(), line("run.job.checkpoint_from").unwrap());
        assert!(found.starts_with("\"checkpoint\" is in\n") && named < other, "{found}");
        assert!(found.ends_with("\ntrialog explain sweep.trial.checkpoint says more of the first.\n"), "{found}");
        let meaning = explain("virtual environment").unwrap();
        assert!(meaning.contains("  sweep.trial.environment.requirements  What pip installs"), "{meaning}");
        assert!(explain("text").unwrap().contains("more: /docs/reference has all"));
        let misspelt = explain("max_retrys").unwrap_err();
        assert!(misspelt.ends_with("did you mean max_retries?"), "{misspelt}");
        assert!(explain("trial.comm").unwrap().contains("  sweep.trial.command  The program"));
        assert!(explain("zzzz").unwrap_err().ends_with("the documents are sweep, run, cluster, endpoint, deployment"));
    }
}
