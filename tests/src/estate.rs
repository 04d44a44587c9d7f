//! An estate in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{Outcome, binary};

/// A folder with manifests, data and a catalogue of its own, deleted at the end.
#[derive(Debug)]
pub struct Estate {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Default for Estate {
    fn default() -> Self {
        Self::new()
    }
}

impl Estate {
    /// An empty one.
    ///
    /// # Panics
    /// When no temporary folder can be made.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("estate-")
            .tempdir()
            .expect("a temporary folder");
        Self {
            folder,
            environment: Vec::new(),
        }
    }

    /// A path below the estate's folder.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Sets a variable for every later run.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Writes a file and the folders above it.
    ///
    /// # Panics
    /// When it cannot.
    pub fn write(&self, below: &str, bytes: impl AsRef<[u8]>) {
        write(&self.path(below), bytes.as_ref());
    }

    /// Writes the manifests that [`Estate::apply`] and [`Estate::plan`] read.
    pub fn manifests(&self, text: &str) {
        self.write("manifests/estate.yaml", text);
    }

    /// The binary, ready to run in the estate's folder, with a bare environment and no terminal.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("HOME", self.folder.path())
            .env("NO_COLOR", "1")
            .env("TZ", "UTC");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the binary to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let output = self.command(arguments).output().expect("the binary starts");
        Outcome {
            command: format!("domicile {}", arguments.join(" ")),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs the binary to its end and says how much memory it held at most, in bytes (Linux counts it for us).
    ///
    /// # Panics
    /// When it cannot be started, or does not succeed.
    #[must_use]
    pub fn peak_memory(&self, arguments: &[&str]) -> u64 {
        let log = std::fs::File::create(self.path("run.log")).expect("a log");
        let mut command = self.command(arguments);
        let mut child = command
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        let ended = loop {
            // The high-water mark only rises, so the last look before the end is near enough.
            peak = peak.max(high_water(&status).unwrap_or_default());
            if let Some(ended) = child.try_wait().expect("the child can be asked for") {
                break ended;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        let text = std::fs::read_to_string(self.path("run.log")).unwrap_or_default();
        assert!(
            ended.success(),
            "`domicile {}` ended with {ended}:\n{text}",
            arguments.join(" ")
        );
        assert!(
            peak > 0,
            "the memory of the binary could not be read from {status}"
        );
        peak
    }

    /// Applies the manifests.
    #[must_use]
    pub fn apply(&self) -> Outcome {
        self.run(&["apply", "-f", "manifests", "--yes"])
    }

    /// Plans the manifests, as JSON.
    #[must_use]
    pub fn plan(&self) -> Outcome {
        self.run(&["plan", "-f", "manifests", "-o", "json"])
    }

    /// Every file that the estate holds outside its data: catalogue, logs, whatever a run left.
    ///
    /// # Panics
    /// When one cannot be read.
    #[must_use]
    pub fn written(&self) -> Vec<(String, Vec<u8>)> {
        crate::files(self.folder.path())
            .into_iter()
            .filter(|(path, _)| !path.starts_with("manifests/"))
            .collect()
    }
}

fn high_water(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

fn write(path: &Path, bytes: &[u8]) {
    let folder = path.parent().expect("a file lies in a folder");
    std::fs::create_dir_all(folder)
        .unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
