//! What a run or a trial may be called on the command line: an id, the beginning of one, or SWEEP/INDEX.

use serde_json::Value;
use vocabulary::RunId;

use super::http::encoded;
use super::output::{entries, field};
use super::{Client, Failure};

/// The id of a run.
pub async fn run(client: &Client, called: &str) -> Result<String, Failure> {
    if called.contains('/') {
        let (sweep, index) = split(called)?;
        let trial = client.get(&format!("sweeps/{}/trials/{index}", encoded(sweep))).await?;
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
        return split(called).map(|(sweep, index)| (sweep.to_owned(), index));
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

/// SWEEP/INDEX.
pub fn split(trial: &str) -> Result<(&str, u32), Failure> {
    trial.rsplit_once('/').and_then(|(sweep, index)| Some((sweep, index.parse().ok()?))).ok_or_else(|| {
        Failure::Usage(format!("{trial:?} is not SWEEP/INDEX, e.g. digits/3, nor the id of a trial's run"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
