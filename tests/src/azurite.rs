//! Azurite, a server of Azure's blob storage that shows nothing of an object before it has taken the old one's place.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::rclone;
use crate::server::{free_ports, installed};

/// How often it is asked whether it answers, each half a second.
const START_TRIES: u32 = 120;

/// A server with one container, ended when this is dropped.
#[derive(Debug)]
pub struct Azurite {
    child: Child,
    _folder: TempDir,
    /// `http://127.0.0.1:<port>/<account>`
    pub endpoint: String,
    /// Its account.
    pub account: String,
    /// The key of the account.
    pub key: String,
}

impl Azurite {
    /// Starts one; `None` where it, node or rclone is missing.
    ///
    /// # Panics
    /// When it is installed and does not start.
    #[must_use]
    pub fn start(container: &str) -> Option<Self> {
        let main = crate::repository().join(".tests/npm/node_modules/azurite/dist/src/blob/main.js");
        let node = installed("node").filter(|_| main.is_file())?;
        installed("rclone")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [port] = free_ports::<1>();
        let (account, key) = ("devaccount", "ZG9taWNpbGUtdGVzdHMtc2VjcmV0LWtleS0wMTIzNDU2Nzg5");
        let mut command = Command::new(node);
        command
            .arg(main)
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
            .args([
                "--skipApiVersionCheck",
                "--silent",
                "--disableTelemetry",
                "--location",
            ])
            .arg(folder.path())
            .env("AZURITE_ACCOUNTS", format!("{account}:{key}"));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let azurite = Self {
            child,
            _folder: folder,
            endpoint: format!("http://127.0.0.1:{port}/{account}"),
            account: account.to_owned(),
            key: key.to_owned(),
        };
        for _ in 0..START_TRIES {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
                && rclone(&["mkdir", &azurite.remote(container)]) == Some(true)
            {
                return Some(azurite);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        panic!("azurite does not answer");
    }

    /// A path on it for rclone.
    #[must_use]
    pub fn remote(&self, path: &str) -> String {
        let Self {
            endpoint,
            account,
            key,
            ..
        } = self;
        format!(":azureblob,account={account},key='{key}',endpoint='{endpoint}':{path}")
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
