//! External mode: trials are asked for, told about and held by whoever runs them.
//!
//! The bodies are small and the routes busy: a body that is right is read by serde alone; only what that cannot read
//! is read again, slowly, to say what is wrong and where.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::post;
use contracts::sweeps::{
    AskTrialsReply, AskTrialsRequest, HeartbeatTrialReply, HeartbeatTrialRequest, TellTrialReply, TellTrialRequest,
};
use documents::{Field, Findings, Format, Node, Tree};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use vocabulary::Problem;

use crate::door::{Call, Document, Reply, Service, shape, taken, written};
use crate::points::Value;

super::routes!(ask_trials, tell_trial, heartbeat_trial);

/// The body of an ask.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AskBody {
    count: Option<u32>,
    worker: Option<String>,
    lease_seconds: Option<f64>,
}

/// The body of a tell.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TellBody {
    attempt: Option<u32>,
    step: Option<i64>,
    #[serde(deserialize_with = "number")]
    value: Option<f64>,
    #[serde(deserialize_with = "named")]
    values: BTreeMap<String, Value>,
    r#final: Option<bool>,
    state: Option<String>,
    reason: Option<String>,
}

/// The body of a heartbeat.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HeartbeatBody {
    attempt: Option<u32>,
}

/// A value that is there; `null` is none.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Value::deserialize(deserializer).map(|value| Some(value.0))
}

/// Values by name, each named once.
fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Value>, D::Error> {
    struct Named;

    impl<'de> Visitor<'de> for Named {
        type Value = BTreeMap<String, Value>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("values by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut values = BTreeMap::new();
            while let Some((name, value)) = entries.next_entry()? {
                if values.insert(name, value).is_some() {
                    return Err(serde::de::Error::custom("a name is there twice"));
                }
            }
            Ok(values)
        }
    }

    deserializer.deserialize_map(Named)
}

/// Offers up to `count` trials to run. Each is held until `lease_expires_at`; a tell or a heartbeat renews that. An
/// empty list says in `state` why it is empty.
#[utoipa::path(tag = "trials", request_body = AskTrialsRequest, responses((status = 200, body = AskTrialsReply)))]
#[post("/api/v1/workspaces/{workspace}/sweeps/{sweep}/trials:ask")]
pub(crate) async fn ask_trials(body: Document, call: Call) -> Reply {
    let AskBody { count, worker, lease_seconds } =
        body.read(|bytes, format| read(bytes, format, "AskTrialsRequest")).await??;
    let request = AskTrialsRequest {
        workspace: call.workspace.clone(),
        sweep: call.path("sweep").to_owned(),
        count,
        worker: worker.unwrap_or_default(),
        lease_seconds,
    };
    let context = call.writing(body.hash_if_keyed(&call.request))?;
    let reply = call.peers().sweeps_client().ask_trials(context.attach(request)).await?;
    written(StatusCode::OK, Service::Sweeps, reply)
}

/// Tells a value of a trial, its last value (`final`), or that it failed. `stop` says that the trial is over,
/// `not_counted` why the value counts for nothing.
#[utoipa::path(tag = "trials", request_body = TellTrialRequest, responses((status = 200, body = TellTrialReply)))]
#[post("/api/v1/workspaces/{workspace}/sweeps/{sweep}/trials/{index:[^/:]+}:tell")]
pub(crate) async fn tell_trial(body: Document, call: Call) -> Reply {
    let TellBody { attempt, step, value, values, r#final, state, reason } =
        body.read(|bytes, format| read(bytes, format, "TellTrialRequest")).await??;
    let request = TellTrialRequest {
        workspace: call.workspace.clone(),
        sweep: call.path("sweep").to_owned(),
        index: call.number("index")?,
        attempt: attempt.unwrap_or_default(),
        step,
        value,
        r#final: r#final.unwrap_or_default(),
        state: state.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
        values: values.into_iter().map(|(name, value)| (name, value.0)).collect(),
    };
    let context = call.writing(body.hash_if_keyed(&call.request))?;
    let reply = call.peers().sweeps_client().tell_trial(context.attach(request)).await?;
    written(StatusCode::OK, Service::Sweeps, reply)
}

/// Keeps a trial that takes long: its lease is renewed.
#[utoipa::path(tag = "trials", request_body = HeartbeatTrialRequest,
    responses((status = 200, body = HeartbeatTrialReply)))]
#[post("/api/v1/workspaces/{workspace}/sweeps/{sweep}/trials/{index:[^/:]+}:heartbeat")]
pub(crate) async fn heartbeat_trial(body: Document, call: Call) -> Reply {
    let HeartbeatBody { attempt } = body.read(|bytes, format| read(bytes, format, "HeartbeatTrialRequest")).await??;
    let request = HeartbeatTrialRequest {
        workspace: call.workspace.clone(),
        sweep: call.path("sweep").to_owned(),
        index: call.number("index")?,
        attempt: attempt.unwrap_or_default(),
    };
    let context = call.writing(body.hash_if_keyed(&call.request))?;
    let reply = call.peers().sweeps_client().heartbeat_trial(context.attach(request)).await?;
    written(StatusCode::OK, Service::Sweeps, reply)
}

/// Reads a body; an empty one is one without members.
fn read<M: DeserializeOwned + Default>(bytes: &[u8], format: Format, name: &str) -> Result<M, Problem> {
    if bytes.is_empty() {
        return Ok(M::default());
    }
    if format == Format::Json
        && let Ok(message) = documents::read_fast(bytes)
    {
        return Ok(message);
    }
    let tree = documents::read(bytes, format)?;
    check(&tree, name)?;
    taken(&tree)
}

/// What is wrong with a body: a value that is no number by its own name, everything else by the schema.
fn check(tree: &Node, name: &str) -> Result<(), Problem> {
    let mut rest = tree.clone();
    let findings = Findings::new();
    check_values(tree, &mut rest, name, &findings);
    if let Tree::Map(entries) = &mut rest.value
        && name == <TellTrialRequest as ToSchema>::name()
        && let Some(place) = entries.iter().position(|(key, _)| key == "value")
    {
        entries.remove(place);
        if let Some(mut fields) = Field::root(tree, &findings).map() {
            fields.ignore_rest();
            let value = fields.field("value");
            if value.is_present() {
                crate::points::check_value(&value);
            } else {
                value.refuse("BadMetricValue", "expected a number or a text for a non-finite one, received null");
            }
        }
    }
    findings.append(shape::find(&rest, name));
    findings.finish(Some(())).map(|_| ())
}

/// The values by name, each as it is alone.
fn check_values(tree: &Node, rest: &mut Node, name: &str, findings: &Findings) {
    let is_map = |node: &Node| matches!(node.value, Tree::Map(_));
    if let Tree::Map(entries) = &mut rest.value
        && name == <TellTrialRequest as ToSchema>::name()
        && let Some(place) = entries.iter().position(|(key, values)| key == "values" && is_map(values))
    {
        entries.remove(place);
        if let Some(mut fields) = Field::root(tree, findings).map() {
            fields.ignore_rest();
            let values = fields.field("values");
            values.entries().into_iter().flatten().for_each(|(_, value)| crate::points::check_value(&value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(text: &str) -> Result<TellBody, Problem> {
        read(text.as_bytes(), Format::Json, "TellTrialRequest")
    }

    #[test]
    fn values_keep_every_bit_and_non_finite_ones_are_texts() {
        let told = tell(r#"{"attempt": 2, "step": -1, "value": 0.1234567890123456789, "final": true}"#).unwrap();
        assert_eq!((told.attempt, told.step, told.r#final), (Some(2), Some(-1), Some(true)));
        assert_eq!(told.value.unwrap().to_bits(), 0.123_456_789_012_345_68_f64.to_bits());
        assert!(tell(r#"{"value": "NaN"}"#).unwrap().value.unwrap().is_nan());
        assert_eq!(tell(r#"{"value": "-Infinity"}"#).unwrap().value, Some(f64::NEG_INFINITY));
        assert_eq!(tell(r#"{"value": 3}"#).unwrap().value, Some(3.0));
        let several = tell(r#"{"values": {"a": 0.1, "b/c": "Infinity"}}"#).unwrap().values;
        assert_eq!((several["a"].0, several["b/c"].0), (0.1, f64::INFINITY));
    }

    /// What is wrong with two of three values.
    const VALUES: [(&str, &str); 2] = [("/values/a", "BadMetricValue"), ("/values/b~1c", "BadMetricValue")];

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (body, status, errors) in [
            (r#"{"value": "high"}"#, 422, vec![("/value", "BadMetricValue")]),
            (r#"{"value": 1e400}"#, 422, vec![("/value", "BadMetricValue")]),
            (r#"{"values": {"a": null, "b/c": "x", "d": 1}}"#, 422, VALUES.to_vec()),
            (r#"{"values": 3}"#, 422, vec![("/values", "WrongType")]),
            (r#"{"value": null}"#, 422, vec![("/value", "BadMetricValue")]),
            (r#"{"valu": 1}"#, 400, vec![("/valu", "UnknownField")]),
            (r#"{"valu": 1, "value": "x"}"#, 400, vec![("/valu", "UnknownField"), ("/value", "BadMetricValue")]),
            (r#"{"value": 1, "attempt": -1}"#, 422, vec![("/attempt", "WrongType")]),
            (
                r#"{"value": [], "step": 1.5, "final": 1}"#,
                422,
                vec![("/final", "WrongType"), ("/step", "WrongType"), ("/value", "BadMetricValue")],
            ),
            (r#"{"value": 1, "value": 2}"#, 400, vec![("/value", "DuplicateKey")]),
            (r#"{"values": {"a": 1, "a": 2}}"#, 400, vec![("/values/a", "DuplicateKey")]),
        ] {
            let problem = tell(body).unwrap_err();
            let found: Vec<_> =
                problem.errors.iter().map(|error| (error.pointer.as_str(), error.code.as_str())).collect();
            assert_eq!((problem.status, found), (status, errors), "{body}");
        }
        assert_eq!(tell(r#"{"value": 1"#).unwrap_err().code, "MalformedBody");
    }

    #[test]
    fn the_work_of_a_tell_grows_with_its_length() {
        let told = serde_json::json!({
            "attempt": 1, "step": 1, "value": "high", "values": {"a": "high"}, "final": true, "state": "failed"
        });
        documents::hostile::assert_linear(&told, |text| drop(read::<TellBody>(text, Format::Json, "TellTrialRequest")));
        let good = serde_json::json!({"attempt": 1, "values": {"a": 1}});
        documents::hostile::assert_linear(&good, |text| drop(read::<TellBody>(text, Format::Json, "TellTrialRequest")));
        let asked = serde_json::json!({"count": 1, "worker": "w", "lease_seconds": 1});
        documents::hostile::assert_linear(&asked, |text| drop(read::<AskBody>(text, Format::Json, "AskTrialsRequest")));
    }
}
