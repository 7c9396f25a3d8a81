//! TLS for both sides: what a server shows, and whom a fetcher believes.
//!
//! Integrity never depends on it, since every block is checked against its CID; privacy does, and some clients speak to
//! nothing else. Versions 1.2 and 1.3, HTTP/1.1 alone (`ALPN`), no client certificates.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::kernel_tls;

/// Why a certificate, a key or an authority is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsRejection {
    /// Nothing of the kind in the file, or it is not PEM.
    #[error("expected {expected} in PEM form: {source}")]
    Pem {
        /// What was looked for.
        expected: &'static str,
        /// What was found.
        source: pem::Error,
    },
    /// No certificate in the file.
    #[error("expected at least one certificate in PEM form, got none")]
    NoCertificate,
    /// A certificate that cannot be used, or a key that is not its own.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsRejection> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|source| TlsRejection::Pem { expected: "certificates", source })?;
    if read.is_empty() { Err(TlsRejection::NoCertificate) } else { Ok(read) }
}

/// What a server shows: its certificate, and the key that goes with it.
#[derive(Clone)]
pub struct TlsIdentity(Arc<ServerConfig>);

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsIdentity")
    }
}

impl TlsIdentity {
    /// From PEM: the chain, the server's own certificate first, and its key.
    ///
    /// # Errors
    /// Not PEM, or the two do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsRejection> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|source| TlsRejection::Pem { expected: "a private key", source })?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // For the kernel, which encrypts where it can.
        config.enable_secret_extraction = true;
        Ok(Self(Arc::new(config)))
    }

    /// Agrees with a client; this process goes on to encrypt.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<server::TlsStream<TcpStream>> {
        TlsAcceptor::from(self.0.clone()).accept(stream).await
    }

    /// Agrees with a client; the kernel goes on to encrypt, if it offers that ([`kernel_tls::is_offered`]).
    pub(crate) async fn accept_for_kernel(&self, stream: &mut TcpStream) -> io::Result<()> {
        kernel_tls::accept(self.0.clone(), stream).await
    }
}

/// Whom a client believes about the names of servers.
#[derive(Clone)]
pub struct TlsTrust(TlsConnector);

impl std::fmt::Debug for TlsTrust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsTrust")
    }
}

impl Default for TlsTrust {
    /// The authorities that Mozilla's browser believes.
    fn default() -> Self {
        Self::in_roots(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    }
}

impl TlsTrust {
    /// Some authorities and nobody else, from PEM.
    ///
    /// # Errors
    /// Not PEM, or no certificate of an authority.
    pub fn from_pem(authorities: &[u8]) -> Result<Self, TlsRejection> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(authorities)? {
            roots.add(authority)?;
        }
        Ok(Self::in_roots(roots))
    }

    fn in_roots(roots: RootCertStore) -> Self {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(TlsConnector::from(Arc::new(config)))
    }

    pub(crate) async fn connect<S>(&self, host: &str, stream: S) -> io::Result<client::TlsStream<S>>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.0.connect(name, stream).await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(first in proptest::collection::vec(any::<u8>(), 0..200), second in "\\PC{0,200}") {
            prop_assert!(TlsIdentity::from_pem(&first, second.as_bytes()).is_err());
            prop_assert!(TlsTrust::from_pem(second.as_bytes()).is_err());
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let make = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (one, other) = (make(), make());
        let (chain, key) = (one.cert.pem(), one.key_pair.serialize_pem());
        assert!(TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).is_ok());
        let wrong = TlsIdentity::from_pem(chain.as_bytes(), other.key_pair.serialize_pem().as_bytes()).unwrap_err();
        assert!(matches!(wrong, TlsRejection::Unusable(_)), "{wrong}");
        let swapped = TlsIdentity::from_pem(key.as_bytes(), chain.as_bytes()).unwrap_err();
        assert!(matches!(swapped, TlsRejection::NoCertificate), "{swapped}");
        let keyless = TlsIdentity::from_pem(chain.as_bytes(), chain.as_bytes()).unwrap_err();
        assert!(matches!(keyless, TlsRejection::Pem { expected: "a private key", .. }), "{keyless}");
    }
}
