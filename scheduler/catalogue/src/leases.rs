//! Consignments of approved copies, and who carries them: any number of processes, each object by one of them.
//!
//! INVARIANT: what is said in the name of an epoch that is no longer the highest changes nothing. Each update compares
//! and sets in one statement; a lease that is withdrawn or taken over has a higher epoch from then on.

use domicile_estate::{BackendName, ByteCount, DatasetName, ObjectKey};
use domicile_movers::{Epoch, TransferId};
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::copies::Verification;
use crate::error::CatalogueError;
use crate::inspected::{as_inspections, record_all};
use crate::ledgers::close_ledger;
use crate::row::{
    backend_id, backend_name, bytes, corrupt, count, dataset_id, dataset_name, object_key, stored,
};
use crate::turns;

/// Milliseconds since 1970 by the clock of the database, which is the only one that leases know.
pub(crate) const NOW_MS: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

/// Objects of one copy that are carried together: one large one or a batch of small ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consignment {
    /// The dataset.
    pub dataset: DatasetName,
    /// Where to write.
    pub target: BackendName,
    /// Where to read, best first.
    pub sources: Vec<BackendName>,
    /// The first key.
    pub first: ObjectKey,
    /// The last key.
    pub last: ObjectKey,
    /// How many objects lie between them, these included, that are not on the target.
    pub objects: u64,
    /// Their bytes.
    pub bytes: ByteCount,
}

/// The right to carry a consignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its number in the catalogue.
    pub id: i64,
    /// Our epoch.
    pub epoch: Epoch,
    /// What is to be carried.
    pub consignment: Consignment,
}

/// Whether an update counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Held {
    /// We have the lease, and the update is written.
    Yes,
    /// Somebody else has it, or it was withdrawn: nothing was written.
    No,
}

/// How a consignment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsignmentEnd {
    /// Every object is verified and recorded.
    Done,
    /// Some objects failed, and why.
    Failed(String),
}

/// How far the consignments of one copy have come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    /// Nobody carries them.
    pub waiting: u64,
    /// Somebody does.
    pub leased: u64,
    /// Why others failed.
    pub failed: Vec<String>,
}

#[derive(sqlx::FromRow)]
struct LeaseRow {
    id: i64,
    epoch: i64,
    dataset: String,
    backend: String,
    sources: String,
    first_key: String,
    last_key: String,
    objects: i64,
    bytes: i64,
}

impl TryFrom<LeaseRow> for Lease {
    type Error = CatalogueError;

    fn try_from(row: LeaseRow) -> Result<Self, CatalogueError> {
        let sources: Vec<String> = serde_json::from_str(&row.sources)
            .map_err(|error| corrupt(format!("the sources of consignment {}: {error}", row.id)))?;
        Ok(Self {
            id: row.id,
            epoch: Epoch(count(row.epoch)?),
            consignment: Consignment {
                dataset: dataset_name(&row.dataset)?,
                target: backend_name(&row.backend)?,
                sources: sources
                    .iter()
                    .map(|name| backend_name(name))
                    .collect::<Result<_, _>>()?,
                first: object_key(&row.first_key)?,
                last: object_key(&row.last_key)?,
                objects: count(row.objects)?,
                bytes: bytes(row.bytes)?,
            },
        })
    }
}

/// A consignment.
const SELECT: &str = "
    SELECT l.id, l.epoch, d.name AS dataset, b.name AS backend, l.sources, l.first_key, l.last_key, l.objects, l.bytes
    FROM leases l JOIN datasets d ON d.id = l.dataset_id JOIN backends b ON b.id = l.backend_id WHERE l.id = ?";

impl Catalogue {
    /// Offers consignments to whoever carries. One that was offered before is open again; its ledgers are kept.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`], or what the database says.
    pub async fn offer(&self, consignments: &[Consignment]) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        for consignment in consignments {
            let dataset = dataset_id(&mut tx, &consignment.dataset).await?;
            let backend = backend_id(&mut tx, &consignment.target).await?;
            let names: Vec<&str> = consignment.sources.iter().map(BackendName::as_str).collect();
            let sources = serde_json::to_string(&names)
                .map_err(|error| corrupt(format!("names that cannot be written: {error}")))?;
            let insert = sqlx::query(
                "INSERT INTO leases (dataset_id, backend_id, first_key, last_key, objects, bytes, sources, state)
                 VALUES (?, ?, ?, ?, ?, ?, ?, 'Open')
                 ON CONFLICT DO UPDATE SET state = 'Open', reason = '', objects = excluded.objects,
                     bytes = excluded.bytes, sources = excluded.sources",
            );
            let insert = insert.bind(dataset).bind(backend);
            let insert = insert
                .bind(consignment.first.as_str())
                .bind(consignment.last.as_str());
            let insert = insert
                .bind(stored(consignment.objects, "a number of objects")?)
                .bind(stored(consignment.bytes.0, "a size")?)
                .bind(sources);
            insert.execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Takes up a consignment that nobody carries, of one copy or of any, for so many milliseconds: the first of the owner
    /// whose turn it is.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn lease(
        &self,
        worker: &str,
        copy: Option<(&DatasetName, &BackendName)>,
        ttl_ms: u64,
    ) -> Result<Option<Lease>, CatalogueError> {
        let mut tx = self.write().await?;
        let of = (
            copy.map(|(dataset, _)| dataset.as_str()),
            copy.map(|(_, backend)| backend.as_str()),
        );
        let Some(id) = turns::next(&mut tx, of).await? else {
            return Ok(None);
        };
        let select = sqlx::query_as::<_, LeaseRow>(SELECT);
        let mut row = select.bind(id).fetch_one(&mut *tx).await?;
        let update = format!(
            "UPDATE leases SET epoch = epoch + 1, worker = ?, deadline_ms = {NOW_MS} + ? WHERE id = ? RETURNING epoch"
        );
        let update = sqlx::query_scalar(sqlx::AssertSqlSafe(update));
        let update = update
            .bind(worker)
            .bind(stored(ttl_ms, "a lease's time")?)
            .bind(row.id);
        row.epoch = update.fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(Some(row.try_into()?))
    }

    /// Makes a lease last for so many milliseconds from now.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn renew(&self, lease: &Lease, ttl_ms: u64) -> Result<Held, CatalogueError> {
        let mut tx = self.write().await?;
        let held = hold(&mut tx, lease.id, lease.epoch, ttl_ms).await?;
        tx.commit().await?;
        Ok(held)
    }

    /// Looks whether a lease is still ours by its number; it makes it last no longer. Who has let its time pass still has it
    /// as long as nobody has taken it.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn still_leased(&self, lease: &Lease) -> Result<Held, CatalogueError> {
        let mut tx = self.read().await?;
        let select = sqlx::query_scalar("SELECT 1 FROM leases WHERE id = ? AND epoch = ? AND state = 'Open'");
        let select = select.bind(lease.id).bind(stored(lease.epoch.0, "an epoch")?);
        let found: Option<i64> = select.fetch_optional(&mut *tx).await?;
        Ok(if found.is_some() { Held::Yes } else { Held::No })
    }

    /// Records objects as verified, if we have the lease: those of the consignment on its target, and what was learnt
    /// of their sources. The ledgers of the transfers that this ends are closed with it.
    ///
    /// # Errors
    /// As [`Catalogue::record_verified`].
    pub async fn record_verified_under(
        &self,
        lease: &Lease,
        batch: &[Verification],
        ended: &[TransferId],
        ttl_ms: u64,
    ) -> Result<Held, CatalogueError> {
        let mut tx = self.write().await?;
        if hold(&mut tx, lease.id, lease.epoch, ttl_ms).await? == Held::No {
            return Ok(Held::No);
        }
        for transfer in ended {
            close_ledger(&mut tx, transfer).await?;
        }
        record_all(&mut tx, &as_inspections(batch)).await?;
        tx.commit().await?;
        Ok(Held::Yes)
    }

    /// Ends a consignment, if we have the lease.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn end_consignment(&self, lease: &Lease, end: &ConsignmentEnd) -> Result<Held, CatalogueError> {
        let (state, reason) = match end {
            ConsignmentEnd::Done => ("Done", ""),
            ConsignmentEnd::Failed(reason) => ("Failed", reason.as_str()),
        };
        let mut tx = self.write().await?;
        let update = sqlx::query(
            "UPDATE leases SET state = ?, reason = ?, deadline_ms = NULL WHERE id = ? AND epoch = ? AND state = 'Open'",
        );
        let update = update.bind(state).bind(reason).bind(lease.id);
        let update = update.bind(stored(lease.epoch.0, "an epoch")?);
        let held = update.execute(&mut *tx).await?.rows_affected() > 0;
        tx.commit().await?;
        Ok(if held { Held::Yes } else { Held::No })
    }

    /// Gives a consignment back, so that somebody else can take it up at once.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn give_back(&self, lease: &Lease) -> Result<Held, CatalogueError> {
        let mut tx = self.write().await?;
        let update = sqlx::query(
            "UPDATE leases SET deadline_ms = NULL, worker = '' WHERE id = ? AND epoch = ? AND state = 'Open'",
        );
        let update = update.bind(lease.id).bind(stored(lease.epoch.0, "an epoch")?);
        let held = update.execute(&mut *tx).await?.rows_affected() > 0;
        tx.commit().await?;
        Ok(if held { Held::Yes } else { Held::No })
    }

    /// How far the consignments of a copy have come.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn offers(
        &self,
        dataset: &DatasetName,
        backend: &BackendName,
    ) -> Result<Offers, CatalogueError> {
        let mut tx = self.read().await?;
        let select = sqlx::query_as(
            "SELECT l.state, l.deadline_ms IS NOT NULL, l.reason FROM leases l
             JOIN datasets d ON d.id = l.dataset_id JOIN backends b ON b.id = l.backend_id
             WHERE d.name = ? AND b.name = ? AND l.state IN ('Open', 'Failed') ORDER BY l.id",
        );
        let select = select.bind(dataset.as_str()).bind(backend.as_str());
        let rows: Vec<(String, bool, String)> = select.fetch_all(&mut *tx).await?;
        let mut offers = Offers::default();
        for (state, leased, reason) in rows {
            match (state.as_str(), leased) {
                ("Failed", _) => offers.failed.push(reason),
                (_, true) => offers.leased += 1,
                (_, false) => offers.waiting += 1,
            }
        }
        Ok(offers)
    }

    /// Withdraws whatever is still offered, of one copy or of all, for it is about to be offered anew or another plan to
    /// be carried out: who carries it now can neither publish nor record anything from then on. What was offered and has
    /// ended is forgotten, but for its ledgers.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn withdraw_offers(
        &self,
        copy: Option<(&DatasetName, &BackendName)>,
    ) -> Result<(), CatalogueError> {
        let of_copy = "(?1 IS NULL OR dataset_id = (SELECT id FROM datasets WHERE name = ?1)
             AND backend_id = (SELECT id FROM backends WHERE name = ?2))";
        let mut tx = self.write().await?;
        for sql in [
            "UPDATE leases SET state = 'Withdrawn', epoch = epoch + 1, deadline_ms = NULL WHERE state = 'Open'",
            "DELETE FROM leases WHERE state <> 'Open' AND id NOT IN (SELECT lease_id FROM ledgers)",
        ] {
            let query = sqlx::query(sqlx::AssertSqlSafe(format!("{sql} AND {of_copy}")));
            let query = query.bind(copy.map(|(dataset, _)| dataset.as_str()));
            let query = query.bind(copy.map(|(_, backend)| backend.as_str()));
            query.execute(&mut *tx).await?;
        }
        if copy.is_none() {
            sqlx::query("DELETE FROM turns").execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// Compares the epoch and lengthens the lease.
pub(crate) async fn hold(
    connection: &mut SqliteConnection,
    lease: i64,
    epoch: Epoch,
    ttl_ms: u64,
) -> Result<Held, CatalogueError> {
    let update =
        format!("UPDATE leases SET deadline_ms = {NOW_MS} + ? WHERE id = ? AND epoch = ? AND state = 'Open'");
    let update = sqlx::query(sqlx::AssertSqlSafe(update));
    let update = update
        .bind(stored(ttl_ms, "a lease's time")?)
        .bind(lease)
        .bind(stored(epoch.0, "an epoch")?);
    let held = update.execute(connection).await?.rows_affected() > 0;
    Ok(if held { Held::Yes } else { Held::No })
}
