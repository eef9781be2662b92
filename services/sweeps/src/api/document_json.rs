//! The document in force, in the form in which documents are sent: defaults filled in, limits and texts as they are
//! now.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use tuning::{Parameter, SamplerSpec, SearchSpace};

use crate::document::Objective;
use crate::sweep::Submitted;

/// Integers up to here are exact in every JSON reader; larger ones are written as texts.
const EXACT_MAX: u64 = 1 << 53;

/// The JSON text of the document in force.
pub(super) fn document(submitted: &Submitted) -> String {
    // Texts, booleans and finite numbers always have a JSON form.
    serde_json::to_string(&Document(submitted)).unwrap_or_default()
}

struct Document<'a>(&'a Submitted);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Submitted { spec, limits, description, tags, .. } = self.0;
        let mut map = serializer.serialize_map(None)?;
        if let Some(name) = &spec.name {
            map.serialize_entry("name", name)?;
        }
        map.serialize_entry("experiment", &spec.experiment)?;
        map.serialize_entry("description", description)?;
        map.serialize_entry("tags", tags)?;
        if !spec.is_external() {
            map.serialize_entry("cluster", &spec.cluster)?;
        }
        map.serialize_entry("mode", &spec.mode)?;
        if spec.space.compat {
            map.serialize_entry("compat", "azure")?;
        }
        if spec.has_several() {
            let named =
                |objective: &Objective| json!({"primary_metric": objective.primary_metric, "goal": objective.goal});
            map.serialize_entry("objectives", &spec.objectives().map(named).collect::<Vec<Value>>())?;
        } else {
            map.serialize_entry("objective", &spec.objective)?;
        }
        if !spec.constraints.is_empty() {
            map.serialize_entry("constraints", &spec.constraints)?;
        }
        map.serialize_entry("search_space", &Space(&spec.space))?;
        map.serialize_entry("sampling_algorithm", &sampler(self.0))?;
        map.serialize_entry("early_termination", &spec.policy)?;
        map.serialize_entry("limits", limits)?;
        map.serialize_entry("record_keeps", &spec.record_keeps)?;
        if let Some(from) = &spec.resume_from {
            map.serialize_entry("resume_from", from)?;
            map.serialize_entry("resume_trials", &spec.resume_trials)?;
        }
        if !spec.is_external() {
            map.serialize_entry("trial", &spec.trial)?;
        }
        map.end()
    }
}

fn sampler(submitted: &Submitted) -> Value {
    let spec = &submitted.spec;
    let seed = if submitted.seed <= EXACT_MAX { json!(submitted.seed) } else { json!(submitted.seed.to_string()) };
    let mut fields = Map::from_iter([("type".to_owned(), json!(spec.sampler.kind())), ("seed".to_owned(), seed)]);
    match &spec.sampler {
        SamplerSpec::Random { rule } => drop(fields.insert("rule".to_owned(), json!(rule))),
        SamplerSpec::Bayesian { method } => drop(fields.insert("method".to_owned(), json!(method))),
        SamplerSpec::Grid => {}
    }
    if let Some(base) = spec.space.logbase {
        fields.insert("logbase".to_owned(), json!(base));
    }
    Value::Object(fields)
}

/// A map in written order, which is the order of a grid and of the Sobol dimensions.
struct Space<'a>(&'a SearchSpace);

impl Serialize for Space<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.parameters.len()))?;
        for parameter in &self.0.parameters {
            map.serialize_entry(&parameter.name, &shown(parameter))?;
        }
        map.end()
    }
}

fn shown(parameter: &Parameter) -> Value {
    let mut value = serde_json::to_value(&parameter.distribution).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        if !parameter.when.is_empty() {
            let when = parameter.when.iter().map(|condition| (condition.parent.clone(), json!(condition.values)));
            fields.insert("when".to_owned(), Value::Object(when.collect()));
        }
        fields.extend(parameter.default.iter().map(|default| ("default".to_owned(), json!(default))));
    }
    value
}
