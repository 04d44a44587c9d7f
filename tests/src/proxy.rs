//! Something between the binary and a server that counts what is sent, and may be slow.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A port that passes everything on to a server. Its threads end with the test's process.
#[derive(Debug)]
pub struct Proxy {
    /// `http://127.0.0.1:<port>`
    pub endpoint: String,
    sent: Arc<AtomicU64>,
}

impl Proxy {
    /// Before a server at `http://<host>:<port>`; each connection carries so many bytes a second at most.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn before(endpoint: &str, bytes_per_second: u64) -> Self {
        let server = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(upstream) = TcpStream::connect(&server) else {
                    continue;
                };
                let (Ok(back_from), Ok(back_to)) = (upstream.try_clone(), client.try_clone()) else {
                    continue;
                };
                let counter = Arc::clone(&counter);
                std::thread::spawn(move || pass(client, upstream, Some((&counter, bytes_per_second))));
                std::thread::spawn(move || pass(back_from, back_to, None));
            }
        });
        Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            sent,
        }
    }

    /// Bytes that were sent to the server so far, on all connections.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, watched: Option<(&AtomicU64, u64)>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => length,
        };
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
        if let Some((sent, bytes_per_second)) = watched {
            sent.fetch_add(length as u64, Ordering::Relaxed);
            std::thread::sleep(Duration::from_micros(
                length as u64 * 1_000_000 / bytes_per_second.max(1),
            ));
        }
    }
    // Both ends may be gone already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
