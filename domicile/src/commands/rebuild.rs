//! `catalogue rebuild`: what a lost catalogue knew is found out again by reading.

use std::collections::BTreeMap;

use domicile_catalogue::OriginListing;
use domicile_estate::{BackendName, CopyState, Dataset, DatasetName, ObservedDataset};
use domicile_movers::FailureClass;
use serde_json::{Value, json};

use super::apply::{carrier, record};
use crate::answer;
use crate::carry::Carrier;
use crate::cli::{Files, Global};
use crate::outcome::{Outcome, Refusal};
use crate::progress::{self, Counters};
use crate::rebuild::{Adopting, Adoption, Lists, Lying, is_lost, presumed};
use crate::render::plan::plural;
use crate::render::table;
use crate::terminal;
use crate::world::{World, open_to_read, open_to_write};

/// Folders of nobody that are told one by one.
const TOLD_STRANGERS: usize = 20;
/// The number of the first plan.
const FIRST_PLAN: u64 = 1;

/// `catalogue rebuild`.
pub async fn rebuild(global: &Global, files: &Files) -> anyhow::Result<Outcome> {
    if files.files.is_empty() {
        return Err(Refusal::usage(
            "the manifests say where to look: `domicile catalogue rebuild -f FOLDER`",
        ));
    }
    // The files are read before the catalogue is made: a command that refuses its input leaves nothing behind.
    let fresh = crate::reading::fresh_sources(files)?;
    World::load_from(global, open_to_read(global).await?, fresh.clone(), files.prune).await?;
    let catalogue = open_to_write(global).await?;
    let _lock = catalogue.lock()?;
    let mut world = World::load_from(global, catalogue.clone(), fresh.clone(), files.prune).await?;
    // A catalogue that has seen a plan knows its copies.
    if catalogue.next_plan_number().await? == FIRST_PLAN {
        world.presumed = presumed(&world);
    }
    world.look(global).await?;
    terminal::say(global, "listing every backend");
    let lying = Lying::find(&world).await;
    let lost = lost_origins(&mut world);
    record(&world).await?;
    let adoptions = adopt(global, &world, &lying).await?;
    // What is gone from an origin is told of objects that are known by now.
    for listing in &lost {
        catalogue.record_origin(listing).await?;
    }
    let listings = &world.sight.listings;
    for listing in listings {
        catalogue.record_origin(listing).await?;
    }
    let after = World::load_from(global, catalogue, fresh, files.prune).await?;
    tell(global, &after, &lying, &adoptions)
}

/// Takes the listings away that found nothing: an origin of which nothing is known must not count as one that is there.
fn lost_origins(world: &mut World) -> Vec<OriginListing> {
    let listings = std::mem::take(&mut world.sight.listings);
    let (lost, there) = listings.into_iter().partition(is_lost);
    world.sight.listings = there;
    lost
}

async fn adopt(
    global: &Global,
    world: &World,
    lying: &Lying,
) -> anyhow::Result<BTreeMap<DatasetName, Adoption>> {
    let carrier: Carrier = carrier(world);
    let counters = Counters {
        meter: carrier.meter.clone(),
        moved: None,
    };
    let copies = lying.copies.values().flat_map(BTreeMap::values);
    let (mut bytes, mut objects) = (0, 0);
    for there in copies {
        bytes += there.values().sum::<u64>();
        objects += there.len() as u64;
    }
    for listing in &world.sight.listings {
        bytes += listing.objects.iter().map(|object| object.size.0).sum::<u64>();
        objects += listing.objects.len() as u64;
    }
    let _watch = progress::watch(global, "reading", (bytes, objects), counters);
    let listed: BTreeMap<&DatasetName, &OriginListing> = world
        .sight
        .listings
        .iter()
        .map(|listing| (&listing.dataset, listing))
        .collect();
    let nothing = BTreeMap::new();
    let mut adoptions = BTreeMap::new();
    for dataset in world.datasets.values() {
        let found = lying.lists.get(&dataset.name).map_or(&[][..], Vec::as_slice);
        let lists = Lists::read(&carrier, &dataset.name, found).await;
        let adopting = Adopting {
            lists: &lists,
            carrier: &carrier,
            dataset,
            copies: lying.copies.get(&dataset.name).unwrap_or(&nothing),
        };
        let origin = listed.get(&dataset.name).map(|listing| &listing.origin.backend);
        let mut adoption = adopting.run(origin).await?;
        // What a trusted inventory vouches for is not looked at.
        let row = world.registered.get(&dataset.name);
        adoption.origin |= row.is_some_and(|row| row.origin_trusted);
        remember(&carrier, &dataset.name, found).await?;
        adoptions.insert(dataset.name.clone(), adoption);
    }
    Ok(adoptions)
}

/// Notes which lists of digests lie where, so that they go with their copies. They are due: the next `apply` writes what is
/// missing of them.
async fn remember(
    carrier: &Carrier,
    dataset: &DatasetName,
    found: &[(BackendName, String)],
) -> anyhow::Result<()> {
    let mut lists: BTreeMap<&BackendName, Vec<String>> = BTreeMap::new();
    for (backend, blake3) in found {
        lists.entry(backend).or_default().push(blake3.clone());
    }
    for (backend, names) in lists {
        let settled = carrier.catalogue.settle_lists(dataset, backend, &names, false);
        settled.await?;
    }
    Ok(())
}

fn tell(
    global: &Global,
    world: &World,
    lying: &Lying,
    adoptions: &BTreeMap<DatasetName, Adoption>,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Done;
    let mut rows = Vec::new();
    let nothing = ObservedDataset::default();
    for (name, adoption) in adoptions {
        let known = world.observed.datasets.get(name).unwrap_or(&nothing);
        outcome = outcome.or(verdict(known, adoption));
        rows.push(row(name, known, adoption));
        for text in &adoption.told {
            terminal::say(global, &format!("dataset `{name}`: {text}"));
        }
        if let Some(dataset) = world.datasets.get(name).filter(|_| !adoption.origin) {
            tell_lost(global, dataset, known, adoption);
        }
    }
    for failure in lying.unlisted.values() {
        // A disk that is gone is why one rebuilds; anything else may be read another time.
        if failure.class != FailureClass::StoreMissing {
            outcome = outcome.or(Outcome::MovesFailed);
        }
        terminal::say(
            global,
            &format!("not listed, so that nothing there was adopted: {failure}"),
        );
    }
    for failure in lying.without_lists.values() {
        outcome = outcome.or(Outcome::MovesFailed);
        let text = format!("lists of digests were not looked for there: {failure}");
        terminal::say(global, &text);
    }
    for ((backend, folder), objects) in lying.strangers.iter().take(TOLD_STRANGERS) {
        let folder = folder.escape_debug();
        terminal::say(
            global,
            &format!(
                "backend `{backend}`: {} in `{folder}` belong to no dataset of the manifests; if an inventory tells of it, \
                 import that and rebuild again",
                plural(
                    usize::try_from(*objects).unwrap_or(usize::MAX),
                    "object",
                    "objects"
                )
            ),
        );
    }
    let document = answer::list(&rows);
    let names = rows.iter().filter_map(|row| row["dataset"].as_str());
    if !answer::structured(global.output, &document, &rows)? && !answer::names(global.output, names) {
        draw(&rows);
    }
    Ok(outcome)
}

fn verdict(known: &ObservedDataset, adoption: &Adoption) -> Outcome {
    let verified = known.copies.iter().any(|copy| copy.state == CopyState::Verified);
    if adoption.unread > 0 {
        Outcome::MovesFailed
    } else if adoption.differing + adoption.missing > 0 || !verified {
        Outcome::Unsatisfied
    } else {
        Outcome::Done
    }
}

fn row(name: &DatasetName, known: &ObservedDataset, adoption: &Adoption) -> Value {
    let verified = known
        .copies
        .iter()
        .filter(|copy| copy.state == CopyState::Verified);
    let verified: Vec<&str> = verified.map(|copy| copy.backend.as_str()).collect();
    json!({
        "dataset": name.as_str(), "origin": if adoption.origin { "read" } else { "lost" }, "verified": verified,
        "objects": known.summary.objects, "bytes": known.summary.bytes.0, "byList": adoption.by_list,
        "byAgreement": adoption.by_agreement, "differing": adoption.differing, "missing": adoption.missing, "unread": adoption.unread, "messages": adoption.told,
    })
}

/// Says of a dataset without its origin what was taken for true, and the way on.
fn tell_lost(global: &Global, dataset: &Dataset, known: &ObservedDataset, adoption: &Adoption) {
    let name = &dataset.name;
    let whole = known
        .copies
        .iter()
        .filter(|copy| copy.state == CopyState::Verified);
    let whole: Vec<&BackendName> = whole.map(|copy| &copy.backend).collect();
    let Some(first) = whole.first() else {
        let text = format!("dataset `{name}`: nothing lies at its origin, and no whole copy was found");
        terminal::say(global, &text);
        return;
    };
    let proof = proof(adoption);
    terminal::say(
        global,
        &format!(
            "dataset `{name}`: nothing lies at its origin; {proof}. `domicile dataset set-origin {name} {first}` makes the \
             copy its origin, `domicile dataset restore {name} --to FOLDER` writes it elsewhere"
        ),
    );
}

/// By what a dataset without its origin was taken for right.
fn proof(adoption: &Adoption) -> String {
    let holders = adoption.whole.len();
    let compared = if holders > 1 {
        format!("{holders} copies were compared with each other")
    } else {
        "one copy alone tells of it: nothing was there to compare it with".to_owned()
    };
    match (adoption.by_list, adoption.by_agreement) {
        (0, 0) => "nothing new was found of it".to_owned(),
        (0, _) => compared,
        (listed, 0) => format!("{} verified by its list of digests", plural_of(listed)),
        (listed, others) => format!(
            "{} verified by its list of digests, which does not name the other {others}: {compared}",
            plural_of(listed)
        ),
    }
}

fn plural_of(objects: u64) -> String {
    let count = usize::try_from(objects).unwrap_or(usize::MAX);
    plural(count, "object was", "objects were")
}

fn draw(rows: &[Value]) {
    let mut table = table::table(&[
        "dataset",
        "origin",
        "verified on",
        "objects",
        "by list",
        "by agreement",
        "differing",
        "missing",
        "unread",
    ]);
    for row in rows {
        let text = |field: &str| row[field].as_str().unwrap_or("").to_owned();
        let number = |field: &str| row[field].as_u64().unwrap_or_default().to_string();
        let verified = row["verified"].as_array().map_or(String::new(), |names| {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            names.join(", ")
        });
        table.add_row([
            text("dataset"),
            text("origin"),
            verified,
            number("objects"),
            number("byList"),
            number("byAgreement"),
            number("differing"),
            number("missing"),
            number("unread"),
        ]);
    }
    terminal::answer(&table::text(&table));
}
