//! `dataset import`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use domicile_catalogue::{Catalogue, ImportOptions, ImportSummary, InventoryRow};
use domicile_estate::{BackendName, DomainName};
use serde_json::json;

use super::plan::manifests_to_record;
use super::scan;
use crate::answer;
use crate::cli::{Global, ImportArgs};
use crate::inventory::Inventory;
use crate::outcome::{Outcome, Refusal};
use crate::terminal;
use crate::world::{Ruling, open_to_read, open_to_write};

/// Rows handed to the catalogue at once.
const BATCH: usize = 4_096;
/// `dataset import`.
pub async fn import(global: &Global, args: &ImportArgs) -> anyhow::Result<Outcome> {
    if let Some(place) = &args.scan {
        return scan::scan(global, args, place).await;
    }
    // Every mistake that the command line and the manifests have is found before the catalogue is made.
    let fresh = crate::reading::fresh_sources(&args.files)?;
    let reading = open_to_read(global).await?;
    let existed = reading.path().is_some();
    let before = Ruling::read(global, &reading, fresh.clone(), args.files.prune).await?;
    reading.close().await;
    let options = options(&before, args)?;
    let kinds: Vec<_> = before.target_kinds().into_iter().collect();
    let file = args.inventory.as_deref().unwrap_or(Path::new("-"));
    let mut inventory = Inventory::open(file, &kinds)?;
    let catalogue = open_to_write(global).await?;
    let lock = catalogue.lock()?;
    let ruling = Ruling::read(global, &catalogue, fresh, args.files.prune).await?;
    let summary = match take_inventory(&catalogue, &ruling, &mut inventory, options).await {
        Ok(summary) => summary,
        Err(error) => {
            drop(lock);
            if !existed {
                unmake(&catalogue).await;
            }
            return Err(error);
        }
    };
    catalogue
        .record_manifests(&manifests_to_record(&ruling.manifests), &ruling.pruned)
        .await?;
    tell_import(global, &summary, args.trust_inventory)
}

fn options(ruling: &Ruling, args: &ImportArgs) -> anyhow::Result<ImportOptions> {
    let domains = ruling.manifests.domains.keys().map(DomainName::as_str);
    let asked = args.domain.as_deref().unwrap_or_default();
    let domain = ruling.manifests.domains.get(asked);
    let domain = domain.ok_or_else(|| crate::world::unknown("domain", asked, domains))?;
    let backend = args
        .backend
        .as_deref()
        .map(|name| ruling.backend(name))
        .transpose()?;
    let mut origin_prefix = args.prefix.clone();
    if !origin_prefix.is_empty() && !origin_prefix.ends_with('/') {
        origin_prefix.push('/');
    }
    if origin_prefix.starts_with('/') || origin_prefix.split('/').any(|part| part == "..") {
        return Err(Refusal::usage(format!(
            "`{}` is no prefix below a backend's root",
            args.prefix
        )));
    }
    Ok(ImportOptions {
        domain: domain.name.clone(),
        backend: backend.map(|b| b.name.clone()),
        origin_prefix,
        trust: args.trust_inventory,
    })
}

async fn take_inventory(
    catalogue: &Catalogue,
    ruling: &Ruling,
    inventory: &mut Inventory,
    options: ImportOptions,
) -> anyhow::Result<ImportSummary> {
    let has_backend = options.backend.is_some();
    let mut import = catalogue.begin_import(options).await?;
    let mut checked = None;
    loop {
        let rows = inventory.next_batch(BATCH)?;
        if rows.is_empty() {
            break;
        }
        check_replicas(ruling, &rows, has_backend, &mut checked)?;
        import.add(&rows).await?;
    }
    Ok(import.commit().await?)
}

/// Checks that every row says where its dataset lies and names backends that there are. Rows share their replicas, so
/// that those of the row before need no further look.
fn check_replicas(
    ruling: &Ruling,
    rows: &[InventoryRow],
    has_backend: bool,
    checked: &mut Option<Arc<[BackendName]>>,
) -> anyhow::Result<()> {
    for row in rows {
        if checked
            .as_ref()
            .is_some_and(|checked| Arc::ptr_eq(checked, &row.replicas))
        {
            continue;
        }
        anyhow::ensure!(
            has_backend || !row.replicas.is_empty(),
            "line {}: nothing says where dataset `{}` lies: name its backend with `--backend`, or in a column `replicas`",
            row.line,
            row.dataset
        );
        for backend in row.replicas.iter() {
            ruling
                .backend(backend.as_str())
                .with_context(|| format!("line {}, column `replicas`", row.line))?;
        }
        *checked = Some(Arc::clone(&row.replicas));
    }
    Ok(())
}

/// Takes a catalogue away that was made for an import which was then refused: a refusal changes nothing.
async fn unmake(catalogue: &Catalogue) {
    let Some(path) = catalogue.path().map(Path::to_path_buf) else {
        return;
    };
    catalogue.close().await;
    for ending in ["", "-wal", "-shm", ".lock"] {
        let mut file = path.clone().into_os_string();
        file.push(ending);
        let _ = std::fs::remove_file(file);
    }
    if let Some(folder) = path.parent() {
        // Only if nothing else is in it.
        let _ = std::fs::remove_dir(folder);
    }
}

fn tell_import(global: &Global, summary: &ImportSummary, trusted: bool) -> anyhow::Result<Outcome> {
    let document = json!({
        "datasets": summary.datasets, "datasetsAdded": summary.datasets_added, "objects": summary.objects,
        "objectsAdded": summary.objects_added, "bytes": summary.bytes.0, "copiesAdded": summary.copies_added,
    });
    if !answer::structured(global.output, &document, std::slice::from_ref(&document))? {
        terminal::answer(&format!(
            "{} datasets with {} objects, {}; new are {} datasets, {} objects and {} copies",
            summary.datasets,
            summary.objects,
            summary.bytes,
            summary.datasets_added,
            summary.objects_added,
            summary.copies_added
        ));
    }
    if !trusted {
        terminal::say(
            global,
            "what the inventory says of copies is unknown until `domicile dataset scrub` has read them",
        );
    }
    Ok(Outcome::Done)
}
