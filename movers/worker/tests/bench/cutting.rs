//! A line to a server that breaks off in the middle of what is read.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that come on a connection before it breaks.
const BEFORE: usize = 1024 * 1024;

pub struct Cutting {
    pub port: u16,
    left: Arc<AtomicU64>,
}

impl Cutting {
    /// Passes everything on to a port of this machine; its threads end with the test's process.
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let left = Arc::new(AtomicU64::new(0));
        let cuts = left.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                std::thread::spawn(move || pass(from, to, None));
                let cuts = cuts.clone();
                std::thread::spawn(move || pass(upstream, client, Some(&cuts)));
            }
        });
        Self { port, left }
    }

    /// From now on so many connections break.
    pub fn cut(&self, connections: u64) {
        self.left.store(connections, Ordering::SeqCst);
    }

    /// How many are still to break.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, cuts: Option<&AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    let mut passed = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
        passed += read;
        let less = |left: u64| left.checked_sub(1);
        if passed > BEFORE
            && cuts.is_some_and(|cuts| {
                cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                    .is_ok()
            })
        {
            break;
        }
    }
    // Either end may be gone already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
