//! Why a trial is what it is: its proposal, the decisions about it, its attempts.

use serde_json::{Map, Value, json};
use tuning::{Draw, SamplerSpec};

use super::findings::number;
use super::replay::{Audit, Judged};
use crate::sweep::{Attempt, Exploit, NO_RUN, Submitted, Trial};

/// Entries of a rung that are shown: those at its head are the ones that a trial is compared with.
const RUNG_ENTRIES_SHOWN: usize = 10;

/// `{trial, proposal, decisions, rungs, attempts}`; `None` when there is no such trial.
pub(crate) fn explanation(audit: &Audit, index: u32) -> Option<Value> {
    let submitted = audit.sweep.submitted.as_ref()?;
    let trial = audit.sweep.trials.get(index as usize)?;
    let decisions: Vec<Value> = audit.judged.iter().map(|judged| decision(audit, judged)).collect();
    let attempts: Vec<Value> = trial.attempts.iter().map(|one| attempt(one, submitted.spec.is_external())).collect();
    let mut shown = json!({
        "trial": {
            "sweep_id": submitted.sweep_id,
            "sweep": submitted.name,
            "index": index,
            "run_id": Some(trial.run_id).filter(|run| *run != NO_RUN),
            "state": audit.sweep.shown_state(index, trial).to_string(),
            "reason": trial.end.as_ref().map(crate::sweep::TrialEnd::reason),
            "stopped_by": trial.stop.map(|stop| stop.by.to_string()),
            "best_value": audit.sweep.curves.standing(index).map(|standing| standing.value),
            "intervals": audit.sweep.curves.interval(index),
            "metric": submitted.spec.objective.primary_metric,
            "goal": submitted.spec.objective.goal.to_string(),
            "non_finite_reports": trial.non_finite,
            "failed_phase": trial.failure().map(|failure| failure.phase),
            "exit_code": trial.last_end().and_then(|end| end.exit_code),
            "error": trial.failure().map(|failure| failure.error).filter(|error| !error.is_empty()),
            "missing_outputs": Some(&trial.missing_outputs).filter(|missing| !missing.is_empty()),
            "unkept": Some(trial.unkept()).filter(|unkept| !unkept.is_empty()),
        },

        "proposal": proposal(audit, submitted, trial, index),
        "decisions": decisions,
        "rungs": rungs(audit, index),
        "attempts": attempts,
    });
    if !submitted.spec.is_plain() {
        shown["measured"] = measured(audit, submitted, trial);
    }
    Some(shown)
}

/// The trial's values of the watched metrics, and what they must be.
fn measured(audit: &Audit, submitted: &Submitted, trial: &Trial) -> Value {
    let spec = &submitted.spec;
    let values = trial.named_values(spec);
    let constraints: Vec<Value> = spec
        .constraints
        .iter()
        .map(|constraint| {
            let value = values.get(&constraint.metric);
            json!({
                "metric": constraint.metric,
                "op": constraint.operator.to_string(),
                "bound": constraint.value,
                "value": value,
                "holds": value.map(|value| constraint.holds(*value)),
            })
        })
        .collect();
    json!({"values": values, "feasible": audit.sweep.feasibility(trial), "constraints": constraints})
}

/// The rungs of the trial's bracket as they stand now, with its own entry where it has one.
fn rungs(audit: &Audit, index: u32) -> Vec<Value> {
    let curves = &audit.sweep.curves;
    let bracket = curves.bracket(index).unwrap_or(0);
    let tables = curves.rung_tables(RUNG_ENTRIES_SHOWN).into_iter().filter(|table| table.bracket == bracket);
    let shown = tables.map(|table| {
        let place = curves.place_in_rung(index, table.rung);
        json!({
            "bracket": table.bracket,
            "rung": table.rung,
            "interval": table.interval,
            "entries": table.entries,
            "kept": table.kept,
            "place": place,
            "best": table.best,
        })
    });
    shown.collect()
}

fn proposal(audit: &Audit, submitted: &Submitted, trial: &Trial, index: u32) -> Value {
    let rule = match submitted.spec.sampler {
        SamplerSpec::Random { rule } => json!(rule),
        SamplerSpec::Bayesian { .. } | SamplerSpec::Grid => Value::Null,
    };
    let parameters: Map<String, Value> =
        trial.draws.iter().map(|draw| (draw.name.clone(), json!({"u": draw.u, "value": draw.value}))).collect();
    let basis = trial.basis.model.as_ref();
    let shown_basis = basis.map_or_else(
        || json!([]),
        |basis| {
            json!({
                "position": position(audit, basis.version),
                "known": basis.known,
                "pending": basis.pending,
                "fit": basis.fit.and_then(|fit| position(audit, fit)),
            })
        },
    );
    let algorithm = match (trial.basis.imported, &trial.basis.exploit) {
        (true, _) => "imported",
        (_, Some(_)) => "pbt",
        _ => submitted.spec.sampler.kind(),
    };
    let mut shown = json!({
        "algorithm": algorithm,
        "rule": if algorithm == submitted.spec.sampler.kind() { rule } else { Value::Null },
        "seed": submitted.seed.to_string(),
        "index": index,
        "basis": shown_basis,
        "position": position(audit, trial.version),
        "parameters": parameters,
    });
    if let Some(explained) = &trial.explained {
        shown["explained"] = json!(explained);
    }
    if let Some(exploit) = &trial.basis.exploit {
        shown["exploit"] = exploited(audit, trial, exploit);
    }
    shown
}

/// Whom a child follows, for whom it came, and what became of each parameter on the way.
fn exploited(audit: &Audit, trial: &Trial, exploit: &Exploit) -> Value {
    let donor = audit.sweep.trials.get(exploit.donor as usize);
    let of = |draws: &[Draw], name: &str| draws.iter().find(|draw| draw.name == name).map(|draw| draw.value.clone());
    let changes = exploit.changes.iter().map(|changed| {
        json!({
            "parameter": changed.name,
            "change": changed.change,
            "from": donor.and_then(|donor| of(&donor.draws, &changed.name)),
            "to": of(&trial.draws, &changed.name),
        })
    });
    json!({
        "donor": exploit.donor,
        "donor_run_id": donor.map(|donor| donor.run_id),
        "donor_interval": exploit.interval,
        "resource": exploit.resource,
        "stopped": exploit.stopped,
        "decision": position(audit, exploit.decision),
        "changes": changes.collect::<Vec<_>>(),
    })
}

fn decision(audit: &Audit, judged: &Judged) -> Value {
    let Judged { position: at, verdict, decision } = judged;
    let inputs: Vec<Value> = decision
        .inputs
        .iter()
        .map(|input| {
            let version = i64::try_from(input.position).unwrap_or_default();
            json!({"trial": input.trial, "position": position(audit, version), "value": number(input.value)})
        })
        .collect();
    let mut shown = json!({
        "position": at,
        "policy": decision.policy,
        "interval": decision.interval,
        "value": number(decision.value),
        "threshold": decision.threshold.map(number),
        "best": decision.best.map(number),
        "population": decision.population,
        "verdict": verdict,
        "inputs": inputs,
    });
    if let Value::Object(fields) = &mut shown {
        fields.extend(decision.cut.map(|cut| ("cut".to_owned(), json!(cut))));
        fields.extend(decision.rank.map(|rank| ("rank".to_owned(), json!(rank))));
        fields.extend(decision.bracket.map(|bracket| ("bracket".to_owned(), json!(bracket))));
        fields.extend(decision.rung.map(|rung| ("rung".to_owned(), json!(rung))));
        fields.extend(decision.kept.map(|kept| ("kept".to_owned(), json!(kept))));
        fields.extend(decision.optimistic.map(|hoped| ("optimistic".to_owned(), number(hoped))));
        fields.extend(decision.hint.as_ref().map(|hint| ("hint".to_owned(), json!(hint))));
    }
    shown
}

fn attempt(attempt: &Attempt, is_external: bool) -> Value {
    let end = attempt.end.as_ref();
    json!({
        "number": attempt.number,
        "node": attempt.node,
        "external": is_external,
        "started": attempt.started_at.map(|at| at.to_string()),
        "ended": attempt.ended_at.map(|at| at.to_string()),
        "end": end.map(|end| end.outcome.clone()),
        "reason": end.map(|end| end.reason.clone()).filter(|reason| !reason.is_empty()),
        "exit_code": end.and_then(|end| end.exit_code),
        "checkpoint_age_seconds": end.and_then(|end| end.checkpoint_age_seconds),
    })
}

/// The log position of a version of the stream.
fn position(audit: &Audit, version: i64) -> Option<i64> {
    let place = usize::try_from(version).ok()?.checked_sub(1)?;
    audit.positions.get(place).copied()
}
