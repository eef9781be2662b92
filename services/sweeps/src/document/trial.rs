//! The trial section: the command, its data, its variables and what it occupies.

use std::collections::{BTreeMap, HashSet};

use documents::job::{self, Nodes};
use documents::{Field, Fields, Findings, Tree, reference};

use super::references::References;
use super::space::Names;
use super::spec::{Checkpoint, ClusterFacts, Environment, Input, InputMode, Keep, Output, Resources, TrialSpec};
use super::template::{Argument, Template};

/// Reads the section. `parameters` are the names in the search space, if that could be read.
pub(super) fn read(
    mut fields: Fields<'_>,
    parameters: Option<&Names>,
    cluster: Option<&ClusterFacts>,
    findings: &Findings,
) -> Option<TrialSpec> {
    fields.described_by(&reference::TRIAL);
    let input_fields = fields.field("inputs");
    let inputs = ids(&input_fields, read_input);
    let outputs = read_outputs(&fields.field("outputs"));
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
    let code = job::read_code(&fields.field("code"), "sha256:");
    let has_code = fields.field("code").is_present();
    if !has_code && !fields.field("prepare").is_present() {
        warn_of_absent_code(command.as_deref().unwrap_or_default(), findings);
    }
    let environment = read_environment(&fields.field("environment"), has_code);
    let resources = read_resources(&fields.field("resources"), cluster);
    let checkpoint = read_checkpoint(&fields.field("checkpoint"));
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

/// A job begins in an empty folder, but for its code.
fn warn_of_absent_code(command: &[Argument], findings: &Findings) {
    let words = command.iter().filter_map(|argument| match argument {
        Argument::Word(word) => word.as_text(),
        Argument::Group(_) => None,
    });
    if let Some(script) = job::script_of(words).filter(|script| !script.starts_with('/')) {
        let message = format!(
            "trial.command: {script} is not there when the command runs: a trial has no files but those of trial.code, \
             which is left out; name the folder that {script} is in, e.g. code: ./"
        );
        findings.warn("/trial/command", "NoCode", message);
    }
}

fn read_command<'a>(field: &Field<'a>, references: &mut References<'a>) -> Option<Vec<Argument>> {
    let arguments: Vec<Option<Argument>> = match &field.node()?.value {
        Tree::Text(text) => {
            let words = split(field, text)?;
            let before = std::iter::once(None).chain(words.iter().map(|word| Some(word.as_str())));
            let words = words.iter().zip(before);
            words.map(|(word, before)| whole_word(field, word, before, references).map(Argument::Word)).collect()
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
fn whole_word<'a>(
    field: &Field<'a>,
    text: &str,
    before: Option<&str>,
    references: &mut References<'a>,
) -> Option<Template> {
    let template = template(field, text, references)?;
    references.add_word(field, text, before, &template);
    Some(template)
}

fn read_variables<'a>(field: &Field<'a>, references: &mut References<'a>) -> BTreeMap<String, Template> {
    let mut variables = BTreeMap::new();
    for (name, value) in field.entries().unwrap_or_default() {
        job::check_variable(name, &value);
        if let Some(value) = value.scalar_text().and_then(|text| template(&value, &text, references)) {
            variables.insert(name.to_owned(), value);
        }
    }
    variables
}

/// A map by id. All ids are in the result, so that references to an entry that is wrong itself are not reported again.
fn ids<T>(field: &Field<'_>, read: impl Fn(&Field<'_>) -> Option<T>) -> BTreeMap<String, Option<T>> {
    let entries = field.entries().unwrap_or_default();
    job::check_ids(entries.iter().map(|(id, entry)| (*id, entry.clone())));
    entries.into_iter().map(|(id, entry)| (id.to_owned(), read(&entry))).collect()
}

fn read_input(field: &Field<'_>) -> Option<Input> {
    let mut fields = field.map()?;
    fields.described_by(&reference::INPUT);
    let (uri, mode) = job::read_input(&mut fields)?;
    let mode = match mode {
        vocabulary::job::InputMode::Mount => InputMode::Mount,
        vocabulary::job::InputMode::Download => InputMode::Download,
    };
    Some(Input { uri, mode })
}

/// A map by id, or a list of ids as a run has it.
fn read_outputs(field: &Field<'_>) -> BTreeMap<String, Option<Output>> {
    if !field.node().is_some_and(|node| matches!(node.value, Tree::List(_))) {
        return ids(field, read_output);
    }
    let entries = field.list().unwrap_or_default();
    let named: Vec<_> = entries.iter().filter_map(|entry| Some((entry.text()?, entry.clone()))).collect();
    job::check_ids(named.iter().cloned());
    named.into_iter().map(|(id, _)| (id.to_owned(), Some(Output::default()))).collect()
}

fn read_output(field: &Field<'_>) -> Option<Output> {
    match field.node()?.value {
        Tree::Null => Some(Output::default()),
        _ => field.map().map(|mut fields| {
            fields.described_by(&reference::OUTPUT);
            Output { keep: read_keep(&mut fields) }
        }),
    }
}

fn read_keep(fields: &mut Fields<'_>) -> Keep {
    if job::keeps_best(fields) { Keep::Best } else { Keep::Last }
}

/// Whether there is one, or a map that says which one remains.
fn read_checkpoint(field: &Field<'_>) -> Checkpoint {
    if !field.node().is_some_and(|node| matches!(node.value, Tree::Map(_))) {
        return Checkpoint::Saved(field.boolean().unwrap_or_default());
    }
    let keep = field.map().map(|mut fields| {
        fields.described_by(&reference::KEPT_CHECKPOINT);
        read_keep(&mut fields)
    });
    match keep {
        Some(Keep::Best) => Checkpoint::Kept { keep: Keep::Best },
        _ => Checkpoint::Saved(true),
    }
}

/// Refuses to keep what is of the best value where several values say what is good.
pub(super) fn check_kept(trial: Option<&TrialSpec>, further_objectives: Option<usize>, findings: &Findings) {
    let further = further_objectives.unwrap_or_default();
    for kept in trial.into_iter().flat_map(TrialSpec::kept_at_best).filter(|_| further > 0) {
        let message = format!(
            "trial.{}.keep: best is that of one value, and this sweep has {} objectives; keep the last, or name one \
             objective",
            kept.replace('/', "."),
            further + 1
        );
        findings.refuse(format!("/trial/{kept}/keep"), "NeedsObjective", message);
    }
}

fn read_environment(field: &Field<'_>, has_code: bool) -> Option<Environment> {
    if !field.is_present() {
        return Some(Environment::default());
    }
    let mut fields = field.map()?;
    fields.described_by(&reference::ENVIRONMENT);
    let python = job::read_python(&fields.field("python"));
    let requirements = job::read_requirements(&fields.field("requirements"), has_code);
    Some(Environment { python: python?, requirements: requirements? })
}

fn read_resources(field: &Field<'_>, cluster: Option<&ClusterFacts>) -> Option<Resources> {
    let nodes = cluster.map(|cluster| Nodes {
        max_nodes: cluster.max_nodes,
        vcpus: cluster.node_vcpus,
        memory_bytes: cluster.node_memory_bytes,
        gpus: cluster.node_gpus,
    });
    let read = job::read_resources(field, nodes.as_ref())?;
    Some(Resources {
        cpu_count: read.cpu_count,
        gpu_count: read.gpu_count,
        memory_bytes: read.memory_bytes,
        node_count: read.node_count,
    })
}

fn read_prepare(field: &Field<'_>) -> Vec<String> {
    let Some(node) = field.node() else { return Vec::new() };
    let words = match &node.value {
        Tree::Text(text) => split(field, text).unwrap_or_default(),
        _ => field.list().unwrap_or_default().iter().filter_map(Field::scalar_text).collect(),
    };
    job::check_prepare(&words, field);
    words
}
