//! What a service sees of a document: all errors at once, with pointers and good messages.

use serde_json::json;
use trialog_documents::{Field, Findings, Format, read, read_table};
use vocabulary::{Problem, Warning};

type Errors<'a> = &'a [(&'a str, &'a str, &'a str)];

fn check(problem: &Problem, status: u16, expected: Errors<'_>) {
    assert_eq!(problem.status, status, "{problem:?}");
    let found: Vec<_> =
        problem.errors.iter().map(|e| (e.pointer.as_str(), e.code.as_str(), e.message.as_str())).collect();
    assert_eq!(found, expected);
    assert_eq!(problem.code, expected[0].1);
}

fn read_limits(text: &str) -> Result<(u32, Vec<Warning>), Problem> {
    let document = read(text.as_bytes(), Format::Yaml)?;
    let findings = Findings::new();
    let mut total = None;
    if let Some(mut fields) = Field::root(&document, &findings).map() {
        let _ = (fields.required("name").text(), fields.number("q"), fields.tags(), fields.boolean("keep"));
        let _ = fields.field("goal").one_of("BadGoal", &["minimize", "maximize"]);
        let _ = fields.field("seed").integer_or_text::<u64>();
        fields.unlisted("compat").not_offered();
        if let Some(mut limits) = fields.map("limits") {
            total = limits.required("max_total_trials").integer_in(1..=1000u32);
            limits.field("timeout_seconds").warn("LongTimeout", "a long time");
        }
    }
    findings.finish(total)
}

#[test]
fn unknown_fields_answer_with_all_else_and_are_not_missing_too() {
    // Who is told of the fields first and of the values then sends the document twice.
    let problem = read_limits("nam: x\nlimits: {max_trails: 7, 'a/b': 1}\ngoal: up").unwrap_err();
    check(
        &problem,
        400,
        &[
            ("/goal", "BadGoal", "goal 'up': one of minimize, maximize"),
            (
                "/limits/a~1b",
                "UnknownField",
                "limits.a/b: unknown; the fields here are max_total_trials, timeout_seconds",
            ),
            ("/limits/max_trails", "UnknownField", "limits.max_trails: unknown; did you mean max_total_trials?"),
            (
                "/nam",
                "UnknownField",
                "nam: unknown; did you mean name? The fields here are name, q, tags, keep, goal, seed, limits",
            ),
        ],
    );
}

#[test]
fn all_errors_answer_together_in_order_of_pointer() {
    let text = "name: 7\nq: 1e999\ntags: {a: 1, \
         b: x}\nkeep: yes\ngoal: maximise\nseed: -1\ncompat: azure\nlimits: {max_total_trials: 0}";
    check(
        &read_limits(text).unwrap_err(),
        422,
        &[
            ("/compat", "NotOfferedYet", "compat: not offered yet"),
            ("/goal", "BadGoal", "goal 'maximise': one of minimize, maximize; did you mean maximize?"),
            ("/keep", "WrongType", "keep: expected true or false, received the text \"yes\""),
            ("/limits/max_total_trials", "OutOfRange", "limits.max_total_trials: 0 is not in 1..=1000"),
            ("/name", "WrongType", "name: expected a text, received 7"),
            ("/q", "NotFinite", "q: must be a finite number, received 1e999"),
            ("/seed", "OutOfRange", "seed: -1 is outside of what is allowed"),
            ("/tags/a", "WrongType", "tags.a: expected a text, received 1"),
        ],
    );
    check(
        &read_limits("name: null\nq: 'NaN'\nlimits: {max_total_trials: 4.0}").unwrap_err(),
        422,
        &[
            ("/limits/max_total_trials", "WrongType", "limits.max_total_trials: expected an integer, received 4.0"),
            ("/name", "Required", "name: required"),
            ("/q", "NotFinite", "q: must be a finite number, received the text \"NaN\""),
        ],
    );
}

#[test]
fn a_good_document_comes_with_its_warnings() {
    let (total, warnings) =
        read_limits("name: x\nseed: '18446744073709551615'\nlimits: {max_total_trials: 40, timeout_seconds: 9}")
            .unwrap();
    assert_eq!((total, warnings.len(), warnings[0].pointer.as_str()), (40, 1, "/limits/timeout_seconds"));
    check(
        &read_limits("- 1").unwrap_err(),
        422,
        &[("", "WrongType", "the document: expected a map, received a list of 1")],
    );
}

#[test]
fn the_rows_of_a_table_are_handed_on_and_not_held() {
    // A tree of two million values would be some twenty times their bytes.
    for format in [Format::Json, Format::Yaml] {
        let mut rows = Vec::new();
        let text = br#"{"name": "t", "rows": [{"a": 1}, [2, 3], null], "b": {"rows": [4]}}"#;
        let head = read_table(text, format, 100, "rows", |number, row| rows.push((number, row.to_json()))).unwrap();
        assert_eq!(head.to_json(), json!({"name": "t", "rows": [], "b": {"rows": [4]}}));
        assert_eq!(rows, [(0, json!({"a": 1})), (1, json!([2, 3])), (2, json!(null))]);
        let twice = br#"{"rows": [{"a": 1}, {"a": 1, "a": 2}], "b": 1, "b": 2}"#;
        let problem = read_table(twice, format, 100, "rows", |_, _| {}).unwrap_err();
        let pointers: Vec<_> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!((problem.status, pointers), (400, vec!["/b", "/rows/1/a"]));
        // As many values in all as it says, and no part that is held longer than a document may be.
        let table = |rows: usize, values: usize| {
            let row = format!("[{}]", vec!["1"; values].join(","));
            let text = format!("{{\"rows\": [{}]}}", vec![row; rows].join(","));
            read_table(text.as_bytes(), format, 300_000, "rows", |_, _| {}).map_err(|problem| problem.detail)
        };
        assert!(table(3, 90_000).is_ok());
        assert!(table(4, 90_000).unwrap_err().contains("more than 300000 values"));
        assert!(table(1, 200_000).unwrap_err().contains("more than 200000 values"));
    }
}

#[test]
fn all_duplicate_keys_are_named() {
    for (text, format) in [
        ("{\"a\": 1, \"b\": [{\"c\": 1,\n\"c\": 2}], \"a\": {\"d\": 1, \"d\": 1}}", Format::Json),
        ("{a: 1, b: [{c: 1,\nc: 2}], a: {d: 1, d: 1}}", Format::Yaml),
    ] {
        check(
            &read(text.as_bytes(), format).unwrap_err(),
            400,
            &[
                ("/a", "DuplicateKey", "a: written twice, at line 1 and line 2; keep one"),
                ("/a/d", "DuplicateKey", "a.d: written twice, at line 2 and line 2; keep one"),
                ("/b/0/c", "DuplicateKey", "b[0].c: written twice, at line 1 and line 2; keep one"),
            ],
        );
    }
}

#[test]
fn bytes_are_checked_before_anything_else() {
    let problem = read(b"{\"a\":\n \"\xff\"}", Format::Json).unwrap_err();
    check(&problem, 400, &[("", "MalformedBody", "expected UTF-8, found byte 0xFF at line 2 column 3")]);
    assert!(read(b"\xEF\xBB\xBF{}", Format::Json).is_ok());
    assert!(read(b"\xEF\xBB\xBFa: 1", Format::Yaml).is_ok());
    assert_eq!(read(b"  ", Format::Json).unwrap_err().code, "MalformedBody");
}

#[test]
fn answers_stay_bounded() {
    let text: String = (0..1000).map(|n| format!("field{n:04}: {n}\n")).collect();
    let problem = read_limits(&text).unwrap_err();
    assert_eq!((problem.errors.len(), problem.errors[0].pointer.as_str()), (200, "/field0000"));
    // With the name that is missing.
    assert_eq!(problem.extra["errors_left_out"], 801);
    let long = "x".repeat(1 << 20);
    assert_eq!(read_limits(&format!("{{\"{long}\": 1}}")).unwrap_err().errors.len(), 2);
}

#[test]
fn the_work_of_a_document_grows_with_its_length() {
    let good = serde_json::json!({
        "name": "x", "q": 1, "tags": {"a": "b"}, "keep": true, "goal": "minimize", "seed": 1,
        "limits": {"max_total_trials": 4}
    });
    trialog_documents::hostile::assert_linear(&good, |text| {
        let _ = read_limits(std::str::from_utf8(text).unwrap());
    });
}

#[test]
fn a_long_name_costs_its_length_once() {
    // Each item of the list once had the name in its pointer: a gigabyte for a body of half a megabyte.
    let (name, items) = ("n".repeat(1 << 18), "{},".repeat(50_000));
    let document = read(format!("{{\"{name}\": [{items}1]}}").as_bytes(), Format::Json).unwrap();
    let findings = Findings::new();
    let entries = Field::root(&document, &findings).entries().unwrap();
    let (steps, items) = trialog_documents::work::of(|| entries[0].1.list().unwrap());
    assert_eq!((items.len(), steps), (50_001, 50_001));
    items.iter().for_each(|item| item.refuse("Bad", "no good"));
    let problem = findings.finish(Some(())).unwrap_err();
    assert_eq!((problem.errors.len(), problem.extra["errors_left_out"].as_u64()), (1, Some(50_000)));
}
