//! The ledgers of transfers that go in parts, and what the sweep has to look for.

use std::collections::BTreeMap;

use domicile_estate::{BackendName, DatasetName};
use domicile_movers::{
    Ledger, Opening, PartReceipt, Phase, Place, Record, Seen, SourceVersion, TransferId, UploadToken,
};
use serde_json::json;
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::leases::{Held, Lease, NOW_MS, hold};
use crate::row::{backend_id, backend_name, corrupt, count, dataset_name, hex, json_rows, stored, unhex};

/// How long a worker that has lost its lease may sleep and still leave something behind that is found: its row stays
/// so long.
const SLEEPERS_MS: i64 = 60 * 60 * 1000;
/// How late a request that a network has doubled may arrive and begin an upload that is found: it is looked for again until
/// then, also where nobody sleeps.
const DOUBLED_MS: i64 = 10 * 60 * 1000;

/// Where unfinished uploads may lie, and which of them are to stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unswept {
    /// The dataset.
    pub dataset: DatasetName,
    /// The backend.
    pub backend: BackendName,
    /// Uploads that somebody can go on with.
    pub kept: Vec<UploadToken>,
}

#[derive(sqlx::FromRow)]
struct LedgerRow {
    transfer: String,
    phase: String,
    source: Option<String>,
    source_path: Option<String>,
    source_size: Option<i64>,
    source_etag: Option<String>,
    source_modified_ms: Option<i64>,
    part_size: Option<i64>,
    token: Option<String>,
    sealed_size: Option<i64>,
    sealed_sha256: Option<Vec<u8>>,
    sealed_blake3: Option<Vec<u8>>,
    etag: Option<String>,
    withdrawn: Option<String>,
}

#[derive(sqlx::FromRow)]
struct PartRow {
    number: i64,
    size: i64,
    etag: String,
    chaining: Vec<u8>,
    crc64nvme: Option<i64>,
}

impl TryFrom<LedgerRow> for Ledger {
    type Error = CatalogueError;

    fn try_from(row: LedgerRow) -> Result<Self, CatalogueError> {
        let phase = Phase::ALL.into_iter().find(|phase| phase.as_str() == row.phase);
        let opening = match (row.source, row.source_path, row.source_size, row.part_size) {
            (Some(backend), Some(path), Some(size), Some(part_size)) => Some(Opening {
                source: Place {
                    backend: backend_name(&backend)?,
                    path,
                },
                version: SourceVersion {
                    size: count(size)?,
                    etag: row.source_etag,
                    modified_ms: row.source_modified_ms,
                },
                part_size: count(part_size)?,
            }),
            _ => None,
        };
        let sealed = match (row.sealed_size, row.sealed_blake3) {
            (Some(size), Some(blake3)) => Some(Seen {
                size: count(size)?,
                sha256: row.sealed_sha256.as_deref().map(hex),
                blake3: hex(&blake3),
            }),
            _ => None,
        };
        Ok(Self {
            phase: phase.ok_or_else(|| corrupt(format!("a phase `{}` of a transfer", row.phase)))?,
            opening,
            token: row.token.map(UploadToken),
            parts: BTreeMap::new(),
            sealed,
            etag: row.etag,
            withdrawn: row.withdrawn,
        })
    }
}

impl TryFrom<PartRow> for PartReceipt {
    type Error = CatalogueError;

    fn try_from(row: PartRow) -> Result<Self, CatalogueError> {
        let number = u32::try_from(row.number);
        let chaining = row.chaining.try_into();
        Ok(Self {
            number: number.map_err(|_| corrupt(format!("part {} of a transfer", row.number)))?,
            size: count(row.size)?,
            etag: row.etag,
            chaining: chaining.map_err(|_| corrupt(format!("the digest of part {}", row.number)))?,
            crc64nvme: row.crc64nvme.map(i64::cast_unsigned),
        })
    }
}

impl Catalogue {
    /// What is recorded of transfers: the ledgers of those of which something is. All are asked for at once, for most
    /// transfers are of small objects, and have none.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn ledgers(
        &self,
        transfers: &[TransferId],
    ) -> Result<BTreeMap<TransferId, Ledger>, CatalogueError> {
        let mut tx = self.read().await?;
        let wanted = json_rows(transfers.iter().map(|transfer| json!(transfer.as_str())));
        let select = sqlx::query_as::<_, LedgerRow>(
            "SELECT l.transfer, l.phase, b.name AS source, l.source_path, l.source_size, l.source_etag,
                    l.source_modified_ms, l.part_size, l.token, l.sealed_size, l.sealed_sha256, l.sealed_blake3, l.etag,
                    l.withdrawn
             FROM json_each(?) w CROSS JOIN ledgers l ON l.transfer = w.value
             LEFT JOIN backends b ON b.id = l.source_backend_id",
        );
        let mut found = BTreeMap::new();
        for row in select.bind(wanted).fetch_all(&mut *tx).await? {
            found.insert(row.transfer.clone(), Ledger::try_from(row)?);
        }
        for (transfer, ledger) in &mut found {
            let select = sqlx::query_as::<_, PartRow>(
                "SELECT number, size, etag, chaining, crc64nvme FROM ledger_parts WHERE transfer = ?",
            );
            for row in select.bind(transfer).fetch_all(&mut *tx).await? {
                let receipt = PartReceipt::try_from(row)?;
                ledger.parts.insert(receipt.number, receipt);
            }
        }
        let of = |transfer: &TransferId| Some((transfer.clone(), found.remove(transfer.as_str())?));
        Ok(transfers.iter().filter_map(of).collect())
    }

    /// What is recorded of one transfer; an empty ledger if nothing is.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn ledger(&self, transfer: &TransferId) -> Result<Ledger, CatalogueError> {
        let mut found = self.ledgers(std::slice::from_ref(transfer)).await?;
        Ok(found.remove(transfer).unwrap_or_default())
    }

    /// Writes a record into the ledger of a transfer to a path of the consignment's target, if we have the lease, which
    /// then lasts for so many milliseconds.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn record_transfer(
        &self,
        lease: &Lease,
        (transfer, path): (&TransferId, &str),
        record: &Record,
        ttl_ms: u64,
    ) -> Result<Held, CatalogueError> {
        let mut tx = self.write().await?;
        if hold(&mut tx, lease.id, lease.epoch, ttl_ms).await? == Held::No {
            return Ok(Held::No);
        }
        if !matches!(
            record,
            Record::Renewed | Record::Waiting { .. } | Record::Released(_)
        ) {
            make_row(&mut tx, lease.id, transfer, path).await?;
            write(&mut tx, transfer, record).await?;
        }
        tx.commit().await?;
        Ok(Held::Yes)
    }

    /// Where uploads may lie that nobody goes on with. A copy of which somebody has a consignment is left alone.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn unswept(&self) -> Result<Vec<Unswept>, CatalogueError> {
        let mut tx = self.read().await?;
        let select = format!(
            "SELECT d.name, b.name, l.token FROM ledgers l JOIN leases a ON a.id = l.lease_id
             JOIN datasets d ON d.id = a.dataset_id JOIN backends b ON b.id = a.backend_id
             WHERE NOT EXISTS (SELECT 1 FROM leases o WHERE o.dataset_id = a.dataset_id
                 AND o.backend_id = a.backend_id AND o.state = 'Open' AND o.deadline_ms >= {NOW_MS})
               AND EXISTS (SELECT 1 FROM ledgers u JOIN leases c ON c.id = u.lease_id
                 WHERE u.unswept = 1 AND c.dataset_id = a.dataset_id AND c.backend_id = a.backend_id)
             ORDER BY d.name, b.name"
        );
        let select = sqlx::query_as(sqlx::AssertSqlSafe(select));
        let rows: Vec<(String, String, Option<String>)> = select.fetch_all(&mut *tx).await?;
        let mut all: BTreeMap<(String, String), Vec<UploadToken>> = BTreeMap::new();
        for (dataset, backend, token) in rows {
            let kept = all.entry((dataset, backend)).or_default();
            kept.extend(token.map(UploadToken));
        }
        let unswept = |((dataset, backend), kept): ((String, String), _)| {
            Ok(Unswept {
                dataset: dataset_name(&dataset)?,
                backend: backend_name(&backend)?,
                kept,
            })
        };
        all.into_iter().map(unswept).collect()
    }

    /// Notes that what [`Catalogue::unswept`] told of a copy was swept. Where a worker that has lost its lease may still
    /// sleep, or a doubled request may come late, it will be told again.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn note_swept(&self, unswept: &Unswept) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let of_copy = "lease_id IN (SELECT a.id FROM leases a JOIN datasets d ON d.id = a.dataset_id
                 JOIN backends b ON b.id = a.backend_id WHERE d.name = ?1 AND b.name = ?2
                 AND (a.epoch <= 1 AND a.state <> 'Withdrawn' OR ?3 = 0))";
        for (since_ms, sleepless) in [(DOUBLED_MS, 1), (SLEEPERS_MS, 0)] {
            let rows = format!("{of_copy} AND changed_ms <= {NOW_MS} - ?4");
            for sql in [
                format!("UPDATE ledgers SET unswept = 0 WHERE {rows}"),
                format!(
                    "DELETE FROM ledgers WHERE unswept = 0 AND phase = 'Planned' AND withdrawn IS NULL AND {rows}"
                ),
            ] {
                let query = sqlx::query(sqlx::AssertSqlSafe(sql));
                let query = query
                    .bind(unswept.dataset.as_str())
                    .bind(unswept.backend.as_str());
                query.bind(sleepless).bind(since_ms).execute(&mut *tx).await?;
            }
        }
        Ok(tx.commit().await?)
    }
}

async fn make_row(
    connection: &mut SqliteConnection,
    lease: i64,
    transfer: &TransferId,
    path: &str,
) -> Result<(), CatalogueError> {
    let insert = format!(
        "INSERT INTO ledgers (transfer, lease_id, path, phase, changed_ms) VALUES (?, ?, ?, 'Planned', {NOW_MS})
         ON CONFLICT DO UPDATE SET lease_id = excluded.lease_id, path = excluded.path, changed_ms = excluded.changed_ms"
    );
    let insert = sqlx::query(sqlx::AssertSqlSafe(insert));
    let insert = insert.bind(transfer.as_str()).bind(lease).bind(path);
    insert.execute(connection).await?;
    Ok(())
}

/// Writes what [`Ledger::apply`] does to a ledger in memory.
async fn write(
    connection: &mut SqliteConnection,
    transfer: &TransferId,
    record: &Record,
) -> Result<(), CatalogueError> {
    match record {
        Record::Intended(opening) => {
            clear(connection, transfer).await?;
            intend(connection, transfer, opening).await
        }
        Record::Opened(token) => {
            let update = sqlx::query("UPDATE ledgers SET phase = 'Opened', token = ? WHERE transfer = ?");
            update
                .bind(&token.0)
                .bind(transfer.as_str())
                .execute(connection)
                .await?;
            Ok(())
        }
        Record::Parts(receipts) => keep_parts(connection, transfer, receipts).await,
        Record::Sealed(seen) => seal(connection, transfer, seen).await,
        Record::Withdrawing { etag } => {
            let update = sqlx::query("UPDATE ledgers SET withdrawn = ? WHERE transfer = ?");
            update
                .bind(etag)
                .bind(transfer.as_str())
                .execute(connection)
                .await?;
            Ok(())
        }
        Record::Published { etag } => {
            let update = sqlx::query(
                "UPDATE ledgers SET phase = 'Published', token = NULL, etag = ? WHERE transfer = ?",
            );
            let update = update.bind(etag).bind(transfer.as_str());
            update.execute(&mut *connection).await?;
            forget_parts(connection, transfer).await
        }
        Record::Cleared => clear(connection, transfer).await,
        Record::Registered(_) | Record::Failed(_) | Record::Cancelled => {
            close_ledger(connection, transfer).await
        }
        Record::Renewed | Record::Waiting { .. } | Record::Released(_) => Ok(()),
    }
}

/// Nothing is left of a transfer but what the sweep has yet to look for.
pub(crate) async fn close_ledger(
    connection: &mut SqliteConnection,
    transfer: &TransferId,
) -> Result<(), CatalogueError> {
    clear(connection, transfer).await?;
    let update = sqlx::query("UPDATE ledgers SET withdrawn = NULL WHERE transfer = ?");
    update.bind(transfer.as_str()).execute(&mut *connection).await?;
    let delete = sqlx::query("DELETE FROM ledgers WHERE transfer = ? AND unswept = 0");
    delete.bind(transfer.as_str()).execute(connection).await?;
    Ok(())
}

async fn intend(
    connection: &mut SqliteConnection,
    transfer: &TransferId,
    opening: &Opening,
) -> Result<(), CatalogueError> {
    let source = backend_id(connection, &opening.source.backend).await?;
    let update = sqlx::query(
        "UPDATE ledgers SET phase = 'Intended', unswept = 1, source_backend_id = ?, source_path = ?, source_size = ?,
             source_etag = ?, source_modified_ms = ?, part_size = ? WHERE transfer = ?",
    );
    let update = update
        .bind(source)
        .bind(&opening.source.path)
        .bind(stored(opening.version.size, "a size")?)
        .bind(&opening.version.etag)
        .bind(opening.version.modified_ms)
        .bind(stored(opening.part_size, "a part's size")?);
    update.bind(transfer.as_str()).execute(connection).await?;
    Ok(())
}

async fn keep_parts(
    connection: &mut SqliteConnection,
    transfer: &TransferId,
    receipts: &[PartReceipt],
) -> Result<(), CatalogueError> {
    for receipt in receipts {
        let insert = sqlx::query(
            "INSERT OR REPLACE INTO ledger_parts (transfer, number, size, etag, chaining, crc64nvme)
             VALUES (?, ?, ?, ?, ?, ?)",
        );
        let insert = insert
            .bind(transfer.as_str())
            .bind(receipt.number)
            .bind(stored(receipt.size, "a part's size")?)
            .bind(&receipt.etag)
            .bind(receipt.chaining.as_slice())
            .bind(receipt.crc64nvme.map(u64::cast_signed));
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn seal(
    connection: &mut SqliteConnection,
    transfer: &TransferId,
    seen: &Seen,
) -> Result<(), CatalogueError> {
    let sha256 = seen.sha256.as_deref().map(unhex).transpose()?;
    let update = sqlx::query(
        "UPDATE ledgers SET phase = 'Sealed', sealed_size = ?, sealed_sha256 = ?, sealed_blake3 = ? WHERE transfer = ?",
    );
    let update = update
        .bind(stored(seen.size, "a size")?)
        .bind(sha256.as_ref().map(<[u8; 32]>::as_slice))
        .bind(unhex(&seen.blake3)?.as_slice().to_vec());
    update.bind(transfer.as_str()).execute(connection).await?;
    Ok(())
}

async fn clear(connection: &mut SqliteConnection, transfer: &TransferId) -> Result<(), CatalogueError> {
    let update = sqlx::query(
        "UPDATE ledgers SET phase = 'Planned', source_backend_id = NULL, source_path = NULL, source_size = NULL,
             source_etag = NULL, source_modified_ms = NULL, part_size = NULL, token = NULL, sealed_size = NULL,
             sealed_sha256 = NULL, sealed_blake3 = NULL, etag = NULL WHERE transfer = ?",
    );
    update.bind(transfer.as_str()).execute(&mut *connection).await?;
    forget_parts(connection, transfer).await
}

async fn forget_parts(
    connection: &mut SqliteConnection,
    transfer: &TransferId,
) -> Result<(), CatalogueError> {
    let delete = sqlx::query("DELETE FROM ledger_parts WHERE transfer = ?");
    delete.bind(transfer.as_str()).execute(connection).await?;
    Ok(())
}
