//! The certificate of the front door. Without one REST speaks plain HTTP, which is for this machine only.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::settings::Http;

/// What the front door shows itself with; `None` without a certificate.
///
/// # Errors
/// When a file cannot be read or does not hold what it should, and when only one of the two is named.
pub fn of(http: &Http) -> anyhow::Result<Option<ServerConfig>> {
    match (&http.tls_certificate, &http.tls_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => with(certificate, key).map(Some),
        _ => bail!("a certificate and its key are named together: http.tls_certificate and http.tls_key"),
    }
}

fn with(certificate: &Path, key: &Path) -> anyhow::Result<ServerConfig> {
    let of_certificate = || format!("http.tls_certificate {}", certificate.display());
    let chain = CertificateDer::pem_file_iter(certificate).with_context(of_certificate)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().with_context(of_certificate)?;
    ensure!(!chain.is_empty(), "{}: there is no certificate in it (PEM)", of_certificate());
    let of_key = || format!("http.tls_key {}", key.display());
    let key = PrivateKeyDer::from_pem_file(key).with_context(of_key)?;
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    builder.with_single_cert(chain, key).with_context(|| format!("{} and its key", of_certificate()))
}

/// The file that clients on this machine and jobs trust, where the certificate is from no public authority.
///
/// # Errors
/// When it is not there.
pub fn ca_file(http: &Http) -> anyhow::Result<Option<PathBuf>> {
    let Some(path) = &http.tls_ca else { return Ok(None) };
    path.canonicalize().map(Some).with_context(|| format!("http.tls_ca {}", path.display()))
}

/// Says that what travels from and to other machines can be read on its way.
pub fn warn_without(address: SocketAddr, what: &str, way_out: &str) {
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "{what} listens beyond this machine without TLS: tokens and data can be read on their way; {way_out}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Option<PathBuf> {
        Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/testkit/testdata/tls").join(name))
    }

    #[test]
    fn a_certificate_that_will_not_do_ends_the_start_with_its_file() {
        let of = |certificate, key| of(&Http { tls_certificate: certificate, tls_key: key, ..Http::default() });
        assert!(of(None, None).unwrap().is_none());
        assert!(of(file("server.pem"), file("server.key")).unwrap().is_some());
        for (certificate, key, said) in [
            (file("server.pem"), None, "http.tls_key"),
            (None, file("server.key"), "http.tls_certificate"),
            (file("absent.pem"), file("server.key"), "absent.pem"),
            (file("server.key"), file("server.key"), "no certificate"),
            (file("server.pem"), file("ca.pem"), "http.tls_key"),
            // The key of another certificate.
            (file("ca.pem"), file("server.key"), "ca.pem"),
        ] {
            let refused = format!("{:#}", of(certificate, key).unwrap_err());
            assert!(refused.contains(said), "{said}: {refused}");
        }
    }
}
