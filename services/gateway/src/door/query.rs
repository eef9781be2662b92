//! Queries: taken apart by serde, and by what is published of them when that fails, so that what is wrong with a query
//! is said as of a body: everything at once, by name, with what is allowed.

use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use documents::{Findings, Place, one_of};
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::IntoParams;
use utoipa::openapi::path::ParameterIn;
use vocabulary::{FieldError, Problem};

use super::Refusal;

/// The parameters of a query.
#[derive(Clone, Debug)]
pub struct Query<T>(T);

impl<T> Query<T> {
    /// The parameters themselves.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Query<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned + IntoParams> FromRequest for Query<T> {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.query_string();
        let read = web::Query::<T>::from_query(text).map(|query| Self(query.into_inner()));
        ready(read.map_err(|error| Refusal(refused::<T>(text, &error.to_string()))))
    }
}

/// What is wrong with a query that serde did not take.
fn refused<T: IntoParams>(text: &str, otherwise: &str) -> Problem {
    let published: Vec<Value> =
        T::into_params(|| Some(ParameterIn::Query)).iter().filter_map(|one| serde_json::to_value(one).ok()).collect();
    let pairs = web::Query::<Vec<(String, String)>>::from_query(text).map(web::Query::into_inner).unwrap_or_default();
    let findings = Findings::new();
    check(&published, &pairs, &findings);
    match findings.finish(Some(())) {
        Err(problem) => problem,
        Ok(_) => Problem::new(400, "BadQuery", format!("query: {otherwise}")),
    }
}

fn check(published: &[Value], pairs: &[(String, String)], findings: &Findings) {
    let root = Place::root();
    let named = |name: &str| published.iter().find(|one| one["name"] == name);
    let names: Vec<&str> = published.iter().filter_map(|one| one["name"].as_str()).collect();
    let first_unknown = pairs.iter().map(|(name, _)| name).filter(|name| named(name).is_none()).min();
    for (at, (name, value)) in pairs.iter().enumerate() {
        let place = root.key(name);
        let pointer = place.pointer();
        let Some(parameter) = named(name) else {
            findings.add_unknown(&root, name, &names, &names, Some(name) == first_unknown);
            continue;
        };
        if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
            let message = format!("{name}: written twice in the query; keep one");
            findings.add(FieldError::new(pointer, "DuplicateKey", message));
        } else if let Some((code, rule)) = broken_rule(&parameter["schema"], value) {
            findings.add(FieldError::new(pointer, code, format!("{name} {value:?}: {rule}")));
        }
    }
    let is_there = |name: &str| pairs.iter().any(|(given, _)| given == name);
    for parameter in published.iter().filter(|one| one["required"] == true) {
        let name = parameter["name"].as_str().unwrap_or_default();
        if !is_there(name) {
            let what = parameter["description"].as_str().unwrap_or_default();
            findings.add(FieldError::new(
                format!("/{name}"),
                "Required",
                format!("{name}: required in the query: {what}"),
            ));
        }
    }
}

fn broken_rule(schema: &Value, value: &str) -> Option<(&'static str, String)> {
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default(),
        kind => kind.as_str().unwrap_or_default(),
    };
    let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
    let number = value.parse::<f64>().ok();
    let range = match (least, most) {
        (Some(least), Some(most)) => format!(" in {least}..={most}"),
        (Some(least), None) => format!(" from {least}"),
        _ => String::new(),
    };
    match kind {
        "boolean" if !["true", "false"].contains(&value) => {
            Some(("WrongType", format!("{}; leave it out for false", one_of(value, &["true", "false"]))))
        }
        "integer" if value.parse::<i128>().is_err() => Some(("WrongType", format!("an integer{range}"))),
        "number" if number.is_none_or(f64::is_nan) => Some(("WrongType", format!("a number{range}"))),
        "integer" | "number" => {
            let outside =
                least.is_some_and(|least| number < Some(least)) || most.is_some_and(|most| number > Some(most));
            let absent = schema["default"].as_i64().map(|absent| format!("; leave it out for {absent}"));
            outside.then(|| ("OutOfRange", format!("must be{range}{}", absent.unwrap_or_default())))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::page::PageQuery;

    fn refused_with(text: &str) -> Vec<(u16, String, String, String)> {
        let error = web::Query::<PageQuery>::from_query(text).map(drop).unwrap_err();
        let problem = refused::<PageQuery>(text, &error.to_string());
        let status = problem.status;
        problem.errors.into_iter().map(|error| (status, error.pointer, error.code, error.message)).collect()
    }

    /// Published as any text, and taken as one of two.
    #[derive(Debug, serde::Deserialize, IntoParams)]
    struct Odd {
        #[param(value_type = String)]
        shade: Shade,
    }

    #[derive(Debug, serde::Deserialize)]
    enum Shade {
        Light,
    }

    #[test]
    fn what_the_published_form_does_not_rule_out_is_refused_all_the_same() {
        let odd = web::Query::<Odd>::from_query("shade=Light").unwrap();
        assert!(matches!(odd.shade, Shade::Light));
        let error = web::Query::<Odd>::from_query("shade=Dark").unwrap_err();
        let problem = refused::<Odd>("shade=Dark", &error.to_string());
        assert_eq!((problem.status, problem.code.as_str()), (400, "BadQuery"));
        assert!(problem.detail.contains("Dark") && problem.detail.contains("Light"), "{problem}");
    }

    #[test]
    fn a_query_is_refused_as_a_body_is() {
        let of = |status: u16, pointer: &str, code: &str, message: &str| {
            (status, pointer.to_owned(), code.to_owned(), message.to_owned())
        };
        let misspelt = "page_sise: unknown; did you mean page_size?";
        assert_eq!(
            refused_with("page_sise=3&colour=red"),
            [
                of(400, "/colour", "UnknownField", "colour: unknown; the fields here are page_size, page_token"),
                of(400, "/page_sise", "UnknownField", misspelt),
            ]
        );
        let range = "must be in 1..=1000; leave it out for 100";
        assert_eq!(
            refused_with("page_size=0"),
            [of(422, "/page_size", "OutOfRange", &format!("page_size \"0\": {range}"))]
        );
        let blank = "page_size \"3 \": an integer in 1..=1000";
        assert_eq!(refused_with("page_size=3%20"), [of(422, "/page_size", "WrongType", blank)]);
        let twice = "page_size: written twice in the query; keep one";
        assert_eq!(refused_with("page_size=3&page_size=4"), [of(422, "/page_size", "DuplicateKey", twice)]);
    }
}
