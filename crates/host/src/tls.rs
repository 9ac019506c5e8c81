//! TLS over a dialled connection, for `https://` bases (feature `tls`).
//!
//! Certificates are judged by the host's clock. Session keys are drawn from the system, where no seed reaches, so
//! whoever needs the same bytes twice speaks `http://`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

use crate::{Connection, Host};

/// Says whom to trust at the far end of a secure connection; cheap to clone.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Trusts the authorities that browsers trust: Mozilla's list, compiled in.
    pub fn new(host: &Host) -> Self {
        Self::trusting(host, RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()))
    }

    /// Trusts these certificates (DER) and what they sign, and nobody else.
    ///
    /// # Errors
    ///
    /// Fails with [`io::ErrorKind::InvalidData`] when one is no certificate.
    pub fn with_roots<'a>(host: &Host, roots: impl IntoIterator<Item = &'a [u8]>) -> io::Result<Self> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(CertificateDer::from(root).into_owned()).map_err(invalid)?;
        }
        Ok(Self::trusting(host, store))
    }

    fn trusting(host: &Host, roots: RootCertStore) -> Self {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_details(provider, Arc::new(HostTime(host.clone())))
            .with_safe_default_protocol_versions()
            .expect("ring has suites for both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { config: Arc::new(config) }
    }

    /// Greets the peer at `authority` (`name:port`) over `stream`. The caller sets the deadline.
    pub(crate) async fn wrap(&self, stream: Connection, authority: &str) -> io::Result<Connection> {
        let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
        let name = name.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Box::new(TlsConnector::from(self.config.clone()).connect(name, stream).await?))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The host's wall clock as rustls asks for it.
#[derive(Debug)]
struct HostTime(Host);

impl TimeProvider for HostTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.clock().now().as_millis())))
    }
}
