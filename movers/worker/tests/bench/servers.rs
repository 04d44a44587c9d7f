//! Real servers of many kinds, each started once for a test binary and ended with it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// A server that runs, and how it is reached.
#[derive(Clone)]
pub struct Server {
    pub options: BTreeMap<String, String>,
    /// What the environment has to hold.
    pub variables: BTreeMap<String, String>,
    /// A file with credentials, where the kind takes one; and one with credentials that are refused.
    pub file: Option<String>,
    pub wrong: Option<String>,
    /// The folder that it serves, on this machine.
    pub folder: PathBuf,
}

/// A child whose standard input is held open: it ends when this process does.
type Running = Option<(Server, Child)>;
static RUNNING: OnceLock<Mutex<BTreeMap<&'static str, Running>>> = OnceLock::new();

impl Server {
    /// The server of this kind; `None`, told by name, where it is not installed.
    pub fn of(kind: &'static str) -> Option<Self> {
        if std::env::var_os("DOMICILE_WITHOUT_SERVERS").is_some() {
            skip(kind, "DOMICILE_WITHOUT_SERVERS is set");
            return None;
        }
        let mut running = RUNNING.get_or_init(Mutex::default).lock().unwrap();
        let one = running.entry(kind).or_insert_with(|| match start(kind) {
            Ok(running) => Some(running),
            Err(why) => {
                skip(kind, &why);
                None
            }
        });
        one.as_ref().map(|(server, _)| server.clone())
    }
}

fn start(kind: &str) -> Result<(Server, Child), String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = here.join("../../.tests");
    let python = tools.join("venv/bin/python");
    if !python.is_file() {
        return Err("tests/run has installed no servers".to_owned());
    }
    let mut child = Command::new(python)
        .arg(here.join("tests/bench/servers.py"))
        .arg(kind)
        .arg(tools)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output"))
        .read_line(&mut line)
        .expect("its first line");
    let told: serde_json::Value =
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the {kind} server does not start: see above"));
    if let Some(missing) = told["missing"].as_str() {
        let _ = child.wait();
        return Err(format!("{missing} is not installed"));
    }
    let texts = |field: &str| {
        let fields = told[field].as_object().expect("an object").iter();
        fields
            .map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned()))
            .collect()
    };
    let text = |field: &str| told[field].as_str().map(str::to_owned);
    let server = Server {
        options: texts("options"),
        variables: texts("variables"),
        file: text("file"),
        wrong: text("wrong"),
        folder: PathBuf::from(text("folder").expect("a folder")),
    };
    Ok((server, child))
}

/// Says by name what a run leaves out; `tests/run` shows it at its end.
pub fn skip(what: &str, why: &str) {
    assert!(
        std::env::var_os("DOMICILE_STRICT").is_none(),
        "{what} may not be skipped: {why}"
    );
    if let Some(path) = std::env::var_os("DOMICILE_SKIPPED") {
        use std::io::Write;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.expect("the list of skipped tests can be written");
        writeln!(file, "movers/worker on {what}: {why}").expect("the list of skipped tests can be written");
    }
    eprintln!("skipped {what}: {why}");
}
