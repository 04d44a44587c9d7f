//! `dataset set-origin`: after a loss another place becomes the origin, if every object lies there as it is recorded.

use domicile_catalogue::{NumberedObject, Verification};
use domicile_estate::{BackendName, CopyState, Dataset, ObjectKey, Origin};
use domicile_movers::{Digests, Place, Seen};
use domicile_worker::{Cancel, Progress};
use futures::StreamExt as _;
use serde_json::json;
use std::sync::Arc;

use crate::answer;
use crate::carry::{digests, is_there, judge, lists, now_ms};
use crate::cli::{Global, SetOriginArgs};
use crate::outcome::{Outcome, Refusal};
use crate::progress::{self, Counters, Meter};
use crate::terminal;
use crate::world::{World, open_to_read, open_to_write};

/// Objects read from the catalogue at once.
const PAGE: u32 = 512;
/// Objects read back at once.
const OBJECTS: usize = 8;
/// Objects that are told one by one.
const TOLD: usize = 10;

/// `dataset set-origin`.
pub async fn set_origin(global: &Global, args: &SetOriginArgs) -> anyhow::Result<Outcome> {
    // Looked up before the catalogue is made or changed.
    let before = World::load(global, open_to_read(global).await?, &args.files).await?;
    let dataset = Arc::clone(before.dataset(&args.dataset)?);
    let origin = asked(&before, &dataset, &args.place)?;
    let catalogue = open_to_write(global).await?;
    let _lock = catalogue.lock()?;
    let world = World::load(global, catalogue, &args.files).await?;
    let known = world.observed.datasets.get(&dataset.name);
    let copy = known.and_then(|known| known.copy_on(origin.backend.as_str()));
    if dataset.origin.as_ref() == Some(&origin) && copy.is_some_and(|copy| copy.origin) {
        terminal::say(global, "it is the origin already; nothing was changed");
        return Ok(Outcome::Done);
    }
    let is_copy = origin.prefix == format!("{}/", dataset.name);
    let proven = is_copy
        && copy.is_some_and(|copy| !copy.origin && copy.state == CopyState::Verified && !copy.trusted);
    let hands = (&*world.catalogue, &*world.worker);
    // Verified it was once; whether it still lies there costs one listing. What is missing is told object by object.
    let whole = proven && {
        let place = (&origin.backend, origin.prefix.as_str());
        matches!(is_there(hands, &dataset.name, place).await?, Ok(Some(_)))
    };
    let verified = if whole {
        Vec::new()
    } else {
        read_all(global, &world, &dataset, &origin).await?
    };
    world
        .catalogue
        .replace_origin(&dataset.name, &origin, &verified)
        .await?;
    // It is the owner's from now on, and what he changes there is right: the lists have served.
    let removed = lists::remove(hands, (&dataset.name, &origin.backend), &Cancel::new()).await?;
    if let Some(failure) = removed {
        terminal::say(global, &format!("warning: its lists of digests stay: {failure}"));
    }
    tell(global, &dataset, &origin)
}

/// The place that was asked for; without a prefix where our copies lie.
fn asked(world: &World, dataset: &Dataset, place: &str) -> anyhow::Result<Origin> {
    let (backend, prefix) = match place.split_once('/') {
        Some((backend, prefix)) if !prefix.is_empty() => (backend, prefix.to_owned()),
        _ => (place.trim_end_matches('/'), dataset.name.to_string()),
    };
    let prefix = format!("{}/", prefix.trim_end_matches('/'));
    if prefix.starts_with('/') || prefix.split('/').any(|part| part == ".." || part == ".") {
        return Err(Refusal::usage(format!(
            "`{place}` is no backend with a prefix below its root, such as `archive/plants/`"
        )));
    }
    let backend = world.backend(backend)?.name.clone();
    Ok(Origin { backend, prefix })
}

/// Reads every object in a place and compares it with what is recorded. One that differs refuses the place.
async fn read_all(
    global: &Global,
    world: &World,
    dataset: &Dataset,
    origin: &Origin,
) -> anyhow::Result<Vec<Verification>> {
    let known = world.observed.datasets.get(&dataset.name);
    let total = known.map_or((0, 0), |known| (known.summary.bytes.0, known.summary.objects));
    let (meter, read) = (Arc::new(Meter::default()), Arc::new(Progress::new()));
    let counters = Counters {
        meter: Arc::clone(&meter),
        moved: None,
    };
    let _watch = progress::watch(global, "reading", total, counters);
    let mut verified = Vec::new();
    let mut wrong = Vec::new();
    let mut after: Option<ObjectKey> = None;
    loop {
        let page = world
            .catalogue
            .objects(&dataset.name, after.as_ref(), PAGE)
            .await?;
        let Some(last) = page.last() else { break };
        after = Some(last.object.key.clone());
        let reads: Vec<_> = page
            .into_iter()
            .map(|object| read_one(world, origin, object, &read))
            .collect();
        let mut results = futures::stream::iter(reads).buffer_unordered(OBJECTS);
        while let Some((size, result)) = results.next().await {
            meter.add_object();
            meter.add_bytes(size);
            match result {
                Ok(verification) => verified.push(verification),
                Err(reason) => wrong.push(reason),
            }
        }
        if wrong.len() >= TOLD {
            break;
        }
    }
    anyhow::ensure!(
        !verified.is_empty() || !wrong.is_empty(),
        "no object of dataset `{}` is recorded, so that nothing can be compared",
        dataset.name
    );
    wrong.truncate(TOLD);
    anyhow::ensure!(
        wrong.is_empty(),
        "`{}/{}` does not hold dataset `{}` as it is recorded; nothing was changed:\n  {}",
        origin.backend,
        origin.prefix,
        dataset.name,
        wrong.join("\n  ")
    );
    Ok(verified)
}

async fn read_one(
    world: &World,
    origin: &Origin,
    numbered: NumberedObject,
    progress: &Arc<Progress>,
) -> (u64, Result<Verification, String>) {
    let NumberedObject { object_id, object } = numbered;
    let size = object.size.0;
    let shown = object.key.as_str().escape_debug().to_string();
    if object.sha256.is_none() && object.blake3.is_none() {
        let reason =
            format!("object `{shown}`: it was never read, so that nothing tells which bytes are right");
        return (size, Err(reason));
    }
    let place = Place {
        backend: BackendName::clone(&origin.backend),
        path: format!("{}{}", origin.prefix, object.key),
    };
    let wanted: Digests = digests(&object);
    let right = |seen: &Seen| judge((object.size, &object.sha256, &object.blake3), seen);
    let cancel = Cancel::new();
    let seen = world
        .worker
        .read_surely(&place, wanted, &right, progress, &cancel);
    let seen = match seen.await {
        Ok(seen) => seen,
        Err(failure) => return (size, Err(failure.to_string())),
    };
    let verification = (right(&seen) == Some(true)).then(|| Verification {
        object_id,
        backend: origin.backend.clone(),
        sha256: seen.sha256,
        blake3: seen.blake3,
        at_ms: now_ms(),
    });
    (
        size,
        verification.ok_or_else(|| format!("object `{shown}`: its bytes are not those recorded")),
    )
}

fn tell(global: &Global, dataset: &Dataset, origin: &Origin) -> anyhow::Result<Outcome> {
    let place = |origin: &Origin| format!("{}/{}", origin.backend, origin.prefix);
    let old = dataset.origin.as_ref().filter(|old| *old != origin).map(place);
    let document = json!({
        "dataset": dataset.name.as_str(), "lost": old,
        "origin": {"backend": origin.backend.as_str(), "prefix": origin.prefix},
    });
    if !answer::structured(global.output, &document, std::slice::from_ref(&document))? {
        terminal::answer(&format!(
            "the origin of dataset `{}` is {} now",
            dataset.name,
            place(origin)
        ));
    }
    if let Some(old) = old {
        terminal::say(
            global,
            &format!(
                "{old} is remembered as lost: nobody looks there any more, and nothing was deleted. Write `origin: \
                 {{backend: {}, prefix: \"{}\"}}` into the manifest of the dataset; until then the old line there is \
                 passed over",
                origin.backend, origin.prefix
            ),
        );
    }
    Ok(Outcome::Done)
}
