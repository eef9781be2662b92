//! Warm starts: earlier sweeps whose trials are observations, and trials of theirs that go on.

use std::collections::HashSet;

use documents::{Field, Fields, Tree, reference};

use super::compat;
use super::spec::{EarlierTrial, Limits, ResumeFrom, SpaceRule};

/// Most earlier sweeps.
const SWEEPS_MAX: usize = 5;

/// What a document says about earlier sweeps; `None` in a member means that it was refused.
pub(super) struct WarmStart {
    pub from: Option<Option<ResumeFrom>>,
    pub trials: Option<Vec<EarlierTrial>>,
}

/// Reads `resume_from` and `resume_trials`. `named` gets the earlier sweeps as far as they could be read, each with its
/// place.
pub(super) fn read(
    fields: &mut Fields<'_>,
    in_compat: bool,
    limits: Option<&Limits>,
    named: &mut Vec<(String, String)>,
) -> WarmStart {
    let from = read_from(&fields.field("resume_from"), in_compat, named);
    let trials = read_trials(&fields.field("resume_trials"), from.as_ref().and_then(Option::as_ref), limits);
    WarmStart { from, trials }
}

/// Reads `resume_from`: a list of sweeps by id or name, or `{sweeps: […], space: same | intersect}`.
fn read_from(field: &Field<'_>, in_compat: bool, named: &mut Vec<(String, String)>) -> Option<Option<ResumeFrom>> {
    let (list, space) = match field.node().map(|node| &node.value) {
        None => return Some(None),
        Some(Tree::Map(_)) => {
            let mut fields = field.map()?;
            fields.described_by(&reference::RESUME_FROM);
            let rule = fields.field("space");
            let space = rule.one_of("BadSpaceRule", &["same", "intersect"]);
            if in_compat && space == Some("intersect") {
                compat::refuse_native(&rule, "intersect");
            }
            (fields.required("sweeps"), if space == Some("intersect") { SpaceRule::Intersect } else { SpaceRule::Same })
        }
        Some(_) => (field.clone(), SpaceRule::Same),
    };
    let items = list.list()?;
    if !(1..=SWEEPS_MAX).contains(&items.len()) {
        list.refuse("WarmStartMismatch", format_args!("{} sweeps; 1 to {SWEEPS_MAX}", items.len()));
        // Each trial of resume_trials is looked up in this list.
        return None;
    }
    let mut seen = HashSet::new();
    let read: Vec<Option<String>> = items
        .iter()
        .map(|item| {
            let name = item.text()?;
            if !seen.insert(name) {
                item.refuse("WarmStartMismatch", format_args!("{name:?} is there already; name each sweep once"));
            }
            named.push((item.pointer(), name.to_owned()));
            Some(name.to_owned())
        })
        .collect();
    Some(Some(ResumeFrom { sweeps: read.into_iter().collect::<Option<_>>()?, space }))
}

/// Reads `resume_trials`: `SWEEP/INDEX`, or `{sweep, trial}`, of sweeps that `from` names.
fn read_trials(field: &Field<'_>, from: Option<&ResumeFrom>, limits: Option<&Limits>) -> Option<Vec<EarlierTrial>> {
    if !field.is_present() {
        return Some(Vec::new());
    }
    let items = field.list()?;
    let Some(from) = from else {
        field.refuse("Required", "resume_from: name the sweeps of these trials");
        return None;
    };
    let most = limits.map_or(u32::MAX, |limits| limits.max_total_trials);
    if items.len() > most as usize {
        field.refuse("OutOfRange", format_args!("{} trials, max_total_trials {most}; raise it", items.len()));
    }
    let mut seen = HashSet::new();
    let read: Vec<Option<EarlierTrial>> = items
        .iter()
        .map(|item| {
            let trial = read_trial(item)?;
            // An id may be one of the names, and a name one of the ids: that is known where both are looked up.
            let has_id = from.sweeps.iter().chain([&trial.sweep]).any(|sweep| sweep.starts_with("sweep_"));
            if !has_id && !from.sweeps.contains(&trial.sweep) {
                item.refuse("WarmStartMismatch", format_args!("{:?} is not in resume_from; add it", trial.sweep));
            }
            if !seen.insert((trial.sweep.clone(), trial.trial)) {
                let (sweep, index) = (&trial.sweep, trial.trial);
                item.refuse("DuplicateTrial", format_args!("{sweep}/{index} is there already; name each trial once"));
            }
            Some(trial)
        })
        .collect();
    read.into_iter().collect()
}

fn read_trial(item: &Field<'_>) -> Option<EarlierTrial> {
    if let Some(Tree::Text(text)) = item.node().map(|node| &node.value) {
        let parts = text.rsplit_once('/').and_then(|(sweep, index)| Some((sweep, index.parse().ok()?)));
        let Some((sweep, trial)) = parts else {
            item.refuse("BadTrial", format_args!("expected SWEEP/INDEX, received {}", item.received()));
            return None;
        };
        return Some(EarlierTrial { sweep: sweep.to_owned(), trial });
    }
    let mut fields: Fields<'_> = item.map()?;
    fields.described_by(&reference::RESUME_TRIAL);
    let (sweep, trial) = (fields.required("sweep").text(), fields.required("trial").integer_in(0..=u32::MAX));
    Some(EarlierTrial { sweep: sweep?.to_owned(), trial: trial? })
}
