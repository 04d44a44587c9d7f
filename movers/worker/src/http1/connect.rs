//! Opening connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Broken;
use super::connection::{Connection, Stream};
use super::pool::{IDLE, Peer};

const CONNECT: Duration = Duration::from_secs(15);
/// How long one address is tried before another one is tried beside it (RFC 8305 advises a quarter of a second).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Bytes of TLS records that are read at once.
const TLS_READ: usize = 64 * 1024;

/// Sets up TLS by rustls with ring, which a C compiler alone can build; roots are those of the machine, and are only read
/// where TLS is spoken.
pub(super) fn tls(wanted: bool) -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let failed = |error: &dyn std::fmt::Display| format!("cannot set up TLS: {error}");
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    let mut roots = rustls::RootCertStore::empty();
    if wanted {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map_or_else(
                || "this machine has no root certificates".to_owned(),
                ToString::to_string,
            );
            return Err(failed(&why));
        }
    }
    let config = tls.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Opens a connection.
pub(super) async fn connect(peer: &Peer, tls: &TlsConnector) -> Result<Connection, Broken> {
    let opened = tokio::time::timeout(CONNECT, open(peer, tls)).await;
    let stream = opened.map_err(|_| Broken::new("it took too long to connect"))??;
    Ok(Connection::new(stream))
}

async fn open(peer: &Peer, tls: &TlsConnector) -> Result<Stream, Broken> {
    let host = peer.authority.host();
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let usual = if peer.with_tls { 443 } else { 80 };
    let port = peer.authority.port_u16().unwrap_or(usual);
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses = found.map_err(|error| Broken::of(&error))?;
    let tcp = first_of(addresses.collect()).await?;
    // What these refuse costs speed, or a dead connection is noticed later: no reason to use none.
    let _ = tcp.set_nodelay(true);
    let _ = set_socket_keepalive(&tcp, true);
    let _ = set_tcp_keepidle(&tcp, IDLE);
    if !peer.with_tls {
        return Ok(Stream::Plain(tcp));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Broken::of(&error))?;
    let secured = tls.connect(name, BufReader::with_capacity(TLS_READ, tcp)).await;
    Ok(Stream::Tls(Box::new(secured.map_err(|error| no_tls(&error))?)))
}

/// What rustls calls an answer of another kind tells nobody what to do.
fn no_tls(error: &std::io::Error) -> Broken {
    if error.to_string().contains("InvalidContentType") {
        return Broken::new("the server speaks no TLS there: write `http://`, or another port");
    }
    Broken::of(error)
}

/// The first of some addresses that answers: one that is silent must not keep us from the others.
async fn first_of(addresses: Vec<SocketAddr>) -> Result<TcpStream, Broken> {
    let mut waiting = addresses.into_iter();
    let mut tried = FuturesUnordered::new();
    let mut failed = Broken::new("its name leads to no address");
    loop {
        tried.extend(waiting.next().map(TcpStream::connect));
        let more = waiting.len() > 0;
        tokio::select! {
            answer = tried.next() => match answer {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failed = Broken::of(&error),
                None => return Err(failed),
            },
            () = tokio::time::sleep(NEXT_ADDRESS), if more => {}
        }
    }
}
