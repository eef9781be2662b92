//! Whether the objects of an installation are what its runs refer to. It is asked from outside; no service need run.

use eventlog::{Reader, sql};
use futures_util::{StreamExt, TryStreamExt, stream};
use vocabulary::Problem;

use crate::belonging;
use crate::objects::{Hash, Noted, Objects};

/// Rows that are looked at at once.
const PAGE: u32 = 1_000;
/// Objects that are looked at at once.
const OBJECTS_AT_ONCE: usize = 32;
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

/// What is wrong with the objects by the rows of the service's database: missing, of another size, or, where all
/// `contents` are read, of another hash. Holds a page of rows and parts of an object at a time.
///
/// # Errors
/// When the database cannot be read, or the store is away.
pub async fn object_faults(
    reader: &Reader,
    (objects, source): (&Objects, &str),
    contents: bool,
) -> Result<Vec<String>, Problem> {
    let elsewhere = elsewhere(reader, objects, source).await?;
    if !elsewhere.is_empty() {
        return Ok(elsewhere);
    }
    let mut faults = Faults::default();
    if has_table(reader, "object_owners").await? {
        owned(reader, objects, &mut faults).await?;
    }
    for table in ["artifacts", "superseded_artifacts"] {
        if has_table(reader, table).await? {
            named(reader, table, objects, &mut faults).await?;
        }
    }
    if contents {
        walk(objects, &mut faults).await?;
    }
    Ok(faults.finish())
}

async fn has_table(reader: &Reader, name: &str) -> Result<bool, Problem> {
    reader.has_table(name).await.map_err(|error| error.problem())
}

/// That the objects are elsewhere, or these are somebody else's.
async fn elsewhere(reader: &Reader, objects: &Objects, source: &str) -> Result<Vec<String>, Problem> {
    let noted = match has_table(reader, "object_store").await? {
        true => belonging::noted(reader).await.map_err(|error| error.problem())?,
        false => None,
    };
    if !objects.is_shared() {
        let wrong = |url| format!("its objects are in {url}, which the configuration does not name: set [objects] url");
        return Ok(noted.map(wrong).into_iter().collect());
    }
    Ok(match objects.owner().await {
        Err(error) => vec![format!("its objects cannot be read: {error:#}")],
        Ok(Noted::Unknown(problem)) => return Err(problem),
        Ok(Noted::By(owner)) if owner != source => {
            vec![format!("{objects} has the objects of {owner}, not of {source}")]
        }
        Ok(Noted::ByNobody) if noted.is_some() => vec![format!("{objects} has no objects of this installation")],
        Ok(_) => Vec::new(),
    })
}

/// Every object that a workspace has is there.
async fn owned(reader: &Reader, objects: &Objects, faults: &mut Faults) -> Result<(), Problem> {
    let get = "SELECT workspace, sha256 FROM object_owners WHERE (workspace, sha256) > ($1, $2)
        ORDER BY workspace, sha256 LIMIT $3";
    let mut last = (String::new(), String::new());
    loop {
        let query = sql(get).bind(&last.0).bind(&last.1).bind(PAGE);
        let rows: Vec<(String, String)> = query.fetch_all(reader).await.map_err(|error| error.problem())?;
        let looked = stream::iter(&rows).map(|(_, sha256)| length(objects, sha256)).buffered(OBJECTS_AT_ONCE);
        let looked: Vec<_> = looked.try_collect().await?;
        for ((workspace, sha256), found) in rows.iter().zip(looked) {
            if let Err(how) = found {
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
async fn named(reader: &Reader, table: &str, objects: &Objects, faults: &mut Faults) -> Result<(), Problem> {
    let get = format!(
        "SELECT run, path, attempt, sha256, size_bytes FROM {table} WHERE (run, path, attempt) > ($1, $2, $3)
        ORDER BY run, path, attempt LIMIT $4"
    );
    let mut last = (Vec::new(), String::new(), -1);
    loop {
        let query = sql(get.clone()).bind(last.0.clone()).bind(&last.1).bind(last.2).bind(PAGE);
        let rows: Vec<(Vec<u8>, String, i64, String, i64)> =
            query.fetch_all(reader).await.map_err(|error| error.problem())?;
        let looked = stream::iter(&rows).map(|row| length(objects, &row.3)).buffered(OBJECTS_AT_ONCE);
        let looked: Vec<_> = looked.try_collect().await?;
        for ((_, path, _, sha256, wanted), found) in rows.iter().zip(looked) {
            // What is missing is listed as such.
            if let Ok(is) = found.map(|is| i64::try_from(is).unwrap_or(i64::MAX))
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

/// The bytes of an object, or what is wrong with it.
async fn length(objects: &Objects, sha256: &str) -> Result<Result<u64, &'static str>, Problem> {
    let Ok(hash) = Hash::parse(sha256) else { return Ok(Err("has a name that is no hash")) };
    match objects.size(&hash).await {
        Ok(Some(size)) => Ok(Ok(size)),
        Ok(None) => Ok(Err("is missing")),
        Err(problem) if problem.passes_by_itself() => Err(problem),
        Err(_) => Ok(Err("is no file")),
    }
}

/// Every object has the hash that it is called by.
async fn walk(objects: &Objects, faults: &mut Faults) -> Result<(), Problem> {
    let mut listed = objects.list();
    while let Some((name, size)) = listed.try_next().await? {
        let found = match Hash::parse(&name) {
            Ok(hash) => whole(objects, &hash, size).await,
            Err(_) => Err("has a name that is no hash".to_owned()),
        };
        if let Err(how) = found {
            faults.add(format!("object sha256:{name} {how}"));
        }
    }
    Ok(())
}

/// Whether an object's content has its hash, or what is wrong with it.
async fn whole(objects: &Objects, hash: &Hash, size: u64) -> Result<(), String> {
    let read = async {
        objects.size(hash).await?;
        let mut parts = Box::pin(objects.clone().read(hash.clone(), size, 0, size));
        while parts.try_next().await?.is_some() {}
        Ok::<_, Problem>(())
    };
    let Err(problem) = read.await else { return Ok(()) };
    match objects.size(hash).await {
        // Whoever runs has taken it away meanwhile.
        Ok(None) => Ok(()),
        Err(problem) if !problem.passes_by_itself() => Err("is no file".to_owned()),
        _ if problem.passes_by_itself() => Err(format!("cannot be read: {problem}")),
        _ => Err(format!("is damaged: {}", problem.detail)),
    }
}
