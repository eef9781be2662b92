//! Copies all objects of one store to another, e.g. from a folder to S3.

use futures_util::{StreamExt, TryStreamExt};
use vocabulary::{Entropy, Problem};

use super::{Hash, Objects};

/// Objects that are on their way at once: a part of each is in memory.
const OBJECTS_AT_ONCE: usize = 4;

/// What a store has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Objects.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Content {
    fn and(self, bytes: u64) -> Self {
        Self { count: self.count + 1, bytes: self.bytes + bytes }
    }
}

impl Objects {
    /// How many objects there are, and of what size.
    ///
    /// # Errors
    /// When one has a name that is none, or the store fails.
    pub async fn content(&self) -> Result<Content, Problem> {
        let counted = self.list().try_fold(Content::default(), |sum, (name, bytes)| async move {
            Hash::parse(&name)?;
            Ok(sum.and(bytes))
        });
        counted.await
    }

    /// Copies all of them to another store, but for those that are there already. Each is hashed on its way, and looked
    /// for afterwards.
    ///
    /// # Errors
    /// 500 ObjectDamaged when one is not what its name says; when a store fails. What was copied stays there.
    pub async fn carry(&self, to: &Self, entropy: &dyn Entropy) -> Result<Content, Problem> {
        let carried = self.list().map(|listed| async move {
            let (name, bytes) = listed?;
            let hash = Hash::parse(&name)?;
            if to.size(&hash).await? != Some(bytes) {
                let content = self.clone().read(hash.clone(), bytes, 0, bytes);
                to.put(Some(hash.clone()), Box::pin(content), entropy).await?;
            }
            match to.size(&hash).await? {
                Some(there) if there == bytes => Ok(bytes),
                there => Err(Problem::new(500, "ObjectDamaged", format!("{hash:?} has {there:?} bytes in {to}"))),
            }
        });
        let sum = |sum: Content, bytes| async move { Ok(sum.and(bytes)) };
        carried.buffer_unordered(OBJECTS_AT_ONCE).try_fold(Content::default(), sum).await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;
    use vocabulary::SeededEntropy;

    use super::*;

    #[tokio::test]
    async fn a_store_is_copied_whole_or_with_an_error() {
        // Whoever goes to S3 must not find out later which model did not come along.
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (Objects::local(from.path()).unwrap(), Objects::local(to.path()).unwrap());
        let entropy = SeededEntropy::new(1);
        let mut hashes = Vec::new();
        for content in ["", "one", "another"] {
            let content = stream::iter([Ok::<_, Problem>(Bytes::from(content))]);
            hashes.push(from.put(None, content, &entropy).await.unwrap().0);
        }
        let all = Content { count: 3, bytes: 10 };
        assert_eq!(from.content().await.unwrap(), all);
        assert_eq!(from.carry(&to, &entropy).await.unwrap(), all);
        assert_eq!(to.content().await.unwrap(), all);
        assert_eq!(from.carry(&to, &entropy).await.unwrap(), all, "again");
        // One that cannot be read back as what it is called.
        to.remove(&hashes[2]).await.unwrap();
        let file = std::path::Path::new(&from.to_string()).join(hashes[2].path().as_ref());
        std::fs::write(file, "anothes").unwrap();
        assert_eq!(from.carry(&to, &entropy).await.unwrap_err().code, "ObjectDamaged");
        assert_eq!(to.size(&hashes[2]).await.unwrap(), None, "nothing stands under its name");
    }
}
