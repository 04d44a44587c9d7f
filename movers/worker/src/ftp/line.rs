//! What FTP goes over: a connection as it is, or one with TLS in it (RFC 4217).

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How connections to one server are guarded. Clones share what lets the second connection go on from the first, which
/// some servers demand.
#[derive(Clone)]
pub(super) struct Guard {
    connector: TlsConnector,
    server: ServerName<'static>,
}

impl Guard {
    /// For a server, which has to show a certificate that the system trusts, or one of those in a file. The error is a text.
    pub(super) fn new(host: &str, authority: &str) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        if authority.is_empty() {
            // One that cannot be read takes nothing from the others.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        } else {
            let failed = |why: &dyn std::fmt::Display| {
                format!("cannot read certificates from `{authority}`, which it names as `authority`: {why}")
            };
            let certificates = CertificateDer::pem_file_iter(Path::new(authority));
            for certificate in certificates.map_err(|error| failed(&error))? {
                let certificate = certificate.map_err(|error| failed(&error))?;
                roots.add(certificate).map_err(|error| failed(&error))?;
            }
            if roots.is_empty() {
                return Err(failed(&"there is none in it"));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("cannot set up TLS: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerName::try_from(host.to_owned());
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            server: server.map_err(|_| format!("its endpoint names `{host}`, which no certificate can"))?,
        })
    }

    pub(super) async fn around(&self, connection: TcpStream) -> io::Result<Line> {
        let stream = self.connector.connect(self.server.clone(), connection).await?;
        Ok(Line::Guarded(Box::new(stream)))
    }
}

/// A connection.
pub(super) enum Line {
    Plain(TcpStream),
    Guarded(Box<TlsStream<TcpStream>>),
}

impl Line {
    pub(super) fn peer(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(connection) => connection.peer_addr(),
            Self::Guarded(stream) => stream.get_ref().0.peer_addr(),
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(connection) => Pin::new(connection).poll_read(cx, into),
            Self::Guarded(stream) => match ready!(Pin::new(stream).poll_read(cx, into)) {
                // Many servers end a connection without the word of TLS for it. What has come is counted, and the server says
                // on the other connection whether it was all.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                other => Poll::Ready(other),
            },
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(connection) => Pin::new(connection).poll_write(cx, bytes),
            Self::Guarded(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(connection) => Pin::new(connection).poll_flush(cx),
            Self::Guarded(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(connection) => Pin::new(connection).poll_shutdown(cx),
            Self::Guarded(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
