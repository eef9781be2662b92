//! Why a batch could not be read.

use documents::{Field, Findings, Format, Node, Tree};
use vocabulary::Problem;

/// Everything that is wrong with the batch, in the order of pointers.
pub(super) fn explain(bytes: &[u8], error: &str) -> Problem {
    let tree = match documents::read(bytes, Format::Json) {
        Ok(tree) => tree,
        Err(problem) => return problem,
    };
    let findings = Findings::new();
    walk(&tree, &findings);
    // A fault that only serde sees still has a place in its message.
    findings.finish(Some(())).err().unwrap_or_else(|| Problem::new(400, "MalformedBody", error))
}

fn walk(tree: &Node, findings: &Findings) {
    let Some(mut batch) = Field::root(tree, findings).map() else { return };
    batch.integer::<u32>("attempt");
    batch.text("writer");
    batch.integer::<i64>("sequence");
    for point in batch.required("metrics").list().unwrap_or_default() {
        let Some(mut point) = point.map() else { continue };
        point.required("name").text();
        check_value(&point.required("value"));
        point.integer::<i64>("step");
        point.integer::<i64>("timestamp_ms");
    }
}

/// Refuses what is neither a number that a double can hold nor one of the three texts.
pub(crate) fn check_value(value: &Field<'_>) {
    let Some(node) = value.node() else { return };
    let good = match &node.value {
        Tree::Number(text) => text.parse::<f64>().is_ok_and(f64::is_finite),
        Tree::Text(text) => vocabulary::number::from_non_finite_text(text).is_some(),
        _ => false,
    };
    if !good {
        let received = value.received();
        let allowed = "a number that a double can hold, or the text \"NaN\", \"Infinity\" or \"-Infinity\"";
        value.refuse("BadMetricValue", format_args!("expected {allowed}, received {received}"));
    }
}
