//! Jobs and their ends on the wire, and in our own words: the ways there and back.

use std::fmt::Display;
use std::str::FromStr;

use vocabulary::job::{
    AttemptPhase, EndPhase, InputMode, JobEnd, JobInput, JobSpec, ModelFile, Outcome, RequeueCause, Requirements,
    Resources, RunState, ServiceSpec, StopBy,
};

use crate::compute as wire;

/// A word that is an enum on the wire, with its text beside it for peers of the former release.
pub trait Word: Display + FromStr + Sized {
    /// The words that there are.
    const WORDS: &'static [&'static str];

    /// The enum's number.
    fn kind(self) -> i32;
    /// The word of a number; `None` when it is unspecified.
    ///
    /// # Errors
    /// When no such number is known.
    fn of_kind(kind: i32) -> Result<Option<Self>, String>;

    /// The word; `None` when there is none.
    ///
    /// # Errors
    /// When it is none of the known ones.
    fn read(kind: i32, text: &str) -> Result<Option<Self>, String> {
        match Self::of_kind(kind)? {
            None if text.is_empty() => Ok(None),
            None => text.parse().map(Some).map_err(|_| format!("{text:?} is none of {}", Self::WORDS.join(", "))),
            Some(word) => Ok(Some(word)),
        }
    }

    /// The word, which must be there.
    ///
    /// # Errors
    /// When there is none, or it is none of the known ones.
    fn required(kind: i32, text: &str) -> Result<Self, String> {
        Self::read(kind, text)?.ok_or_else(|| format!("one of {} is missing", Self::WORDS.join(", ")))
    }
}

/// The number of a text; unspecified when it is none of the words.
pub fn kind_of<W: Word>(text: &str) -> i32 {
    text.parse::<W>().map_or(0, Word::kind)
}

/// Ties enums with strum's `Display`, `EnumString` and `VariantNames` to the wire's, which have the same words.
macro_rules! words {
    ($($own:ident as $package:ident::$wire:ident { $($word:ident),+ $(,)? })+) => {$(
        impl $crate::job::Word for $own {
            const WORDS: &'static [&'static str] = <$own as ::strum::VariantNames>::VARIANTS;

            fn kind(self) -> i32 {
                match self { $(Self::$word => $crate::$package::$wire::$word as i32),+ }
            }

            fn of_kind(kind: i32) -> Result<Option<Self>, String> {
                match $crate::$package::$wire::try_from(kind) {
                    Ok($crate::$package::$wire::Unspecified) => Ok(None),
                    $(Ok($crate::$package::$wire::$word) => Ok(Some(Self::$word)),)+
                    Err(_) => Err(format!("{} {kind} is not known to this release", stringify!($own))),
                }
            }
        }
    )+};
}

words! {
    InputMode as compute::InputMode { Mount, Download }
    Outcome as compute::Outcome { Completed, Failed, Canceled, Preempted, Lost }
    EndPhase as compute::EndPhase { Prepare, Run, Finalize }
    AttemptPhase as compute::JobPhase { Starting, Preparing, Running, Finalizing }
    StopBy as compute::StopBy {
        Policy, User, Sweep, SweepTimeout, TrialTimeout, TargetReached, MaxResource, Rung, Pause, Deployment, Cluster
    }
    RunState as runs::RunState {
        Proposed, Queued, Starting, Preparing, Running, Finalizing, Preempted, Paused, NotResponding, Completed,
        Failed, Canceled, EarlyStopped,
    }
    RequeueCause as compute::RequeueCause { Preempted, Lost, Retry, Promoted, Resumed }
}

fn text(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A duration: 0 is none.
fn seconds(field: &str, value: f64) -> Result<Option<f64>, String> {
    if !value.is_finite() || value < 0.0 {
        return Err(format!("{field} {value}: a finite number, 0 or more"));
    }
    Ok(Some(value).filter(|value| *value > 0.0))
}

impl From<JobEnd> for wire::JobEnd {
    fn from(end: JobEnd) -> Self {
        Self {
            outcome: end.outcome.to_string(),
            phase: text(end.phase),
            reason: end.reason,
            exit_code: end.exit_code,
            signal: end.signal,
            stderr_tail: end.stderr_tail,
            by: text(end.by),
            decision: end.decision,
            checkpoint_age_seconds: end.checkpoint_age_seconds,
            unkept: end.unkept,
            outcome_kind: end.outcome.kind(),
            phase_kind: end.phase.map_or(0, Word::kind),
            by_kind: end.by.map_or(0, Word::kind),
        }
    }
}

impl TryFrom<wire::JobEnd> for JobEnd {
    type Error = String;

    fn try_from(end: wire::JobEnd) -> Result<Self, String> {
        let within = |field: &'static str| move |error: String| format!("end.{field}: {error}");
        Ok(Self {
            outcome: Outcome::required(end.outcome_kind, &end.outcome).map_err(within("outcome"))?,
            phase: EndPhase::read(end.phase_kind, &end.phase).map_err(within("phase"))?,
            reason: end.reason,
            exit_code: end.exit_code,
            signal: end.signal,
            stderr_tail: end.stderr_tail,
            by: StopBy::read(end.by_kind, &end.by).map_err(within("by"))?,
            decision: end.decision,
            // A number that is not finite has no JSON form and would be no age.
            checkpoint_age_seconds: end.checkpoint_age_seconds.filter(|age| age.is_finite()),
            unkept: end.unkept,
        })
    }
}

/// An end that was made of texts, with the enums filled beside them where the words are known.
#[must_use]
pub fn with_kinds(end: wire::JobEnd) -> wire::JobEnd {
    wire::JobEnd {
        outcome_kind: kind_of::<Outcome>(&end.outcome),
        phase_kind: kind_of::<EndPhase>(&end.phase),
        by_kind: kind_of::<StopBy>(&end.by),
        ..end
    }
}

/// The end that a fact carries.
///
/// # Errors
/// When there is none, or a word of it is not known.
pub fn end_of(end: Option<wire::JobEnd>) -> Result<JobEnd, String> {
    end.ok_or_else(|| "end: required".to_owned())?.try_into()
}

/// What is installed, as lines and as a file: at most one of them is there.
#[must_use]
pub fn written(requirements: Option<Requirements>) -> (Vec<String>, String) {
    match requirements {
        None => (Vec::new(), String::new()),
        Some(Requirements::File(file)) => (Vec::new(), file),
        Some(Requirements::Lines(lines)) => (lines, String::new()),
    }
}

/// The same back; a file goes before lines, which nobody sends beside it.
#[must_use]
pub fn requirements_of(lines: Vec<String>, file: String) -> Option<Requirements> {
    match (lines.is_empty(), file.is_empty()) {
        (_, false) => Some(Requirements::File(file)),
        (false, true) => Some(Requirements::Lines(lines)),
        (true, true) => None,
    }
}

impl From<JobSpec> for wire::JobSpec {
    fn from(spec: JobSpec) -> Self {
        let (requirements, requirements_file) = written(spec.requirements);
        let input = |input: JobInput| wire::JobInput {
            id: input.id,
            uri: input.uri,
            mode: input.mode.to_string(),
            mode_kind: input.mode.kind(),
        };
        let resources = wire::Resources {
            cpu_count: spec.resources.cpu_count,
            gpu_count: spec.resources.gpu_count,
            memory_bytes: spec.resources.memory_bytes,
            node_count: spec.resources.node_count,
        };
        Self {
            cluster: spec.cluster,
            command: spec.command,
            environment_variables: spec.environment_variables,
            code_sha256: spec.code_sha256.unwrap_or_default(),
            python: spec.python.unwrap_or_default(),
            inputs: spec.inputs.into_iter().map(input).collect(),
            outputs: spec.outputs,
            keep_best: spec.keep_best,
            resources: Some(resources),
            checkpoint: spec.checkpoint,
            prepare: spec.prepare,
            max_retries: i32::try_from(spec.max_retries).unwrap_or(i32::MAX),
            timeout_seconds: spec.timeout_seconds.unwrap_or_default(),
            priority: spec.priority,
            sweep_id: spec.sweep_id.unwrap_or_default(),
            trial_index: spec.trial_index,
            experiment: spec.experiment,
            parameters_json: spec
                .parameters
                .map(|fields| serde_json::Value::Object(fields).to_string())
                .unwrap_or_default(),
            primary_metric: spec.primary_metric.unwrap_or_default(),
            goal: text(spec.goal),
            seed: spec.seed.unwrap_or_default(),
            contract_variables: spec.contract_variables,
            service: spec.service.map(Into::into),
            grace_seconds: spec.grace_seconds.unwrap_or_default(),
            checkpoint_from: spec.checkpoint_from.unwrap_or_default(),
            watched_metrics: spec.watched_metrics,
            requirements,
            requirements_file,
        }
    }
}

impl TryFrom<wire::JobSpec> for JobSpec {
    type Error = String;

    fn try_from(spec: wire::JobSpec) -> Result<Self, String> {
        let input = |input: wire::JobInput| {
            let mode = InputMode::read(input.mode_kind, &input.mode);
            let mode = mode.map_err(|error| format!("inputs.{}.mode: {error}", input.id))?;
            Ok(JobInput { id: input.id, uri: input.uri, mode: mode.unwrap_or(InputMode::Mount) })
        };
        let parameters = filled(spec.parameters_json).map(|text| serde_json::from_str(&text));
        let resources = spec.resources.unwrap_or_default();
        let cpu_count = seconds("resources.cpu_count", resources.cpu_count)?.unwrap_or_default();
        Ok(Self {
            cluster: spec.cluster,
            command: spec.command,
            environment_variables: spec.environment_variables,
            code_sha256: filled(spec.code_sha256),
            python: filled(spec.python),
            requirements: requirements_of(spec.requirements, spec.requirements_file),
            inputs: spec.inputs.into_iter().map(input).collect::<Result<_, String>>()?,
            outputs: spec.outputs,
            keep_best: spec.keep_best,
            resources: Resources {
                cpu_count,
                gpu_count: resources.gpu_count,
                memory_bytes: resources.memory_bytes,
                node_count: resources.node_count,
            },
            checkpoint: spec.checkpoint,
            checkpoint_from: filled(spec.checkpoint_from),
            prepare: spec.prepare,
            max_retries: u32::try_from(spec.max_retries)
                .map_err(|_| format!("max_retries {}: 0 or more", spec.max_retries))?,
            timeout_seconds: seconds("timeout_seconds", spec.timeout_seconds)?,
            grace_seconds: seconds("grace_seconds", spec.grace_seconds)?,
            priority: spec.priority,
            sweep_id: filled(spec.sweep_id),
            trial_index: spec.trial_index,
            experiment: spec.experiment,
            parameters: parameters
                .transpose()
                .map_err(|error| format!("parameters: an object is expected: {error}"))?,
            primary_metric: filled(spec.primary_metric),
            goal: filled(spec.goal)
                .map(|goal| goal.parse().map_err(|_| format!("goal {goal:?} is neither minimize nor maximize")))
                .transpose()?,
            seed: filled(spec.seed),
            contract_variables: spec.contract_variables,
            watched_metrics: spec.watched_metrics,
            service: spec.service.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<ServiceSpec> for wire::ServiceSpec {
    fn from(service: ServiceSpec) -> Self {
        let file =
            |file: ModelFile| wire::ModelFile { path: file.path, sha256: file.sha256, size_bytes: file.size_bytes };
        Self {
            workspace: service.workspace,
            endpoint: service.endpoint,
            deployment: service.deployment,
            revision: service.revision,
            model: service.model,
            model_version: service.model_version,
            files: service.files.into_iter().map(file).collect(),
            start_timeout_seconds: service.start_timeout_seconds,
        }
    }
}

impl TryFrom<wire::ServiceSpec> for ServiceSpec {
    type Error = String;

    fn try_from(service: wire::ServiceSpec) -> Result<Self, String> {
        let file =
            |file: wire::ModelFile| ModelFile { path: file.path, sha256: file.sha256, size_bytes: file.size_bytes };
        let wait = seconds("service.start_timeout_seconds", service.start_timeout_seconds)?;
        Ok(Self {
            workspace: service.workspace,
            endpoint: service.endpoint,
            deployment: service.deployment,
            revision: service.revision,
            model: service.model,
            model_version: service.model_version,
            files: service.files.into_iter().map(file).collect(),
            start_timeout_seconds: wait.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_goes_before_the_text_of_a_peer_of_the_former_release() {
        // Both are filled for one release; a word that this build does not know must not become another one.
        assert_eq!(StopBy::read(StopBy::Rung.kind(), "user"), Ok(Some(StopBy::Rung)));
        assert_eq!(StopBy::read(0, "trial_timeout"), Ok(Some(StopBy::TrialTimeout)));
        assert_eq!(StopBy::read(0, ""), Ok(None));
        assert!(StopBy::read(0, "somebody").is_err_and(|error| error.contains("sweep_timeout")));
        assert!(StopBy::read(99, "user").is_err());
        assert!(Outcome::required(0, "").is_err());
    }

    #[test]
    fn an_end_that_went_over_the_wire_is_the_same() {
        let end = JobEnd {
            phase: Some(EndPhase::Run),
            reason: "signal".into(),
            signal: Some(15),
            by: Some(StopBy::Policy),
            decision: "sweep_1@7".into(),
            checkpoint_age_seconds: Some(1.5),
            unkept: "it had changed".into(),
            ..JobEnd::new(Outcome::Canceled)
        };
        assert_eq!(wire::JobEnd::from(end.clone()).try_into(), Ok(end.clone()));
        let texts = wire::JobEnd { outcome_kind: 0, phase_kind: 0, by_kind: 0, ..end.clone().into() };
        assert_eq!(texts.try_into(), Ok(end), "a peer of the former release sends texts only");
        assert!(JobEnd::try_from(wire::JobEnd::default()).is_err(), "an end without an outcome is damage");
    }
}
