//! `trialog move`: an installation whose databases are files goes on with them in PostgreSQL.
//!
//! All of it is one transaction on the server. The folder notes the move before that commits and puts its files aside
//! afterwards, so that at every moment one of the two is what a start uses, and never both.

use std::path::PathBuf;

const EXAMPLES: &str = "\
Checkpoints, nodes, tokens and keys stay in the data folder, which goes on being used with the store.url that is
printed. So do objects, unless the file of --config has an [objects] url: then they are copied there, each hashed on its
way. The former databases are put aside in db/moved. A move that breaks off has done nothing, or is finished by the same
command again.

Examples:
  trialog move --from trialog-data --to postgres://trialog@db.lab/trialog --dry-run
  trialog move --from trialog-data --to postgres://trialog@db.lab/trialog
  trialog move --from trialog-data --to postgres://trialog@db.lab/trialog --config trialog.toml";

/// Flags of `trialog move`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The data folder; its server is stopped.
    #[arg(long, value_name = "DATA", default_value = "./trialog-data", env = "TRIALOG_DATA")]
    from: PathBuf,
    /// The database, `postgres://USER@HOST/DATABASE`; the password is better given by PGPASSWORD or `.pgpass`.
    #[arg(long, value_name = "URL")]
    to: String,
    /// What the names of its schemas begin with: `PREFIX_SERVICE`.
    #[arg(long, default_value = "trialog")]
    prefix: String,
    /// The TOML file with which it is to go on: its [objects] say where objects go.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say what would be carried, and whether it could be, and write nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Says that this build has no such store.
///
/// # Errors
/// Always.
#[cfg(not(feature = "postgres"))]
pub async fn run(_: Arguments, _: crate::client::output::Format) -> anyhow::Result<()> {
    anyhow::bail!("this build has no PostgreSQL store, so it moves nothing; build it with `--features postgres`")
}

#[cfg(feature = "postgres")]
pub use carrying::run;

#[cfg(feature = "postgres")]
mod carrying {
    use std::fs;
    use std::path::{Path, PathBuf};

    use anyhow::{Context, bail, ensure};
    use eventlog::{Content, Options, Stores, Transfer};
    use serde_json::{Value, json};

    use super::Arguments;
    use crate::client::output::{self, Format, line};
    use crate::server::folder::{DataFolder, replace};
    use crate::server::moved::{self, Moved};
    use crate::server::moving_objects::Bucket;
    use crate::server::{databases, logs, settings};

    /// What lies beside a database while somebody has it open, and after whoever was killed.
    const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

    /// Carries every database over, compares what was written, and puts the files aside.
    ///
    /// # Errors
    /// When a server runs, anything is damaged, there is something else at the target, or what was written differs:
    /// then nothing was done.
    pub async fn run(arguments: Arguments, format: Format) -> anyhow::Result<()> {
        let Arguments { from, to: url, prefix, config, dry_run } = arguments;
        ensure!(from.join("db").is_dir(), "{} is no data folder: it has no db/", from.display());
        ensure!(!url.is_empty(), "--to is a URL: postgres://USER@HOST/DATABASE");
        let moved = Moved { url: settings::hidden(&url), prefix: prefix.clone(), is_certain: false };
        let to = settings::Store { url, prefix }.stores(&from)?;
        let folder = DataFolder::open(&from).with_context(|| {
            let data = from.display();
            format!("what runs is not moved: end it first, e.g. with `trialog down --data {data}`")
        })?;
        let root = folder.root();
        let before = Moved::of(root)?;
        if let Some(before) = &before {
            let is_same = (&before.url, &before.prefix) == (&moved.url, &moved.prefix);
            ensure!(is_same, "the databases of this folder were moved to {} before", before.place());
            ensure!(!(dry_run && before.is_certain), "they were moved to {}, nothing is left to do", before.place());
        }
        let objects = Bucket::of(&settings::load(config.as_deref())?.objects, root)?;
        let mut tables = Vec::new();
        let carried;
        if before.is_none_or(|before| !before.is_certain) {
            let from = databases::in_folder(root);
            examine(root, &from, &to).await?;
            if dry_run {
                for options in logs::options(root, &from) {
                    let contents = eventlog::contents(&options.store).await.with_context(|| options.service)?;
                    show(options.service, &contents, format, &mut tables);
                }
                let found = objects.look(&from).await?;
                let nothing = format!("nothing was written; {} has room for it", moved.place());
                let document = json!({"tables": tables, "objects": found, "dry_run": true});
                return end(format, &document, &[objects.in_words(&found, "would go to"), nothing]);
            }
            databases::write_back(root).await?;
            // Before the databases: what they refer to is there from their first moment on.
            carried = objects.carry(&from).await?;
            carry(root, (&from, &to), &moved, format, &mut tables).await?;
        } else {
            carried = objects.carry(&to).await?;
        }
        let moved = Moved { is_certain: true, ..moved };
        note(root, &moved)?;
        let stores = databases::KEEPERS.map(|service| databases::in_folder(root).of(service));
        let files: Vec<&Path> = stores.iter().filter_map(|store| store.file()).collect();
        let former = seal(root, &files, &moved)?;
        let data = root.display();
        let lines = [
            format!("the databases of {data} are in {} now. Put this into its configuration:", moved.place()),
            format!("\n[store]\nurl = {:?}\nprefix = {:?}\n", moved.url, moved.prefix),
            format!("and start it with `trialog up --data {data} --config FILE`: checkpoints, nodes, tokens and keys"),
            format!("stay in the folder. What the databases were lies in {}.", former.display()),
            objects.in_words(&carried, "are in"),
        ];
        let configuration = json!({"store": {"url": moved.url, "prefix": moved.prefix}});
        let document = json!({"tables": tables, "objects": carried, "configuration": configuration, "former": former});
        end(format, &document, &lines)
    }

    fn end(format: Format, document: &Value, lines: &[String]) -> anyhow::Result<()> {
        match format.is_document() {
            true => output::document(format, document),
            false => lines.iter().for_each(|text| line(text)),
        }
        Ok(())
    }

    /// Whether all can be carried, as far as reading tells.
    async fn examine(root: &Path, from: &Stores, to: &Stores) -> anyhow::Result<()> {
        let services = databases::KEEPERS.map(str::to_owned);
        // A broken off move has left a note, and the files where they were.
        if Moved::of(root)?.is_none() {
            databases::check(root, from, &services, &[]).await?;
        }
        for Options { service, store, migrations, .. } in logs::options(root, from) {
            let Some(own) = store.examine().await? else {
                bail!("{service} has no database in {}: start it there once with `trialog up`", root.display());
            };
            let lacking = store.lacking(migrations).await.with_context(|| service)?;
            ensure!(
                lacking.is_empty(),
                "the database of {service} is an older build's: `trialog migrate --data {}` first",
                root.display()
            );
            let faults = store.faults().await.with_context(|| service)?;
            ensure!(
                faults.is_empty(),
                "the database of {service} is damaged, so that nothing is moved: {}; `trialog doctor` says more",
                faults.join("; ")
            );
            let there = to.of(service);
            match there.examine().await.with_context(|| there.to_string())? {
                Some(log) if log.incarnation != own.incarnation && log.head > 0 => {
                    bail!("{there} is in use: it has the log of another installation; name another --prefix")
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn carry(
        root: &Path,
        (from, to): (&Stores, &Stores),
        moved: &Moved,
        format: Format,
        tables: &mut Vec<Value>,
    ) -> anyhow::Result<()> {
        let targets = logs::options(root, to);
        let mut transfer = Transfer::begin(&targets[0].store).await.with_context(|| targets[0].store.to_string())?;
        for options in &targets {
            let carried = transfer.carry(&from.of(options.service), options).await;
            match carried.with_context(|| format!("nothing was moved: {}", options.service)) {
                Ok(contents) => show(options.service, &contents, format, tables),
                Err(error) => {
                    transfer.abandon().await;
                    return Err(error);
                }
            }
        }
        note(root, moved)?;
        let again = "it is not known whether the move took place: the same command again finds out";
        transfer.commit().await.context(again)?;
        let services = databases::KEEPERS.map(str::to_owned);
        databases::check(root, to, &services, &[]).await.context("what was moved is not accepted")
    }

    fn show(service: &str, contents: &[Content], format: Format, tables: &mut Vec<Value>) {
        for Content { table, rows, hash } in contents {
            if !format.is_document() {
                line(&format!("{service:<11} {table:<22} {rows:>10}  {hash}"));
            }
            tables.push(json!({"service": service, "table": table, "rows": rows, "hash": hash}));
        }
    }

    /// Writes down what becomes of the folder.
    fn note(root: &Path, moved: &Moved) -> anyhow::Result<()> {
        replace(&root.join(moved::NOTE), serde_json::to_string_pretty(moved)?.as_bytes())
    }

    /// Puts the files of the databases aside, and says beside them what they are.
    ///
    /// # Errors
    /// When one cannot be moved.
    fn seal(root: &Path, files: &[&Path], moved: &Moved) -> anyhow::Result<PathBuf> {
        let former = root.join(moved::FORMER);
        fs::create_dir_all(&former).with_context(|| former.display().to_string())?;
        let text = format!(
            "The databases of {} as they were when they were moved to {}.\nThe server reads them no more. To go back \
             to them, put them into the folder above and remove moved.json\nthere; what was written since is not in \
             them.\n",
            root.display(),
            moved.place()
        );
        replace(&former.join("README.txt"), text.as_bytes())?;
        for file in files {
            for beside in BESIDE {
                let mut name = file.file_name().unwrap_or_default().to_owned();
                name.push(beside);
                let (from, to) = (file.with_file_name(&name), former.join(&name));
                match fs::rename(&from, &to) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    renamed => renamed.with_context(|| format!("{} to {}", from.display(), to.display()))?,
                }
            }
        }
        Ok(former)
    }
}
