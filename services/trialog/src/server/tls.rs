//! The certificates of the front door and of the processes among each other. Without them what is sent can be read on
//! its way, which is for this machine only.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use contracts::peer::Tls;
use runtime::MachineClock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use vocabulary::Clock;

use super::settings::{Http, Peers};

/// How long a caller over TCP may take to make itself known.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What the front door shows itself with; `None` without a certificate.
///
/// # Errors
/// When a file cannot be read or does not hold what it should, and when only one of the two is named.
pub fn of(http: &Http) -> anyhow::Result<Option<ServerConfig>> {
    match (&http.tls_certificate, &http.tls_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => with("http", certificate, key).map(Some),
        _ => bail!("a certificate and its key are named together: http.tls_certificate and http.tls_key"),
    }
}

/// The certificates of a file.
fn certificates(key: &str, path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let of_file = || format!("{key} {}", path.display());
    let chain = CertificateDer::pem_file_iter(path).with_context(of_file)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().with_context(of_file)?;
    ensure!(!chain.is_empty(), "{}: there is no certificate in it (PEM)", of_file());
    Ok(chain)
}

fn with(section: &str, certificate: &Path, key: &Path) -> anyhow::Result<ServerConfig> {
    let of_certificate = || format!("{section}.tls_certificate {}", certificate.display());
    let chain = certificates(&format!("{section}.tls_certificate"), certificate)?;
    let of_key = || format!("{section}.tls_key {}", key.display());
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

/// With what the processes of an installation speak TLS among each other; `None` without certificates.
///
/// # Errors
/// When not all three are named, a file cannot be read or does not hold what it should, and when other processes would
/// refuse the certificate.
pub fn of_peers(peers: &Peers) -> anyhow::Result<Option<Tls>> {
    let (ca, certificate, key) = match (&peers.tls_ca, &peers.tls_certificate, &peers.tls_key) {
        (None, None, None) => return Ok(None),
        (Some(ca), Some(certificate), Some(key)) => (ca, certificate, key),
        _ => bail!("named together or not at all: peers.tls_ca, peers.tls_certificate and peers.tls_key"),
    };
    // The servers of gRPC take the provider of the process; a second one keeps the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    with("peers", certificate, key)?;
    let chain = certificates("peers.tls_certificate", certificate)?;
    check_taken(ca, &chain).with_context(|| {
        format!(
            "peers.tls_certificate {}: other processes would refuse it; it has to be in force, for servers and clients \
             (extendedKeyUsage serverAuth, clientAuth), and signed by peers.tls_ca {}",
            certificate.display(),
            ca.display()
        )
    })?;
    let text = |path: &Path| std::fs::read_to_string(path).with_context(|| path.display().to_string());
    Ok(Some(Tls { ca: text(ca)?, identity: Some((text(certificate)?, text(key)?)) }))
}

/// Whether those who trust an authority take a certificate for that of a client.
fn check_taken(ca: &Path, chain: &[CertificateDer<'static>]) -> anyhow::Result<()> {
    let mut roots = RootCertStore::empty();
    for authority in certificates("peers.tls_ca", ca)? {
        roots.add(authority)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
    let now = u64::try_from(MachineClock.now().as_second()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let [own, others @ ..] = chain else { bail!("there is no certificate") };
    verifier.verify_client_cert(own, others, now)?;
    Ok(())
}

/// The door for other processes, which show themselves by a certificate, and for agents, which have none: the calls
/// say who may come in.
pub fn server_of_peers(tls: &Tls) -> Option<ServerTlsConfig> {
    let (certificate, key) = tls.identity.as_ref()?;
    let config = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
    let config = config.client_ca_root(Certificate::from_pem(&tls.ca)).client_auth_optional(true);
    Some(config.timeout(HANDSHAKE_MAX))
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

    #[test]
    fn a_certificate_that_other_processes_would_refuse_ends_the_start() {
        // The first that anybody saw of it was a handshake that failed somewhere else.
        let of = |ca, certificate, key| of_peers(&Peers { tls_ca: ca, tls_certificate: certificate, tls_key: key });
        assert!(of(None, None, None).unwrap().is_none());
        for (ca, certificate, key, named) in [
            (None, file("server.pem"), file("server.key"), "peers.tls_ca"),
            (file("ca.pem"), None, None, "peers.tls_certificate"),
            (file("absent.pem"), file("server.pem"), file("server.key"), "absent.pem"),
            (file("server.key"), file("server.pem"), file("server.key"), "no certificate"),
            // Signed by another one, and for servers alone.
            (file("server.pem"), file("server.pem"), file("server.key"), "other processes would refuse it"),
            (file("ca.pem"), file("server.pem"), file("server.key"), "clientAuth"),
        ] {
            let refused = format!("{:#}", of(ca, certificate, key).err().expect(named));
            assert!(refused.contains(named), "{named}: {refused}");
        }
    }
}
