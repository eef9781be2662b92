//! Where objects are, and all that differs between a folder and S3: who is waited for how long, what is written at
//! once, how what was staged gets its name.

use std::path::Path as Folder;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use vocabulary::Problem;

use super::hash::Hash;

/// The folder of objects on their way in, whose hash is not known yet.
pub(super) const STAGED: &str = "incoming";
/// Bytes that are written to a file or read at once; what one transfer holds in memory.
pub(super) const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of a part on its way into a bucket; what one transfer holds in memory. S3 takes 5 MiB and more, and 10,000 of
/// them: 78 GiB are the most that an object may have.
#[cfg(feature = "s3")]
const PART_BYTES: usize = 8 << 20;
/// S3 copies no more than this at once.
#[cfg(feature = "s3")]
pub(super) const COPY_BYTES_MAX: u64 = 5 << 30;

/// S3 or what speaks like it. What is empty is as the environment's AWS_* say.
#[derive(Clone, Default)]
pub struct S3 {
    /// `s3://BUCKET/PREFIX`.
    pub url: String,
    /// Where it is, when it is not Amazon's: `https://HOST:PORT`.
    pub endpoint: String,
    /// The region of the bucket.
    pub region: String,
    /// Who asks.
    pub access_key_id: String,
    /// What proves it.
    pub secret_access_key: String,
    /// What goes with it where keys are good for some hours.
    pub session_token: String,
    /// Whether the endpoint may be an `http://` one.
    pub allow_http: bool,
}

/// A store.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Files below a folder, which is this machine's own.
    Folder { store: Arc<LocalFileSystem>, root: Arc<Folder> },
    /// A bucket, below a prefix: what one process has written others read.
    #[cfg(feature = "s3")]
    Bucket {
        store: Arc<object_store::prefix::PrefixStore<object_store::aws::AmazonS3>>,
        url: Arc<str>,
        copy_bytes_max: u64,
    },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder { root, .. } => write!(f, "{}", root.display()),
            #[cfg(feature = "s3")]
            Self::Bucket { url, .. } => f.write_str(url),
        }
    }
}

impl Place {
    pub fn store(&self) -> &dyn ObjectStore {
        match self {
            Self::Folder { store, .. } => store.as_ref(),
            #[cfg(feature = "s3")]
            Self::Bucket { store, .. } => store.as_ref(),
        }
    }

    /// Whether other processes reach the same objects.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Folder { .. } => false,
            #[cfg(feature = "s3")]
            Self::Bucket { .. } => true,
        }
    }

    /// Bytes of one part of an upload.
    pub fn part_bytes(&self) -> usize {
        match self {
            Self::Folder { .. } => CHUNK_BYTES,
            #[cfg(feature = "s3")]
            Self::Bucket { .. } => PART_BYTES,
        }
    }

    /// Whether what is written at once is there whole or not at all, so that nothing need be staged. A file is not.
    pub fn writes_whole(&self) -> bool {
        match self {
            Self::Folder { .. } => false,
            #[cfg(feature = "s3")]
            Self::Bucket { .. } => true,
        }
    }

    /// Waits for what is asked of the store: for so long as so many bytes take on a slow line, for a server that is
    /// away is said to be away.
    ///
    /// # Errors
    /// 503 when it fails.
    pub async fn ask<T>(&self, bytes: u64, asked: impl Future<Output = object_store::Result<T>>) -> Result<T, Problem> {
        self.answered(bytes, asked).await?.map_err(|error| failed(&error))
    }

    /// The same for what the store does by itself with so many bytes that it has.
    ///
    /// # Errors
    /// 503 when it fails.
    #[cfg_attr(not(feature = "s3"), expect(unused_variables, reason = "a folder does it at once"))]
    pub async fn work<T>(
        &self,
        bytes: u64,
        asked: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Problem> {
        let done = match self {
            Self::Folder { .. } => asked.await,
            #[cfg(feature = "s3")]
            Self::Bucket { .. } => within(COPIED_BYTES_PER_SECOND, bytes + WORK_BYTES_MIN, asked).await?,
        };
        done.map_err(|error| failed(&error))
    }

    /// The same for what may not be there.
    ///
    /// # Errors
    /// 503 when it fails.
    pub async fn find<T>(
        &self,
        bytes: u64,
        asked: impl Future<Output = object_store::Result<T>>,
    ) -> Result<Option<T>, Problem> {
        match self.answered(bytes, asked).await? {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// A disk is waited for, however long it takes.
    #[cfg_attr(not(feature = "s3"), expect(unused_variables, reason = "a limit is for what is elsewhere"))]
    pub async fn answered<T>(
        &self,
        bytes: u64,
        asked: impl Future<Output = object_store::Result<T>>,
    ) -> Result<object_store::Result<T>, Problem> {
        match self {
            Self::Folder { .. } => Ok(asked.await),
            #[cfg(feature = "s3")]
            Self::Bucket { .. } => within(LINE_BYTES_PER_SECOND, bytes, asked).await,
        }
    }

    /// Gives what was staged its name.
    ///
    /// # Errors
    /// 503 when the store fails.
    #[cfg_attr(not(feature = "s3"), expect(unused_variables, reason = "a file is renamed whatever its size"))]
    pub async fn name(&self, staged: &Path, hash: &Hash, size: u64) -> Result<(), Problem> {
        let path = hash.path();
        match self {
            Self::Folder { store, .. } => store.rename(staged, &path).await.map_err(|error| failed(&error)),
            // S3 renames nothing.
            #[cfg(feature = "s3")]
            Self::Bucket { store, copy_bytes_max, .. } => {
                match size <= *copy_bytes_max {
                    true => {
                        let copied = within(COPIED_BYTES_PER_SECOND, size, store.copy(staged, &path)).await?;
                        copied.map_err(|error| failed(&error))?;
                    }
                    false => self.carry(staged, &path, size).await?,
                }
                // What is left there is swept away later.
                let _ = self.ask(0, store.delete(staged)).await;
                Ok(())
            }
        }
    }

    /// Reads an object and writes it under another name, part by part.
    #[cfg(feature = "s3")]
    async fn carry(&self, from: &Path, to: &Path, size: u64) -> Result<(), Problem> {
        let (store, part_bytes) = (self.store(), PART_BYTES as u64);
        let mut upload = super::incoming::Upload::new(self.ask(0, store.put_multipart(to)).await?);
        let mut at = 0;
        while at < size {
            let end = size.min(at + part_bytes);
            let part = self.ask(part_bytes, store.get_range(from, at..end)).await?;
            self.ask(part_bytes, upload.send(part.into())).await?;
            at = end;
        }
        self.work(size, upload.complete()).await
    }

    /// Whether a file is where an object should be; a link leads to what somebody else may change.
    pub fn is_whole(&self, hash: &Hash) -> bool {
        match self {
            Self::Folder { root, .. } => {
                let stands = std::fs::symlink_metadata(root.join(hash.path().as_ref()));
                stands.map_or(true, |facts| facts.is_file())
            }
            #[cfg(feature = "s3")]
            Self::Bucket { .. } => true,
        }
    }

    /// Clears away what a broken end left half received, where nobody else can be receiving.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn begin(&self) -> std::io::Result<()> {
        match self {
            Self::Folder { root, .. } => match std::fs::remove_dir_all(root.join(STAGED)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            #[cfg(feature = "s3")]
            Self::Bucket { .. } => Ok(()),
        }
    }
}

/// What a slow line carries.
#[cfg(feature = "s3")]
const LINE_BYTES_PER_SECOND: u64 = 256 << 10;
/// What a store copies by itself.
#[cfg(feature = "s3")]
const COPIED_BYTES_PER_SECOND: u64 = 16 << 20;
/// What it does by itself may take a minute however little there is.
#[cfg(feature = "s3")]
const WORK_BYTES_MIN: u64 = 60 * COPIED_BYTES_PER_SECOND;
/// For a call itself, with all that is tried again.
#[cfg(feature = "s3")]
const CALL: std::time::Duration = std::time::Duration::from_secs(5);

/// What comes of it before its time is over.
#[cfg(feature = "s3")]
async fn within<T>(bytes_per_second: u64, bytes: u64, asked: impl Future<Output = T>) -> Result<T, Problem> {
    let limit = CALL + std::time::Duration::from_secs(bytes / bytes_per_second);
    let late = |_| unavailable(&format!("it did not answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, asked).await.map_err(late)
}

/// What a caller is told of a store that failed.
pub(super) fn failed(error: &object_store::Error) -> Problem {
    unavailable(&error.to_string())
}

fn unavailable(why: &str) -> Problem {
    Problem::unavailable("ObjectsUnavailable", format!("the object store failed: {why}"), 1)
}
