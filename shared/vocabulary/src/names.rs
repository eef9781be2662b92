//! Rules for the names that people give to things.

/// What is wrong with a name, in words; `None` when it is good.
pub type NameRule = fn(&str) -> Option<String>;

fn check(name: &str, least: usize, most: usize, hyphens: bool) -> Option<String> {
    let length = name.chars().count();
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let letters_well = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || (!hyphens && b == b'_'));
    if (least..=most).contains(&length) && starts_well && letters_well && !name.ends_with('-') && !name.contains("--") {
        None
    } else {
        Some(format!("{name:?}: {least}-{most} letters, digits and single '-', a letter first, no '-' last"))
    }
}

/// Clusters (resources.md 1.1): 3-24 characters, a letter first; a `-` must be followed by a letter later.
pub fn cluster(name: &str) -> Option<String> {
    check(name, 3, 24, true).or_else(|| {
        let bad = name.rfind('-').is_some_and(|at| !name[at..].contains(|c: char| c.is_ascii_alphabetic()));
        bad.then(|| format!("{name:?}: after a '-' a letter must follow"))
    })
}

/// Endpoints and deployments (resources.md 2.1): 3-32 characters, a letter first, single `-`.
pub fn endpoint(name: &str) -> Option<String> {
    check(name, 3, 32, true)
}

/// Workspaces: 1-64 characters, a letter first; letters, digits, `-`, `_`.
pub fn workspace(name: &str) -> Option<String> {
    check(name, 1, 64, false)
}

/// Models, experiments, sweeps: 1-255 characters without control characters, `/`, `:` or leading and trailing blanks.
pub fn title(name: &str) -> Option<String> {
    let length = name.chars().count();
    let bad = !(1..=255).contains(&length)
        || name.trim() != name
        || name.chars().any(|c| c.is_control() || c == '/' || c == ':');
    bad.then(|| format!("{name:?}: 1-255 characters, no '/', ':' or control character, no blank at either end"))
}

/// The environment form of an id: upper case, each `.` and `-` becomes `_`.
pub fn environment_form(id: &str) -> String {
    id.chars().map(|c| if matches!(c, '.' | '-') { '_' } else { c.to_ascii_uppercase() }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_follow_the_published_rules() {
        for good in ["spot", "nc6", "a-b", "gpu-pool-a"] {
            assert_eq!(super::cluster(good), None, "{good}");
        }
        for bad in ["ab", "1abc", "a_b", "abc-", "a--b", "gpu-1", "this-name-is-far-too-long-x", ""] {
            assert!(super::cluster(bad).is_some(), "{bad}");
        }
        assert_eq!(super::title("digits 2026, run"), None);
        assert!(super::title("a/b").is_some() && super::title("").is_some() && super::title(" x").is_some());
        assert_eq!(super::workspace("default"), None);
        assert_eq!(super::endpoint("digits-v2"), None);
    }
}
