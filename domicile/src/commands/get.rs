//! `get` and `describe`: what the catalogue holds.

mod offers;

use std::sync::Arc;

use domicile_estate::{ByteCount, DatasetName};
use serde_json::{Value, json};

use super::plan::{describe_finding, plan_name};
use crate::answer;
use crate::cli::{DescribeArgs, Files, Format, GetArgs, Global, Kind};
use crate::outcome::Outcome;
use crate::render::table;
use crate::terminal;
use crate::world::{World, open_to_read, unknown};

/// One thing of a list: its name, its cells, and the whole of it.
struct Item {
    name: String,
    cells: Vec<String>,
    wide: Vec<String>,
    value: Value,
}

/// A list with the headings of its cells.
struct Items {
    headings: &'static [&'static str],
    wide: &'static [&'static str],
    items: Vec<Item>,
}

/// `get`.
pub async fn get(global: &Global, args: &GetArgs) -> anyhow::Result<Outcome> {
    let world = load(global).await?;
    let list = match &args.name {
        Some(name) => only(&world, args.kind, name).await?,
        None => items(&world, args.kind).await?,
    };
    let values: Vec<Value> = list.items.iter().map(|item| item.value.clone()).collect();
    let whole = match (&args.name, values.first()) {
        (Some(_), Some(one)) => one.clone(),
        _ => answer::list(&values),
    };
    if answer::structured(global.output, &whole, &values)? {
        return Ok(Outcome::Done);
    }
    if global.output == Format::Name {
        terminal::answer(
            &list
                .items
                .iter()
                .map(|item| format!("{}\n", item.name))
                .collect::<String>(),
        );
        return Ok(Outcome::Done);
    }
    if list.items.is_empty() {
        terminal::say(
            global,
            &format!(
                "no {}s are known; `domicile apply -f FOLDER` records some",
                word(args.kind)
            ),
        );
        return Ok(Outcome::Done);
    }
    let wide = global.output == Format::Wide;
    let mut headings = list.headings.to_vec();
    headings.extend(list.wide.iter().filter(|_| wide));
    let mut table = table::table(&headings);
    for item in list.items {
        let cells = std::iter::once(item.name).chain(item.cells);
        table.add_row(
            cells
                .chain(item.wide.into_iter().filter(|_| wide))
                .collect::<Vec<_>>(),
        );
    }
    terminal::answer(&table::text(&table));
    Ok(Outcome::Done)
}

async fn load(global: &Global) -> anyhow::Result<World> {
    World::load(global, open_to_read(global).await?, &Files::default()).await
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Domains => "domain",
        Kind::Backends => "backend",
        Kind::Links => "link",
        Kind::Datasets => "dataset",
        Kind::Policies => "policy",
        Kind::Plans => "plan",
        Kind::Moves => "move",
    }
}

async fn items(world: &World, kind: Kind) -> anyhow::Result<Items> {
    Ok(match kind {
        Kind::Domains => domains(world),
        Kind::Backends => offers::backends(world),
        Kind::Links => offers::links(world),
        Kind::Datasets => datasets(world, world.datasets.values()),
        Kind::Policies => policies(world),
        Kind::Plans => plans(world).await?,
        Kind::Moves => moves(world).await?,
    })
}

/// The list with the one thing of this name. There may be a million datasets: only that one is looked at.
async fn only(world: &World, kind: Kind, name: &str) -> anyhow::Result<Items> {
    if kind == Kind::Datasets {
        let known = world.datasets.keys().map(DatasetName::as_str);
        let dataset = world.datasets.get(name);
        let dataset = dataset.ok_or_else(|| unknown(word(kind), name, known))?;
        return Ok(datasets(world, std::iter::once(dataset)));
    }
    let mut list = items(world, kind).await?;
    let position = list.items.iter().position(|item| item.name == *name);
    let position =
        position.ok_or_else(|| unknown(word(kind), name, list.items.iter().map(|i| i.name.as_str())))?;
    list.items = vec![list.items.swap_remove(position)];
    Ok(list)
}

/// The manifest that the catalogue holds, as it was resolved.
fn manifest(world: &World, kind: &str, name: &str) -> Value {
    let document = world
        .manifests
        .documents
        .iter()
        .find(|d| d.kind == kind && d.name == name);
    document
        .and_then(|d| serde_json::from_str(&d.json).ok())
        .unwrap_or(Value::Null)
}

fn domains(world: &World) -> Items {
    let item = |domain: &domicile_estate::Domain| {
        let backends = world
            .manifests
            .backends
            .values()
            .filter(|b| b.domain == domain.name)
            .count();
        Item {
            name: domain.name.to_string(),
            cells: vec![
                domain.jurisdiction.to_string(),
                backends.to_string(),
                domain.title.clone(),
            ],
            wide: vec![
                domain
                    .admission
                    .iter()
                    .map(|rule| rule.name.clone())
                    .collect::<Vec<_>>()
                    .join(", "),
            ],
            value: manifest(world, "Domain", domain.name.as_str()),
        }
    };
    Items {
        headings: &["name", "jurisdiction", "backends", "title"],
        wide: &["admission"],
        items: world.manifests.domains.values().map(item).collect(),
    }
}

fn datasets<'w>(world: &World, of: impl Iterator<Item = &'w Arc<domicile_estate::Dataset>>) -> Items {
    let item = |dataset: &domicile_estate::Dataset| {
        let known = world.observed.datasets.get(&dataset.name);
        let summary = known.map(|d| d.summary.clone()).unwrap_or_default();
        let copies: Vec<_> = known
            .map_or(&[][..], |d| &d.copies)
            .iter()
            .map(|c| c.backend.to_string())
            .collect();
        let mut value = manifest(world, "Dataset", dataset.name.as_str());
        if value.is_null() {
            value = inventory_manifest(dataset);
        }
        if let Some(fields) = value.as_object_mut() {
            fields.insert("status".to_owned(), dataset_status(world, &dataset.name));
        }
        Item {
            name: dataset.name.to_string(),
            cells: vec![
                dataset.domain.to_string(),
                summary.bytes.to_string(),
                summary.objects.to_string(),
                copies.join(", "),
            ],
            wide: vec![dataset.record.title.clone(), dataset.record.license.clone()],
            value,
        }
    };
    Items {
        headings: &["name", "owner", "size", "objects", "copies"],
        wide: &["title", "license"],
        items: of.map(|dataset| item(dataset)).collect(),
    }
}

/// A dataset that an inventory registered, as the manifest that would say the same.
fn inventory_manifest(dataset: &domicile_estate::Dataset) -> Value {
    let origin = dataset
        .origin
        .as_ref()
        .map(|o| json!({"backend": o.backend.as_str(), "prefix": o.prefix}));
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "Dataset",
        "metadata": {"name": dataset.name.as_str(), "labels": *dataset.labels},
        "spec": {"domain": dataset.domain.as_str(), "origin": origin, "keepOrigin": dataset.keep_origin},
    })
}

fn dataset_status(world: &World, name: &DatasetName) -> Value {
    let Some(known) = world.observed.datasets.get(name) else {
        return json!({"registered": false});
    };
    let copies = known.copies.iter().map(|copy| {
        json!({
            "backend": copy.backend.as_str(), "state": format!("{:?}", copy.state), "origin": copy.origin,
            "missingObjects": copy.missing_objects,
        })
    });
    let findings = known.findings.iter().map(|finding| {
        let (kind, key, message) = describe_finding(finding);
        json!({"kind": kind, "key": key, "message": message})
    });
    json!({
        "registered": true, "bytes": known.summary.bytes.0, "objects": known.summary.objects,
        "copies": copies.collect::<Vec<_>>(), "findings": findings.collect::<Vec<_>>(),
    })
}

fn policies(world: &World) -> Items {
    let item = |policy: &domicile_policies::Policy| {
        let summary = domicile_estate::DatasetSummary::default();
        let selected = world.datasets.values().filter(|dataset| {
            let known = world
                .observed
                .datasets
                .get(&dataset.name)
                .map_or(&summary, |d| &d.summary);
            policy.selects(&domicile_policies::DatasetFacts::new(dataset, known))
        });
        let names = |rules: Vec<&str>| rules.join(", ");
        Item {
            name: policy.name.to_string(),
            cells: vec![
                policy.priority.to_string(),
                format!("{:?}", policy.enforcement),
                selected.count().to_string(),
                names(policy.confine.iter().map(|rule| rule.name.as_str()).collect()),
                names(
                    policy
                        .require
                        .iter()
                        .map(|requirement| requirement.name.as_str())
                        .collect(),
                ),
            ],
            wide: vec![],
            value: manifest(world, "ReplicationPolicy", policy.name.as_str()),
        }
    };
    Items {
        headings: &[
            "name",
            "priority",
            "enforcement",
            "datasets",
            "confine",
            "require",
        ],
        wide: &[],
        items: world.manifests.policies.values().map(item).collect(),
    }
}

async fn plans(world: &World) -> anyhow::Result<Items> {
    let records = world.catalogue.plans().await?;
    let item = |record: &domicile_catalogue::PlanRecord| Item {
        name: plan_name(record.number),
        cells: vec![
            record.state.as_str().to_owned(),
            record.digest.chars().take(19).collect(),
        ],
        wide: vec![],
        value: serde_json::from_str(&record.json).unwrap_or(Value::Null),
    };
    Ok(Items {
        headings: &["name", "state", "inputs"],
        wide: &[],
        items: records.iter().map(item).collect(),
    })
}

async fn moves(world: &World) -> anyhow::Result<Items> {
    // Plans are not read for this: that of a million datasets is long.
    let latest = world.catalogue.next_plan_number().await? - 1;
    let records = world.catalogue.moves(latest).await?;
    let item = |record: domicile_catalogue::MoveRecord| {
        let mut value: Value = serde_json::from_str(&record.json).unwrap_or(Value::Null);
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
        let bytes = value.get("bytes").and_then(Value::as_u64).unwrap_or(0);
        let cells = vec![
            text("dataset"),
            text("action"),
            text("from"),
            text("to"),
            ByteCount(bytes).to_string(),
            record.state.as_str().to_owned(),
            record.reason.clone(),
        ];
        if let Some(fields) = value.as_object_mut() {
            fields.insert("state".to_owned(), json!(record.state.as_str()));
            fields.insert("attempts".to_owned(), json!(record.attempts));
            fields.insert("reason".to_owned(), json!(record.reason));
        }
        Item {
            name: record.id,
            cells,
            wide: vec![],
            value,
        }
    };
    Ok(Items {
        headings: &["id", "dataset", "action", "from", "to", "size", "state", "reason"],
        wide: &[],
        items: records.into_iter().map(item).collect(),
    })
}

/// `describe`.
pub async fn describe(global: &Global, args: &DescribeArgs) -> anyhow::Result<Outcome> {
    let world = load(global).await?;
    let list = only(&world, args.kind, &args.name).await?;
    let Some(item) = list.items.first() else {
        unreachable!("the list holds the one that was asked for")
    };
    // What a person reads is the manifest with its status, as YAML.
    let format = if matches!(global.output, Format::Table | Format::Wide) {
        Format::Yaml
    } else {
        global.output
    };
    if !answer::structured(format, &item.value, std::slice::from_ref(&item.value))? {
        terminal::answer(&item.name);
    }
    Ok(Outcome::Done)
}
