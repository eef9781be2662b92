//! Content-addressed objects: `sha256/ab/<hash>` in an object store. What is there never changes, so that a copy is as
//! good as another.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};
use vocabulary::{Entropy, Problem};

/// Hexadecimal digits of a SHA-256.
const HASH_DIGITS: usize = 64;
/// Bytes that are written or read at once; what one transfer holds in memory.
const PART_BYTES: usize = 1 << 20;

/// The folder of objects on their way in, whose hash is not known yet.
const STAGED: &str = "incoming";

/// The store.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    folder: Arc<std::path::Path>,
}

/// A hash in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash(String);

impl Hash {
    /// Reads 64 hexadecimal digits, with or without `sha256:` before them.
    ///
    /// # Errors
    /// 422 when the text is something else.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.len() == HASH_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(digits.to_ascii_lowercase()));
        }
        Err(Problem::invalid("/sha256", "BadHash", format!("sha256 {text:?}: {HASH_DIGITS} hexadecimal digits")))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it is in the store.
    pub(crate) fn path(&self) -> Path {
        Path::from_iter(["sha256", &self.0[..2], &self.0])
    }
}

fn failed(error: &object_store::Error) -> Problem {
    Problem::unavailable("ObjectsUnavailable", format!("the object store failed: {error}"), 1)
}

impl Objects {
    /// A store in a local folder, which is made when it is not there. What a broken end left half received goes away.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn local(folder: &std::path::Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let staged = folder.join(STAGED);
        if staged.exists() {
            std::fs::remove_dir_all(staged)?;
        }
        let store = Arc::new(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true));
        Ok(Self { store, folder: folder.into() })
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
        let staged = Path::from_iter([STAGED, &entropy.uuid().simple().to_string()]);
        let mut upload = self.store.put_multipart(&staged).await.map_err(|error| failed(&error))?;
        let received = receive(&mut content, upload.as_mut()).await;
        let outcome = received.and_then(|(hash, size)| match expected {
            Some(expected) if expected != hash => Err(mismatch(&expected, &hash, size)),
            _ => Ok((hash, size)),
        });
        let (hash, size) = match outcome {
            Ok(received) => received,
            Err(problem) => {
                // The caller's problem is the one to tell; what is left staged is only space.
                let _ = upload.abort().await;
                return Err(problem);
            }
        };
        upload.complete().await.map_err(|error| failed(&error))?;
        self.store.rename(&staged, &hash.path()).await.map_err(|error| failed(&error))?;
        Ok((hash, size))
    }

    /// The size of an object; `None` when it is not here.
    ///
    /// # Errors
    /// 500 ObjectDamaged when something else stands in its place, 503 when the store fails.
    pub async fn size(&self, hash: &Hash) -> Result<Option<u64>, Problem> {
        // A link leads to what somebody else may change.
        let stands = std::fs::symlink_metadata(self.folder.join(hash.path().as_ref()));
        if stands.is_ok_and(|facts| !facts.is_file()) {
            return Err(damaged(hash, "what stands in its place is no file"));
        }
        match self.store.head(&hash.path()).await {
            Ok(facts) => Ok(Some(facts.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// When an object was put last; `None` when it is not here.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn written_at(&self, hash: &Hash) -> Result<Option<Timestamp>, Problem> {
        match self.store.head(&hash.path()).await {
            Ok(facts) => Ok(Timestamp::from_microsecond(facts.last_modified.timestamp_micros()).ok()),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Removes an object, if it is here.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn remove(&self, hash: &Hash) -> Result<(), Problem> {
        match self.store.delete(&hash.path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }

    /// A part of an object; at most 1 MiB.
    async fn part(&self, hash: &Hash, from: u64, to: u64) -> Result<Bytes, Problem> {
        let to = to.min(from.saturating_add(PART_BYTES as u64));
        self.store.get_range(&hash.path(), from..to).await.map_err(|error| failed(&error))
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

fn mismatch(expected: &Hash, found: &Hash, size: u64) -> Problem {
    let (expected, found) = (expected.as_str(), found.as_str());
    let detail = format!("the {size} bytes received hash to {found}, not to {expected}; send the content again");
    Problem::invalid("/sha256", "HashMismatch", detail).with("received_sha256", found)
}

async fn receive<E: Into<Problem>>(
    content: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    upload: &mut dyn MultipartUpload,
) -> Result<(Hash, u64), Problem> {
    let mut hasher = Sha256::new();
    let mut size = 0u64;
    let mut part: Vec<Bytes> = Vec::new();
    let mut part_bytes = 0;
    while let Some(bytes) = content.next().await {
        let bytes = bytes.map_err(E::into)?;
        hasher.update(&bytes);
        size += bytes.len() as u64;
        part_bytes += bytes.len();
        part.push(bytes);
        if part_bytes >= PART_BYTES {
            part_bytes = 0;
            send(upload, std::mem::take(&mut part)).await?;
        }
    }
    if !part.is_empty() {
        send(upload, part).await?;
    }
    Ok((Hash(hex::encode(hasher.finalize())), size))
}

async fn send(upload: &mut dyn MultipartUpload, part: Vec<Bytes>) -> Result<(), Problem> {
    upload.put_part(PutPayload::from_iter(part)).await.map_err(|error| failed(&error))
}
