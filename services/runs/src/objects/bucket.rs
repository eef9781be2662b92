//! Objects in S3 or what speaks like it: how it is reached, and how long it may take.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, RetryConfig};

use super::place::S3;

/// How long a connection may take to come about.
const CONNECT: &str = "2s";
/// Longer than anything takes: each call has a limit of its own, see `place`.
const NO_LIMIT: &str = "1h";
/// Nothing is tried again after this.
const TRY_AGAIN_FOR: Duration = Duration::from_secs(3);
const TRIES: usize = 3;

/// A bucket's store, below the prefix of its URL.
///
/// # Errors
/// When the URL or a key of the configuration is none.
pub(super) fn open(s3: &S3) -> anyhow::Result<Arc<PrefixStore<AmazonS3>>> {
    let rest = s3.url.strip_prefix("s3://");
    let (bucket, prefix) = rest.map(|rest| rest.split_once('/').unwrap_or((rest, ""))).unwrap_or_default();
    ensure!(!bucket.is_empty(), "objects.url {:?}: s3://BUCKET or s3://BUCKET/PREFIX, or empty for a folder", s3.url);
    let prefix = Path::parse(prefix).with_context(|| format!("objects.url {:?}", s3.url))?;
    ensure!(
        s3.access_key_id.is_empty() == s3.secret_access_key.is_empty(),
        "objects.access_key_id and objects.secret_access_key go together; without both AWS_* of the environment count"
    );
    // There is one for the whole process, which its clients share.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // What the AWS_* of the environment say, and over it what the configuration says.
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry());
    for (key, value) in [(ClientConfigKey::ConnectTimeout, CONNECT), (ClientConfigKey::Timeout, NO_LIMIT)] {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    // Not every store that speaks S3 deletes many at once.
    builder = builder.with_disable_bulk_delete(true);
    if s3.allow_http {
        builder = builder.with_allow_http(true);
    }
    if !s3.endpoint.is_empty() {
        builder = builder.with_endpoint(&s3.endpoint);
    }
    refuse_plain(&builder)?;
    if !s3.region.is_empty() {
        builder = builder.with_region(&s3.region);
    }
    if !s3.access_key_id.is_empty() {
        builder = builder.with_access_key_id(&s3.access_key_id).with_secret_access_key(&s3.secret_access_key);
    }
    if !s3.session_token.is_empty() {
        builder = builder.with_token(&s3.session_token);
    }
    let store = builder.build().with_context(|| format!("objects.url {:?}", s3.url))?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(1),
        ..BackoffConfig::default()
    };
    RetryConfig { backoff, max_retries: TRIES, retry_timeout: TRY_AGAIN_FOR }
}

/// Whoever listens reads what goes over http, so that it must be wished for.
fn refuse_plain(builder: &AmazonS3Builder) -> anyhow::Result<()> {
    let keys = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
    let endpoint = keys.iter().find_map(|key| builder.get_config_value(key)).unwrap_or_default();
    let allowed = builder.get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
    ensure!(
        !endpoint.starts_with("http://") || allowed.is_some_and(|value| value == "true"),
        "objects.endpoint {endpoint}: whoever listens reads what goes over http; use https, or say \
         objects.allow_http = true"
    );
    Ok(())
}
