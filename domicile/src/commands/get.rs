//! `get` and `describe`: what the catalogue holds.

mod offers;

use std::sync::Arc;

use domicile_estate::{ByteCount, DatasetName, Origin};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::plan::{describe_finding, plan_name};
use crate::answer;
use crate::cli::{DescribeArgs, Files, Format, GetArgs, Global, Kind};
use crate::outcome::Outcome;
use crate::render::table;
use crate::terminal;
use crate::world::{Reach, World, open_to_read, unknown};

/// One thing of a list: its name, its cells, and the whole of it, which a table does not need.
struct Item<'w> {
    name: String,
    cells: Vec<String>,
    wide: Vec<String>,
    value: Box<dyn Fn() -> Value + 'w>,
}

/// The headings of the cells, and of those that only a wide table shows.
type Headings = (&'static [&'static str], &'static [&'static str]);

/// A list with the headings of its cells. There may be a million things: each is made when it is asked for.
struct Items<'w> {
    headings: &'static [&'static str],
    wide: &'static [&'static str],
    count: usize,
    item: Box<dyn Fn(usize) -> Item<'w> + 'w>,
}

impl<'w> Items<'w> {
    fn of<T: 'w>(
        (headings, wide): Headings,
        things: impl IntoIterator<Item = T>,
        item: impl Fn(&T) -> Item<'w> + 'w,
    ) -> Self {
        let things: Vec<T> = things.into_iter().collect();
        Self {
            headings,
            wide,
            count: things.len(),
            item: Box::new(move |place| item(&things[place])),
        }
    }

    fn iter(&self) -> impl Iterator<Item = Item<'w>> + Clone {
        (0..self.count).map(|place| (self.item)(place))
    }
}

/// A thing as programs read it, made as it is written.
struct Whole<'a, 'w>(&'a Items<'w>, usize);

impl Serialize for Whole<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ((self.0.item)(self.1).value)().serialize(serializer)
    }
}

/// `get`.
pub async fn get(global: &Global, args: &GetArgs) -> anyhow::Result<Outcome> {
    let world = load(global).await?;
    let list = match &args.name {
        Some(name) => only(&world, args.kind, name).await?,
        None => items(&world, args.kind).await?,
    };
    let wholes: Vec<Whole<'_, '_>> = (0..list.count).map(|place| Whole(&list, place)).collect();
    let is_answered = match (&args.name, wholes.first()) {
        (Some(_), Some(one)) => answer::structured(global.output, one, &wholes)?,
        _ => answer::structured(global.output, &answer::list(&wholes), &wholes)?,
    };
    if is_answered {
        return Ok(Outcome::Done);
    }
    if global.output == Format::Name {
        let names: String = list.iter().map(|item| format!("{}\n", item.name)).collect();
        terminal::answer(&names);
        return Ok(Outcome::Done);
    }
    if list.count == 0 {
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
    let rows = list.iter().map(|item| {
        let cells = std::iter::once(item.name).chain(item.cells);
        cells.chain(item.wide.into_iter().filter(|_| wide)).collect()
    });
    table::answer_long(&headings, rows);
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

async fn items(world: &World, kind: Kind) -> anyhow::Result<Items<'_>> {
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
async fn only<'w>(world: &'w World, kind: Kind, name: &str) -> anyhow::Result<Items<'w>> {
    if kind == Kind::Datasets {
        let known = world.datasets.keys().map(DatasetName::as_str);
        let dataset = world.datasets.get(name);
        let dataset = dataset.ok_or_else(|| unknown(word(kind), name, known))?;
        return Ok(datasets(world, std::iter::once(dataset)));
    }
    let list = items(world, kind).await?;
    let names: Vec<String> = list.iter().map(|item| item.name).collect();
    let position = names.iter().position(|known| known == name);
    let position = position.ok_or_else(|| unknown(word(kind), name, names.iter().map(String::as_str)))?;
    let item = list.item;
    Ok(Items {
        count: 1,
        item: Box::new(move |_| item(position)),
        ..list
    })
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

/// The manifest, made when it is asked for.
fn whole<'w>(world: &'w World, kind: &'static str, name: &'w str) -> Box<dyn Fn() -> Value + 'w> {
    Box::new(move || manifest(world, kind, name))
}

fn domains<'w>(world: &'w World) -> Items<'w> {
    let item = move |domain: &&'w domicile_estate::Domain| {
        let domain = *domain;
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
            value: whole(world, "Domain", domain.name.as_str()),
        }
    };
    let headings: Headings = (&["name", "jurisdiction", "backends", "title"], &["admission"]);
    Items::of(headings, world.manifests.domains.values(), item)
}

fn datasets<'w>(world: &'w World, of: impl Iterator<Item = &'w Arc<domicile_estate::Dataset>>) -> Items<'w> {
    let item = move |dataset: &&'w Arc<domicile_estate::Dataset>| {
        let dataset = *dataset;
        let known = world.observed.datasets.get(&dataset.name);
        let summary = known.map(|d| d.summary.clone()).unwrap_or_default();
        let copies = known.map_or(&[][..], |d| &d.copies).iter();
        let copies = copies.map(|copy| match world.reach(&copy.backend) {
            Reach::There => copy.backend.to_string(),
            Reach::Silent => format!("{} (out of reach)", copy.backend),
            Reach::Gone => format!("{} (in no manifest)", copy.backend),
        });
        let copies: Vec<_> = copies.collect();
        Item {
            name: dataset.name.to_string(),
            cells: vec![
                dataset.domain.to_string(),
                summary.bytes.to_string(),
                summary.objects.to_string(),
                copies.join(", "),
            ],
            wide: vec![dataset.record.title.clone(), dataset.record.license.clone()],
            value: Box::new(move || whole_dataset(world, dataset)),
        }
    };
    let headings: Headings = (
        &["name", "owner", "size", "objects", "copies"],
        &["title", "license"],
    );
    Items::of(headings, of, item)
}

fn whole_dataset(world: &World, dataset: &domicile_estate::Dataset) -> Value {
    let mut value = manifest(world, "Dataset", dataset.name.as_str());
    if value.is_null() {
        value = inventory_manifest(dataset);
    }
    if let Some(fields) = value.as_object_mut() {
        fields.insert("status".to_owned(), dataset_status(world, &dataset.name));
    }
    value
}

/// A dataset that an inventory registered, as the manifest that would say the same.
fn inventory_manifest(dataset: &domicile_estate::Dataset) -> Value {
    let origin = dataset.origin.as_ref().map(place);
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "Dataset",
        "metadata": {"name": dataset.name.as_str(), "labels": *dataset.labels},
        "spec": {"domain": dataset.domain.as_str(), "origin": origin, "keepOrigin": dataset.keep_origin},
    })
}

fn place(origin: &Origin) -> Value {
    json!({"backend": origin.backend.as_str(), "prefix": origin.prefix})
}

/// What is known of a dataset. The origin may be another one than its manifest names: after `set-origin`, or once it was
/// retired.
fn dataset_status(world: &World, name: &DatasetName) -> Value {
    let Some(known) = world.observed.datasets.get(name) else {
        return json!({"registered": false});
    };
    let copies = known.copies.iter().map(|copy| {
        json!({
            "backend": copy.backend.as_str(), "state": format!("{:?}", copy.state), "origin": copy.origin,
            "missingObjects": copy.missing_objects, "reach": world.reach(&copy.backend).word(),
        })
    });
    let findings = known.findings.iter().map(|finding| {
        let (kind, key, message) = describe_finding(finding);
        json!({"kind": kind, "key": key, "message": message})
    });
    let row = world.registered.get(name);
    let origin = row.and_then(|row| row.dataset.origin.as_ref()).map(place);
    let former = row.and_then(|row| row.released_origin.as_deref()).map(place);
    json!({
        "origin": origin, "formerOrigin": former,
        "registered": true, "bytes": known.summary.bytes.0, "objects": known.summary.objects,
        "copies": copies.collect::<Vec<_>>(), "findings": findings.collect::<Vec<_>>(),
    })
}

fn policies<'w>(world: &'w World) -> Items<'w> {
    let item = move |policy: &&'w domicile_policies::Policy| {
        let policy = *policy;
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
            value: whole(world, "ReplicationPolicy", policy.name.as_str()),
        }
    };
    let headings: Headings = (
        &[
            "name",
            "priority",
            "enforcement",
            "datasets",
            "confine",
            "require",
        ],
        &[],
    );
    Items::of(headings, world.manifests.policies.values(), item)
}

async fn plans(world: &World) -> anyhow::Result<Items<'_>> {
    let records = world.catalogue.plans().await?;
    let item = |record: &Arc<domicile_catalogue::PlanRecord>| {
        let record = Arc::clone(record);
        Item {
            name: plan_name(record.number),
            cells: vec![
                record.state.as_str().to_owned(),
                record.digest.chars().take(19).collect(),
            ],
            wide: vec![],
            value: Box::new(move || serde_json::from_str(&record.json).unwrap_or(Value::Null)),
        }
    };
    let headings: Headings = (&["name", "state", "inputs"], &[]);
    Ok(Items::of(headings, records.into_iter().map(Arc::new), item))
}

async fn moves(world: &World) -> anyhow::Result<Items<'_>> {
    // Plans are not read for this: that of a million datasets is long.
    let latest = world.catalogue.next_plan_number().await? - 1;
    let records = world.catalogue.moves(latest).await?;
    let item = |record: &domicile_catalogue::MoveRecord| {
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
            name: record.id.clone(),
            cells,
            wide: vec![],
            value: Box::new(move || value.clone()),
        }
    };
    let headings: Headings = (
        &["id", "dataset", "action", "from", "to", "size", "state", "reason"],
        &[],
    );
    Ok(Items::of(headings, records, item))
}

/// `describe`.
pub async fn describe(global: &Global, args: &DescribeArgs) -> anyhow::Result<Outcome> {
    let world = load(global).await?;
    let list = only(&world, args.kind, &args.name).await?;
    let whole = Whole(&list, 0);
    // What a person reads is the manifest with its status, as YAML.
    let format = if matches!(global.output, Format::Table | Format::Wide) {
        Format::Yaml
    } else {
        global.output
    };
    if !answer::structured(format, &whole, std::slice::from_ref(&whole))? {
        terminal::answer(&args.name);
    }
    Ok(Outcome::Done)
}
