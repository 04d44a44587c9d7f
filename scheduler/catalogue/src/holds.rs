//! What people have ordered of single moves: paused or cancelled, whoever carries them.

use std::collections::{BTreeMap, BTreeSet};

use domicile_estate::{BackendName, DatasetName};
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::leases::NOW_MS;
use crate::plans::MoveState;
use crate::row::{backend_id, backend_name, corrupt, dataset_id, dataset_name, stored};

/// What a person has ordered of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// It is to rest until it is resumed.
    Paused,
    /// It is not to be made, by this plan or a later one, until somebody wants it to be tried again.
    Cancelled,
}

impl Hold {
    fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "Paused",
            Self::Cancelled => "Cancelled",
        }
    }

    fn state(self) -> MoveState {
        match self {
            Self::Paused => MoveState::Paused,
            Self::Cancelled => MoveState::Cancelled,
        }
    }
}

impl TryFrom<&str> for Hold {
    type Error = CatalogueError;

    fn try_from(text: &str) -> Result<Self, CatalogueError> {
        match text {
            "Paused" => Ok(Self::Paused),
            "Cancelled" => Ok(Self::Cancelled),
            other => Err(corrupt(format!("an order `{other}` of a move"))),
        }
    }
}

/// A move of the latest plan: there is one at most for a dataset on a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldMove {
    /// The move's id within the plan.
    pub id: String,
    /// The dataset.
    pub dataset: DatasetName,
    /// The backend that it writes to or deletes from.
    pub backend: BackendName,
    /// Whether it deletes.
    pub retires: bool,
}

impl Catalogue {
    /// What people have ordered of moves, by dataset and the backend that is written to or deleted from.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn holds(&self) -> Result<BTreeMap<(DatasetName, BackendName), Hold>, CatalogueError> {
        let mut tx = self.read().await?;
        let rows = rows(&mut tx).await?;
        let hold = |(_, copy, _, kind): HoldRow| Ok((copy, Hold::try_from(kind.as_str())?));
        rows.into_iter().map(hold).collect()
    }

    /// Holds moves. INVARIANT: whoever carries their consignments now has lost his leases, and can neither publish nor
    /// record anything from then on; what he has sent of large objects is kept for whoever goes on.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`], or what the database says.
    pub async fn hold(&self, plan: u64, moves: &[HeldMove], hold: Hold) -> Result<(), CatalogueError> {
        let open = match hold {
            Hold::Paused => "Open",
            Hold::Cancelled => "Withdrawn",
        };
        let mut tx = self.write().await?;
        for held in moves {
            let dataset = dataset_id(&mut tx, &held.dataset).await?;
            let backend = backend_id(&mut tx, &held.backend).await?;
            let upsert = format!(
                "INSERT INTO holds (dataset_id, backend_id, retires, kind, since_ms) VALUES (?, ?, ?, ?, {NOW_MS})
                 ON CONFLICT DO UPDATE SET retires = excluded.retires, kind = excluded.kind, since_ms = excluded.since_ms"
            );
            let upsert = sqlx::query(sqlx::AssertSqlSafe(upsert));
            upsert
                .bind(dataset)
                .bind(backend)
                .bind(held.retires)
                .bind(hold.as_str())
                .execute(&mut *tx)
                .await?;
            let fence = sqlx::query(
                "UPDATE leases SET state = ?, epoch = epoch + 1, deadline_ms = NULL, worker = ''
                 WHERE state = 'Open' AND dataset_id = ? AND backend_id = ?",
            );
            fence
                .bind(open)
                .bind(dataset)
                .bind(backend)
                .execute(&mut *tx)
                .await?;
            let done = [MoveState::Done, hold.state()];
            set_state(
                &mut tx,
                (plan, &held.id),
                hold.state(),
                "ordered by a person",
                done,
            )
            .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Lifts what was ordered of moves, and offers those of their consignments again that have failed.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownDataset`], or what the database says.
    pub async fn lift(&self, plan: u64, moves: &[HeldMove]) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        for held in moves {
            let dataset = dataset_id(&mut tx, &held.dataset).await?;
            let backend = backend_id(&mut tx, &held.backend).await?;
            forget(&mut tx, (dataset, backend)).await?;
            let offer = sqlx::query(
                "UPDATE leases SET state = 'Open', reason = '', deadline_ms = NULL
                 WHERE state = 'Failed' AND dataset_id = ? AND backend_id = ?",
            );
            offer.bind(dataset).bind(backend).execute(&mut *tx).await?;
            let kept = [MoveState::Done, MoveState::Running];
            set_state(&mut tx, (plan, &held.id), MoveState::Pending, "", kept).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Forgets what was ordered of moves that the plan does not have; each of its moves comes with whether it deletes.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn keep_holds(
        &self,
        planned: &BTreeSet<(&DatasetName, &BackendName, bool)>,
    ) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        for (ids, (dataset, backend), retires, _) in rows(&mut tx).await? {
            if !planned.contains(&(&dataset, &backend, retires)) {
                forget(&mut tx, ids).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Who carries consignments now, by dataset and target.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn carriers(
        &self,
    ) -> Result<BTreeMap<(DatasetName, BackendName), BTreeSet<String>>, CatalogueError> {
        let mut tx = self.read().await?;
        let select = format!(
            "SELECT DISTINCT d.name, b.name, l.worker FROM leases l JOIN datasets d ON d.id = l.dataset_id
             JOIN backends b ON b.id = l.backend_id WHERE l.state = 'Open' AND l.deadline_ms >= {NOW_MS}"
        );
        let select = sqlx::query_as(sqlx::AssertSqlSafe(select));
        let rows: Vec<(String, String, String)> = select.fetch_all(&mut *tx).await?;
        let mut carriers: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for (dataset, backend, worker) in rows {
            let copy = (dataset_name(&dataset)?, backend_name(&backend)?);
            carriers.entry(copy).or_default().insert(worker);
        }
        Ok(carriers)
    }
}

type HoldRow = ((i64, i64), (DatasetName, BackendName), bool, String);

async fn rows(connection: &mut SqliteConnection) -> Result<Vec<HoldRow>, CatalogueError> {
    let select = sqlx::query_as(
        "SELECT h.dataset_id, h.backend_id, d.name, b.name, h.retires, h.kind FROM holds h
         JOIN datasets d ON d.id = h.dataset_id JOIN backends b ON b.id = h.backend_id",
    );
    let rows: Vec<(i64, i64, String, String, bool, String)> = select.fetch_all(connection).await?;
    let row =
        |(dataset, backend, dataset_text, backend_text, retires, kind): (_, _, String, String, _, _)| {
            let copy = (dataset_name(&dataset_text)?, backend_name(&backend_text)?);
            Ok(((dataset, backend), copy, retires, kind))
        };
    rows.into_iter().map(row).collect()
}

async fn forget(
    connection: &mut SqliteConnection,
    (dataset, backend): (i64, i64),
) -> Result<(), CatalogueError> {
    let delete = sqlx::query("DELETE FROM holds WHERE dataset_id = ? AND backend_id = ?");
    delete.bind(dataset).bind(backend).execute(connection).await?;
    Ok(())
}

/// Sets where a move stands, unless it stands in one of two states.
async fn set_state(
    connection: &mut SqliteConnection,
    (plan, id): (u64, &str),
    state: MoveState,
    reason: &str,
    unless: [MoveState; 2],
) -> Result<(), CatalogueError> {
    let update = format!(
        "UPDATE moves SET state = ?, reason = ?, updated_ms = {NOW_MS}
         WHERE plan = ? AND id = ? AND state NOT IN (?, ?)"
    );
    let update = sqlx::query(sqlx::AssertSqlSafe(update));
    let update = update
        .bind(state.as_str())
        .bind(reason)
        .bind(stored(plan, "a plan's number")?);
    let update = update.bind(id).bind(unless[0].as_str()).bind(unless[1].as_str());
    update.execute(connection).await?;
    Ok(())
}
