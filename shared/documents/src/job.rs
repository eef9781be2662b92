//! The parts that every document with a job has, sweeps' trials and plain runs alike: one reader, the same errors.

use std::collections::HashMap;
use std::fmt::Display;

use vocabulary::FieldError;
use vocabulary::job::{InputMode, Resources};
use vocabulary::names::environment_form;

use crate::{Field, Fields};

/// Hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;
/// Longest id of an input or output: it becomes a folder's name and a variable's.
const ID_LENGTH_MAX: usize = 64;
/// What a job gets that names nothing: one CPU and 1 GiB of one node.
pub const RESOURCES_DEFAULT: Resources =
    Resources { cpu_count: 1.0, gpu_count: 0, memory_bytes: 1 << 30, node_count: 1 };

/// The cluster that a job is to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// Most nodes it grows to.
    pub max_nodes: u32,
    /// Virtual CPUs of a node.
    pub vcpus: u32,
    /// Memory of a node.
    pub memory_bytes: u64,
    /// GPUs of a node.
    pub gpus: u32,
}

/// Checks ids of inputs or of outputs, each with its place: their spelling, and that no two are one in the environment.
pub fn check_ids<'i>(ids: impl IntoIterator<Item = (&'i str, Field<'i>)>) {
    let mut forms: HashMap<String, &str> = HashMap::new();
    for (id, entry) in ids {
        let starts_well = id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let goes_well = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if !(starts_well && goes_well && id.len() <= ID_LENGTH_MAX) {
            entry.refuse("BadName", "a letter or '_', then up to 63 letters, digits, '_', '.' or '-'");
        }
        if let Some(earlier) = forms.insert(environment_form(id), id) {
            let message = format!("{earlier} and {id} are both {} in the environment", environment_form(id));
            entry.refuse("AmbiguousName", message);
        }
    }
}

/// Where an input is and how it gets to the node; `mount` when it does not say.
pub fn read_input(fields: &mut Fields<'_>) -> Option<(String, InputMode)> {
    let uri = fields.required("uri");
    let mode = match fields.field("mode").one_of("BadInputMode", &["mount", "download"]) {
        Some("download") => InputMode::Download,
        _ => InputMode::Mount,
    };
    let text = uri.text()?;
    if !text.starts_with("file:///") {
        uri.refuse("NotOfferedYet", format_args!("only file:///… is offered yet, received {}", uri.received()));
        return None;
    }
    Some((text.to_owned(), mode))
}

/// The hash of a code object, after `prefix`; `Some(None)` for none.
pub fn read_code(field: &Field<'_>, prefix: &str) -> Option<Option<String>> {
    if !field.is_present() {
        return Some(None);
    }
    let text = field.text()?;
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    if digits.len() == SHA256_DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Some(Some(text.to_owned()));
    }
    let message = format!("expected {prefix}<{SHA256_DIGITS} hexadecimal digits> of an uploaded object, received");
    field.refuse("BadCode", format_args!("{message} {}; the CLI packs and uploads a folder", field.received()));
    None
}

/// The absolute path of an interpreter; `Some(None)` for none.
pub fn read_python(field: &Field<'_>) -> Option<Option<String>> {
    let path = field.text();
    if path.is_some_and(|path| !path.starts_with('/') || path.contains('\0')) {
        field.refuse("BadEnvironment", format!("expected an absolute path, received {}", field.received()));
        return None;
    }
    (path.is_some() || !field.is_present()).then(|| path.map(str::to_owned))
}

/// Checks the name of a variable whose value is at `field`.
pub fn check_variable(name: &str, field: &Field<'_>) {
    if name.starts_with("TRIALOG_") {
        field.refuse("ReservedName", "names starting with TRIALOG_ are Trialog's own; rename it");
    } else if name.is_empty() || name.contains(['=', '\0']) {
        field.refuse("BadName", "a variable's name is not empty and has no '='");
    }
}

/// Checks the words of a preparation.
pub fn check_prepare(words: &[String], field: &Field<'_>) {
    if words.iter().any(|word| word.contains("${{") || word.contains('\0')) {
        field.refuse("TemplateSyntax", "the preparation is the same for all trials: no references here");
    }
}

/// The error of a reference of a command or a variable that refers to nothing.
pub fn unknown_reference(field: &Field<'_>, reference: impl Display, unknown: &str, meant: Option<&str>) -> FieldError {
    let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    let message = format!("{}: ${{{{{reference}}}}} refers to nothing: unknown {unknown}{meant}", field.path());
    FieldError::new(field.pointer(), "UnknownReference", message)
}

/// What a job claims; `nodes` are those of its cluster, when it is known.
pub fn read_resources(field: &Field<'_>, nodes: Option<&Nodes>) -> Option<Resources> {
    let mut resources = RESOURCES_DEFAULT;
    let Some(mut fields) = field.map() else { return (!field.is_present()).then_some(resources) };
    let never = |field: &Field<'_>, has: String| {
        field.refuse("NeverSchedulable", format_args!("needs {}, {has}", field.received()));
    };
    let cpus = fields.field("cpu_count");
    if let Some(count) = cpus.number() {
        resources.cpu_count = count;
        match nodes.map(|nodes| nodes.vcpus) {
            _ if count <= 0.0 => cpus.refuse("OutOfRange", format_args!("{} must be > 0", cpus.received())),
            Some(most) if count > f64::from(most) => never(&cpus, format!("a node has {most}")),
            _ => {}
        }
    }
    let gpus = fields.field("gpu_count");
    if let Some(count) = gpus.integer_in(0..=u32::MAX) {
        resources.gpu_count = count;
        if let Some(most) = nodes.map(|nodes| nodes.gpus).filter(|&most| count > most) {
            never(&gpus, format!("a node has {most}"));
        }
    }
    let memory = fields.field("memory_bytes");
    if let Some(bytes) = memory.integer_in(1..=u64::MAX) {
        resources.memory_bytes = bytes;
        if let Some(most) = nodes.map(|nodes| nodes.memory_bytes).filter(|&most| bytes > most) {
            never(&memory, format!("a node has {most}"));
        }
    }
    let count = fields.field("node_count");
    if let Some(wanted) = count.integer_in(1..=u32::MAX) {
        resources.node_count = wanted;
        match nodes.map(|nodes| nodes.max_nodes) {
            // A cluster without nodes is refused by name, whatever the job needs.
            Some(most) if wanted > most.max(1) => never(&count, format!("cluster max {most}")),
            _ if wanted > 1 => count.refuse("NotOfferedYet", "trials on several nodes are not offered yet"),
            _ => {}
        }
    }
    Some(resources)
}
