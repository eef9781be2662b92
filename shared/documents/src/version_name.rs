//! How people name a version of a model.

/// The model and the version that a text names: `NAME/versions/N`, `NAME@ALIAS`, or `NAME` alone, which names no
/// version. A version is a number, `latest` or `@alias`. `None` when something of it is empty.
pub fn version_named(text: &str) -> Option<(&str, Option<String>)> {
    let (model, version) = match (text.split_once("/versions/"), text.split_once('@')) {
        (Some((model, version)), _) => (model, Some(version.to_owned())),
        (None, Some((model, alias))) => (model, Some(format!("@{alias}"))),
        (None, None) => (text, None),
    };
    let is_whole = !model.is_empty() && !matches!(version.as_deref(), Some("" | "@"));
    is_whole.then_some((model, version))
}
