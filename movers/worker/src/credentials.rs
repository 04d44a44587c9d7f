//! Credentials: found where a manifest says, used to open a store, and never shown.

use std::collections::BTreeMap;
use std::fmt;

use domicile_estate::{Backend, CredentialsRef, StoreKind};

/// Where the values of credentials come from.
#[derive(Clone, Default)]
pub struct CredentialValues {
    /// Variables given instead of the process's environment.
    given: Option<BTreeMap<String, String>>,
}

impl fmt::Debug for CredentialValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.given.is_some() {
            "CredentialValues(given)"
        } else {
            "CredentialValues(environment)"
        })
    }
}

impl CredentialValues {
    /// Values are read from the process's environment and from files, when a store is first used.
    #[must_use]
    pub fn from_environment() -> Self {
        Self { given: None }
    }

    /// Variables are read from this map instead of the environment; files are still files.
    #[must_use]
    pub fn given(variables: BTreeMap<String, String>) -> Self {
        Self {
            given: Some(variables),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        let value = match &self.given {
            Some(given) => given.get(name).cloned(),
            None => std::env::var(name).ok(),
        };
        value.filter(|value| !value.is_empty())
    }
}

/// The keys to one store.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    /// The key's id, the account or the user.
    pub access_key_id: String,
    /// The secret, the account's key or the password.
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    /// Every text that must never be shown.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        [
            Some(&self.access_key_id),
            Some(&self.secret_access_key),
            self.session_token.as_ref(),
        ]
        .into_iter()
        .flatten()
        .map(String::as_str)
    }
}

/// What the two halves of a store's keys are called, in files; variables have them in capitals.
fn names(kind: StoreKind) -> (&'static str, &'static str) {
    match kind {
        StoreKind::Azblob => ("account_name", "account_key"),
        StoreKind::Webdav | StoreKind::Ftp | StoreKind::Http => ("user", "password"),
        _ => ("access_key_id", "secret_access_key"),
    }
}

/// The keys that a backend's manifest points at; `None` where it names none. The error is a sentence for people
/// which has names of variables and files in it, never a value.
pub(crate) fn resolve(backend: &Backend, values: &CredentialValues) -> Result<Option<Keys>, String> {
    let names = names(backend.store.kind);
    match &backend.credentials {
        None => Ok(None),
        Some(CredentialsRef::Env(prefix)) => from_variables(prefix, names, values).map(Some),
        Some(CredentialsRef::File(path)) => from_file(path, names).map(Some),
        Some(CredentialsRef::Secret(name)) => Err(secret_refused(name)),
    }
}

/// The same for a store whose credentials are one document, such as the key of a service account.
pub(crate) fn resolve_document(
    backend: &Backend,
    suffix: &str,
    values: &CredentialValues,
) -> Result<Option<String>, String> {
    match &backend.credentials {
        None => Ok(None),
        Some(CredentialsRef::Env(prefix)) => wanted(prefix, suffix, values).map(Some),
        Some(CredentialsRef::File(path)) => read_file(path).map(Some),
        Some(CredentialsRef::Secret(name)) => Err(secret_refused(name)),
    }
}

fn secret_refused(name: &str) -> String {
    format!(
        "its credentials are the Kubernetes secret `{name}`, which can be read on Kubernetes only: here, use \
         `credentials: {{env: …}}` or `{{file: …}}`"
    )
}

fn wanted(prefix: &str, suffix: &str, values: &CredentialValues) -> Result<String, String> {
    let name = format!("{prefix}_{suffix}");
    values
        .variable(&name)
        .ok_or_else(|| format!("the environment variable `{name}` is not set: set it"))
}

fn from_variables(
    prefix: &str,
    (id, secret): (&str, &str),
    values: &CredentialValues,
) -> Result<Keys, String> {
    Ok(Keys {
        access_key_id: wanted(prefix, &id.to_ascii_uppercase(), values)?,
        secret_access_key: wanted(prefix, &secret.to_ascii_uppercase(), values)?,
        session_token: values.variable(&format!("{prefix}_SESSION_TOKEN")),
    })
}

fn read_file(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the credentials file `{path}`: {}", error.kind()))
}

fn from_file(path: &str, (id, secret): (&str, &str)) -> Result<Keys, String> {
    let text = read_file(path)?;
    let mut fields = parse_fields(&text);
    let mut wanted = |name: &str| {
        fields.remove(name).ok_or_else(|| {
            format!("the credentials file `{path}` has no `{name}`: write a line `{name} = …`")
        })
    };
    let access_key_id = wanted(id)?;
    let secret_access_key = wanted(secret)?;
    Ok(Keys {
        access_key_id,
        secret_access_key,
        session_token: fields.remove("session_token"),
    })
}

/// Fields of a flat JSON object, or of lines `name = value`; section headers and comments are passed over, and
/// the `aws_` that AWS's own files begin names with is dropped.
fn parse_fields(text: &str) -> BTreeMap<String, String> {
    let plain = |name: &str| {
        let name = name.trim().to_ascii_lowercase();
        name.strip_prefix("aws_").map_or(name.clone(), str::to_owned)
    };
    if text.trim_start().starts_with('{') {
        let json: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
        return json
            .into_iter()
            .filter_map(|(name, value)| Some((plain(&name), value.as_str()?.to_owned())))
            .collect();
    }
    text.lines()
        .filter(|line| !line.trim_start().starts_with(['#', ';', '[']))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (plain(name), value.trim().trim_matches('"').to_owned()))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_may_be_lines_or_json() {
        let lines =
            "# note\n[default]\naws_access_key_id = id\nsecret_access_key=\"s=e+c/r\"\nsession_token =\n";
        let json = r#"{"access_key_id": "id", "secret_access_key": "s=e+c/r", "n": 1}"#;
        for text in [lines, json] {
            let fields = parse_fields(text);
            assert_eq!(fields.get("access_key_id").map(String::as_str), Some("id"));
            assert_eq!(
                fields.get("secret_access_key").map(String::as_str),
                Some("s=e+c/r")
            );
            assert_eq!(fields.get("session_token"), None);
        }
    }

    #[test]
    fn a_missing_variable_is_named_and_no_value_is_shown() {
        let values = CredentialValues::given(BTreeMap::from([(
            "G_ACCESS_KEY_ID".to_owned(),
            "AKIA-seen".to_owned(),
        )]));
        let error = from_variables("G", names(StoreKind::S3), &values).unwrap_err();
        assert!(error.contains("`G_SECRET_ACCESS_KEY`"), "{error}");
        assert!(!error.contains("AKIA-seen") && !format!("{values:?}").contains("AKIA-seen"));
    }

    #[test]
    fn keys_do_not_debug_themselves() {
        let keys = Keys {
            access_key_id: "id".into(),
            secret_access_key: "hush".into(),
            session_token: Some("token".into()),
        };
        assert_eq!(format!("{keys:?}"), "Keys(…)");
        assert_eq!(keys.secrets().count(), 3);
    }
}
