//! The parts that every document with a job has, sweeps' trials and plain runs alike: one reader, the same errors.

use std::collections::HashMap;
use std::fmt::Display;

use vocabulary::FieldError;
use vocabulary::job::{InputMode, Requirements, Resources};
use vocabulary::names::environment_form;

use crate::{Field, Fields, Tree, reference};

/// Hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;
/// Longest id of an input or output: it becomes a folder's name and a variable's.
const ID_LENGTH_MAX: usize = 64;
/// Most inputs, and most outputs: each is a folder and two variables of the job's environment.
const IDS_MAX: usize = 256;
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

/// Endings of files that an interpreter runs.
const SCRIPTS: [&str; 7] = [".py", ".sh", ".R", ".jl", ".pl", ".rb", ".js"];

/// The first word of a command that looks like a file to be run.
pub fn script_of<'w>(words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let is_script = |word: &&str| {
        let is_one = !word.is_empty() && !word.contains(char::is_whitespace) && !word.starts_with('-');
        is_one && (word.starts_with("./") || SCRIPTS.iter().any(|ending| word.ends_with(ending)))
    };
    words.into_iter().find(is_script)
}

/// Checks ids of inputs or of outputs, each with its place: their spelling, and that no two are one in the environment.
pub fn check_ids<'i>(ids: impl IntoIterator<Item = (&'i str, Field<'i>)>) {
    let mut forms: HashMap<String, &str> = HashMap::new();
    for (number, (id, entry)) in ids.into_iter().enumerate() {
        if number == IDS_MAX {
            entry.refuse("OutOfRange", format_args!("at most {IDS_MAX} inputs, and as many outputs, received more"));
            return;
        }
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

/// The interpreter: an absolute path, or a version such as 3 or 3.11 that the node looks for; `Some(None)` for none.
pub fn read_python(field: &Field<'_>) -> Option<Option<String>> {
    if !field.is_present() {
        return Some(None);
    }
    let text = field.scalar_text()?;
    if (text.starts_with('/') && !text.contains('\0')) || is_version(&text) {
        return Some(Some(text));
    }
    let message = format!("expected an absolute path or a version, 3 or 3.11, received {}", field.received());
    field.refuse("BadEnvironment", message);
    None
}

/// `3` and `3.11`: there are no interpreters by more than that on PATH.
fn is_version(text: &str) -> bool {
    let rest = text.strip_prefix('3');
    let minor = rest.and_then(|rest| rest.strip_prefix('.'));
    let is_number = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    rest == Some("") || minor.is_some_and(is_number)
}

/// What pip installs: a file of the code, or a list of its lines; `Some(None)` for nothing.
pub fn read_requirements(field: &Field<'_>, has_code: bool) -> Option<Option<Requirements>> {
    let Some(node) = field.node() else { return Some(None) };
    if !matches!(node.value, Tree::Text(_)) {
        let items = field.list()?;
        let lines: Vec<Option<String>> = items.iter().map(read_requirement).collect();
        return Some(Some(Requirements::Lines(lines.into_iter().collect::<Option<_>>()?)));
    }
    let file = field.text()?;
    let is_inner = !file.starts_with('/') && file.split('/').all(|part| !matches!(part, "" | ".."));
    if !is_inner || file.contains('\0') {
        let message = "expected a file relative to the code, or a list such as [numpy, scikit-learn==1.5], received";
        field.refuse("BadEnvironment", format_args!("{message} {}", field.received()));
        return None;
    }
    if !has_code {
        let message = "is a file of the code, and there is no code; name the code, or write the requirements as a list";
        field.refuse("BadEnvironment", message);
        return None;
    }
    Some(Some(Requirements::File(file.to_owned())))
}

fn read_requirement(item: &Field<'_>) -> Option<String> {
    let line = item.text()?;
    if line.trim().is_empty() || line.contains(['\n', '\r', '\0']) {
        item.refuse("BadEnvironment", "one line of a requirements file, such as scikit-learn==1.5");
        return None;
    }
    Some(line.to_owned())
}

/// Whether what remains of a folder is as it was at the best value; `last` when it does not say.
pub fn keeps_best(fields: &mut Fields<'_>) -> bool {
    fields.field("keep").one_of("BadKeep", &["last", "best"]) == Some("best")
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
    fields.described_by(&reference::RESOURCES);
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
