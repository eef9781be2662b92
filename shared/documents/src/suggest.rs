//! What a user probably meant.

use vocabulary::FieldError;

use crate::{Place, spellings, work};

/// Typing errors up to this many edits are recognised; more would suggest unrelated short names.
const MOST_EDITS: usize = 2;

/// Longer names are no misspellings of ours, and comparing them costs time and memory by their length.
const LONGEST: usize = 100;

/// The candidate that `received` is most likely a misspelling of.
///
/// Case and separators do not count. A candidate is near if at most two edits lie between (fewer for short names), if
/// one is the start of the other, or if each word of `received` is near a word of it (`max_trails`:
/// `max_total_trials`).
pub fn did_you_mean<'a>(received: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if received.len() > LONGEST {
        return None;
    }
    let wanted = plain(received);
    let words = words_of(received);
    let ranked = candidates.into_iter().filter_map(|candidate| {
        work::add(1);
        let offered = plain(candidate);
        let edits = strsim::damerau_levenshtein(&wanted, &offered);
        let rank = if near(edits, &wanted) {
            edits
        } else if wanted.len() >= 2
            && offered.len() >= 2
            && (offered.starts_with(&wanted) || wanted.starts_with(&offered))
        {
            MOST_EDITS + 1
        } else {
            MOST_EDITS + 2 + words_apart(&words, &words_of(candidate))?
        };
        Some((rank, edits, candidate))
    });
    ranked.min_by_key(|(rank, edits, _)| (*rank, *edits)).map(|(_, _, candidate)| candidate)
}

/// The field that was meant by `received`: one of `names` as another tool calls it, or a misspelt one of those that are
/// `free`, for what is there already was not misspelt.
pub fn meant_field<'a>(received: &str, names: &[&'a str], free: &[&'a str]) -> Option<&'a str> {
    spellings::field(received, names).or_else(|| did_you_mean(received, free.iter().copied()))
}

/// The end of the message about a value that is not one of `allowed`: which are, and which was meant.
pub fn one_of(received: &str, allowed: &[&str]) -> String {
    let meant = spellings::value(received, allowed).or_else(|| did_you_mean(received, allowed.iter().copied()));
    let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    format!("one of {}{meant}", allowed.join(", "))
}

/// The message about a value that is not one of `allowed`; `what` names it.
pub fn not_one_of(what: &str, received: &str, allowed: &[&str]) -> String {
    format!("{what} '{}': {}", shorten(received).escape_debug(), one_of(received, allowed))
}

/// The error of a field at `place` that is not one of `names`; perhaps one of them was `meant`. With `lists` it says
/// which there are; of several unknown fields of one place the first says it for all.
pub(crate) fn unknown_field(place: &Place<'_>, meant: Option<&str>, names: &[&str], lists: bool) -> FieldError {
    let mut message = format!("{}: unknown", shorten(&place.path()));
    if let Some(meant) = meant {
        message.push_str(&format!("; did you mean {meant}?"));
    }
    if lists && !names.is_empty() {
        let how = if message.ends_with('?') { " The" } else { "; the" };
        message.push_str(&format!("{how} fields here are {}", names.join(", ")));
    } else if lists {
        message.push_str("; there are no fields here");
    }
    FieldError::new(place.pointer(), "UnknownField", message)
}

/// Longest received text in a message, in characters: enough to recognise it.
const SHOWN: usize = 80;

/// The beginning of a text, for messages.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn near(edits: usize, wanted: &str) -> bool {
    edits <= MOST_EDITS && edits * 2 <= wanted.chars().count()
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn words_of(name: &str) -> Vec<String> {
    name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// The sum of the edits when every word of `wanted` is found, in order, in `offered`; `None` when one is not.
fn words_apart(wanted: &[String], offered: &[String]) -> Option<usize> {
    if wanted.len() < 2 {
        return None;
    }
    let mut rest = offered.iter();
    wanted.iter().try_fold(0, |sum, word| {
        rest.find_map(|other| {
            let edits = strsim::damerau_levenshtein(word, other);
            near(edits, word).then_some(sum + edits)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn suggests_what_was_meant_and_nothing_else() {
        let limits = ["max_total_trials", "max_concurrent_trials", "timeout_seconds", "trial_timeout_seconds"];
        for (received, meant) in [
            ("max_trails", Some("max_total_trials")),
            ("timeout", Some("timeout_seconds")),
            ("timeoutSeconds", Some("timeout_seconds")),
            ("MAX_TOTAL_TRIALS", Some("max_total_trials")),
            ("max_concurent_trials", Some("max_concurrent_trials")),
            ("colour", None),
            ("", None),
            (&"max_total_trials".repeat(10), None),
        ] {
            assert_eq!(did_you_mean(received, limits), meant, "{received}");
        }
        let types = ["choice", "uniform", "quniform", "loguniform", "qloguniform"];
        assert_eq!(did_you_mean("loguni", types), Some("loguniform"));
        assert_eq!(did_you_mean("lrr", ["mu", "lr"]), Some("lr"));
        assert_eq!(did_you_mean("xy", ["mu", "lr"]), None);
    }
}
