//! Reads the documents of PUT and PATCH: every error at once, with what was probably meant.

use documents::{Field, Fields, Findings, Format, Tree, reference};
use vocabulary::Problem;

use super::{ClusterSpec, LocalSettings, Preemption, Provider, Scale, ScaleChange, VmPriority};
use crate::sizes::{self, Size};

/// Nodes that one cluster may have: the local provider starts a process for each.
const NODES_MAX: u32 = 1000;
/// Idle time when the document names none.
const IDLE_SECONDS_DEFAULT: f64 = 300.0;
/// No delay of a simulation is longer than a day.
const SIMULATED_SECONDS_MAX: f64 = 86_400.0;

/// Reads the body of PUT.
///
/// # Errors
/// All that is wrong with it: 400 for what is no document or has unknown fields, else 422.
pub fn read_spec(name: &str, text: &[u8], format: Format) -> Result<(ClusterSpec, Size), Problem> {
    let document = documents::read(text, format)?;
    let findings = Findings::new();
    if let Some(fault) = vocabulary::names::cluster(name) {
        findings.refuse("/name", "BadName", format!("the cluster's name {fault}"));
    }
    let mut value = None;
    if let Some(mut fields) = Field::root(&document, &findings).map() {
        fields.described_by(&reference::CLUSTER);
        let named = fields.field("name");
        if named.text().is_some_and(|other| other != name) {
            named.refuse("NameMismatch", format_args!("{} is not the name in the path, '{name}'", named.received()));
        }
        refuse_unoffered(&mut fields);
        let size = vm_size(&fields.required("vm_size"));
        let priority = fields.field("vm_priority").one_of("BadPriority", &["dedicated", "low_priority"]);
        let scale = fields.required("scale");
        let change = scale_fields(&scale);
        if let Some(node) = scale.node().filter(|node| matches!(node.value, Tree::Map(_)))
            && node.get("max_nodes").is_none()
            && let Some(entry) = reference::SCALE.entry("max_nodes")
        {
            findings.refuse("/scale/max_nodes", "Required", format!("scale.max_nodes: {}", entry.wanted()));
        }
        let os_type = os_type(&fields.field("os_type"));
        let place = fields.field("provider");
        let provider = provider(&place);
        let Provider::Local(settings) = &provider;
        if priority != Some("low_priority") && settings.preemption != Preemption::Never {
            let message = "provider.preemption: dedicated nodes are not preempted; set vm_priority to low_priority";
            findings.refuse("/provider/preemption", "NotPreemptible", message.to_owned());
        }
        let tags = fields.tags().unwrap_or_default();
        value = size.map(|size| {
            let default = Scale { idle_seconds_before_scaledown: IDLE_SECONDS_DEFAULT, ..Scale::default() };
            let spec = ClusterSpec {
                vm_size: size.name.clone(),
                vm_priority: priority.and_then(|text| text.parse::<VmPriority>().ok()).unwrap_or_default(),
                scale: change.of(default),
                os_type,
                provider,
                tags,
            };
            (spec, size)
        });
    }
    findings.finish(value).map(|(value, _)| value)
}

/// Reads the body of PATCH.
///
/// # Errors
/// All that is wrong with it: unknown fields (400), values (422), and what cannot change (409).
pub fn read_change(text: &[u8], format: Format) -> Result<ScaleChange, Problem> {
    const FIXED: [&str; 6] = ["name", "vm_size", "vm_priority", "os_type", "provider", "tags"];
    let document = documents::read(text, format)?;
    let findings = Findings::new();
    let mut value = None;
    if let Some(mut fields) = Field::root(&document, &findings).map() {
        for name in FIXED {
            if fields.unlisted(name).is_present() {
                let message = format!("{name}: cannot be changed; create a new cluster");
                findings.conflict(format!("/{name}"), "Immutable", message);
            }
        }
        value = Some(scale_fields(&fields.field("scale")));
    }
    findings.finish(value).map(|(change, _)| change)
}

fn refuse_unoffered(fields: &mut Fields<'_>) {
    for name in ["subnet", "isolated_network", "public_ip", "enable_public_ip", "virtual_network"] {
        let field = fields.unlisted(name);
        if field.is_present() {
            field.refuse("NotOffered", "not offered: nodes are processes of this machine and share its network");
        }
    }
    for name in ["ssh", "setup_task", "mounts"] {
        fields.unlisted(name).not_offered();
    }
}

fn vm_size(field: &Field<'_>) -> Option<Size> {
    let name = field.text()?;
    if let Some(size) = sizes::by_name(name) {
        return Some(size);
    }
    if sizes::is_fpga(name) {
        field.refuse("NotOffered", format_args!("'{name}' is an FPGA size; FPGAs are not offered"));
        return None;
    }
    let names: Vec<&'static str> = sizes::names().collect();
    let rule = documents::one_of(name, &names);
    field.refuse("UnknownSize", format_args!("there is no such size, received {}; {rule}", field.received()));
    None
}

fn os_type(field: &Field<'_>) -> String {
    match field.text() {
        Some("windows") => field.refuse("NotOffered", "'windows' is not offered; use linux"),
        Some(_) => {
            let _ = field.one_of("BadOsType", &["linux"]);
        }
        None => {}
    }
    "linux".to_owned()
}

fn scale_fields(field: &Field<'_>) -> ScaleChange {
    let Some(mut fields) = field.map() else { return ScaleChange::default() };
    fields.described_by(&reference::SCALE);
    let min_nodes = fields.field("min_nodes").integer_in(0..=NODES_MAX);
    let max = fields.field("max_nodes");
    let max_nodes = max.integer_in(0..=NODES_MAX);
    if let (Some(least), Some(most)) = (min_nodes, max_nodes)
        && most < least
    {
        max.refuse("OutOfRange", format_args!("{most} is less than scale.min_nodes, which is {least}"));
    }
    let idle = seconds(&fields.field("idle_seconds_before_scaledown"), f64::MAX);
    ScaleChange { min_nodes, max_nodes, idle_seconds_before_scaledown: idle }
}

fn provider(field: &Field<'_>) -> Provider {
    let mut settings = LocalSettings::default();
    let Some(mut fields) = field.map() else { return Provider::Local(settings) };
    fields.described_by(&reference::LOCAL);
    let kind = fields.field("kind");
    match kind.text() {
        Some("slurm" | "kubernetes") => {
            kind.not_offered();
            fields.ignore_rest();
            return Provider::Local(settings);
        }
        // Only what can be had is named: the others would be refused too.
        Some(_) => drop(kind.one_of("UnknownProvider", &["local"])),
        None => {}
    }
    for (name, place) in
        [("boot_seconds", &mut settings.boot_seconds), ("notice_seconds", &mut settings.notice_seconds)]
    {
        if let Some(value) = seconds(&fields.field(name), SIMULATED_SECONDS_MAX) {
            *place = value;
        }
    }
    let scale = fields.field("time_scale");
    match scale.number() {
        Some(value) if value > 0.0 && value <= SIMULATED_SECONDS_MAX => settings.time_scale = value,
        Some(value) => scale.refuse("OutOfRange", format_args!("{value} must be above 0 and at most 86400")),
        None => {}
    }
    settings.preemption = preemption(&fields.field("preemption"));
    Provider::Local(settings)
}

fn preemption(field: &Field<'_>) -> Preemption {
    let Some(node) = field.node() else { return Preemption::Never };
    if matches!(node.value, Tree::Text(_)) {
        let _ = field.one_of("BadPreemption", &["never"]);
        return Preemption::Never;
    }
    let Some(mut fields) = field.map() else { return Preemption::Never };
    fields.described_by(&reference::PREEMPTION);
    let mean = fields.required("mean_seconds");
    let mean_seconds = match mean.number() {
        Some(value) if value > 0.0 => value,
        Some(value) => {
            mean.refuse("OutOfRange", format_args!("{value} must be above 0"));
            return Preemption::Never;
        }
        None => return Preemption::Never,
    };
    let seed = fields.field("seed").integer_or_text::<u64>().unwrap_or(0);
    Preemption::Exponential { mean_seconds, seed }
}

fn seconds(field: &Field<'_>, most: f64) -> Option<f64> {
    let value = field.number()?;
    if (0.0..=most).contains(&value) {
        return Some(value);
    }
    if most < f64::MAX {
        field.refuse("OutOfRange", format_args!("{value} is not in 0..={most} seconds"));
    } else {
        field.refuse("OutOfRange", format_args!("{value} must not be negative"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ClusterSpec, Problem> {
        read_spec("spot", text.as_bytes(), Format::Yaml).map(|(spec, _)| spec)
    }

    fn refused(text: &str) -> (u16, Vec<(String, String)>) {
        let problem = read(text).unwrap_err();
        (problem.status, problem.errors.into_iter().map(|error| (error.pointer, error.code)).collect())
    }

    fn local(spec: &ClusterSpec) -> &LocalSettings {
        let Provider::Local(settings) = &spec.provider;
        settings
    }

    #[test]
    fn a_short_document_gets_the_published_defaults() {
        // Defaults are part of the interface: a silent change would change bills.
        let spec = read("vm_size: D2\nscale: {max_nodes: 4}").unwrap();
        assert_eq!(spec.vm_priority, VmPriority::Dedicated);
        assert_eq!(spec.scale, Scale { min_nodes: 0, max_nodes: 4, idle_seconds_before_scaledown: 300.0 });
        let local = local(&spec);
        assert_eq!((local.boot_seconds, local.notice_seconds, local.time_scale), (3.0, 10.0, 1.0));
        assert_eq!(local.preemption, Preemption::Never);
        let text = serde_json::to_string(&spec.provider).unwrap();
        assert!(text.contains("\"kind\":\"local\"") && text.contains("\"preemption\":\"never\""), "{text}");
        assert_eq!(serde_json::from_str::<Provider>(&text).unwrap(), spec.provider);
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once_with_the_fix() {
        let text = "vm_size: NC60\nscale: {min_nodes: 3, max_nodes: 2, idle_seconds_before_scaledown: -1}\n\
                    os_type: windows\nsubnet: x\nprovider: {kind: slurm, partition: low}\nssh: {}";
        let (status, errors) = refused(text);
        let errors: Vec<_> = errors.iter().map(|(pointer, code)| (pointer.as_str(), code.as_str())).collect();
        assert_eq!(status, 422);
        assert_eq!(
            errors,
            [
                ("/os_type", "NotOffered"),
                ("/provider/kind", "NotOfferedYet"),
                ("/scale/idle_seconds_before_scaledown", "OutOfRange"),
                ("/scale/max_nodes", "OutOfRange"),
                ("/ssh", "NotOfferedYet"),
                ("/subnet", "NotOffered"),
                ("/vm_size", "UnknownSize"),
            ]
        );
        assert!(read("vm_size: NC60\nscale: {max_nodes: 1}").unwrap_err().detail.contains("did you mean NC6?"));
        assert_eq!(refused("vm_size: PB6s\nscale: {max_nodes: 1}").1[0].1, "NotOffered");
        assert_eq!(refused("vm_size: D2\nscale: {}").1, [("/scale/max_nodes".into(), "Required".into())]);
        assert_eq!(refused("vm_size: D2\nscal: {max_nodes: 1}").0, 400);
        let (status, errors) = refused("vm_size: NC60\nscale: {max_nods: 2}\nos_type: windows");
        let codes: Vec<&str> = errors.iter().map(|(_, code)| code.as_str()).collect();
        assert_eq!((status, codes), (400, vec!["NotOffered", "UnknownField", "UnknownSize"]), "{errors:?}");
        let missing = read("vm_size: D2").unwrap_err().detail;
        assert_eq!(missing, r#"scale: required: a map, e.g. {"max_nodes": 4}"#, "what it is to be is said");
        assert!(read("vm_size: D2\nscale: {}").unwrap_err().detail.contains("an integer in 0..=1000, e.g. 4"));
    }

    #[test]
    fn simulated_preemption_reads_both_forms() {
        let low = "vm_size: D2\nvm_priority: low_priority\nscale: {max_nodes: 1}\n";
        let spec = read(&format!("{low}provider: {{preemption: {{mean_seconds: 25, seed: 11}}}}")).unwrap();
        let dedicated = "vm_size: D2\nscale: {max_nodes: 1}\nprovider: {preemption: {mean_seconds: 25}}";
        assert_eq!(refused(dedicated), (422, vec![("/provider/preemption".into(), "NotPreemptible".into())]));
        let expected = Preemption::Exponential { mean_seconds: 25.0, seed: 11 };
        assert_eq!(local(&spec).preemption, expected);
        let text = serde_json::to_string(&spec.provider).unwrap();
        assert_eq!(serde_json::from_str::<Provider>(&text).unwrap(), spec.provider);
        assert_eq!(
            refused("vm_size: D2\nscale: {max_nodes: 1}\nprovider: {preemption: sometimes}").1[0].1,
            "BadPreemption"
        );
    }

    #[test]
    fn what_the_reference_says_of_a_field_is_what_the_reader_does() {
        let base = serde_json::json!({"vm_size": "D2", "vm_priority": "low_priority", "scale": {"max_nodes": 4}});
        let read = |text: &str| read_spec("spot", text.as_bytes(), Format::Json).map(|read| format!("{read:?}"));
        let probes = reference::probes(&reference::CLUSTER, &base, &[]);
        let faults: Vec<String> = probes.iter().filter_map(|probe| probe.check(&read).err()).collect();
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
        let sizes: Vec<&str> = sizes::names().collect();
        let described = reference::CLUSTER.fields.iter().find(|entry| entry.name == "vm_size").unwrap();
        assert!(matches!(described.of, reference::Type::OneOf(names) if names == sizes.as_slice()), "{sizes:?}");
    }

    #[test]
    fn a_patch_changes_the_scale_only() {
        let change = read_change(b"{\"scale\": {\"max_nodes\": 7}}", Format::Json).unwrap();
        assert_eq!(change, ScaleChange { max_nodes: Some(7), ..ScaleChange::default() });
        let problem = read_change(b"{\"vm_size\": \"D8\"}", Format::Json).unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (409, "Immutable"));
        assert_eq!(read_change(b"{\"scale\": {\"maxnodes\": 7}}", Format::Json).unwrap_err().status, 400);
    }

    #[test]
    fn the_work_of_a_document_grows_with_its_length() {
        let cluster = serde_json::json!({
            "name": "c", "vm_size": "D2", "vm_priority": "dedicated", "scale": {"min_nodes": 0, "max_nodes": 4},
            "provider": {"kind": "local", "boot_seconds": 1, "preemption": {"mean_seconds": 5, "seed": 1}},
            "tags": {"a": "b"},
        });
        documents::hostile::assert_linear(&cluster, |text| drop(read_spec("c", text, Format::Json)));
        let change = serde_json::json!({"scale": {"min_nodes": 0, "max_nodes": 4}});
        documents::hostile::assert_linear(&change, |text| drop(read_change(text, Format::Json)));
    }
}
