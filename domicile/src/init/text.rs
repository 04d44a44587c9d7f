//! Manifests as text with comments, so that the first estate also explains itself.

use domicile_estate::ByteCount;

use super::draft::{Credentials, Draft};

const HEAD: &str = "apiVersion: domicile.dev/v1alpha1\n";

/// Who offers the backends and owns the data.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The domain's name.
    pub domain: String,
    /// The country whose law it answers to.
    pub country: String,
}

/// What a backend is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Data lies there that is to be kept safe: it is read and never written.
    Data,
    /// Copies may be made there.
    Copies,
}

/// A text that YAML takes as it is: JSON is YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The domain.
pub fn domain(owner: &Owner) -> String {
    format!(
        "# Who you are. A domain is an organisation that keeps control of its own storage.\n\
         {HEAD}kind: Domain\n\
         metadata: {{name: {}}}\n\
         spec:\n  \
           jurisdiction: {}            # the law that you answer to: an ISO 3166-1 country code\n  \
           # title: Your organisation's name\n  \
           # admission:                # what you agree to hold for others; nothing here means everything\n  \
           #   - {{name: open-only, when: \"dataset.labels['sensitivity'] != 'restricted'\"}}\n",
        owner.domain,
        quoted(&owner.country)
    )
}

/// A backend.
pub fn backend(owner: &Owner, draft: &Draft, role: Role, capacity: ByteCount) -> String {
    let what = match role {
        Role::Data => "Data that is kept safe: it is read where it lies, and never written.",
        Role::Copies => "A place for copies.",
    };
    let mut text = format!("# {what}\n");
    for note in &draft.notes {
        text.push_str(&format!("# Note: {note}.\n"));
    }
    let options = draft.options.iter();
    let options: String = options
        .map(|(name, value)| format!(", {name}: {}", quoted(value)))
        .collect();
    text.push_str(&format!(
        "{HEAD}kind: Backend\nmetadata: {{name: {}}}\nspec:\n  domain: {}\n",
        draft.name, owner.domain
    ));
    match draft.root_folder() {
        Some(_) => text.push_str(&format!(
            "  location: {{country: {}}}    # where the disks are; a zone or region may be added\n",
            quoted(&owner.country)
        )),
        None if draft.provider.is_empty() => {
            text.push_str("  # location: {country: DE, provider: who-runs-it}    # where the disks are; policies ask for it\n");
        }
        None => text.push_str(&format!(
            "  location: {{provider: {}}}    # add `country: …`: where the disks are; policies ask for it\n",
            draft.provider
        )),
    }
    text.push_str(&format!("  store: {{type: {}{options}}}\n", draft.kind));
    match &draft.credentials {
        Credentials::None => {}
        Credentials::Env { prefix, .. } => text.push_str(&format!(
            "  credentials: {{env: {prefix}}}    # from the variables {}\n",
            draft.variables().join(" and ")
        )),
        Credentials::Kept(_) => text.push_str(&format!(
            "  credentials: {{file: {}}}    # keep that file to yourself\n",
            quoted(&format!("./{}", draft.kept_file().unwrap_or_default()))
        )),
        Credentials::File(path) => text.push_str(&format!("  credentials: {{file: {}}}\n", quoted(path))),
    }
    let gib = (capacity.0 >> 30).max(1);
    match role {
        Role::Data => text.push_str(&format!("  accessMode: ReadOnly\n  capacity: {gib}Gi\n")),
        Role::Copies => text.push_str(&format!(
            "  capacity: {gib}Gi    # how much may lie there; less is fine\n  \
             # price: {{currency: EUR, storagePerGiBMonth: \"0.005\"}}    # with prices the cheapest places are chosen\n"
        )),
    }
    text
}

/// The dataset that is the whole of a backend.
pub fn dataset(owner: &Owner, draft: &Draft) -> String {
    format!(
        "# A named set of objects, placed as one. Labels are what policies select by.\n\
         {HEAD}kind: Dataset\n\
         metadata: {{name: {0}, labels: {{keep: copies}}}}\n\
         spec:\n  \
           domain: {1}\n  \
           title: {2}\n  \
           origin: {{backend: {0}, prefix: \"\"}}    # where it lies now; it stays there and is not changed\n  \
           keepOrigin: true                     # false: the origin, too, may go once there are enough copies\n",
        draft.name,
        owner.domain,
        quoted(&format!("What lies in {}", draft.name))
    )
}

/// The policy: so many copies.
pub fn policy(copies: usize) -> String {
    format!(
        "# What ought to be. Several policies may select the same dataset: all of them hold together.\n\
         {HEAD}kind: ReplicationPolicy\n\
         metadata: {{name: copies}}\n\
         spec:\n  \
           selector: {{matchLabels: {{keep: copies}}}}\n  \
           require:\n    \
             - name: enough\n      \
               copies: {copies}                 # in all; the origin counts as one\n      \
               # spread: [{{across: domain, groups: 2}}]    # not all with one organisation\n  \
           # confine:                    # where nothing may ever lie\n  \
           #   - {{name: eu-soil-and-law, key: jurisdiction, operator: In, values: [EU]}}\n"
    )
}

/// The file that keeps what stood in the `rclone.conf`.
pub fn kept(draft: &Draft) -> Option<String> {
    let Credentials::Kept(fields) = &draft.credentials else {
        return None;
    };
    // Lines lose blanks and quotes at the ends of a value; JSON keeps every password as it is.
    let is_plain = |value: &str| value.trim() == value && value.trim_matches('"') == value;
    if fields.iter().any(|(_, value)| !is_plain(value)) {
        let object = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_str().into()));
        return Some(format!("{:#}\n", serde_json::Value::Object(object.collect())));
    }
    let lines = fields.iter().map(|(name, value)| format!("{name} = {value}\n"));
    Some(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_as_it_was() {
        let kept_with = |password: &str| {
            let mut draft = Draft::folder("cloud".to_owned(), String::new());
            let fields = vec![("user", "anna".to_owned()), ("password", password.to_owned())];
            draft.credentials = Credentials::Kept(fields);
            kept(&draft).unwrap()
        };
        assert_eq!(kept_with("a=b \" c"), "user = anna\npassword = a=b \" c\n");
        for password in [" with blanks ", "\"quoted\"", "ends with \""] {
            let json: serde_json::Value = serde_json::from_str(&kept_with(password)).unwrap();
            assert_eq!(
                (json["user"].as_str(), json["password"].as_str()),
                (Some("anna"), Some(password))
            );
        }
    }
}
