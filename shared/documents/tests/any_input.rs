//! Properties of the reader: no input makes it panic, and on JSON it agrees with serde_json.

use proptest::prelude::*;
use serde_json::Value;
use trialog_documents::{Field, Findings, Format, Node, read};

/// Values whose numbers read the same in both readers: 64-bit integers and finite doubles.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has only finite numbers", |v| v.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Text that looks enough like a document to get past its first character.
fn near_documents() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "'",
        "- ",
        "? ",
        "\n",
        "\n  ",
        "a",
        "a: ",
        "\"a\": ",
        "1",
        "-",
        "1e999",
        ".inf",
        "\\u",
        "d800",
        "|",
        ">",
        "#",
        "&x ",
        "*x",
        "!!str ",
        "---",
        "...",
        "%YAML 1.2",
        "\t",
        "é",
        "null",
        "0x",
        "~",
        "<<: ",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn take_apart(document: &Node) {
    let findings = Findings::new();
    let root = Field::root(document, &findings);
    let _ = (root.text(), root.number(), root.integer::<u8>(), root.list(), root.tags());
    if let Some(mut fields) = root.map() {
        let _ =
            (fields.number("a"), fields.field("a").one_of("Bad", &["x"]), fields.field("a").integer_or_text::<u64>());
    }
    let _ = document.to_json();
    let _ = findings.strict().finish(Some(()));
}

proptest! {
    #![proptest_config(testkit::properties(256))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Json, Format::Yaml] {
            if let Ok(document) = read(&bytes, format) {
                take_apart(&document);
            }
        }
    }

    #[test]
    fn nothing_like_a_document_panics(text in near_documents()) {
        for format in [Format::Json, Format::Yaml] {
            match read(text.as_bytes(), format) {
                Ok(document) => take_apart(&document),
                Err(problem) => prop_assert_eq!(problem.status, 400),
            }
        }
    }

    #[test]
    fn valid_json_reads_as_serde_json_reads_it(value in any_json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.expect("a value can be written");
        let document = read(text.as_bytes(), Format::Json).expect("serde_json writes valid JSON");
        let theirs: Value = serde_json::from_str(&text).expect("and reads it");
        // Both write a double with the digits that read back, so equal texts are equal bits; 1 and 1.0 stay apart.
        prop_assert_eq!(document.to_json().to_string(), theirs.to_string());
    }

    #[test]
    fn what_serde_json_refuses_is_refused(text in near_documents()) {
        // Duplicate keys, deep nesting and 1e999 are the places where we differ on purpose.
        let theirs = serde_json::from_str::<Value>(&text);
        match (read(text.as_bytes(), Format::Json), theirs) {
            (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("out of range"), "{}", error),
            (Err(problem), Ok(_)) => prop_assert_eq!(problem.code, "DuplicateKey"),
            _ => {}
        }
    }
}
