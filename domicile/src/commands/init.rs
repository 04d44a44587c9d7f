//! `init`: the first folder of manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use domicile_estate::{Backend, BackendName, ByteCount};
use domicile_policies::Source;
use domicile_worker::{CredentialValues, Limits, Stores, Worker};
use serde_json::json;

use crate::answer;
use crate::cli::{Global, InitArgs};
use crate::init::{self, Credentials, Draft, Owner, Place, Remotes, Role};
use crate::outcome::{Outcome, Refusal};
use crate::{reading, terminal};

/// How long a store may take to say whether something lies there.
const LOOK: Duration = Duration::from_secs(20);
/// What a backend may hold of which nobody said how large it is.
const UNKNOWN_CAPACITY: ByteCount = ByteCount(1 << 40);
/// Copies that are wanted where nobody says how many.
const COPIES: usize = 2;

/// What the user wants, asked or given.
#[derive(Debug, Default)]
struct Wanted {
    data: Vec<String>,
    places: Vec<String>,
    country: String,
}

/// One backend and what it is for.
struct Chosen {
    draft: Draft,
    role: Role,
    capacity: ByteCount,
    /// What a look at it found.
    found: String,
}

/// `init`.
pub async fn init(global: &Global, args: &InitArgs) -> anyhow::Result<Outcome> {
    refuse_occupied(&args.folder)?;
    let remotes = remotes(args)?;
    let wanted = wanted(args, &remotes)?;
    let owner = Owner {
        domain: args.domain.clone(),
        country: wanted.country.to_ascii_uppercase(),
    };
    let places = places(&wanted, &remotes)?;
    let mut chosen = choose(&owner, places).await?;
    let (used, unusable): (Vec<Chosen>, Vec<Chosen>) =
        chosen.drain(..).partition(|chosen| chosen.draft.is_supported());
    anyhow::ensure!(
        used.iter().any(|chosen| chosen.role == Role::Data),
        "nothing that you named holds data to keep safe: name it with `--data`"
    );
    let files = files(&owner, args, &used, &unusable);
    check(global, &args.folder, &files)?;
    write(&args.folder, &files)?;
    tell(global, args, &used, &unusable)
}

/// A folder with manifests in it is somebody's work.
fn refuse_occupied(folder: &Path) -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    let manifest = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        matches!(ending, Some("yaml" | "yml" | "json"))
    };
    let found = entries.flatten().map(|entry| entry.path()).find(manifest);
    match found {
        Some(found) => anyhow::bail!(
            "there are manifests in `{}` already, such as `{}`: name another folder",
            folder.display(),
            found.display()
        ),
        None => Ok(()),
    }
}

fn remotes(args: &InitArgs) -> anyhow::Result<Remotes> {
    let Some(path) = &args.from else {
        return Ok(Remotes::default());
    };
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("`{shown}` could not be read"))?;
    Remotes::read(&text)
        .map_err(|reason| anyhow::anyhow!("`{shown}` is no `rclone.conf` that can be used: {reason}"))
}

/// What was given, and what is asked where somebody can answer.
fn wanted(args: &InitArgs, remotes: &Remotes) -> anyhow::Result<Wanted> {
    let mut wanted = Wanted {
        data: args.data.clone(),
        places: args.backend.clone(),
        country: args.country.clone().or_else(locale_country).unwrap_or_default(),
    };
    let complete = !(wanted.data.is_empty() && wanted.places.is_empty());
    if complete && !wanted.country.is_empty() {
        return Ok(wanted);
    }
    if terminal::can_ask() {
        ask(
            &mut wanted,
            remotes,
            &mut std::io::stdin().lock(),
            &mut std::io::stderr(),
        )?;
    }
    if wanted.data.is_empty() && wanted.places.is_empty() {
        let names: Vec<String> = remotes
            .names()
            .map(|(name, kind)| format!("{name} ({kind})"))
            .collect();
        let hint = if names.is_empty() {
            "`--data /folder --backend s3://bucket`".to_owned()
        } else {
            format!(
                "`--data /folder --backend REMOTE:PATH`; the remotes are {}",
                names.join(", ")
            )
        };
        return Err(Refusal::usage(format!(
            "say where the data lies and where copies may lie: {hint}"
        )));
    }
    if wanted.country.is_empty() {
        return Err(Refusal::usage(
            "say whose law you answer to, by its country code: `--country DE`",
        ));
    }
    Ok(wanted)
}

/// The country of the user's language setting, such as `de_DE.UTF-8`.
fn locale_country() -> Option<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL")
        .or_else(|| set("LC_MESSAGES"))
        .or_else(|| set("LANG"))?;
    let (_, rest) = locale.split_once('_')?;
    let country: String = rest.chars().take_while(char::is_ascii_uppercase).collect();
    (country.len() == 2).then_some(country)
}

/// Asks for what is missing. An empty answer ends a list.
fn ask(
    wanted: &mut Wanted,
    remotes: &Remotes,
    from: &mut dyn BufRead,
    to: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut line = |to: &mut dyn Write, question: &str| -> anyhow::Result<String> {
        write!(to, "{question} ")?;
        to.flush()?;
        let mut text = String::new();
        from.read_line(&mut text)?;
        Ok(text.trim().to_owned())
    };
    if wanted.data.is_empty() && wanted.places.is_empty() {
        writeln!(
            to,
            "A place is a folder, `s3://bucket/prefix`, or `remote:path` of your rclone.conf."
        )?;
        for (name, kind) in remotes.names() {
            writeln!(to, "  remote {name}: ({kind})")?;
        }
        for (question, list) in [
            (
                "Where does data lie that you want to keep safe? (empty: no more)",
                &mut wanted.data,
            ),
            ("Where may copies of it lie? (empty: no more)", &mut wanted.places),
        ] {
            loop {
                let place = line(to, question)?;
                if place.is_empty() {
                    break;
                }
                match Place::read(&place, remotes) {
                    Ok(_) => list.push(place),
                    Err(reason) => writeln!(to, "  {reason}")?,
                }
            }
        }
    }
    while wanted.country.is_empty() {
        let country = line(to, "Whose law do you answer to? (country code, such as DE)")?;
        if country.is_empty() {
            break;
        }
        match domicile_estate::country(&country.to_ascii_uppercase()) {
            Ok(_) => wanted.country = country,
            Err(reason) => writeln!(to, "  {reason}")?,
        }
    }
    Ok(())
}

/// The places, each with what it was named for, if the user said so; every name once.
fn places(wanted: &Wanted, remotes: &Remotes) -> anyhow::Result<Vec<(Place, Option<Role>)>> {
    let of_copies = (!wanted.data.is_empty()).then_some(Role::Copies);
    let named = wanted.data.iter().map(|place| (place, Some(Role::Data)));
    let named = named.chain(wanted.places.iter().map(|place| (place, of_copies)));
    let mut places = Vec::new();
    let mut names = BTreeSet::new();
    for (named, role) in named {
        let mut place =
            Place::read(named, remotes).map_err(|reason| Refusal::usage(format!("`{named}`: {reason}")))?;
        if place.draft.name.is_empty() {
            place.draft.name = "place".to_owned();
        }
        let first = place.draft.name.clone();
        let mut next = 2;
        while !names.insert(place.draft.name.clone()) {
            place.draft.name = format!("{first}-{next}");
            next += 1;
        }
        use_own_variables(&mut place.draft);
        places.push((place, role));
    }
    Ok(places)
}

/// Where the variables of the name are not set and those of AWS are, these are meant.
fn use_own_variables(draft: &mut Draft) {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let unset = draft.variables().iter().any(|name| !is_set(name));
    if let Credentials::Env { prefix, .. } = &mut draft.credentials
        && draft.kind == "S3"
        && unset
        && is_set("AWS_ACCESS_KEY_ID")
        && is_set("AWS_SECRET_ACCESS_KEY")
    {
        *prefix = "AWS".to_owned();
    }
}

/// Looks at each place. Where the user did not say what it is for, what holds something is data, and the rest is for
/// copies.
async fn choose(owner: &Owner, places: Vec<(Place, Option<Role>)>) -> anyhow::Result<Vec<Chosen>> {
    let mut chosen = Vec::new();
    for (place, role) in places {
        let draft = place.draft;
        let holds = if draft.is_supported() {
            holds_something(owner, &draft).await
        } else {
            Err("this version has no driver for it".to_owned())
        };
        let role = role.unwrap_or(match holds {
            Ok(true) => Role::Data,
            _ => Role::Copies,
        });
        anyhow::ensure!(
            role == Role::Data || !draft.is_read_only(),
            "`{}` can only be read: name it with `--data`, and another place for the copies",
            place.named
        );
        let found = match &holds {
            Ok(true) => "reached, something lies there".to_owned(),
            Ok(false) => "reached, empty or yet to be made".to_owned(),
            Err(reason) => format!("not reached: {reason}"),
        };
        if role == Role::Data && holds == Ok(false) {
            anyhow::bail!("`{}` is named as data, and nothing lies there", place.named);
        }
        let capacity = draft.root_folder().and_then(room_at).unwrap_or(UNKNOWN_CAPACITY);
        chosen.push(Chosen {
            draft,
            role,
            capacity,
            found,
        });
    }
    Ok(chosen)
}

/// The size of the file system that a folder lies on, or will.
fn room_at(folder: &str) -> Option<ByteCount> {
    let there = Path::new(folder).ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    stat.f_blocks.checked_mul(stat.f_frsize).map(ByteCount)
}

/// Whether something lies in a place; the reason if it cannot be reached.
async fn holds_something(owner: &Owner, draft: &Draft) -> Result<bool, String> {
    let mut variables: BTreeMap<String, String> = std::env::vars().collect();
    let mut tried = draft.clone();
    if let Credentials::Kept(fields) = &draft.credentials {
        // They are not written yet.
        let prefix = "DOMICILE_INIT";
        variables.extend(
            fields
                .iter()
                .map(|(name, value)| (format!("{prefix}_{}", name.to_ascii_uppercase()), value.clone())),
        );
        tried.credentials = Credentials::Env {
            prefix: prefix.to_owned(),
            endings: &[],
        };
    }
    let backend = built(owner, &tried)?;
    let stores = Stores::open(&[&backend], CredentialValues::given(variables));
    let worker = Worker::new(stores, Limits::default());
    match tokio::time::timeout(LOOK, worker.probe(&backend.name, false, true)).await {
        Ok(Ok(report)) => Ok(report.holds_something),
        Ok(Err(failure)) => Err(failure.message),
        Err(_) => Err(format!("no answer within {} seconds", LOOK.as_secs())),
    }
}

/// The backend as its manifest will read.
fn built(owner: &Owner, draft: &Draft) -> Result<Backend, String> {
    let text = format!(
        "{}---\n{}",
        init::domain(owner),
        init::backend(owner, draft, Role::Copies, UNKNOWN_CAPACITY)
    );
    let source = Source {
        name: draft.name.clone(),
        text,
        folder: "/".to_owned(),
        stored: false,
    };
    let manifests = domicile_policies::read(&[source]).map_err(|mistakes| {
        let words = mistakes.iter().map(|mistake| mistake.message.clone());
        words.collect::<Vec<_>>().join("; ")
    })?;
    let name = BackendName::new(&draft.name).map_err(|error| error.to_string())?;
    let backend = manifests.backends.get(&name).cloned();
    backend.ok_or_else(|| "its manifest could not be read".to_owned())
}

/// One file to be written.
struct NewFile {
    name: String,
    text: String,
    /// Whether only its owner may read it.
    secret: bool,
}

fn files(owner: &Owner, args: &InitArgs, used: &[Chosen], unusable: &[Chosen]) -> Vec<NewFile> {
    let write = |chosen: &Chosen| init::backend(owner, &chosen.draft, chosen.role, chosen.capacity);
    let mut backends: Vec<String> = used.iter().map(write).collect();
    for chosen in unusable {
        let text = write(chosen);
        let commented: String = text.lines().map(|line| format!("# {line}\n")).collect();
        backends.push(format!(
            "# This version of Domicile has no driver for `{}` yet:\n{commented}",
            chosen.draft.kind
        ));
    }
    let data = used.iter().filter(|chosen| chosen.role == Role::Data);
    let datasets: Vec<String> = data.map(|chosen| init::dataset(owner, &chosen.draft)).collect();
    let plain = |name: &str, text: String| NewFile {
        name: name.to_owned(),
        text,
        secret: false,
    };
    let mut files = vec![
        plain("domain.yaml", init::domain(owner)),
        plain("backends.yaml", joined(&backends)),
        plain("datasets.yaml", joined(&datasets)),
        plain(
            "policies.yaml",
            init::policy(args.copies.unwrap_or_else(|| copies(used))),
        ),
    ];
    for chosen in used {
        if let (Some(name), Some(text)) = (chosen.draft.kept_file(), init::kept(&chosen.draft)) {
            files.push(NewFile {
                name,
                text,
                secret: true,
            });
        }
    }
    if files.iter().any(|file| file.secret) {
        files.push(plain(".gitignore", "# Credentials.\n*.keys\n".to_owned()));
    }
    files
}

/// As many copies as are usual, if there is room for them.
fn copies(used: &[Chosen]) -> usize {
    let places = used.iter().filter(|chosen| chosen.role == Role::Copies).count();
    (1 + places).min(COPIES)
}

/// Documents after each other. One that is a comment as a whole needs no line between.
fn joined(documents: &[String]) -> String {
    let mut text = String::new();
    for document in documents {
        let is_comment = document.lines().all(|line| line.starts_with('#'));
        if !text.is_empty() {
            text.push_str(if is_comment { "\n" } else { "---\n" });
        }
        text.push_str(document);
    }
    text
}

/// Reads what is about to be written: a mistake in it is told before anything is there.
fn check(global: &Global, folder: &Path, files: &[NewFile]) -> anyhow::Result<()> {
    let absolute = std::path::absolute(folder)?;
    let manifests = files.iter().filter(|file| file.name.ends_with(".yaml"));
    let sources: Vec<Source> = manifests
        .map(|file| Source {
            name: file.name.clone(),
            text: file.text.clone(),
            folder: absolute.to_string_lossy().into_owned(),
            stored: false,
        })
        .collect();
    reading::manifests(global, &sources).map(|_| ())
}

fn write(folder: &Path, files: &[NewFile]) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("the folder `{}` could not be made", folder.display()))?;
    for file in files {
        let path = folder.join(&file.name);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        options.mode(if file.secret { 0o600 } else { 0o644 });
        let written = options
            .open(&path)
            .and_then(|mut open| open.write_all(file.text.as_bytes()));
        written.with_context(|| format!("`{}` could not be written", path.display()))?;
    }
    Ok(())
}

fn tell(global: &Global, args: &InitArgs, used: &[Chosen], unusable: &[Chosen]) -> anyhow::Result<Outcome> {
    let folder = args.folder.display();
    let role = |chosen: &Chosen| match chosen.role {
        Role::Data => "data",
        Role::Copies => "copies",
    };
    let row = |chosen: &Chosen| {
        json!({
            "backend": chosen.draft.name, "type": chosen.draft.kind, "for": role(chosen), "found": chosen.found,
            "variables": chosen.draft.variables(),
        })
    };
    let rows: Vec<_> = used.iter().map(row).collect();
    let document = json!({"folder": folder.to_string(), "backends": rows});
    if !answer::structured(global.output, &document, &rows)? {
        let mut text = format!("{folder}: {} backends\n", used.len());
        for chosen in used {
            text.push_str(&format!(
                "  {} ({}, for {}): {}\n",
                chosen.draft.name,
                chosen.draft.kind,
                role(chosen),
                chosen.found
            ));
        }
        terminal::answer(&text);
    }
    for chosen in unusable {
        let text = format!(
            "`{}` is written as a comment: this version has no driver for `{}`",
            chosen.draft.name, chosen.draft.kind
        );
        terminal::say(global, &text);
    }
    let is_set = |name: &String| std::env::var_os(name).is_some();
    let variables: BTreeSet<String> = used.iter().flat_map(|chosen| chosen.draft.variables()).collect();
    for variable in variables.iter().filter(|name| !is_set(name)) {
        terminal::say(global, &format!("set the variable {variable}"));
    }
    for chosen in used.iter().filter(|chosen| !chosen.draft.notes.is_empty()) {
        terminal::say(
            global,
            &format!("{}: {}", chosen.draft.name, chosen.draft.notes.join("; ")),
        );
    }
    if !used.iter().any(|chosen| chosen.role == Role::Copies) {
        terminal::say(
            global,
            "no place for copies yet: `--backend` names one, or write it into backends.yaml",
        );
    }
    terminal::say(global, &format!("next: domicile plan -f {folder}"));
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_gives_places_and_a_country() {
        let mut wanted = Wanted::default();
        let answers = "/srv/photos\n\nnothing:here\ns3://archive\n\nXX\nde\n";
        let mut shown = Vec::new();
        ask(
            &mut wanted,
            &Remotes::default(),
            &mut answers.as_bytes(),
            &mut shown,
        )
        .unwrap();
        assert_eq!(wanted.data, ["/srv/photos"]);
        assert_eq!(wanted.places, ["s3://archive"]);
        assert_eq!(wanted.country, "de");
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("there is no remote `nothing`"), "{shown}");
        assert!(shown.contains("XX"), "{shown}");
    }

    #[test]
    fn every_place_has_a_name_of_its_own() {
        let wanted = Wanted {
            data: vec!["/a/photos".to_owned()],
            places: vec!["/b/photos".to_owned(), "/".to_owned()],
            country: "DE".to_owned(),
        };
        let places = places(&wanted, &Remotes::default()).unwrap();
        let names: Vec<_> = places
            .iter()
            .map(|(place, _)| place.draft.name.as_str())
            .collect();
        assert_eq!(names, ["photos", "photos-2", "place"]);
    }
}
