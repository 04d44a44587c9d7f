//! `whereis`: the copies of a dataset, or of one object.

use domicile_estate::{BackendName, Copy, CopyState, Dataset, ObjectKey};
use serde_json::{Value, json};

use crate::answer;
use crate::carry::Layout;
use crate::cli::{Files, Format, Global, WhereisArgs};
use crate::outcome::Outcome;
use crate::render::table;
use crate::terminal;
use crate::world::{Reach, World, open_to_read};

/// `whereis`.
pub async fn whereis(global: &Global, args: &WhereisArgs) -> anyhow::Result<Outcome> {
    let catalogue = open_to_read(global).await?;
    let world = World::load(global, catalogue, &Files::default()).await?;
    // A dataset's name has no slash, so the first one begins the key.
    match args.what.split_once('/') {
        None => whole(global, &world, world.dataset(&args.what)?),
        Some((dataset, key)) => one_object(global, &world, world.dataset(dataset)?, key).await,
    }
}

/// How the state of a copy is told.
pub fn state_word(copy: &Copy) -> &'static str {
    match copy.state {
        CopyState::Unknown => "unknown",
        CopyState::Listed => "listed",
        CopyState::Incomplete => "incomplete",
        CopyState::Verified => "verified",
        // Nothing is read from it, and it counts for nothing, until it is mended.
        CopyState::Damaged => "damaged, quarantined",
        CopyState::Retiring => "retiring",
    }
}

fn location(world: &World, backend: &BackendName) -> (String, String) {
    let Some(backend) = world.manifests.backends.get(backend) else {
        return Default::default();
    };
    let country = backend
        .location
        .country
        .map_or_else(String::new, |country| country.to_string());
    (backend.domain.to_string(), country)
}

fn whole(global: &Global, world: &World, dataset: &Dataset) -> anyhow::Result<Outcome> {
    let known = world.observed.datasets.get(&dataset.name);
    let copies = known.map_or(&[][..], |d| &d.copies);
    let rows: Vec<Value> = copies.iter().map(|copy| copy_row(world, dataset, copy)).collect();
    let document = json!({
        "dataset": dataset.name.as_str(),
        "bytes": known.map_or(0, |d| d.summary.bytes.0),
        "objects": known.map_or(0, |d| d.summary.objects),
        "copies": rows,
    });
    if answer::structured(global.output, &document, &rows)? {
        return Ok(Outcome::Done);
    }
    if global.output == Format::Name {
        terminal::answer(
            &copies
                .iter()
                .map(|c| format!("{}\n", c.backend))
                .collect::<String>(),
        );
        return Ok(Outcome::Done);
    }
    if copies.is_empty() {
        terminal::say(
            global,
            &format!(
                "no copy of `{}` is recorded; `domicile apply` registers its origin",
                dataset.name
            ),
        );
        return Ok(Outcome::Done);
    }
    let mut table = table::table(&["backend", "domain", "country", "state", "role", "missing", "path"]);
    for (copy, row) in copies.iter().zip(&rows) {
        let (domain, country) = location(world, &copy.backend);
        let missing = if copy.missing_objects == 0 {
            String::new()
        } else {
            format!("{} objects, {}", copy.missing_objects, copy.missing_bytes)
        };
        let role = if copy.origin { "origin" } else { "copy" };
        let path = row["path"].as_str().unwrap_or("").to_owned();
        table.add_row([
            copy.backend.to_string(),
            domain,
            country,
            world.reach(&copy.backend).beside(state_word(copy)),
            role.into(),
            missing,
            path,
        ]);
    }
    terminal::answer(&table::text(&table));
    Ok(Outcome::Done)
}

/// Where a copy lies, for people: the backend's root with the path below it.
fn copy_path(world: &World, dataset: &Dataset, copy: &Copy) -> String {
    let below = match &dataset.origin {
        Some(origin) if copy.origin => origin.prefix.clone(),
        _ => format!("{}/", dataset.name),
    };
    address(world, &copy.backend, &below)
}

fn address(world: &World, backend: &BackendName, path: &str) -> String {
    let Some(backend) = world.manifests.backends.get(backend) else {
        return path.to_owned();
    };
    let root = backend.store.option("root").trim_end_matches('/');
    match backend.store.option("bucket") {
        "" => format!("{root}/{path}"),
        bucket if root.is_empty() => format!("s3://{bucket}/{path}"),
        bucket => format!("s3://{bucket}/{}/{path}", root.trim_start_matches('/')),
    }
}

fn copy_row(world: &World, dataset: &Dataset, copy: &Copy) -> Value {
    let (domain, country) = location(world, &copy.backend);
    let reach = world.reach(&copy.backend);
    json!({
        "backend": copy.backend.as_str(), "domain": domain, "country": country, "state": format!("{:?}", copy.state),
        "origin": copy.origin, "current": copy.is_current() && reach != Reach::Gone, "reach": reach.word(),
        "missingBytes": copy.missing_bytes.0,
        "missingObjects": copy.missing_objects, "quarantined": copy.state == CopyState::Damaged, "path": copy_path(world, dataset, copy),
    })
}

async fn one_object(global: &Global, world: &World, dataset: &Dataset, key: &str) -> anyhow::Result<Outcome> {
    let missing = || {
        anyhow::anyhow!(
            "dataset `{}` has no object `{}`",
            dataset.name,
            key.escape_debug()
        )
    };
    let key =
        ObjectKey::new(key).map_err(|refusal| anyhow::anyhow!("`{}`: {refusal}", key.escape_debug()))?;
    let found = world
        .catalogue
        .where_is(&dataset.name, &key)
        .await?
        .ok_or_else(missing)?;
    let layout = Layout::new(
        &world.observed,
        world.datasets.values().map(AsRef::as_ref),
        world.manifests.backends.values(),
    );
    let rows: Vec<Value> = found
        .places
        .iter()
        .map(|place| {
            let path = layout.place(&dataset.name, &key, &place.backend).path;
            json!({
                "backend": place.backend.as_str(), "state": format!("{:?}", place.state), "origin": place.origin,
                "reach": world.reach(&place.backend).word(), "retiring": place.retiring, "verifiedAtMs": place.at_ms, "reason": place.reason,
                "path": address(world, &place.backend, &path),
            })
        })
        .collect();
    let document = json!({
        "dataset": dataset.name.as_str(), "key": key.as_str(), "bytes": found.object.size.0,
        "sha256": found.object.sha256, "blake3": found.object.blake3, "copies": rows,
    });
    if answer::structured(global.output, &document, &rows)? {
        return Ok(Outcome::Done);
    }
    if global.output == Format::Name {
        terminal::answer(
            &found
                .places
                .iter()
                .map(|p| format!("{}\n", p.backend))
                .collect::<String>(),
        );
        return Ok(Outcome::Done);
    }
    let sha256 = found.object.sha256.map(|sha256| format!("sha256 {sha256}"));
    let blake3 = found.object.blake3.map(|blake3| format!("blake3 {blake3}"));
    let digest = sha256.or(blake3).unwrap_or_else(|| "not read yet".to_owned());
    terminal::answer(&format!("{}, {digest}", found.object.size));
    let mut table = table::table(&["backend", "state", "role", "path"]);
    for (place, row) in found.places.iter().zip(&rows) {
        let role = if place.origin { "origin" } else { "copy" };
        let state = format!("{:?}", place.state).to_lowercase();
        table.add_row([
            place.backend.to_string(),
            world.reach(&place.backend).beside(&state),
            role.into(),
            row["path"].as_str().unwrap_or("").to_owned(),
        ]);
    }
    terminal::answer(&table::text(&table));
    Ok(Outcome::Done)
}
