//! Plans and their moves, as they were carried out.

use futures::TryStreamExt;
use serde::Serialize;
use sqlx::SqliteConnection;

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::group::Change;
use crate::row::{corrupt, count, now_ms, stored};

macro_rules! stored_state {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl $name {
            /// The state as it is stored and shown.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }

        impl TryFrom<&str> for $name {
            type Error = CatalogueError;

            fn try_from(text: &str) -> Result<Self, CatalogueError> {
                match text {
                    $(stringify!($variant) => Ok(Self::$variant),)+
                    other => Err(corrupt(format!("a state `{other}` of a plan or move"))),
                }
            }
        }
    };
}

stored_state!(
    /// How far a plan has come.
    PlanState {
        /// It is being carried out, or was when the process was killed.
        Running,
        /// Every move was made.
        Done,
        /// Some moves failed.
        Failed,
        /// Some moves were held back, and nothing failed.
        Waiting,
        /// A later plan took its place.
        Superseded,
    }
);

stored_state!(
    /// How far a move has come.
    MoveState {
        /// Not begun.
        Pending,
        /// Under way, or it was when the process was killed.
        Running,
        /// A person has paused it.
        Paused,
        /// Made.
        Done,
        /// Given up, with a reason.
        Failed,
        /// Taken back by a person, or because it waits for a move that failed.
        Cancelled,
    }
);

/// A recorded plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRecord {
    /// Its number.
    pub number: u64,
    /// The digest of its inputs.
    pub digest: String,
    /// The plan as JSON.
    pub json: String,
    /// When it was recorded, in milliseconds since 1970.
    pub created_ms: i64,
    /// How far it has come.
    pub state: PlanState,
}

/// A recorded move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveRecord {
    /// Its id within the plan.
    pub id: String,
    /// The move as JSON.
    pub json: String,
    /// How far it has come.
    pub state: MoveState,
    /// How often it was begun.
    pub attempts: u64,
    /// Why it is in this state; empty if there is nothing to say.
    pub reason: String,
    /// When the state was last set, in milliseconds since 1970.
    pub updated_ms: i64,
}

/// How far a move has come since it was last noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveNote {
    /// The move's id within the plan.
    pub id: String,
    /// How far.
    pub state: MoveState,
    /// Why; empty if there is nothing to say.
    pub reason: String,
    /// How often it has begun to run since.
    pub attempts: u32,
}

pub(crate) async fn note_moves(
    connection: &mut SqliteConnection,
    plan: u64,
    notes: &[MoveNote],
) -> Result<(), CatalogueError> {
    let (number, at_ms) = (stored(plan, "a plan's number")?, now_ms());
    for note in notes {
        let update = sqlx::query(
            "UPDATE moves SET state = ?, reason = ?, updated_ms = ?, attempts = attempts + ?
             WHERE plan = ? AND id = ?",
        );
        let update = update.bind(note.state.as_str()).bind(&note.reason).bind(at_ms);
        let update = update.bind(note.attempts).bind(number).bind(&note.id);
        if update.execute(&mut *connection).await?.rows_affected() == 0 {
            return Err(CatalogueError::UnknownMove { plan });
        }
    }
    Ok(())
}

impl Catalogue {
    /// The number that the next plan would get. Asking does not take it.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn next_plan_number(&self) -> Result<u64, CatalogueError> {
        let mut tx = self.read().await?;
        count(
            sqlx::query_scalar("SELECT coalesce(max(number), 0) + 1 FROM plans")
                .fetch_one(&mut *tx)
                .await?,
        )
    }

    /// Records a plan as running and its moves (id and document) as pending. Earlier plans that still run are superseded.
    /// The plan's JSON comes in parts, for one value may hold no more than a billion bytes; the parts together are the
    /// text, and may be cut anywhere.
    ///
    /// # Errors
    /// [`CatalogueError::PlanTaken`] if the number is taken; [`CatalogueError::Corrupt`] if a move is no JSON.
    pub async fn record_plan(
        &self,
        number: u64,
        digest: &str,
        json: impl IntoIterator<Item = Vec<u8>>,
        moves: impl IntoIterator<Item = (String, impl Serialize)>,
    ) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let (plan, at_ms) = (stored(number, "a plan's number")?, now_ms());
        let supersede = sqlx::query("UPDATE plans SET state = ? WHERE state IN (?, ?)");
        supersede
            .bind(PlanState::Superseded.as_str())
            .bind(PlanState::Running.as_str())
            .bind(PlanState::Waiting.as_str())
            .execute(&mut *tx)
            .await?;
        let insert = sqlx::query(
            "INSERT INTO plans (number, digest, json, created_ms, state) VALUES (?, ?, '', ?, ?)
             ON CONFLICT DO NOTHING",
        );
        let insert = insert
            .bind(plan)
            .bind(digest)
            .bind(at_ms)
            .bind(PlanState::Running.as_str());
        if insert.execute(&mut *tx).await?.rows_affected() == 0 {
            return Err(CatalogueError::PlanTaken { plan: number });
        }
        for (part, bytes) in (0_i64..).zip(json) {
            let insert = sqlx::query("INSERT INTO plan_parts (plan, part, json) VALUES (?, ?, ?)");
            let insert = insert.bind(plan).bind(part).bind(bytes);
            insert.execute(&mut *tx).await?;
        }
        for (id, planned) in moves {
            let json = serde_json::to_string(&planned)
                .map_err(|error| corrupt(format!("a move that cannot be written: {error}")))?;
            let insert =
                sqlx::query("INSERT INTO moves (plan, id, json, state, updated_ms) VALUES (?, ?, ?, ?, ?)");
            let insert = insert
                .bind(plan)
                .bind(id)
                .bind(json)
                .bind(MoveState::Pending.as_str())
                .bind(at_ms);
            insert.execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Records how far a plan has come.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownMove`] if there is no such plan.
    pub async fn plan_state(&self, number: u64, state: PlanState) -> Result<(), CatalogueError> {
        let mut tx = self.write().await?;
        let update = sqlx::query("UPDATE plans SET state = ? WHERE number = ?");
        let update = update
            .bind(state.as_str())
            .bind(stored(number, "a plan's number")?);
        if update.execute(&mut *tx).await?.rows_affected() == 0 {
            return Err(CatalogueError::UnknownMove { plan: number });
        }
        Ok(tx.commit().await?)
    }

    /// Records how far moves have come, all or none of it.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownMove`] if there is no such move.
    pub async fn move_states(&self, plan: u64, notes: Vec<MoveNote>) -> Result<(), CatalogueError> {
        self.together(Change::Moves(plan, notes)).await
    }

    /// The recorded plans, the newest first.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn plans(&self) -> Result<Vec<PlanRecord>, CatalogueError> {
        let mut tx = self.read().await?;
        let select =
            sqlx::query_as("SELECT number, digest, json, created_ms, state FROM plans ORDER BY number DESC");
        let rows: Vec<(i64, String, String, i64, String)> = select.fetch_all(&mut *tx).await?;
        let mut plans = Vec::with_capacity(rows.len());
        for (number, digest, first, created_ms, state) in rows {
            // Plans of older versions have their text in the row itself, and no parts.
            let mut json = first.into_bytes();
            let mut parts = sqlx::query_scalar("SELECT json FROM plan_parts WHERE plan = ? ORDER BY part")
                .bind(number)
                .fetch(&mut *tx);
            while let Some(part) = parts.try_next().await? {
                let part: Vec<u8> = part;
                json.extend_from_slice(&part);
            }
            plans.push(PlanRecord {
                number: count(number)?,
                digest,
                json: String::from_utf8(json).map_err(|_| corrupt("a plan that is no text".to_owned()))?,
                created_ms,
                state: PlanState::try_from(state.as_str())?,
            });
        }
        Ok(plans)
    }

    /// The moves of a plan, by id.
    ///
    /// # Errors
    /// [`CatalogueError`] if the database fails.
    pub async fn moves(&self, plan: u64) -> Result<Vec<MoveRecord>, CatalogueError> {
        let mut tx = self.read().await?;
        let select = sqlx::query_as(
            "SELECT id, json, state, attempts, reason, updated_ms FROM moves WHERE plan = ? ORDER BY id",
        );
        let select = select.bind(stored(plan, "a plan's number")?);
        let rows: Vec<(String, String, String, i64, String, i64)> = select.fetch_all(&mut *tx).await?;
        let record = |(id, json, state, attempts, reason, updated_ms): (_, _, String, _, _, _)| {
            let state = MoveState::try_from(state.as_str())?;
            Ok(MoveRecord {
                id,
                json,
                state,
                attempts: count(attempts)?,
                reason,
                updated_ms,
            })
        };
        rows.into_iter().map(record).collect()
    }
}
