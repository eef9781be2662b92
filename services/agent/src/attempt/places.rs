//! The paths of an attempt, and the references to them in what users write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contracts::compute::JobSpec;

use crate::folder;

/// Why the job cannot run here or anywhere, in words for the user.
#[derive(Debug)]
pub struct Refused(pub String);

/// The paths of an attempt.
#[derive(Debug)]
pub(super) struct Places {
    pub attempt: PathBuf,
    pub work: PathBuf,
    pub model: PathBuf,
    pub inputs: BTreeMap<String, PathBuf>,
    pub outputs: BTreeMap<String, PathBuf>,
}

impl Places {
    /// Below the attempt's folder.
    pub fn of(folder: &Path, spec: &JobSpec) -> Result<Self, Refused> {
        let below = |kind: &str, id: &String| {
            if !folder::is_plain_name(id) {
                return Err(Refused(format!("{kind} '{id}': an id is made of letters, digits, '_', '-' and '.'")));
            }
            Ok((id.clone(), folder.join(kind).join(id)))
        };
        Ok(Self {
            attempt: folder.to_owned(),
            work: folder.join("work"),
            model: folder.join("model"),
            inputs: spec.inputs.iter().map(|input| below("inputs", &input.id)).collect::<Result<_, _>>()?,
            outputs: spec.outputs.iter().map(|id| below("outputs", id)).collect::<Result<_, _>>()?,
        })
    }

    /// Puts paths for `${{inputs.ID}}` and `${{outputs.ID}}`. Other texts of that form are the user's own and stay.
    pub fn render(&self, word: &str) -> String {
        let (mut done, mut rest) = (String::new(), word);
        while let Some(start) = rest.find("${{") {
            let Some(length) = rest[start..].find("}}") else { break };
            let reference = rest[start + 3..start + length].trim();
            done.push_str(&rest[..start]);
            match self.path_of(reference) {
                Some(path) => done.push_str(&path.display().to_string()),
                None => done.push_str(&rest[start..start + length + 2]),
            }
            rest = &rest[start + length + 2..];
        }
        done + rest
    }

    fn path_of(&self, reference: &str) -> Option<&PathBuf> {
        match reference.split_once('.')? {
            ("inputs", id) => self.inputs.get(id),
            ("outputs", id) => self.outputs.get(id),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_become_paths_and_other_texts_stay() {
        // A script that is handed `${{inputs.data}}` literally finds no file.
        let spec = JobSpec {
            inputs: vec![contracts::compute::JobInput { id: "data".into(), ..Default::default() }],
            outputs: vec!["model".into()],
            ..Default::default()
        };
        let places = Places::of(Path::new("/a"), &spec).unwrap();
        assert_eq!(places.render("--in=${{inputs.data}}:${{ outputs.model }}"), "--in=/a/inputs/data:/a/outputs/model");
        assert_eq!(places.render("${{inputs.other}} ${{ open"), "${{inputs.other}} ${{ open");
        assert_eq!(places.render("plain"), "plain");
    }

    #[test]
    fn an_id_cannot_lead_out_of_the_folder() {
        // Otherwise a document could make the agent write anywhere on the node.
        let spec = JobSpec { outputs: vec!["../../etc".into()], ..Default::default() };
        assert!(Places::of(Path::new("/a"), &spec).is_err());
    }
}
