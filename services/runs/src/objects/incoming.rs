//! What is on its way in: parts of one size, hashed as they come, and an upload that is taken back unless it is
//! finished.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use object_store::{MultipartUpload, PutPayload};
use sha2::{Digest, Sha256};
use vocabulary::Problem;

use super::hash::Hash;

/// Content in parts. Holds one part and a message of the stream at a time.
pub(super) struct Incoming<S> {
    content: S,
    part_bytes: usize,
    /// What came with the last message and belongs to the next part.
    rest: Bytes,
    hasher: Sha256,
    size: u64,
}

/// Some of the content.
pub(super) struct Part {
    pub payload: PutPayload,
    /// Nothing comes behind it.
    pub is_last: bool,
}

impl<S> Incoming<S> {
    pub fn new(content: S, part_bytes: usize) -> Self {
        Self { content, part_bytes, rest: Bytes::new(), hasher: Sha256::new(), size: 0 }
    }

    /// The next part. All have the same size but for the last one, which may be empty.
    ///
    /// # Errors
    /// Whatever the content fails with.
    pub async fn part<E: Into<Problem>>(&mut self) -> Result<Part, Problem>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        let (mut taken, mut room) = (Vec::new(), self.part_bytes);
        loop {
            let some = self.rest.split_to(room.min(self.rest.len()));
            if !some.is_empty() {
                room -= some.len();
                taken.push(some);
            }
            if room == 0 {
                break;
            }
            match self.content.next().await {
                Some(bytes) => self.rest = bytes.map_err(E::into)?,
                None => break,
            }
        }
        for bytes in &taken {
            self.hasher.update(bytes);
            self.size += bytes.len() as u64;
        }
        Ok(Part { payload: PutPayload::from_iter(taken), is_last: room > 0 })
    }

    /// Hash and size of all that came.
    ///
    /// # Errors
    /// 422 HashMismatch when it is not what it must hash to.
    pub fn finish(self, expected: Option<Hash>) -> Result<(Hash, u64), Problem> {
        let (hash, size) = (Hash(hex::encode(self.hasher.finalize())), self.size);
        match expected {
            Some(expected) if expected != hash => Err(mismatch(&expected, &hash, size)),
            _ => Ok((hash, size)),
        }
    }
}

fn mismatch(expected: &Hash, found: &Hash, size: u64) -> Problem {
    let (expected, found) = (expected.as_str(), found.as_str());
    let detail = format!("the {size} bytes received hash to {found}, not to {expected}; send the content again");
    Problem::invalid("/sha256", "HashMismatch", detail).with("received_sha256", found)
}

/// An upload in parts, of which nothing stays when it is given up, also by a caller that goes away.
pub(super) struct Upload(Option<Box<dyn MultipartUpload>>);

impl Upload {
    pub fn new(upload: Box<dyn MultipartUpload>) -> Self {
        Self(Some(upload))
    }

    /// Sends a part.
    ///
    /// # Errors
    /// When the store fails, or the upload is over.
    pub async fn send(&mut self, payload: PutPayload) -> object_store::Result<()> {
        match &mut self.0 {
            Some(upload) => upload.put_part(payload).await,
            None => Err(over()),
        }
    }

    /// Makes an object of its parts: from now on there is nothing to take back.
    ///
    /// # Errors
    /// When the store fails, or the upload is over.
    pub async fn complete(&mut self) -> object_store::Result<()> {
        self.0.as_mut().ok_or_else(over)?.complete().await?;
        self.0 = None;
        Ok(())
    }

    /// Takes it back.
    ///
    /// # Errors
    /// When the store fails: what is left there is only space.
    pub async fn abort(mut self) -> object_store::Result<()> {
        match self.0.take() {
            Some(mut upload) => upload.abort().await,
            None => Ok(()),
        }
    }
}

fn over() -> object_store::Error {
    object_store::Error::Generic { store: "objects", source: "the upload is over".into() }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(mut upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { upload.abort().await });
        }
    }
}
