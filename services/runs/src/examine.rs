//! Whether the objects of a data folder are what its runs refer to. It is asked from outside; no service need run.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use eventlog::{Error, Reader, sql};
use sha2::{Digest, Sha256};

use crate::objects::Hash;

/// Rows that are looked at at once.
const PAGE: u32 = 1_000;
/// Bytes of an object that are read at once.
const PART_BYTES: usize = 1 << 20;
/// Faults that are listed one by one; the others are counted.
const FAULTS_MAX: usize = 50;

/// What is wrong, in words.
#[derive(Debug, Default)]
struct Faults {
    listed: Vec<String>,
    more: usize,
}

impl Faults {
    fn add(&mut self, fault: String) {
        if self.listed.len() < FAULTS_MAX { self.listed.push(fault) } else { self.more += 1 }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.listed.push(format!("and {} more faults of objects", self.more));
        }
        self.listed
    }
}

/// What is wrong with the objects in `DATA/objects` by the rows of the service's database: missing, of another size,
/// or, where all `contents` are read, of another hash. Holds a page of rows and a part of an object at a time.
///
/// # Errors
/// When the database cannot be read.
pub async fn object_faults(reader: &Reader, folder: &Path, contents: bool) -> Result<Vec<String>, Error> {
    let mut faults = Faults::default();
    if reader.has_table("object_owners").await? {
        owned(reader, folder, &mut faults).await?;
    }
    for table in ["artifacts", "superseded_artifacts"] {
        if reader.has_table(table).await? {
            named(reader, table, folder, &mut faults).await?;
        }
    }
    if contents {
        let folder = folder.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let walked = walk(&folder, &mut faults);
            if let Err(error) = walked {
                faults.add(format!("objects cannot be read: {error}"));
            }
            faults
        });
        faults = read.await.map_err(|error| Error::Panicked(error.to_string()))?;
    }
    Ok(faults.finish())
}

/// Every object that a workspace has is there.
async fn owned(reader: &Reader, folder: &Path, faults: &mut Faults) -> Result<(), Error> {
    let get = "SELECT workspace, sha256 FROM object_owners WHERE (workspace, sha256) > ($1, $2)
        ORDER BY workspace, sha256 LIMIT $3";
    let mut last = (String::new(), String::new());
    loop {
        let rows: Vec<(String, String)> = sql(get).bind(&last.0).bind(&last.1).bind(PAGE).fetch_all(reader).await?;
        for (workspace, sha256) in &rows {
            if let Err(how) = length(folder, sha256) {
                faults.add(format!("object sha256:{sha256} of workspace {workspace} {how}"));
            }
        }
        match rows.into_iter().last() {
            Some(row) => last = row,
            None => return Ok(()),
        }
    }
}

/// Every artifact's object has its size.
async fn named(reader: &Reader, table: &str, folder: &Path, faults: &mut Faults) -> Result<(), Error> {
    let get = format!(
        "SELECT run, path, attempt, sha256, size_bytes FROM {table} WHERE (run, path, attempt) > ($1, $2, $3)
        ORDER BY run, path, attempt LIMIT $4"
    );
    let mut last = (Vec::new(), String::new(), -1);
    loop {
        let query = sql(get.clone()).bind(last.0.clone()).bind(&last.1).bind(last.2).bind(PAGE);
        let rows: Vec<(Vec<u8>, String, i64, String, i64)> = query.fetch_all(reader).await?;
        for (_, path, _, sha256, wanted) in &rows {
            // What is missing is listed as such.
            if let Ok(is) = length(folder, sha256).map(|is| i64::try_from(is).unwrap_or(i64::MAX))
                && is != *wanted
            {
                faults.add(format!("object sha256:{sha256} has {is} bytes, the artifact {path} of it {wanted}"));
            }
        }
        match rows.into_iter().last() {
            Some((run, path, attempt, ..)) => last = (run, path, attempt),
            None => return Ok(()),
        }
    }
}

/// The bytes of an object's file, or what is wrong with it.
fn length(folder: &Path, sha256: &str) -> Result<u64, &'static str> {
    let hash = Hash::parse(sha256).map_err(|_| "has a name that is no hash")?;
    match fs::symlink_metadata(folder.join(hash.path().as_ref())) {
        Ok(facts) if facts.is_file() => Ok(facts.len()),
        Ok(_) => Err("is no file"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("is missing"),
        Err(_) => Err("cannot be looked at"),
    }
}

/// Every object has the hash that it is called by.
fn walk(folder: &Path, faults: &mut Faults) -> io::Result<()> {
    let mut buffer = vec![0; PART_BYTES];
    let shelves = match fs::read_dir(folder.join("sha256")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        shelves => shelves?,
    };
    for shelf in shelves {
        for object in fs::read_dir(shelf?.path())? {
            let object = object?;
            let name = object.file_name().to_string_lossy().into_owned();
            if !object.file_type()?.is_file() {
                faults.add(format!("object sha256:{name} is no file"));
                continue;
            }
            match hash_of(&object.path(), &mut buffer) {
                Ok(hash) if hash == name => {}
                Ok(hash) => faults.add(format!("object sha256:{name} is damaged: its content has the hash {hash}")),
                // Whoever runs has taken it away meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => faults.add(format!("object sha256:{name} cannot be read: {error}")),
            }
        }
    }
    Ok(())
}

fn hash_of(path: &Path, buffer: &mut [u8]) -> io::Result<String> {
    let (mut file, mut hasher) = (fs::File::open(path)?, Sha256::new());
    loop {
        match file.read(buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}
