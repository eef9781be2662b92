//! The golden vectors of the distributions, lattices and number texts.

use std::path::PathBuf;

use serde_json::{Value as Json, json};
use trialog_tuning::{Lattice, SearchSpace, Value, number_text};

fn vectors() -> Json {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let folder = std::env::var_os("TRIALOG_VECTORS_DIR").map_or(default, PathBuf::from);
    let path = folder.join("distributions.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("the vectors are JSON")
}

/// A space of one parameter `x` with the case's distribution.
fn space(case: &Json) -> SearchSpace {
    let mut parameter = case["args"].clone();
    let fields = parameter.as_object_mut().expect("args is an object");
    let (compat, logbase) = (fields.remove("compat"), fields.remove("logbase"));
    fields.insert("type".to_owned(), case["type"].clone());
    fields.insert("name".to_owned(), json!("x"));
    let compat = compat.unwrap_or(json!(false));
    serde_json::from_value(json!({"parameters": [parameter], "compat": compat, "logbase": logbase}))
        .expect("args are those of a search space")
}

#[test]
fn every_point_agrees() {
    let file = vectors();
    let (mut count, mut wrong) = (0, Vec::new());
    for case in file["cases"].as_array().unwrap() {
        let space = space(case);
        assert!(space.check().iter().all(|issue| issue.warning), "{}: {:?}", case["name"], space.check());
        for point in case["points"].as_array().unwrap() {
            count += 1;
            let u = point[0].as_f64().unwrap();
            let got = space.value_of(0, u);
            let want: Value = serde_json::from_value(point[1].clone()).unwrap();
            let agree = match (&got, &want) {
                (Value::Number(got), Value::Number(want)) if case["check"] != "exact" => {
                    let (relative, absolute) = (&case["check"]["relative"], &case["check"]["absolute"]);
                    let tolerance = (relative.as_f64().unwrap() * want.abs()).max(absolute.as_f64().unwrap());
                    (got - want).abs() <= tolerance
                }
                _ => got == want,
            };
            if !agree {
                wrong.push(format!("{} u={u:e}: got {got}, expected {want}", case["name"]));
            }
        }
    }
    assert!(count > 0);
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_lattice_agrees() {
    for want in vectors()["lattices"].as_array().unwrap() {
        let field = |name: &str| want[name].as_f64();
        let lattice = Lattice::new(field("min_value").unwrap(), field("max_value").unwrap(), field("q").unwrap());
        assert_eq!(Some(lattice.count()), want["count"].as_u64(), "{want}");
        if lattice.count() > 0 {
            assert_eq!(Some(lattice.value(0)), field("first"), "{want}");
            assert_eq!(Some(lattice.value(lattice.count() - 1)), field("last"), "{want}");
        }
    }
}

#[test]
fn every_text_agrees() {
    for pair in vectors()["argv_text"].as_array().unwrap() {
        assert_eq!(Some(number_text(pair[0].as_f64().unwrap()).as_str()), pair[1].as_str());
    }
}
