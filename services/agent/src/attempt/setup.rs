//! From an order to a plan that the shim can carry out: folders, code, model, inputs, parameters, environment.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use contracts::compute::{JobSpec, StartAttempt};
use vocabulary::RunId;

use super::places::{Places, Refused};
use super::state::Attempt;
use super::{content, copies, environment, inputs, python};
use crate::folder;
use crate::node::Node;
use crate::record::Plan;

/// The worker that serves a model; run by jobs of deployments that name no command.
const WORKER: &str = include_str!("../../python/worker.py");
/// Its name in the attempt's folder.
const WORKER_FILE: &str = "worker.py";

/// How often a checkpoint that changes meanwhile is copied: a save takes far less time than training between two does.
const COPIES_MAX: u32 = 8;

/// Makes everything ready and writes `plan.json` last, which says that this is done.
///
/// # Errors
/// When the machine does not go along; the inner error is the job's own fault.
pub async fn prepare(node: &Arc<Node>, attempt: &Arc<Attempt>) -> anyhow::Result<Result<(), Refused>> {
    let order = &attempt.order;
    let spec = order.spec.clone().unwrap_or_default();
    let places = match Places::of(&attempt.folder, &spec) {
        Ok(places) => places,
        Err(refused) => return Ok(Err(refused)),
    };
    make_folders(&places, order)?;
    if let Err(refused) = fetch(node, attempt, &spec, &places).await? {
        return Ok(Err(refused));
    }
    if !spec.inputs.is_empty() {
        let (wanted, paths) = (spec.inputs.clone(), places.inputs.clone());
        if let Err(refused) = tokio::task::spawn_blocking(move || inputs::provide(&wanted, &paths)).await? {
            return Ok(Err(refused));
        }
    }
    let gpu_count = spec.resources.as_ref().map_or(0, |resources| resources.gpu_count);
    let gpus = if gpu_count > 0 { node.assign_gpus(attempt, gpu_count) } else { Vec::new() };
    let parameters = if spec.parameters_json.is_empty() { "{}" } else { &spec.parameters_json };
    folder::write_whole(&attempt.folder.join(folder::PARAMS), parameters.as_bytes())?;
    let server = node.link.server().await;
    let python = match python::of(&node.options.environments, &spec, &places, &environment::path())? {
        Ok(python) => python,
        Err(refused) => return Ok(Err(refused)),
    };
    let program = &python.program;
    let given = environment::Given {
        order,
        spec: &spec,
        places: &places,
        python: program,
        api_url: &server.api_url,
        ca_file: &server.ca_file,
        gpus: &gpus,
    };
    let environment = environment::of(&node.options.node_id, &given);
    let plan = plan(&spec, &places, python, environment);
    folder::write_json(&attempt.folder.join(folder::PLAN), &plan)?;
    Ok(Ok(()))
}

fn make_folders(places: &Places, order: &StartAttempt) -> io::Result<()> {
    // An earlier agent may have died half way: what it unpacked is not to be trusted.
    if places.work.exists() {
        fs::remove_dir_all(&places.work)?;
    }
    fs::create_dir_all(&places.work)?;
    for path in places.outputs.values() {
        fs::create_dir_all(path)?;
    }
    if !order.checkpoint_folder.is_empty() {
        let from = order.spec.as_ref().map(|spec| spec.checkpoint_from.as_str()).unwrap_or_default();
        make_checkpoints(Path::new(&order.checkpoint_folder), from)?;
    }
    Ok(())
}

/// The folder of a run's checkpoints. It begins with what another run has in the folder beside it; what a first
/// attempt of its own has saved since is newer.
fn make_checkpoints(folder: &Path, from: &str) -> io::Result<()> {
    let earlier = folder.parent().filter(|_| !folder.exists()).zip(from.parse::<RunId>().ok());
    let Some((earlier, target)) = earlier.map(|(parent, run)| (parent.join(run.to_string()), parent)) else {
        return fs::create_dir_all(folder);
    };
    if !earlier.is_dir() {
        return fs::create_dir_all(folder);
    }
    // Whole or not at all: a program would take half a checkpoint for a whole one.
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let partial = target.join(format!(".{name}.partial"));
    // The other run may be saving meanwhile: what changed while it was copied is copied again.
    for left in (0..COPIES_MAX).rev() {
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        let before = copies::listing(&earlier);
        match copy_folder(&earlier, &partial) {
            Err(error) if left > 0 && error.kind() == io::ErrorKind::NotFound => continue,
            copied => copied?,
        }
        if left == 0 || before.is_ok_and(|before| copies::listing(&earlier).is_ok_and(|after| before == after)) {
            break;
        }
    }
    fs::rename(&partial, folder)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Code and model files, by content.
async fn fetch(
    node: &Arc<Node>,
    attempt: &Attempt,
    spec: &JobSpec,
    places: &Places,
) -> anyhow::Result<Result<(), Refused>> {
    if !spec.code_sha256.is_empty() {
        let tar = match content::code(node, &spec.code_sha256).await? {
            Ok(tar) => tar,
            Err(refused) => return Ok(Err(refused)),
        };
        let work = places.work.clone();
        if let Err(refused) = tokio::task::spawn_blocking(move || content::unpack(&tar, &work)).await? {
            return Ok(Err(refused));
        }
    }
    let Some(service) = &spec.service else { return Ok(Ok(())) };
    fs::create_dir_all(&places.model)?;
    if spec.command.is_empty() {
        folder::write_whole(&attempt.folder.join(WORKER_FILE), WORKER.as_bytes())?;
    }
    content::model(node, &service.files, &places.model).await
}

fn plan(spec: &JobSpec, places: &Places, python: python::Python, environment: Vec<(String, String)>) -> Plan {
    let path = environment.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
    let rendered = |argv: &[String]| -> Vec<String> {
        let mut argv: Vec<String> = argv.iter().map(|word| places.render(word)).collect();
        if let Some(program) = argv.first_mut() {
            *program = environment::program(program, &python.program, path);
        }
        argv
    };
    let worker = ["python".to_owned(), places.attempt.join(WORKER_FILE).display().to_string()];
    let serves = spec.service.is_some() && spec.command.is_empty();
    let builds = !python.build.is_empty();
    Plan {
        command: rendered(if serves { &worker } else { &spec.command }),
        prepare: rendered(&spec.prepare),
        build_environment: if builds { python::build_variables(std::env::vars()) } else { Vec::new() },
        build: python.build,
        environment,
        working_folder: places.work.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_begins_with_the_checkpoints_of_an_earlier_one_once() {
        let folder = tempfile::tempdir().unwrap();
        let earlier = RunId::new(uuid::Uuid::from_u128(7)).to_string();
        let (old, new) = (folder.path().join(&earlier), folder.path().join("run_new"));
        fs::create_dir_all(old.join("best")).unwrap();
        fs::write(old.join("best/weights"), "epoch 9").unwrap();
        make_checkpoints(&new, &earlier).unwrap();
        assert_eq!(fs::read_to_string(new.join("best/weights")).unwrap(), "epoch 9");
        // A second attempt goes on with its own.
        fs::write(new.join("best/weights"), "epoch 11").unwrap();
        make_checkpoints(&new, &earlier).unwrap();
        assert_eq!(fs::read_to_string(new.join("best/weights")).unwrap(), "epoch 11");
        // A name that is no run's leads nowhere.
        let other = folder.path().join("run_other");
        make_checkpoints(&other, "../secrets").unwrap();
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
    }
}
