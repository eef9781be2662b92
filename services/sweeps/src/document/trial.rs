//! The trial section: the command, its data, its variables and what it occupies.

use std::collections::{BTreeMap, HashMap, HashSet};

use documents::{Field, Fields, Findings, Tree};
use strum::VariantNames;
use tuning::environment_form;

use super::references::References;
use super::space::Names;
use super::spec::{ClusterFacts, Environment, Input, InputMode, Output, Resources, TrialSpec};
use super::template::{Argument, Template};

/// Hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;
/// Longest id of an input or output: it becomes a folder's name and a variable's.
const ID_LENGTH_MAX: usize = 64;

/// Reads the section. `parameters` are the names in the search space, if that could be read.
pub(super) fn read(
    mut fields: Fields<'_>,
    parameters: Option<&Names>,
    cluster: Option<&ClusterFacts>,
    findings: &Findings,
) -> Option<TrialSpec> {
    let input_fields = fields.field("inputs");
    let inputs = ids(&input_fields, read_input);
    let outputs = ids(&fields.field("outputs"), read_output);
    let taken: HashSet<&String> = parameters.iter().flat_map(|names| &names.all).collect();
    for name in inputs.keys().filter(|id| taken.contains(id)) {
        let pointer = documents::pointer::child(&input_fields.pointer(), name);
        let message = format!("trial.inputs.{name}: the search space has a parameter of this name; rename one of them");
        findings.refuse(pointer, "NameCollision", message);
    }
    let mut references = References::default();
    let command = read_command(&fields.required("command"), &mut references);
    let environment_variables = read_variables(&fields.field("environment_variables"), &mut references);
    references.check(parameters, &inputs, &outputs, findings);
    let code = read_code(&fields.field("code"));
    let environment = read_environment(&fields.field("environment"));
    let resources = read_resources(&fields.field("resources"), cluster);
    let checkpoint = fields.boolean("checkpoint").unwrap_or_default();
    let prepare = read_prepare(&fields.field("prepare"));
    let inputs = inputs.into_iter().map(|(id, input)| Some((id, input?))).collect::<Option<_>>();
    let outputs = outputs.into_iter().map(|(id, output)| Some((id, output?))).collect::<Option<_>>();
    Some(TrialSpec {
        command: command?,
        code: code?,
        environment: environment?,
        environment_variables,
        inputs: inputs?,
        outputs: outputs?,
        resources: resources?,
        checkpoint,
        prepare,
    })
}

fn read_command<'a>(field: &Field<'a>, references: &mut References<'a>) -> Option<Vec<Argument>> {
    let arguments: Vec<Option<Argument>> = match &field.node()?.value {
        Tree::Text(text) => {
            let words = split(field, text)?;
            words.iter().map(|word| whole_word(field, word, references).map(Argument::Word)).collect()
        }
        _ => field.list()?.iter().map(|item| read_argument(item, references)).collect(),
    };
    let Some(first) = arguments.first() else {
        field.refuse("Required", "required: at least the program");
        return None;
    };
    match first {
        Some(Argument::Group(_)) => field.refuse("WrongType", "the first word is the program and cannot be a group"),
        Some(Argument::Word(word)) if *word == Template::default() => {
            field.refuse("Required", "the first word is the program and cannot be empty");
        }
        _ => {}
    }
    arguments.into_iter().collect()
}

fn read_argument<'a>(field: &Field<'a>, references: &mut References<'a>) -> Option<Argument> {
    match &field.node()?.value {
        Tree::List(_) => {
            let words = field.list()?;
            let words: Vec<_> = words.iter().map(|word| template(word, &word.scalar_text()?, references)).collect();
            words.into_iter().collect::<Option<_>>().map(Argument::Group)
        }
        _ => template(field, &field.scalar_text()?, references).map(Argument::Word),
    }
}

/// By the rules of a POSIX shell's words; no shell is started.
fn split(field: &Field<'_>, text: &str) -> Option<Vec<String>> {
    let words = shlex::split(text);
    if words.is_none() {
        field.refuse("TemplateSyntax", "a quote is not closed, or the text ends with '\\'");
    }
    words
}

fn template<'a>(field: &Field<'a>, text: &str, references: &mut References<'a>) -> Option<Template> {
    match Template::parse(text) {
        Ok(template) => {
            references.add(field, &template);
            Some(template)
        }
        Err(wrong) => {
            field.refuse("TemplateSyntax", wrong);
            None
        }
    }
}

/// A word of the string form, which knows no groups.
fn whole_word<'a>(field: &Field<'a>, text: &str, references: &mut References<'a>) -> Option<Template> {
    let template = template(field, text, references)?;
    references.add_word(field, text, &template);
    Some(template)
}

fn read_variables<'a>(field: &Field<'a>, references: &mut References<'a>) -> BTreeMap<String, Template> {
    let mut variables = BTreeMap::new();
    for (name, value) in field.entries().unwrap_or_default() {
        if name.starts_with("TRIALOG_") {
            value.refuse("ReservedName", "names starting with TRIALOG_ are Trialog's own; rename it");
        } else if name.is_empty() || name.contains(['=', '\0']) {
            value.refuse("BadName", "a variable's name is not empty and has no '='");
        }
        if let Some(value) = value.scalar_text().and_then(|text| template(&value, &text, references)) {
            variables.insert(name.to_owned(), value);
        }
    }
    variables
}

/// A map by id. All ids are in the result, so that references to an entry that is wrong itself are not reported again.
fn ids<T>(field: &Field<'_>, read: impl Fn(&Field<'_>) -> Option<T>) -> BTreeMap<String, Option<T>> {
    let mut read_ids = BTreeMap::new();
    let mut forms: HashMap<String, &str> = HashMap::new();
    for (id, entry) in field.entries().unwrap_or_default() {
        let starts_well = id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let goes_well = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if !(starts_well && goes_well && id.len() <= ID_LENGTH_MAX) {
            entry.refuse("BadName", "a letter or '_', then up to 63 letters, digits, '_', '.' or '-'");
        }
        if let Some(earlier) = forms.insert(environment_form(id), id) {
            let message = format!("{earlier} and {id} are both {} in the environment", environment_form(id));
            entry.refuse("AmbiguousName", message);
        }
        read_ids.insert(id.to_owned(), read(&entry));
    }
    read_ids
}

fn read_input(field: &Field<'_>) -> Option<Input> {
    let mut fields = field.map()?;
    let uri = fields.required("uri");
    let mode = fields.field("mode").one_of("BadInputMode", InputMode::VARIANTS);
    let mode = mode.and_then(|mode| mode.parse().ok()).unwrap_or_default();
    let text = uri.text()?;
    if !text.starts_with("file:///") {
        uri.refuse("NotOfferedYet", format_args!("only file:///… is offered yet, received {}", uri.received()));
        return None;
    }
    Some(Input { uri: text.to_owned(), mode })
}

fn read_output(field: &Field<'_>) -> Option<Output> {
    match field.node()?.value {
        Tree::Null => Some(Output {}),
        _ => field.map().map(|_| Output {}),
    }
}

/// `None` for a wrong value, `Some(None)` for no code.
fn read_code(field: &Field<'_>) -> Option<Option<String>> {
    if !field.is_present() {
        return Some(None);
    }
    let text = field.text()?;
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    if digits.len() == SHA256_DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Some(Some(text.to_owned()));
    }
    let message = format!("expected sha256:<{SHA256_DIGITS} hexadecimal digits> of an uploaded object, received");
    field.refuse("BadCode", format_args!("{message} {}; the CLI packs and uploads a folder", field.received()));
    None
}

fn read_environment(field: &Field<'_>) -> Option<Environment> {
    if !field.is_present() {
        return Some(Environment::default());
    }
    let python = field.map()?.field("python");
    let path = python.text();
    if path.is_some_and(|path| !path.starts_with('/') || path.contains('\0')) {
        let message = format!("expected an absolute path, received {}", python.received());
        python.refuse("BadEnvironment", message);
        return None;
    }
    (path.is_some() || !python.is_present()).then(|| Environment { python: path.map(str::to_owned) })
}

fn read_resources(field: &Field<'_>, cluster: Option<&ClusterFacts>) -> Option<Resources> {
    let mut resources = Resources::default();
    let Some(mut fields) = field.map() else { return (!field.is_present()).then_some(resources) };
    let never = |field: &Field<'_>, has: String| {
        field.refuse("NeverSchedulable", format_args!("needs {}, {has}", field.received()));
    };
    let cpus = fields.field("cpu_count");
    if let Some(count) = cpus.number() {
        resources.cpu_count = count;
        match cluster.map(|cluster| cluster.node_vcpus) {
            _ if count <= 0.0 => cpus.refuse("OutOfRange", format_args!("{} must be > 0", cpus.received())),
            Some(most) if count > f64::from(most) => never(&cpus, format!("a node has {most}")),
            _ => {}
        }
    }
    let gpus = fields.field("gpu_count");
    if let Some(count) = gpus.integer_in(0..=u32::MAX) {
        resources.gpu_count = count;
        if let Some(most) = cluster.map(|cluster| cluster.node_gpus).filter(|&most| count > most) {
            never(&gpus, format!("a node has {most}"));
        }
    }
    let memory = fields.field("memory_bytes");
    if let Some(bytes) = memory.integer_in(1..=u64::MAX) {
        resources.memory_bytes = bytes;
        if let Some(most) = cluster.map(|cluster| cluster.node_memory_bytes).filter(|&most| bytes > most) {
            never(&memory, format!("a node has {most}"));
        }
    }
    let nodes = fields.field("node_count");
    if let Some(count) = nodes.integer_in(1..=u32::MAX) {
        resources.node_count = count;
        match cluster.map(|cluster| cluster.max_nodes) {
            // A cluster without nodes is refused by name, whatever the trial needs.
            Some(most) if count > most.max(1) => never(&nodes, format!("cluster max {most}")),
            _ if count > 1 => nodes.refuse("NotOfferedYet", "trials on several nodes are not offered yet"),
            _ => {}
        }
    }
    Some(resources)
}

fn read_prepare(field: &Field<'_>) -> Vec<String> {
    let Some(node) = field.node() else { return Vec::new() };
    let words = match &node.value {
        Tree::Text(text) => split(field, text).unwrap_or_default(),
        _ => field.list().unwrap_or_default().iter().filter_map(Field::scalar_text).collect(),
    };
    if words.iter().any(|word| word.contains("${{") || word.contains('\0')) {
        field.refuse("TemplateSyntax", "the preparation is the same for all trials: no references here");
    }
    words
}
