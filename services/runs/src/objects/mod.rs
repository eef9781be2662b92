//! Content-addressed objects: `sha256/ab/<hash>` in an object store. What is there never changes, so that a copy is as
//! good as another.

#[cfg(feature = "s3")]
mod bucket;
mod carrying;
mod hash;
mod incoming;
mod place;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use sha2::{Digest, Sha256};
use vocabulary::{Entropy, Problem};

pub use carrying::Content;
pub use hash::Hash;
use hash::SHELVES;
use incoming::{Incoming, Part, Upload};
pub use place::S3;
use place::{CHUNK_BYTES, Place, STAGED};

/// The object that says whose objects these are.
const OWNER: &str = "installation";

/// The store.
#[derive(Clone, Debug)]
pub struct Objects {
    place: Place,
}

/// Whose objects a store has.
pub enum Noted {
    /// Those of a log, `runs@INCARNATION`.
    By(String),
    /// It was not noted yet.
    ByNobody,
    /// It does not answer at the moment.
    Unknown(Problem),
}

impl std::fmt::Display for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.place.fmt(f)
    }
}

impl Objects {
    /// A store in a local folder, which is made when it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn local(folder: &std::path::Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let store = Arc::new(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true));
        Ok(Self { place: Place::Folder { store, root: folder.into() } })
    }

    /// A store in S3. Nothing is asked of it yet.
    ///
    /// # Errors
    /// When what it is reached by is none, or this build knows no S3.
    pub fn s3(s3: &S3) -> anyhow::Result<Self> {
        #[cfg(feature = "s3")]
        return Ok(Self {
            place: Place::Bucket {
                store: bucket::open(s3)?,
                url: s3.url.as_str().into(),
                copy_bytes_max: place::COPY_BYTES_MAX,
            },
        });
        #[cfg(not(feature = "s3"))]
        anyhow::bail!("objects.url {:?}: this build has no S3; build it with `cargo build --features s3`", s3.url);
    }

    /// Whether other processes reach the same objects; else they are in a folder of this machine.
    pub fn is_shared(&self) -> bool {
        self.place.is_shared()
    }

    /// Whose objects are here, as it was noted.
    ///
    /// # Errors
    /// When the store will not have us, which does not pass by itself.
    pub async fn owner(&self) -> anyhow::Result<Noted> {
        let read = async { self.place.store().get(&Path::from(OWNER)).await?.bytes().await };
        match self.place.answered(0, read).await {
            Ok(Ok(text)) => Ok(Noted::By(String::from_utf8_lossy(&text).trim().to_owned())),
            Ok(Err(object_store::Error::NotFound { .. })) => Ok(Noted::ByNobody),
            Ok(Err(
                error @ (object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }),
            )) => Err(anyhow::Error::new(error).context(format!(
                "{self} refuses what it is asked with: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                 objects.access_key_id and objects.secret_access_key, for one that may read, write, list and delete"
            ))),
            Ok(Err(error)) => Ok(Noted::Unknown(place::failed(&error))),
            Err(problem) => Ok(Noted::Unknown(problem)),
        }
    }

    /// Notes whose objects are here.
    ///
    /// # Errors
    /// 503 when the store fails, also when there is no such bucket.
    pub async fn note_owner(&self, source: &str) -> Result<(), Problem> {
        let content = Bytes::copy_from_slice(source.as_bytes());
        self.place.ask(0, self.place.store().put(&Path::from(OWNER), content.into())).await.map(drop)
    }

    /// Clears away what a broken end left half received, where nobody else can be receiving.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn begin(&self) -> anyhow::Result<()> {
        Ok(self.place.begin()?)
    }

    /// Takes an object in and answers its hash and size. `expected` is what it must hash to. What was sent is checked,
    /// not believed, and it replaces what is here already: a copy that a full disk or a crash cut short is whole again.
    ///
    /// # Errors
    /// 422 HashMismatch; 503 when the store fails; whatever `content` fails with.
    pub async fn put<E: Into<Problem>>(
        &self,
        expected: Option<Hash>,
        mut content: impl Stream<Item = Result<Bytes, E>> + Unpin,
        entropy: &dyn Entropy,
    ) -> Result<(Hash, u64), Problem> {
        let mut incoming = Incoming::new(&mut content, self.place.part_bytes());
        let first = incoming.part().await?;
        if first.is_last && self.place.writes_whole() {
            let (hash, size) = incoming.finish(expected)?;
            self.place.ask(size, self.place.store().put(&hash.path(), first.payload)).await?;
            return Ok((hash, size));
        }
        let staged = Path::from_iter([STAGED, &entropy.uuid().simple().to_string()]);
        let upload = self.place.ask(0, self.place.store().put_multipart(&staged)).await?;
        let mut upload = Upload::new(upload);
        let received = match self.receive(first, &mut incoming, &mut upload).await {
            Ok(()) => incoming.finish(expected),
            Err(problem) => Err(problem),
        };
        let (hash, size) = match received {
            Ok(received) => received,
            Err(problem) => {
                // The caller's problem is the one to tell; what is left staged is only space.
                let _ = self.place.ask(0, upload.abort()).await;
                return Err(problem);
            }
        };
        self.place.work(size, upload.complete()).await?;
        self.place.name(&staged, &hash, size).await?;
        Ok((hash, size))
    }

    /// Sends what comes, part by part.
    async fn receive<E: Into<Problem>>(
        &self,
        first: Part,
        incoming: &mut Incoming<impl Stream<Item = Result<Bytes, E>> + Unpin>,
        upload: &mut Upload,
    ) -> Result<(), Problem> {
        let mut part = first;
        loop {
            let bytes = part.payload.content_length() as u64;
            if bytes > 0 {
                self.place.ask(bytes, upload.send(part.payload)).await?;
            }
            if part.is_last {
                return Ok(());
            }
            part = incoming.part().await?;
        }
    }

    /// The size of an object; `None` when it is not here.
    ///
    /// # Errors
    /// 500 ObjectDamaged when something else stands in its place, 503 when the store fails.
    pub async fn size(&self, hash: &Hash) -> Result<Option<u64>, Problem> {
        if !self.place.is_whole(hash) {
            return Err(damaged(hash, "what stands in its place is no file"));
        }
        let found = self.place.find(0, self.place.store().head(&hash.path())).await?;
        Ok(found.map(|facts| facts.size))
    }

    /// When an object was put last, by the clock of the store; `None` when it is not here.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn written_at(&self, hash: &Hash) -> Result<Option<Timestamp>, Problem> {
        let found = self.place.find(0, self.place.store().head(&hash.path())).await?;
        Ok(found.as_ref().and_then(written_at))
    }

    /// Removes an object, if it is here.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn remove(&self, hash: &Hash) -> Result<(), Problem> {
        self.place.find(0, self.place.store().delete(&hash.path())).await.map(drop)
    }

    /// Clears away what was staged before a time and never got its name. Whoever stages goes on writing meanwhile: what
    /// is older than the longest upload is nobody's.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub(crate) async fn sweep(&self, before: Timestamp) -> Result<(), Problem> {
        let mut staged = self.place.store().list(Some(&Path::from(STAGED)));
        while let Some(facts) = self.place.find(0, staged.try_next()).await?.flatten() {
            if written_at(&facts).is_some_and(|at| at < before) {
                self.place.find(0, self.place.store().delete(&facts.location)).await?;
            }
        }
        Ok(())
    }

    /// Names and sizes of everything that stands where objects do.
    pub(crate) fn list(&self) -> BoxStream<'_, Result<(String, u64), Problem>> {
        let listed = self.place.store().list(Some(&Path::from(SHELVES)));
        let next = move |mut listed: BoxStream<'static, object_store::Result<ObjectMeta>>| async move {
            let found = self.place.ask(0, listed.try_next()).await?;
            let named = found.map(|facts| (facts.location.filename().unwrap_or_default().to_owned(), facts.size));
            Ok(named.map(|named| (named, listed)))
        };
        stream::try_unfold(listed, next).boxed()
    }

    /// A part of an object; at most 1 MiB.
    async fn part(&self, hash: &Hash, from: u64, to: u64) -> Result<Bytes, Problem> {
        let to = to.min(from.saturating_add(CHUNK_BYTES as u64));
        self.place.ask(to - from, self.place.store().get_range(&hash.path(), from..to)).await
    }

    /// An object of `size` bytes from `from` to `to`, in parts. Whoever reads it whole gets its last part only if all
    /// of them have the hash: what is damaged looks complete to nobody.
    pub fn read(self, hash: Hash, size: u64, from: u64, to: u64) -> impl Stream<Item = Result<Bytes, Problem>> {
        let whole = (from == 0 && to == size).then(Sha256::new);
        stream::try_unfold((self, hash, whole, Some(from)), move |(objects, hash, mut whole, at)| async move {
            let Some(at) = at else { return Ok(None) };
            let part = if at < to { objects.part(&hash, at, to).await? } else { Bytes::new() };
            let next = at + part.len() as u64;
            if let Some(hasher) = &mut whole {
                hasher.update(&part);
            }
            if next < to && !part.is_empty() {
                return Ok(Some((part, (objects, hash, whole, Some(next)))));
            }
            if next < to {
                return Err(damaged(&hash, &format!("it ends after {next} of {size} bytes")));
            }
            if whole.take().is_some_and(|hasher| hex::encode(hasher.finalize()) != hash.0) {
                let problem = damaged(&hash, &format!("its {size} bytes have another hash"));
                tracing::error!(object.sha256 = hash.0, "{problem}");
                return Err(problem);
            }
            Ok(Some((part, (objects, hash, whole, None))))
        })
    }
}

/// What is kept is not what was put.
fn damaged(hash: &Hash, how: &str) -> Problem {
    let detail = format!("object sha256:{} is damaged where it is kept: {how}; put it again", hash.0);
    Problem::new(500, "ObjectDamaged", detail)
}

fn written_at(facts: &ObjectMeta) -> Option<Timestamp> {
    Timestamp::from_microsecond(facts.last_modified.timestamp_micros()).ok()
}

#[cfg(test)]
impl Objects {
    /// Puts something else in the place of an object.
    pub(crate) async fn overwrite(&self, hash: &Hash, content: &[u8]) {
        self.place.store().put(&hash.path(), Bytes::copy_from_slice(content).into()).await.unwrap();
    }

    /// Stages something, as one does that ends in the middle.
    #[cfg(feature = "s3")]
    pub(crate) async fn stage(&self, name: &str) {
        self.place.store().put(&Path::from_iter([STAGED, name]), Bytes::from("staged").into()).await.unwrap();
    }

    /// The names of what is staged.
    pub(crate) async fn staged(&self) -> Vec<String> {
        let listed = self.place.store().list(Some(&Path::from(STAGED)));
        listed.map_ok(|facts| facts.location.to_string()).try_collect().await.unwrap()
    }

    /// The same place, as if it copied no more than so many bytes.
    #[cfg(feature = "s3")]
    pub(crate) fn copying_at_most(&self, bytes: u64) -> Self {
        let mut objects = self.clone();
        if let Place::Bucket { copy_bytes_max, .. } = &mut objects.place {
            *copy_bytes_max = bytes;
        }
        objects
    }
}
