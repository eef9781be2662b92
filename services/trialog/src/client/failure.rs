//! What is said when a command does not go well.

use vocabulary::{FieldError, Problem};

use super::stderr;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The server refused.
    Refused(Box<Problem>),
    /// The command line or a file is wrong.
    Usage(String),
    /// Nobody answers.
    NoServer(String),
    /// What answers goes on without an end; to ask again is of no use.
    Endless(String),
    /// The server did what was asked, and the answer is bad news (a failed sweep, a difference found).
    BadNews(String),
}

impl Failure {
    /// 1 refused or bad news, 2 usage, 3 no server, or none that is one of ours.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::BadNews(_) => 1,
            Self::Usage(_) => 2,
            Self::NoServer(_) | Self::Endless(_) => 3,
        }
    }

    /// What came from options is called by them: pointers into the body, and the options that they came from.
    pub fn in_options(self, options: &[(&str, &str)]) -> Self {
        let Self::Refused(mut problem) = self else { return self };
        for error in &mut problem.errors {
            let Some((pointer, option)) = options.iter().find(|(pointer, _)| error.pointer == *pointer) else {
                continue;
            };
            let name = pointer.trim_start_matches('/').replace('/', ".");
            let rest = error.message.strip_prefix(&name).map(str::to_owned);
            let mut renamed = match rest {
                Some(rest) => format!("{option}{rest}"),
                None => format!("{option}: {}", error.message),
            };
            for (pointer, option) in options {
                let name = pointer.trim_start_matches('/').replace('/', ".");
                // One word may be one of the sentence.
                if name.contains(['.', '_']) {
                    renamed = renamed.replace(&name, option);
                }
            }
            problem.detail = problem.detail.replace(&error.message, &renamed);
            error.message = renamed;
            error.pointer = (*option).to_owned();
        }
        Self::Refused(problem)
    }

    /// To the standard error, for people or as JSON.
    pub fn print(&self, json: bool) {
        match self {
            Self::Refused(problem) if json => {
                let text = serde_json::to_string(problem).unwrap_or_else(|_| problem.to_string());
                stderr::line_as_it_is(&text);
            }
            Self::Refused(problem) => {
                in_words(problem).iter().for_each(|text| stderr::line(text));
            }
            Self::Usage(text) | Self::NoServer(text) | Self::Endless(text) | Self::BadNews(text) => {
                stderr::line(&format!("trialog: {text}"));
            }
        }
    }
}

/// A refusal line by line.
fn in_words(problem: &Problem) -> Vec<String> {
    let mut lines = vec![format!("refused ({}): {}", problem.code, headline(problem))];
    let several = problem.errors.iter().filter(|_| problem.errors.len() > 1);
    lines.extend(several.map(|error| format!("  {}", placed(error))));
    let hints = problem.errors.iter().filter(|error| !error.hint.is_empty());
    lines.extend(hints.map(|error| format!("  hint: {}", error.hint)));
    lines
}

/// What was wrong; with its place, where it is the only thing.
fn headline(problem: &Problem) -> String {
    match problem.errors.as_slice() {
        [only] if only.message == problem.detail => placed(only),
        _ => problem.detail.clone(),
    }
}

/// An error with its place, which most messages begin with.
fn placed(error: &FieldError) -> String {
    let path = error.pointer.trim_start_matches('/').replace('/', ".");
    if path.is_empty() || error.message.starts_with(&path) {
        error.message.clone()
    } else {
        format!("{path}: {}", error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_option_that_its_value_came_from() {
        // Whoever wrote --max 0 has never seen scale.max_nodes.
        let errors = vec![
            FieldError::new("/scale/max_nodes", "OutOfRange", "scale.max_nodes: 0 is less than scale.min_nodes"),
            FieldError::new("/vm_size", "UnknownSize", "size 'D3' is not known"),
            FieldError::new("/zone", "Other", "zone: unknown"),
        ];
        let refused = Failure::Refused(Box::new(Problem::of_errors(422, errors)));
        let Failure::Refused(problem) = refused.in_options(&[
            ("/scale/max_nodes", "--max"),
            ("/scale/min_nodes", "--min"),
            ("/vm_size", "--vm-size"),
        ]) else {
            panic!("another failure")
        };
        let messages: Vec<&str> = problem.errors.iter().map(|error| error.message.as_str()).collect();
        assert!(messages.contains(&"--max: 0 is less than --min"), "{messages:?}");
        assert!(messages.contains(&"--vm-size: size 'D3' is not known") && messages.contains(&"zone: unknown"));
        assert_eq!(placed(&problem.errors[0]), messages[0], "a place is said once");
        let other = FieldError::new("/trial/code", "Missing", "there is no such object");
        assert_eq!(placed(&other), "trial.code: there is no such object");
        // The only one was shown without its place: in a document of a hundred lines it had to be looked for.
        let only = FieldError::new("/search_space/learning rate", "BadName", "\"learning rate\": no blanks");
        let expected = "search_space.learning rate: \"learning rate\": no blanks";
        assert_eq!(headline(&Problem::of_errors(422, vec![only])), expected);
        let whole = FieldError::new("", "MalformedBody", "expected a map");
        assert_eq!(headline(&Problem::of_errors(400, vec![whole])), "expected a map");
        assert_eq!(problem.detail, "--max: 0 is less than --min (and 2 more)");
    }
}
