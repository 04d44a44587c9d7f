//! A real S3 server with ports, keys and a folder of its own.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::estate::Estate;
use crate::repository;

/// Half-second waits for a server's first answer: a loaded machine of two cores needs up to 20 s.
const START_TRIES: usize = 240;
/// Servers that are started, one after the other, until one has got its ports.
const START_ANEW: usize = 3;
/// What a server says whose port somebody else has taken meanwhile.
const PORT_TAKEN: &str = "address already in use";

/// A running server. It is ended with its processes when the value is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: TempDir,
    arguments: Vec<String>,
    ports: [u16; 10],
    /// `http://127.0.0.1:<port>`
    pub endpoint: String,
    /// The access key id.
    pub key: String,
    /// The secret.
    pub secret: String,
}

impl Server {
    /// An estate that knows its keys, as those of credentials with the prefix `ALPHA`.
    #[must_use]
    pub fn estate(&self) -> Estate {
        let mut estate = Estate::new();
        estate.set("ALPHA_ACCESS_KEY_ID", &self.key);
        estate.set("ALPHA_SECRET_ACCESS_KEY", &self.secret);
        estate
    }

    /// Starts SeaweedFS where `tests/run` installed it; `None` where it is missing.
    ///
    /// # Panics
    /// When it is installed and does not start.
    #[must_use]
    pub fn start(name: &str) -> Option<Self> {
        Self::start_with(name, true)
    }

    /// The same for a test, which is left out by name where there is none, or none is wanted.
    ///
    /// # Panics
    /// When it is installed and does not start.
    #[must_use]
    pub fn for_test(test: &str, name: &str) -> Option<Self> {
        if std::env::var_os("DOMICILE_WITHOUT_SERVERS").is_some() {
            crate::skip(test, "run without S3 servers");
            return None;
        }
        let server = Self::start(name);
        if server.is_none() {
            crate::skip(test, "no S3 server: `tests/run` installs one");
        }
        server
    }

    /// The same, and it takes every request, whoever has signed it, and when.
    ///
    /// # Panics
    /// When it is installed and does not start.
    #[must_use]
    pub fn start_open(name: &str) -> Option<Self> {
        Self::start_with(name, false)
    }

    /// Somebody else may take a port between the moment when it was found free and the server's start.
    fn start_with(name: &str, checks_keys: bool) -> Option<Self> {
        let weed = tool("weed")?;
        let mut tries = (0..START_ANEW).map(|_| Self::try_start(&weed, name, checks_keys));
        let started = tries.find(|started| !matches!(started, Err(said) if said.contains(PORT_TAKEN)));
        match started {
            Some(Ok(server)) => Some(server),
            Some(Err(said)) => panic!("{said}"),
            None => panic!("no free ports were found for the S3 server"),
        }
    }

    fn try_start(weed: &Path, name: &str, checks_keys: bool) -> Result<Self, String> {
        let folder = tempfile::Builder::new()
            .prefix("s3-")
            .tempdir()
            .expect("a temporary folder");
        let (key, secret) = (
            format!("{name}-key"),
            format!("{name}-secret-{}", "s3cr3t".repeat(4)),
        );
        let identities = serde_json::json!({"identities": [{"name": name,
            "credentials": [{"accessKey": key, "secretKey": secret}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]});
        let config = folder.path().join("s3.json");
        std::fs::write(&config, identities.to_string()).expect("the server's configuration");
        let ports = free_ports::<10>();
        let mut arguments = arguments(&folder, ports);
        if checks_keys {
            arguments.push(format!("-s3.config={}", config.display()));
        }
        let child = launch(weed, &folder, &arguments);
        let mut server = Self {
            child,
            folder,
            arguments,
            ports,
            endpoint: format!("http://127.0.0.1:{}", ports[0]),
            key,
            secret,
        };
        server.wait(ports[0])?;
        Ok(server)
    }

    /// Ends the server as a power cut would.
    pub fn halt(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The same, and starts it again where it was.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.halt();
        let weed = tool("weed").expect("it was there before");
        self.child = launch(&weed, &self.folder, &self.arguments);
        self.wait(self.ports[0]).unwrap_or_else(|said| panic!("{said}"));
    }

    /// Waits until it answers; else what it has said.
    fn wait(&mut self, port: u16) -> Result<(), String> {
        for _ in 0..START_TRIES {
            if let Some(status) = self.child.try_wait().expect("the server can be asked for") {
                return Err(format!("the S3 server ended with {status}:\n{}", self.log()));
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok()
                && rclone(&["lsd", &self.remote("")]).is_some_and(|ok| ok)
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        Err(format!("the S3 server does not answer:\n{}", self.log()))
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
        text.lines()
            .rev()
            .take(40)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// A path on this server as rclone writes it.
    #[must_use]
    pub fn remote(&self, path: &str) -> String {
        Self::remote_of(&self.endpoint, &self.key, &self.secret, path)
    }

    /// A path on a server for the holder of a key.
    #[must_use]
    pub fn remote_of(endpoint: &str, key: &str, secret: &str, path: &str) -> String {
        format!(
            ":s3,provider=SeaweedFS,env_auth=false,access_key_id={key},secret_access_key={secret},endpoint='{endpoint}',force_path_style=true:{path}"
        )
    }

    /// The unfinished uploads in a bucket, as rclone tells them.
    ///
    /// # Panics
    /// When rclone is missing, or cannot tell.
    #[must_use]
    pub fn unfinished_uploads(&self, bucket: &str) -> String {
        let listed = Command::new(tool("rclone").expect("rclone is there"))
            .args(["backend", "list-multipart-uploads", &self.remote(bucket)])
            .args(["--config", "/dev/null"])
            .output()
            .expect("rclone starts");
        assert!(
            listed.status.success(),
            "rclone cannot tell: {}",
            String::from_utf8_lossy(&listed.stderr)
        );
        String::from_utf8_lossy(&listed.stdout).into_owned()
    }

    /// Makes everything in a bucket that was put there within the last minutes older by ten days, by the server's own clock.
    ///
    /// # Panics
    /// When the server cannot be told so.
    pub fn age(&self, bucket: &str) {
        let saved = self.folder.path().join("names");
        self.shell(&format!("fs.meta.save -o {} /buckets/{bucket}", saved.display()));
        let names = std::fs::read(&saved).expect("what the server has saved");
        std::fs::write(&saved, aged(names)).expect("the same, older");
        self.shell(&format!("fs.meta.load {}", saved.display()));
    }

    /// Has the server's own shell carry out a command.
    fn shell(&self, command: &str) {
        use std::io::Write as _;
        let [_, _, master, master_grpc, _, _, filer, filer_grpc, ..] = self.ports;
        let mut shell = Command::new(tool("weed").expect("it was there before"))
            .arg(format!("-logdir={}", self.folder.path().display()))
            .arg("shell")
            .arg(format!("-master=127.0.0.1:{master}.{master_grpc}"))
            .arg(format!("-filer=127.0.0.1:{filer}.{filer_grpc}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server's shell starts");
        let mut input = shell.stdin.take().expect("its input");
        writeln!(input, "{command}\nexit").expect("a command");
        drop(input);
        assert!(
            shell.wait().expect("the shell ends").success(),
            "`{command}` fails"
        );
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn bucket(&self, name: &str) {
        assert_eq!(
            rclone(&["mkdir", &self.remote(name)]),
            Some(true),
            "cannot make the bucket {name}"
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing more can be done about a server that will not end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(weed: &Path, folder: &TempDir, arguments: &[String]) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.path().join("server.log"))
        .expect("the server's log");
    Command::new(weed)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the server's log"))
        .stderr(log)
        .spawn()
        .expect("the server starts")
}

/// What SeaweedFS saves of names, in which times of the last minutes are ten days older. They are seconds as protocol buffers
/// write numbers, after the tags of `mtime` and `crtime`; an older one is as long.
fn aged(mut names: Vec<u8>) -> Vec<u8> {
    let number = |mut seconds: u64| {
        let mut bytes = Vec::new();
        while seconds > 127 {
            bytes.push(u8::try_from(seconds & 127).expect("seven bits") | 128);
            seconds >>= 7;
        }
        bytes.push(u8::try_from(seconds).expect("seven bits"));
        bytes
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_secs();
    for seconds in now - 600..=now {
        let (new, old) = (number(seconds), number(seconds - 10 * 86_400));
        let mut at = 0;
        while at + new.len() < names.len() {
            let is_time = [0x10, 0x18, 0x20, 0x28].contains(&names[at]) && names[at + 1..].starts_with(&new);
            if is_time {
                names[at + 1..=new.len() + at].copy_from_slice(&old);
            }
            at += 1;
        }
    }
    names
}

fn arguments(folder: &TempDir, ports: [u16; 10]) -> Vec<String> {
    let names = [
        "s3.port",
        "s3.port.grpc",
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
    ];
    let mut arguments = vec![
        // Else its logs would stay in the folder of all temporary files.
        format!("-logdir={}", folder.path().display()),
        "server".to_owned(),
        format!("-dir={}", folder.path().display()),
        "-ip=127.0.0.1".to_owned(),
        "-filer".to_owned(),
        "-s3".to_owned(),
        "-s3.port.iceberg=0".to_owned(),
        "-s3.port.lance=0".to_owned(),
        "-master.volumeSizeLimitMB=64".to_owned(),
        "-volume.max=100".to_owned(),
    ];
    arguments.extend(
        names
            .iter()
            .zip(ports)
            .map(|(name, port)| format!("-{name}={port}")),
    );
    arguments
}

/// Ports that were free a moment ago: all are held at once, so that they differ.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let held: Vec<_> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    std::array::from_fn(|at| held[at].local_addr().expect("a bound port").port())
}

/// A program that `tests/run` installed, or one on the PATH.
#[must_use]
pub fn installed(name: &str) -> Option<PathBuf> {
    tool(name)
}

fn tool(name: &str) -> Option<PathBuf> {
    let installed = repository().join(".tests/venv/bin").join(name);
    if installed.is_file() {
        return Some(installed);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Runs rclone without any configuration of the user's; whether it succeeded, or `None` where it is missing.
///
/// # Panics
/// When it is there and cannot be started.
#[must_use]
pub fn rclone(arguments: &[&str]) -> Option<bool> {
    let output = Command::new(tool("rclone")?)
        .args(arguments)
        .args(["--config", "/dev/null", "--retries", "1"])
        .stdin(Stdio::null())
        .output()
        .expect("rclone starts");
    if !output.status.success() {
        eprintln!(
            "rclone {}: {}",
            arguments[0],
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Some(output.status.success())
}
