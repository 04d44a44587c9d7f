//! `catalogue backup`.

use domicile_catalogue::Backup;
use domicile_estate::ByteCount;
use serde_json::json;

use crate::answer;
use crate::cli::{BackupArgs, Global};
use crate::outcome::Outcome;
use crate::terminal;
use crate::world::open_to_read;

/// `catalogue backup`.
pub async fn backup(global: &Global, args: &BackupArgs) -> anyhow::Result<Outcome> {
    let catalogue = open_to_read(global).await?;
    let shown = args.file.display().to_string();
    let resolved = |path: &std::path::Path| std::fs::canonicalize(path).ok();
    if let (Some(file), Some(own)) = (resolved(&args.file), catalogue.path().and_then(resolved)) {
        anyhow::ensure!(
            file != own,
            "`{shown}` is the catalogue itself: name another file"
        );
    }
    anyhow::ensure!(
        args.overwrite || !args.file.exists(),
        "`{shown}` is there already: name another file, or replace it with `--overwrite`"
    );
    let Backup {
        revision,
        datasets,
        objects,
        bytes,
    } = catalogue.back_up(&args.file).await?;
    let document = json!({
        "file": shown, "revision": revision, "datasets": datasets, "objects": objects, "bytes": bytes,
    });
    if !answer::structured(global.output, &document, std::slice::from_ref(&document))? {
        terminal::answer(&format!(
            "{shown}: {datasets} datasets, {objects} objects, revision {revision}, {}; read back and whole",
            ByteCount(bytes)
        ));
    }
    Ok(Outcome::Done)
}
