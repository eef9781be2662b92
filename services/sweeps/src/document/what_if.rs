//! Questions about other policies: a list of them, as sweep documents write them, and the clock to replay them by.

use documents::{Field, Findings, Format};
use tuning::{Clock, PolicySpec};
use vocabulary::Problem;

use super::policy;

/// Policies of one question: each is a replay of all curves.
const POLICIES_MAX: usize = 32;
/// Workers of a replay; more than trials change nothing.
const WORKERS_MAX: u32 = 10_000;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The policies, in order.
    pub policies: Vec<PolicySpec>,
    /// By which clock.
    pub clock: Clock,
}

/// Reads `{policies, workers, max_reports}`.
///
/// # Errors
/// 400 and 422 as for a sweep document.
pub fn read_what_if(text: &[u8], format: Format) -> Result<Question, Problem> {
    let document = documents::read(text, format)?;
    let findings = Findings::new();
    let question = Field::root(&document, &findings).map().and_then(|mut fields| {
        let list = fields.required("policies");
        let items = list.list()?;
        if !(1..=POLICIES_MAX).contains(&items.len()) {
            list.refuse("OutOfRange", format_args!("{} policies; 1 to {POLICIES_MAX}", items.len()));
        }
        let policies: Vec<Option<PolicySpec>> = items.iter().map(|item| replayable(item, &findings)).collect();
        let (workers, reports) = (fields.field("workers"), fields.field("max_reports"));
        let clock = match (workers.is_present(), reports.is_present()) {
            (false, true) => {
                reports.refuse("Required", "max_reports: goes with workers; the recorded order has its own end");
                None
            }
            (false, false) => Some(Clock::Recorded),
            (true, given) => {
                let workers = workers.integer_in(1..=WORKERS_MAX);
                let most = if given { reports.integer_in(1..=u64::MAX) } else { Some(u64::MAX) };
                workers.zip(most).map(|(workers, max_reports)| Clock::Workers { workers, max_reports })
            }
        };
        Some(Question { policies: policies.into_iter().collect::<Option<_>>()?, clock: clock? })
    });
    Ok(findings.finish(question)?.0)
}

/// Reads one policy, as it stands behind `early_termination` in a sweep document.
///
/// # Errors
/// 400 and 422 as for a sweep document.
pub fn read_policy(text: &[u8], format: Format) -> Result<PolicySpec, Problem> {
    let document = documents::read(text, format)?;
    let findings = Findings::new();
    let policy = replayable(&Field::root(&document, &findings), &findings);
    Ok(findings.finish(policy)?.0)
}

fn replayable(field: &Field<'_>, findings: &Findings) -> Option<PolicySpec> {
    let policy = policy::read(field, false, findings)?;
    if policy.promotes() {
        let message = "variant promotion pauses trials, of which recorded curves say nothing; ask for variant stopping";
        field.refuse("NotReplayable", message);
        return None;
    }
    if policy.is_population_based() {
        let message = "pbt starts trials that follow others, of which recorded curves say nothing; ask for another \
                       policy";
        field.refuse("NotReplayable", message);
        return None;
    }
    Some(policy)
}
