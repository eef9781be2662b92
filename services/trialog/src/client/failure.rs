//! What is said when a command does not go well.

use vocabulary::Problem;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The server refused.
    Refused(Box<Problem>),
    /// The command line or a file is wrong.
    Usage(String),
    /// Nobody answers.
    NoServer(String),
    /// The server did what was asked, and the answer is bad news (a failed sweep, a difference found).
    BadNews(String),
}

impl Failure {
    /// 1 refused or bad news, 2 usage, 3 no server.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::BadNews(_) => 1,
            Self::Usage(_) => 2,
            Self::NoServer(_) => 3,
        }
    }

    /// To the standard error, for people or as JSON.
    pub fn print(&self, json: bool) {
        match self {
            Self::Refused(problem) if json => {
                eprintln!("{}", serde_json::to_string(problem).unwrap_or_else(|_| problem.to_string()));
            }
            Self::Refused(problem) => {
                eprintln!("refused ({} {}): {}", problem.status, problem.code, problem.detail);
                for error in problem.errors.iter().filter(|_| problem.errors.len() > 1) {
                    eprintln!("  {}: {}", error.pointer, error.message);
                }
                for error in problem.errors.iter().filter(|error| !error.hint.is_empty()) {
                    eprintln!("  hint: {}", error.hint);
                }
            }
            Self::Usage(text) | Self::NoServer(text) | Self::BadNews(text) => eprintln!("trialog: {text}"),
        }
    }
}
