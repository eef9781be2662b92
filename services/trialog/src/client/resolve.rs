//! What a run or a trial may be called on the command line: an id, the beginning of one, SWEEP/INDEX or SWEEP/best.

use serde_json::Value;
use vocabulary::RunId;

use super::http::encoded;
use super::output::{entries, field};
use super::{Client, Failure};

/// What stands for the index of the best trial.
const BEST: &str = "best";

/// The id of a run.
pub async fn run(client: &Client, called: &str) -> Result<String, Failure> {
    if called.contains('/') {
        let (sweep, index) = placed(client, called).await?;
        let trial = client.get(&format!("sweeps/{}/trials/{index}", encoded(&sweep))).await?;
        let run = field(&trial, "run_id");
        return if run.is_empty() {
            Err(Failure::Usage(format!("{called} was imported: it has no run")))
        } else {
            Ok(run)
        };
    }
    if RunId::parse(called).is_ok() || !called.starts_with("run_") {
        return Ok(called.to_owned());
    }
    let begun = client.get(&format!("runs?id_prefix={}&page_size=2", encoded(called))).await?;
    only(called, entries(&begun, "runs").map(|run| field(run, "run_id")).collect())
}

fn only(called: &str, found: Vec<String>) -> Result<String, Failure> {
    match <[String; 1]>::try_from(found) {
        Ok([run]) => Ok(run),
        Err(none) if none.is_empty() => Err(Failure::Usage(format!("no run's id begins with {called}"))),
        Err(several) => Err(Failure::Usage(format!(
            "the ids of several runs begin with {called}, e.g. {}: write more of it",
            several.join(" and ")
        ))),
    }
}

/// The sweep and the index of a trial.
pub async fn trial(client: &Client, called: &str) -> Result<(String, u32), Failure> {
    if called.contains('/') || !called.starts_with("run_") {
        return placed(client, called).await;
    }
    let id = run(client, called).await?;
    let shown = client.get(&format!("runs/{}", encoded(&id))).await?;
    let index = shown.get("trial_index").and_then(Value::as_u64).and_then(|index| u32::try_from(index).ok());
    match (field(&shown, "sweep_id"), index) {
        (sweep, Some(index)) if !sweep.is_empty() => Ok((sweep, index)),
        _ => Err(Failure::Usage(format!("{called} is no trial of a sweep"))),
    }
}

/// The sweep of a name, if there is one.
pub async fn sweep(client: &Client, name: &str) -> Result<Option<Value>, Failure> {
    match client.get(&format!("sweeps/{}", encoded(name))).await {
        Ok(sweep) => Ok(Some(sweep)),
        Err(Failure::Refused(problem)) if problem.status == 404 => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The sweep and the index of SWEEP/INDEX or SWEEP/best.
pub async fn placed(client: &Client, called: &str) -> Result<(String, u32), Failure> {
    match split(called)? {
        (sweep, Some(index)) => Ok((sweep.to_owned(), index)),
        (sweep, None) => {
            Ok((sweep.to_owned(), best(sweep, &client.get(&format!("sweeps/{}", encoded(sweep))).await?)?))
        }
    }
}

/// The index of a sweep's best trial.
fn best(name: &str, sweep: &Value) -> Result<u32, Failure> {
    let index = sweep.get("best").and_then(|best| best.get("trial_index")).and_then(Value::as_u64);
    index.and_then(|index| u32::try_from(index).ok()).ok_or_else(|| {
        let has_several = sweep.get("objectives").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
        let why = if has_several { "it has several objectives" } else { "none of its trials has a value yet" };
        Failure::BadNews(format!("{name} has no best trial: {why}; `trialog trial list {name}` shows them"))
    })
}

/// SWEEP/INDEX; no index for SWEEP/best.
fn split(trial: &str) -> Result<(&str, Option<u32>), Failure> {
    let index = |place: &str| if place == BEST { Some(None) } else { place.parse().ok().map(Some) };
    trial.rsplit_once('/').and_then(|(sweep, place)| Some((sweep, index(place)?))).ok_or_else(|| {
        Failure::Usage(format!(
            "{trial:?} is not SWEEP/INDEX, e.g. digits/3, nor SWEEP/best, nor the id of a trial's run"
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_best_trial_need_not_be_looked_up_by_hand() {
        // Whoever registers a sweep's winner would otherwise copy its index from a table.
        assert_eq!(split("digits/3").ok(), Some(("digits", Some(3))));
        assert_eq!(split("digits/best").ok(), Some(("digits", None)));
        assert!(matches!(split("digits/worst"), Err(Failure::Usage(text)) if text.contains("SWEEP/best")));
        assert_eq!(best("digits", &json!({"best": {"trial_index": 7, "value": 0.5}})).ok(), Some(7));
        for (sweep, why) in [
            (json!({"best": null, "objectives": [{}]}), "none of its trials has a value yet"),
            (json!({"objectives": [{}, {}]}), "several objectives"),
        ] {
            let Err(Failure::BadNews(text)) = best("digits", &sweep) else { panic!("{sweep}") };
            assert!(text.contains(why), "{text}");
        }
    }

    #[test]
    fn the_beginning_of_an_id_is_taken_only_when_it_is_one_runs() {
        let run = |found: &[&str]| only("run_01", found.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!(run(&["run_01A"]).ok().as_deref(), Some("run_01A"));
        for (found, expected) in [(&[][..], "no run's id begins"), (&["run_01A", "run_01B"], "run_01A and run_01B")] {
            let Err(Failure::Usage(refused)) = run(found) else { panic!("{found:?} taken") };
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
