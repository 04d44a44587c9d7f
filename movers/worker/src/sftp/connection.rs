//! One `ssh` that speaks SFTP: many requests under way at once, told apart by their numbers.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

use super::wire::{self, Answer, Request};
use crate::tree::remote::{Trouble, TroubleKind};

/// How long signing in may take, and one answer.
const CONNECT: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(60);
/// Bytes of one packet; OpenSSH sends at most 256 KiB.
const PACKET_MAX: usize = 1024 * 1024;
/// Packets that wait to be sent.
const WAITING: usize = 64;
/// Bytes that are kept of what `ssh` says to people.
const SAID_MAX: usize = 2_000;

/// Whom to call and how.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// A file with a private key.
    pub key: Option<String>,
    /// A configuration of `ssh`.
    pub config: Option<String>,
}

impl Address {
    /// Never asks anybody anything. Who the server is must be known to `ssh` already.
    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args([
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "ServerAliveInterval=15",
        ]);
        command.args([
            "-o",
            "ConnectTimeout=15",
            "-o",
            "ClearAllForwardings=yes",
            "-x",
            "-a",
        ]);
        if let Some(config) = &self.config {
            command.args(["-F", config]);
        }
        if let Some(key) = &self.key {
            command.args(["-o", "IdentitiesOnly=yes", "-i", key]);
        }
        if !self.user.is_empty() {
            command.args(["-l", &self.user]);
        }
        command.args(["-p", &self.port.to_string(), "-s", "--", &self.host, "sftp"]);
        command
    }
}

/// Who waits for the answers to which requests; `None` when the connection has ended.
type Pending = Arc<Mutex<Option<BTreeMap<u32, oneshot::Sender<Answer>>>>>;

/// An answer that is still to come.
pub(super) type Answering = BoxFuture<'static, Result<Answer, Trouble>>;

/// A connection. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    to_send: mpsc::Sender<Bytes>,
    pending: Pending,
    next: AtomicU32,
    said: Arc<Mutex<String>>,
    /// What the server can do besides.
    extensions: Vec<String>,
    _ssh: Child,
}

impl Connection {
    pub(super) async fn open(address: &Address) -> Result<Self, Trouble> {
        let mut command = address.command();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let ssh = command.kill_on_drop(true).spawn();
        let mut ssh = ssh.map_err(|error| {
            let message = format!("SFTP needs the command `ssh` on this machine: {error}");
            Trouble::new(TroubleKind::Place, message)
        })?;
        let (Some(mut input), Some(output), Some(errors)) =
            (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take())
        else {
            return Err(Trouble::passing("`ssh` has no input or output"));
        };
        let said = Arc::new(Mutex::new(String::new()));
        let listening = tokio::spawn(listen(errors, said.clone()));
        let mut output = BufReader::with_capacity(256 * 1024, output);
        let greeted = tokio::time::timeout(CONNECT, greet(&mut input, &mut output)).await;
        let extensions = match greeted {
            Ok(Some(extensions)) => extensions,
            Ok(None) => {
                // It has ended; what it said to people says why.
                let _ = tokio::time::timeout(Duration::from_secs(2), listening).await;
                return Err(why(&said));
            }
            Err(_) => {
                return Err(Trouble::passing(format!(
                    "no answer within {} s",
                    CONNECT.as_secs()
                )));
            }
        };
        let pending: Pending = Arc::new(Mutex::new(Some(BTreeMap::new())));
        let (to_send, sending) = mpsc::channel(WAITING);
        tokio::spawn(send(input, sending));
        tokio::spawn(receive(output, pending.clone()));
        Ok(Self {
            to_send,
            pending,
            next: AtomicU32::new(1),
            said,
            extensions,
            _ssh: ssh,
        })
    }

    pub(super) fn has(&self, extension: &str) -> bool {
        self.extensions.iter().any(|known| known == extension)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.to_send.is_closed() || self.waiting(|waiting| waiting.is_none())
    }

    fn waiting<T>(&self, with: impl FnOnce(&mut Option<BTreeMap<u32, oneshot::Sender<Answer>>>) -> T) -> T {
        with(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a request. The answer is waited for by who calls, so that several can be under way.
    pub(super) async fn ask(
        &self,
        kind: u8,
        fill: impl FnOnce(Request) -> Request,
    ) -> Result<Answering, Trouble> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answered, answer) = oneshot::channel();
        let open = self.waiting(|waiting| match waiting {
            Some(waiting) => waiting.insert(number, answered).is_none(),
            None => false,
        });
        let request = fill(Request::new(kind, number)).finish();
        let said = self.said.clone();
        if !open || self.to_send.send(request).await.is_err() {
            return Err(why(&said));
        }
        Ok(Box::pin(async move {
            match tokio::time::timeout(ANSWER, answer).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) => Err(why(&said)),
                Err(_) => Err(Trouble::passing(format!(
                    "no answer within {} s",
                    ANSWER.as_secs()
                ))),
            }
        }))
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn ask_and_wait(
        &self,
        kind: u8,
        fill: impl FnOnce(Request) -> Request,
    ) -> Result<Answer, Trouble> {
        self.ask(kind, fill).await?.await
    }
}

/// Says which version is spoken, and hears what else the server can do; `None` if it is no SFTP.
async fn greet(input: &mut ChildStdin, output: &mut BufReader<ChildStdout>) -> Option<Vec<String>> {
    input
        .write_all(&[0, 0, 0, 5, wire::INIT, 0, 0, 0, 3])
        .await
        .ok()?;
    let mut packet = packet(output).await?;
    let head = packet.split_to(packet.len().min(5));
    if head.first() != Some(&wire::VERSION) || head.len() < 5 {
        return None;
    }
    let mut extensions = Vec::new();
    while let (Some(name), Some(_)) = (wire::text(&mut packet), wire::text(&mut packet)) {
        extensions.push(String::from_utf8_lossy(&name).into_owned());
    }
    Some(extensions)
}

async fn packet(output: &mut BufReader<ChildStdout>) -> Option<Bytes> {
    let length = usize::try_from(output.read_u32().await.ok()?).ok()?;
    if length > PACKET_MAX {
        return None;
    }
    let mut bytes = vec![0; length];
    output.read_exact(&mut bytes).await.ok()?;
    Some(Bytes::from(bytes))
}

async fn send(mut input: ChildStdin, mut sending: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = sending.recv().await {
        if input.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn receive(mut output: BufReader<ChildStdout>, pending: Pending) {
    while let Some((number, answer)) = packet(&mut output).await.and_then(wire::answer) {
        let mut waiting = pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answered) = waiting.as_mut().and_then(|waiting| waiting.remove(&number)) {
            // Who asked may have gone.
            let _ = answered.send(answer);
        }
    }
    // Whoever waits is told by this, and whoever comes later.
    *pending.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

async fn listen(mut errors: ChildStderr, said: Arc<Mutex<String>>) {
    let mut buffer = [0; 512];
    while let Ok(read @ 1..) = errors.read(&mut buffer).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < SAID_MAX {
            said.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }
}

/// Why the connection has ended, by what `ssh` said to people.
fn why(said: &Mutex<String>) -> Trouble {
    let said = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let kind = if said.contains("Permission denied") || said.contains("Too many authentication failures") {
        TroubleKind::Credentials
    } else if said.contains("Host key verification failed") || said.contains("Bad configuration") {
        TroubleKind::Place
    } else {
        TroubleKind::Passing
    };
    match said.trim() {
        "" => Trouble::new(kind, "the connection of `ssh` has ended"),
        said => Trouble::new(kind, format!("`ssh` said: {said}")),
    }
}
