//! Finds the server and the token: flags, environment, then `.trialog.toml` and the data folder, both upwards from the
//! folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Common, Failure, init};

const FILE: &str = ".trialog.toml";
const DATA_FOLDER: &str = "trialog-data";
const ANNOUNCED: &str = "run/server.json";
const WORKSPACE: &str = "default";

/// What a `.trialog.toml` may say.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
}

/// Where to go and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// Without a slash at the end.
    pub url: String,
    /// May be empty.
    pub token: String,
    /// Who is trusted to have signed the server's certificate; `None`: whom this machine knows.
    pub ca_file: Option<PathBuf>,
    /// The workspace.
    pub workspace: String,
}

/// Arguments of `trialog init`.
#[derive(clap::Args)]
pub struct Init {
    /// What to begin with: a script, a document and a README that run at once. Absent: .trialog.toml.
    #[arg(value_enum)]
    kind: Option<init::Kind>,
    /// Where to write them.
    #[arg(default_value = ".", requires = "kind")]
    folder: PathBuf,
    /// Which script a sweep begins with.
    #[arg(long, value_enum, default_value_t, requires = "kind")]
    preset: init::Preset,
    /// A data folder on this machine, instead of --url and --token.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Write over a file that says something else.
    #[arg(long)]
    force: bool,
}

/// Finds the target.
pub fn find(common: &Common) -> Result<Target, Failure> {
    let file = read_file()?;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let data = file.data.clone().unwrap_or_else(|| data_folder(&here()));
    let server = std::fs::read_to_string(data.join(ANNOUNCED)).unwrap_or_default();
    let server: serde_json::Value = serde_json::from_str(&server).unwrap_or_default();
    let announced = || server["url"].as_str().map(str::to_owned);
    let kept = || std::fs::read_to_string(data.join("admin.token")).ok().map(|text| text.trim().to_owned());
    let url = common.url.clone().or_else(|| variable("TRIALOG_API_URL")).or(file.url).or_else(announced);
    let token = common.token.clone().or_else(|| variable("TRIALOG_TOKEN")).or(file.token).or_else(kept);
    let Some(url) = url else {
        return Err(Failure::NoServer(format!(
            "no server is known: start one with `trialog up`, name it with --url or TRIALOG_API_URL, or write {FILE} \
             with `trialog init --url URL --token TOKEN` (looked for {DATA_FOLDER}/{ANNOUNCED} here and above)"
        )));
    };
    let own_ca = server["ca_file"].as_str().filter(|_| announced().as_ref() == Some(&url)).map(PathBuf::from);
    Ok(Target {
        ca_file: common.ca_file.clone().or(file.ca_file).or(own_ca),
        url: url.trim_end_matches('/').to_owned(),
        token: token.unwrap_or_default(),
        workspace: common.workspace.clone().or(file.workspace).unwrap_or_else(|| WORKSPACE.to_owned()),
    })
}

/// The data folder that a `.trialog.toml` upwards from here names.
///
/// # Errors
/// When there is one that cannot be read.
pub fn named_data_folder() -> Result<Option<PathBuf>, Failure> {
    Ok(read_file()?.data)
}

/// The data folder and the server that a `.trialog.toml` upwards from here names.
///
/// # Errors
/// When there is one that cannot be read.
pub fn named() -> Result<(Option<PathBuf>, Option<String>), Failure> {
    let file = read_file()?;
    Ok((file.data, file.url.map(|url| url.trim_end_matches('/').to_owned())))
}

fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."))
}

/// The nearest data folder whose server has announced itself: work has folders of its own below the one where
/// `trialog up` was typed.
fn data_folder(here: &Path) -> PathBuf {
    let all = here.ancestors().map(|folder| folder.join(DATA_FOLDER));
    all.into_iter().find(|data| data.join(ANNOUNCED).exists()).unwrap_or_else(|| PathBuf::from(DATA_FOLDER))
}

fn read_file() -> Result<File, Failure> {
    let Some(path) = here().ancestors().map(|folder| folder.join(FILE)).find(|path| path.exists()) else {
        return Ok(File::default());
    };
    let shown = path.display();
    let text = std::fs::read_to_string(&path).map_err(|error| Failure::Usage(format!("{shown}: {error}")))?;
    let mut file: File = toml::from_str(&text).map_err(|error| Failure::Usage(format!("{shown}: {error}")))?;
    // What is relative is meant from the file's place.
    if let (Some(data), Some(folder)) = (&file.data, path.parent()) {
        file.data = Some(folder.join(data));
    }
    if let (Some(ca_file), Some(folder)) = (&file.ca_file, path.parent()) {
        file.ca_file = Some(folder.join(ca_file));
    }
    Ok(file)
}

/// Where an editor finds schemas when no server is known yet.
const URL: &str = "http://127.0.0.1:8080";

/// Writes `.trialog.toml` here, or what something begins with.
pub fn init(arguments: &Init, common: &Common) -> Result<(), Failure> {
    if let Some(kind) = arguments.kind {
        let url = find(common).map_or_else(|_| URL.to_owned(), |target| target.url);
        return init::write(kind, arguments.preset, &arguments.folder, &url, arguments.force);
    }
    if common.url.is_none() && arguments.data.is_none() {
        return Err(Failure::Usage(
            "trialog init: say where the server is: --url URL --token TOKEN, or --data FOLDER; or what to \
             begin with: trialog init sweep | run | endpoint"
                .into(),
        ));
    }
    let file = File {
        url: common.url.clone(),
        token: common.token.clone(),
        workspace: common.workspace.clone(),
        data: arguments.data.clone(),
        ca_file: common.ca_file.clone().map(|path| std::path::absolute(&path).unwrap_or(path)),
    };
    let text = toml::to_string(&file).map_err(|error| Failure::Usage(error.to_string()))?;
    write(Path::new(FILE), &text, arguments.force)?;
    super::stdout::line(&format!("wrote {FILE}"));
    Ok(())
}

/// Writes the file, but not over one that says something else: the only copy of a token may be in it.
fn write(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let shown = path.display();
    if !force && std::fs::read_to_string(path).is_ok_and(|known| known != text) {
        return Err(Failure::Usage(format!(
            "{shown} is here already and says something else; --force writes over it, and its token is lost then"
        )));
    }
    write_secret(path, text).map_err(|error| Failure::Usage(format!("{shown}: {error}")))
}

fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_of_a_folder_above_is_found() {
        // `trialog up`, `trialog init sweep mine`, `cd mine`: the next command would be refused.
        let folder = tempfile::tempdir().unwrap();
        let (data, below) = (folder.path().join(DATA_FOLDER), folder.path().join("mine/deeper"));
        std::fs::create_dir_all(&below).unwrap();
        std::fs::create_dir_all(data.join("run")).unwrap();
        std::fs::write(data.join(ANNOUNCED), "{}").unwrap();
        assert_eq!(data_folder(&below), data);
        // A folder of that name in which no server ever was is none.
        std::fs::create_dir_all(below.join(DATA_FOLDER)).unwrap();
        assert_eq!(data_folder(&below), data);
    }

    #[test]
    fn a_file_that_says_something_else_is_written_over_only_when_that_is_wanted() {
        // A token is shown once: whoever loses the file has lost it.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        write(&path, "token = 'a'", false).unwrap();
        write(&path, "token = 'a'", false).unwrap();
        let Err(Failure::Usage(refused)) = write(&path, "token = 'b'", false) else { panic!("written over") };
        assert!(refused.contains("--force"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "token = 'a'");
        write(&path, "token = 'b'", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "token = 'b'");
    }
}
