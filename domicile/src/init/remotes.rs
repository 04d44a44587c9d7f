//! An `rclone.conf` as backends. Its format is told on rclone's page "Configure"; the fields of each kind of remote on
//! the page of that kind (<https://rclone.org/docs/>).

use std::collections::BTreeMap;

use super::draft::{Credentials, Draft};
use super::obscured::revealed;

/// How an encrypted file begins.
const ENCRYPTED: &str = "RCLONE_ENCRYPT_V";
/// Aliases that may lead to one another.
const ALIASES_MAX: usize = 10;
/// What an S3 store needs to be opened.
pub const S3_KEYS: &[&str] = &["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"];
/// What a store with users needs to be opened.
const USER_KEYS: &[&str] = &["USER", "PASSWORD"];

type Fields = BTreeMap<String, String>;

/// The remotes of an `rclone.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remotes(BTreeMap<String, Fields>);

/// What an rclone path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// A folder of this machine.
    Folder(String),
    /// A backend, whose name is still to be chosen.
    Store(Box<Draft>),
}

impl Remotes {
    /// Reads the text of an `rclone.conf`.
    ///
    /// # Errors
    /// A sentence for people, without any value of the file.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.lines().any(|line| line.trim().starts_with(ENCRYPTED)) {
            return Err(
                "it is encrypted: take that off for a moment with `rclone config encryption remove`"
                    .to_owned(),
            );
        }
        let mut remotes: BTreeMap<String, Fields> = BTreeMap::new();
        let mut section: Option<&str> = None;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = Some(name);
                remotes.entry(name.to_owned()).or_default();
                continue;
            }
            let (Some(name), Some((field, value))) = (section, line.split_once('=')) else {
                return Err(format!("line {} is neither `[name]` nor `field = value`", at + 1));
            };
            let fields = remotes.entry(name.to_owned()).or_default();
            fields.insert(field.trim().to_owned(), value.trim().to_owned());
        }
        Ok(Self(remotes))
    }

    /// The names, each with its kind.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, fields)| (name.as_str(), fields.get("type").map_or("", String::as_str)))
    }

    /// Whether there is a remote of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Follows `remote:path`.
    ///
    /// # Errors
    /// A sentence for people, without any secret.
    pub fn follow(&self, remote: &str, path: &str) -> Result<Leads, String> {
        let (mut remote, mut path) = (remote.to_owned(), path.to_owned());
        for _ in 0..ALIASES_MAX {
            let fields = self.0.get(&remote).ok_or_else(|| self.unknown(&remote))?;
            let field = |name: &str| fields.get(name).map_or("", String::as_str);
            match field("type") {
                "local" => return Ok(Leads::Folder(path)),
                "alias" => {
                    let target = field("remote");
                    let below = path.trim_matches('/');
                    let whole = match (target, below) {
                        (_, "") => target.to_owned(),
                        (target, below) if target.ends_with([':', '/']) => format!("{target}{below}"),
                        _ => format!("{target}/{below}"),
                    };
                    match whole.split_once(':') {
                        Some((next, rest)) => (remote, path) = (next.to_owned(), rest.to_owned()),
                        None => return Ok(Leads::Folder(whole)),
                    }
                }
                _ => return draft(&remote, fields, &path).map(|draft| Leads::Store(Box::new(draft))),
            }
        }
        Err(format!("the aliases of remote `{remote}` lead in a circle"))
    }

    fn unknown(&self, remote: &str) -> String {
        let names: Vec<String> = self.0.keys().map(|name| format!("`{name}`")).collect();
        if names.is_empty() {
            return format!("there is no remote `{remote}`: give the `rclone.conf` with `--from`");
        }
        format!("there is no remote `{remote}`; there are {}", names.join(", "))
    }
}

fn draft(remote: &str, fields: &Fields, path: &str) -> Result<Draft, String> {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let kind = field("type");
    let mut draft = Draft::folder(String::new(), String::new());
    draft.options.clear();
    let (first, rest) = path
        .trim_matches('/')
        .split_once('/')
        .unwrap_or((path.trim_matches('/'), ""));
    let root = match kind {
        "s3" | "azureblob" | "google cloud storage" => {
            if first.is_empty() {
                return Err(format!(
                    "say which bucket of `{remote}`: `{remote}:BUCKET` or `{remote}:BUCKET/FOLDER`"
                ));
            }
            rest
        }
        _ => path.trim_end_matches('/'),
    };
    if !root.is_empty() {
        draft.options.insert("root", root.to_owned());
    }
    let prefix = variable_prefix(remote);
    match kind {
        "s3" => s3(&mut draft, fields, (first, &prefix)),
        "azureblob" => azblob(&mut draft, fields, (first, &prefix)),
        "google cloud storage" => {
            draft.kind = "Gcs";
            draft.options.insert("bucket", first.to_owned());
            draft.credentials = match field("service_account_file") {
                "" => Credentials::Env {
                    prefix,
                    endings: &["SERVICE_ACCOUNT"],
                },
                file => Credentials::File(at_home(file)),
            };
        }
        "webdav" => with_user(&mut draft, fields, ("Webdav", field("url").to_owned(), prefix)),
        "ftp" if field("tls") == "true" => {
            return Err(format!(
                "remote `{remote}` is FTP that begins with TLS; Domicile asks for TLS once it is connected (`explicit_tls`), \
                 mostly at port 21"
            ));
        }
        "ftp" if field("explicit_tls") == "true" => {
            with_user(&mut draft, fields, ("Ftp", host("ftps", fields), prefix));
        }
        "ftp" => with_user(&mut draft, fields, ("Ftp", host("ftp", fields), prefix)),
        "sftp" => sftp(&mut draft, fields, (remote, path))?,
        "http" => {
            draft.kind = "Http";
            draft.options.insert("endpoint", field("url").to_owned());
        }
        "" => return Err(format!("remote `{remote}` has no `type`")),
        other => {
            return Err(format!(
                "remote `{remote}` is of the type `{other}`, which Domicile has no driver for"
            ));
        }
    }
    Ok(draft)
}

fn s3(draft: &mut Draft, fields: &Fields, (bucket, prefix): (&str, &str)) {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    draft.kind = "S3";
    draft.options.insert("bucket", bucket.to_owned());
    match field("endpoint") {
        "" => {}
        whole if whole.contains("://") => {
            draft.options.insert("endpoint", whole.to_owned());
        }
        host => {
            draft.options.insert("endpoint", format!("https://{host}"));
        }
    }
    if !field("region").is_empty() {
        draft.options.insert("region", field("region").to_owned());
    }
    // rclone's word for "some server that speaks S3".
    if field("provider") != "Other" {
        draft.provider = super::manifest_name(field("provider"));
    }
    let (id, secret) = (field("access_key_id"), field("secret_access_key"));
    draft.credentials = if field("env_auth") == "true" {
        Credentials::Env {
            prefix: "AWS".to_owned(),
            endings: S3_KEYS,
        }
    } else if id.is_empty() || secret.is_empty() {
        Credentials::Env {
            prefix: prefix.to_owned(),
            endings: S3_KEYS,
        }
    } else {
        let mut kept = vec![
            ("access_key_id", id.to_owned()),
            ("secret_access_key", secret.to_owned()),
        ];
        if !field("session_token").is_empty() {
            kept.push(("session_token", field("session_token").to_owned()));
        }
        Credentials::Kept(kept)
    };
}

fn azblob(draft: &mut Draft, fields: &Fields, (container, prefix): (&str, &str)) {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    draft.kind = "Azblob";
    draft.options.insert("container", container.to_owned());
    if !field("endpoint").is_empty() {
        draft.options.insert("endpoint", field("endpoint").to_owned());
    }
    draft.credentials = match (field("account"), field("key")) {
        ("", _) | (_, "") => Credentials::Env {
            prefix: prefix.to_owned(),
            endings: &["ACCOUNT_NAME", "ACCOUNT_KEY"],
        },
        (account, key) => Credentials::Kept(vec![
            ("account_name", account.to_owned()),
            ("account_key", key.to_owned()),
        ]),
    };
}

/// A store with a user and a password, which rclone keeps obscured.
fn with_user(draft: &mut Draft, fields: &Fields, (kind, endpoint, prefix): (&'static str, String, String)) {
    draft.kind = kind;
    draft.options.insert("endpoint", endpoint);
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    if field("user").is_empty() {
        return;
    }
    if let Some(password) = revealed(field("pass")) {
        draft.credentials =
            Credentials::Kept(vec![("user", field("user").to_owned()), ("password", password)]);
        return;
    }
    let why = match field("pass") {
        "" => "the remote has no password",
        _ => "its password is not obscured as rclone does it",
    };
    draft
        .notes
        .push(format!("{why}: set {prefix}_PASSWORD to the plain one"));
    draft.credentials = Credentials::Env {
        prefix,
        endings: USER_KEYS,
    };
}

/// rclone begins a path without `/` at the user's home; here it begins at the root.
fn sftp(draft: &mut Draft, fields: &Fields, (remote, path): (&str, &str)) -> Result<(), String> {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    if !path.starts_with('/') {
        return Err(format!(
            "say the whole path on that machine, from its root: `{remote}:/data/folder`"
        ));
    }
    draft.kind = "Sftp";
    draft.options.insert("endpoint", host("sftp", fields));
    if !field("user").is_empty() {
        draft.options.insert("user", field("user").to_owned());
    }
    if !field("key_file").is_empty() {
        draft.credentials = Credentials::File(at_home(field("key_file")));
    }
    draft.notes.push(
        "SFTP goes through this machine's own ssh: a key must let you in, for passwords cannot be used, and ssh must know \
         the server"
            .to_owned(),
    );
    Ok(())
}

/// A path that may begin at the user's home, as rclone lets it.
fn at_home(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{}/{rest}", home.trim_end_matches('/')),
        _ => path.to_owned(),
    }
}

fn host(scheme: &str, fields: &Fields) -> String {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let port = match field("port") {
        "" => String::new(),
        port => format!(":{port}"),
    };
    format!("{scheme}://{}{port}", field("host"))
}

/// What variables of a backend begin with.
pub fn variable_prefix(name: &str) -> String {
    let letters = name.chars().map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    });
    let prefix: String = letters.collect();
    if prefix.starts_with(|c: char| c.is_ascii_digit()) {
        return format!("B_{prefix}");
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = "\
# a comment
[alpha]
type = s3
provider = SeaweedFS
access_key_id = AKIA
secret_access_key = s=cret/with=signs
endpoint = http://127.0.0.1:8333

[photos]
type = alias
remote = alpha:pictures/2024

[here]
type = local

[round]
type = alias
remote = round:x

[cloud]
type = webdav
url = https://dav.example.org/files
user = anna
pass = obscured-and-not-to-be-seen

[drive]
type = drive

[cluster]
type = sftp
host = login.example.org
user = anna
port = 2222
key_file = /keys/id

[old]
type = ftp
host = ftp.example.org
user = anna
pass = obscured-and-not-to-be-seen

[site]
type = http
url = https://data.example.org/files
";

    fn store(path: (&str, &str)) -> Draft {
        match Remotes::read(CONF).unwrap().follow(path.0, path.1).unwrap() {
            Leads::Store(draft) => *draft,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bucket_is_reached_directly_and_by_an_alias() {
        let direct = store(("alpha", "pictures/2024/summer/"));
        assert_eq!(direct.kind, "S3");
        let option = |name| direct.options.get(name).map(String::as_str);
        assert_eq!(option("bucket"), Some("pictures"));
        assert_eq!(option("root"), Some("2024/summer"));
        assert_eq!(option("endpoint"), Some("http://127.0.0.1:8333"));
        let keys = Credentials::Kept(vec![
            ("access_key_id", "AKIA".to_owned()),
            ("secret_access_key", "s=cret/with=signs".to_owned()),
        ]);
        assert_eq!(direct.credentials, keys);
        assert_eq!(store(("photos", "summer")), direct);
    }

    #[test]
    fn a_password_that_is_not_obscured_is_not_taken_over() {
        let draft = store(("cloud", "backup"));
        assert_eq!(draft.variables(), ["CLOUD_USER", "CLOUD_PASSWORD"]);
        assert!(!format!("{draft:?}").contains("obscured-and-not-to-be-seen"));
    }

    #[test]
    fn folders_on_other_machines() {
        let cluster = store(("cluster", "/scratch/anna"));
        let options = [
            ("endpoint", "sftp://login.example.org:2222"),
            ("root", "/scratch/anna"),
            ("user", "anna"),
        ];
        assert_eq!(cluster.options, options.map(|(k, v)| (k, v.to_owned())).into());
        assert_eq!(cluster.credentials, Credentials::File("/keys/id".to_owned()));
        let old = store(("old", "data"));
        assert_eq!(
            (old.kind, old.options["endpoint"].as_str()),
            ("Ftp", "ftp://ftp.example.org")
        );
        assert_eq!(old.variables(), ["OLD_USER", "OLD_PASSWORD"]);
        assert_eq!(store(("site", "")).kind, "Http");
        for draft in [cluster, old] {
            assert!(draft.is_supported(), "{draft:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let remotes = Remotes::read(CONF).unwrap();
        let refused = |remote: &str, path: &str| remotes.follow(remote, path).unwrap_err();
        assert!(refused("alpha", "/").contains("say which bucket"));
        assert!(refused("drive", "x").contains("`drive`"));
        assert!(refused("cluster", "scratch").contains("whole path"));
        assert!(refused("round", "").contains("circle"));
        assert!(refused("beta", "x").contains("`alpha`"));
        assert_eq!(
            remotes.follow("here", "/srv/data"),
            Ok(Leads::Folder("/srv/data".to_owned()))
        );
        assert!(
            Remotes::read("RCLONE_ENCRYPT_V0:\nabc")
                .unwrap_err()
                .contains("encrypted")
        );
        assert!(Remotes::read("[a]\nno field").unwrap_err().contains("line 2"));
    }

    #[test]
    fn variables_have_names_that_a_shell_takes() {
        assert_eq!(variable_prefix("my-s3.remote"), "MY_S3_REMOTE");
        assert_eq!(variable_prefix("1und1"), "B_1UND1");
    }
}
