//! Manifests as text, so that a scenario says only what it is about.

const HEAD: &str = "apiVersion: domicile.dev/v1alpha1\n";

/// A domain.
#[must_use]
pub fn domain(name: &str, country: &str) -> String {
    format!(
        "{HEAD}kind: Domain\nmetadata: {{name: {name}}}\nspec: {{title: The domain {name}, jurisdiction: {country}}}\n---\n"
    )
}

/// A backend of a store that is given in YAML flow style; `more` are further lines of its spec.
#[must_use]
pub fn backend(name: &str, domain: &str, country: &str, store: &str, more: &[&str]) -> String {
    let mut text = format!(
        "{HEAD}kind: Backend\nmetadata: {{name: {name}, labels: {{store: {name}}}}}\nspec:\n  domain: {domain}\n  \
         location: {{country: {country}, provider: {domain}}}\n  store: {store}\n"
    );
    if !more.iter().any(|line| line.starts_with("capacity:")) {
        text.push_str("  capacity: 10Gi\n");
    }
    for line in more {
        text.push_str(&format!("  {line}\n"));
    }
    text + "---\n"
}

/// A backend in a folder `stores/<name>` of the estate.
#[must_use]
pub fn folder(name: &str, domain: &str, country: &str, more: &[&str]) -> String {
    backend(
        name,
        domain,
        country,
        &format!("{{type: Fs, root: ../stores/{name}}}"),
        more,
    )
}

/// A price per GiB and month as a line of a backend's spec.
#[must_use]
pub fn price(per_gib_month: &str) -> String {
    format!("price: {{currency: EUR, storagePerGiBMonth: \"{per_gib_month}\"}}")
}

/// A dataset that lies in a folder of its own name on a backend; `more` are further lines of its spec.
#[must_use]
pub fn dataset(name: &str, domain: &str, origin: &str, more: &[&str]) -> String {
    let mut text = format!(
        "{HEAD}kind: Dataset\nmetadata: {{name: {name}, labels: {{set: {name}}}}}\nspec:\n  domain: {domain}\n  \
         title: The dataset {name}\n  origin: {{backend: {origin}, prefix: {name}/}}\n"
    );
    for line in more {
        text.push_str(&format!("  {line}\n"));
    }
    text + "---\n"
}

/// A policy for every dataset, given as lines of its spec.
#[must_use]
pub fn policy(name: &str, lines: &[&str]) -> String {
    let mut text = format!("{HEAD}kind: ReplicationPolicy\nmetadata: {{name: {name}}}\nspec:\n");
    if !lines.iter().any(|line| line.starts_with("selector:")) {
        text.push_str("  selector: {matchAll: true}\n");
    }
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
    text + "---\n"
}

/// A policy that wants so many copies of every dataset.
#[must_use]
pub fn copies(count: usize) -> String {
    policy(
        "copies",
        &[&format!("require: [{{name: enough, copies: {count}}}]")],
    )
}

/// One domain `home` in Germany, its read-only backend `origin`, and further backends in folders, the first the cheapest.
#[must_use]
pub fn home(backends: &[&str]) -> String {
    let mut text =
        domain("home", "DE") + &folder("origin", "home", "DE", &["accessMode: ReadOnly", &price("0.03")]);
    for (at, name) in backends.iter().enumerate() {
        text.push_str(&folder(name, "home", "DE", &[&price(&format!("0.0{}", at + 10))]));
    }
    text
}
