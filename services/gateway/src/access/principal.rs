//! Who sent a request, and how much they may do.

use jiff::Timestamp;
use strum::{Display, EnumString};
use vocabulary::token::RunToken;
use vocabulary::{Problem, names};

/// How much a user token allows; each allows what the ones before it do, but for the scorer, who may only score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Scores one endpoint, or all of a workspace.
    Scorer,
    /// Reads a workspace.
    Reader,
    /// Changes what is in a workspace.
    Contributor,
    /// Makes and revokes the workspace's tokens.
    Owner,
    /// Everything, in all workspaces.
    Admin,
}

/// A user token as the gateway knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserToken {
    /// The public part of the token.
    pub token_id: String,
    /// Who it is.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// The workspace that it is good for; empty for admin.
    pub workspace: String,
    /// The endpoint of a scorer; empty = all of the workspace.
    pub endpoint: String,
    /// From when on it is refused; `None` = never.
    pub expires_at: Option<Timestamp>,
}

impl std::fmt::Display for UserToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (id, name) = (&self.token_id, &self.name);
        // Lists have both; older tokens may have no name.
        if name.is_empty() { write!(f, "token {id}") } else { write!(f, "token '{name}' ({id})") }
    }
}

impl UserToken {
    /// Who does what is done with it. Older tokens may have no name, or one that reads as somebody else: an agent's, a
    /// run's.
    pub fn actor(&self) -> String {
        match names::title(&self.name) {
            None => self.name.clone(),
            Some(_) => format!("token:{}", self.token_id),
        }
    }
}

/// Who sent the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A person or a program with a token of the workspace.
    User(UserToken),
    /// A running attempt.
    Run(RunToken),
}

impl Principal {
    /// The name under which commands are recorded.
    pub fn actor(&self) -> String {
        match self {
            Self::User(token) => token.actor(),
            Self::Run(token) => format!("run:{}#{}", token.run_id, token.attempt),
        }
    }

    /// Whether the workspace exists for this principal.
    pub fn sees(&self, workspace: &str) -> bool {
        match self {
            Self::User(token) => token.scope == Scope::Admin || token.workspace == workspace,
            Self::Run(token) => token.workspace == workspace,
        }
    }

    /// Asks for at least this scope.
    ///
    /// # Errors
    /// 403 that names both scopes.
    pub fn require(&self, least: Scope) -> Result<(), Problem> {
        match self {
            Self::User(token) if token.scope >= least => Ok(()),
            Self::User(token) => {
                let (has, needs) = (token.scope, least);
                Err(forbidden(format!("{token} has scope {has}; this needs {needs}")))
            }
            Self::Run(token) => {
                let what = "write the metrics, logs, artifacts and objects of its own run and read that run";
                Err(forbidden(format!("the token of run '{}' may only {what}", token.run_id)))
            }
        }
    }

    /// Whether the principal may send requests to an endpoint: contributors and above, and scorers of it.
    ///
    /// # Errors
    /// 404 for another workspace, 403 otherwise.
    pub fn may_score(&self, workspace: &str, endpoint: &str) -> Result<(), Problem> {
        if !self.sees(workspace) {
            return Err(Problem::not_found("endpoint", endpoint, workspace));
        }
        match self {
            Self::User(token @ UserToken { scope: Scope::Scorer, endpoint: only, .. }) => {
                if only.is_empty() || only == endpoint {
                    return Ok(());
                }
                Err(forbidden(format!("{token} scores endpoint '{only}', not '{endpoint}'")))
            }
            other => other.require(Scope::Contributor),
        }
    }
}

/// 403 with the reason.
pub fn forbidden(detail: String) -> Problem {
    Problem::new(403, "Forbidden", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(scope: Scope, endpoint: &str) -> Principal {
        let (token_id, name, workspace) = ("t1".to_owned(), "ada".to_owned(), "lab".to_owned());
        let endpoint = endpoint.to_owned();
        Principal::User(UserToken { token_id, name, scope, workspace, endpoint, expires_at: None })
    }

    #[test]
    fn who_does_something_is_the_tokens_name_unless_it_reads_as_another() {
        // Whoever looks at a canceled sweep wants a name; an agent may do what no user may.
        let actor = |name: &str| {
            let Principal::User(token) = user(Scope::Owner, "") else { unreachable!("a user's") };
            UserToken { name: name.to_owned(), ..token }.actor()
        };
        assert_eq!([actor("ada"), actor("Zoë at night")], ["ada", "Zoë at night"]);
        assert_eq!([actor(""), actor("agent:n1"), actor("run:r#1")], ["token:t1"; 3].map(str::to_owned));
    }

    #[test]
    fn a_refusal_names_the_token_as_its_owner_knows_it() {
        // An id alone is looked up in a list that whoever is refused may not read.
        let refused = user(Scope::Reader, "").require(Scope::Owner).unwrap_err();
        assert_eq!(refused.detail, "token 'ada' (t1) has scope reader; this needs owner");
        let elsewhere = user(Scope::Scorer, "other").may_score("lab", "digits").unwrap_err();
        assert_eq!(elsewhere.detail, "token 'ada' (t1) scores endpoint 'other', not 'digits'");
    }

    #[test]
    fn scoring_is_for_contributors_and_scorers_of_the_endpoint() {
        assert!(user(Scope::Contributor, "").may_score("lab", "digits").is_ok());
        assert!(user(Scope::Scorer, "digits").may_score("lab", "digits").is_ok());
        assert!(user(Scope::Scorer, "").may_score("lab", "digits").is_ok());
        assert_eq!(user(Scope::Scorer, "other").may_score("lab", "digits").unwrap_err().status, 403);
        assert_eq!(user(Scope::Reader, "").may_score("lab", "digits").unwrap_err().status, 403);
        assert_eq!(user(Scope::Owner, "").may_score("else", "digits").unwrap_err().status, 404);
    }

    #[test]
    fn a_scope_is_its_name() {
        for scope in [Scope::Scorer, Scope::Reader, Scope::Contributor, Scope::Owner, Scope::Admin] {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        assert!("root".parse::<Scope>().is_err());
    }
}
